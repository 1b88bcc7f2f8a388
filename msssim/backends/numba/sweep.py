"""One sweep over a pair of images: the terms of every scale, and their gradients where asked.

A plane is cut into strips, a strip into blocks (:mod:`.blocks`), walked from left to right, 16 rows at a time.
A block is read once, less a constant of its own near its mean, so that E[s²] - E[s]² cancels little; what lies at its
left already is brought to the same constant. It is filtered down the columns, then along the rows, as far as its pixels
reach, and what comes out is a part of the map. For the gradient the derivatives go the same way back, the lines that
the blocks below need are kept for them, and the next scale's pixels are made from the same block. All of it stays in
the nearest caches. Sums are made strip by strip in a fixed order: the number of threads changes no bit of a result.
"""

import os
from typing import NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import overload

from . import blocks
from .blocks import ACROSS, BROAD, FLAT, LARGEST, MEASURES, PART, RATIO, ROWS, TOTAL, halo, line, pad
from .pixels import coarser, fetch, near_means, origin, repeats
from .simd import beyond, compiled_for_keeps, count_up, exact, inlined, pointer, read
from .threads import on_team

NEXT, FINISHED, DONE, SUSPECT, SCALES = range(5)
"""Of the state that threads share: the strip to take next, how many are finished, whether all sums are made and what is
wrong with some of them (EXTREME, INACCURATE); then how many strips of each plane's scale are finished; then for each
plane whether it is inaccurate."""

EXTREME, INACCURATE = 1, 2  # pixels may be so large that squares overflow; float32 may break the error budgets

# In natural images rounding errors of windows average out. In graphics most windows are alike, and so are their errors,
# which grow with E[s²] + E[d²] about the constants of a block, in units of the denominator of cs.
_GRAPHICS = 0.5  # from this share of pixels that equal their neighbour in both images an image is graphics
_RATIO_OF_GRAPHICS = 2.0  # the largest of these numbers in a window of graphics without harm to the gradient
_RATIO_OF_ANY = 1000.0  # the same in natural images
_FLAT_SQUARES = 4.0, 2.0  # their mean, 0 but in flat windows, without harm to the value; to the gradient

_SUSPICIOUS = 2.0**60  # a denominator larger than this may belong to pixels whose squares overflow

yield_to_others = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else numba.njit(lambda: 0)


class _Memory(NamedTuple):
    """A thread's own memory."""

    table: object
    tile: object
    columns: object
    scratch: object
    slopes: object
    block: object
    kept: object
    constants: object


@inlined
def _sizes(taps, width, sides):
    """How many elements each part of the memory has."""
    down, groups = halo(taps), (width + pad(taps) + ACROSS - 1) // ACROSS
    gradient = 1 if len(sides) > 0 else 0
    return (
        2 * len(taps) * BROAD,
        2 * (ROWS + down) * line(taps),
        4 * (down + ACROSS) * ROWS,
        4 * (down + ROWS) * PART + 3 * ROWS * BROAD,
        gradient * 4 * (pad(taps) + ACROSS) * ROWS,
        gradient * 2 * ROWS * ACROSS,
        gradient * groups * 4 * down * ACROSS,
        2 * groups,
    )


@inlined
def _parts(first, sizes):
    a = beyond(first, sizes[0])
    b = beyond(a, sizes[1])
    c = beyond(b, sizes[2])
    d = beyond(c, sizes[3])
    e = beyond(d, sizes[4])
    f = beyond(e, sizes[5])
    return _Memory(first, a, b, c, d, e, f, beyond(f, sizes[6]))


def _map(luminance, sides, careful, pointers, extent, numbers, taps):
    """A block of the map; which function that is for types of `sides` and `careful` is settled when code is made."""


@overload(_map, jit_options={"forceinline": True})
def _map_overload(luminance, sides, careful, pointers, extent, numbers, taps):
    given = not isinstance(careful, types.NoneType)
    of_cs, of_l_cs = (blocks.similarity[kind, len(sides), given] for kind in (False, True))

    def chosen(luminance, sides, careful, pointers, extent, numbers, taps):
        if luminance:
            of_l_cs(pointers, extent, numbers, taps)
        else:
            of_cs(pointers, extent, numbers, taps)

    return chosen


def _move_right(sides, memory, changes, taps):
    """What the block at the left leaves to its neighbour, brought to the neighbour's constants."""


