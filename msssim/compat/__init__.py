"""The names and signatures of other packages, with the numbers of this one.

``from msssim.compat import pytorch_msssim`` replaces ``import pytorch_msssim`` in a program; likewise
:mod:`.fused_ssim` and :mod:`.original`. Their docstrings say where the numbers differ, and by how much.
"""
