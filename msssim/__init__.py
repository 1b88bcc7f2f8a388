"""Differentiable SSIM and MS-SSIM for PyTorch, checked in value and gradient against the authors' MATLAB code."""

from .backends import available_backends
from .functional import msssim, ssim
from .modules import MSSSIM, SSIM
from .multiscale import WEIGHTS
from .warming import warm_up

__all__ = ["MSSSIM", "SSIM", "WEIGHTS", "available_backends", "msssim", "ssim", "warm_up"]
__version__ = "1.0.0"
