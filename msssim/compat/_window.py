"""From a window that a caller made to the options that give the same one."""

import math
from typing import TypeAlias

import torch
from torch import Tensor

from ..window import gaussian_taps

SizeAndSigma: TypeAlias = tuple[int, float]

# Of the taps, which sum to 1: windows are made in float32.
_TOLERANCE = 1e-6
# Wide enough for a window without any decline.
_MAX_SIGMA = 1e6


def size_and_sigma(name: str, window: Tensor) -> SizeAndSigma:
    """(win_size, sigma) of a Gaussian window of shape (C, 1, 1, size), (C, 1, size, 1) or (C, 1, size, size).

    A uniform window is a Gaussian with a large sigma. Its values are read, so that a GPU synchronizes.

    Raises
    ------
    ValueError
        If it is no Gaussian window with sum 1, the same for all channels.
    """
    planes = window.detach().to("cpu", torch.float64).flatten(0, -3)
    taps = planes[0].sum(0 if planes.shape[-1] > 1 else 1)
    size = len(taps)
    sigma = _sigma(taps.tolist()) if size >= 3 and size % 2 else None
    if sigma is not None:
        axis = torch.tensor(gaussian_taps(size, sigma), dtype=torch.float64)
        expected = axis[:, None] * axis if min(planes.shape[-2:]) > 1 else axis.reshape(planes.shape[-2:])
        if expected.shape == planes.shape[-2:] and (planes - expected).abs().max() <= _TOLERANCE:
            return size, sigma
    raise ValueError(
        f"{name} must be a Gaussian window of odd size with sum 1, the same for all channels, got a tensor of shape "
        f"{tuple(window.shape)} with other values; pass the size and sigma of a Gaussian window instead"
    )


def _sigma(taps: list[float]) -> float | None:
    """The sigma of a Gaussian window, or None if no tap beside the centre can be measured."""
    middle = len(taps) // 2
    offsets = [k for k in range(1, middle + 1) if taps[middle] > 0 and taps[middle - k] > 1e-5 * taps[middle]]
    if not offsets:
        return None
    decline = math.log(taps[middle] / taps[middle - offsets[-1]])
    if decline < offsets[-1] ** 2 / (2 * _MAX_SIGMA**2):
        return _MAX_SIGMA
    return float(f"{offsets[-1] / math.sqrt(2 * decline):.6g}")  # float32 has no more digits
