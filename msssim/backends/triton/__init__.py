"""The fused GPU backend, in Triton."""
