"""Rows of TIFF and NPY files for ``msssim --stream``.

Files are read, not mapped into memory: truncating a mapped file ends the process.
"""

import pathlib
from types import TracebackType
from typing import Any

import numpy as np

from .cli_images import PairError

SUFFIXES = (".tif", ".tiff", ".npy")
_MOST_CHANNELS = 4  # of an NPY file whose channels are the last axis
_KINDS = "uif"  # of dtypes: unsigned, signed, floating point
_NO_PAGE: Any = None  # of TIFF


class Rows:
    """An image in a file that slices like an array (H, W), (H, W, C) or (C, H, W), along its rows.

    Parameters
    ----------
    path : pathlib.Path
        The file: NPY, or TIFF for which tifffile must be installed.
    alpha : {"refuse", "ignore"}
        Whether an alpha channel of a TIFF is an error or ignored.

    Raises
    ------
    PairError
        If it cannot be read, or is shorter than its header says.
    """

    def __init__(self, path: pathlib.Path, alpha: str) -> None:
        self._path, self._page, self._kept = path, _NO_PAGE, 0
        if path.suffix.lower() not in SUFFIXES:
            raise PairError(f"{path}: --stream reads files with the suffixes {', '.join(SUFFIXES)}")
        try:
            self._file: Any = path.open("rb")
        except OSError as problem:
            raise PairError(f"{path}: cannot be read: {problem.strerror}") from problem
        try:
            self._size = path.stat().st_size
            (self._open_npy if path.suffix.lower() == ".npy" else self._open_tiff)(alpha)
        except (OSError, ValueError) as problem:
            self._file.close()
            raise PairError(f"{path}: cannot be read: {' '.join(str(problem).split())}") from problem
        except (PairError, ModuleNotFoundError):
            self._file.close()
            raise

    def __enter__(self) -> "Rows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return (*self._lengths[:-1], self._kept) if self._kept else self._lengths

    def __getitem__(self, key: Any) -> Any:
        """Return some rows, as an array: ``rows[a:b]``, or ``rows[:, a:b]`` if channels come first."""
        rows = key[1] if self.channels_first else key
        if self._page is not None:
            block = self._decoded(rows.start, rows.stop)
        elif self.channels_first:
            block = np.stack([self._read(rows, plane) for plane in range(self._lengths[0])])
        else:
            block = self._read(rows, 0)
        return block[..., : self._kept] if self._kept else block

    def _open_npy(self, alpha: str) -> None:
        version = np.lib.format.read_magic(self._file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self._lengths, fortran, self.dtype = read(self._file)
        if fortran:
            raise ValueError("it is stored in Fortran order; save numpy.ascontiguousarray(image)")
        if len(self._lengths) not in (2, 3):
            raise ValueError(f"must have shape (H, W), (H, W, C) or (C, H, W), got {self._lengths}")
        self.channels_first = len(self._lengths) == 3 and self._lengths[-1] > _MOST_CHANNELS
        self._set_layout(self._file.tell())

    def _open_tiff(self, alpha: str) -> None:
        try:
            import tifffile
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "TIFF files need tifffile with --stream: python -m pip install tifffile", name=error.name
            ) from error
        page: Any = tifffile.TiffFile(self._file).pages[0]
        self._lengths, axes = tuple(page.shape), page.axes
        if axes not in ("YX", "YXS", "SYX") or page.dtype is None:
            raise ValueError(f"its axes must be YX, YXS or SYX with --stream, got {axes}")
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE or page.bitspersample % 8:
            raise ValueError("it must have samples of whole bytes and no palette with --stream")
        self.channels_first = axes == "SYX"
        self.dtype = np.dtype(page.dtype)
        if page.extrasamples:
            if alpha != "ignore" or self.channels_first:
                raise PairError(f"{self._path}: has an alpha channel; with --stream pass --alpha ignore")
            self._kept = self._lengths[-1] - len(page.extrasamples)
        if page.is_contiguous and page.compression == 1 and not page.is_tiled:
            self.dtype = self.dtype.newbyteorder(page.parent.byteorder)
            self._set_layout(page.dataoffsets[0])
            return
        if self.channels_first:
            raise ValueError("it is compressed with planar channels; save it with interleaved channels")
        self._page = page
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        self._require(max(ends))

    def _set_layout(self, offset: int) -> None:
        """Where the pixels are: all of them from this byte on."""
        if self.dtype.kind not in _KINDS:
            raise ValueError(f"must have real numbers, got {self.dtype}")
        self._offset = offset
        height, *rest = self._lengths[1:] if self.channels_first else self._lengths
        self._row_shape, self._height = tuple(rest), height
        self._row_bytes = self.dtype.itemsize * int(np.prod(rest, dtype=np.int64))
        self._require(offset + self.dtype.itemsize * int(np.prod(self._lengths, dtype=np.int64)))

    def _require(self, size: int) -> None:
        if self._size < size:
            raise ValueError(f"it is truncated: it has {self._size} bytes of {size}")

    def _read(self, rows: slice, plane: int) -> Any:
        """Rows of a plane, or of all channels."""
        first = self._offset + (plane * self._height + rows.start) * self._row_bytes
        return np.frombuffer(self._bytes(first, (rows.stop - rows.start) * self._row_bytes), self.dtype).reshape(
            -1, *self._row_shape
        )

    def _bytes(self, first: int, count: int) -> bytes:
        self._file.seek(first)
        found: bytes = self._file.read(count)
        if len(found) < count:
            raise PairError(f"{self._path}: became shorter while it was read: {len(found)} bytes of {count} are left")
        return found

    def _decoded(self, start: int, stop: int) -> Any:
        """Rows of a file in compressed strips or in tiles."""
        page = self._page
        out = np.empty((stop - start, *self._lengths[1:]), self.dtype)
        across = -(-self._lengths[1] // page.tilewidth) if page.is_tiled else 1
        height = page.tilelength if page.is_tiled else page.rowsperstrip
        for index in range(start // height * across, -(-stop // height) * across):
            data = self._bytes(page.dataoffsets[index], page.databytecounts[index])
            segment, (_, _, top, left, _), _ = page.decode(
                data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader
            )
            low, high = max(start, top), min(stop, top + height)
            if segment is None:  # a tile that is not stored has zeros
                segment = np.zeros((1, height, page.tilewidth, *self._lengths[2:]), self.dtype)
            pixels = segment[0, low - top : high - top, : self._lengths[1] - left]
            out[low - start : high - start, left : left + pixels.shape[1]] = pixels.reshape(
                *pixels.shape[:2], *self._lengths[2:]
            )
        return out
