"""Images that are read in blocks of rows: the same strips and the same sums as of images in memory.

The kernel of images in memory is called for the strips of one block after the other. A strip is swept as soon as its
rows and the halo below them are there. Of each scale only the rows from the first strip that is not finished are held:
addresses are such that row r of a plane is where it would be if all rows were. Sums go to the place of their strip, and
the last call adds them up in order, so the results have the same bits, whatever the number of rows of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from . import api, records
from .finish import N_SUMS
from .memory import empty
from .plan import Parameters, Plan, address
from .records import STATE, ScaleShape, Task
from .sources import Index, peak, run

_SAMPLED = 4  # rows of an image that its origin is found in; see pixels.origins_of()
_BUDGET = 1 << 27  # bytes of a block and of what is held of the coarser scales, about
_ROWS_OF_A_CHUNK = 512  # files in chunks have a power of two of rows in each: a block of whole chunks reads each once
_LEAST_ROWS = 64

Reader = Callable[[int, int], torch.Tensor]
"""Gives the rows from one number up to another, (planes, rows, width), of the dtype of both images."""


class Reading(NamedTuple):
    """How images are read."""

    readers: tuple[Reader, Reader]
    planes: int
    height: int
    width: int
    dtype: torch.dtype
    rows: int | None
    """Of a block; None to choose."""
    begin: Callable[[int], object]
    """Called with the number of rows before images are read from the first row."""
    progress: Callable[[int], object]
    """Called with the number of rows that were finished since the last call."""


def means(reading: Reading, options: api.Options) -> torch.Tensor:
    """The terms of every plane, (planes, levels), as api.means() of images in memory; `options` are those of api."""
    return api.means_of(Streamed(reading, torch.arange(reading.planes), reading.dtype), options).flatten(0, 1)


class Block(NamedTuple):
    """Rows that are read at a time, and the strips that can be swept then."""

    start: int
    stop: int
    firsts: tuple[int, ...]
    """The first row that is held, of each scale."""
    ends: tuple[int, ...]
    """The row after the last that is there when the block is done."""
    tasks: np.ndarray
    """A Task for each strip, finest scale first."""
    finished: tuple[int, ...]
    """How many strips of each scale are finished after it."""


def blocks(cut: Plan, halo: int, rows: int) -> Iterator[Block]:
    """The blocks of so many rows of images that are cut into strips."""
    tasks = [Task(*(int(each) for each in task)) for task in cut.tasks]
    heights = [int(shape[0]) for shape in cut.shapes]
    strips = [[task for task in tasks if task.plane == 0 and task.level == k] for k in range(len(heights))]
    finished, start = [0] * len(heights), 0
    while start < heights[0]:
        stop = min(heights[0], start + rows)
        firsts, ends, chosen, there = [], [], [], stop
        for level, height in enumerate(heights):
            own, first = strips[level], finished[level]
            firsts.append(own[first].top if first < len(own) else height)
            ends.append(there)
            while finished[level] < len(own) and min(height, own[finished[level]].bottom + halo) <= there:
                finished[level] += 1
            taken = own[first : finished[level]]
            chosen += [task._replace(plane=plane) for plane in range(cut.planes) for task in taken]
            bottom = own[finished[level] - 1].bottom if finished[level] else 0
            there = (bottom + 1) // 2
        yield Block(start, stop, tuple(firsts), tuple(ends), np.array(chosen, np.int64), tuple(finished))
        start = stop


class Streamed:
    """Some planes of images that are read in blocks, in their dtype or in float64: a :class:`.sources.Source`."""

    border = 0
    total_weights: torch.Tensor | None = None

    def __init__(self, reading: Reading, planes: torch.Tensor, dtype: torch.dtype, as_images: bool = False) -> None:
        self._reading, self._planes = reading, planes
        batch, channels = (len(planes), 1) if as_images else (1, len(planes))
        self.shape, self.dtype = (batch, channels, reading.height, reading.width), dtype

    def _read(self, which: int, start: int, stop: int) -> torch.Tensor:
        rows = self._reading.readers[which](start, stop)
        if len(self._planes) < self._reading.planes:
            rows = rows[self._planes]
        return rows if rows.dtype == self.dtype else rows.to(self.dtype)

    def sweep(self, means: torch.Tensor, grads: list[torch.Tensor], cut: Plan, numbers: Parameters) -> np.ndarray:
        """See :class:`.sources.Source`; there are no gradients."""
        assert not grads
        return _Sweep(self._reading, self._read, self.dtype, means, cut, numbers).through()

    def peaks(self) -> np.ndarray:
        """See :class:`.sources.Source`."""
        found = torch.zeros(len(self._planes), dtype=torch.float64, device="cpu")
        height, rows = self._reading.height, self._reading.rows or _ROWS_OF_A_CHUNK
        self._reading.begin(height)
        for start in range(0, height, rows):
            stop = min(height, start + rows)
            for which in range(2):
                found = torch.maximum(found, peak(self._read(which, start, stop).unsqueeze(0))[0].double())
            self._reading.progress(stop - start)
        return found.numpy()

    def groups(self, planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See :class:`.sources.Source`: all at a time, as reading takes long."""
        return (planes,)

    def widened(self, index: Index) -> Streamed:
        """See :class:`.sources.Source`."""
        image, channel = index
        return Streamed(self._reading, self._planes[image * self.shape[1] + channel], torch.float64, as_images=True)


