"""One fused pass on a GPU, in Triton: the terms of every scale, and their gradients where asked.

Triton cannot shift a row inside a program. So what a thread's neighbours need of it, it tells them: it stores it in a
line of memory that is the program's own, so small and so often written again that it stays in the caches, and reads
theirs behind a barrier, four numbers at once.

A program goes down `rows` rows of a strip, two columns a thread (one in float64 and for large windows). Of each row it
tells s = x + y and d = x - y; filters along the row what it is told, s and s², d and d²; and down the columns, where 10
sums for each of the four moments are pending in registers. The window that is complete gives the map and its
derivatives, which are filtered back down, with 10 sums for each of three pending, told, and filtered back along one row
later, so that both lines need but one barrier a row. The next row's pixels are under way meanwhile. Of a large image
the same pass writes the next scale's pixels; the scales after it come from halve(), and all coarse scales are one
launch. Of a small image, whose launches and rows below each other take longer than its arithmetic, all coarse scales
come from halve(), and all scales are one launch. pool() makes the value of the terms. So a call with its gradient is
five launches for a small image, and six for a large one. Sums are Kahan's in a thread and float64 between them, in an
order that is always the same: no atomics, no matrix units, no TF32.

s² and d² hold what x² + y² and xy do, at fewer operations, and equal images give exactly 1 by themselves: what a window
lacks of 1 is twice its variance of d over its denominator, and it is this that is summed. Not so at the last scale, for
luminance may be next to nothing, as of black and white, and the product of the scales tells that to seven digits. Taps
are divided by the outermost one, which saves an operation on each sum; constants that meet these sums are scaled alike.

Moments are about two constants of a thread, its bases, since E[s²] - E[s]² loses to rounding some 1e-7 of the squared
distance between base and mean. Every fourth row the bases become the means, along the thread's window, of s and of d in
half a window's rows, and what is pending is brought to them: not where a few bright pixels make that mean, and not
beyond what images within their range need.

Floors, for the window of 11, float32 and one gradient, a pixel and scale. Bytes: 8 read and 4 written, and 8 for the
backward pass, at 20 bytes 4.2 ps of 4.8 TB/s. Instructions of a thread, as Triton 3.7 compiles the loop over the rows
for sm_90: 293, of which 227 are arithmetic, and some 40 more at the last scale; 293 are 8.7 ps at 33.5 thousand billion
a second. Programs also go over rows and columns of their neighbours: a sixth more at 1080 × 1920. By these figures,
none of them measured on a GPU, instructions bind it.

Ways that were compiled for sm_90 and compared, by instructions of that loop a pixel at the first scale. Each line adds
something to that before it, but for those in brackets. By Triton 3.9, with what the last scale alone does:
    481  neighbours read from the images, derivatives told one by one
    378  s and d told, and derivatives, four numbers at once; the next row's pixels loaded ahead
    325  two rows a turn, lest what is pending change registers
    311  moments about a pixel in the middle, not about each window's own
   (310  s and d kept until the gradient needs them: three times the memory)
   (420  one column a thread)
    317  the lines of s and d written over every other row, the pixels of the gradient read again, narrow addresses
By Triton 3.7, without it, as tests/ahead_of_time.py counts (benchmarks/results/ahead-of-time.txt):
    292  the same
    264  bases that follow the rows, the outermost taps 1, what is lacking of 1 instead of the map, no division
    293  bases that follow twice as often, derivatives about pivots in float32: graphics, 3 to 10 times as exact
   (242  the same about one constant of the plane, which rounds too much where areas are flat)
   (287  no map where no window is complete yet: registers are copied about)
In float32 the loop spills nothing for one gradient up to a window of 11, and 5 loads and stores a pixel for two, at
coarse scales; in float64 2 (8 on sm_80), with a window of 31 some 45. Banded matrices by tl.dot at IEEE precision spend
32 multiply-adds on an output of 16 columns where 11 would do; tl.gather has two barriers for each column that it moves.
"""

# ruff: noqa: RUF005, SIM102 - Triton's language unpacks no tuples inside others, and has no `and` for tensors.

import triton
import triton.language as tl

from ... import window

_EXTREME: tl.constexpr = tl.constexpr(2.0**40)  # pixels beyond this many units are scaled down to
_TAMED: tl.constexpr = tl.constexpr(2.0**20)  # this many, lest their squares overflow
_SUSPICIOUS: tl.constexpr = tl.constexpr(2.0**30)  # a sum or difference beyond this may come of such pixels
_LARGEST: tl.constexpr = tl.constexpr(2.0**100)  # C1 or C2, in units²: beyond all squares, and can be multiplied
_FARTHEST: tl.constexpr = tl.constexpr(window.FARTHEST)
_NEXT_TO_NOTHING: tl.constexpr = tl.constexpr(2.0**60)  # as window.gradient_scale()
# In units of rounding of what a product is made of: one nearer to zero has no sign that is known, see _similarity().
_SIGN_ERROR: tl.constexpr = tl.constexpr(16.0)


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
def _times(value, weight: tl.constexpr):
    return value if weight == 1 else value * tl.full((), weight, value.dtype)


