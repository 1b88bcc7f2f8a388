"""The functions of the library."""

from ._msssim import msssim
from ._ssim import ssim

__all__ = ["msssim", "ssim"]
