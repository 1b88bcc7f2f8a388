"""Pixels around an image, in plain PyTorch, differentiable to any order."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .._types import Padding


def pad(image: Tensor, radii: tuple[int, ...], padding: Padding) -> Tensor:
    """The image with pixels added before and behind each of the last axes, as many as its radius.

    "zeros"; or, for an axis a b c, mirrored about the last pixel (c b | a b c | b a, "reflect"), mirrored beside it
    (b a | a b c | c b, "symmetric") or repeated (a a | a b c | c c, "replicate").

    Slices are concatenated: the derivative is deterministic on a GPU, unlike that of F.pad().
    """
    if padding == "zeros":
        return F.pad(image, [radius for radius in reversed(radii) for _ in range(2)])
    for axis, radius in zip(range(-len(radii), 0), radii, strict=True):
        image = _padded_axis(image, axis, radius, padding)
    return image


def _padded_axis(image: Tensor, axis: int, radius: int, padding: Padding) -> Tensor:
    size = image.shape[axis]
    if padding == "replicate":
        shape = [*image.shape]
        shape[axis] = radius
        before, behind = (image.narrow(axis, start, 1).expand(shape) for start in (0, size - 1))
    else:
        skipped = 1 if padding == "reflect" else 0  # pixels at the border that are not repeated
        before, behind = (image.narrow(axis, start, radius).flip(axis) for start in (skipped, size - radius - skipped))
    return torch.cat([before, image, behind], axis)
