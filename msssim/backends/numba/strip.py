"""One strip of a plane at one scale: its blocks from left to right, 16 rows at a time.

A block is read once, with a constant near its mean subtracted, so that E[s²] - E[s]² cancels little; what lies at its
left already is brought to the same constant. It is filtered down the columns, then along the rows, as far as its pixels
reach, and what comes out is a part of the map. For the gradient the derivatives go the same way back, the lines that
the blocks below need are kept for them, and the next scale's pixels are made from the same block. All of it stays in
the nearest caches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .block_gradient import Change, Extent, filter_grads, move_grads, move_moments, move_pixels
from .filters import filter_down
from .functions import outlined
from .layout import COLUMNS, COPIES, PART, ROWS, SHEET, Layout
from .pixels import Image, count_repeats, downsample, fetch, near_means
from .scalars import FLOAT32, Field, Number, Pointer, Scalar
from .simd import SimdBuilder
from .similarity import Constants, Derivatives, similarity


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
    """The next scale's pixels."""
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


def _clear(code: SimdBuilder, values: Pointer, count: Number, planes: int = 1, plane: int = 0) -> None:
    for m in code.range(planes):
        for i in code.range(count):
            values[m * plane + i] = 0


@outlined
def sweep_strip(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    x: Image,
    y: Image,
    origins: Origins,
    strip: Strip,
    targets: Targets,
    memory: Memory,
    sums: Pointer,
    constants: PlaneConstants,
) -> None:
    """Add to the sums of the map, and write the strip's share of what else there is.

    `sums` are the MEASURES of each row of a block; the same again, for rows that another strip counts; how many pixels
    equal their neighbour, and of how many.
    """
    n_grads, halo, grads_there = options.n_grads, layout.halo, options.n_grads > 0
    lag = layout.pad if grads_there else 0  # of the gradient behind the pixels
    groups = (strip.width + (lag + COLUMNS - 1)) // COLUMNS
    carry_of_group = (2 + n_grads) * halo * COLUMNS
    start = strip.top
    if grads_there:
        start = code.max(strip.top - (halo + ROWS - 1) // ROWS * ROWS, 0)
        _clear(code, memory.carry, groups * carry_of_group)
        _clear(code, memory.shifts, groups * 2)
    shift_x, shift_y, end = code.variable(0.0), code.variable(0.0), code.variable(0)
    for p in code.range(start, strip.bottom, ROWS):
        own, rows = p >= strip.top, code.min(strip.bottom - p, ROWS)
        rows_in = code.min(strip.height - p, ROWS + halo)
        rows_of_map = code.min(strip.height - halo - p, ROWS)
        shift_x.set(0.0)
        shift_y.set(0.0)
        for h in code.range(groups):
            at, first = h * COLUMNS, code.select(h > 0, 0, halo)
            count = code.min(strip.width - at, COLUMNS)
            here = x.at(p, at), y.at(p, at)
            old = shift_x.get(), shift_y.get()
            # Where squares about a constant decide what is flat, C2 being 0, every block has the same constant.
            with code.when((count > 0) & ((h == 0) | (constants.eps_cs == 0))):
                for shift, mean in zip(
                    (shift_x, shift_y), near_means(code, *here, rows_in, count, constants.scale), strict=True
                ):
                    shift.set(mean)
            shifts = shift_x.get(), shift_y.get()
            _move_right(code, layout, options, memory, h, _change(old, shifts))
            end.set(0)
            with code.when(count > 0):
                fetch(code, layout, *here, rows_in, count, constants.scale, shifts, memory.tile)
                if code.element == FLOAT32:
                    with code.when(own & (count > 1)):
                        for k, number in enumerate(count_repeats(code, layout, memory.tile, rows, count)):
                            sums[SHEET.equal + k] = sums[SHEET.equal + k] + number
                with code.when(own & ~strip.last):
                    added = shifts[0] + (origins.x - origins.next_x), shifts[1] + (origins.y - origins.next_y)
                    broad = (strip.width + 1) // 2
                    place = p // 2 * broad + at // 2
                    coarse = targets.coarse[0] + place, targets.coarse[1] + place
                    downsample(code, layout, memory.tile, coarse, broad, rows, count, added)
                with code.when(rows_of_map > 0):
                    end.set(count)
                    parts = (count + (PART - 1)) // PART
                    filter_down(
                        code, layout, memory.table, memory.tile, memory.moments, memory.scratch, memory.scratch,
                        (here[0].pixels, here[1].pixels), parts, (x.below, y.below),
                    )  # fmt: skip
                    extent = first, count, rows_of_map, parts
                    counted = sums + code.select(own, 0, SHEET.uncounted)
                    _map(code, layout, options, strip.last, memory, counted, extent, shifts, origins, constants)
            if grads_there:
                first, done = code.min(first, end.get()), end.get()
                _clear(code, memory.grads + lag * ROWS, first * ROWS, 2 + n_grads, layout.grad_plane)
                rest = memory.grads + (done + lag) * ROWS
                _clear(code, rest, (COLUMNS - done) * ROWS, 2 + n_grads, layout.grad_plane)
                above = memory.shifts + h * 2
                change = _change((above[0], above[1]), shifts)
                above[0], above[1] = shifts
                carry = memory.carry + h * carry_of_group
                outputs = [target + (p * strip.width + at - lag) for target in targets.gradients]
                columns = code.select(h == 0, lag, 0), code.min(strip.width + lag - at, COLUMNS)
                _write_gradients(
                    code, layout, options, memory, carry, outputs, strip.width, rows, columns, own, change,
                    constants.grad_scale,
                )  # fmt: skip


def _change(old: tuple[Scalar, Scalar], new: tuple[Scalar, Scalar]) -> Change:
    """By how much the constants of s and d grow when those of x and y do."""
    by_x, by_y = new[0] - old[0], new[1] - old[1]
    return by_x + by_y, by_x - by_y


def _move_right(
    code: SimdBuilder, layout: Layout, options: Options, memory: Memory, group: Scalar, change: Change
) -> None:
    """What the block at the left leaves to its neighbour, brought to the neighbour's constants."""
    with code.branch(group > 0) as (move, begin):
        with move:
            move_moments(code, layout, memory.table, memory.moments, change)
            if options.n_grads:
                move_grads(code, layout, options.n_grads, memory.grads, change)
                move_pixels(code, layout, memory.tile, change)
        with begin:
            if options.n_grads:
                _clear(code, memory.grads, layout.pad * ROWS, 2 + options.n_grads, layout.grad_plane)


def _map(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    luminance: Scalar,
    memory: Memory,
    sums: Pointer,
    extent: tuple[Scalar, ...],
    shifts: tuple[Scalar, Scalar],
    origins: Origins,
    constants: PlaneConstants,
) -> None:
    """The block's part of the map of l cs at the coarsest scale, else of cs."""
    (shift_x, shift_y), missing_x, missing_y = shifts, origins.x, origins.y
    all_x, all_y = shift_x + missing_x, shift_y + missing_y
    squares = (shift_x * shift_x + missing_x * missing_x) + (shift_y * shift_y + missing_y * missing_y)
    numbers = Constants(*constants[1:8], all_x + all_y, all_x - all_y, squares + squares)
    with code.branch(luminance) as branches:
        for inside, kind in zip(branches, (True, False), strict=True):
            with inside:
                similarity(
                    code, layout, Derivatives(kind, *options), memory.table, memory.moments, memory.grads,
                    memory.scratch, sums, extent, numbers,
                )  # fmt: skip


def _write_gradients(
    code: SimdBuilder,
    layout: Layout,
    options: Options,
    memory: Memory,
    carry: Pointer,
    outputs: list[Pointer],
    width: Scalar,
    rows: Scalar,
    columns: tuple[Scalar, Scalar],
    own: Scalar,
    change: Change,
    scale: Scalar,
) -> None:
    """A block's share of the gradients, from one column to another; by way of a buffer where it is not whole."""
    (first, end), n_grads = columns, options.n_grads
    whole = (rows == ROWS) & (end % PART == 0)
    buffers = memory.block, memory.block + ROWS * COLUMNS
    rows_again = memory.scratch + (2 + n_grads) * layout.lines_plane
    targets = tuple(code.select(whole, *pair) for pair in zip(outputs, buffers, strict=True))[:n_grads]
    extent = Extent(first // PART, (end + (PART - 1)) // PART, own, code.select(whole, width, COLUMNS))
    filter_grads(
        code, layout, memory.table, memory.grads, carry, memory.tile, memory.scratch, rows_again, targets, extent,
        change, scale,
    )  # fmt: skip
    with code.when(own & ~whole):
        for row in code.range(rows):
            for i in code.range(first, end):
                for output, buffer in list(zip(outputs, buffers, strict=True))[:n_grads]:
                    output[row * width + i] = buffer[row * COLUMNS + i]
