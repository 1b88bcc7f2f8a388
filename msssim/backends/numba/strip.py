"""One strip of a plane at one scale: its blocks from left to right, 16 rows at a time.

A block is read once, with a constant near its mean subtracted, so that E[s²] - E[s]² cancels little; what is kept from
the block at its left is converted to the same constant. It is filtered down the columns, then along the rows, as far as
its pixels reach, and what comes out is a part of the map. For the gradient the derivatives go the same way back, the
lines that the blocks below need are kept for them, and the next scale's pixels are made from the same block. All of it
stays in the nearest caches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .block_gradient import Change, Extent, filter_grads, move_grads, move_moments, move_pixels
from .filters import filter_down
from .functions import outlined
from .layout import COLUMNS, COPIES, PART, ROWS, SHEET, Layout
from .pixels import Image, count_repeats, downsample, fetch, near_means
from .scalars import FLOAT32, FLOAT64, Field, Number, Pointer, Scalar
from .simd import SimdBuilder
from .similarity import Constants, Derivatives, similarity

# What rounding leaves in moments that were brought to other constants, in units of the squared change and of the
# constants' eps: typical in float32, where the largest would keep many gradients of covariances that are negative.
MOVED = {False: 0.125, True: 0.5}  # whether it is float64


class PlaneConstants(NamedTuple):
    """What a plane is computed with: a row of a table of float64."""

    scale: Field
    """What pixels are multiplied by, to be in working units."""
    c1: Field
    c2: Field
    eps: Field
    floor: Field
    zero: Field
    eps_l: Field
    eps_cs: Field
    """For these seven see similarity.Constants."""
    grad_scale: Field
    """What gradients are multiplied by."""


class Options(NamedTuple):
    """What code is made for."""

    n_grads: int
    """How many images have a gradient."""
    guard_zero_div: bool
    """Whether a denominator may be zero, which C1 and C2 usually rule out, or a product overflow."""


class Memory(NamedTuple):
    """A thread's own memory."""

    table: Pointer
    tile: Pointer
    moments: Pointer
    scratch: Pointer
    grads: Pointer
    block: Pointer
    carry: Pointer
    shifts: Pointer
    """The constants of the blocks above."""


class Targets(NamedTuple):
    """Where the results of a plane at one scale go."""

    coarse: tuple[Pointer, ...]
    """The next scale's s and d."""
    gradients: tuple[Pointer, ...]


class Strip(NamedTuple):
    """Rows of a plane at one scale."""

    top: Scalar
    bottom: Scalar
    height: Scalar
    """Of the plane."""
    width: Scalar
    last: Scalar
    """Whether the scale is the coarsest."""
    stored: Scalar
    """Whether s and d are given for x and y, as at all scales but the finest."""


class Origins(NamedTuple):
    """What was subtracted from all of x and of y already, and what is to be subtracted from the next scale's."""

    x: Number
    y: Number
    next_x: Scalar
    next_y: Scalar


def sizes(layout: Layout, width: Scalar, n_grads: int) -> list[Any]:
    """How many numbers each part of the Memory has."""
    groups = (width + (layout.pad + COLUMNS - 1)) // COLUMNS
    with_gradient = 1 if n_grads else 0
    of = dict(
        table=2 * layout.n_taps * COPIES,
        tile=2 * layout.tile_plane,
        moments=4 * layout.moment_plane,
        scratch=4 * layout.lines_plane + 3 * ROWS * COPIES,
        grads=with_gradient * 4 * layout.grad_plane,
        block=with_gradient * 2 * ROWS * COLUMNS,
        carry=groups * (with_gradient * 4 * layout.halo * COLUMNS),
        shifts=groups * 2,
    )
    return [of[name] for name in Memory._fields]


def clear(code: SimdBuilder, values: Pointer, count: Number, planes: int = 1, plane: int = 0) -> None:
    for m in code.range(planes):
        for i in code.range(count):
            values[m * plane + i] = 0


class Work(NamedTuple):
    """All that a strip is swept with."""

    layout: Layout
    options: Options
    x: Image
    y: Image
    origins: Origins
    strip: Strip
    targets: Targets
    memory: Memory
    sums: Pointer
    """The MEASURES of each row of a block; the same again, for rows that another strip counts; how many pixels equal
    their neighbour, and of how many."""
    constants: PlaneConstants


