"""One sweep over a pair of images: the terms of every scale, and their gradients where asked.

A plane is cut into blocks of 16 × 16 pixels (32 columns for wide windows), walked from left to right. A block is read
once, less a constant of its own near its mean, so that E[x²] - μ² cancels little; its moments are filtered down the
columns out of registers, then along the rows together with the block to the right, brought to the same constant; what
comes out becomes a block of the map. For the gradient the derivatives are filtered back in the same two steps, and the
next scale's pixels are made from the same block. All of it stays in the nearest caches. Sums are made block by block in
a fixed order: the number of threads changes no bit of a result.

The floor is 88 multiply-adds (or additions of two taps' pixels) a pixel and scale: four moments, two directions,
eleven taps; the gradient to one image sends three quantities back, 66 more. Whole calls reach 9 to 17 % of what the
machine's multiply-adds allow forward and 6 to 16 % with the gradient, from 256² to eight times that
(benchmarks/results/intel-xeon-2-cores/): what is not arithmetic of the windows, divisions, loads and the start of
a second thread, is the rest.
"""

import os

import numba
import numpy as np
from numba import types

from . import numba_blocks as blocks
from .numba_blocks import ROWS, halo, wide
from .numba_pixels import (
    assemble_partly,
    assemble_rows,
    clear_outside,
    fetch,
    halve,
    halve_partly,
    origin,
    sum_of,
)
from .numba_vectors import beyond, compiled_for_keeps, count_up, exact, inlined, pointer, read

_sched_yield = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else numba.njit(lambda: 0)


@inlined
def _sizes(taps, groups, gradient):
    """Elements of a thread's buffers: pixels, moments, planes, derivatives filtered down, those kept for a block below.

    Two blocks of a kind lie side by side in time: the one at hand and its neighbour.
    """
    pixels, plane = 4 * (ROWS + halo(taps)) * wide(taps), (ROWS + halo(taps)) * wide(taps)
    pair = 2 * 4 * ROWS * 2 * wide(taps)
    if gradient:
        return pixels, pair, 9 * plane, pair, groups * 4 * halo(taps) * wide(taps)
    return pixels, pair, 9 * plane, 0, 0


@inlined
def _rebase(both, source, target, steps, changes, taps):
    if both:
        blocks.rebase_both((source, target), steps, changes, taps)
    else:
        blocks.rebase_one((source, target), steps, changes, taps)


@inlined
def _back(planes, back, left, kept, new, shifts, before, own, both, taps):
    """A block's derivatives, filtered back into planes 0 to 3 of `planes`; the last rows are kept for the block below.

    `back` are the two buffers of derivatives filtered down: that to write to, and that of the block to the left. A
    `new` strip has no block above; of rows that are not its `own`, only what the rows below need is kept.
    """
    across, down = wide(taps), halo(taps)
    plane, pair = (ROWS + down) * across, ROWS * 2 * across
    derivatives = beyond(planes, 5 * plane - down * across)
    if new:
        for m in range(4):
            if m != 1 or both:
                for i in range(down * across):
                    derivatives[m * plane + i] = 0
    else:
        changes = (shifts[0] - before[0], shifts[1] - before[1])
        _rebase(both, kept, derivatives, (down, across, down * across, across, plane), changes, taps)
    if own:
        right = beyond(back[0], across)
        for m in range(4):
            if m != 1 or both:
                blocks.down((beyond(derivatives, m * plane), beyond(right, m * pair)), (0,), (shifts[0],), taps)
        if left[2]:
            changes = (shifts[0] - left[0], shifts[1] - left[1])
            _rebase(both, beyond(back[1], across), back[0], (ROWS, 2 * across, pair, 2 * across, pair), changes, taps)
        else:
            for m in range(4):
                for row in range(ROWS):
                    for i in range(across):
                        back[0][m * pair + row * 2 * across + i] = 0
        for m in range(4):
            if m != 1 or both:
                at = beyond(back[0], m * pair + across - down)
                blocks.along((at, beyond(planes, m * plane)), (0,), (shifts[0],), taps)
    for m in range(4):
        if m != 1 or both:
            rows = beyond(derivatives, m * plane + ROWS * across)
            blocks.copy_rows((rows, beyond(kept, m * down * across)), (down,), (shifts[0],), taps)


@inlined
def _coarser(x, y, at, line, rows, columns, constants, targets, like, taps):
    """The block's share of the next scale."""
    out_x, out_y = pointer(targets[0] + at * like.itemsize, like), pointer(targets[1] + at * like.itemsize, like)
    if rows == ROWS and columns == wide(taps):
        halve((x, out_x), (line,), (constants[0],), taps)
        halve((y, out_y), (line,), (constants[1],), taps)
    else:
        halve_partly(x, out_x, line, rows, columns, constants[0], like, taps)
        halve_partly(y, out_y, line, rows, columns, constants[1], like, taps)


