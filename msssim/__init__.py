"""Differentiable SSIM and MS-SSIM for PyTorch, checked in value and gradient against the authors' MATLAB code."""

from ._presets import presets
from .backends import available_backends
from .color import luma
from .functional import msssim, ssim
from .losses import MSSSIML1Loss, MSSSIMLoss, SSIMLoss, msssim_l1_loss, msssim_loss, ssim_loss
from .modules import MSSSIM, SSIM
from .multiscale import WEIGHTS
from .stream import stream
from .warming import warm_up

__all__ = [
    "MSSSIM", "SSIM", "WEIGHTS", "MSSSIML1Loss", "MSSSIMLoss", "SSIMLoss", "available_backends", "luma", "msssim",
    "msssim_l1_loss", "msssim_loss", "presets", "ssim", "ssim_loss", "stream", "warm_up",
]  # fmt: skip
__version__ = "1.0.0"
