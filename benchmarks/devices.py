"""What differs from device to device: whether it is there, how to wait for it, how to read its peak of memory."""

import ctypes
import gc
import pathlib
import platform
import sys

import torch

from . import timing

# Linux forgets the highest resident size of a process when a 5 is written here.
_RESET = pathlib.Path("/proc/self/clear_refs")
_STATUS = pathlib.Path("/proc/self/status")


def obstacle(device):
    """Why nothing can be computed on a device, in one line, or None."""
    try:
        torch.ones(1, device=device).add(1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return None


def synchronize(device):
    """Wait until the device has done what it was given; a CPU is never behind."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def sampler(device):
    """What times so many calls on a device, (call, count) to seconds: on CUDA by the device's own events.

    Calls follow each other there as fast as they come, so that what the processor does beside them counts only where it
    is the slower.
    """
    if torch.device(device).type != "cuda":
        return timing.sampler(lambda: synchronize(device))

    def sample(call, count):
        with torch.cuda.device(device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(count):
                call()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / 1000

    return sample


def peak_of(call, device):
    """(bytes above what was held before, highest resident bytes of the process or None) while `call` runs once.

    On a CPU it is the resident memory, which the system counts in pages, allocators and libraries included; on CUDA
    what PyTorch's allocator gave out.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        kept = call()
        torch.cuda.synchronize(device)
        del kept
        return torch.cuda.max_memory_allocated(device) - before, None
    if torch.device(device).type != "cpu":
        raise NotImplementedError(f"peak memory: {device} has no counter of its peak")
    _give_back_freed_memory()
    try:
        _RESET.write_text("5")
        before = _status("VmRSS")
        kept = call()
        highest = _status("VmHWM")
    except OSError as error:
        raise NotImplementedError(f"peak memory: {platform.system()} has no resettable counter of it") from error
    del kept
    return max(0, highest - before), highest


def _status(field):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _give_back_freed_memory():
    """Freed memory that the C library keeps would hide what the next call takes."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim is not None:
            trim(0)
