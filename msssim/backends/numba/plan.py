"""How the planes of a shape are cut into strips, and the numbers that a call's options come to.

Both are worked out once for each shape or set of options.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import torch

from ... import window
from ..common import ZERO_DENOMINATOR, pyramid_shapes
from .layout import ROWS
from .records import ScaleShape, Task
from .work import PlaneConstants

_USUAL = 1e-12, 1e12  # with constants in between, in working units, no denominator is zero and no product overflows
_EPS = 8  # what rounding leaves of a difference that is zero, in eps of the sizes that it is of

# The element types as the kernels see them: NumPy has no bfloat16, and float16 is passed as its bits too.
LIKE: dict[torch.dtype, np.ndarray] = {
    torch.float32: np.empty(0, np.float32),
    torch.float64: np.empty(0, np.float64),
    torch.bfloat16: np.empty(0, np.int16),
    torch.float16: np.empty(0, np.uint16),
    torch.uint8: np.empty(0, np.uint8),
    torch.bool: np.empty(0, np.uint8),
}


class Parameters(NamedTuple):
    """What the options and dtypes come to."""

    source: np.ndarray
    """An array of the type of the pixels."""
    source_dtype: torch.dtype
    """The same for PyTorch."""
    like: np.ndarray
    """An array of the type that is computed with."""
    dtype: torch.dtype
    """The same for PyTorch."""
    taps: tuple[Any, ...]
    """Up to the middle one."""
    constants: np.ndarray
    """The PlaneConstants of each plane."""
    guard_zero_div: bool
    """Whether a denominator might be zero, or the product of two overflow."""
    float32_suffices: bool
    """Whether float32 stays within the error budgets with these options."""
    address: int
    """Of `constants`."""

    def with_constants(self, constants: np.ndarray) -> Parameters:
        """The same with other constants, with which a denominator might be zero."""
        return self._replace(constants=constants, guard_zero_div=True, address=address(constants))


@functools.lru_cache(maxsize=64)
def parameters(
    planes: int,
    taps: tuple[float, ...],
    c1: float,
    c2: float,
    unit: float,
    rectify: bool,
    dtype: torch.dtype,
) -> Parameters:
    """What the kernels are given for that number of planes and these options."""
    computed = window.compute_dtype(dtype)
    like = LIKE[computed]
    constants = plane_constants(np.full(planes, 1 / unit), c1, c2, unit, computed, rectify)
    guard_zero_div = not all(_USUAL[0] <= c / unit**2 <= _USUAL[1] for c in (c1, c2))
    typed = tuple(like.dtype.type(tap) for tap in taps[: len(taps) // 2 + 1])
    suffices = window.float32_suffices((taps,), c1, c2, unit)
    kept = address(constants)
    return Parameters(LIKE[dtype], dtype, like, computed, typed, constants, guard_zero_div, suffices, kept)


def plane_constants(
    scale: np.ndarray, c1: float, c2: float, unit: float, dtype: torch.dtype, rectify: bool
) -> np.ndarray:
    """A row of PlaneConstants for each plane, whose pixels are multiplied by `scale`."""
    eps = _EPS * torch.finfo(dtype).eps
    number = LIKE[dtype].dtype.type
    twice_c1, twice_c2 = 2 * c1 * scale**2, 2 * c2 * scale**2
    columns = PlaneConstants(
        scale=scale,
        c1=twice_c1,
        c2=twice_c2,
        eps=eps,
        floor=0.0 if rectify else -np.inf,
        zero=2 * ZERO_DENOMINATOR[dtype],
        # In working units a constant may be less than any number of the dtype: then rounding decides what is zero.
        eps_l=eps**2 * (number(twice_c1) == 0),
        eps_cs=eps * (number(twice_c2) == 0),
        grad_scale=2 * window.gradient_scale(unit) * scale,
    )
    return np.stack(np.broadcast_arrays(*columns), axis=1)


class Plan(NamedTuple):
    """How the planes of a shape are cut into strips."""

    planes: int
    pixels: int
    """Of a plane, at all scales."""
    shapes: np.ndarray
    """A ScaleShape for each scale."""
    tasks: np.ndarray
    """A Task for each strip."""
    slots: int
    """The largest number of strips of a scale."""
    addresses: tuple[int, int]
    """Of `shapes` and `tasks`."""


def _rows_of_a_strip(planes: int, height: int, gradient: bool) -> int:
    """With gradients the rows above a strip are worked on twice: strips are higher then, but enough for threads."""
    most = max(128, min(512, planes * height // 24)) if gradient else 64
    return ROWS * max(1, -(-height // (ROWS * max(1, round(height / most)))))


@functools.lru_cache(maxsize=64)
def plan(planes: int, height: int, width: int, levels: int, gradient: bool, border: int = 0) -> Plan:
    """Cut so many planes into strips. Their rows are those of the image after `border` rows of zeros above it."""
    shapes, tasks, pixels, slots = [], [], 0, 0
    for level, (rows, columns) in enumerate(pyramid_shapes(height, width, levels)):
        bottom = rows + border
        down = _rows_of_a_strip(planes, bottom, gradient)
        tops = range(0, bottom, down)
        # The scales of all planes one after the other, so that few strips wait for a finer scale that is not finished.
        tasks += [
            Task(plane, level, slot, top, min(bottom, top + down))
            for plane in range(planes)
            for slot, top in enumerate(tops)
        ]
        held = pixels - height * width
        shapes.append(ScaleShape(rows, columns, pixels, len(tops), held, held + rows * columns))
        pixels, slots = pixels + rows * columns, max(slots, len(tops))
    tables = np.array(shapes, np.int64), np.array(tasks, np.int64)
    return Plan(planes, pixels, *tables, slots, (address(tables[0]), address(tables[1])))


def address(array: np.ndarray) -> int:
    """The address of an array's data. NumPy takes microseconds for it: addresses of what is kept are kept too."""
    return int(array.__array_interface__["data"][0])