class Block(NamedTuple):
    """A block of the strip; rows and columns beyond the plane do not count."""

    row: Scalar
    """Its first row in the plane."""
    column: Scalar
    """Its first column in the plane."""
    group: Scalar
    """Its number in the row of blocks."""
    own: Scalar
    """Whether its rows are the strip's; else they only carry derivatives to the rows below."""
    rows: Scalar
    """Rows of the strip."""
    columns: Scalar
    """Columns of pixels; 0 or less where only the gradient is behind."""
    images: tuple[Image, Image]
    """The block's pixels."""
    shifts: tuple[Scalar, Scalar]
    """What is subtracted from them."""
    change: Change
    """By how much the constants of s and d grew from the block at the left."""


@outlined
def sweep_strip(code: SimdBuilder, work: Work) -> None:
    """Add to the sums of the map, and write the other results of the strip."""
    layout, options, strip = work.layout, work.options, work.strip
    lag = layout.pad if options.n_grads else 0  # of the gradient behind the pixels
    groups = (strip.width + (lag + COLUMNS - 1)) // COLUMNS
    start = strip.top
    if options.n_grads:
        start = code.max(strip.top - (layout.halo + ROWS - 1) // ROWS * ROWS, 0)
        clear(code, work.memory.carry, groups * ((2 + options.n_grads) * layout.halo * COLUMNS))
        clear(code, work.memory.shifts, groups * 2)
    shifts, end = (code.variable(0.0), code.variable(0.0)), code.variable(0)
    for p in code.range(start, strip.bottom, ROWS):
        own, rows = p >= strip.top, code.min(strip.bottom - p, ROWS)
        for shift in shifts:
            shift.set(0.0)
        for h in code.range(groups):
            at = h * COLUMNS
            count = code.min(strip.width - at, COLUMNS)
            images = work.x.at(p, at), work.y.at(p, at)
            old = shifts[0].get(), shifts[1].get()
            # Where squares about a constant decide what is flat, C2 being 0, every block has the same constant.
            with code.when((count > 0) & ((h == 0) | (work.constants.eps_cs == 0))):
                rows_in = code.min(strip.height - p, ROWS + layout.halo)
                means = near_means(code, *images, rows_in, count, work.constants.scale, strip.stored)
                for shift, mean in zip(shifts, means, strict=True):
                    shift.set(mean)
            new = shifts[0].get(), shifts[1].get()
            block = Block(p, at, h, own, rows, count, images, new, change_of(old, new))
            _move_right(code, work, h, block.change)
            end.set(0)
            with code.when(count > 0):
                _fill_tile(code, work, block)
                rows_of_map = code.min(strip.height - layout.halo - p, ROWS)
                with code.when(rows_of_map > 0):
                    end.set(count)
                    _map(code, work, block, rows_of_map)
            if options.n_grads:
                _write_gradients(code, work, block, end.get())


def change_of(old: tuple[Scalar, Scalar], new: tuple[Scalar, Scalar]) -> Change:
    """By how much the constants of s and d grow when those of x and y do."""
    by_x, by_y = new[0] - old[0], new[1] - old[1]
    return by_x + by_y, by_x - by_y


def _move_right(code: SimdBuilder, work: Work, group: Scalar, change: Change) -> None:
    """What the block at the left leaves to its neighbour, brought to the neighbour's constants."""
    layout, memory, n_grads = work.layout, work.memory, work.options.n_grads
    with code.branch(group > 0) as (move, begin):
        with move:
            move_moments(code, layout, memory.table, memory.moments, change)
            if n_grads:
                move_grads(code, layout, n_grads, memory.grads, change)
                move_pixels(code, layout, memory.tile, change)
        with begin:
            if n_grads:
                clear(code, memory.grads, layout.pad * ROWS, 2 + n_grads, layout.grad_plane)


def _fill_tile(code: SimdBuilder, work: Work, block: Block) -> None:
    """Read the block's pixels, count those that equal their neighbour, and write the next scale's s and d."""
    layout, strip, tile, origins, sums = work.layout, work.strip, work.memory.tile, work.origins, work.sums
    rows_in = code.min(strip.height - block.row, ROWS + layout.halo)
    fetch(code, layout, *block.images, rows_in, block.columns, work.constants.scale, block.shifts, tile, strip.stored)
    if code.element == FLOAT32:
        with code.when(block.own & (block.columns > 1)):
            for k, number in enumerate(count_repeats(code, layout, tile, block.rows, block.columns)):
                sums[SHEET.equal + k] = sums[SHEET.equal + k] + number
    with code.when(block.own & ~strip.last):
        by_x, by_y = block.shifts[0] + (origins.x - origins.next_x), block.shifts[1] + (origins.y - origins.next_y)
        width = (strip.width + 1) // 2
        place = block.row // 2 * width + block.column // 2
        targets = work.targets.coarse[0] + place, work.targets.coarse[1] + place
        downsample(code, layout, tile, targets, width, block.rows, block.columns, (by_x + by_y, by_x - by_y))


def _map(code: SimdBuilder, work: Work, block: Block, rows: Scalar) -> None:
    """The block's part of the map of l cs at the coarsest scale, else of cs; so many rows of it."""
    layout, memory = work.layout, work.memory
    parts = (block.columns + (PART - 1)) // PART
    filter_down(
        code, layout, memory.table, memory.tile, memory.moments, memory.scratch, memory.scratch,
        (block.images[0].pixels, block.images[1].pixels), parts, (work.x.below, work.y.below),
    )  # fmt: skip
    extent = code.select(block.group > 0, 0, layout.halo), block.columns, rows, parts
    sums = work.sums + code.select(block.own, 0, SHEET.uncounted)
    (shift_x, shift_y), missing_x, missing_y = block.shifts, work.origins.x, work.origins.y
    all_x, all_y = shift_x + missing_x, shift_y + missing_y
    squares = (shift_x * shift_x + missing_x * missing_x) + (shift_y * shift_y + missing_y * missing_y)
    by_s, by_d = block.change
    moved = MOVED[code.element == FLOAT64] * code.select(block.group > 0, by_s * by_s + by_d * by_d, 0)
    numbers = Constants(*work.constants[1:8], all_x + all_y, all_x - all_y, squares + squares, moved)
    with code.branch(work.strip.last) as branches:
        for inside, luminance in zip(branches, (True, False), strict=True):
            with inside:
                similarity(
                    code, layout, Derivatives(luminance, *work.options), memory.table, memory.moments, memory.grads,
                    memory.scratch, sums, extent, numbers,
                )  # fmt: skip


def _write_gradients(code: SimdBuilder, work: Work, block: Block, end: Scalar) -> None:
    """Write the gradients as far as the map's derivatives reach, which end at that column of the block.

    They are written directly where the part of the block that is finished is whole, else by way of a buffer.
    """
    layout, strip, memory, n_grads = work.layout, work.strip, work.memory, work.options.n_grads
    lag, planes = layout.pad, 2 + n_grads
    before = code.min(code.select(block.group > 0, 0, layout.halo), end)
    clear(code, memory.grads + lag * ROWS, before * ROWS, planes, layout.grad_plane)
    clear(code, memory.grads + (end + lag) * ROWS, (COLUMNS - end) * ROWS, planes, layout.grad_plane)
    above = memory.shifts + block.group * 2
    change = change_of((above[0], above[1]), block.shifts)
    above[0], above[1] = block.shifts
    carry = memory.carry + block.group * (planes * layout.halo * COLUMNS)
    outputs = [target + (block.row * strip.width + block.column - lag) for target in work.targets.gradients[:n_grads]]
    first, last = code.select(block.group == 0, lag, 0), code.min(strip.width + lag - block.column, COLUMNS)
    whole = (block.rows == ROWS) & (last % PART == 0)
    buffers = [memory.block + k * ROWS * COLUMNS for k in range(n_grads)]
    targets = tuple(code.select(whole, *pair) for pair in zip(outputs, buffers, strict=True))
    width = code.select(whole, strip.width, COLUMNS)
    filter_grads(
        code, layout, memory.table, memory.grads, carry, memory.tile, memory.scratch,
        memory.scratch + planes * layout.lines_plane, targets,
        Extent(first // PART, (last + (PART - 1)) // PART, block.own, width), change, work.constants.grad_scale,
    )  # fmt: skip
    with code.when(block.own & ~whole):
        for row in code.range(block.rows):
            for i in code.range(first, last):
                for output, buffer in zip(outputs, buffers, strict=True):
                    output[row * strip.width + i] = buffer[row * COLUMNS + i]
