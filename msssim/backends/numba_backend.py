"""One fused sweep on a CPU: the terms of every scale, and their gradients where asked, while the pixels are in cache.

The plane is cut into tiles of `ROWS` rows. A tile is read once: x, y, x² + y² and xy, less a constant near the tile's
mean, go to a buffer that stays in cache, are filtered down the columns, then along the rows, and become one row of the
map at a time. For the gradient three (or four) rows of derivatives are kept and filtered back the same way. The next
scale's pixels are made from the same buffer. Sums are made tile by tile in a fixed order: the number of threads
changes no bit of a result.

The floor is 40 multiply-adds and 96 additions a pixel and scale: four moments, two directions, and for each an 11-tap
window of five pairs of pixels, less twice the middle one, and the middle one. Half of the time is the filters, whose
pass along the rows is held up by loads across cache lines; the rest is mostly making the moments.
"""

import collections
import functools
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

MAX_WINDOW = 31

ROWS = 16  # rows of the map a tile gives
STRIDE = 560  # pixels a row of a buffer holds, halo included; no power of two, lest rows share cache sets
PLANE = (ROWS + MAX_WINDOW - 1) * STRIDE  # one buffer of a tile's input rows
LANES = 16  # buffers are swept in whole vectors

_ZERO = {torch.float32: 1e-20, torch.float64: 1e-200}  # a denominator at or below this counts as zero
_EXTREME, _TAMED = 2.0**40, 2.0**20  # a plane whose peak is beyond the one is scaled to the other
_SUSPICIOUS = 2.0**60  # a strip whose squares sum to more, or to NaN, may belong to such a plane
_ROUNDING = 16  # what rounding leaves of a difference that is zero, in eps
_UNSIGNED = 2e-6  # 2 σxy this near zero, in units of data_range², has the sign that float32's rounding gave it
_SMALL_WORK = 1 << 15  # pixels below which a second thread costs more than it gives

_log = logging.getLogger(__name__)

# Every function below is compiled; only what is named in the flags may be reordered. None assumes that NaN is absent.
_exact = numba.njit(error_model="numpy")  # x == y gives cs == 1 exactly only if nothing is contracted
_scalar = numba.njit(error_model="numpy", forceinline=True)
_contracted = numba.njit(error_model="numpy", fastmath={"contract"})
_summing = numba.njit(error_model="numpy", fastmath={"reassoc", "nsz", "contract"})

_sched_yield = types.ExternalFunction("sched_yield", types.int32()) if os.name == "posix" else numba.njit(lambda: 0)


@intrinsic
def _pointer(typingctx, address, like):
    """The address as a pointer to elements of the array `like`."""
    pointer = types.CPointer(like.dtype)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, like), generate


@intrinsic
def _count_up(typingctx, array, index):
    """array[index] before it is raised by one, in one step that other threads cannot come between."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(array, types.int64), generate


@intrinsic
def _read(typingctx, array, index):
    """array[index] as other threads have left it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "seq_cst", 8, typ=ir.IntType(64))

    return types.int64(array, types.int64), generate


@intrinsic
def _bfloat16(typingctx, bits):
    def generate(context, builder, signature, arguments):
        high = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(high, ir.FloatType())

    return types.float32(bits), generate