@inlined
def _map(planes, moments, ahead, changes, limits, shifts, luminance, gradient, taps):
    """A block's map and its derivatives, from moments filtered down, its own and those of the block to the right."""
    pair = ROWS * 2 * wide(taps)
    blocks.rebase_moments((ahead, beyond(moments, wide(taps))), (0,), changes, taps)
    for m in range(4):
        out = beyond(planes, m * (ROWS + halo(taps)) * wide(taps))
        blocks.along((beyond(moments, m * pair), out), (0,), (shifts[0],), taps)
    numbers = (*limits, *shifts)
    if gradient:
        if luminance:
            blocks.l_cs_gradient((planes,), (0,), numbers, taps)
        else:
            blocks.cs_gradient((planes,), (0,), numbers, taps)
    elif luminance:
        blocks.l_cs((planes,), (0,), numbers, taps)
    else:
        blocks.cs((planes,), (0,), numbers, taps)


@inlined
def _assemble(planes, x, y, at, line, rows, columns, unit, targets, both, like, taps):
    """The block's share of the gradients."""
    plane = (ROWS + halo(taps)) * wide(taps)
    squares, product = beyond(planes, 2 * plane), beyond(planes, 3 * plane)
    for which in range(2 if both else 1):
        to_mean, own, other = (beyond(planes, plane), y, x) if which else (planes, x, y)
        out = pointer(targets[2 + which] + at * like.itemsize, like)
        if columns == wide(taps):
            assemble_rows((to_mean, squares, product, own, other, out), (rows, line), (unit,), taps)
        else:
            assemble_partly((to_mean, squares, product, own, other, out), (rows, columns, line), unit, taps)


