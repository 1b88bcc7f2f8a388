"""One strip of a plane at one scale: its blocks from left to right, 16 rows at a time.

A block is read once, with a constant near its mean subtracted, so that E[s²] - E[s]² cancels little; what is kept from
the block at its left is converted to the same constant. It is filtered down the columns, then along the rows, as far as
its pixels reach, and what comes out is a part of the map. For the gradient the derivatives go the same way back, the
lines that the blocks below need are kept for them, and the next scale's pixels are made from the same block. All of it
stays in the nearest caches.
"""

from __future__ import annotations

from .block_gradient import Change, Extent, filter_grads, move_grads, move_moments, move_pixels
from .filters import filter_down, filter_weights_down
from .functions import outlined
from .halving import downsample
from .layout import COLUMNS, MEASURES, PART, ROWS, SHEET, Layout
from .pixels import Inside, Pair, count_repeats, count_visible_repeats, fetch, uniform_weights
from .scalars import FLOAT32, FLOAT64, UINT8, Number, Pointer, Scalar
from .shifts import near_means
from .simd import SimdBuilder
from .similarity import Constants, Derivatives, similarity
from .work import Block, Strip, Work

# What rounding leaves in moments that were brought to other constants, in units of the squared change and of the
# constants' eps: typical in float32, where the largest would keep many gradients of covariances that are negative.
MOVED = {False: 0.125, True: 0.5}  # whether it is float64


def clear(code: SimdBuilder, values: Pointer, count: Number, planes: int = 1, plane: int = 0) -> None:
    for m in code.range(planes):
        for i in code.range(count):
            values[m * plane + i] = 0