@intrinsic
def _float16(typingctx, bits):
    def generate(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(bits), generate


def _widen(value):
    """A pixel as it is stored, as the float that is computed with."""


@overload(_widen, jit_options={"forceinline": True})
def _widen_overload(value):
    if value == types.int16:
        return lambda value: _bfloat16(value)
    if value == types.uint16:
        return lambda value: _float16(value)
    if value == types.uint8:
        return lambda value: types.float32(value)
    return lambda value: value


def _weigh_down(source, i, taps):
    """The windowed mean of the column that begins at source[i]."""


def _weigh_along(source, i, taps):
    """The windowed mean of the row that begins at source[i]."""


def _unrolled(step):
    """The windowed mean with its taps written out: the middle, and in pairs the weighed differences from it.

    Rounding is then in proportion to what changes inside the window; the outermost and smallest come first.
    """

    def implement(source, i, taps):
        half = len(taps) - 1
        pairs = [f"(source[i + {k * step}] + source[i + {(2 * half - k) * step}])" for k in range(half)]
        text = f"def implementation(source, i, taps):\n    middle = source[i + {half * step}]\n"
        text += "    twice = middle + middle\n"
        text += f"    value = taps[0] * ({pairs[0]} - twice)\n"
        text += "".join(f"    value = value + taps[{k}] * ({pairs[k]} - twice)\n" for k in range(1, half))
        text += "    return middle + value\n"
        scope = {}
        exec(text, scope)
        return scope["implementation"]

    return implement


for _function, _step in ((_weigh_down, STRIDE), (_weigh_along, 1)):
    overload(_function, jit_options={"fastmath": {"contract"}, "forceinline": True})(_unrolled(_step))


@numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
def _divided(numerator, denominator, inverse):
    """The quotient, from the inverse and without a second division: 1 exactly where the two are equal."""
    quotient = numerator * inverse
    return quotient + (numerator - quotient * denominator) * inverse


@_contracted
def _filter_down(source, out, rows, columns, taps):
    """Two rows at a time, which share all but two of the rows that they read."""
    for r in range(0, rows, 2):
        lines, results = source[r * STRIDE :], out[r * STRIDE :]
        for i in range(columns):
            first = _weigh_down(lines, i, taps)
            second = _weigh_down(lines, i + STRIDE, taps)
            results[i] = first
            results[i + STRIDE] = second


@_contracted
def _filter_along(source, out, columns, taps):
    for i in range(columns):
        out[i] = _weigh_along(source, i, taps)


@_summing
def _total(line, count):
    total = line.dtype.type(0)
    for i in range(count):
        total += line[i]
    return total


@_summing
def _total_scaled(line, step, count, scale):
    total = scale - scale
    if step == 1:
        for i in range(count):
            total += _widen(line[i]) * scale
    else:
        for i in range(count):
            total += _widen(line[i * step]) * scale
    return total


@_exact
def _load(line_x, step_x, line_y, step_y, tile, count, scale, shift_x, shift_y):
    """One row of both images as a row each of x, y, x² + y² and xy."""
    if step_x == 1 and step_y == 1:
        for i in range(count):
            x = _widen(line_x[i]) * scale - shift_x
            y = _widen(line_y[i]) * scale - shift_y
            tile[i] = x
            tile[i + PLANE] = y
            tile[i + 2 * PLANE] = x * x + y * y
            tile[i + 3 * PLANE] = x * y
    else:
        for i in range(count):
            x = _widen(line_x[i * step_x]) * scale - shift_x
            y = _widen(line_y[i * step_y]) * scale - shift_y
            tile[i] = x
            tile[i + PLANE] = y
            tile[i + 2 * PLANE] = x * x + y * y
            tile[i + 3 * PLANE] = x * y


@_contracted
def _halve(upper, lower, out, count, shift):
    quarter = upper.dtype.type(0.25)
    for j in range(count):
        out[j] = quarter * ((upper[2 * j] + upper[2 * j + 1]) + (lower[2 * j] + lower[2 * j + 1])) + shift


def _similarity(luminance, gradient):
    """The loop from a row of moments to a row of cs or l cs, and of its derivatives.

    Rows of `row`: 0 μx, 1 μy, 2 E[x² + y²], 3 E[xy], 4 the map; 5 and 6 the derivatives to μx and μy, 7 twice that to
    E[x² + y²], 8 that to E[xy]. All lie in one array at fixed distances, or the loop would not be vectorised.
    """

    def similarity(row, columns, limits, shift_x, shift_y):
        nil, one, c1, c2, zero, unsigned, rounding2, rounding1, floor = limits
        darkness = zero + rounding1 * (shift_x * shift_x + shift_y * shift_y)
        for i in range(columns):
            mx, my, squares = row[i], row[i + STRIDE], row[i + 2 * STRIDE]
            variances = squares - (mx * mx + my * my)
            variances = nil if variances < nil else variances
            half = row[i + 3 * STRIDE] - mx * my
            covariance2 = half + half
            covariance2 = variances if covariance2 > variances else covariance2
            covariance2 = -variances if covariance2 < -variances else covariance2
            cut = covariance2 < floor - unsigned  # what is negative by rounding alone keeps its gradient
            covariance2 = floor if covariance2 < floor else covariance2
            denominator = variances + c2
            flat = denominator <= zero + rounding2 * squares
            denominator = one if flat else denominator
            if gradient:
                inverse = one / denominator
                value = one if flat else _divided(covariance2 + c2, denominator, inverse)
                inverse = nil if flat else inverse
                by_variances = -value * inverse
                by_covariance2 = nil if cut else inverse
            else:
                value = one if flat else (covariance2 + c2) / denominator
            if luminance:
                ux, uy = mx + shift_x, my + shift_y
                energy = ux * ux + uy * uy + c1
                product = ux * uy
                product2 = product + product
                dark = product2 < floor
                product2 = floor if dark else product2
                black = energy <= darkness
                energy = one if black else energy
                ratio = (product2 + c1) / energy
                cs = value
                value = one if black else ratio * cs
                if gradient:
                    factor = nil if black else cs / energy
                    gain = nil if dark else factor
                    loss = ratio * factor
                    by_ux, by_uy = gain * uy - loss * ux, gain * ux - loss * uy
                    ratio = nil if black else ratio
                    by_variances = by_variances * ratio
                    by_covariance2 = by_covariance2 * ratio
            row[i + 4 * STRIDE] = value
            if gradient:
                to_x = -(by_variances * mx + by_covariance2 * my)
                to_y = -(by_variances * my + by_covariance2 * mx)
                if luminance:
                    to_x, to_y = to_x + by_ux, to_y + by_uy
                row[i + 5 * STRIDE] = to_x + to_x
                row[i + 6 * STRIDE] = to_y + to_y
                row[i + 7 * STRIDE] = by_variances + by_variances
                row[i + 8 * STRIDE] = by_covariance2 + by_covariance2

    # A name of its own for each: compiled code that is kept on disk is linked by names.
    similarity.__name__ = similarity.__qualname__ = f"similarity_{luminance:d}{gradient:d}"
    return _exact(similarity)


_cs, _l_cs = _similarity(False, False), _similarity(True, False)
_cs_gradient, _l_cs_gradient = _similarity(False, True), _similarity(True, True)


@_contracted
def _rebase(lines, columns, change_x, change_y):
    """The row of derivatives `ROWS` below, as it would be had another constant been taken from x and y."""
    for i in range(columns):
        squares, product = lines[i + 2 * PLANE + ROWS * STRIDE], lines[i + 3 * PLANE + ROWS * STRIDE]
        to_x, to_y = lines[i + ROWS * STRIDE], lines[i + PLANE + ROWS * STRIDE]
        lines[i] = to_x + change_x * squares + change_y * product
        lines[i + PLANE] = to_y + change_y * squares + change_x * product
        lines[i + 2 * PLANE] = squares
        lines[i + 3 * PLANE] = product


@_contracted
def _assemble(row, first, own, other, out, count, scale):
    """A row of the gradient: what came through μ, and pixel times what came through the squares and the product."""
    for i in range(count):
        out[i] = scale * (row[i + first] + own[i] * row[i + 2 * STRIDE] + other[i] * row[i + 3 * STRIDE])


@_scalar
def _upto_lanes(count):
    return (count + LANES - 1) // LANES * LANES


@_exact
def _fill(source, base_x, step_x, line_step_x, base_y, step_y, line_step_y, tile, lead, rows, count, scale):
    """The tile's buffers from `rows` rows of both images; the constants that were taken from x and y."""
    size, reach = source.itemsize, count * max(step_x, step_y, 1)
    sum_x = sum_y = 0.0
    used, most = 0, max(1, count // LANES * LANES)  # a constant near the mean will do, so no vector is left incomplete
    for r in range(0, rows, 4):
        line_x = numba.carray(_pointer(base_x + r * line_step_x * size, source), (reach,))
        line_y = numba.carray(_pointer(base_y + r * line_step_y * size, source), (reach,))
        sum_x += _total_scaled(line_x, step_x, most, scale)
        sum_y += _total_scaled(line_y, step_y, most, scale)
        used += most
    # A multiple of 1/128 leaves the pixels of 8-bit images as exact as they came.
    shift_x = tile.dtype.type(np.floor(sum_x / used * 128 + 0.5) / 128)
    shift_y = tile.dtype.type(np.floor(sum_y / used * 128 + 0.5) / 128)
    for r in range(rows):
        line_x = numba.carray(_pointer(base_x + r * line_step_x * size, source), (reach,))
        line_y = numba.carray(_pointer(base_y + r * line_step_y * size, source), (reach,))
        target = tile[r * STRIDE + lead :]
        if count < LANES:
            _load(line_x, step_x, line_y, step_y, target, count, scale, shift_x, shift_y)
        else:  # the last vector overlaps the one before it, so that none is left incomplete
            _load(line_x, step_x, line_y, step_y, target, count // LANES * LANES, scale, shift_x, shift_y)
            end = count - LANES
            end_x, end_y = line_x[end * step_x :], line_y[end * step_y :]
            _load(end_x, step_x, end_y, step_y, target[end:], LANES, scale, shift_x, shift_y)
    return shift_x, shift_y


@_exact
def _origin(source, like, first, step, line_step, height, width, scale):
    """A constant near the mean of a plane, from eight of its rows. Coarse scales, flatter, are kept less this much."""
    total, number = 0.0, 8
    for k in range(number):
        address = first + (2 * k + 1) * height // (2 * number) * line_step * source.itemsize
        line = numba.carray(_pointer(address, source), (max(1, width * step),))
        total += _total_scaled(line, step, width, scale)
    return like.dtype.type(np.floor(total / (number * width) * 128 + 0.5) / 128)


@_exact
def _coarser(tile, like, address_x, address_y, lead, rows, count, height_left, width_left, width, shift_x, shift_y):
    """The tile's share of the next scale: the mean of 2 × 2 pixels, on an odd side of those that exist."""
    odd_column = width_left == count and count % 2 == 1
    size = like.itemsize
    half = (count + 1) // 2
    for r in range(0, rows, 2):
        upper = r * STRIDE + lead
        lower = upper + STRIDE if r + 1 < height_left else upper
        for plane, address, shift in ((0, address_x, shift_x), (PLANE, address_y, shift_y)):
            if odd_column:
                tile[plane + upper + count] = tile[plane + upper + count - 1]
                tile[plane + lower + count] = tile[plane + lower + count - 1]
            out = numba.carray(_pointer(address + r // 2 * width * size, like), (half,))
            _halve(tile[plane + upper :], tile[plane + lower :], out, half // LANES * LANES, shift)
            begin = max(0, half - LANES) if half % LANES else half
            _halve(
                tile[plane + upper + 2 * begin :], tile[plane + lower + 2 * begin :], out[begin:], half - begin, shift
            )


@_exact
def _back(derivatives, vertical, row, tile, like, address_x, address_y, both, lead, rows, count, width, scale, taps):
    """The tile's rows of the gradients: the derivatives filtered back, first down, then along."""
    halo = 2 * (len(taps) - 1)
    size = like.itemsize
    for m in range(4):
        if m != 1 or both:
            _filter_down(derivatives[m * PLANE :], vertical[m * ROWS * STRIDE :], rows, _upto_lanes(count + halo), taps)
    for r in range(rows):
        for m in range(4):
            if m != 1 or both:
                _filter_along(vertical[(m * ROWS + r) * STRIDE :], row[m * STRIDE :], _upto_lanes(count), taps)
        x, y = tile[r * STRIDE + lead :], tile[r * STRIDE + lead + PLANE :]
        out = numba.carray(_pointer(address_x + r * width * size, like), (count,))
        _assemble(row, 0, x, y, out, count, scale)
        if both:
            out = numba.carray(_pointer(address_y + r * width * size, like), (count,))
            _assemble(row, STRIDE, y, x, out, count, scale)


@_exact
def _keep(row, derivatives, r, start, stop, columns, both):
    """The derivatives of a row of the map to their buffers, zero where the map has no column."""
    for m in range(4):
        if m != 1 or both:
            line, kept = row[(5 + m) * STRIDE :], derivatives[m * PLANE + r * STRIDE :]
            for i in range(columns):
                kept[i] = line[i]
            for i in range(start):
                kept[i] = 0
            for i in range(max(start, stop), columns):
                kept[i] = 0


@_exact
def _strip(source, like, deep, last, pixels, origins, task, size, targets, buffers, taps, scale, limits, both):
    """The sums over one strip of the plane, of the map and of E[x² + y²]; its share of what else is written.

    `origins` is what was taken from the pixels of every scale but the first. `pixels` says where the plane is: address,
    steps along the row and down the columns, of x, then of y; `targets` where the next scale's x and y and the
    gradients to x and y of this scale go.
    """
    x0, step_x, line_x, y0, step_y, line_y = pixels
    top, bottom, left, right = task
    height, width = size
    tile, vertical, row, derivatives = buffers
    halo = 2 * (len(taps) - 1)
    lead, start = 0, top
    if both is not None:  # derivatives up to a window above and left of the strip reach into it
        lead = halo
        start = max(0, top - (halo + ROWS - 1) // ROWS * ROWS)
    high, wide = height - halo, width - halo
    begin = max(0, left - lead)
    count_in = min(width, right + halo) - begin
    columns = right - left + lead
    map_start, map_stop = begin - (left - lead), min(columns, wide - (left - lead))
    own = max(0, min(right, wide) - left)
    item = source.itemsize if not deep else like.itemsize
    total, squares = 0.0, 0.0
    missing_x, missing_y = origins if deep else (limits[0], limits[0])
    shift_x = shift_y = like.dtype.type(0)
    for p in range(start, bottom, ROWS):
        rows_in, rows_map = min(ROWS + halo, height - p), max(0, min(ROWS, high - p))
        x1, y1 = x0 + (p * line_x + begin * step_x) * item, y0 + (p * line_y + begin * step_y) * item
        old_x, old_y = shift_x, shift_y
        if deep:
            shift_x, shift_y = _fill(
                like, x1, step_x, line_x, y1, step_y, line_y, tile, map_start, rows_in, count_in, limits[1]
            )
        else:
            shift_x, shift_y = _fill(
                source, x1, step_x, line_x, y1, step_y, line_y, tile, map_start, rows_in, count_in, scale
            )
        if p >= top and not last:
            at = ((p // 2) * ((width + 1) // 2) + left // 2) * like.itemsize
            _coarser(
                tile, like, targets[0] + at, targets[1] + at, lead, min(ROWS, bottom - p), right - left,
                height - p, width - left, (width + 1) // 2,
                shift_x + missing_x - origins[0], shift_y + missing_y - origins[1],
            )  # fmt: skip
        first = 0
        if both is not None:
            first = max(0, top - halo - p) // 2 * 2
            for k in range(halo):
                if p == start:
                    for m in range(4):
                        derivatives[m * PLANE + k * STRIDE : m * PLANE + k * STRIDE + columns + LANES] = 0
                else:
                    _rebase(derivatives[k * STRIDE :], _upto_lanes(columns), shift_x - old_x, shift_y - old_y)
        for m in range(4):
            at = first * STRIDE
            source_rows, results = tile[m * PLANE + at :], vertical[m * ROWS * STRIDE + at :]
            _filter_down(source_rows, results, rows_map - first, _upto_lanes(columns + halo), taps)
        for r in range(first, rows_map):
            for m in range(4):
                _filter_along(vertical[(m * ROWS + r) * STRIDE :], row[m * STRIDE :], _upto_lanes(columns), taps)
            if both is not None:
                if last:
                    _l_cs_gradient(row, _upto_lanes(columns), limits, shift_x + missing_x, shift_y + missing_y)
                else:
                    _cs_gradient(row, _upto_lanes(columns), limits, shift_x + missing_x, shift_y + missing_y)
                _keep(row, derivatives, halo + r, map_start, map_stop, _upto_lanes(columns), both)
            elif last:
                _l_cs(row, _upto_lanes(columns), limits, shift_x + missing_x, shift_y + missing_y)
            else:
                _cs(row, _upto_lanes(columns), limits, shift_x + missing_x, shift_y + missing_y)
            if p >= top:
                total += _total(row[4 * STRIDE + lead :], own)
                if not deep:
                    squares += np.float64(_total(row[2 * STRIDE + lead :], own))  # infinity and NaN stay in a sum
        if both is not None:
            for r in range(rows_map, ROWS):
                _keep(row, derivatives, halo + r, 0, 0, _upto_lanes(columns), both)
            if p >= top:
                at = (p * width + left) * like.itemsize
                _back(
                    derivatives, vertical, row, tile, like, targets[2] + at, targets[3] + at, both, lead,
                    min(ROWS, bottom - p), right - left, width, scale, taps,
                )  # fmt: skip
    return total, squares


def _compiled_for_keeps(function):
    """The kernel, free of the GIL; kept on disk where there is a folder to write to."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no folder it may write to
        return numba.njit(nogil=True, error_model="numpy")(function)


@_compiled_for_keeps
def sweep(source, like, info, shapes, tasks, state, scales, taps, both, sums, squares):
    """One thread's part of the work: strip after strip until none is left.

    A strip of a scale waits until the plane's finer scale is finished, which other threads are then busy with: strips
    are taken in an order in which what one waits for was taken before it.
    """
    T = like.dtype.type
    sizes = (4 * PLANE + STRIDE, (4 * ROWS + 2) * STRIDE, 10 * STRIDE, 4 * PLANE + STRIDE if both is not None else 0)
    memory = np.zeros(sum(sizes), like.dtype)
    # Views without an owner, for counting references would take a tenth of the time.
    address = np.int64(memory.ctypes.data)
    tile = numba.carray(_pointer(address, like), (sizes[0],))
    vertical = numba.carray(_pointer(address + sizes[0] * like.itemsize, like), (sizes[1],))
    row = numba.carray(_pointer(address + (sizes[0] + sizes[1]) * like.itemsize, like), (sizes[2],))
    derivatives = numba.carray(_pointer(address + (sizes[0] + sizes[1] + sizes[2]) * like.itemsize, like), (sizes[3],))
    levels, channels = shapes.shape[0], info[0]
    pyramid_x, pyramid_y, pyramid_size = info[1], info[2], info[3]
    gradient_x, gradient_y, gradient_size = info[4], info[5], info[6]
    full = shapes[0, 0] * shapes[0, 1]
    size = like.itemsize
    while True:
        k = _count_up(state, 0)
        if k >= tasks.shape[0]:
            return memory[0]  # which must live till here
        plane, level, slot = tasks[k, 0], tasks[k, 1], tasks[k, 2]
        height, width, offset = shapes[level, 0], shapes[level, 1], shapes[level, 2]
        n, c = plane // channels, plane % channels
        x0 = info[7] + (n * info[8] + c * info[9]) * source.itemsize
        y0 = info[12] + (n * info[13] + c * info[14]) * source.itemsize
        origins = (T(0), T(0))
        if levels > 1:
            high, wide, scale = shapes[0, 0], shapes[0, 1], T(scales[plane, 0])
            origins = (
                _origin(source, like, x0, info[11], info[10], high, wide, scale),
                _origin(source, like, y0, info[16], info[15], high, wide, scale),
            )
        if level == 0:
            pixels = (x0, info[11], info[10], y0, info[16], info[15])
        else:
            while np.int64(_read(state, 1 + plane * levels + level - 1)) < shapes[level - 1, 3]:
                _sched_yield()
            at = (plane * pyramid_size + offset - full) * size
            pixels = (pyramid_x + at, np.int64(1), width, pyramid_y + at, np.int64(1), width)
        coarse = (plane * pyramid_size + offset + height * width - full) * size
        fine = (plane * gradient_size + offset) * size
        targets = (pyramid_x + coarse, pyramid_y + coarse, gradient_x + fine, gradient_y + fine)
        limits = (
            T(0), T(1), T(scales[plane, 1]), T(scales[plane, 2]),
            T(scales[plane, 3]), T(scales[plane, 4]), T(scales[plane, 5]), T(scales[plane, 6]), T(scales[plane, 7]),
        )  # fmt: skip
        sums[plane, level, slot], extreme = _strip(
            source, like, level > 0, level == levels - 1, pixels, origins,
            (tasks[k, 3], tasks[k, 4], tasks[k, 5], tasks[k, 6]), (height, width), targets,
            (tile, vertical, row, derivatives), taps, T(scales[plane, 0]), limits, both,
        )  # fmt: skip
        if level == 0:
            squares[plane, slot] = extreme
        _count_up(state, 1 + plane * levels + level)


@_contracted
def _spread_row(gradient, share, coarse, weight, out, count, coarse_there):
    """Share · gradient, and the coarser row's part; the last pixel of an odd count is alone in its mean."""
    if not coarse_there:
        for j in range(count):
            out[j] = share * gradient[j]
        return
    for j in range(count // 2):
        common = weight * coarse[j]
        out[2 * j] = share * gradient[2 * j] + common
        out[2 * j + 1] = share * gradient[2 * j + 1] + common
    if count % 2:
        out[count - 1] = share * gradient[count - 1] + (weight + weight) * coarse[count // 2]


@_compiled_for_keeps
def spread(gradients, shares, shapes, strip, state, out):
    """One thread's part of the backward pass: `out` from the gradients of all scales, strip after strip.

    The adjoint of a 2 × 2 mean reaches no neighbour, so a strip as high as the coarsest pixel stands alone.
    """
    T = out.dtype.type
    levels, height, width = shapes.shape[0], shapes[0, 0], shapes[0, 1]
    scratch = np.empty((2, max(1, (strip // 2) * ((width + 1) // 2))), out.dtype)
    strips = (height + strip - 1) // strip
    while True:
        k = _count_up(state, 0)
        if k >= gradients.shape[0] * strips:
            return
        plane, top = k // strips, k % strips * strip
        bottom = min(height, top + strip)
        for level in range(levels - 1, -1, -1):
            rows, columns, offset = shapes[level, 0], shapes[level, 1], shapes[level, 2]
            first, end = top >> level, ((bottom - 1) >> level) + 1
            above = shapes[min(level + 1, levels - 1), 1]
            coarse = scratch[(level + 1) % 2]
            for i in range(first, end):
                line = gradients[plane, offset + i * columns : offset + (i + 1) * columns]
                alone = i == rows - 1 and rows % 2 == 1
                weight = T(0.5) if alone else T(0.25)
                before = coarse[((i >> 1) - (first >> 1)) * above :]
                share = T(shares[plane, level])
                result = scratch[level % 2, (i - first) * columns :] if level else out[plane, i]
                _spread_row(line, share, before, weight, result, columns, level < levels - 1)


def means_and_gradients(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    """The terms of every plane, (N, C, levels), and the gradients of each scale's sum with respect to its own image.

    The gradients, (N, C, pixels of all scales) or, where not needed, (N, C, 0), are those of the images as given (what
    the scaling contributes is in them); sum, not mean: gradient() divides.
    """
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, taps, c1, c2, unit, levels, rectify, True, False)
        return means, first, second
    x, y = _as_stored(img1), _as_stored(img2)
    dtype = _dtype_of_computation(img1.dtype)
    planes = img1.shape[0] * img1.shape[1]
    shapes, _ = _pyramid(*img1.shape[-2:], levels)
    total = int(shapes[:, :2].prod(1).sum())
    gradients = [img1.new_empty((*img1.shape[:2], total if need else 0), dtype=dtype) for need in (need1, need2)]
    scales = _scales(np.full(planes, 1 / unit), c1, c2, dtype, rectify)
    sums, squares = _sweep(x, y, dtype, _typed_taps(taps, dtype), scales, levels, need1, need2, gradients)
    if not (squares.max() < _SUSPICIOUS and np.isfinite(sums).all()):
        peak = torch.maximum(_peak(img1), _peak(img2)).reshape(-1).double().numpy()
        extreme = (peak > unit * _EXTREME) & np.isfinite(peak)
        if extreme.any():
            scales = _scales(np.where(extreme, _TAMED / np.where(extreme, peak, 1), 1 / unit), c1, c2, dtype, rectify)
            sums, _ = _sweep(x, y, dtype, _typed_taps(taps, dtype), scales, levels, need1, need2, gradients)
    counts = (shapes[:, 0] - len(taps) + 1) * (shapes[:, 1] - len(taps) + 1)
    means = torch.from_numpy(sums / counts).view(*img1.shape[:2], levels)
    return means, *gradients


def gradient(upstream, gradients, height, width, levels, halo):
    """The gradient with respect to an image, from that of each scale's mean: (N, C, H, W) in the gradients' dtype."""
    shapes, _ = _pyramid(height, width, levels)
    counts = (shapes[:, 0] - halo) * (shapes[:, 1] - halo)
    planes = gradients.shape[0] * gradients.shape[1]
    shares = upstream.double().reshape(planes, levels).numpy() / counts
    out = gradients.new_empty((*gradients.shape[:2], height, width))
    strip = max(32, 2 ** (levels - 1))
    state = np.zeros(1, np.int64)
    flat, result = gradients.reshape(planes, -1).numpy(), out.view(planes, height, width).numpy()
    _on_threads(planes * height * width, spread, (out.dtype,), flat, shares, shapes, strip, state, result)
    return out


def _sweep(x, y, dtype, taps, scales, levels, need1, need2, gradients):
    n, channels, height, width = x.shape
    shapes, total = _pyramid(height, width, levels)
    planes = n * channels
    tasks, slots = _tasks(planes, height, width, levels, 2 * (len(taps) - 1), need1)
    shapes = _with_counts(height, width, levels, 2 * (len(taps) - 1), need1)
    coarser = total - height * width
    pyramid = _borrow(2 * planes * coarser, dtype)
    like = _LIKE[dtype]
    info = np.array(
        [
            channels, pyramid.data_ptr(), pyramid.data_ptr() + planes * coarser * pyramid.element_size(), coarser,
            gradients[0].data_ptr(), gradients[1].data_ptr(), total,
            x.data_ptr(), *x.stride(), y.data_ptr(), *y.stride(),
        ],
        np.int64,
    )  # fmt: skip
    sums, squares = np.zeros((planes, levels, slots)), np.zeros((planes, slots))
    state = np.zeros(1 + planes * levels, np.int64)
    both = int(need2) if need1 else None
    # What the addresses in `info` point to is kept alive by `alive`, should an interrupt leave a thread behind.
    alive = (x, y, pyramid, gradients)
    _on_threads(
        planes * height * width, sweep, (x.dtype, len(taps), need1), _LIKE[x.dtype], like, info, shapes, tasks, state,
        scales, taps, both, sums, squares, alive=alive,
    )  # fmt: skip
    _give_back(pyramid)
    return sums.sum(-1), squares


# The pyramids of the last call or two, if small: memory fresh from the system costs more time than filling it.
_KEPT, _KEPT_BYTES = collections.deque(maxlen=2), 1 << 24


def _borrow(elements, dtype):
    for _ in range(len(_KEPT)):
        try:
            memory = _KEPT.popleft()
        except IndexError:  # another thread was faster
            break
        if memory.dtype == dtype and elements <= memory.numel() <= 2 * elements:
            return memory
    return torch.empty(elements, dtype=dtype)


def _give_back(memory):
    if memory.numel() * memory.element_size() <= _KEPT_BYTES:
        _KEPT.append(memory)


# The element types as the kernels see them: NumPy has no bfloat16, and float16 is handed over as its bits as well.
_LIKE = {
    torch.float32: np.empty(0, np.float32),
    torch.float64: np.empty(0, np.float64),
    torch.int16: np.empty(0, np.int16),
    torch.uint16: np.empty(0, np.uint16),
    torch.uint8: np.empty(0, np.uint8),
}
_STORED = {torch.bfloat16: torch.int16, torch.float16: torch.uint16, torch.bool: torch.uint8}


def _as_stored(image):
    image = image.detach().resolve_neg()
    return image.view(_STORED[image.dtype]) if image.dtype in _STORED else image


def _dtype_of_computation(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _peak(image):
    low, high = image.detach().flatten(2).to(_dtype_of_computation(image.dtype)).aminmax(dim=-1)
    return torch.maximum(high, -low)


def _scales(scale, c1, c2, dtype, rectify):
    """For each plane: the scale, C1 and C2 in working units, and what decides whether a denominator is zero."""
    eps = _ROUNDING * torch.finfo(dtype).eps
    table = np.empty((len(scale), 8))
    table[:, 0] = scale
    table[:, 1] = c1 * scale**2
    table[:, 2] = c2 * scale**2
    table[:, 3:] = _ZERO[dtype], _UNSIGNED, eps * (c2 == 0), eps**2 * (c1 == 0), 0.0 if rectify else -np.inf
    return table


@functools.lru_cache(maxsize=64)
def _typed_taps(taps, dtype):
    """The taps up to the middle one, in the dtype of computation."""
    return tuple(_LIKE[dtype].dtype.type(tap) for tap in taps[: len(taps) // 2 + 1])


@functools.lru_cache(maxsize=64)
def _pyramid(height, width, levels):
    """A row for each scale, (height, width, pixels of all finer scales); the pixels of all scales."""
    rows, total = [], 0
    for _ in range(levels):
        rows.append((height, width, total))
        total += height * width
        height, width = (height + 1) // 2, (width + 1) // 2
    return np.array(rows, np.int64), total


@functools.lru_cache(maxsize=64)
def _strips(height, width, levels, halo, gradient):
    """(scale, number within its scale, top, bottom, left, right) of each strip of a plane."""
    strips = []
    widest = (STRIDE - halo * (1 + gradient)) // LANES * LANES
    for level, (h, w, _) in enumerate(_pyramid(height, width, levels)[0].tolist()):
        number = -(-w // widest)
        across = -(-w // (number * LANES)) * LANES
        down = ROWS * max(1, -(-h // (ROWS * max(1, round(h / (128 if gradient else 64))))))
        cuts = [(t, min(h, t + down), z, min(w, z + across)) for t in range(0, h, down) for z in range(0, w, across)]
        strips += [(level, slot, *cut) for slot, cut in enumerate(cuts)]
    return np.array(strips, np.int64)


@functools.lru_cache(maxsize=64)
def _tasks(planes, height, width, levels, halo, gradient):
    """The strips of all planes, in the order they are taken in: a plane's coarse scales beside the next one's fine."""
    strips = _strips(height, width, levels, halo, gradient)
    plane = np.repeat(np.arange(planes), len(strips))[:, None]
    tasks = np.hstack([plane, np.tile(strips, (planes, 1))])
    tasks = tasks[np.argsort(tasks[:, 0] + tasks[:, 1], kind="stable")]
    return np.ascontiguousarray(tasks), int(strips[:, 1].max()) + 1


@functools.lru_cache(maxsize=64)
def _with_counts(height, width, levels, halo, gradient):
    """_pyramid(), and how many strips each scale has."""
    counts = np.bincount(_strips(height, width, levels, halo, gradient)[:, 0])
    return np.hstack([_pyramid(height, width, levels)[0], counts[:, None]])


_pool, _pool_lock = None, threading.Lock()


def _forget_pool():
    """After a fork: the child has none of its parent's threads."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _helpers(number):
    global _pool
    with _pool_lock:
        if _pool is None or _pool._max_workers < number:
            _pool = ThreadPoolExecutor(number, thread_name_prefix="msssim")
        return _pool


def _on_threads(work, kernel, kind, *arguments, alive=None):
    """The kernel on as many threads as PyTorch would use, this one among them."""
    _ready(kernel, kind, arguments)
    number = min(torch.get_num_threads(), max(1, work // _SMALL_WORK))

    def run(_alive=alive):
        kernel(*arguments)

    helpers = []
    if number > 1:
        pool = _helpers(number - 1)
        helpers = [pool.submit(run) for _ in range(number - 1)]
    run()
    for helper in helpers:
        if not helper.cancel():  # one that has not begun is not needed any more
            helper.result()


_ready_for, _compiling = set(), threading.Lock()


def _ready(kernel, kind, arguments):
    """That the kernel is compiled for arguments of these types; what may take seconds is told in the log."""
    variant = (kernel.__name__, *kind)
    if variant in _ready_for:
        return
    with _compiling:
        if variant in _ready_for:
            return
        _log.info("numba backend: preparing the kernel %s for a new kind of call", kernel.__name__)
        started = time.perf_counter()
        signature = tuple(numba.typeof(argument) for argument in arguments)
        try:
            kernel.compile(signature)
        except OSError as error:  # compiled, but the folder would not take it
            _log.warning("numba backend: compiled code is not kept: %s", error)
        source = "found on disk" if kernel.stats.cache_hits.get(signature) else "compiled, which happens once"
        _log.info(
            "numba backend: %s is ready after %.1f s (%s)", kernel.__name__, time.perf_counter() - started, source
        )
        _ready_for.add(variant)
