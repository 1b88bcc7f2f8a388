"""What is done to a block, `ROWS` rows and `ACROSS` columns, while it is in the nearest caches.

A block comes as lines of s = x + y and d = x - y: s² and d² tell what x² + y² and xy do, at fewer operations, and equal
images give exactly 1 by themselves. Filtered down the columns it is kept with rows and columns exchanged, so that the
filter along the rows is the same walk through memory, with a window's worth of it in registers:

    tile      2 × (ROWS + halo) lines of (pad + ACROSS)        s and d; the first `pad` columns are of the block before
    columns   4 × (halo + ACROSS) columns of ROWS              s, d, s² and d², filtered down
    slopes    3 or 4 × (pad + ACROSS) columns of ROWS          derivatives of the map: half those to the means of s² and
                                                               d², then what goes to x, and to y, through s and d
    kept      for each PART of the columns, 3 or 4 × halo lines of the slopes filtered along: the last lines of the
              block above
    scratch   what is on its way

The floor is 88 multiply-adds (or additions of two pixels of one weight) a pixel and scale: four moments, two
directions, eleven taps; the gradient to one image sends three quantities back, 66 more. At 512 × 512 the kernel runs at
three to four fifths of the rate at which the machine multiplies and adds, with the gradient at about half of it; the
rows of benchmarks/results have it as ``floor_fraction``. What is between: moving what is filtered between rows and
columns, the map itself, and loads of what registers do not hold.
"""

from numba.extending import overload

from .simd import inlined, vectorised

ROWS, ACROSS, PART = 16, 64, 16
TOTAL, LARGEST, FLAT, RATIO, MEASURES = range(5)
"""What is known of the rows of a block, ROWS numbers each: the sum of the map, the largest denominator, the sum of
E[s²] + E[d²] over flat windows, the largest ratio of E[s²] + E[d²] to the denominator of cs (only with gradients)."""

BROAD = 16  # how often a weight stands in the table, side by side: no less than a vector holds


def _for_compiled_code_too(function):
    overload(function, jit_options={"forceinline": True})(lambda taps: function)
    return function


@_for_compiled_code_too
def halo(taps):
    """Rows and columns that a window reaches beyond its first."""
    return 2 * (len(taps) - 1)


@_for_compiled_code_too
def pad(taps):
    """By so many columns the gradient lags behind the pixels: the halo, made up to whole cache lines."""
    return PART if len(taps) < 10 else 2 * PART


@_for_compiled_code_too
def line(taps):
    """Pixels of a line of the tile."""
    return pad(taps) + ACROSS


@inlined
def weigh(table, taps):
    """Make the table of weights, from the outermost to the middle one: of the first of two filters, then of the second.

    The first one's middle weight is 1, which saves a multiplication, and what stands in its place is the reciprocal of
    the middle tap. The second makes up for it.
    """
    middle = taps[-1]
    for k in range(len(taps)):
        for i in range(BROAD):
            table[k * BROAD + i] = (taps[k] if k < len(taps) - 1 else 1) / middle
            table[(len(taps) + k) * BROAD + i] = taps[k] * middle


def _weights(code, table, taps, number):
    """The weights of a filter, each loaded where it is used: registers would not hold more than two and the window."""
    places = [(number * len(taps) + k) * BROAD for k in range(len(taps))]
    held = [code.load(table, place) for place in places[:2]]
    return [lambda vector=vector: vector for vector in held] + [
        lambda place=place: code.load(table, place) for place in places[2:]
    ]


def _first_weights(code, table, taps):
    return [*_weights(code, table, taps, 0)[:-1], None]


