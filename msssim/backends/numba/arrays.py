"""Rows of anything that slices like an array: NumPy's arrays and maps of files, zarr, HDF5, tensors."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import torch

from ... import window
from ..common import FUSED_DTYPES


class Rows:
    """The rows of an image (H, W), (C, H, W) or, with `channels_last`, (H, W, C).

    Parameters
    ----------
    name : str
        What error messages call the image.
    array : array_like
        Has `shape`, `dtype` and slices of its axes.
    channels_last : bool
        Whether the channels are the last axis.
    """

    def __init__(self, name: str, array: Any, channels_last: bool) -> None:
        self.name, self._array = name, array
        self._channels_last = channels_last and len(array.shape) == 3
        lengths = tuple(int(length) for length in array.shape)
        self._lengths = lengths
        self.shape: tuple[int, ...] = (*lengths[2:], *lengths[:2]) if self._channels_last else lengths
        self.source_dtype = _torch_dtype(array.dtype)
        self._mapping = _find_mapping(array)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which the kernels take the pixels."""
        return self.source_dtype if self.source_dtype in FUSED_DTYPES else window.compute_dtype(self.source_dtype)

    def __call__(self, start: int, stop: int) -> torch.Tensor:
        """The rows, (C, stop - start, W); C is 1 for an image (H, W)."""
        self._require_whole_file()
        here = slice(start, stop)
        block = self._array[here] if self._channels_last or len(self._lengths) == 2 else self._array[:, here]
        rows = block.detach() if isinstance(block, torch.Tensor) else _as_tensor(np.asarray(block))
        expected = list(self._lengths)
        expected[-2 if not self._channels_last else 0] = stop - start
        if list(rows.shape) != expected:
            raise ValueError(
                f"{self.name} must give rows of shape {tuple(expected)} for rows {start} to {stop}, got "
                f"{tuple(rows.shape)}"
            )
        if rows.dtype != self.dtype:
            rows = rows.to(self.dtype)
        return rows.permute(2, 0, 1) if self._channels_last else rows if rows.dim() == 3 else rows.unsqueeze(0)

    def check(self) -> None:
        """Raise an error if the file became shorter, so that what was read may not be what it was."""
        self._require_whole_file()

    def _require_whole_file(self) -> None:
        if self._mapping is None:
            return
        mapping, needed, file = self._mapping
        size = mapping.size()
        if size < needed:
            raise OSError(
                f"{self.name}: {file} became shorter while it was in use: it has {size} bytes, and {needed} are mapped"
            )


def _torch_dtype(dtype: Any) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    return torch.from_numpy(np.empty(0, np.dtype(dtype).newbyteorder("="))).dtype


def _as_tensor(block: np.ndarray) -> torch.Tensor:
    """The array as a tensor, without a copy where its bytes are in the machine's order and strides are positive."""
    if not block.dtype.isnative:
        block = block.astype(block.dtype.newbyteorder("="))
    elif any(stride < 0 for stride in block.strides):
        block = block.copy()
    # PyTorch warns of memory that cannot be written to. It is only read here.
    return torch.from_numpy(block if block.flags.writeable else np.asarray(_Readable(block)))


class _Readable:
    """The memory of an array, without the mark that it cannot be written to."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array  # keeps the memory
        self.__array_interface__ = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}


def _find_mapping(array: Any) -> tuple[mmap.mmap, int, str] | None:
    """The map of a file that an array is a view of, the bytes that the file must have, and its name.

    To read a page of a map beyond the end of its file ends the process.
    """
    offset, file = None, "its file"
    while array is not None and not isinstance(array, mmap.mmap):
        if isinstance(array, np.memmap) and array.filename is not None:
            # Views of a map have its offset too.
            offset, file = array.offset, str(array.filename)
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    if array is None:
        return None
    if offset is None:
        return array, array.size(), file
    return array, offset - offset % mmap.ALLOCATIONGRANULARITY + len(array), file