@exact
def _strip(
    source, like, last, pixels, origins, lines, size, targets, work, constants, taps, scale, unit, limits, both
):  # fmt: skip
    """The sums over one strip of a plane, of the map and of E[x² + y²]; its share of what else is written.

    Parameters
    ----------
    pixels : (address, step along a row, step down a column) of x, then of y
    origins : what was taken from all of x and y already, and what is to be taken from the next scale's
    lines : (top, bottom) of the strip
    size : (height, width) of the plane
    targets : addresses of the next scale's x and y, and of the gradients to x and y of this scale
    work, constants : the thread's buffers; what was taken from x and y of each block of the row of blocks above
    scale, unit : what pixels are multiplied by, and what the gradient is
    both : whether y has a gradient too; None for no gradient at all
    """
    x0, step_x, line_x, y0, step_y, line_y = pixels
    missing_x, missing_y, origin_x, origin_y = origins
    top, bottom = lines
    height, width = size
    across, down, item = wide(taps), halo(taps), source.itemsize
    plane, pair = (ROWS + down) * across, ROWS * 2 * across
    tile, moments, planes, back, kept = work
    values = beyond(planes, down * across)
    high, broad = height - down, width - down
    gradient = both is not None
    start = max(0, top - (down + ROWS - 1) // ROWS * ROWS) if gradient else top
    groups = ((broad if last and not gradient else width) + across - 1) // across
    total, squares = 0.0, 0.0
    for p in range(start, bottom, ROWS):
        rows_in, rows_map, rows = min(ROWS + down, height - p), max(0, min(ROWS, high - p)), min(ROWS, bottom - p)
        own = p >= top
        shift_x = shift_y = left_x = left_y = like.dtype.type(0)
        for h in range(groups + 1):  # block h is read and filtered down, then block h - 1, which needs it, is finished
            here, there = h % 2, 1 - h % 2
            ahead = beyond(moments, here * 4 * pair)
            next_x, next_y, at, count = shift_x, shift_y, h * across, min(across, width - h * across)
            if count > 0:
                x, y = beyond(tile, 2 * here * plane), beyond(tile, (2 * here + 1) * plane)
                first_x, first_y = x0 + (p * line_x + at * step_x) * item, y0 + (p * line_y + at * step_y) * item
                next_x = fetch(source, like, first_x, step_x, line_x, rows_in, count, scale, x, taps)
                next_y = fetch(source, like, first_y, step_y, line_y, rows_in, count, scale, y, taps)
                if rows_map > 0:
                    blocks.moments_down((x, y, ahead), (0,), (scale,), taps)
            if h > 0:
                g, at = h - 1, (h - 1) * across
                x, y = beyond(tile, 2 * there * plane), beyond(tile, (2 * there + 1) * plane)
                columns, columns_map = min(across, width - at), max(0, min(across, broad - at))
                if own and not last:
                    added = (shift_x + (missing_x - origin_x), shift_y + (missing_y - origin_y))
                    line = (width + 1) // 2
                    _coarser(x, y, (p // 2) * line + at // 2, line, rows, columns, added, targets, like, taps)
                if rows_map > 0 and columns_map > 0:
                    current, changes = beyond(moments, there * 4 * pair), (next_x - shift_x, next_y - shift_y)
                    shifts = (shift_x + missing_x, shift_y + missing_y)
                    _map(values, current, ahead, changes, limits, shifts, last, gradient, taps)
                    if own:
                        total += sum_of(beyond(values, 4 * plane), rows_map, columns_map, taps)
                        squares += sum_of(beyond(values, 2 * plane), rows_map, columns_map, taps)
                if gradient:
                    for m in range(4 if rows_map < ROWS or columns_map < across else 0):
                        if m != 1 or both:
                            clear_outside(beyond(values, (5 + m) * plane), rows_map, columns_map, taps)
                    buffers = (beyond(back, there * 4 * pair), beyond(back, here * 4 * pair))
                    below, left = beyond(kept, g * 4 * down * across), (left_x, left_y, g > 0)
                    above = (constants[2 * g], constants[2 * g + 1])
                    _back(values, buffers, left, below, p == start, (shift_x, shift_y), above, own, both, taps)
                    constants[2 * g], constants[2 * g + 1] = shift_x, shift_y
                    left_x, left_y = shift_x, shift_y
                    if own:
                        _assemble(values, x, y, p * width + at, width, rows, columns, unit, targets, both, like, taps)
            shift_x, shift_y = next_x, next_y
    return total, squares


@compiled_for_keeps
def sweep(source, like, info, shapes, tasks, state, scales, taps, both, sums, squares):
    """One thread's part of the work: strip after strip until none is left.

    A strip of a scale waits until the plane's finer scale is finished, which other threads are then busy with: strips
    are taken in an order in which what one waits for was taken before it.
    """
    T = like.dtype.type
    levels, channels = shapes.shape[0], info[0]
    gradient = both is not None
    groups = (shapes[0, 1] + wide(taps) - 1) // wide(taps)
    a, b, c, d, e = _sizes(taps, groups, gradient)
    memory = np.empty(a + b + c + d + e + 2 * groups + 16, like.dtype)
    base = (np.int64(memory.ctypes.data) + 63) // 64 * 64
    first = pointer(base, like)
    work = (first, beyond(first, a), beyond(first, a + b), beyond(first, a + b + c), beyond(first, a + b + c + d))
    constants = beyond(first, a + b + c + d + e)
    pyramid_x, pyramid_y, pyramid_size = info[1], info[2], info[3]
    gradient_x, gradient_y, gradient_size = info[4], info[5], info[6]
    full = shapes[0, 0] * shapes[0, 1]
    size = like.itemsize
    while True:
        k = count_up(state, 0)
        if k >= tasks.shape[0]:
            return memory[0]  # which must live till here
        n, level, slot = tasks[k, 0], tasks[k, 1], tasks[k, 2]
        height, width, offset = shapes[level, 0], shapes[level, 1], shapes[level, 2]
        coarse = (n * pyramid_size + offset + height * width - full) * size
        fine = (n * gradient_size + offset) * size
        targets = (pyramid_x + coarse, pyramid_y + coarse, gradient_x + fine, gradient_y + fine)
        limits = (
            T(scales[n, 1]), T(scales[n, 2]), T(scales[n, 3]), T(scales[n, 4]), T(scales[n, 5]), T(scales[n, 6]),
            T(scales[n, 7]),
        )  # fmt: skip
        last, lines, extent = level == levels - 1, (tasks[k, 3], tasks[k, 4]), (height, width)
        image, channel, scale = n // channels, n % channels, T(scales[n, 0])
        x0 = info[7] + (image * info[8] + channel * info[9]) * source.itemsize
        y0 = info[12] + (image * info[13] + channel * info[14]) * source.itemsize
        origin_x = origin_y = T(0)
        if levels > 1:
            rows, columns = shapes[0, 0], shapes[0, 1]
            origin_x = origin(source, like, x0, info[11], info[10], rows, columns, scale)
            origin_y = origin(source, like, y0, info[16], info[15], rows, columns, scale)
        if level == 0:
            pixels = (x0, info[11], info[10], y0, info[16], info[15])
            sums[n, level, slot], squares[n, slot] = _strip(
                source, like, last, pixels, (T(0), T(0), origin_x, origin_y), lines, extent, targets,
                work, constants, taps, scale, scale, limits, both,
            )  # fmt: skip
        else:
            while np.int64(read(state, 1 + n * levels + level - 1)) < shapes[level - 1, 3]:
                _sched_yield()
            at = (n * pyramid_size + offset - full) * size
            pixels = (pyramid_x + at, np.int64(1), width, pyramid_y + at, np.int64(1), width)
            sums[n, level, slot], _ = _strip(
                like, like, last, pixels, (origin_x, origin_y, origin_x, origin_y), lines, extent, targets,
                work, constants, taps, T(1), scale, limits, both,
            )  # fmt: skip
        count_up(state, 1 + n * levels + level)
