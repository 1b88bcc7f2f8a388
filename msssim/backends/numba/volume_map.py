"""From a strip of some slices of two volumes to the map: its sums and its derivatives.

Block by block, the voxels are filtered along the depth. Then each slice is a block of an image: filtered down the
columns and along the rows, its map computed, and the derivatives filtered along the rows, by the functions of images.
"""

from __future__ import annotations

from typing import NamedTuple

from .block_gradient import filter_grads_along, move_grads, move_moments, rebase_grads
from .filters import filter_16, load_transposed, load_weights
from .functions import outlined
from .layout import COLUMNS, PART, ROWS, SHEET, Layout
from .pixels import Image, Pair
from .scalars import FLOAT32, Pointer, Scalar
from .shifts import mean_near, shifts_near
from .simd import SimdBuilder
from .similarity import Constants, Derivatives, similarity
from .strip import MOVED, change_of, clear
from .vectors import Vector
from .volume_records import DEPTH, Work, slab_plane
from .volume_stage import stage


@outlined
def _filter_by_depth(
    code: SimdBuilder, layout: Layout, table: Pointer, staged: Pointer, out: Pointer, parts: Scalar
) -> None:
    """Of a row of the block: the four moments of DEPTH slices."""
    weights, plane = load_weights(code, layout, table, 2), slab_plane(layout)
    for m in code.range(2):
        for index in code.range(parts * (PART // code.lanes)):
            at = index * code.lanes
            source, target = staged + (m * layout.tile_plane + at), out + (m * plane + at)
            for square in (False, True):

                def load(k: int, square: bool = square, source: Pointer = source) -> Vector:
                    value = code.load(source, k * layout.line)
                    return value * value if square else value

                def put(k: int, mean: Vector, square: bool = square, target: Pointer = target) -> None:
                    code.store(mean, target, (4 * k + 2 * square) * plane)

                filter_16(code, weights, load, put, count=DEPTH)


@outlined
def _filter_slab_down(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    slab: Pointer,
    moments: Pointer,
    rows: Pointer,
    rows_again: Pointer,
    parts: Scalar,
) -> None:
    """From the slab of a slice to its moments. `rows` and `rows_again` are one memory, see filter_down()."""
    weights = load_weights(code, layout, table, 0)
    for m in code.range(4):
        for index in code.range(parts * (PART // code.lanes)):
            source = slab + (m * slab_plane(layout) + index * code.lanes)
            filter_16(code, weights, code.loader(source, COLUMNS), code.storer(rows, code.lanes), True)
            out = moments + (m * layout.moment_plane + (index * (code.lanes * ROWS) + layout.halo * ROWS))
            for k in range(0, ROWS, code.lanes):
                for j, vector in enumerate(load_transposed(code, rows_again, k)):
                    code.store(vector, out, j * ROWS + k)


@outlined
def _copy(code: SimdBuilder, source: Pointer, out: Pointer, count: int, planes: int, steps: Pair) -> None:
    """Numbers of some planes; `steps` are from one plane to the next, in the source and in what is written."""
    for m in code.range(planes):
        for index in code.range(count // code.lanes):
            at = index * code.lanes
            code.store(code.load(source + (m * steps[0] + at)), out + (m * steps[1] + at))


@outlined
def _send_grads(
    code: SimdBuilder,
    layout: Layout,
    n_grads: int,
    table: Pointer,
    grads: Pointer,
    scratch: Pointer,
    scratch_again: Pointer,
    ring: Pointer,
    sizes: tuple[Scalar, ...],
    change: Pair,
) -> None:
    """Filter the derivatives along the rows, and write them to the ring about the constants of the plane.

    `sizes` are the first part, the part after the last, the rows, and the numbers of a row and of a derivative in the
    ring. The scratch memory has two names, see filter_down().
    """
    first, end, rows, line, plane = sizes
    changes, planes = [code.splat(each) for each in change], 2 + n_grads
    room, room_again = (each + planes * layout.lines_plane for each in (scratch, scratch_again))
    for part in code.range(first, end):
        filter_grads_along(code, layout, table, grads + part * (PART * ROWS), scratch, room, room_again, planes)
        for row in code.range(rows):
            for at in range(0, PART, code.lanes):
                source = scratch + (row * PART + (layout.carry_plane + at))
                found = [code.load(source, m * layout.lines_plane) for m in range(planes)]
                target = ring + (row * line + part * PART + at)
                for m, grad in enumerate(rebase_grads(found, changes)):
                    code.store(grad, target + plane * m)


@outlined
def _move_down(code: SimdBuilder, layout: Layout, carry: Pointer, slabs: Pointer, change: Pair) -> None:
    """Make the last rows of the slabs above the first ones, with the constants of this block."""
    changes, plane, rows = [code.splat(each) for each in change], slab_plane(layout), layout.halo * COLUMNS
    for k in code.range(DEPTH):
        for index in code.range(rows // code.lanes):
            source, out = carry + (k * (4 * rows) + index * code.lanes), slabs + (k * (4 * plane) + index * code.lanes)
            for m in range(2):
                mean, square = code.load(source, m * rows), code.load(source, (2 + m) * rows)
                moved = mean - changes[m]
                code.store(moved, out, m * plane)
                code.store(square - changes[m] * (mean + moved), out, (2 + m) * plane)


class _Block(NamedTuple):
    """A block of all slices of a task."""

    row: Scalar
    """Its first row of windows."""
    group: Scalar
    """Its number in the row of blocks."""
    columns: Scalar
    """Columns of voxels; 0 or less where only the gradient is behind."""
    shifts: Pair
    """What is subtracted from its voxels."""
    from_left: Pair
    """By how much the constants of s and d grew from the block at the left."""
    from_above: Pair


def _near_means(code: SimdBuilder, work: Work, row: Scalar, column: Scalar, columns: Scalar) -> Pair:
    """The constants to subtract from x and y in a block: near the means of some of its voxels."""
    slices = code.min(work.depth - work.first_slice, work.layout.halo + DEPTH)
    rows = code.min(work.height - row, work.layout.halo + ROWS)
    at = (work.first_slice * work.height + row) * work.width + column

    def place(i: Scalar, j: Scalar) -> Pair:
        slice, below = (slices - 1) * ((i + i + j) % 4) // 3, (rows - 1) * (i + i + j % 2) // 3
        return (slice * work.height + below) * work.width, (columns - 1) * j // 3

    one = code.integer(1)
    means = [
        mean_near(code, Image(each + at, one, one), (2, 4), place, work.constants.scale) for each in (work.x, work.y)
    ]
    return shifts_near(code, means[0], means[1])


def _count_repeats(code: SimdBuilder, layout: Layout, s: Pointer, columns: Scalar) -> Scalar:
    """How many voxels of a row equal their right neighbour in both volumes, but not the constant of the block."""
    equal = code.variable(0)
    for i in code.range(columns - 1):
        d = s + layout.tile_plane
        same = (s[i] == s[i + 1]) & (d[i] == d[i + 1])
        equal.set(equal.get() + (same & ((s[i] != 0) | (d[i] != 0))))
    found: Scalar = equal.get()
    return found


def _fill_slabs(code: SimdBuilder, work: Work, block: _Block) -> None:
    """Read a block of all slices and filter it along the depth, row by row; the first rows may be there from above."""
    layout, memory, sheet, column = work.layout, work.memory, work.sheet, block.group * COLUMNS
    slices = code.min(work.depth - work.first_slice, layout.halo + DEPTH)
    parts, one, below = (block.columns + (PART - 1)) // PART, code.integer(1), work.height * work.width
    rows = DEPTH * 4 * layout.halo * COLUMNS
    carry, again = memory.carry + block.group * rows, block.row > work.first_row
    with code.when(again):
        _move_down(code, layout, carry, memory.slabs, block.from_above)
    for r in code.range(code.select(again, layout.halo, 0), ROWS + layout.halo):
        # Below the volume the last row again: any finite numbers.
        row = code.min(block.row + r, work.height - 1)
        at = (work.first_slice * work.height + row) * work.width + column
        images = Image(work.x + at, one, below), Image(work.y + at, one, below)
        stage(code, layout, memory.staged, *images, (slices, block.columns), work.constants.scale, block.shifts)
        if code.element == FLOAT32 and work.options.n_grads:
            with code.when((r % 8 == 4) & (r >= layout.halo) & (block.columns > 1)):
                middle = memory.staged + (layout.halo // 2) * layout.line
                sheet[SHEET.equal] = sheet[SHEET.equal] + _count_repeats(code, layout, middle, block.columns)
                sheet[SHEET.compared] = sheet[SHEET.compared] + (block.columns - 1)
        _filter_by_depth(code, layout, memory.table, memory.staged, memory.slabs + r * COLUMNS, parts)
    steps = _both(code, slab_plane(layout), layout.halo * COLUMNS)
    _copy(code, memory.slabs + ROWS * COLUMNS, carry, layout.halo * COLUMNS, 4 * DEPTH, steps)


def _map(code: SimdBuilder, work: Work, block: _Block, rows: Scalar, numbers: Constants) -> None:
    """The map of a slice's part of the block, from its moments."""
    layout, memory, columns = work.layout, work.memory, block.columns
    extent = code.select(block.group > 0, 0, layout.halo), columns, rows, (columns + (PART - 1)) // PART
    with code.branch(work.last) as branches:
        for inside, luminance in zip(branches, (True, False), strict=True):
            with inside:
                similarity(
                    code, layout, Derivatives(luminance, *work.options), memory.table, memory.moments, memory.grads,
                    memory.scratch, work.sheet, extent, numbers,
                )  # fmt: skip


def _constants(code: SimdBuilder, work: Work, block: _Block) -> Constants:
    (shift_x, shift_y), zero = block.shifts, code.real(0)
    squares = shift_x * shift_x + shift_y * shift_y
    moved = zero
    for (by_s, by_d), there in ((block.from_left, block.group > 0), (block.from_above, block.row > work.first_row)):
        moved = moved + MOVED[code.element != FLOAT32] * code.select(there, by_s * by_s + by_d * by_d, zero)
    return Constants(*work.constants[1:8], shift_x + shift_y, shift_x - shift_y, squares + squares, moved)


def _begin_grads(code: SimdBuilder, work: Work, k: Scalar, block: _Block) -> None:
    """What the block at the left leaves of a slice's derivatives, brought to the constants of this block."""
    layout, memory, planes = work.layout, work.memory, 2 + work.options.n_grads
    edge, wide = layout.pad * ROWS, layout.grad_plane
    with code.branch(block.group > 0) as (move, begin):
        with move:
            left = memory.left_grads + k * (4 * edge)
            _copy(code, left, memory.grads + COLUMNS * ROWS, edge, planes, _both(code, edge, wide))
            move_grads(code, layout, work.options.n_grads, memory.grads, block.from_left)
        with begin:
            clear(code, memory.grads, edge, planes, wide)


def _both(code: SimdBuilder, one: int, other: int) -> Pair:
    return code.integer(one), code.integer(other)


def _end_grads(code: SimdBuilder, work: Work, k: Scalar, block: _Block, rows: Scalar) -> None:
    """Send a slice's derivatives to the ring, as far as they reach."""
    layout, memory, planes = work.layout, work.memory, 2 + work.options.n_grads
    group, end = block.group, code.max(block.columns, 0)
    lag, edge, wide, column = layout.pad, layout.pad * ROWS, layout.grad_plane, group * COLUMNS
    before = code.min(code.select(group > 0, 0, layout.halo), end)
    clear(code, memory.grads + lag * ROWS, before * ROWS, planes, wide)
    clear(code, memory.grads + (end + lag) * ROWS, (COLUMNS - end) * ROWS, planes, wide)
    first, last = code.select(group == 0, lag, 0), code.min(work.width + lag - column, COLUMNS)
    all_rows, line, slots = work.height - layout.halo, (work.width + (PART - 1)) // PART * PART, layout.halo + DEPTH
    slot = (work.first_slice + k) % slots
    ring = work.ring + ((slot * all_rows + block.row) * line + (column - lag))
    sizes = first // PART, (last + (PART - 1)) // PART, rows, line, slots * all_rows * line
    change = change_of(block.shifts, work.origins)
    _send_grads(
        code, layout, work.options.n_grads, memory.table, memory.grads, memory.scratch, memory.scratch, ring, sizes,
        change,
    )  # fmt: skip
    left = memory.left_grads + k * (4 * edge)
    _copy(code, memory.grads + COLUMNS * ROWS, left, edge, planes, _both(code, wide, edge))


def sweep_map(code: SimdBuilder, work: Work) -> None:
    """Compute the map of the task's slices: rows of blocks, from left to right."""
    lag = work.layout.pad if work.options.n_grads else 0  # of the gradient behind the voxels
    shifts = code.variable(0.0), code.variable(0.0)
    for row in code.range(work.first_row, work.end_row, ROWS):
        for group in code.range((work.width + (lag + COLUMNS - 1)) // COLUMNS):
            columns = code.min(work.width - group * COLUMNS, COLUMNS)
            old = shifts[0].get(), shifts[1].get()
            # Where squares about a constant decide what is flat, C2 being 0, every block has the same constant.
            first = (group == 0) & (row == work.first_row)
            with code.when((columns > 0) & (first | (work.constants.eps_cs == 0))):
                near = _near_means(code, work, row, group * COLUMNS, columns)
                for shift, mean in zip(shifts, near, strict=True):
                    shift.set(mean)
            new = shifts[0].get(), shifts[1].get()
            above = work.memory.above + code.select(columns > 0, group, 0) * 2
            block = _Block(row, group, columns, new, change_of(old, new), change_of((above[0], above[1]), new))
            with code.when(columns > 0):
                _fill_slabs(code, work, block)
                above[0], above[1] = new
            _sweep_slices(code, work, block)


def _sweep_slices(code: SimdBuilder, work: Work, block: _Block) -> None:
    """Each slice of the block, as of an image."""
    layout, memory, group, columns = work.layout, work.memory, block.group, block.columns
    edge, wide = layout.halo * ROWS, layout.moment_plane
    rows, numbers = code.min(work.end_row - block.row, ROWS), _constants(code, work, block)
    for k in code.range(code.min(work.depth - layout.halo - work.first_slice, DEPTH)):
        if work.options.n_grads:
            _begin_grads(code, work, k, block)
        with code.when(columns > 0):
            left, right = memory.left_moments + k * (4 * edge), memory.moments + COLUMNS * ROWS
            with code.when(group > 0):
                _copy(code, left, right, edge, 4, _both(code, edge, wide))
                move_moments(code, layout, memory.table, memory.moments, block.from_left)
            slab, parts = memory.slabs + k * (4 * slab_plane(layout)), (columns + (PART - 1)) // PART
            _filter_slab_down(code, layout, memory.table, slab, memory.moments, memory.scratch, memory.scratch, parts)
            _map(code, work, block, rows, numbers)
            _copy(code, right, left, edge, 4, _both(code, wide, edge))
        if work.options.n_grads:
            _end_grads(code, work, k, block, rows)
