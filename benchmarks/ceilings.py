"""How fast this machine could be at all: what it copies and multiplies in a second, and the floor that follows.

The floor of a case is the longer of two times. Memory: every input is read once and every gradient written once; on
CUDA, whose caches hold no image from one pass to the next, at every scale, and the gradient of each is read once more
and that of the image written: 8 bytes a pixel and scale in float32, and 20 with the gradient.
Arithmetic: at every pixel of every scale four moments (μx, μy, E[x² + y²], E[xy]) go through two passes of an 11-tap
window, 88 multiply-adds; the gradient to one image sends three more maps back through both, 66. Nothing else is
counted, neither the map nor the pyramid. Both rates are of one moment, in which the machine may have been busy: a
case that was measured in a better one can come out below its floor.
"""

import time
from typing import NamedTuple

import torch

from . import cases, devices

FORWARD_WORK, BACKWARD_WORK = 4 * 2 * 11, 3 * 2 * 11
COPY, MULTIPLY = "copy", "multiply-add"
_COPIED = 1 << 28  # bytes: more than caches hold
_SIDE = {"cpu": 2048}  # of the matrices; on other devices 4096
_REPEATS = 5


class Ceilings(NamedTuple):
    """What a device does at best."""

    device: str
    threads: int
    copy: float
    """Bytes a second, read and written counted both."""
    multiply_adds: float
    """A second, in float32, by a product of matrices without TF32."""


def measure(device, threads=None):
    """The Ceilings of a device, with so many threads of a CPU: the best of a few tries."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        copy, multiply = _copying(device), _multiplying(device)
        return Ceilings(device, torch.get_num_threads(), copy, multiply)
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(before)


def best(measured):
    """Of several measurements of one device and number of threads, the highest of each."""
    first = measured[0]
    return first._replace(
        copy=max(each.copy for each in measured), multiply_adds=max(each.multiply_adds for each in measured)
    )


def floor(case, ceilings):
    """(seconds below which a case cannot be done by this algorithm on this machine, which ceiling says so)."""
    both = case.mode == cases.BOTH
    size = torch.empty(0, dtype=getattr(torch, case.dtype)).element_size()
    if torch.device(case.device).type == "cuda":
        memory = _pixels(case) * size * (5 if both else 2) / ceilings.copy
    else:
        memory = case.pixels * size * (3 if both else 2) / ceilings.copy
    work = FORWARD_WORK + (BACKWARD_WORK if both else 0)
    arithmetic = _window_positions(case) * work / ceilings.multiply_adds
    return (memory, COPY) if memory > arithmetic else (arithmetic, MULTIPLY)


def _window_positions(case):
    return _pixels(case, cases.WIN_SIZE - 1)


def _pixels(case, less=0):
    """Of all scales, with so many rows and columns less of each."""
    batch, channels, height, width = case.shape
    total = 0
    for _ in range(case.levels):
        total += batch * channels * (height - less) * (width - less)
        height, width = (height + 1) // 2, (width + 1) // 2
    return total


def _copying(device):
    source = torch.ones(_COPIED // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPIED / _best(lambda: target.copy_(source), device)


def _multiplying(device):
    side = _SIDE.get(torch.device(device).type, 4096)
    left, right = torch.ones(side, side, device=device), torch.ones(side, side, device=device)
    return side**3 / _best(lambda: left @ right, device)


def _best(call, device):
    times = []
    for _ in range(_REPEATS + 1):
        devices.synchronize(device)
        start = time.perf_counter()
        call()
        devices.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
