"""Independent oracles: what the values should be, from sources that share no code with the library.

``wang`` is Wang's algorithm in NumPy, ``oracles`` other people's implementations behind one signature, ``golden`` the
figures that Wang's own MATLAB code returned. ``peers`` are implementations that people use, each with its convention.
"""
