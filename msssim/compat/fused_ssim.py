"""``fused_ssim`` with the signature of the package fused-ssim, which trainings of 3D Gaussian splatting use.

It runs on every device, not on GPUs only. Its number differs from that of fused-ssim by rounding. Gradients reach both
images; there they reach the first one only.
"""

import contextlib

import torch
from torch import Tensor

from .. import checks, functional

__all__ = ["fused_ssim"]


def fused_ssim(img1: Tensor, img2: Tensor, padding: str = "same", train: bool = True) -> Tensor:
    """SSIM, as ``fused_ssim.fused_ssim``, of images with a range of 1.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W)
        The images, in 0..1.
    padding : {"same", "valid"}
        "same" surrounds both images with zeros, so that a window is centred at every pixel, as the loss of 3D Gaussian
        splatting does. Only "valid" is the SSIM of the paper, the number of :func:`msssim.ssim`.
    train : bool, default True
        Whether the result can be differentiated.

    Returns
    -------
    Tensor, shape ()

    Raises
    ------
    ValueError
        If there is no such padding, or :func:`msssim.ssim` raises it.

    Examples
    --------
    >>> import torch
    >>> from msssim.compat.fused_ssim import fused_ssim
    >>> image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    >>> (1 - fused_ssim(image, image.detach())).backward()
    >>> image.grad.shape
    torch.Size([1, 3, 64, 64])
    """
    checks.one_of("padding", padding, ("same", "valid"))
    with contextlib.nullcontext() if train else torch.no_grad():
        return functional.ssim(img1, img2, data_range=1.0, padding="zeros" if padding == "same" else "valid")
