"""Memory for results and for the coarser scales."""

from __future__ import annotations

import collections
import ctypes
import mmap
from collections.abc import Sequence

import torch

_LARGE = 1 << 21  # bytes: no huge page is smaller
_madvise = getattr(ctypes.CDLL(None), "madvise", None) if hasattr(mmap, "MADV_HUGEPAGE") else None
if _madvise:
    _madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

# The pyramids of the last call or two, if small: memory fresh from the system costs more time than filling it.
_SPARE: collections.deque[torch.Tensor] = collections.deque(maxlen=2)
_SPARE_BYTES = 1 << 26


def empty(shape: int | Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Memory for a tensor, in huge pages where it is large and there are any: each fresh page costs microseconds."""
    memory = torch.empty(shape, dtype=dtype, device="cpu")  # whatever the default device is
    size = memory.numel() * memory.element_size()
    if size >= _LARGE and _madvise:
        start = -(-memory.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        _madvise(start, size - (start - memory.data_ptr()), mmap.MADV_HUGEPAGE)
    return memory


def borrow(elements: int, dtype: torch.dtype) -> torch.Tensor:
    """Memory for at least so many numbers, to be given to return_borrowed()."""
    for _ in range(len(_SPARE)):
        try:
            memory = _SPARE.popleft()
        except IndexError:  # another thread was faster
            break
        if memory.dtype == dtype and elements <= memory.numel() <= 2 * elements:
            return memory
    return empty(elements, dtype)


def return_borrowed(memory: torch.Tensor) -> None:
    """Give borrowed memory back."""
    if memory.numel() * memory.element_size() <= _SPARE_BYTES:
        _SPARE.append(memory)
