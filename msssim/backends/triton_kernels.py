"""One fused pass on a GPU, in Triton: the terms of every scale, and their gradients where asked.

Triton cannot shift a row inside a program, so the filters along the rows read their neighbours from memory that is in
the first cache, and the filters down the columns keep what is pending in registers. A program goes down `rows` rows of
a strip, two columns a thread (one in float64, for two gradients and for large windows). A row is read with its
neighbours, filtered along, and makes its share of the 11 windows that it is part of: 10 sums for each of four moments.
The window that it completes gives the map and its derivatives, which are kept the same way, 10 sums for each of three,
and then filtered along by a detour through a line of memory that is the program's own and one barrier. The same pass
writes the next scale's pixels; the scales after it come from halve(), and all coarse scales are one launch. Sums are
Kahan's in a thread and float64 between them, in an order that is always the same: no atomics, no matrix units, no TF32.

The moments are those of s = x + y and d = x - y: s² and d² hold what x² + y² and xy do, at fewer operations, and equal
images give exactly 1 by themselves.

Floors, for the window of 11, float32 and one gradient, a pixel and scale. Bytes: 8 read and 4 written, and 8 for the
backward pass, at 20 bytes 4.2 ps of 4.8 TB/s. Operations: 421 instructions of a thread in the innermost loop as it is
compiled for sm_90, of which 278 are arithmetic: 13 ps at 33.5 thousand billion a second. By these figures, none of them
measured, instructions bind it, and what it gains over kernels that write their maps out is less than bytes alone say.

Ways that were compiled for sm_90 and compared, by what the loop takes (tests/ahead_of_time.py prints the first):
    two columns a thread, lines in memory    421 instructions a pixel, 249 registers, 1 barrier a row
    one column a thread, lines in memory     545 instructions a pixel, 153 registers, 1 barrier a row
    two columns a thread, tl.gather          470 instructions a pixel, 245 registers, 72 barriers a row
In float32 nothing spills up to a window of 11; float64 with a gradient spills some 180 bytes a thread at the first
scale, a window of 31 some 1,000.
Banded matrices by tl.dot at IEEE precision spend 32 multiply-adds on an output of 16 columns where 11 would do.
"""

# ruff: noqa: RUF005, SIM102 - Triton's language unpacks no tuples inside others, and has no `and` for tensors.

import triton
import triton.language as tl

_EXTREME: tl.constexpr = tl.constexpr(2.0**40)  # pixels beyond this many units are scaled down to
_TAMED: tl.constexpr = tl.constexpr(2.0**20)  # this many, lest their squares overflow
_SUSPICIOUS: tl.constexpr = tl.constexpr(2.0**60)  # a mean of squares beyond this may come of such pixels
_UNSIGNED: tl.constexpr = tl.constexpr(4e-6)  # 4 σxy this near zero, in units², has the sign that rounding gave it


@triton.jit
def _number(bits, dtype: tl.constexpr):
    """A float64 that came as its bits: Triton hands Python's floats over in float32."""
    return bits.to(tl.int64).to(tl.float64, bitcast=True).to(dtype)


@triton.jit
def _repeat(value, count: tl.constexpr):
    values = ()
    for _ in tl.static_range(count):
        values = values + (value,)
    return values


@triton.jit
def _along(row, first: tl.constexpr, TAPS: tl.constexpr):
    """The windowed mean of row[first], row[first + 1], …: the middle one, and the weighed differences from it.

    Rounding is then in proportion to what changes inside the window, and none at all where nothing does.
    """
    HALF: tl.constexpr = len(TAPS) // 2
    middle = row[first + HALF]
    twice = middle + middle
    value = (row[first] + row[first + 2 * HALF] - twice) * tl.full((), TAPS[0], middle.dtype)
    for k in tl.static_range(1, HALF):
        pair = row[first + k] + row[first + 2 * HALF - k]
        value = tl.fma(pair - twice, tl.full((), TAPS[k], middle.dtype), value)
    return middle + value


