"""Independent references, which share no code with the library.

``wang`` is Wang's algorithm in NumPy, ``oracles`` are other implementations with one signature, ``golden`` has the
values that Wang's MATLAB code returned, ``longdouble`` is a reference for rounding errors. ``peers`` are
implementations to compare with, each with its convention.
"""