class _Sweep:
    """One sweep over the images: what is held of them, and the calls of the kernel."""

    def __init__(
        self,
        reading: Reading,
        read: Callable[[int, int, int], torch.Tensor],
        dtype: torch.dtype,
        means: torch.Tensor,
        cut: Plan,
        numbers: Parameters,
    ) -> None:
        self._reading, self._read, self._means, self._cut, self._numbers = reading, read, means, cut, numbers
        planes, n_levels = cut.planes, len(cut.shapes)
        self._widths = [int(shape[1]) for shape in cut.shapes]
        rows = reading.rows or _rows(planes * self._widths[0], dtype, numbers.dtype)
        self._blocks = list(blocks(cut, 2 * (len(numbers.taps) - 1), rows))
        held = [max(each.ends[k] - each.firsts[k] for each in self._blocks) for k in range(n_levels)]
        self._images = [empty((planes, _SAMPLED + held[0], self._widths[0]), dtype) for _ in range(2)]
        # Where a scale is in the coarser scales of a plane; the last number is their size.
        self._places = [0, 0]
        for level in range(1, n_levels):
            self._places.append(self._places[-1] + held[level] * self._widths[level])
        self._pyramid = empty((2, planes, self._places[-1]), numbers.dtype)
        self._state = np.zeros(STATE.scales + planes * (n_levels + 1), np.int64)
        self._sums = np.empty(N_SUMS * planes * n_levels * cut.slots)

    def through(self) -> np.ndarray:
        """Read the images from the first row to the last; gives the state of the last call."""
        height = self._reading.height
        self._reading.begin(height)
        for which, image in enumerate(self._images):
            for k in range(_SAMPLED):
                row = (2 * k + 1) * height // (2 * _SAMPLED)
                image[:, k] = self._read(which, row, row + 1)[:, 0]
        before = None
        for block in self._blocks:
            if before:
                self._move(before, block)
            first = _SAMPLED + block.start - block.firsts[0]
            for which, image in enumerate(self._images):
                image[:, first : first + block.stop - block.start] = self._read(which, block.start, block.stop)
            if len(block.tasks):
                self._call(block)
            before = block
            self._reading.progress(block.stop - block.start)
        return self._state

    def _move(self, before: Block, block: Block) -> None:
        """Move the rows that the next block needs to where it expects them."""
        for level, (old, new, end) in enumerate(zip(before.firsts, block.firsts, before.ends, strict=True)):
            if old == new:
                continue
            if level == 0:
                parts, offset = self._images, _SAMPLED * self._widths[0]
            else:
                parts, offset = [self._pyramid], self._places[level]
            width = self._widths[level]
            size, source = (end - new) * width, offset + (new - old) * width
            for part in parts:
                flat = part.flatten(-2) if level == 0 else part
                flat[..., offset : offset + size] = flat[..., source : source + size].clone()

    def _call(self, block: Block) -> None:
        """Sweep over the strips of a block."""
        planes, n_levels, width = self._cut.planes, len(self._cut.shapes), self._widths[0]
        stored = [
            place - first * width for place, first, width in zip(self._places, block.firsts, self._widths, strict=False)
        ]
        shapes = np.array(
            [
                ScaleShape(int(shape[0]), int(shape[1]), 0, n_strips, own, coarser)
                for shape, n_strips, own, coarser in zip(
                    self._cut.shapes, block.finished, stored, [*stored[1:], 0], strict=True
                )
            ],
            np.int64,
        )
        self._state[: STATE.scales] = 0
        bases, plane = [image.data_ptr() for image in self._images], self._images[0].stride(0)
        shift = (_SAMPLED - block.firsts[0]) * width * self._images[0].element_size()
        pyramid_s, pyramid_d = (self._pyramid[k].data_ptr() for k in range(2))
        call = np.array(
            records.Arguments(
                self._means.data_ptr(), planes, n_levels, 1,
                pyramid_s, pyramid_d, self._places[-1], 0, 0, 0,
                bases[0] + shift, plane, plane, width, 1, bases[1] + shift, plane, plane, width, 1,
                bases[0], bases[1], _SAMPLED,
                address(shapes), address(block.tasks), len(block.tasks), self._numbers.address,
                address(self._state), address(self._sums), self._cut.slots,
            ),
            np.int64,
        )  # fmt: skip
        pixels = sum(int(bottom - top) * self._widths[level] for _, level, _, top, bottom in block.tasks)
        alive = self, shapes, block, call
        run(call, self._state, self._numbers, 0, pixels, alive)


def _rows(pixels: int, dtype: torch.dtype, compute_dtype: torch.dtype) -> int:
    """How many rows of so many pixels a block has."""
    # Two images, and s and d of the coarser scales, which have a third of the pixels.
    size = pixels * 2 * (dtype.itemsize + compute_dtype.itemsize / 3)
    rows = int(_BUDGET / size)
    if rows < _ROWS_OF_A_CHUNK:
        return max(_LEAST_ROWS, rows // _LEAST_ROWS * _LEAST_ROWS)
    return rows // _ROWS_OF_A_CHUNK * _ROWS_OF_A_CHUNK
