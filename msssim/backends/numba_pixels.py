"""Between memory and blocks: pixels of any type and layout in, sums, coarser pixels and gradients out.

Whole blocks go in vectors, those that the image ends in pixel by pixel.
"""

import numpy as np
from numba import types
from numba.extending import overload

from .numba_blocks import ROWS, wide
from .numba_vectors import beyond, bfloat16, exact, float16, inlined, pointer, summing, vectorised

AHEAD = 4  # blocks by which memory is asked for pixels before they are needed


@vectorised
def _fetch_rows(code, pointers, integers, numbers, taps):
    """Rows of pixels as they are stored, as numbers: scaled, and less a constant."""
    source, target = pointers
    rows, line = integers
    scale, shift = numbers
    for row in code.each(rows):
        pixels, out = code.address(source, code.times(row, line)), code.address(target, code.times(row, wide(taps)))
        code.prefetch(code.address(pixels, AHEAD * wide(taps)))
        for at in range(0, wide(taps), code.lanes):
            code.store(code.load_pixels(code.address(pixels, at), code.pixel) * scale - shift, out, at)


@vectorised
def halve(code, pointers, integers, numbers, taps):
    """The means of 2 × 2 pixels of a whole block."""
    source, target = pointers
    (line,) = integers
    (shift,) = numbers
    for index in code.each(ROWS // 4):
        rows = code.address(source, code.times(index, 4 * wide(taps)))
        out = code.address(target, code.times(code.times(index, 2), line))
        for at in range(0, wide(taps), code.lanes):
            first, second = (
                code.load(rows, at + k) + code.load(rows, at + k + wide(taps)) for k in (0, 2 * wide(taps))
            )
            even, odd = code.unzip(first, second)
            upper, lower = code.halves((even + odd) * 0.25 + shift)
            code.store_part(upper, out, at // 2)
            code.store_part(lower, code.address(out, line), at // 2)


@vectorised
def assemble_rows(code, pointers, integers, numbers, taps):
    """Rows of the gradient: what came through μ, and pixel times what came through the squares and the product."""
    means, squares, product, own, other, target = pointers
    rows, line = integers
    (scale,) = numbers
    for row in code.each(rows):
        out = code.address(target, code.times(row, line))
        for at in range(0, wide(taps), code.lanes):
            place = code.times(row, wide(taps), at)
            a, b, c, d, e = (code.load(code.address(p, place)) for p in (means, squares, product, own, other))
            code.store(scale * code.fma(e, c, code.fma(d, b, a)), out, at)


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
def fetch(source, like, place, step, line, rows, count, scale, target, taps):
    """A block of `rows` rows and `count` columns of an image; gives the constant that was taken from it."""
    T, size = like.dtype.type, source.itemsize
    total = T(0)
    for i in range(4):
        for j in range(4):
            row, column = (rows - 1) * i // 3, (count - 1) * j // 3
            total += _widen(pointer(place + (row * line + column * step) * size, source)[0]) * scale
    # A multiple of 1/128 leaves the pixels of 8-bit images as exact as they came.
    shift = T(np.floor(total * T(8) + T(0.5)) / T(128))
    if step == 1 and count == wide(taps):
        _fetch_rows((pointer(place, source), target), (rows, line), (scale, shift), taps)
    else:
        for row in range(rows):
            pixels, out = pointer(place + row * line * size, source), beyond(target, row * wide(taps))
            for i in range(count):
                out[i] = _widen(pixels[i * step]) * scale - shift
    return shift


@inlined
def origin(source, like, place, step, line, height, width, scale):
    """A constant near the mean of a plane. The pixels of coarse scales, flatter, are kept less this much."""
    T, total = like.dtype.type, like.dtype.type(0)
    for i in range(8):
        for j in range(8):
            row, column = (2 * i + 1) * height // 16, (2 * j + 1) * width // 16
            total += _widen(pointer(place + (row * line + column * step) * source.itemsize, source)[0]) * scale
    return T(np.floor(total * T(2) + T(0.5)) / T(128))


@summing
def _total(values, count):
    total = 0.0
    for i in range(count):
        total += np.float64(values[i])
    return total


@inlined
def sum_of(values, rows, columns, taps):
    """The sum over the rows and columns of a block that are there."""
    if rows == ROWS and columns == wide(taps):
        return _total(values, ROWS * wide(taps))
    total = 0.0
    for row in range(rows):
        total += _total(beyond(values, row * wide(taps)), columns)
    return total


@exact
def clear_outside(values, rows, columns, taps):
    """Zero where the map has no row or column."""
    for row in range(ROWS):
        for i in range(columns if row < rows else 0, wide(taps)):
            values[row * wide(taps) + i] = 0


@exact
def halve_partly(block, target, line, rows, columns, shift, like, taps):
    """The means of 2 × 2 pixels, on an odd side of those that exist."""
    quarter = like.dtype.type(0.25)
    for row in range(0, rows, 2):
        upper, out = beyond(block, row * wide(taps)), beyond(target, row // 2 * line)
        lower = beyond(upper, wide(taps) if row + 1 < rows else 0)
        for j in range(0, columns, 2):
            k = min(j + 1, columns - 1)
            out[j // 2] = quarter * ((upper[j] + upper[k]) + (lower[j] + lower[k])) + shift


@exact
def assemble_partly(pointers, extent, scale, taps):
    """As assemble_rows(), of a block that the image ends in."""
    means, squares, product, own, other, target = pointers
    rows, columns, line = extent
    for row in range(rows):
        out = beyond(target, row * line)
        for i in range(columns):
            k = row * wide(taps) + i
            out[i] = scale * (means[k] + own[k] * squares[k] + other[k] * product[k])
