"""The terms of images that are read in blocks of rows, by the fused backend of CPUs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import multiscale
from ..window import compute_dtype
from . import ops


class Progress(NamedTuple):
    """What is called while images are read."""

    begin: Callable[[int], object]
    """With the number of rows, before images are read from the first row."""
    advance: Callable[[int], object]
    """With the number of rows that were finished since the last call."""


def rows_of(name: str, array: Any, channels_last: bool) -> Any:
    """A reader of the rows of an image: ``numba/arrays.py: Rows``."""
    ops.kernels("cpu")
    from .numba.arrays import Rows

    return Rows(name, array, channels_last)


def index(
    images: tuple[Any, Any],
    pooling: multiscale.Pooling,
    numbers: tuple[tuple[float, ...], float, float, float],
    rows: int | None,
    progress: Progress,
) -> tuple[Tensor, Tensor]:
    """(value, terms (C, levels)) as of images in memory; `images` are readers of the same shape, channels first.

    `numbers` are taps, c1, c2 and unit.
    """
    kernels = ops.kernels("cpu")
    from .numba import streaming

    height, width = images[0].shape[-2:]
    planes = images[0].shape[0] if len(images[0].shape) == 3 else 1
    dtype = common_dtype(*(image.dtype for image in images))
    reading = streaming.Reading(images, planes, height, width, dtype, rows, progress.begin, progress.advance)
    terms = streaming.means(reading, (*numbers, *multiscale.terms_options(pooling)))
    for image in images:
        image.check()
    if pooling.channels == "pooled":  # as in memory
        return multiscale.pool(terms.unsqueeze(0), pooling), terms
    return kernels.pool(terms.unsqueeze(0), pooling, False)[0], terms


def common_dtype(dtype1: torch.dtype, dtype2: torch.dtype) -> torch.dtype:
    """The dtype of both images, or the wider one of the arithmetic, as of images in memory."""
    if dtype1 == dtype2:
        return dtype1
    return torch.float64 if torch.float64 in (compute_dtype(dtype1), compute_dtype(dtype2)) else torch.float32
