"""Run the GPU kernels' machine code on a CPU."""
