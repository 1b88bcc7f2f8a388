"""What is found out about volumes before a sweep from some voxels, and after it from its sums."""

from __future__ import annotations

import numpy as np
import torch

from . import finish
from .layout import MEASURES

_SAMPLES = 16  # voxels along each axis that are looked at before the sweep


def origins(x: torch.Tensor, y: torch.Tensor, unit: float | np.ndarray) -> np.ndarray:
    """Near the typical voxels of each plane, a multiple of 1/128 units.

    They are the same for both volumes where these nearly agree, see pixels.py.
    """
    typical_x, typical_y = (_typical(image).numpy() for image in (x, y))
    with np.errstate(over="ignore", invalid="ignore"):  # extreme voxels
        both = typical_x / unit, typical_x / unit - typical_y / unit
        origin_x, difference = (np.floor(each * 128 + 0.5) / 128 for each in both)
        origins = np.stack([origin_x, origin_x - difference], -1)
    return np.ascontiguousarray(np.nan_to_num(origins, nan=0, posinf=0, neginf=0))


def _samples(volume: torch.Tensor) -> torch.Tensor:
    """Some voxels of each plane of (planes, D, H, W)."""
    steps = [max(1, size // _SAMPLES) for size in volume.shape[1:]]
    return volume[(slice(None), *(slice(step // 2, None, step) for step in steps))].flatten(1)


def _typical(volume: torch.Tensor) -> torch.Tensor:
    """The median of some voxels of each plane, which a few meaningless values do not change; 0 if it is not finite."""
    return _samples(volume).double().median(dim=1).values.nan_to_num(0.0, 0.0, 0.0)


def repeats(x: torch.Tensor, y: torch.Tensor) -> float:
    """How many of some voxels of a volume (D, H, W) equal their right neighbour in both volumes: a fraction."""
    if x.shape[-1] < 2:
        return 0.0
    equal = [_samples(each[None, ..., :-1]) == _samples(each[None, ..., 1:]) for each in (x, y)]
    return float((equal[0] & equal[1]).double().mean())


def peak(volume: torch.Tensor) -> float:
    low, high = volume.aminmax()
    return max(high.item(), -low.item())


def inaccurate(
    sums: np.ndarray, of: list[np.ndarray], terms: np.ndarray, windows: int, c2: float, n: int
) -> np.ndarray:
    """Which planes float32 may have computed outside of the error budgets, by the rules of images (finish.py).

    `of` are the rows of `sums` of each plane, `n` the number of gradients.
    """
    found = np.zeros(len(of), bool)
    for plane, rows in enumerate(of):
        own = sums[rows]
        if not len(own):
            continue
        largest, ratio = own[:, MEASURES.largest].max(), own[:, MEASURES.ratio].max()
        bad = not (abs(terms[plane]) >= finish.LEAST_MEAN and largest < finish.SUSPICIOUS)
        flat = own[:, MEASURES.flat].sum() / windows / c2
        bad = bad or flat > finish.FLAT_SQUARES
        if n:
            equal = own[:, finish.EQUAL].sum() / max(1, own[:, finish.COMPARED].sum())
            limit = finish.RATIO_OF_GRAPHICS if equal > finish.GRAPHICS else finish.RATIO_OF_ANY
            bad = bad or not finish.FEATURELESS <= ratio <= limit or equal > finish.ALMOST_FLAT
            bad = bad or flat > (1 - terms[plane]) * finish.FLAT_IN_GRADIENT
        found[plane] = bad
    return found
