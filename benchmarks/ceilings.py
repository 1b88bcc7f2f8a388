"""The machine's copy bandwidth and multiply-add rate, and the lower bound on the time of a case that follows from them.

The lower bound is the larger of two times.

Memory: on a CPU every input is read once and every gradient written once. On CUDA, whose caches hold no image between
two passes, this is repeated at every scale, and each scale's gradient is read once more and the image's gradient
written: 8 bytes per pixel and scale in float32, 20 with the gradient.

Arithmetic: at every pixel of every scale four moments (μx, μy, E[x² + y²], E[xy]) are filtered by two passes of an
11-tap window, 88 multiply-adds; the gradient to one image filters three more maps, 66 multiply-adds. In volumes there
are three passes: 132 and 99. The maps and the downsampling are not counted.

Both rates are measured once, when the machine may have been busy, so that a measured time can be below the bound.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from . import devices
from .cases import FORWARD_BACKWARD, WIN_SIZE, Case

FORWARD_WORK, BACKWARD_WORK = 4 * 11, 3 * 11  # of each axis
COPY, MULTIPLY_ADD = "copy", "multiply-add"
_COPY_BYTES = 1 << 28  # larger than caches
_MATRIX_SIDE = {"cpu": 2048}  # 4096 on other devices
_REPEATS = 5


class Ceilings(NamedTuple):
    """The highest rates of a device."""

    device: str
    threads: int
    copy: float
    """Bytes per second, read and write both counted."""
    multiply_adds: float
    """Multiply-adds per second of a float32 matrix product without TF32."""


class Floor(NamedTuple):
    """The lower bound on the time of a case, and which ceiling sets it."""

    seconds: float
    bound: str


def measure(device: str, threads: int | None = None) -> Ceilings:
    """Measure the ceilings of a device, with that number of CPU threads: the best of a few repeats."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        return Ceilings(device, torch.get_num_threads(), _copy_rate(device), _multiply_add_rate(device))
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(before)


def best(measured: Sequence[Ceilings]) -> Ceilings:
    """Return the highest rates of several measurements of one device and number of threads."""
    return measured[0]._replace(
        copy=max(each.copy for each in measured), multiply_adds=max(each.multiply_adds for each in measured)
    )


def floor(case: Case, ceilings: Ceilings) -> Floor:
    """Return the lower bound on the time of this algorithm on this machine."""
    backward = case.mode == FORWARD_BACKWARD
    if case.device_type == "cuda":
        size = case.input_bytes // case.n_values
        memory = _pyramid_values(case) * size * (5 if backward else 2) / ceilings.copy
    else:
        memory = case.input_bytes * (3 if backward else 2) / ceilings.copy
    work = case.spatial_dims * (FORWARD_WORK + (BACKWARD_WORK if backward else 0))
    arithmetic = _pyramid_values(case, WIN_SIZE - 1) * work / ceilings.multiply_adds
    return Floor(memory, COPY) if memory > arithmetic else Floor(arithmetic, MULTIPLY_ADD)


def _pyramid_values(case: Case, border: int = 0) -> int:
    """Return the number of values over all scales, each without `border` rows and columns."""
    batch, channels, *sides = case.shape
    total = 0
    for _ in range(case.levels):
        total += batch * channels * math.prod(side - border for side in sides)
        sides = [(side + 1) // 2 for side in sides]
    return total


def _copy_rate(device: str) -> float:
    source = torch.ones(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _best_time(lambda: target.copy_(source), device)


def _multiply_add_rate(device: str) -> float:
    side = _MATRIX_SIDE.get(torch.device(device).type, 4096)
    left, right = torch.ones(side, side, device=device), torch.ones(side, side, device=device)
    return side**3 / _best_time(lambda: left @ right, device)


def _best_time(call: Callable[[], Any], device: str) -> float:
    times = []
    for _ in range(_REPEATS + 1):
        devices.synchronize(device)
        start = time.perf_counter()
        call()
        devices.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