@triton.jit
def _down(pending, row, STEPS: tl.constexpr):
    """A row more for the windowed means of the columns: the mean that it completes, and what is pending after it.

    A mean is its middle row and the weighed steps from each row to the next. Pending are the means that have begun,
    the oldest first, and the last row.
    """
    LAST: tl.constexpr = len(STEPS) - 1
    step = row - pending[LAST]
    complete = tl.fma(step, tl.full((), STEPS[LAST], row.dtype), pending[0])
    begun = ()
    for k in tl.static_range(1, LAST + 1):
        if k < LAST:
            mean = tl.fma(step, tl.full((), STEPS[LAST - k], row.dtype), pending[k])
        else:
            mean = step * tl.full((), STEPS[0], row.dtype)
        if LAST - k == LAST // 2:
            mean += row  # this row is its middle one
        begun = begun + (mean,)
    return complete, begun + (row,)


@triton.jit
def _back_along(row, first: tl.constexpr, TAPS: tl.constexpr):
    """The adjoint of a filter along the row, which needs no differences: what it sums is not subtracted from."""
    value = row[first] * tl.full((), TAPS[0], row[first].dtype)
    for k in tl.static_range(1, len(TAPS)):
        value = tl.fma(row[first + k], tl.full((), TAPS[k], value.dtype), value)
    return value


@triton.jit
def _back_down(pending, row, TAPS: tl.constexpr):
    """The adjoint of a filter down the columns: the row of the gradient that is complete, and what is pending."""
    LAST: tl.constexpr = len(TAPS) - 1
    complete = tl.fma(row, tl.full((), TAPS[0], row.dtype), pending[0])
    begun = ()
    for k in tl.static_range(1, LAST):
        begun = begun + (tl.fma(row, tl.full((), TAPS[k], row.dtype), pending[k]),)
    return complete, begun + (row * tl.full((), TAPS[LAST], row.dtype),)


@triton.jit
def _positive(value):
    """max(value, 0), and NaN for NaN."""
    return tl.where(value < 0, 0.0, value)


@triton.jit
def _similarity(moments, shifts, limits, luminance, rectify):
    """The map of cs, or of l cs, at one position, and half its derivatives to s, d, E[s²] twice and E[d²] twice.

    s = x + y and d = x - y: then 2 (σx² + σy²) = σs² + σd² and 4 σxy = σs² - σd², so that equal images, whose d is
    zero, give exactly 1.
    """
    mean_s, mean_d, squares_s, squares_d = moments
    c1, c2, zero, rounding1, rounding2 = limits
    variance_s = _positive(squares_s - mean_s * mean_s)
    variance_d = _positive(squares_d - mean_d * mean_d)
    covariance4 = variance_s - variance_d
    cut = rectify & (covariance4 < -_UNSIGNED)  # what is negative by rounding alone keeps its gradient
    covariance4 = tl.where(rectify & (covariance4 < 0), 0.0, covariance4)
    denominator = variance_s + variance_d + c2
    flat = denominator <= zero + rounding2 * (squares_s + squares_d)
    denominator = tl.where(flat, 1.0, denominator)
    value, inverse = _divided(covariance4 + c2, denominator)
    value = tl.where(flat, 1.0, value)
    inverse = tl.where(flat, 0.0, inverse)
    by_sum = -value * inverse
    by_difference = tl.where(cut, 0.0, inverse)
    to_s = tl.zeros_like(value)
    to_d = tl.zeros_like(value)
    if luminance:
        light_s = mean_s + shifts[0]
        light_d = mean_d + shifts[1]
        product4 = light_s * light_s - light_d * light_d
        dark = rectify & (product4 < 0)
        product4 = tl.where(dark, 0.0, product4)
        energy = light_s * light_s + light_d * light_d + c1
        black = energy <= zero + rounding1 * (shifts[0] * shifts[0] + shifts[1] * shifts[1])
        ratio, inverse = _divided(product4 + c1, tl.where(black, 1.0, energy))
        factor = tl.where(black, 0.0, value * inverse)
        gain = tl.where(dark, 0.0, factor)
        to_s = light_s * (gain - ratio * factor)
        to_d = -light_d * (gain + ratio * factor)
        value = tl.where(black, 1.0, ratio * value)
        ratio = tl.where(black, 0.0, ratio)
        by_sum *= ratio
        by_difference *= ratio
    to_squares_s = by_sum + by_difference
    to_squares_d = by_sum - by_difference
    to_s = tl.fma(-mean_s, to_squares_s, to_s)
    to_d = tl.fma(-mean_d, to_squares_d, to_d)
    return value, to_s, to_d, to_squares_s, to_squares_d