def _filter(code, weights, load, put):
    """ROWS windowed means of the vectors that load(0), load(1), ... give, each put(k, mean) before the next is begun.

    What is put in memory at once keeps the order of the operations, and with it the window in registers.
    """
    *weights, middle = weights
    half, last = len(weights) // 2 + 1, 2 * len(weights)
    window = [load(k) for k in range(last)]
    for k in range(ROWS):
        window.append(load(last + k))
        # Two sums that do not wait for each other, the one of what is small.
        far = weights[0]() * (window[0] + window[last])
        for j in range(1, half):
            far = code.fma(weights[j](), window[j] + window[last - j], far)
        near = window[last // 2] if middle is None else middle() * window[last // 2]
        for j in range(half, len(weights)):
            near = code.fma(weights[j](), window[j] + window[last - j], near)
        put(k, far + near)
        del window[0]


def _exchanged(code, rows, at):
    """As many vectors as have lanes, from memory, rows and columns exchanged."""
    return code.transpose([code.load(rows, (at + k) * code.lanes) for k in range(code.lanes)])


@vectorised
def filter_down(code, pointers, integers, numbers, taps):
    """From the tile to its columns; meanwhile memory is asked for the next block's pixels."""
    table, tile, columns, rows, again, *images = pointers
    parts, *steps = integers
    weights = _first_weights(code, table, taps)
    plane, column = (ROWS + halo(taps)) * line(taps), (halo(taps) + ACROSS) * ROWS
    for index in code.each(code.times(parts, PART // code.lanes)):
        for image, step in zip(images, steps, strict=True):
            _ask_for(code, image, step, index, taps)
        for m in code.each(2):
            pixels = code.address(tile, code.times(m, plane, code.times(index, code.lanes, pad(taps))))
            for square in (False, True):

                def load(row, square=square, pixels=pixels):
                    value = code.load(pixels, row * line(taps))
                    return value * value if square else value

                _filter(code, weights, load, lambda k, mean: code.store(mean, rows, k * code.lanes))
                start = code.times(index, code.lanes * ROWS, (halo(taps) + 2 * square * (halo(taps) + ACROSS)) * ROWS)
                out = code.address(columns, code.times(m, column, start))
                for k in range(0, ROWS, code.lanes):
                    for j, vector in enumerate(_exchanged(code, again, k)):
                        code.store(vector, out, j * ROWS + k)


def _ask_for(code, image, step, turn, taps):
    """Some rows' pixels of the next block, so few that the requests do not queue up."""
    rows = -(-(ROWS + halo(taps)) * code.lanes // ACROSS)
    first = code.address(image, code.times(code.times(turn, rows), step, ACROSS))
    for row in range(rows):
        for k in range(0, ACROSS, code.pixels_of_a_cache_line()):
            code.prefetch(code.address(first, code.times(step, row, k)))


def _similarity(luminance, sides, careful):
    """From the columns of a block to its part of the map of cs, or of l cs: the sums of its rows, and the slopes.

    `sides` is how many images have a gradient. With `careful` a denominator may be zero, which C1 and C2 else rule out.
    """

    @vectorised
    def similarity(code, pointers, integers, numbers, taps):
        table, columns, slopes, means, sums = pointers
        first, end, rows, parts = integers
        weights, find = _weights(code, table, taps, 1), _careful if careful else _usual
        plane, slope_plane = (halo(taps) + ACROSS) * ROWS, (pad(taps) + ACROSS) * ROWS
        for k in code.each(ROWS // code.lanes):
            row = code.times(k, code.lanes)
            there = code.counted(row) < code.number(rows)
            total, largest, flat, ratio = (code.variable(0) for _ in range(4))
            for part in code.each(parts):
                start = code.times(part, PART)
                for m in code.each(4):
                    source = code.address(columns, code.times(m, plane, code.times(part, PART * ROWS, row)))
                    out = code.address(means, code.times(m, PART * code.lanes))
                    _filter(
                        code, weights, lambda j, source=source: code.load(source, j * ROWS),
                        lambda j, mean, out=out: code.store(mean, out, j * code.lanes),
                    )  # fmt: skip
                for column in code.each(code.least(end, code.times(part, PART, PART)), code.most(first, start)):
                    source = code.address(means, code.times(code.minus(column, start), code.lanes))
                    moments = [code.load(source, m * PART * code.lanes) for m in range(4)]
                    value, size, (flat_squares, lost), found = find(code, moments, numbers, luminance, sides, there)
                    total.set(total.get() + code.select(there, value, 0))
                    largest.set(code.select(size > largest.get(), size, largest.get()))
                    flat.set(flat.get() + code.select(there, flat_squares, 0))
                    if sides:
                        ratio.set(code.select(lost > ratio.get(), lost, ratio.get()))
                    out = code.address(slopes, code.times(column, ROWS, code.plus(row, pad(taps) * ROWS)))
                    for m, slope in enumerate(found):
                        code.store(slope, out, m * slope_plane)
            code.add_wide(total.get(), sums, code.plus(row, TOTAL * ROWS))
            code.raise_to(largest.get(), sums, code.plus(row, LARGEST * ROWS))
            code.add_wide(flat.get(), sums, code.plus(row, FLAT * ROWS))
            if sides:
                code.raise_to(ratio.get(), sums, code.plus(row, RATIO * ROWS))

    return similarity


def _parts_of_cs(code, moments, c2, floor, rounding):
    """(numerator, denominator, whether the covariance is negative, (squares, those of flat windows)) of cs.

    2 (σx² + σy²) = σs² + σd², ... A covariance that may be negative by rounding alone keeps its gradient. Rounding is
    in proportion to the second moments that the variances are the differences of.
    """
    mean_s, mean_d, squares_s, squares_d = moments
    of_s, of_d = code.fma(-mean_s, mean_s, squares_s), code.fma(-mean_d, mean_d, squares_d)
    of_s, of_d = (code.select(variance < 0, 0, variance) for variance in (of_s, of_d))
    difference = of_s - of_d
    squares, variances = squares_s + squares_d, of_s + of_d
    cut = difference < code.fma(-rounding, squares, floor)
    flat = code.select(variances < rounding * squares, squares, 0)
    return code.select(difference < floor, floor, difference) + c2, variances + c2, cut, (squares, flat)


def _parts_of_l(code, moments, shifts, c1, floor, rounding):
    """(numerator, denominator, whether the product of the means is negative, the true means of s and d) of l.

    The smaller of 2 |μx| and 2 |μy| is the difference of |μs| and |μd|. The sign of the product is not known where it
    is within rounding of the numbers that made it, as where an image is black.
    """
    *shifts, sizes = shifts
    of_s, of_d = (mean + shift for mean, shift in zip(moments[:2], shifts, strict=True))
    square_s, square_d = of_s * of_s, of_d * of_d
    product = square_s - square_d
    gap = code.magnitude(of_d) - code.magnitude(of_s)
    sizes = rounding * rounding * (moments[2] + moments[3] + sizes)
    dark = code.select(gap > 0, gap * gap, floor) > sizes - floor  # never, where the floor is -inf
    return code.select(product < floor, floor, product) + c1, square_s + square_d + c1, dark, (of_s, of_d)


def _usual(code, moments, numbers, luminance, sides, there):
    """(value, what might overflow, (squares of flat windows, ratio), slopes) of cs, or of l cs, by one division."""
    c1, c2, rounding, floor, _, _, _, *shifts = numbers
    numerator, size, cut, (squares, flat) = _parts_of_cs(code, moments, c2, floor, rounding)
    energy, light = None, None
    of_cs, denominator = numerator, size
    if luminance:
        of_l, energy, dark, means = _parts_of_l(code, moments, shifts, c1, floor, rounding)
        numerator, size = numerator * of_l, size * energy
    if not sides:
        return numerator / size, size, (flat, None), ()
    inverse = code.select(there, code.splat(1) / size, 0)
    value = numerator * inverse
    value = code.fma(code.fma(-value, size, numerator), inverse, value)  # 1 exactly where the two are equal
    value = code.select(value > 1, 1, value)
    if luminance:
        brightness = inverse * denominator
        inverse = inverse * energy
        ratio, cs = of_l * brightness, of_cs * inverse
        light = ratio, code.select(dark, 0, cs * brightness), cs * brightness, means
    else:
        cs = value
    return value, size, (flat, squares * inverse), _slopes(code, moments, cs, inverse, cut, light, sides)


def _careful(code, moments, numbers, luminance, sides, there):
    """The same where denominators may be zero: cs is 1 then, and l cs is l, or 1 if that of l is zero.

    The squares times 0 make the value NaN where they overflow: then it is computed in another way.
    """
    c1, c2, rounding, floor, zero, rounding1, rounding2, *shifts = numbers
    numerator, denominator, cut, (squares, flat_squares) = _parts_of_cs(code, moments, c2, floor, rounding)
    size, light = denominator, None
    flat = denominator <= zero + rounding2 * squares
    denominator = code.select(flat, 1, denominator)
    value = cs = code.select(flat, 1, numerator / denominator)
    inverse = code.select(there, code.select(flat, 0, code.splat(1) / denominator), 0)
    lost = squares * inverse
    if luminance:
        of_l, energy, dark, means = _parts_of_l(code, moments, shifts, c1, floor, rounding)
        size = size * energy
        black = energy <= zero + rounding1 * (shifts[0] * shifts[0] + shifts[1] * shifts[1])
        energy = code.select(black, 1, energy)
        ratio = of_l / energy
        value = code.select(black, 1, ratio * cs)
        factor = code.select(there, code.select(black, 0, cs / energy), 0)
        light = code.select(black, 0, ratio), code.select(dark, 0, factor), factor, means
    slopes = _slopes(code, moments, cs, inverse, cut, light, sides) if sides else ()
    return value + squares * 0, size, (flat_squares, lost), slopes


def _slopes(code, moments, cs, inverse, cut, light, sides):
    """The derivatives; `light` is (l, its denominator's inverse times cs, the same whatever was raised, means)."""
    mean_s, mean_d = moments[:2]
    loss, gain = cs * inverse, code.select(cut, 0, inverse)
    if light:
        ratio, gain_l, loss_l, (of_s, of_d) = light
        loss, gain, loss_l = loss * ratio, gain * ratio, loss_l * ratio
    by_s, by_d = gain - loss, -(gain + loss)
    through_s, through_d = -(mean_s * by_s), mean_d * by_d
    if light:
        through_s, through_d = code.fma(of_s, gain_l - loss_l, through_s), code.fma(of_d, gain_l + loss_l, through_d)
    return (by_s, by_d, through_s - through_d, through_s + through_d)[: 2 + sides]


# By whether it is of l cs, how many images have a gradient, and whether a denominator may be zero.
similarity = {
    (luminance, sides, careful): _similarity(luminance, sides, careful)
    for luminance in (False, True) for sides in range(3) for careful in (False, True)
}  # fmt: skip


def _moved(code, slopes, changes):
    """A vector of each slope as it would be had constants greater by so much been taken from s and d."""
    by_s, by_d, *through = slopes
    of_s, of_d = changes[0] * by_s, changes[1] * by_d
    return by_s, by_d, *(each + change for each, change in zip(through, (of_s + of_d, of_s - of_d), strict=False))


@vectorised
def move_columns(code, pointers, integers, numbers, taps):
    """The last columns of the block before become the first ones, less what was taken too little."""
    table, columns = pointers
    plane, last = (halo(taps) + ACROSS) * ROWS, ACROSS * ROWS
    middle = _weights(code, table, taps, 0)[-1]()
    changes = [change * middle for change in numbers]  # of the filter down the columns the weights sum to as much
    for index in code.each(halo(taps) * ROWS // code.lanes):
        at = code.address(columns, code.times(index, code.lanes))
        for m, (change, scaled) in enumerate(zip(numbers, changes, strict=True)):
            mean, square = code.load(at, last + m * plane), code.load(at, last + (2 + m) * plane)
            moved = mean - scaled
            code.store(moved, at, m * plane)
            code.store(square - change * (mean + moved), at, (2 + m) * plane)


@vectorised
def move_pixels(code, pointers, integers, numbers, taps):
    """The last pixels of the block before become the padding, less what was taken too little."""
    for m, change in enumerate(numbers):
        plane = code.address(pointers[0], m * (ROWS + halo(taps)) * line(taps))
        for row in code.each(ROWS):
            start = code.address(plane, code.times(row, line(taps)))
            for at in range(0, pad(taps), code.lanes):
                code.store(code.load(start, at + ACROSS) - change, start, at)


def _moving_slopes(sides):
    @vectorised
    def move_slopes(code, pointers, integers, numbers, taps):
        """The last slopes of the block before become the first ones."""
        plane = (pad(taps) + ACROSS) * ROWS
        for index in code.each(pad(taps) * ROWS // code.lanes):
            at = code.address(pointers[0], code.times(index, code.lanes))
            slopes = [code.load(at, ACROSS * ROWS + m * plane) for m in range(2 + sides)]
            for m, slope in enumerate(_moved(code, slopes, numbers)):
                code.store(slope, at, m * plane)

    return move_slopes


move_slopes = {sides: _moving_slopes(sides) for sides in (1, 2)}


def _giving_back(sides):
    @vectorised
    def give_back(code, pointers, integers, numbers, taps):
        """From the slopes of a block to its gradients.

        They are what came through the means, and pixel times what came through the squares. `kept` has the last lines
        of the block above, and is given those of this block: a block that is not the strip's `own` does nothing more.
        """
        table, slopes, kept, tile, lines, again, *targets = pointers
        first, end, own, width = integers
        change_s, change_d, scale = numbers
        planes, above, tall = 2 + sides, halo(taps) * PART, (halo(taps) + ROWS) * PART
        room = code.address(lines, planes * tall)
        for part in code.each(end, first):
            for target in targets[:sides]:
                soon = code.address(target, code.times(part, PART, PART))
                for row in range(ROWS):
                    code.prefetch(code.address(soon, code.times(width, row)), write=True)
            mine = code.address(kept, code.times(part, planes * above))
            for index in code.each(above // code.lanes):
                source, out = (code.address(each, code.times(index, code.lanes)) for each in (mine, lines))
                moved = _moved(code, [code.load(source, m * above) for m in range(planes)], (change_s, change_d))
                for m, slope in enumerate(moved):
                    code.store(slope, out, m * tall)
            first_slopes = code.address(slopes, code.times(part, PART * ROWS))
            _filter_back(code, table, first_slopes, lines, room, again, planes, taps)
            for m in code.each(planes):
                source = code.address(lines, code.times(m, tall, ROWS * PART))
                out = code.address(mine, code.times(m, above))
                for index in code.each(above // code.lanes):
                    at = code.times(index, code.lanes)
                    code.store(code.load(code.address(source, at)), code.address(out, at))
            with code.when(own):
                for index in code.each(PART // code.lanes):
                    at = code.times(part, PART, code.times(index, code.lanes))
                    source = code.address(lines, code.times(index, code.lanes))
                    pixels = code.address(tile, at)
                    goals = [code.address(target, at) for target in targets[:sides]]
                    _assemble(code, _weights(code, table, taps, 1), source, pixels, room, goals, width, scale, taps)

    return give_back


def _filter_back(code, table, slopes, lines, rows, again, planes, taps):
    """The slopes of a part of the columns, filtered along, as lines below those that are there."""
    weights, above, tall = _first_weights(code, table, taps), halo(taps) * PART, (halo(taps) + ROWS) * PART
    for m in code.each(planes):
        for k in code.each(ROWS // code.lanes):
            source = code.address(slopes, code.times(m, (pad(taps) + ACROSS) * ROWS, code.times(k, code.lanes)))
            out = code.address(lines, code.times(m, tall, code.times(k, code.lanes * PART, above)))
            _filter(
                code, weights, lambda j, source=source: code.load(source, j * ROWS),
                lambda j, mean: code.store(mean, rows, j * code.lanes),
            )  # fmt: skip
            for j in range(0, PART, code.lanes):
                for i, row in enumerate(_exchanged(code, again, j)):
                    code.store(row, out, i * PART + j)


def _assemble(code, weights, lines, pixels, room, goals, width, scale, taps):
    """One vector's width of the gradients, from the lines filtered down."""
    tall, tile = (halo(taps) + ROWS) * PART, (ROWS + halo(taps)) * line(taps)
    for m in code.each(2):
        source, pixel = code.address(lines, code.times(m, tall)), code.address(pixels, code.times(m, tile))
        through = code.address(room, code.times(m, ROWS * code.lanes))

        def weigh(k, mean, pixel=pixel, through=through):
            code.store(mean * code.load(pixel, k * line(taps)), through, k * code.lanes)

        _filter(code, weights, lambda k, source=source: code.load(source, k * PART), weigh)
    for m, goal in enumerate(goals):

        def finish(k, mean, m=m, goal=goal):
            of_s, of_d = (code.load(room, (n * ROWS + k) * code.lanes) for n in range(2))
            code.store(scale * (mean + (of_s - of_d if m else of_s + of_d)), goal, code.times(width, k))

        _filter(code, weights, lambda k, m=m: code.load(lines, (2 + m) * tall + k * PART), finish)


give_back = {sides: _giving_back(sides) for sides in (1, 2)}
