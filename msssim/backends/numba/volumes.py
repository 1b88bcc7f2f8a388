"""The fused backend on a CPU for volumes: what the kernel is given, and the scales of a pyramid.

Volumes are swept scale by scale, see :mod:`.volume_sweep`: the finest in float32 where that is accurate enough, coarser
ones in float64. The coarser scales and the sum of their gradients are made in PyTorch: together they have a seventh of
the voxels.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ... import window
from ..common import EXTREME, TAMED
from .finish import N_SUMS
from .layout import MEASURES, ROWS, Layout
from .memory import empty
from .plan import LIKE, Parameters, address, parameters, plane_constants
from .preparing import prepare
from .sources import require
from .threads import on_threads
from .volume_judge import inaccurate, origins, peak, repeats
from .volume_records import DEPTH, STATE, VolumeCall, VolumeTask, ring_line
from .volume_sweep import sweep_volumes

Options = tuple[tuple[float, ...], float, float, float, int, bool]
"""taps, c1, c2, unit, levels, rectify."""

_AT_ONCE = 32  # slices that are halved at a time: an even number
_SMALL_WORK = 1 << 13  # voxels below which a second thread costs more than it gives
_SMALL_VOLUME = 1 << 15  # voxels below which float32 is not used: few windows do not average its errors out
_FEW_REPEATS = 1 / 16  # of the voxels that are looked at: with more equal neighbours float32 would hardly suffice
_GRADIENTS: tuple[tuple[int, ...], ...] = ((), (0,), (0, 0))


class _Call(NamedTuple):
    """What all scales are swept with."""

    options: tuple[tuple[float, ...], float, float, float, bool]
    """taps, c1, c2, unit, rectify."""
    scale: np.ndarray
    """What voxels of each plane are multiplied by."""
    origins: np.ndarray
    """(planes, 2): what is subtracted from scaled voxels for the gradient."""
    ring: torch.Tensor
    """Memory for all sweeps: a sweep in float64 after one in float32 touches no other."""


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
    planes, dtype = len(pair[0]), window.compute_dtype(img1.dtype)
    near = origins(pair[0], pair[1], unit) if need1 else np.zeros((planes, 2))
    halo, (height, width) = len(taps) - 1, pair[0].shape[2:]
    count = (2 + need1 + need2) * (halo + DEPTH) * (height - halo) * ring_line(width) if need1 else 0
    ring = empty(count + 64, torch.float64)  # the last block reads beyond the last row
    call = _Call((taps, c1, c2, unit, rectify), np.full(planes, 1 / unit), near, ring)
    terms, grads, divisor = [], [], 1.0
    for level in range(levels):
        own = [empty(tuple(pair[0].shape), dtype) for need in (need1, need2) if need]
        last = level == levels - 1
        if level == 0:
            term, call, divisor = _finest(pair[0], pair[1], own, call, last)
        else:
            term, _ = _sweep(pair[0], pair[1], own, call, last, torch.float64, range(planes))
        terms.append(torch.from_numpy(term))
        grads.append([each.unflatten(0, img1.shape[:2]) for each in own])
        if not last:
            pair = [_halved(image, divisor) for image in pair]
    first, second = ([each[k] for each in grads] if need else [] for k, need in enumerate((need1, need2)))
    return torch.stack(terms, -1).unflatten(0, img1.shape[:2]), first, second


def _finest(
    x: torch.Tensor, y: torch.Tensor, grads: list[torch.Tensor], call: _Call, last: bool
) -> tuple[np.ndarray, _Call, float]:
    """The terms of the finest scale; what coarser ones are swept with, and divided by while they are averaged."""
    planes = range(len(x))
    terms = np.empty(len(x))
    wide: Sequence[int] = planes
    suffices = window.float32_suffices((call.options[0],), *call.options[1:4])
    if window.compute_dtype(x.dtype) == torch.float32 and suffices and x[0].numel() >= _SMALL_VOLUME:
        narrow = [plane for plane in planes if not grads or repeats(x[plane], y[plane]) < _FEW_REPEATS]
        if narrow:
            found, bad = _sweep(x, y, grads, call, last, torch.float32, narrow)
            terms[narrow] = found[narrow]
            rest = {*planes} - {*narrow}
            wide = sorted(rest | {*np.flatnonzero(bad).tolist()})
    divisor = 1.0
    if wide:
        # A volume of float16 or float32 that is extreme was too much for float32.
        peaks = np.ones(len(x))
        for plane in wide:
            peaks[plane] = max(peak(x[plane]), peak(y[plane]))
        unit = call.options[3]
        extreme = (peaks > unit * EXTREME) & np.isfinite(peaks)
        if extreme.any():
            call = call._replace(scale=np.where(extreme, TAMED / np.where(extreme, peaks, 1), 1 / unit))
            call = call._replace(origins=origins(x, y, 1 / call.scale))
        divisor = 8.0 if peaks.max() > torch.finfo(torch.float64).max / 8 else 1.0
        terms[wide] = _sweep(x, y, grads, call, last, torch.float64, wide)[0][wide]
    return terms, call, divisor


def gradient(
    upstream: torch.Tensor, scale_grads: list[torch.Tensor], halo: int, unit: float, dtype: torch.dtype
) -> torch.Tensor:
    """The gradient of a volume: that of all scales, weighted and added up; no further than `dtype` goes.

    `upstream` is for the mean of each scale, (N, C, levels). `scale_grads` are overwritten.
    """
    total: torch.Tensor | None = None
    exceeds = False
    # In small units the gradients of scales may exceed float32, and have other signs than their sum.
    wide = window.gradient_scale(unit) < 1
    for level in reversed(range(len(scale_grads))):
        own = scale_grads[level].double() if wide else scale_grads[level]
        windows = 1
        for size in own.shape[2:]:
            windows *= size - halo
        share = upstream[..., level].double() / windows / window.gradient_scale(unit)
        exceeds = exceeds or not share.abs().max() <= 1
        own = own.mul_(share.to(own.dtype)[..., None, None, None])
        total = own if total is None else _add_upsampled(own, total)
    assert total is not None
    if exceeds or len(scale_grads) > 1 or total.dtype != dtype:
        limit = torch.finfo(dtype).max
        total = total.clamp_(-limit, limit)
    return total.to(dtype)


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


@functools.lru_cache(maxsize=64)
def _tasks(planes: tuple[int, ...], depth: int, height: int, halo: int, gradient: bool) -> np.ndarray:
    """The tasks of a scale. With gradients those of the map and of the gradient take turns, as the ring is short."""
    tasks: list[VolumeTask] = []
    # The halo of a strip is filtered along the depth twice: strips are high where that leaves enough for threads.
    rows = 2 * ROWS if gradient and height <= 256 else 4 * ROWS
    for plane in planes:
        for top in range(0, depth if gradient else depth - halo, DEPTH):
            for of_gradient in (False, True)[: 1 + gradient]:
                if not of_gradient and top >= depth - halo:
                    continue
                needed = len(tasks) if gradient else 0
                end, step = (height, ROWS) if of_gradient else (height - halo, rows)
                tasks += [
                    VolumeTask(plane, of_gradient, top, row, min(end, row + step), needed)
                    for row in range(0, end, step)
                ]
    return np.array(tasks, np.int64)


def _sweep(
    x: torch.Tensor,
    y: torch.Tensor,
    grads: list[torch.Tensor],
    call: _Call,
    last: bool,
    computed: torch.dtype,
    chosen: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """The term of each of the chosen planes at one scale, and which are not accurate; the gradients are written."""
    taps, c1, c2, unit, rectify = call.options
    planes, depth, height, width = x.shape
    numbers = parameters(planes, taps, c1, c2, unit, rectify, computed)
    if (call.scale != 1 / unit).any():
        numbers = numbers.with_constants(plane_constants(call.scale, c1, c2, unit, computed, rectify))
    halo = Layout(len(numbers.taps)).halo
    tasks = _tasks(tuple(chosen), depth, height, halo, bool(grads))
    sums, state = np.zeros((len(tasks), N_SUMS)), np.zeros(len(STATE), np.int64)
    _run(x, y, grads, call, last, numbers, tasks, sums, state)
    windows = (depth - halo) * (height - halo) * (width - halo)
    of_map = tasks[:, 1] == 0
    of = [np.flatnonzero(of_map & (tasks[:, 0] == plane)) for plane in range(planes)]
    terms = np.array([sums[rows, MEASURES.total].sum() for rows in of]) / windows
    if computed == torch.float64:
        return terms, np.zeros(planes, bool)
    return terms, inaccurate(sums, of, terms, windows, 2 * c2 / unit**2, len(grads))


def _run(
    x: torch.Tensor,
    y: torch.Tensor,
    grads: list[torch.Tensor],
    call: _Call,
    last: bool,
    numbers: Parameters,
    tasks: np.ndarray,
    sums: np.ndarray,
    state: np.ndarray,
) -> None:
    targets = [each.data_ptr() for each in grads] + [0, 0]
    record = np.array(
        VolumeCall(
            x=x.data_ptr(),
            y=y.data_ptr(),
            depth=x.shape[1],
            height=x.shape[2],
            width=x.shape[3],
            tasks=address(tasks),
            n_tasks=len(tasks),
            last=last,
            constants=numbers.address,
            origins=address(call.origins),
            ring=call.ring.data_ptr(),
            gradient_x=targets[0],
            gradient_y=targets[1],
            sums=address(sums),
            state=address(state),
        ),
        np.int64,
    )
    guard = True if numbers.guard_zero_div else None
    target = LIKE[grads[0].dtype] if grads else numbers.like
    arguments = LIKE[x.dtype], target, record, numbers.like, numbers.taps, _GRADIENTS[len(grads)], guard
    kind = x.dtype, target.dtype, numbers.dtype, len(numbers.taps), len(grads), guard
    prepare(sweep_volumes, kind, (0, 1, *arguments))
    threads = min(torch.get_num_threads(), max(1, x.numel() // _SMALL_WORK))
    alive = x, y, grads, tasks, call, numbers, sums, state, record
    on_threads(sweep_volumes, arguments, threads, alive)
    require(state[STATE.done])