@triton.jit
def _divided(numerator, denominator):
    """The quotient, exactly 1 where the two are equal, and the inverse of the denominator, by one division."""
    inverse = 1 / denominator
    quotient = numerator * inverse
    return tl.fma(tl.fma(-quotient, denominator, numerator), inverse, quotient), inverse


@triton.jit
def _origin(image, step_h, step_w, height, width, inverse_unit, SIZE: tl.constexpr):
    """A constant near the mean of a plane, from SIZE of its pixels, in the image's units.

    A multiple of 1/128 of the unit leaves the pixels of 8-bit images as exact as they came.
    """
    lane = tl.arange(0, SIZE)
    i = (2 * (lane // 16) + 1).to(tl.int64) * height // (SIZE // 8)
    j = (2 * (lane % 16) + 1).to(tl.int64) * width // 32
    sample = tl.load(image + i * step_h + j * step_w).to(inverse_unit.dtype)
    mean = tl.sum(sample * (inverse_unit / SIZE), 0)
    mean = tl.floor(mean * 128 + 0.5) / 128
    return tl.where(tl.abs(mean) < _EXTREME, mean, 0.0) / inverse_unit


@triton.jit
def _mean_of_four(corner, below, aside, mask, dtype: tl.constexpr):
    a = tl.load(corner, mask=mask, other=0).to(dtype) * 0.25
    b = tl.load(corner + aside, mask=mask, other=0).to(dtype) * 0.25
    c = tl.load(corner + below, mask=mask, other=0).to(dtype) * 0.25
    d = tl.load(corner + below + aside, mask=mask, other=0).to(dtype) * 0.25
    return (a + b) + (c + d)


@triton.jit
def _read(x, y, x_w, y_w, here, inside, scale, shifts, HALO: tl.constexpr, PIXELS: tl.constexpr):
    """A row, from each thread's first column to the end of its last one's window: s, d, s² and d²."""
    s, d, squares_s, squares_d = (), (), (), ()
    for k in tl.static_range(HALO + PIXELS):
        there = here & inside[(k - HALO) * (k > HALO)]
        pixel_x = tl.load(x + k * x_w, mask=there, other=0).to(scale.dtype)
        pixel_y = tl.load(y + k * y_w, mask=there, other=0).to(scale.dtype)
        pixel_x = tl.fma(pixel_x, scale, -shifts[0])
        pixel_y = tl.fma(pixel_y, scale, -shifts[1])
        total = pixel_x + pixel_y
        difference = pixel_x - pixel_y
        s = s + (total,)
        d = d + (difference,)
        squares_s = squares_s + (total * total,)
        squares_d = squares_d + (difference * difference,)
    return s, d, squares_s, squares_d


@triton.jit
def _peak(image, place, size, rows, like, HALO: tl.constexpr, LEAD: tl.constexpr, PIXELS: tl.constexpr):
    """The largest of all pixels that the program reads; NaN is passed over."""
    x, y, x_h, x_w, y_h, y_w = image
    top, left, within, active, _ = place
    row = top - LEAD
    column = left + within - LEAD
    x += row.to(tl.int64) * x_h + column.to(tl.int64) * x_w
    y += row.to(tl.int64) * y_h + column.to(tl.int64) * y_w
    peak = like
    for i in range(rows + HALO + LEAD):
        here = active & (row + i >= 0) & (row + i < size[0]) & (column >= 0)
        for k in tl.static_range(2 * PIXELS):
            there = here & (column + k % PIXELS < size[1] - HALO)
            pixel_x = tl.load(x + (k % PIXELS + k // PIXELS * HALO) * x_w, mask=there, other=0)
            pixel_y = tl.load(y + (k % PIXELS + k // PIXELS * HALO) * y_w, mask=there, other=0)
            peak = tl.maximum(peak, tl.maximum(tl.abs(pixel_x.to(like.dtype)), tl.abs(pixel_y.to(like.dtype))))
        x += x_h
        y += y_h
    return tl.max(peak, 0)


@triton.jit
def _moments_row(read, moments, TAPS: tl.constexpr, STEPS: tl.constexpr, PIXELS: tl.constexpr):
    """A row of the image into the moments: what is pending, the row of moments that is complete, the largest square."""
    pending, complete = (), ()
    largest = tl.zeros_like(read[0][0])
    for p in tl.static_range(PIXELS):
        begun, finished = (), ()
        for m in tl.static_range(4):
            mean = _along(read[m], p, TAPS)
            if m >= 2:
                largest = tl.maximum(largest, mean, propagate_nan=tl.PropagateNan.ALL)
            mean, rows = _down(moments[p][m], mean, STEPS)
            finished = finished + (mean,)
            begun = begun + (rows,)
        complete = complete + (finished,)
        pending = pending + (begun,)
    return pending, complete, largest


@triton.jit
def _map_row(
    complete, derivatives, valid, shifts, limits, flags, TAPS: tl.constexpr, MAPS: tl.constexpr, PIXELS: tl.constexpr
):
    """A row of the map: its values, the derivatives that are pending, and those that are filtered down to the end."""
    values, pending, finished = (), (), ()
    for p in tl.static_range(PIXELS):
        value, to_s, to_d, to_squares_s, to_squares_d = _similarity(complete[p], shifts, limits, flags[0], flags[1])
        values = values + (value,)
        begun, rows = (), ()
        if MAPS:
            maps = (to_squares_s, to_squares_d, to_s + to_d, to_s - to_d)
            for m in tl.static_range(MAPS):
                row, rest = _back_down(derivatives[p][m], tl.where(valid[p], maps[m], 0.0), TAPS)
                rows = rows + (row,)
                begun = begun + (rest,)
        finished = finished + (rows,)
        pending = pending + (begun,)
    return values, pending, finished


@triton.jit
def _gradient_row(
    finished, mine, x, y, x_w, y_w, to_x, to_y, owned, there, scale, shifts, TAPS: tl.constexpr, MAPS: tl.constexpr
):
    """A row of the gradients, from the derivatives that have been filtered back down the columns.

    They go through memory to the neighbours of their column: lines of which each program has its own, so small and so
    often written again that they stay in the caches.
    """
    HALO: tl.constexpr = len(TAPS) - 1
    PIXELS: tl.constexpr = len(owned)
    SIZE: tl.constexpr = owned[0].shape[0]
    for p in tl.static_range(PIXELS):
        for m in tl.static_range(MAPS):
            tl.store(mine + (m * PIXELS + p) * SIZE, finished[p][m])
    tl.debug_barrier()
    lines = ()
    for m in tl.static_range(MAPS):
        line = ()
        for k in tl.static_range(HALO + PIXELS):
            column = mine + (m * PIXELS + (k - HALO) % PIXELS) * SIZE + (k - HALO) // PIXELS
            line = line + (tl.load(column, mask=owned[0], other=0),)
        lines = lines + (line,)
    for p in tl.static_range(PIXELS):
        mask = owned[p] & there
        pixel_x = tl.fma(tl.load(x + p * x_w, mask=mask, other=0).to(scale.dtype), scale, -shifts[0])
        pixel_y = tl.fma(tl.load(y + p * y_w, mask=mask, other=0).to(scale.dtype), scale, -shifts[1])
        through_s = (pixel_x + pixel_y) * _back_along(lines[0], p, TAPS)
        through_d = (pixel_x - pixel_y) * _back_along(lines[1], p, TAPS)
        double = scale + scale
        tl.store(to_x + p, double * (_back_along(lines[2], p, TAPS) + (through_s + through_d)), mask=mask)
        if MAPS == 4:
            tl.store(to_y + p, double * (_back_along(lines[3], p, TAPS) + (through_s - through_d)), mask=mask)


@triton.jit
def _next_scale(image, place, next_x, next_y, origins, i, height, width, dtype: tl.constexpr):
    """Two rows' share of the next scale, less a constant: the mean of 2 × 2 pixels, on an odd side of those there."""
    x, y, x_h, x_w, y_h, y_w = image
    row, column, mask = place
    row = (row + i).to(tl.int64)
    column = column.to(tl.int64)
    mask = mask & (row < height) & (column < width)
    below = tl.where(row + 1 < height, 1, 0)
    aside = tl.where(column + 1 < width, 1, 0)
    at = row // 2 * ((width + 1) // 2) + column // 2
    mean = _mean_of_four(x + row * x_h + column * x_w, below * x_h, aside * x_w, mask, dtype)
    tl.store(next_x + at, mean - origins[0], mask=mask)
    mean = _mean_of_four(y + row * y_h + column * y_w, below * y_h, aside * y_w, mask, dtype)
    tl.store(next_y + at, mean - origins[1], mask=mask)


@triton.jit
def _place(program, lanes, rows, height, width, LEAD: tl.constexpr, PIXELS: tl.constexpr, SIZE: tl.constexpr):
    """Where each thread of a program works: (first row, first column, pixels left of it, whether there is work).

    Groups of 2^lanes threads stand side by side; each group goes down `rows` rows, and for gradients gives its first
    LEAD columns away to its neighbour.
    """
    lane = tl.arange(0, SIZE)
    group = lane >> lanes
    across = (PIXELS << lanes) - LEAD
    chunks = tl.cdiv(width, across)
    item = program * (SIZE >> lanes) + group
    inside = (lane - (group << lanes)) * PIXELS
    return item // chunks * rows, item % chunks * across, inside, item < chunks * tl.cdiv(height, rows), across


@triton.jit
def _stream(
    image, targets, scratch, place, size, rows, constants, scale, flags,
    TAPS: tl.constexpr, STEPS: tl.constexpr, DOWN: tl.constexpr, MAPS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Down the rows once: the sum of each thread's part of the map, what was lost of it, the largest mean of squares.

    Row i of the image completes row i - HALO of the map and, with gradients, as many rows above that of the gradient.
    """
    HALO: tl.constexpr = len(TAPS) - 1
    LEAD: tl.constexpr = HALO if MAPS else 0
    x, y, x_h, x_w, y_h, y_w = image
    top, left, within, active, across = place
    height, width = size
    origins, nears, limits = constants
    gradient_x, gradient_y, next_x, next_y = targets
    column = left + within - LEAD
    row = top - LEAD
    x_row = x + row.to(tl.int64) * x_h + column.to(tl.int64) * x_w
    y_row = y + row.to(tl.int64) * y_h + column.to(tl.int64) * y_w
    to_x = gradient_x + ((row - HALO).to(tl.int64) * width + column)
    to_y = gradient_y + ((row - HALO).to(tl.int64) * width + column)
    inside, owned = (), ()
    for p in tl.static_range(PIXELS):
        inside = inside + (active & (column >= 0) & (column + p < width - HALO),)
        owned = owned + (active & (within + p >= LEAD) & (column + p < width),)
    near = (nears[0] * scale, nears[1] * scale)
    origin_x = origins[0] * scale
    origin_y = origins[1] * scale
    shifts = (origin_x + origin_y, origin_x - origin_y)
    nil = tl.zeros([top.shape[0]], scale.dtype)
    total, lost, worst = nil, nil, nil
    moments = _repeat(_repeat(_repeat(nil, HALO), 4), PIXELS)
    derivatives = _repeat(_repeat(_repeat(nil, HALO), MAPS), PIXELS)
    for i in range(rows + HALO + LEAD):
        read = _read(x_row, y_row, x_w, y_w, (row >= 0) & (row < height), inside, scale, near, HALO, PIXELS)
        row_of_map = row - HALO
        there = (i >= HALO) & (row_of_map >= 0) & (row_of_map < height - HALO)
        counted = (row_of_map >= top) & (row_of_map < top + rows)
        valid = ()
        for p in tl.static_range(PIXELS):
            valid = valid + (there & inside[p],)
        moments, complete, largest = _moments_row(read, moments, TAPS, STEPS, PIXELS)
        worst = tl.maximum(worst, largest, propagate_nan=tl.PropagateNan.ALL)
        values, derivatives, finished = _map_row(
            complete, derivatives, valid, shifts, limits, flags, TAPS, MAPS, PIXELS
        )
        gain = -lost
        for p in tl.static_range(PIXELS):
            gain += tl.where(valid[p] & counted & owned[p], values[p], 0.0)
        new = total + gain  # Kahan's sum
        lost = (new - total) - gain
        total = new
        if MAPS:
            if i >= 2 * HALO:
                mine = scratch + i % 2 * (MAPS * PIXELS * top.shape[0])
                here = (row_of_map < top + rows) & (row_of_map < height)
                _gradient_row(
                    finished, mine, x_row - HALO * x_h, y_row - HALO * y_h, x_w, y_w, to_x, to_y, owned, here, scale,
                    near, TAPS, MAPS,
                )  # fmt: skip
        if DOWN:
            if (i % 2 == 0) & (i < rows):
                mask = active & (2 * within < across * PIXELS)
                coarse = (top, left + 2 * within // PIXELS, mask)
                _next_scale(image, coarse, next_x, next_y, origins, i, height, width, scale.dtype)
        x_row += x_h
        y_row += y_h
        to_x += width
        to_y += width
        row += 1
    return total, lost, worst


@triton.jit(
    do_not_specialize=[
        "x_n", "x_c", "x_h", "y_n", "y_c", "y_h", "channels", "height", "width", "levels", "rows", "lanes", "programs",
        "slots", "pixels", "coarse_pixels", "c1_bits", "c2_bits", "unit_bits", "rectify",
    ],
    do_not_specialize_on_alignment=[
        "x", "y", "next_x", "next_y", "gradient_x", "gradient_y", "origins", "partials", "scratch"
    ],
)  # fmt: skip
def sweep(
    x, y, next_x, next_y, gradient_x, gradient_y, origins, partials, scratch,
    x_n: tl.int64, x_c: tl.int64, x_h: tl.int64, x_w, y_n: tl.int64, y_c: tl.int64, y_h: tl.int64, y_w,
    channels, height, width, levels, rows, lanes: tl.int64, programs, slots,
    pixels: tl.int64, coarse_pixels: tl.int64, c1_bits: tl.int64, c2_bits: tl.int64, unit_bits: tl.int64, rectify,
    TAPS: tl.constexpr, STEPS: tl.constexpr, COARSE: tl.constexpr, DOWN: tl.constexpr, MAPS: tl.constexpr,
    PIXELS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """The sums over some rows and columns of one plane at one scale; the gradient there, and the next scale's pixels.

    `programs` of them share a plane at a scale. With COARSE the images are those that a finer scale wrote.
    """
    dtype: tl.constexpr = origins.dtype.element_ty
    HALO: tl.constexpr = len(TAPS) - 1
    plane = (tl.program_id(0) // programs).to(tl.int64)
    program = tl.program_id(0) % programs
    level = tl.program_id(1) + COARSE
    offset = plane * 0
    finest = height.to(tl.int64) * width
    for _ in range(level):
        offset += height.to(tl.int64) * width
        height = (height + 1) // 2
        width = (width + 1) // 2
    lanes = ((lanes >> (4 * tl.program_id(1))) & 15).to(tl.int32)
    place = _place(program, lanes, rows, height, width, HALO if MAPS else 0, PIXELS, SIZE)
    partial = partials + (plane * levels + level) * slots + program
    if tl.max(place[3].to(tl.int32), 0) == 0:
        tl.store(partial, tl.zeros((), tl.float64))
        return
    unit = _number(unit_bits, dtype)
    if COARSE:
        x += plane * coarse_pixels + offset - finest
        y += plane * coarse_pixels + offset - finest
        x_h = width.to(tl.int64)
        y_h = width.to(tl.int64)
        origin = (tl.load(origins + 2 * plane), tl.load(origins + 2 * plane + 1))
        near = (origin[0] * 0, origin[1] * 0)  # it has been taken from them already
    else:
        x += plane // channels * x_n + plane % channels * x_c
        y += plane // channels * y_n + plane % channels * y_c
        origin = (
            _origin(x, x_h, x_w, height, width, 1 / unit, SIZE),
            _origin(y, y_h, y_w, height, width, 1 / unit, SIZE),
        )
        near = origin
        if program == 0:
            tl.store(origins + 2 * plane, origin[0])
            tl.store(origins + 2 * plane + 1, origin[1])
    image = (x, y, x_h, x_w, y_h, y_w)
    at = plane * pixels + offset
    targets = (gradient_x + at, gradient_y + at, next_x + plane * coarse_pixels, next_y + plane * coarse_pixels)
    number = tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    scratch += number * (2 * MAPS * PIXELS * SIZE) + tl.arange(0, SIZE)
    c1 = _number(c1_bits, dtype) * 2
    c2 = _number(c2_bits, dtype) * 2
    eps: tl.constexpr = 2.0**-48 if dtype == tl.float64 else 2.0**-19  # what rounding leaves of a difference
    zero: tl.constexpr = 2e-200 if dtype == tl.float64 else 2e-20
    rounding1 = tl.where(c1 == 0, tl.full((), eps * eps, dtype), 0.0)
    rounding2 = tl.where(c2 == 0, tl.full((), eps, dtype), 0.0)
    flags = (level == levels - 1, rectify != 0)
    scale = 1 / unit
    total = tl.zeros([SIZE], dtype)
    lost = total
    attempts = 2
    while attempts > 0:
        change = (scale * unit) * (scale * unit)
        limits = (c1 * change, c2 * change, tl.full((), zero, dtype), rounding1, rounding2)
        constants = (origin, near, limits)
        total, lost, worst = _stream(
            image, targets, scratch, place, (height, width), rows, constants, scale, flags, TAPS, STEPS, DOWN, MAPS,
            PIXELS,
        )  # fmt: skip
        attempts -= 1
        if tl.max(tl.where(worst < _SUSPICIOUS, 0, 1), 0) == 0:
            attempts = 0
        if attempts == 1:
            peak = _peak(image, place, (height, width), rows, total * 0, HALO, HALO if MAPS else 0, PIXELS)
            if peak / unit > _EXTREME:
                scale = _TAMED / peak
            else:
                attempts = 0
    tl.store(partial, tl.sum(total.to(tl.float64) - lost.to(tl.float64), 0))


@triton.jit
def _pairs(value, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A quarter of the sums over 2 × 2 elements of a tile."""
    value = tl.reshape(value * 0.25, (ROWS // 2, 2, COLUMNS // 2, 2))
    return tl.sum(tl.sum(value, 3), 1)


@triton.jit(do_not_specialize=["coarse_pixels", "height", "width", "levels", "level", "tiles", "across"])
def halve(
    images, coarse_pixels: tl.int64, height, width, levels, level, tiles, across,
    DEPTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The DEPTH scales after `level`, as far as there are so many, from one tile of it."""
    images += (tl.program_id(0) // tiles).to(tl.int64) * coarse_pixels
    tile = tl.program_id(0) % tiles
    offset = -height.to(tl.int64) * width
    for _ in range(level):
        offset += height.to(tl.int64) * width
        height = (height + 1) // 2
        width = (width + 1) // 2
    row = tile // across * ROWS + tl.arange(0, ROWS)
    column = tile % across * COLUMNS + tl.arange(0, COLUMNS)
    there = (row < height)[:, None] & (column < width)[None, :]
    value = tl.load(images + offset + row.to(tl.int64)[:, None] * width + column[None, :], mask=there, other=0)
    for depth in tl.static_range(DEPTH):
        value = _pairs(value, ROWS >> depth, COLUMNS >> depth)
        row = tile // across * (ROWS >> (depth + 1)) + tl.arange(0, ROWS >> (depth + 1))
        column = tile % across * (COLUMNS >> (depth + 1)) + tl.arange(0, COLUMNS >> (depth + 1))
        # On an odd side the last mean is over the pixels that there are.
        value *= tl.where(2 * row + 1 < height, 1.0, 2.0)[:, None] * tl.where(2 * column + 1 < width, 1.0, 2.0)[None, :]
        offset += height.to(tl.int64) * width
        height = (height + 1) // 2
        width = (width + 1) // 2
        there = (row < height)[:, None] & (column < width)[None, :]
        value = tl.where(there, value, 0.0).to(images.dtype.element_ty)
        wanted = row < tl.where(level + depth + 1 < levels, height, 0)
        at = images + offset + row.to(tl.int64)[:, None] * width + column[None, :]
        tl.store(at, value, mask=there & wanted[:, None])


@triton.jit(do_not_specialize=["slots", "height", "width", "levels", "halo", "first", "rest"])
def mean(partials, means, slots, height, width, levels, halo, first, rest, SIZE: tl.constexpr):
    """The mean of one plane at one scale from its programs' sums, which are added up in one order."""
    level = tl.program_id(1)
    at = tl.program_id(0).to(tl.int64) * levels + level
    for _ in range(level):
        height = (height + 1) // 2
        width = (width + 1) // 2
    count = tl.where(level == 0, first, rest)
    lane = tl.arange(0, SIZE)
    total = tl.zeros([SIZE], tl.float64)
    for i in range(0, count, SIZE):
        total += tl.load(partials + at * slots + i + lane, mask=i + lane < count, other=0)
    tl.store(means + at, tl.sum(total, 0) / ((height - halo).to(tl.float64) * (width - halo)))


@triton.jit(do_not_specialize=["height", "width", "pixels", "halo", "across", "tiles", "step_n", "step_c", "channels"])
def spread(
    upstream, kept, out, step_n: tl.int64, step_c: tl.int64, step_level, channels, pixels: tl.int64, height, width,
    halo, tiles, across, LEVELS: tl.constexpr, LIMIT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One tile of the gradient of an image, from those of all scales: weighed and added, from coarse to fine."""
    dtype: tl.constexpr = kept.dtype.element_ty
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    upstream += plane // channels * step_n + plane % channels * step_c
    kept += plane * pixels
    row = (tile // across * ROWS + tl.arange(0, ROWS))[:, None]
    column = (tile % across * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    there = (row < height) & (column < width)
    sizes = ((height, width, plane * 0),)
    for level in tl.static_range(LEVELS - 1):
        h, w, offset = sizes[level]
        sizes = sizes + (((h + 1) // 2, (w + 1) // 2, offset + h.to(tl.int64) * w),)
    total = tl.zeros([ROWS, COLUMNS], dtype)
    for k in tl.static_range(LEVELS):
        h, w, offset = sizes[LEVELS - 1 - k]
        count = (h - halo).to(tl.float64) * (w - halo)
        share = (tl.load(upstream + (LEVELS - 1 - k) * step_level) / count).to(dtype)
        i = row >> (LEVELS - 1 - k)
        j = column >> (LEVELS - 1 - k)
        value = tl.load(kept + offset + i.to(tl.int64) * w + j, mask=there, other=0)
        # The last pixel of an odd side is alone in its mean.
        of_rows = tl.where((i == h - 1) & (h % 2 == 1), 1.0, 0.5)
        of_columns = tl.where((j == w - 1) & (w % 2 == 1), 1.0, 0.5)
        total = (total * (of_rows * of_columns).to(dtype)) + share * value
    total = tl.where(total > LIMIT, LIMIT, total)
    total = tl.where(total < -LIMIT, -LIMIT, total)
    at = plane * height * width + row.to(tl.int64) * width + column
    tl.store(out + at, total.to(out.dtype.element_ty), mask=there)
