"""Blocks in vectors: what is done to `ROWS` rows and 16 columns (32 for wide windows) while they are in the cache.

In a buffer the planes of a quantity follow one another: x, y, x² + y², xy.
"""

from numba.extending import overload

from .numba_vectors import vectorised

ROWS = 16  # rows of a block


def wide(taps):
    """Columns of a block: no fewer than a window reaches to the right."""
    return 16 if len(taps) < 10 else 32


def halo(taps):
    """Rows and columns that a window reaches beyond its first."""
    return 2 * (len(taps) - 1)


# Compiled code calls them too.
overload(wide, jit_options={"forceinline": True})(lambda taps: wide)
overload(halo, jit_options={"forceinline": True})(lambda taps: halo)


def _windowed_mean(code, values, taps):
    """The weighed sum of so many vectors; the outermost and smallest first."""
    last = len(values) - 1
    total = taps[0] * (values[0] + values[last])
    for k in range(1, len(taps) - 1):
        total = code.fma(taps[k], values[k] + values[last - k], total)
    return code.fma(taps[-1], values[len(taps) - 1], total)


def _filter_down(code, taps, load, target):
    """ROWS rows of windowed means of columns. load(row, at) gives a vector; rows of the target are two blocks wide."""
    for index in code.each(wide(taps) // code.lanes):
        at = code.times(index, code.lanes)
        out = code.address(target, at)
        window = [load(row, at) for row in range(halo(taps))]
        for row in range(ROWS):
            window.append(load(halo(taps) + row, at))
            code.store(_windowed_mean(code, window, taps), out, row * 2 * wide(taps))
            del window[0]


@vectorised
def down(code, pointers, integers, numbers, taps):
    """One quantity, filtered down its columns."""
    source, target = pointers
    _filter_down(code, taps, lambda row, at: code.load(code.address(source, at), row * wide(taps)), target)


@vectorised
def moments_down(code, pointers, integers, numbers, taps):
    """The four moments of a block of pixels, filtered down their columns."""
    x, y, target = pointers
    moments = (lambda a, b: a, lambda a, b: b, lambda a, b: a * a + b * b, lambda a, b: a * b)
    for number, moment in enumerate(moments):

        def load(row, at, moment=moment):
            return moment(*(code.load(code.address(image, at), row * wide(taps)) for image in (x, y)))

        _filter_down(code, taps, load, code.address(target, number * ROWS * 2 * wide(taps)))


@vectorised
def along(code, pointers, integers, numbers, taps):
    """One quantity, filtered along its rows, which are two blocks wide in the source."""
    source, target = pointers
    for row in code.each(ROWS):
        line, out = (
            code.address(source, code.times(row, 2 * wide(taps))),
            code.address(target, code.times(row, wide(taps))),
        )
        for at in range(0, wide(taps), code.lanes):
            code.store(_windowed_mean(code, code.window(line, at, halo(taps) + 1), taps), out, at)


@vectorised
def rebase_moments(code, pointers, integers, numbers, taps):
    """Moments as they would be had constants smaller by so much been taken from x and y.

    Where x is y, the squares stay twice the product to the last bit.
    """
    source, target = pointers
    change_x, change_y = numbers
    plane = ROWS * 2 * wide(taps)
    for row in code.each(ROWS):
        line, out = (code.address(each, code.times(row, 2 * wide(taps))) for each in (source, target))
        for at in range(0, wide(taps), code.lanes):
            x, y, squares, product = (code.load(line, at + m * plane) for m in range(4))
            moved_x, moved_y = x + change_x, y + change_y
            both_x, both_y = x + moved_x, y + moved_y
            squares = squares + code.fma(change_x, both_x, change_y * both_y)
            product = product + code.fma(change_x, both_y, change_y * both_x) * 0.5
            for m, value in enumerate((moved_x, moved_y, squares, product)):
                code.store(value, out, at + m * plane)


def _rebasing(both):
    @vectorised
    def rebase(code, pointers, integers, numbers, taps):
        """Derivatives as they would be had constants greater by so much been taken from x and y."""
        source, target = pointers
        rows, step_in, plane_in, step_out, plane_out = integers
        change_x, change_y = numbers
        for row in code.each(rows):
            line, out = code.address(source, code.times(row, step_in)), code.address(target, code.times(row, step_out))
            for index in code.each(wide(taps) // code.lanes):
                at = code.times(index, code.lanes)
                place = [code.address(line, code.times(plane_in, m, at)) for m in range(4)]
                goal = [code.address(out, code.times(plane_out, m, at)) for m in range(4)]
                to_x, squares, product = (code.load(place[m]) for m in (0, 2, 3))
                code.store(code.fma(change_x, squares, code.fma(change_y, product, to_x)), goal[0])
                if both:
                    to_y = code.load(place[1])
                    code.store(code.fma(change_y, squares, code.fma(change_x, product, to_y)), goal[1])
                code.store(squares, goal[2])
                code.store(product, goal[3])

    return rebase


rebase_one, rebase_both = _rebasing(False), _rebasing(True)


@vectorised
def copy_rows(code, pointers, integers, numbers, taps):
    """Rows of one quantity, from one place to another."""
    source, target = pointers
    for index in code.each(code.times(integers[0], wide(taps) // code.lanes)):
        at = code.times(index, code.lanes)
        code.store(code.load(code.address(source, at)), code.address(target, at))


def _divided(code, numerator, denominator, inverse):
    """The quotient, from the inverse and without a second division: 1 exactly where the two are equal."""
    quotient = numerator * inverse
    return code.fma(code.fma(-quotient, denominator, numerator), inverse, quotient)


def _similarity(luminance, gradient):
    """From a block of moments to a block of cs or l cs, and of its derivatives.

    Planes: 0 μx, 1 μy, 2 E[x² + y²], 3 E[xy], 4 the map; 5 and 6 the derivatives to μx and μy, 7 twice that to
    E[x² + y²], 8 that to E[xy].
    """

    @vectorised
    def similarity(code, pointers, integers, numbers, taps):
        c1, c2, zero, unsigned, rounding2, rounding1, floor, shift_x, shift_y = numbers
        darkness = zero + rounding1 * (shift_x * shift_x + shift_y * shift_y)
        plane = (ROWS + halo(taps)) * wide(taps)
        for index in code.each(ROWS * wide(taps) // code.lanes):
            at = code.address(pointers[0], code.times(index, code.lanes))
            mx, my, squares, product = (code.load(at, m * plane) for m in range(4))
            variances = squares - (mx * mx + my * my)
            variances = code.select(variances < 0, 0, variances)
            half = product - mx * my
            covariance2 = half + half
            covariance2 = code.select(covariance2 > variances, variances, covariance2)
            covariance2 = code.select(covariance2 < -variances, -variances, covariance2)
            cut = covariance2 < floor - unsigned  # what is negative by rounding alone keeps its gradient
            covariance2 = code.select(covariance2 < floor, floor, covariance2)
            denominator = variances + c2
            flat = denominator <= zero + rounding2 * squares
            denominator = code.select(flat, 1, denominator)
            if gradient:
                inverse = code.splat(1) / denominator
                value = code.select(flat, 1, _divided(code, covariance2 + c2, denominator, inverse))
                inverse = code.select(flat, 0, inverse)
                by_variances = -(value * inverse)
                by_covariance2 = code.select(cut, 0, inverse)
            else:
                value = code.select(flat, 1, (covariance2 + c2) / denominator)
            if luminance:
                ux, uy = mx + shift_x, my + shift_y
                energy = ux * ux + uy * uy + c1
                half = ux * uy
                product2 = half + half
                dark = product2 < floor
                product2 = code.select(dark, floor, product2)
                black = energy <= darkness
                energy = code.select(black, 1, energy)
                ratio = (product2 + c1) / energy
                cs = value
                value = code.select(black, 1, ratio * cs)
                if gradient:
                    factor = code.select(black, 0, cs / energy)
                    gain = code.select(dark, 0, factor)
                    loss = ratio * factor
                    by_ux, by_uy = gain * uy - loss * ux, gain * ux - loss * uy
                    ratio = code.select(black, 0, ratio)
                    by_variances, by_covariance2 = by_variances * ratio, by_covariance2 * ratio
            code.store(value, at, 4 * plane)
            if gradient:
                to_x = -(by_variances * mx + by_covariance2 * my)
                to_y = -(by_variances * my + by_covariance2 * mx)
                if luminance:
                    to_x, to_y = to_x + by_ux, to_y + by_uy
                for m, each in enumerate((to_x, to_y, by_variances, by_covariance2)):
                    code.store(each + each, at, (5 + m) * plane)

    return similarity


cs, l_cs = _similarity(False, False), _similarity(True, False)
cs_gradient, l_cs_gradient = _similarity(False, True), _similarity(True, True)
