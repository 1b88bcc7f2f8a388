"""The fused CPU backend, in Numba."""
