"""The f × f rule of ssim.m, with which the published figures for SSIM were made."""

import math

import torch

from .window import dtype_of_computation


def automatic_factor(height, width):
    """max(1, round(min(H, W) / 256)), halves rounded up as MATLAB does."""
    return max(1, math.floor(min(height, width) / 256 + 0.5))


def average_and_skip(image, factor):
    """The mean over factor × factor pixels at every factor-th pixel of (N, C, H, W), in the dtype SSIM computes in.

    Borders are mirrored, as MATLAB's imfilter does.
    """
    if factor == 1:
        return image
    image = image.to(dtype_of_computation(image.dtype))
    for axis in (-2, -1):
        size = image.shape[axis]
        # imfilter's centre of an even window is the pixel before the middle; mirrored means … 1 0 | 0 1 …
        start = -((factor - 1) // 2)
        taken = [start + i + k for i in range(0, size, factor) for k in range(factor)]
        mirrored = [i if 0 <= i < size else (-1 - i if i < 0 else 2 * size - 1 - i) for i in taken]
        image = image.index_select(axis, torch.tensor(mirrored, device=image.device))
        image = image.unflatten(axis, (-1, factor)).mean(axis if axis == -1 else -2)
    return image
