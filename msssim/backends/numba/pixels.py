"""Between memory and blocks: pixels of any type and layout in; coarser pixels and gradients out.

Whole blocks go in vectors, those that the image ends in pixel by pixel.
"""

import numpy as np
from numba import types
from numba.extending import overload

from ...window import FARTHEST
from .blocks import ACROSS, ROWS, halo, line, pad
from .simd import beyond, bfloat16, exact, float16, inlined, pointer, vectorised


@vectorised
def _fetch_rows(code, pointers, integers, numbers, taps):
    """Rows of pixels of both images as they are stored, as s and d: scaled, and less constants."""
    tile_s, tile_d, x, y = pointers
    rows, line_x, line_y = integers
    scale, shift_x, shift_y = numbers
    for row in code.each(rows):
        x_row, y_row = code.address(x, code.times(row, line_x)), code.address(y, code.times(row, line_y))
        s_row, d_row = (code.address(tile, code.times(row, line(taps))) for tile in (tile_s, tile_d))
        for at in range(0, ACROSS, code.lanes):
            a, b = (
                code.fma(code.load_pixels(code.address(pixels, at), code.pixel), scale, -shift)
                for pixels, shift in ((x_row, shift_x), (y_row, shift_y))
            )
            code.store(a + b, s_row, at)
            code.store(a - b, d_row, at)