@outlined
def sweep_strip(code: SimdBuilder, work: Work) -> None:
    """Add to the sums of the map, and write the other results of the strip."""
    layout, options, strip = work.layout, work.options, work.strip
    reach = layout.pad if options.n_grads else strip.border  # the gradient lags that many columns behind the pixels
    groups = (strip.width + strip.left + (reach + COLUMNS - 1)) // COLUMNS
    start = strip.top
    if options.n_grads:
        start = code.max(strip.top - (layout.halo + ROWS - 1) // ROWS * ROWS, 0)
        clear(code, work.memory.carry, groups * ((2 + options.n_grads) * layout.halo * COLUMNS))
        clear(code, work.memory.shifts, groups * 2)
    shifts, end = (code.variable(0.0), code.variable(0.0)), code.variable(0)
    # Of the block before, which the first windows of a block reach into: whether all its weights are 1, and are 0.
    before = code.variable(code.integer(0)), code.variable(code.integer(0))
    for p in code.range(start, strip.bottom, ROWS):
        own, rows = p >= strip.top, code.min(strip.bottom - p, ROWS)
        for shift in shifts if work.mask is None else ():
            shift.set(0.0)
        for h in code.range(groups):
            at = h * COLUMNS
            count = code.min(strip.columns - at, COLUMNS)
            place = p - strip.border, at - strip.left
            images = work.x.at(*place), work.y.at(*place)
            inside = _inside(code, layout, strip, p, at)
            old = shifts[0].get(), shifts[1].get()
            # Where squares about a constant decide what is flat, C2 being 0, every block has the same constant.
            with code.when((inside.columns > 0) & ((h == 0) | (work.constants.eps_cs == 0))):
                x, y = (image.at(inside.top, inside.left) for image in images)
                mask = None if work.mask is None else work.mask.at(p, at)
                extent = inside.rows, inside.columns
                means = near_means(code, x, y, mask, *extent, work.constants.scale, strip.stored, old)
                for shift, mean in zip(shifts, means, strict=True):
                    shift.set(mean)
            new = shifts[0].get(), shifts[1].get()
            block = Block(p, at, h, own, rows, count, images, inside, new, change_of(old, new))
            _move_right(code, work, h, block.change)
            end.set(0)
            with code.when(count > 0):
                uniform = _fill_tile(code, work, block)
                rows_of_map = code.min(strip.rows - layout.halo - p, ROWS)
                with code.when(rows_of_map > 0):
                    end.set(count)
                    if uniform is None:
                        _map(code, work, block, rows_of_map)
                    else:
                        left = [code.select(h == 0, 1, variable.get()) != 0 for variable in before]
                        reached = uniform[0] & left[0], uniform[1] & left[1]
                        _masked_map(code, work, block, rows_of_map, uniform, reached)
                        for variable, value in zip(before, uniform, strict=True):
                            variable.set(code.integer(value))
            if options.n_grads:
                _write_gradients(code, work, block, end.get())


def _inside(code: SimdBuilder, layout: Layout, strip: Strip, row: Scalar, column: Scalar) -> Inside:
    bottom = code.min(strip.height + strip.border - row, ROWS + layout.halo)
    right = code.min(strip.width + strip.left - column, COLUMNS)
    return Inside(code.max(strip.border - row, 0), bottom, code.max(strip.left - column, 0), right)


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


def _fill_tile(code: SimdBuilder, work: Work, block: Block) -> Pair | None:
    """Read the block's pixels, count those that equal their neighbour, and write the next scale's s and d.

    With a mask, gives whether all weights are 1, and whether all are 0.
    """
    layout, strip, tile, origins, sums = work.layout, work.strip, work.memory.tile, work.origins, work.sums
    rows_in, inside = code.min(strip.rows - block.row, ROWS + layout.halo), block.inside
    fetch(
        code, layout, *block.images, None if work.mask is None else work.mask.at(block.row, block.column), inside,
        rows_in, block.columns, work.constants.scale, block.shifts, tile, strip.stored,
    )  # fmt: skip
    uniform = None
    if layout.masked:
        uniform = uniform_weights(code, layout, tile, rows_in, block.columns, work.memory.scratch)
    if code.element == FLOAT32:
        rows = code.min(block.rows, inside.bottom) - inside.top
        with code.when(block.own & (inside.columns > 1) & (rows > 0)):
            first = tile + (inside.top * layout.line + inside.left)
            if layout.masked:
                room = work.memory.scratch
                count_visible_repeats(code, layout, first, rows, inside.columns, room)
                for lane in code.range(code.lanes):
                    for k in range(2):
                        sums[SHEET.equal + k] = sums[SHEET.equal + k] + room[lane + k * code.lanes]
            else:
                for k, number in enumerate(count_repeats(code, layout, first, rows, inside.columns)):
                    sums[SHEET.equal + k] = sums[SHEET.equal + k] + number
    with code.when(block.own & ~strip.last):
        by_x, by_y = block.shifts[0] + (origins.x - origins.next_x), block.shifts[1] + (origins.y - origins.next_y)
        width = (strip.width + 1) // 2
        place = block.row // 2 * width + block.column // 2
        targets = tuple(target + place for target in work.targets.coarse)
        downsample(
            code, layout, tile, targets, width, block.rows, block.columns, (by_x + by_y, by_x - by_y),
            None if uniform is None else uniform[0], _weighs(work),
        )  # fmt: skip
    return uniform


def _map(code: SimdBuilder, work: Work, block: Block, rows: Scalar) -> None:
    """The block's part of the map of l cs at the coarsest scale, else of cs; so many rows of it."""
    _filter_down(code, work, block, False)
    _similarity(code, work, work.layout, block, rows)


def _masked_map(
    code: SimdBuilder, work: Work, block: Block, rows: Scalar, uniform: Pair, reached: tuple[Scalar, Scalar]
) -> None:
    """The same with a mask. `reached` is `uniform` of all pixels that the block's windows reach.

    Where all weights are 1 the map is computed as without a mask, and where all are 0 there is none.
    """
    visible, hidden = reached
    with code.branch(hidden) as (nothing, something):
        with nothing:
            _clear_map(code, work)
        with something:
            _masked_moments(code, work, block, uniform[0], visible)
            with code.branch(visible) as (plain, weighted):
                with plain:
                    _similarity(code, work, work.layout._replace(masked=False), block, rows)
                    _count_windows(code, work, block, rows)
                with weighted:
                    _similarity(code, work, work.layout, block, rows)


def _clear_map(code: SimdBuilder, work: Work) -> None:
    """Set the moments and derivatives of a block of hidden pixels to 0. The derivatives reach hidden pixels only."""
    layout, memory, n_grads = work.layout, work.memory, work.options.n_grads
    clear(code, memory.moments + layout.halo * ROWS, COLUMNS * ROWS, layout.moments, layout.moment_plane)
    if n_grads:
        clear(code, memory.grads + layout.pad * ROWS, COLUMNS * ROWS, 2 + n_grads, layout.grad_plane)


def _masked_moments(code: SimdBuilder, work: Work, block: Block, ones: Scalar, visible: Scalar) -> None:
    """From the tile to the moments. `ones`: all weights of the block are 1; `visible`: so are all that it reaches."""
    layout, memory = work.layout, work.memory
    if _weighs(work):
        with code.branch(ones) as branches:
            for branch, weigh in zip(branches, (False, True), strict=True):
                with branch:
                    _filter_down(code, work, block, weigh)
    else:
        _filter_down(code, work, block, False)
    # The block at the right needs the last of the fifth moments in any case.
    filter_weights_down(
        code, layout, memory.table, memory.tile, memory.moments, memory.scratch, memory.scratch,
        code.select(visible, COLUMNS - layout.pad, 0), (block.columns + (PART - 1)) // PART * PART,
    )  # fmt: skip


def _count_windows(code: SimdBuilder, work: Work, block: Block, rows: Scalar) -> None:
    """Add the weights of windows that are 1."""
    sums, columns = _counted(code, work, block), block.columns - _first_column(code, work, block)
    for row in code.range(rows):
        place = row + MEASURES.weight * ROWS
        sums[place] = sums[place] + code.max(columns, 0)


def _weighs(work: Work) -> bool:
    """Whether weights may be other numbers than 0 and 1."""
    return work.mask is not None and work.mask.pixels.element != UINT8


def _filter_down(code: SimdBuilder, work: Work, block: Block, weigh: bool) -> None:
    """From the block's tile to its moments."""
    memory, images = work.memory, list(block.images)
    if work.mask is not None:
        images.append(work.mask.at(block.row, block.column))
    filter_down(
        code, work.layout, weigh, memory.table, memory.tile, memory.moments, memory.scratch, memory.scratch,
        tuple(image.pixels for image in images), (block.columns + (PART - 1)) // PART,
        tuple(image.below for image in images),
    )  # fmt: skip


def _counted(code: SimdBuilder, work: Work, block: Block) -> Pointer:
    """Where the sums of the block's rows go: elsewhere if another strip counts them."""
    place: Pointer = work.sums + code.select(block.own, 0, SHEET.uncounted)
    return place


def _first_column(code: SimdBuilder, work: Work, block: Block) -> Scalar:
    """The last column of the first of the block's windows."""
    first: Scalar = code.select(block.group > 0, 0, _first_window(work.layout, work.strip))
    return first


def _similarity(code: SimdBuilder, work: Work, layout: Layout, block: Block, rows: Scalar) -> None:
    """From the block's moments to the map, with the layout of images with a mask or without."""
    memory = work.memory
    extent = _first_column(code, work, block), block.columns, rows, (block.columns + (PART - 1)) // PART
    (shift_x, shift_y), missing_x, missing_y = block.shifts, work.origins.x, work.origins.y
    all_x, all_y = shift_x + missing_x, shift_y + missing_y
    squares = (shift_x * shift_x + missing_x * missing_x) + (shift_y * shift_y + missing_y * missing_y)
    by_s, by_d = block.change
    moved = MOVED[code.element == FLOAT64] * code.select(block.group > 0, by_s * by_s + by_d * by_d, 0)
    constants = work.constants
    if layout.masked:  # moments are quotients, which are rounded more often
        constants = constants._replace(eps=constants.eps * 2)
    numbers = Constants(*constants[1:8], all_x + all_y, all_x - all_y, squares + squares, moved)
    with code.branch(work.strip.last) as branches:
        for inside, luminance in zip(branches, (True, False), strict=True):
            with inside:
                similarity(
                    code, layout, Derivatives(luminance, *work.options), memory.table, memory.moments, memory.grads,
                    memory.scratch, _counted(code, work, block), extent, numbers,
                )  # fmt: skip


def _first_window(layout: Layout, strip: Strip) -> Scalar:
    """The last column of the windows that are the first of a row."""
    return strip.left - strip.border + layout.halo


def _write_gradients(code: SimdBuilder, work: Work, block: Block, end: Scalar) -> None:
    """Write the gradients as far as the map's derivatives reach, which end at that column of the block.

    They are written directly where the part of the block that is finished is whole, else by way of a buffer.
    """
    layout, strip, memory, n_grads = work.layout, work.strip, work.memory, work.options.n_grads
    lag, planes = layout.pad, 2 + n_grads
    before = code.min(code.select(block.group > 0, 0, _first_window(layout, strip)), end)
    clear(code, memory.grads + lag * ROWS, before * ROWS, planes, layout.grad_plane)
    clear(code, memory.grads + (end + lag) * ROWS, (COLUMNS - end) * ROWS, planes, layout.grad_plane)
    above = memory.shifts + block.group * 2
    change = change_of((above[0], above[1]), block.shifts)
    above[0], above[1] = block.shifts
    carry = memory.carry + block.group * (planes * layout.halo * COLUMNS)
    lag_of_image, above = strip.left + lag, code.max(strip.border - block.row, 0)
    place = (block.row - strip.border) * strip.width + block.column - lag_of_image
    outputs = [target + place for target in work.targets.gradients[:n_grads]]
    first = code.select(block.group == 0, lag_of_image, 0)
    last = code.min(strip.width + lag_of_image - block.column, COLUMNS)
    whole = (block.rows == ROWS) & (last % PART == 0) & (above == 0)
    buffers = [memory.block + k * ROWS * COLUMNS for k in range(n_grads)]
    targets = tuple(code.select(whole, *pair) for pair in zip(outputs, buffers, strict=True))
    width = code.select(whole, strip.width, COLUMNS)
    filter_grads(
        code, layout, memory.table, memory.grads, carry, memory.tile, memory.scratch,
        memory.scratch + planes * layout.lines_plane, targets,
        Extent(first // PART, (last + (PART - 1)) // PART, block.own, width), change, work.constants.grad_scale,
    )  # fmt: skip
    with code.when(block.own & ~whole):
        for row in code.range(above, block.rows):
            for i in code.range(first, last):
                for output, buffer in zip(outputs, buffers, strict=True):
                    output[row * strip.width + i] = buffer[row * COLUMNS + i]