@overload(_move_right, jit_options={"forceinline": True})
def _move_right_overload(sides, memory, changes, taps):
    if len(sides) == 0:
        return lambda sides, memory, changes, taps: blocks.move_columns(
            (memory.table, memory.columns), (0,), changes, taps
        )
    move_slopes = blocks.move_slopes[len(sides)]

    def moving(sides, memory, changes, taps):
        blocks.move_columns((memory.table, memory.columns), (0,), changes, taps)
        move_slopes((memory.slopes,), (0,), changes, taps)
        blocks.move_pixels((memory.tile,), (0,), changes, taps)

    return moving


def _give_back(sides, memory, kept, targets, at, width, extent, own, changes, like, taps):
    """A block's share of the gradients; `extent` is its number of rows, its first column and the one after its last."""


@overload(_give_back, jit_options={"forceinline": True})
def _give_back_overload(sides, memory, kept, targets, at, width, extent, own, changes, like, taps):
    count = len(sides)
    if count == 0:
        return lambda sides, memory, kept, targets, at, width, extent, own, changes, like, taps: None
    give_back = blocks.give_back[count]

    def giving(sides, memory, kept, targets, at, width, extent, own, changes, like, taps):
        rows, first, end = extent
        whole = rows == ROWS and end % PART == 0
        to_x, to_y = pointer(targets[0] + at * like.itemsize, like), pointer(targets[1] + at * like.itemsize, like)
        block_x, block_y = memory.block, beyond(memory.block, ROWS * ACROSS)
        # The scratch is known by two names, lest the compiler thinks it may keep in registers what is put there.
        again = beyond(memory.scratch, (2 + count) * (halo(taps) + ROWS) * PART)
        give_back(
            (memory.table, memory.slopes, kept, memory.tile, memory.scratch, again,
             to_x if whole else block_x, to_y if whole else block_y),
            (first // PART, (end + PART - 1) // PART, own, width if whole else ACROSS), changes, taps,
        )  # fmt: skip
        if own and not whole:
            for row in range(rows):
                for i in range(first, end):
                    to_x[row * width + i] = block_x[row * ACROSS + i]
                    if count == 2:
                        to_y[row * width + i] = block_y[row * ACROSS + i]

    return giving


@inlined
def _clear(values, planes, plane, count):
    for m in range(planes):
        for i in range(count):
            values[m * plane + i] = 0


@exact
def _strip(
    source, like, last, x, y, origins, lines, size, targets, memory, sums, taps, scale, unit, limits, sides, careful
):  # fmt: skip
    """One strip of a plane: adds to the sums of the map, and writes its share of what else there is.

    Parameters
    ----------
    x, y : (address, step along a row, step down a column) of the images
    origins : what was taken from all of x and y already, and what is to be taken from the next scale's
    lines : (top, bottom) of the strip
    size : (height, width) of the plane
    targets : addresses of the next scale's x and y, and of the gradients to x and y of this scale
    sums : the MEASURES of each row of a block; the same again, for rows that another strip counts; how many pixels
        equal their neighbour, and of how many
    scale, unit : what pixels are multiplied by, and what the gradient is
    """
    missing_x, missing_y, origin_x, origin_y = origins
    top, bottom = lines
    height, width = size
    down, lag = halo(taps), pad(taps) if len(sides) > 0 else 0  # of the gradient behind the pixels
    planes, plane, slopes = 2 + len(sides), (lag + ACROSS) * ROWS, beyond(memory.slopes, lag * ROWS)
    start = top if len(sides) == 0 else max(0, top - (down + ROWS - 1) // ROWS * ROWS)
    groups = (width + lag + ACROSS - 1) // ACROSS
    blocks_of = planes * down * ACROSS
    if len(sides) > 0:
        _clear(memory.kept, 1, 0, groups * blocks_of)
        _clear(memory.constants, 1, 0, 2 * groups)
    for p in range(start, bottom, ROWS):
        own, rows, rows_in = p >= top, min(ROWS, bottom - p), min(ROWS + down, height - p)
        rows_map = min(ROWS, height - down - p)
        shift_x = shift_y = like.dtype.type(0)
        for h in range(groups):
            at, first = h * ACROSS, 0 if h > 0 else down
            count = min(ACROSS, width - at)
            old_x, old_y = shift_x, shift_y
            x_here = (x[0] + (p * x[2] + at * x[1]) * source.itemsize, x[1], x[2])
            y_here = (y[0] + (p * y[2] + at * y[1]) * source.itemsize, y[1], y[2])
            # Where flat is told from rounding by squares about a constant, C2 being 0, nothing is brought to another.
            if count > 0 and (h == 0 or limits[6] == 0):
                shift_x, shift_y = near_means(source, like, x_here, y_here, rows_in, count, scale)
            changes = ((shift_x - old_x) + (shift_y - old_y), (shift_x - old_x) - (shift_y - old_y))
            if h > 0:
                _move_right(sides, memory, changes, taps)
            elif len(sides) > 0:
                _clear(memory.slopes, planes, plane, lag * ROWS)
            end = 0
            if count > 0:
                fetch(source, like, x_here, y_here, rows_in, count, scale, shift_x, shift_y, memory.tile, taps)
                if own and like.itemsize == 4 and count > 1:
                    equal, compared = repeats(memory.tile, rows, count, taps)
                    sums[2 * MEASURES * ROWS] += equal
                    sums[2 * MEASURES * ROWS + 1] += compared
                if own and not last:
                    added = (shift_x + (missing_x - origin_x), shift_y + (missing_y - origin_y))
                    place = (p // 2) * ((width + 1) // 2) + at // 2
                    coarser(memory.tile, place, width, rows, count, added, targets, like, taps)
                if rows_map > 0:
                    end, parts = count, (count + PART - 1) // PART
                    blocks.filter_down(
                        (memory.table, memory.tile, memory.columns, memory.scratch, memory.scratch,
                         pointer(x_here[0], source), pointer(y_here[0], source)),
                        (parts, x[2], y[2]), changes, taps,
                    )  # fmt: skip
                    all_x, all_y = shift_x + missing_x, shift_y + missing_y
                    sizes = (shift_x * shift_x + missing_x * missing_x) + (shift_y * shift_y + missing_y * missing_y)
                    counted = sums if own else beyond(sums, MEASURES * ROWS)
                    _map(
                        last, sides, careful,
                        (memory.table, memory.columns, memory.slopes, memory.scratch, counted),
                        (first, end, rows_map, parts), (*limits, all_x + all_y, all_x - all_y, sizes + sizes), taps,
                    )  # fmt: skip
            if len(sides) > 0:
                _clear(slopes, planes, plane, min(first, end) * ROWS)
                _clear(beyond(slopes, end * ROWS), planes, plane, (ACROSS - end) * ROWS)
                changes = (
                    (shift_x - memory.constants[2 * h]) + (shift_y - memory.constants[2 * h + 1]),
                    (shift_x - memory.constants[2 * h]) - (shift_y - memory.constants[2 * h + 1]), unit,
                )  # fmt: skip
                memory.constants[2 * h], memory.constants[2 * h + 1] = shift_x, shift_y
                _give_back(
                    sides, memory, beyond(memory.kept, h * blocks_of), (targets[2], targets[3]), p * width + at - lag,
                    width, (rows, lag if h == 0 else 0, min(ACROSS, width + lag - at)), own, changes, like, taps,
                )  # fmt: skip


@inlined
def _collect(values, n, level, slot, sums):
    """The MEASURES of a strip, then how many of its pixels equal their neighbour, and of how many."""
    total, largest, flat, ratio = 0.0, 0.0, 0.0, 0.0
    for k in range(ROWS):
        total += values[TOTAL * ROWS + k]
        largest = max(largest, values[LARGEST * ROWS + k])
        flat += values[FLAT * ROWS + k]
        ratio = max(ratio, values[RATIO * ROWS + k])
    sums[TOTAL, n, level, slot], sums[LARGEST, n, level, slot] = total, largest
    sums[FLAT, n, level, slot], sums[RATIO, n, level, slot] = flat, ratio
    for k in range(2):
        sums[MEASURES + k, n, level, slot] = values[2 * MEASURES * ROWS + k]


@inlined
def _finish(like, sums, shapes, scales, sides, down, state, means):
    """The means of all planes and scales, from the sums of the strips in their order, and which are not accurate."""
    planes, levels = sums.shape[1], sums.shape[2]
    for n in range(planes):
        flat, ratio, share = 0.0, 0.0, 0.0
        for level in range(levels):
            total, squares, equal, compared = 0.0, 0.0, 0.0, 1.0
            for slot in range(shapes[level, 3]):
                total += sums[TOTAL, n, level, slot]
                squares += sums[FLAT, n, level, slot]
                ratio = max(ratio, sums[RATIO, n, level, slot])
                equal += sums[MEASURES, n, level, slot]
                compared += sums[MEASURES + 1, n, level, slot]
                if not sums[LARGEST, n, level, slot] < _SUSPICIOUS:
                    state[SUSPECT] |= EXTREME
            if not np.isfinite(total):
                state[SUSPECT] |= EXTREME
            windows = (shapes[level, 0] - down) * (shapes[level, 1] - down)
            means[n * levels + level] = total / windows
            flat, share = max(flat, squares / windows / scales[n, 2]), max(share, equal / compared)
        if like.itemsize == 4:
            if len(sides) > 0:
                inaccurate = flat > _FLAT_SQUARES[1] or ratio > _RATIO_OF_ANY
                inaccurate = inaccurate or (share > _GRAPHICS and ratio > _RATIO_OF_GRAPHICS)
            else:
                inaccurate = flat > _FLAT_SQUARES[0]
            if inaccurate:
                state[SUSPECT] |= INACCURATE
                state[SCALES + planes * levels + n] = 1


@exact
def _take_strips(source, like, info, shapes, tasks, scales, taps, sides, careful, state, sums):
    """One thread's part of the work: strip after strip until none is left; then what the others do is waited for.

    A strip of a scale waits until the plane's finer scale is finished, which other threads are then busy with: strips
    are taken in an order in which what one waits for was taken before it. The thread that finishes the last of them
    makes the means.
    """
    T = like.dtype.type
    levels, full, size = shapes.shape[0], shapes[0, 0] * shapes[0, 1], like.itemsize
    means, channels, pyramid_x, pyramid_y, pyramid_size, gradient_x, gradient_y, gradient_size = info[:8]
    sizes = _sizes(taps, shapes[0, 1], sides)
    elements = 0
    for each in sizes:
        elements += each
    store, sheet = np.empty(elements + 16, like.dtype), np.zeros(2 * MEASURES * ROWS + 2)
    values = pointer(np.int64(sheet.ctypes.data), sheet)
    memory = _parts(pointer((np.int64(store.ctypes.data) + 63) // 64 * 64, like), sizes)
    blocks.weigh(memory.table, taps)
    while True:
        k = count_up(state, NEXT)
        if k >= tasks.shape[0]:
            break
        n, level, slot = tasks[k, 0], tasks[k, 1], tasks[k, 2]
        height, width, offset = shapes[level, 0], shapes[level, 1], shapes[level, 2]
        coarse = (n * pyramid_size + offset + height * width - full) * size
        fine = (n * gradient_size + offset) * size
        targets = (pyramid_x + coarse, pyramid_y + coarse, gradient_x + fine, gradient_y + fine)
        limits = (
            T(scales[n, 1]), T(scales[n, 2]), T(scales[n, 3]), T(scales[n, 4]), T(scales[n, 5]), T(scales[n, 6]),
            T(scales[n, 7]),
        )  # fmt: skip
        last, lines, scale = level == levels - 1, (tasks[k, 3], tasks[k, 4]), T(scales[n, 0])
        image, channel = n // channels, n % channels
        x = (info[8] + (image * info[9] + channel * info[10]) * source.itemsize, info[12], info[11])
        y = (info[13] + (image * info[14] + channel * info[15]) * source.itemsize, info[17], info[16])
        origin_x = origin_y = T(0)
        if levels > 1:
            origin_x = origin(source, like, x, shapes[0, 0], shapes[0, 1], scale)
            origin_y = origin(source, like, y, shapes[0, 0], shapes[0, 1], scale)
        sheet[:] = 0
        if level == 0:
            _strip(
                source, like, last, x, y, (T(0), T(0), origin_x, origin_y), lines, (height, width), targets, memory,
                values, taps, scale, T(scales[n, 8]), limits, sides, careful,
            )  # fmt: skip
        else:
            while np.int64(read(state, SCALES + n * levels + level - 1)) < shapes[level - 1, 3]:
                yield_to_others()
            at = (n * pyramid_size + offset - full) * size
            x, y = (pyramid_x + at, np.int64(1), width), (pyramid_y + at, np.int64(1), width)
            _strip(
                like, like, last, x, y, (origin_x, origin_y, origin_x, origin_y), lines, (height, width), targets,
                memory, values, taps, T(1), T(scales[n, 8]), limits, sides, careful,
            )  # fmt: skip
        _collect(values, n, level, slot, sums)
        count_up(state, SCALES + n * levels + level)
        if count_up(state, FINISHED) == tasks.shape[0] - 1:
            _finish(like, sums, shapes, scales, sides, halo(taps), state, pointer(means, sums))
            count_up(state, DONE)
    while np.int64(read(state, DONE)) == 0:
        yield_to_others()
    return store[0] + sheet[0]  # which must live till here


@compiled_for_keeps
def sweep(team, number, source, like, info, shapes, tasks, scales, taps, sides, careful, state, sums):
    """The whole of the work, or as much of it as is left, by so many threads of a team; for no team, team is 0."""
    if team != 0:
        arguments = (source, like, info, shapes, tasks, scales, taps, sides, careful, state, sums)
        on_team(team, number, _take_strips, arguments)
    if state[DONE] == 0:  # and where none of the team had the memory that it needs, this raises the error
        _take_strips(source, like, info, shapes, tasks, scales, taps, sides, careful, state, sums)