@vectorised
def _halve(code, pointers, integers, numbers, taps):
    """The means of 2 × 2 pixels of a whole block, of x and of y."""
    tile_s, tile_d, *targets = pointers
    (width,) = integers
    for index in code.each(ROWS // 4):
        for target in targets:
            soon = code.address(target, code.times(code.sum(index, index), width, ACROSS // 2))
            for row in range(2):
                for k in range(0, ACROSS // 2, 16):
                    code.prefetch(code.address(soon, code.times(width, row, k)), write=True)
        means = []
        for tile in (tile_s, tile_d):
            rows = [code.address(tile, code.times(index, 4 * line(taps), k * line(taps))) for k in range(4)]
            means.append([])
            for at in range(0, ACROSS, code.lanes):
                lines = [code.load(row, at) for row in rows]
                even, odd = code.unzip(lines[0] + lines[1], lines[2] + lines[3])
                means[-1].append((even + odd) * 0.125)
        for target, shift, sign in zip(targets, numbers, (1, -1), strict=True):
            out = code.address(target, code.times(code.times(index, 2), width))
            for number, (s, d) in enumerate(zip(*means, strict=True)):
                upper, lower = code.halves((s + d if sign > 0 else s - d) + shift)
                code.store_part(upper, out, number * code.lanes // 2)
                code.store_part(lower, code.address(out, width), number * code.lanes // 2)


def _widen(value):
    """A pixel as it is stored, as the float that is computed with."""


@overload(_widen, jit_options={"forceinline": True})
def _widen_overload(value):
    if value == types.int16:
        return lambda value: bfloat16(value)
    if value == types.uint16:
        return lambda value: float16(value)
    if value == types.uint8:
        return lambda value: types.float32(value)
    return lambda value: value


@inlined
def _sampled(sums, source, image, row, column, scale):
    """The sums over samples, and one sample more: of all, of those within an image's range, and how many these are."""
    place, step, below = image
    total, near, found = sums
    value = _widen(pointer(place + (row * below + column * step) * source.itemsize, source)[0]) * scale
    if abs(value) <= FARTHEST:
        near += value
        found += 1
    return total + value, near, found


@inlined
def _mean_of(sums, samples, like):
    """The mean of those samples that are within an image's range, or of all where none is, as a multiple of 1/128.

    That leaves the pixels of 8-bit images as exact as they came.
    """
    T = like.dtype.type
    total, near, found = sums
    mean = near / T(found) if 0 < found < samples else total / T(samples)
    return T(np.floor(mean * T(128) + T(0.5)) / T(128))


@inlined
def _near_mean(source, like, image, rows, count, scale):
    """A constant near the mean of some pixels of a block."""
    sums = (like.dtype.type(0), like.dtype.type(0), 0)
    for i in range(2):
        for j in range(4):
            row, column = (rows - 1) * (2 * i + j % 2) // 3, (count - 1) * j // 3
            sums = _sampled(sums, source, image, row, column, scale)
    return _mean_of(sums, 8, like)


@inlined
def near_means(source, like, x, y, rows, count, scale):
    """The constants to take from the pixels of a block of both images."""
    return (
        _near_mean(source, like, x, rows, count, scale),
        _near_mean(source, like, y, rows, count, scale),
    )


@inlined
def fetch(source, like, x, y, rows, count, scale, shift_x, shift_y, tile, taps):
    """A block of `rows` rows and `count` columns of both images, less the constants."""
    size = source.itemsize
    tile_s, tile_d = beyond(tile, pad(taps)), beyond(tile, pad(taps) + (ROWS + halo(taps)) * line(taps))
    if x[1] == 1 and y[1] == 1 and count == ACROSS:
        pointers = (tile_s, tile_d, pointer(x[0], source), pointer(y[0], source))
        _fetch_rows(pointers, (rows, x[2], y[2]), (scale, shift_x, shift_y), taps)
    else:
        for row in range(rows):
            x_row, y_row = pointer(x[0] + row * x[2] * size, source), pointer(y[0] + row * y[2] * size, source)
            s_row, d_row = beyond(tile_s, row * line(taps)), beyond(tile_d, row * line(taps))
            for i in range(count):
                a = _widen(x_row[i * x[1]]) * scale - shift_x
                b = _widen(y_row[i * y[1]]) * scale - shift_y
                s_row[i] = a + b
                d_row[i] = a - b
    for row in range(rows, ROWS + halo(taps)):
        for i in range(ACROSS):
            tile_s[row * line(taps) + i] = 0
            tile_d[row * line(taps) + i] = 0


@inlined
def origin(source, like, image, height, width, scale):
    """A constant near the mean of a plane. The pixels of coarse scales, flatter, are kept less this much."""
    sums = (like.dtype.type(0), like.dtype.type(0), 0)
    for i in range(4):
        for j in range(4):
            row, column = (2 * i + 1) * height // 8, (2 * j + 1) * width // 8
            sums = _sampled(sums, source, image, row, column, scale)
    return _mean_of(sums, 16, like)


@exact
def repeats(tile, rows, columns, taps):
    """How many of the pixels in some rows of a block equal their right neighbour in both images, and of how many."""
    s, d = beyond(tile, pad(taps)), beyond(tile, pad(taps) + (ROWS + halo(taps)) * line(taps))
    equal = 0
    for row in (rows // 4, rows * 3 // 4):
        for i in range(row * line(taps), row * line(taps) + columns - 1):
            equal += (s[i] == s[i + 1]) & (d[i] == d[i + 1])
    return equal, 2 * (columns - 1)


@exact
def _halve_partly(tile_s, tile_d, out_x, out_y, width, rows, columns, shift_x, shift_y, like, taps):
    """The means of 2 × 2 pixels, on an odd side of those that exist."""
    eighth = like.dtype.type(0.125)
    for row in range(0, rows, 2):
        upper, lower = row * line(taps), (row + 1 if row + 1 < rows else row) * line(taps)
        for j in range(0, columns, 2):
            k = min(j + 1, columns - 1)
            s = eighth * ((tile_s[upper + j] + tile_s[upper + k]) + (tile_s[lower + j] + tile_s[lower + k]))
            d = eighth * ((tile_d[upper + j] + tile_d[upper + k]) + (tile_d[lower + j] + tile_d[lower + k]))
            out_x[row // 2 * width + j // 2] = (s + d) + shift_x
            out_y[row // 2 * width + j // 2] = (s - d) + shift_y


@inlined
def coarser(tile, at, width, rows, columns, shifts, targets, like, taps):
    """The block's share of the next scale of an image so wide."""
    broad = (width + 1) // 2
    out_x, out_y = pointer(targets[0] + at * like.itemsize, like), pointer(targets[1] + at * like.itemsize, like)
    tile_s, tile_d = beyond(tile, pad(taps)), beyond(tile, pad(taps) + (ROWS + halo(taps)) * line(taps))
    if rows == ROWS and columns == ACROSS:
        _halve((tile_s, tile_d, out_x, out_y), (broad,), shifts, taps)
    else:
        _halve_partly(tile_s, tile_d, out_x, out_y, broad, rows, columns, shifts[0], shifts[1], like, taps)