@triton.jit
def _along(row, first: tl.constexpr, TAPS: tl.constexpr):
    """The weighed sum of row[first], row[first + 1], …, from the outermost to the middle one, which rounds least."""
    LAST: tl.constexpr = len(TAPS) - 1
    value = _times(row[first] + row[first + LAST], TAPS[0])
    for k in tl.static_range(1, LAST // 2):
        weight = tl.full((), TAPS[k], value.dtype)
        value = tl.fma(row[first + LAST - k], weight, tl.fma(row[first + k], weight, value))
    value = tl.fma(row[first + LAST // 2], tl.full((), TAPS[LAST // 2], value.dtype), value)
    return value


@triton.jit
def _down(pending, row, TAPS: tl.constexpr):
    """A row more for the weighed sums down the columns: the sum that it completes, and what is pending after it.

    Pending are the sums that have begun, the oldest first.
    """
    LAST: tl.constexpr = len(TAPS) - 1
    complete = pending[0] + row if TAPS[0] == 1 else tl.fma(row, tl.full((), TAPS[0], row.dtype), pending[0])
    begun = ()
    for k in tl.static_range(1, LAST):
        begun = begun + (tl.fma(row, tl.full((), TAPS[k], row.dtype), pending[k]),)
    begun = begun + (_times(row, TAPS[0]),)
    return complete, begun


@triton.jit
def _positive(value):
    """max(value, 0), and NaN for NaN."""
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _similarity(
    moments, bases, valid, shifts, limits, luminance, TOTAL: tl.constexpr, RECTIFY: tl.constexpr, EXACT: tl.constexpr
):  # fmt: skip
    """Half of what cs lacks of 1 at one position, or half of -l cs, and its derivatives.

    Half of those to E[s²] and to E[d²] are told, and a quarter of those to the means of x and of y. RECTIFY: negative
    covariances count as zero. EXACT: whether C1 and C2 are zero, and a denominator may be. The moments are about the
    bases, and TOTAL times too large; the derivatives are so many times too small.

    s = x + y and d = x - y: then 2 (σx² + σy²) = σs² + σd² and 4 σxy = σs² - σd². So 1 - cs is 2 σd² by the
    denominator: nothing at all where images are equal.

    Where the exact covariance is zero, rounding gives ours a sign; and likewise μx μy. A product counts as negative for
    the gradient only beyond what rounding can do to it: some eps of the second moments about the bases, before and
    after the last change of bases, and of the deviation by the distance from the plane's constant, to which s and d
    are rounded.
    """
    sum_s, squares_s, sum_d, squares_d = moments
    c1, c2, zero, zero_of_squares, rounding1, rounding2 = limits
    mean_s = sum_s * tl.full((), 1 / TOTAL, sum_s.dtype)
    mean_d = sum_d * tl.full((), 1 / TOTAL, sum_d.dtype)
    variance_s = _positive(tl.fma(-mean_s, sum_s, squares_s))
    variance_d = _positive(tl.fma(-mean_d, sum_d, squares_d))
    mean_s += bases[0]
    from_pivot = mean_d + (bases[1] - bases[2])
    mean_d += bases[1]
    UNSIGNED: tl.constexpr = _SIGN_ERROR * (2.0**-53 if sum_s.dtype == tl.float64 else 2.0**-24)
    far = tl.abs(mean_s) + tl.abs(mean_d)
    both = variance_s + variance_d
    denominator = both + c2
    flat = denominator <= zero_of_squares + rounding2 * (squares_s + squares_d)
    if EXACT[1]:
        denominator = tl.where(flat, 1.0, denominator)
    inverse = tl.where(valid & (flat == 0) if EXACT[1] else valid, _inverse(denominator), 0.0)
    if RECTIFY:
        covariance4 = variance_s - variance_d
        lacking = tl.where(covariance4 < 0, 0.5 * both, variance_d) * inverse
        squares = squares_s + squares_d
        unsigned = UNSIGNED * (
            squares + tl.sqrt(squares * TOTAL) * far + tl.maximum(bases[3], tl.maximum(bases[4], bases[5]))
        )
        cut = tl.where(covariance4 < -unsigned, 0.5 * inverse, 0.0)
        to_squares_s = lacking * inverse
        to_squares_d = to_squares_s - (inverse - cut)
        to_squares_s -= cut
    else:
        lacking = variance_d * inverse
        to_squares_s = lacking * inverse
        to_squares_d = to_squares_s - inverse
    through_d = from_pivot * to_squares_d
    to_x = tl.fma(-mean_s, to_squares_s, -through_d)
    to_y = tl.fma(-mean_s, to_squares_s, through_d)
    if luminance:
        light_s = mean_s + shifts[0]
        light_d = mean_d + shifts[1]
        of_s = light_s * light_s
        of_d = light_d * light_d
        energy = of_s + of_d + c1
        black = energy <= zero + rounding1 * (shifts[0] * shifts[0] + shifts[1] * shifts[1])
        if EXACT[0]:
            energy = tl.where(black, 1.0, energy)
        inverse = _inverse(energy)
        dim = of_d * inverse  # half of what l lacks of 1
        light = of_s - of_d  # 4 μx μy
        cut = tl.zeros_like(dim)
        if RECTIFY:
            dim = tl.where(light < 0, 0.5 * (of_s + of_d) * inverse, dim)
            unsigned = UNSIGNED * (tl.abs(light_s) + tl.abs(light_d)) * (far + tl.abs(shifts[0]) + tl.abs(shifts[1]))
            cut = tl.where(light < -unsigned, 0.5, cut)
            light = _positive(light)
        counts = valid & (black == 0) if EXACT[0] else valid
        factor = tl.where(counts, tl.fma(lacking, -2.0, 1.0) * inverse, 0.0) * tl.full((), 1 / TOTAL, inverse.dtype)
        # Of the two ways to l, and to its derivatives, each rounds little where the other rounds much.
        alike = dim < 0.25
        ratio = tl.where(alike, tl.fma(dim, -2.0, 1.0), (light + c1) * inverse)
        ratio = tl.where(counts, ratio, 0.0)
        light_x = 0.5 * (light_s + light_d)
        light_y = 0.5 * (light_s - light_d)
        to_light_s = light_s * (dim - cut)
        to_light_d = light_d * (dim - (1 - cut))
        kept = 1 - 2 * cut
        to_light_x = tl.where(alike, to_light_s + to_light_d, tl.fma(-ratio, light_x, kept * light_y))
        to_light_y = tl.where(alike, to_light_s - to_light_d, tl.fma(-ratio, light_y, kept * light_x))
        to_squares_s *= ratio
        to_squares_d *= ratio
        to_x = tl.fma(to_x, ratio, factor * to_light_x)
        to_y = tl.fma(to_y, ratio, factor * to_light_y)
        lacking = (lacking - 0.5) * ratio
        if EXACT[0]:
            lacking = tl.where(valid & black, -0.5, lacking)
    return lacking, to_squares_s, to_squares_d, to_x, to_y


@triton.jit
def _inverse(value):
    """1 / value, for which float32 has a quicker way than to divide."""
    if value.dtype == tl.float64:
        inverse = 1 / value
    else:
        root = tl.rsqrt(value)
        near = root * root
        inverse = tl.fma(near, tl.fma(-value, near, 1.0), near)
    return inverse


@triton.jit
def _origin(image, step_h, step_w, height, width, inverse_unit, SIZE: tl.constexpr):
    """A constant near the mean of a plane, from SIZE of its pixels, in the image's units.

    A multiple of 1/128 of the unit leaves the pixels of 8-bit images as exact as they came.
    """
    lane = tl.arange(0, SIZE)
    i = (2 * (lane // 16) + 1).to(tl.int64) * height // (SIZE // 8)
    j = (2 * (lane % 16) + 1).to(tl.int64) * width // 32
    sample = tl.load(image + i * step_h + j * step_w).to(inverse_unit.dtype)
    # Where any are within the images' range, of those: a few values of no meaning would take the precision of all.
    share = sample * (inverse_unit / SIZE)
    near = tl.abs(sample * inverse_unit) <= _FARTHEST
    count = tl.sum(tl.where(near, tl.full((), 1, share.dtype), 0.0), 0)
    mean = tl.sum(tl.where(near, share, 0.0), 0) * (SIZE / tl.maximum(count, 1.0))
    mean = tl.where(count == 0, tl.sum(share, 0), mean)
    mean = tl.floor(mean * 128 + 0.5) / 128
    return tl.where(tl.abs(mean) < _EXTREME, mean, 0.0) / inverse_unit


@triton.jit
def _tell(line, fields):
    """Each thread's values of all fields to where others can read them: two fields of two pixels in one store."""
    PIXELS: tl.constexpr = len(fields[0])
    SIZE: tl.constexpr = fields[0][0].shape[0]
    for f in tl.static_range(0, len(fields), PIXELS):
        if PIXELS == 2 and f + 1 < len(fields):
            _store(line + f * (SIZE * PIXELS), fields[f] + fields[f + 1])
        else:
            _store(line + f * (SIZE * PIXELS), fields[f])


@triton.jit
def _store(line, values):
    COUNT: tl.constexpr = len(values)
    SIZE: tl.constexpr = values[0].shape[0]
    lane = tl.arange(0, SIZE)
    if COUNT == 1:
        tl.store(line + lane, values[0])
    else:
        together = tl.join(values[0], values[1])
        if COUNT == 4:
            together = tl.reshape(tl.join(together, tl.join(values[2], values[3])), (SIZE, 4))
        tl.store(line + (COUNT * lane[:, None] + tl.arange(0, COUNT)[None, :]), together)


@triton.jit
def _told(line, f: tl.constexpr, threads: tl.constexpr, FIELDS: tl.constexpr, PIXELS: tl.constexpr,
          SIZE: tl.constexpr):  # fmt: skip
    """What the thread so many to the right has told of field f and, where they came together, the one after it."""
    COUNT: tl.constexpr = 4 if PIXELS == 2 and f + 1 < FIELDS else PIXELS
    lane = tl.arange(0, SIZE)
    start = line + (f * (SIZE * PIXELS) + threads * COUNT)
    if COUNT == 1:
        values = (tl.load(start + lane),)
    else:
        together = tl.load(start + (COUNT * lane[:, None] + tl.arange(0, COUNT)[None, :]))
        if COUNT == 2:
            values = tl.split(together)
        else:
            first, second = tl.split(tl.reshape(together, (SIZE, 2, 2)))
            values = tl.split(first) + tl.split(second)
    return values


@triton.jit
def _heard(line, first: tl.constexpr, FIELDS: tl.constexpr, HALO: tl.constexpr, PIXELS: tl.constexpr,
           SIZE: tl.constexpr):  # fmt: skip
    """All fields of HALO + PIXELS columns, of which the first is so many threads to the right.

    What is beside the program's own threads is whatever lies there, and for columns that are not the program's.
    """
    fields = ()
    for f in tl.static_range(0, FIELDS, PIXELS):
        row, next_row = (), ()
        for k in tl.static_range(HALO // PIXELS + 1):
            values = _told(line, f, first + k, FIELDS, PIXELS, SIZE)
            row = row + values[:PIXELS]
            next_row = next_row + values[PIXELS:]
        fields = fields + (row,)
        if len(next_row) > 0:
            fields = fields + (next_row,)
    return fields


@triton.jit
def _between(index, end):
    """0 <= index < end, in one comparison."""
    return index.to(tl.uint32, bitcast=True) < end.to(tl.uint32, bitcast=True)


@triton.jit
def _pixels(x, y, x_w, y_w, row, height, inside, PIXELS: tl.constexpr):
    """Each thread's pixels of a row of both images as they are, zero outside; and those of the column on its right."""
    there = _between(row, height)
    of_x, of_y = (), ()
    for p in tl.static_range(PIXELS):
        of_x = of_x + (tl.load(x + p * x_w, mask=there & inside[p], other=0),)
        of_y = of_y + (tl.load(y + p * y_w, mask=there & inside[p], other=0),)
    return of_x, of_y


@triton.jit
def _sum_and_difference(pixel_x, pixel_y, scale, near):
    pixel_x = tl.fma(pixel_x.to(scale.dtype), scale, -near[0])
    pixel_y = tl.fma(pixel_y.to(scale.dtype), scale, -near[1])
    return pixel_x + pixel_y, pixel_x - pixel_y


@triton.jit
def _peak(image, place, size, rows, like, HALO: tl.constexpr, LEAD: tl.constexpr, PIXELS: tl.constexpr):
    """The largest of all pixels that the program reads; NaN is passed over."""
    x, y, x_h, x_w, y_h, y_w = image
    _, top, left, within, active, _ = place
    row = top - LEAD
    column = left + within - LEAD
    x += row.to(tl.int64) * x_h + column.to(tl.int64) * x_w
    y += row.to(tl.int64) * y_h + column.to(tl.int64) * y_w
    peak = like
    for i in range(rows + HALO + LEAD):
        here = active & (row + i >= 0) & (row + i < size[0]) & (column >= 0)
        for p in tl.static_range(PIXELS):
            there = here & (column + p < size[1])
            pixel_x = tl.load(x + p * x_w, mask=there, other=0)
            pixel_y = tl.load(y + p * y_w, mask=there, other=0)
            peak = tl.maximum(peak, tl.maximum(tl.abs(pixel_x.to(like.dtype)), tl.abs(pixel_y.to(like.dtype))))
        x += x_h
        y += y_h
    return tl.max(peak, 0)


@triton.jit
def _moments_row(fields, bases, moments, TAPS: tl.constexpr, PIXELS: tl.constexpr):
    """A row of s and d into the moments: those that are pending, and the row of moments that is complete."""
    pending, complete = _repeat((), PIXELS), _repeat((), PIXELS)
    for f in tl.static_range(2):
        off, squares = (), ()
        for k in tl.static_range(len(fields[f])):
            off = off + (fields[f][k] - bases[f],)
            squares = squares + (off[k] * off[k],)
        for power in tl.static_range(2):
            begun, finished = (), ()
            for p in tl.static_range(PIXELS):
                row = _along(squares if power else off, p, TAPS)
                moment, rest = _down(moments[p][2 * f + power], row, TAPS)
                begun = begun + (pending[p] + (rest,),)
                finished = finished + (complete[p] + (moment,),)
            pending, complete = begun, finished
    return pending, complete


@triton.jit
def _about_others(
    moments, derivatives, bases, rows_seen, row, height, ALONG: tl.constexpr, PARTS: tl.constexpr, MAPS: tl.constexpr,
    PIXELS: tl.constexpr, RECTIFY: tl.constexpr,
):  # fmt: skip
    """The pending moments about other bases, and these: the means of the latest rows, unless their pixels scatter more.

    What a moment loses by this is what rounding leaves of the squared distance, by the share of the window that is
    pending. Below a horizontal edge, windows that end soon are mostly of the rows above it, and those that have just
    begun of the rows below. The mean of half a window's rows goes over to the rows below when the first have much of
    both and the others are hardly begun. The pivot of the derivatives follows one step later, when the windows above
    the edge have been told.
    """
    COUNT: tl.constexpr = len(PARTS)
    HALF: tl.constexpr = COUNT // 2 - 1  # the pending sum that holds COUNT // 2 + 1 rows
    _, base_d, pivot, change3, change2, change1 = bases
    all_rows = (rows_seen > COUNT // 2) & (row > COUNT // 2)
    # Near the first rows a sum may hold rows outside of the image, or not all that it should; one of two rows does not.
    enough = (row >= 2) & (row <= height)
    share = tl.where(all_rows, tl.full((), 1 / PARTS[HALF], pivot.dtype), 1 / PARTS[COUNT - 2])
    steps, others = (), ()
    for f in tl.static_range(2):
        row_sum = tl.where(all_rows, moments[0][2 * f][HALF], moments[0][2 * f][COUNT - 2])
        row_squares = tl.where(all_rows, moments[0][2 * f + 1][HALF], moments[0][2 * f + 1][COUNT - 2])
        distance = row_sum * share
        follows = enough & (row_squares < 3 * row_sum * distance)
        other = tl.where(follows, _bounded(bases[f] + distance), bases[f])
        steps = steps + (other - bases[f],)
        others = others + (other,)
    changed = ()
    for p in tl.static_range(PIXELS):
        pending = ()
        for f in tl.static_range(2):
            sums, squares = (), ()
            for k in tl.static_range(len(PARTS)):
                part = tl.full((), PARTS[k], steps[f].dtype)
                total = tl.fma(-steps[f], part, moments[p][2 * f][k])
                both = moments[p][2 * f][k] + total
                squares = squares + (tl.fma(-steps[f], both, moments[p][2 * f + 1][k]),)
                sums = sums + (total,)
            pending = pending + (sums, squares)
        changed = changed + (pending,)
    turned = _repeat((), PIXELS)
    if MAPS and pivot.dtype == tl.float32:
        rise = base_d - pivot
        turned = ()
        for p in tl.static_range(PIXELS):
            fields = (derivatives[p][0], derivatives[p][1])
            for m in tl.static_range(2, MAPS):
                field = ()
                for k in tl.static_range(COUNT):
                    field = field + (tl.fma(rise if m == 2 else -rise, derivatives[p][1][k], derivatives[p][m][k]),)
                fields = fields + (field,)
            turned = turned + (fields,)
        pivot = base_d
    else:
        turned = derivatives
    if RECTIFY:  # what rounding has left in moments is in them for as many rows as a window has
        change3, change2 = change2, change1
        change1 = (steps[0] * steps[0] + steps[1] * steps[1]) * (ALONG * ALONG)
    return changed, turned, (others[0], others[1], pivot, change3, change2, change1)


@triton.jit
def _bounded(base):
    """As far as images within their range need it, lest what is beyond takes their precision; a number for NaN."""
    return tl.minimum(tl.maximum(base, -_FARTHEST), _FARTHEST)


@triton.jit
def _bases(image, row, column, size, scale, near, HALO: tl.constexpr):
    """A constant for each of s and d, from four pixels of a thread's first window."""
    x, y, x_h, x_w, y_h, y_w = image
    height, width = size
    j = tl.minimum(tl.maximum(column + HALO // 2, 0), width - 1).to(tl.int64)
    s, d = scale * 0, scale * 0
    for k in tl.static_range(4):
        i = tl.minimum(tl.maximum(row + HALO * k // 3, 0), height - 1).to(tl.int64)
        here = _sum_and_difference(tl.load(x + i * x_h + j * x_w), tl.load(y + i * y_h + j * y_w), scale, near)
        s += here[0] * 0.25
        d += here[1] * 0.25
    nothing = tl.zeros_like(d)
    return _bounded(s), _bounded(d), _bounded(d) if scale.dtype == tl.float32 else nothing, nothing, nothing, nothing


@triton.jit
def _map_row(
    complete, bases, derivatives, valid, shifts, limits, luminance, RECTIFY: tl.constexpr, EXACT: tl.constexpr,
    TAPS: tl.constexpr, ALONG: tl.constexpr, MAPS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """A row of the map: what it lacks, the derivatives that are pending, and those that are filtered to the end."""
    lacking, pending, finished = (), (), _repeat((), MAPS)
    for p in tl.static_range(PIXELS):
        here = _similarity(complete[p], bases, valid[p], shifts, limits, luminance, ALONG * ALONG, RECTIFY, EXACT)
        lacking = lacking + (here[0],)
        begun, rows = (), ()
        for m in tl.static_range(MAPS):
            row, rest = _down(derivatives[p][m], here[1 + m], TAPS)
            rows = rows + (finished[m] + (row,),)
            begun = begun + (rest,)
        finished = rows
        pending = pending + (begun,)
    return lacking, pending, finished


@triton.jit
def _gradient_row(
    derivatives, image, to_x, to_y, owned, there, scale, four, near, TAPS: tl.constexpr, MAPS: tl.constexpr,
    SIZE: tl.constexpr,
):  # fmt: skip
    """A row of the gradients, from its pixels and the derivatives that have been filtered back down the columns.

    Where a window is flat a large derivative meets a pixel less the mean, which is nothing. So that neither is rounded
    to the distance from the plane's constant, in float32 each thread's derivatives are about its own pivot for d, near
    the means there. That of s needs none: its derivative is small where windows are flat.
    """
    HALO: tl.constexpr = len(TAPS) - 1
    PIXELS: tl.constexpr = len(owned)
    PIVOTS: tl.constexpr = scale.dtype == tl.float32
    lines = _heard(derivatives, -HALO // PIXELS, MAPS + PIVOTS, HALO, PIXELS, SIZE)
    x, y, x_w, y_w = image
    for p in tl.static_range(PIXELS):
        mask = owned[p] & there
        pixel_x = tl.load(x + p * x_w, mask=mask, other=0)
        pixel_y = tl.load(y + p * y_w, mask=mask, other=0)
        s, d = _sum_and_difference(pixel_x, pixel_y, scale, near)
        through_s = s * _along(lines[0], p, TAPS)
        if PIVOTS:
            of_x, of_y = (), ()
            for k in tl.static_range(p, p + HALO + 1):
                rise = d - lines[MAPS][k // PIXELS * PIXELS]
                of_x = of_x + (tl.fma(rise, lines[1][k], lines[2][k]),)
                if MAPS == 4:
                    of_y = of_y + (tl.fma(-rise, lines[1][k], lines[3][k]),)
            gradient_x = through_s + _along(of_x, 0, TAPS)
            if MAPS == 4:
                gradient_y = through_s + _along(of_y, 0, TAPS)
        else:
            through_d = _along(lines[1], p, TAPS)
            gradient_x = through_s + tl.fma(d, through_d, _along(lines[2], p, TAPS))
            if MAPS == 4:
                gradient_y = through_s + tl.fma(-d, through_d, _along(lines[3], p, TAPS))
        tl.store(to_x + p, four * gradient_x, mask=mask)
        if MAPS == 4:
            tl.store(to_y + p, four * gradient_y, mask=mask)


@triton.jit
def _programs(height, width, rows, lanes, LOST: tl.constexpr, PIXELS: tl.constexpr, SIZE: tl.constexpr):
    """How many programs a plane of this size takes."""
    items = tl.cdiv(width, (PIXELS << lanes) - LOST) * tl.cdiv(height, rows)
    return tl.cdiv(items, SIZE >> lanes)


@triton.jit
def _place(program, lanes, rows, height, width, LOST: tl.constexpr, PIXELS: tl.constexpr, SIZE: tl.constexpr):
    """Where a program works, and each of its threads.

    That is: its first row, the thread's first row, its group's first column, the pixels left of the thread in it,
    whether there is work, and how many columns a group gives.

    Groups of 2^lanes threads stand side by side; each group goes down `rows` rows. Its last columns have no whole
    window, and for gradients its first have not all windows: so many are lost, and are the neighbours' too.
    """
    lane = tl.arange(0, SIZE)
    group = lane >> lanes
    across = (PIXELS << lanes) - LOST
    chunks = tl.cdiv(width, across)
    item = program * (SIZE >> lanes) + group
    inside = (lane - (group << lanes)) * PIXELS
    first = program * (SIZE >> lanes) // chunks * rows
    there = item < chunks * tl.cdiv(height, rows)
    return first, item // chunks * rows, item % chunks * across, inside, there, across


@triton.jit
def _stream(
    image, targets, lines, place, size, rows, constants, scale, luminance,
    TAPS: tl.constexpr, PARTS: tl.constexpr, ALONG: tl.constexpr, DOWN: tl.constexpr, MAPS: tl.constexpr,
    PIXELS: tl.constexpr, RECTIFY: tl.constexpr, EXACT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Down the rows once: what each thread's part of the map lacks, what was lost of that, the largest of |s| and |d|.

    Row i of the image completes row i - HALO of the map and, with gradients, as many rows above that of the gradient.
    What threads tell each other, s and d and the derivatives of the row before, changes places at each row: one barrier
    is enough, as what is written over was read before the last.
    """
    HALO: tl.constexpr = len(TAPS) - 1
    LEAD: tl.constexpr = HALO if MAPS else 0
    SIZE: tl.constexpr = place[1].shape[0]
    LINE: tl.constexpr = SIZE * PIXELS  # of one field
    READ: tl.constexpr = 2 if DOWN else PIXELS
    BLOCK: tl.constexpr = 2  # pairs of rows that are told about the same bases
    LINES: tl.constexpr = MAPS + (1 if MAPS and scale.dtype == tl.float32 else 0)
    x, y, x_h, x_w, y_h, y_w = image
    first, top, left, within, active, across = place
    height, width = size
    origins, nears, limits, four = constants
    gradient_x, gradient_y, next_x, next_y = targets
    column = left + within - LEAD
    row = top - LEAD
    end = tl.minimum(top + rows, height)
    # Counted from the program's own first row, most addresses are narrow: wide ones take registers that others need.
    OFFSET: tl.constexpr = tl.int64 if WIDE else tl.int32
    x += first.to(tl.int64) * x_h
    y += first.to(tl.int64) * y_h
    gradient_x += first.to(tl.int64) * width
    gradient_y += first.to(tl.int64) * width
    next_x += (first // 2).to(tl.int64) * ((width + 1) // 2)
    next_y += (first // 2).to(tl.int64) * ((width + 1) // 2)
    x_h = x_h.to(OFFSET)
    y_h = y_h.to(OFFSET)
    of_row = (row - first).to(OFFSET)
    x_at = of_row * x_h + column.to(OFFSET) * x_w
    y_at = of_row * y_h + column.to(OFFSET) * y_w
    to = (of_row - HALO - 1) * width + column
    inside, whole, owned = (), (), ()
    for p in tl.static_range(READ):
        inside = inside + (active & (column >= 0) & (column + p < width),)
    for p in tl.static_range(PIXELS):
        whole = whole + (inside[p] & (within + p < across + LEAD) & (column + p < width - HALO),)
        owned = owned + (inside[p] & (within + p < across + LEAD) & (within + p >= LEAD),)
    near = (nears[0] * scale, nears[1] * scale)
    origin_x = origins[0] * scale
    origin_y = origins[1] * scale
    shifts = (origin_x + origin_y, origin_x - origin_y)
    nil = tl.zeros([SIZE], scale.dtype)
    alone = tl.where(column + 1 < width, nil + 0.25, 0.5)
    above_x, above_y = nil, nil
    total, lost, worst = nil, nil, nil
    moments = _repeat(_repeat(_repeat(nil, HALO), 4), PIXELS)
    derivatives = _repeat(_repeat(_repeat(nil, HALO), MAPS), PIXELS)
    derived = lines + 4 * LINE
    below_x = x + x_h
    below_y = y + y_h
    seen_x = x - (HALO + 1) * x_h
    seen_y = y - (HALO + 1) * y_h
    of_x, of_y = _pixels(x + x_at, y + y_at, x_w, y_w, row, height, inside, READ)
    bases = _repeat(nil, 6) if EXACT[1] else _bases(image, row, column, size, scale, near, HALO)
    for pair in range((rows + HALO + LEAD) // 2):
        if 2 * pair == HALO + LEAD:  # the windows before this row are of the programs above
            total, lost = nil, nil
        if not EXACT[1]:  # where rounding is told from contrast by squares about one constant
            # After rows 2, 6, 10, …: edges are often at multiples of 4, and two rows beyond one is the best time.
            if ((first - LEAD) // 2 + pair) % BLOCK != 0:
                moments, derivatives, bases = _about_others(
                    moments, derivatives, bases, 2 * pair, row, height, ALONG, PARTS, MAPS, PIXELS, RECTIFY
                )
        gain = -lost
        for odd in tl.static_range(2):
            # This takes its time, which is that of a row.
            ahead_x, ahead_y = _pixels(below_x + x_at, below_y + y_at, x_w, y_w, row + 1, height, inside, READ)
            s, d = (), ()
            for p in tl.static_range(PIXELS):
                total_of_two, difference = _sum_and_difference(of_x[p], of_y[p], scale, near)
                worst = tl.maximum(worst, tl.abs(total_of_two), propagate_nan=tl.PropagateNan.ALL)
                worst = tl.maximum(worst, tl.abs(difference), propagate_nan=tl.PropagateNan.ALL)
                s = s + (total_of_two,)
                d = d + (difference,)
            if DOWN:
                mean_x = tl.fma(of_x[0].to(scale.dtype), alone, of_x[1].to(scale.dtype) * 0.25)
                mean_y = tl.fma(of_y[0].to(scale.dtype), alone, of_y[1].to(scale.dtype) * 0.25)
                if odd:
                    coarse = owned[0] & (column % 2 == 0) & (row > top) & (row <= end)
                    at = ((row - first) // 2).to(OFFSET) * ((width + 1) // 2) + column // 2
                    last = row == height  # a row that is alone
                    tl.store(next_x + at, above_x + tl.where(last, above_x, mean_x) - origins[0], mask=coarse)
                    tl.store(next_y + at, above_y + tl.where(last, above_y, mean_y) - origins[1], mask=coarse)
                above_x, above_y = mean_x, mean_y
            line = lines + odd * (2 * LINE)
            _tell(line, (s, d))
            tl.debug_barrier()
            if MAPS:
                if 2 * pair + odd > 2 * HALO:
                    before = derived + (1 - odd) * (LINES * LINE)
                    here = row - 1 - HALO < end
                    seen = (seen_x + x_at, seen_y + y_at, x_w, y_w)
                    _gradient_row(
                        before, seen, gradient_x + to, gradient_y + to, owned, here, scale, four, near, TAPS, MAPS, SIZE
                    )  # fmt: skip
            there = _between(row - HALO, height - HALO)  # windows that have not all rows yet are above all that counts
            valid = ()
            for p in tl.static_range(PIXELS):
                valid = valid + (there & whole[p],)
            fields = _heard(line, 0, 2, HALO, PIXELS, SIZE)
            moments, complete = _moments_row(fields, bases, moments, TAPS, PIXELS)
            lacking, derivatives, finished = _map_row(
                complete, bases, derivatives, valid, shifts, limits, luminance, RECTIFY, EXACT, TAPS, ALONG, MAPS,
                PIXELS,
            )  # fmt: skip
            if MAPS:
                if LINES > MAPS:
                    finished = finished + (_repeat(bases[2], PIXELS),)
                _tell(derived + odd * (LINES * LINE), finished)
            for p in tl.static_range(PIXELS):
                gain += lacking[p]
            of_x, of_y = ahead_x, ahead_y
            x_at += x_h
            y_at += y_h
            to += width
            row += 1
        new = total + gain  # Kahan's sum
        lost = (new - total) - gain
        total = new
    if MAPS:
        tl.debug_barrier()
        before = derived + LINES * LINE
        here = row - 1 - HALO < end
        seen = (seen_x + x_at, seen_y + y_at, x_w, y_w)
        _gradient_row(before, seen, gradient_x + to, gradient_y + to, owned, here, scale, four, near, TAPS, MAPS, SIZE)
    # Of a thread's two columns either both are its own or none, as windows have odd sides; what lacks where there is no
    # window is zero.
    return tl.where(owned[0], total, 0.0), tl.where(owned[0], lost, 0.0), worst


@triton.jit(
    do_not_specialize=[
        "x_n", "x_c", "x_h", "y_n", "y_c", "y_h", "planes", "channels", "height", "width", "levels", "rows", "lanes",
        "slots", "pixels", "coarse_pixels", "c1_bits", "c2_bits", "unit_bits",
    ],
    do_not_specialize_on_alignment=[
        "x", "y", "next_x", "next_y", "gradient_x", "gradient_y", "origins", "partials"
    ],
)  # fmt: skip
def sweep(
    x, y, next_x, next_y, gradient_x, gradient_y, origins, partials, scratch,
    x_n: tl.int64, x_c: tl.int64, x_h: tl.int64, x_w, y_n: tl.int64, y_c: tl.int64, y_h: tl.int64, y_w,
    planes, channels, height, width, levels, rows, lanes: tl.int64, slots,
    pixels: tl.int64, coarse_pixels: tl.int64, c1_bits: tl.int64, c2_bits: tl.int64, unit_bits: tl.int64,
    TAPS: tl.constexpr, PARTS: tl.constexpr, ALONG: tl.constexpr, FINEST: tl.constexpr, COARSE: tl.constexpr,
    DOWN: tl.constexpr, MAPS: tl.constexpr, PIXELS: tl.constexpr, RECTIFY: tl.constexpr, EXACT: tl.constexpr,
    WIDE: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """The sums over some rows and columns of one plane at one scale; the gradient there, and the next scale's pixels.

    A launch is for the finest scale, for the COARSE, which are read where they were written, or for both.
    """
    dtype: tl.constexpr = origins.dtype.element_ty
    HALO: tl.constexpr = len(TAPS) - 1
    LOST: tl.constexpr = HALO * 2 if MAPS else HALO
    finest = height.to(tl.int64) * width
    offset = finest * 0
    level = 0
    number = tl.program_id(0)
    power = (lanes & 15).to(tl.int32)
    programs = _programs(height, width, rows, power, LOST, PIXELS, SIZE) if FINEST else 0
    if COARSE:
        while number >= planes * programs:
            number -= planes * programs
            offset += height.to(tl.int64) * width
            height = (height + 1) // 2
            width = (width + 1) // 2
            power = ((lanes >> (4 * level + (4 if FINEST else 0))) & 15).to(tl.int32)
            programs = _programs(height, width, rows, power, LOST, PIXELS, SIZE)
            level += 1
    plane = (number // programs).to(tl.int64)
    program = number % programs
    place = _place(program, power, rows, height, width, LOST, PIXELS, SIZE)
    rows = tl.minimum(rows, (height - place[0] + 1) // 2 * 2)  # as many as there are, a pair at a time
    partial = partials + (plane * levels + level) * slots + program
    unit = _number(unit_bits, dtype)
    if FINEST:
        x += plane // channels * x_n + plane % channels * x_c
        y += plane // channels * y_n + plane % channels * y_c
    if COARSE:
        origin = (tl.load(origins + 2 * plane), tl.load(origins + 2 * plane + 1))
        near = (tl.where(level > 0, 0, origin[0]), tl.where(level > 0, 0, origin[1]))  # what has been taken already
        if level > 0:
            x = next_x + plane * coarse_pixels + offset - finest
            y = next_y + plane * coarse_pixels + offset - finest
            x_h = width.to(tl.int64)
            y_h = width.to(tl.int64)
    else:
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
    LINES: tl.constexpr = 2 + MAPS + (1 if MAPS and dtype == tl.float32 else 0)
    scratch += tl.program_id(0).to(tl.int64) * (2 * LINES * PIXELS * SIZE)
    c1 = _number(c1_bits, dtype) * 2
    c2 = _number(c2_bits, dtype) * 2
    eps: tl.constexpr = 2.0**-48 if dtype == tl.float64 else 2.0**-19  # what rounding leaves of a difference
    zero: tl.constexpr = 2e-200 if dtype == tl.float64 else 2e-20
    rounding1 = tl.where(c1 == 0, tl.full((), eps * eps, dtype), 0.0)
    rounding2 = tl.where(c2 == 0, tl.full((), eps, dtype), 0.0)
    scale = 1 / unit
    total = tl.zeros([SIZE], dtype)
    lost = total
    luminance = False if DOWN else level == levels - 1
    attempts = 2
    while attempts > 0:
        change = (scale * unit) * (scale * unit)
        limits = (c1 * change, c2 * change)
        if not EXACT[0]:  # what scaling leaves of a constant may be zero
            limits = (tl.maximum(limits[0], zero), limits[1])
        if not EXACT[1]:
            limits = (limits[0], tl.maximum(limits[1], zero))
        limits = (tl.minimum(limits[0], _LARGEST), tl.minimum(limits[1], _LARGEST) * (ALONG * ALONG))
        limits = limits + (zero, zero * (ALONG * ALONG), rounding1, rounding2)
        constants = (origin, near, limits, 4 * scale * tl.minimum(unit * _NEXT_TO_NOTHING, 1))
        total, lost, worst = _stream(
            image, targets, scratch, place, (height, width), rows, constants, scale, luminance, TAPS, PARTS,
            ALONG, DOWN, MAPS, PIXELS, RECTIFY, EXACT, WIDE,
        )  # fmt: skip
        attempts -= 1
        if tl.max(tl.where(worst < _SUSPICIOUS, 0, 1), 0) == 0:
            attempts = 0
        if attempts == 1:
            peak = _peak(image, place, (height, width), rows, total * 0, HALO, LOST - HALO, PIXELS)
            if peak / unit > _EXTREME:
                scale = _TAMED / peak
            else:
                attempts = 0
    tl.store(partial, tl.sum(total.to(tl.float64) - lost.to(tl.float64), 0))


@triton.jit
def _part(index, side):
    """Each pixel's part in its mean along a side: a half, but the last of an odd side is alone."""
    return tl.where(index == tl.where(side % 2 == 1, side - 1, -1), 1.0, 0.5)


@triton.jit
def _pairs(value, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A quarter of the sums over 2 × 2 elements of a tile."""
    value = tl.reshape(value * 0.25, (ROWS // 2, 2, COLUMNS // 2, 2))
    return tl.sum(tl.sum(value, 3), 1)


@triton.jit(
    do_not_specialize=[
        "x_n", "x_c", "x_h", "y_n", "y_c", "y_h", "channels", "coarse_pixels", "height", "width", "level", "tiles",
        "across", "unit_bits",
    ],
    do_not_specialize_on_alignment=["x", "y", "coarse", "origins"],
)  # fmt: skip
def halve(
    x, y, coarse, origins,
    x_n: tl.int64, x_c: tl.int64, x_h: tl.int64, y_n: tl.int64, y_c: tl.int64, y_h: tl.int64,
    channels, coarse_pixels: tl.int64, height, width, level, tiles, across, unit_bits: tl.int64,
    FINEST: tl.constexpr, DEPTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Tiles of the DEPTH scales after `level`, the first ROWS × COLUMNS, from twice as many rows and columns of it.

    The images themselves, where it is the FINEST, lose a constant on the way, which is told.
    """
    dtype: tl.constexpr = coarse.dtype.element_ty
    image = tl.program_id(0) // tiles
    tile = tl.program_id(0) % tiles
    target = coarse + image.to(tl.int64) * coarse_pixels
    if FINEST:
        planes = tl.num_programs(0) // tiles // 2
        plane = (image % planes).to(tl.int64)
        source = x + (plane // channels * x_n + plane % channels * x_c)
        step = x_h
        if image >= planes:
            source = y + (plane // channels * y_n + plane % channels * y_c)
            step = y_h
        near = _origin(source, step, 1, height, width, 1 / _number(unit_bits, dtype), SIZE)
        if tile == 0:
            tl.store(origins + 2 * plane + image // planes, near)
    else:
        for k in range(level):
            if k > 0:
                target += height.to(tl.int64) * width
            height = (height + 1) // 2
            width = (width + 1) // 2
        source = target
        step = width.to(tl.int64)
        target += step * height
    top = tile // across * ROWS
    left = tile % across * COLUMNS
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    source += (2 * top).to(tl.int64) * step + 2 * left
    value = tl.zeros([ROWS, COLUMNS], dtype)
    for half in tl.static_range(2):
        here = 2 * (top + row) + half < height
        at = source + ((2 * row + half) * step + 2 * column)
        of_row = tl.load(at, mask=here & (2 * (left + column) < width), other=0) * 0.25
        value += of_row + tl.load(at + 1, mask=here & (2 * (left + column) + 1 < width), other=0) * 0.25
    for depth in tl.static_range(DEPTH):
        if depth > 0:
            value = _pairs(value, ROWS >> (depth - 1), COLUMNS >> (depth - 1))
            top = top // 2
            left = left // 2
            row = tl.arange(0, ROWS >> depth)[:, None]
            column = tl.arange(0, COLUMNS >> depth)[None, :]
        # On an odd side the last mean is over the pixels that there are.
        value *= tl.where(2 * (top + row) + 1 < height, 1.0, 2.0) * tl.where(2 * (left + column) + 1 < width, 1.0, 2.0)
        value = value.to(dtype)
        if depth > 0:
            target += height.to(tl.int64) * width
        height = (height + 1) // 2
        width = (width + 1) // 2
        there = (top + row < height) & (left + column < width)
        if FINEST and depth == 0:
            value = tl.where(there, value - near, 0.0)
        tl.store(target + top.to(tl.int64) * width + left + (row * width + column), value, mask=there)


@triton.jit(do_not_specialize=["slots", "height", "width", "levels", "halo", "rows", "lanes", "coarse_rows"])
def mean(
    partials, means, slots, height, width, levels, halo, rows, lanes: tl.int64, coarse_rows, coarse_lanes: tl.int64,
    LOST: tl.constexpr, PIXELS: tl.constexpr, THREADS: tl.constexpr, COARSE_THREADS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """The mean of one plane at one scale from its programs' sums, which are added up in one order."""
    level = tl.program_id(1)
    at = tl.program_id(0).to(tl.int64) * levels + level
    count = _programs(height, width, rows, lanes.to(tl.int32), LOST, PIXELS, THREADS)
    for k in range(level):
        height = (height + 1) // 2
        width = (width + 1) // 2
        lanes = (coarse_lanes >> (4 * k)) & 15
        count = _programs(height, width, coarse_rows, lanes.to(tl.int32), LOST, PIXELS, COARSE_THREADS)
    lane = tl.arange(0, SIZE)
    total = tl.zeros([SIZE], tl.float64)
    for i in range(0, count, SIZE):
        total += tl.load(partials + at * slots + i + lane, mask=i + lane < count, other=0)
    whole = tl.where(level < levels - 1, 1.0, 0.0)  # of cs is summed what it lacks
    value = whole - 2 * tl.sum(total, 0) / ((height - halo).to(tl.float64) * (width - halo))
    tl.store(means + at, tl.minimum(value, 1.0, propagate_nan=tl.PropagateNan.ALL))


@triton.jit
def _power(base, exponent: tl.constexpr):
    """A base to an exponent, NaN where that is no real number."""
    power = tl.exp(tl.log(tl.abs(base)) * tl.full((), exponent, base.dtype))
    if exponent % 2 == 1:
        power = tl.where(base < 0, -power, power)
    elif exponent % 2 != 0:
        power = tl.where(base < 0, float("nan"), power)
    return power


@triton.jit(do_not_specialize=["planes"])
def pool(
    terms, value, slopes, planes, SHARES: tl.constexpr, TAME: tl.constexpr, HALF: tl.constexpr, PRODUCT: tl.constexpr,
    STEEP: tl.constexpr, SLOPED: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """The value of so many planes, and how it grows with each of their terms: multiscale.pool() and its derivative.

    TAME: a negative term counts as zero. HALF: it is (term + 1) / 2 that counts.
    """
    LEVELS: tl.constexpr = len(SHARES)
    lane = tl.arange(0, SIZE)
    total = tl.zeros([SIZE], tl.float64)
    for first in range(0, planes, SIZE):
        there = first + lane < planes
        at = (tl.program_id(0).to(tl.int64) * planes + first + lane) * LEVELS
        index = total * 0 + (1 if PRODUCT else 0)
        each = ()
        for k in tl.static_range(LEVELS):
            term = tl.load(terms + at + k, mask=there, other=0)
            if HALF:
                term = (term + 1) / 2
            if TAME:
                term = _positive(term)
            each = each + (term,)
            if PRODUCT:
                index *= _power(term, SHARES[k])
            else:
                index += term * tl.full((), SHARES[k], tl.float64)
        # Shares that sum to 1 may sum to a little more once they are rounded.
        total += tl.where(there, tl.minimum(index, 1.0, propagate_nan=tl.PropagateNan.ALL), 0.0)
        if SLOPED:
            for k in tl.static_range(LEVELS):
                slope = tl.full((), SHARES[k], tl.float64) / planes
                if PRODUCT:
                    steep = tl.full((), STEEP, tl.float64)
                    slope = index * (slope / tl.where(tl.abs(each[k]) < steep, steep, each[k]))
                if HALF:
                    slope *= 0.5
                if TAME:
                    slope = tl.where(each[k] <= 0, 0.0, slope)
                tl.store(slopes + at + k, slope, mask=there)
    tl.store(value + tl.program_id(0), (tl.sum(total, 0) / planes).to(value.dtype.element_ty))


@triton.jit
def _share(upstream, slope, weight, height, width, halo, SLOPED: tl.constexpr, dtype: tl.constexpr):
    """What each position of the window has of what comes from above, times a weight."""
    share = tl.load(upstream).to(tl.float64) * weight
    if SLOPED:
        share *= tl.load(slope)
    return share.to(dtype) / ((height - halo).to(dtype) * (width - halo).to(dtype))


@triton.jit
def _within(value, finite, LIMIT: tl.constexpr):
    """Nothing beyond the limit, but NaN, and what came of what is not finite."""
    limit = tl.where(finite, tl.full((), LIMIT, value.dtype), float("inf"))
    value = tl.where(value > limit, limit, value)
    return tl.where(value < -limit, -limit, value)


@triton.jit(
    do_not_specialize=[
        "step_n", "step_c", "step_level", "channels", "pixels", "height", "width", "halo", "tiles", "across",
        "weight_bits",
    ]
)  # fmt: skip
def spread(
    upstream, slopes, kept, out, step_n: tl.int64, step_c: tl.int64, step_level: tl.int64, channels, pixels: tl.int64,
    height, width, halo, tiles, across, weight_bits: tl.int64, SLOPED: tl.constexpr, LEVELS: tl.constexpr,
    LIMITS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One tile of the gradient of an image, from those of all scales: weighed and added, from coarse to fine.

    SLOPED: what comes from above is for the value, which grows with the mean of each scale by its slope. LIMITS: of
    the image's type and of the one that is computed with.

    ROWS and COLUMNS are those of the second scale: what is coarse is added up once for four pixels.
    """
    dtype: tl.constexpr = kept.dtype.element_ty
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    upstream += plane // channels * step_n + plane % channels * step_c
    slopes += plane * LEVELS
    kept += plane * pixels
    out += plane * height * width
    top = tile // across * ROWS
    left = tile % across * COLUMNS
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    there = (2 * (top + row) < height) & (2 * (left + column) < width)
    sizes = ((height, width, plane * 0),)
    for level in tl.static_range(LEVELS - 1):
        h, w, offset = sizes[level]
        sizes = sizes + (((h + 1) // 2, (w + 1) // 2, offset + h.to(tl.int64) * w),)
    total = tl.zeros([ROWS, COLUMNS], dtype)
    weight = _number(weight_bits, tl.float64)
    finite = weight < float("inf")
    for level in tl.static_range(LEVELS - 1, 0, -1):
        h, w, offset = sizes[level]
        i = (top + row) >> (level - 1)
        j = (left + column) >> (level - 1)
        first = kept + offset + (top >> (level - 1)).to(tl.int64) * w
        value = tl.load(first + ((i - (top >> (level - 1))) * w + j), mask=there, other=0)
        share = _share(upstream + level * step_level, slopes + level, weight, h, w, halo, SLOPED, dtype)
        finite = finite & (tl.abs(share) < float("inf"))
        total = _within(total * (_part(i, h) * _part(j, w)).to(dtype) + share * value, finite, LIMITS[1])
    share = _share(upstream, slopes, weight, height, width, halo, SLOPED, dtype)
    finite = finite & (tl.abs(share) < float("inf"))
    begin = (2 * top).to(tl.int64) * width + 2 * left
    for quarter in tl.static_range(4):
        i = 2 * (top + row) + quarter // 2
        j = 2 * (left + column) + quarter % 2
        inside = (i < height) & (j < width)
        at = begin + ((2 * row + quarter // 2) * width + (2 * column + quarter % 2))
        value = share * tl.load(kept + at, mask=inside, other=0)
        if LEVELS > 1:
            value = total * (_part(i, height) * _part(j, width)).to(dtype) + value
        value = _within(value, finite, LIMITS[0])
        tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)
