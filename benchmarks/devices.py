"""What depends on the device: availability, synchronization, timing, and peak memory."""

import ctypes
import gc
import pathlib
import platform
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from . import timing

# Writing 5 to this file resets the peak resident size of the process on Linux.
_RESET = pathlib.Path("/proc/self/clear_refs")
_STATUS = pathlib.Path("/proc/self/status")


class Peak(NamedTuple):
    """Peak memory during a call, in bytes."""

    above: int
    """Above the memory held before the call."""
    process: int | None
    """Peak resident memory of the process; None on CUDA."""


def unavailable_reason(device: str) -> str | None:
    """Return in one line why nothing can be computed on a device, or None."""
    try:
        torch.ones(1, device=device).add(1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return None


def synchronize(device: str) -> None:
    """Wait until the device has finished all work."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def sampler(device: str) -> timing.Sampler:
    """Return a function that times a number of calls on a device; on CUDA with CUDA events.

    On CUDA the calls are queued without waiting in between, so that CPU time counts only where it is the bottleneck.
    """
    if torch.device(device).type != "cuda":
        return timing.sampler(lambda: synchronize(device))

    def sample(call: Callable[[], Any], count: int) -> float:
        with torch.cuda.device(device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(count):
                call()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / 1000

    return sample


def peak_of(call: Callable[[], Any], device: str) -> Peak:
    """Return the peak memory of one call.

    On a CPU this is resident memory, which includes allocators and libraries; on CUDA the memory that PyTorch's
    allocator hands out.

    Raises
    ------
    NotImplementedError
        If the system or device cannot measure it.
    """
    gc.collect()
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = call()
        torch.cuda.synchronize(device)
        del result
        return Peak(torch.cuda.max_memory_allocated(device) - before, None)
    if kind != "cpu":
        raise NotImplementedError(f"peak memory cannot be measured on device {device}")
    _trim_heap()
    try:
        _RESET.write_text("5")
        before = _status_bytes("VmRSS")
        result = call()
        highest = _status_bytes("VmHWM")
    except OSError as error:
        raise NotImplementedError(f"peak memory cannot be measured on {platform.system()}") from error
    del result
    return Peak(max(0, highest - before), highest)


def _status_bytes(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _trim_heap() -> None:
    """Return freed memory to the system; memory that the C library keeps would hide what the next call allocates."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)
