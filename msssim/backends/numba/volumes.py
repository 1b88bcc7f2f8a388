"""The fused backend on a CPU for volumes: what the kernel is given, and the scales of a pyramid.

Volumes are swept scale by scale in float64, see :mod:`.volume_sweep`. The coarser scales and the sum of their gradients
are made in PyTorch: together they have a seventh of the voxels.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ... import window
from ..common import EXTREME, TAMED
from .layout import COPIES, ROWS, Layout
from .memory import empty
from .plan import LIKE, Parameters, address, parameters, plane_constants
from .preparing import prepare
from .threads import on_threads
from .volume_records import DEPTH, STATE, VolumeCall, VolumeTask, line_of
from .volume_sweep import sweep_volumes

Options = tuple[tuple[float, ...], float, float, float, int, bool]
"""taps, c1, c2, unit, levels, rectify."""

_AT_ONCE = 32  # slices that are halved at a time: an even number
_SAMPLES = 16  # voxels along each axis that the constant to subtract is found from
_SMALL_WORK = 1 << 13  # voxels below which a second thread costs more than it gives
_GRADIENTS: tuple[tuple[int, ...], ...] = ((), (0,), (0, 0))


class _Constants(NamedTuple):
    numbers: Parameters
    shifts: np.ndarray
    """(planes, 2): what is subtracted from scaled voxels."""
    divisor: float
    """What voxels are divided by while they are averaged, so that the sum of eight does not overflow."""


def means_and_gradients(
    img1: torch.Tensor, img2: torch.Tensor, options: Options, need1: bool, need2: bool
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """The terms of each volume, (N, C, levels), and the gradients of each scale's sum with respect to its own voxels.

    The gradients, a tensor for each scale or none where not needed, are those of the volumes as given, times
    window.gradient_scale().
    """
    if need2 and not need1:
        found, of_2, of_1 = means_and_gradients(img2, img1, options, True, False)
        return found, of_1, of_2
    taps, c1, c2, unit, levels, rectify = options
    pair = [image.detach().resolve_neg().flatten(0, 1).contiguous() for image in (img1, img2)]
    constants = _constants(pair[0], pair[1], (taps, c1, c2, unit, rectify))
    dtype = window.compute_dtype(img1.dtype)
    terms, grads = [], []
    for level in range(levels):
        if level:
            pair = [_halved(image, constants.divisor) for image in pair]
        own = [empty(tuple(pair[0].shape), dtype) for need in (need1, need2) if need]
        terms.append(_sweep(pair[0], pair[1], own, constants, level == levels - 1))
        grads.append([each.unflatten(0, img1.shape[:2]) for each in own])
    first, second = ([each[k] for each in grads] if need else [] for k, need in enumerate((need1, need2)))
    return torch.stack(terms, -1).unflatten(0, img1.shape[:2]), first, second


def gradient(
    upstream: torch.Tensor, scale_grads: list[torch.Tensor], halo: int, unit: float, dtype: torch.dtype
) -> torch.Tensor:
    """The gradient of a volume: that of all scales, weighted and added up; no further than `dtype` goes.

    `upstream` is for the mean of each scale, (N, C, levels).
    """
    total: torch.Tensor | None = None
    for level in reversed(range(len(scale_grads))):
        scale = scale_grads[level]
        windows = 1
        for size in scale.shape[2:]:
            windows *= size - halo
        share = upstream[..., level].double() / windows / window.gradient_scale(unit)
        own = scale * share.to(scale.dtype)[..., None, None, None]
        total = own if total is None else _add_upsampled(own, total)
    assert total is not None
    limit = torch.finfo(dtype).max
    return total.clamp_(-limit, limit).to(dtype)


def _add_upsampled(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """Add the gradient through the means of 2 × 2 × 2 voxels, at an odd border of those that exist."""
    for axis in (2, 3, 4):
        weight = torch.full((coarse.shape[axis],), 0.5, dtype=coarse.dtype)
        if fine.shape[axis] % 2:
            weight[-1] = 1
        coarse = coarse.mul_(weight.reshape(-1, *(1,) * (4 - axis)))
    for z, y, x in itertools.product((0, 1), repeat=3):
        part = fine[..., z::2, y::2, x::2]
        part += coarse[..., : part.shape[2], : part.shape[3], : part.shape[4]]
    return fine


def _halved(volume: torch.Tensor, divisor: float) -> torch.Tensor:
    """The means of 2 × 2 × 2 voxels in float64, some slices at a time: a copy of all in float64 would take memory."""
    planes, depth, height, width = volume.shape
    out = torch.empty((planes, (depth + 1) // 2, (height + 1) // 2, (width + 1) // 2), dtype=torch.float64)
    for plane in range(planes):
        for start in range(0, depth, _AT_ONCE):
            part = volume[plane, start : start + _AT_ONCE].double()[None]
            part = part if divisor == 1 else part / divisor
            out[plane, start // 2 : start // 2 + (part.shape[1] + 1) // 2] = F.avg_pool3d(
                part, 2, ceil_mode=True, count_include_pad=False
            )[0]
    return out if divisor == 1 else out.mul_(divisor)


def _constants(
    x: torch.Tensor, y: torch.Tensor, options: tuple[tuple[float, ...], float, float, float, bool]
) -> _Constants:
    """The numbers of the formula for each plane, which depend on the voxels where these are extreme."""
    taps, c1, c2, unit, rectify = options
    numbers = parameters(len(x), taps, c1, c2, unit, rectify, torch.float64)
    scale = np.full(len(x), 1 / unit)
    peak = torch.maximum(_peak(x), _peak(y)).numpy()
    extreme = (peak > unit * EXTREME) & np.isfinite(peak)
    if extreme.any():
        scale = np.where(extreme, TAMED / np.where(extreme, peak, 1), scale)
        constants = plane_constants(scale, c1, c2, unit, torch.float64, rectify)
        numbers = numbers.with_constants(constants)
    mean_x, mean_y = (_typical(image).numpy() * scale for image in (x, y))
    # Multiples of 1/128, the same for both volumes where their means nearly agree, see pixels.py.
    shift_x, difference = (np.floor(each * 128 + 0.5) / 128 for each in (mean_x, mean_x - mean_y))
    shifts = np.ascontiguousarray(np.stack([shift_x, shift_x - difference], -1))
    return _Constants(numbers, shifts, 8.0 if peak.max() > torch.finfo(torch.float64).max / 8 else 1.0)


def _peak(volume: torch.Tensor) -> torch.Tensor:
    low, high = volume.flatten(1).aminmax(dim=1)
    return torch.maximum(high.double(), -low.double())


def _typical(volume: torch.Tensor) -> torch.Tensor:
    """The median of some voxels of each plane, which a few meaningless values do not change; 0 if it is not finite."""
    steps = [max(1, size // _SAMPLES) for size in volume.shape[1:]]
    samples = volume[(slice(None), *(slice(step // 2, None, step) for step in steps))].flatten(1).double()
    return samples.median(dim=1).values.nan_to_num(0.0, 0.0, 0.0)


@functools.lru_cache(maxsize=64)
def _tasks(planes: int, depth: int, height: int, halo: int, gradient: bool) -> np.ndarray:
    """The tasks of a scale. With gradients those of the map and of the gradient take turns, as the ring is short."""
    tasks: list[VolumeTask] = []
    for plane in range(planes):
        for top in range(0, depth if gradient else depth - halo, DEPTH):
            for of_gradient in (False, True)[: 1 + gradient]:
                if not of_gradient and top >= depth - halo:
                    continue
                needed = len(tasks) if gradient else 0
                rows = range(0, height if of_gradient else height - halo, ROWS)
                tasks += [VolumeTask(plane, of_gradient, top, row, needed) for row in rows]
    return np.array(tasks, np.int64)


def _sweep(
    x: torch.Tensor, y: torch.Tensor, grads: list[torch.Tensor], constants: _Constants, last: bool
) -> torch.Tensor:
    """The term of each plane at one scale; the gradients are written."""
    numbers = constants.numbers
    planes, depth, height, width = x.shape
    layout = Layout(len(numbers.taps))
    halo = layout.halo
    tasks = _tasks(planes, depth, height, halo, bool(grads))
    line = line_of(layout, width)
    count = (2 + len(grads)) * (halo + DEPTH) * (height - halo) * line if grads else 0
    ring = empty(count, torch.float64).zero_()
    sums, state = np.zeros((len(tasks), COPIES)), np.zeros(len(STATE), np.int64)
    targets = [each.data_ptr() for each in grads] + [0, 0]
    call = np.array(
        VolumeCall(
            x=x.data_ptr(),
            y=y.data_ptr(),
            depth=depth,
            height=height,
            width=width,
            tasks=address(tasks),
            n_tasks=len(tasks),
            last=last,
            constants=numbers.address,
            shifts=address(constants.shifts),
            ring=ring.data_ptr(),
            gradient_x=targets[0],
            gradient_y=targets[1],
            sums=address(sums),
            state=address(state),
        ),
        np.int64,
    )
    guard = True if numbers.guard_zero_div else None
    target = LIKE[grads[0].dtype if grads else torch.float64]
    arguments = LIKE[x.dtype], target, call, numbers.like, numbers.taps, _GRADIENTS[len(grads)], guard
    kind = x.dtype, target.dtype, len(numbers.taps), len(grads), guard
    prepare(sweep_volumes, kind, (0, 1, *arguments))
    threads = min(torch.get_num_threads(), max(1, x.numel() // _SMALL_WORK))
    alive = x, y, grads, ring, tasks, constants, sums, state, call
    on_threads(sweep_volumes, arguments, threads, alive)
    if not state[STATE.done]:
        raise MemoryError("no thread of the fused kernel got the memory that it works in")
    total = sums.sum(-1) * (tasks[:, 1] == 0)
    by_plane = np.array([total[tasks[:, 0] == plane].sum() for plane in range(planes)])
    return torch.from_numpy(by_plane / ((depth - halo) * (height - halo) * (width - halo)))
