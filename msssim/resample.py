"""The downsampling of ssim.m, with which published values of SSIM are computed."""

import math

import torch
from torch import Tensor

from .casting import as_dtype
from .window import compute_dtype


def automatic_factor(*lengths: int) -> int:
    """max(1, round(min(H, W) / 256)), with halves rounded up as in MATLAB."""
    return max(1, math.floor(min(lengths) / 256 + 0.5))


def box_downsample(image: Tensor, factor: int) -> Tensor:
    """The mean over factor × factor pixels at every factor-th pixel of (N, C, ...), in the dtype of the arithmetic.

    Borders are mirrored, as by MATLAB's imfilter.
    """
    if factor == 1:
        return image
    image = as_dtype(image, compute_dtype(image.dtype))
    for axis in range(2, image.dim()):
        size = image.shape[axis]
        # The centre of an even window in imfilter is the pixel before the middle; mirrored means … 1 0 | 0 1 …
        start = -((factor - 1) // 2)
        indices = [start + i + k for i in range(0, size, factor) for k in range(factor)]
        mirrored = [i if 0 <= i < size else (-1 - i if i < 0 else 2 * size - 1 - i) for i in indices]
        image = image.index_select(axis, torch.tensor(mirrored, device=image.device))
        image = image.unflatten(axis, (-1, factor)).mean(axis + 1)
    return image
