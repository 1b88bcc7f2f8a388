"""From the moments of a block to the map of cs, or of l cs, and its derivatives.

2 (σx² + σy²) = σs² + σd² and 4 σxy = σs² - σd², of s = x + y and d = x - y; the means likewise. So all is doubled here.
"""

from __future__ import annotations

from typing import NamedTuple

from .filters import filter_16, load_weights
from .functions import outlined
from .layout import MEASURES, PART, ROWS, Layout
from .pixels import reciprocal
from .scalars import FLOAT64, Operand, Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector

# Where the variances are less than this part of the squares about the constants of a block, windows are alike, and so
# are their rounding errors. A window that is exactly flat in both images has none.
_NEARLY_FLAT = 2.0**-7


class Constants(NamedTuple):
    """The numbers of the formula, in working units."""

    c1: Operand
    """2 C1."""
    c2: Operand
    """2 C2."""
    eps: Operand
    """What rounding leaves of a difference that is zero, in units of what it is a difference of."""
    floor: Operand
    """0 if negative covariances and products of means count as 0, else -inf."""
    zero: Operand
    """A denominator at or below this counts as zero; used with `guard_zero_div` only."""
    eps_l: Operand
    """The same for the denominator of l, in units of the squared shifts."""
    eps_cs: Operand
    """The same for the denominator of cs, in units of the second moments."""
    shift_s: Operand
    """What was subtracted from s."""
    shift_d: Operand
    """What was subtracted from d."""
    shift_squares: Operand
    """Twice the sum of the squares of all that was subtracted."""
    moved: Operand
    """A part of the squares of by how much these constants changed from the block at the left: moments that it left
    were about its constants, and keep the rounding errors of those."""


class Derivatives(NamedTuple):
    """Whether, and of how many images, derivatives are computed; and whether a denominator may be zero."""

    luminance: bool
    """Whether the map is of l cs."""
    n_grads: int
    guard_zero_div: bool


@outlined
def similarity(
    code: SimdBuilder,
    layout: Layout,
    kind: Derivatives,
    table: Pointer,
    moments: Pointer,
    grads: Pointer,
    means: Pointer,
    sums: Pointer,
    extent: tuple[Scalar, ...],
    constants: Constants,
) -> None:
    """From the moments of a block to its part of the map: the sums of its rows, and the derivatives.

    Parameters
    ----------
    table : pointer to the weights
    moments : 4 × (halo + COLUMNS) × ROWS, with a mask 5 ×
    grads : out, (2 + n_grads) × (pad + COLUMNS) × ROWS
    means : scratch memory
    sums : pointer to float64, in and out, MEASURES × ROWS
    extent : (first column, column after the last, number of rows, number of parts) of the map in this block
    """
    first, end, rows, parts = extent
    constants = Constants._make(code.splat(each) for each in constants)
    weights = load_weights(code, layout, table, 1)
    # A window of little weight changes the gradient no more than that weight, others as their middle pixel.
    influence = code.splat(1) / weights[-1]()
    for k in code.range(ROWS // code.lanes):
        row = k * code.lanes
        there = code.counted(row) < code.real(rows)
        total, largest, flat, ratio, weights_of = (code.variable(code.splat(0)) for _ in MEASURES)
        for part in code.range(parts):
            start = part * PART
            for m in code.range(layout.moments):
                source = moments + (m * layout.moment_plane + (part * (PART * ROWS) + row))
                out = means + m * (PART * code.lanes)
                filter_16(code, weights, code.loader(source, ROWS), code.storer(out, code.lanes))
            for column in code.range(code.max(first, start), code.min(end, start + PART)):
                source = means + (column - start) * code.lanes
                here = [code.load(source, m * PART * code.lanes) for m in range(layout.moments)]
                counts = there
                if layout.masked:
                    weight = here.pop()
                    factor = code.select(there, reciprocal(code, weight), 0)
                    here, counts = [moment * factor for moment in here], factor > 0
                    weight = code.select(counts, weight, 0)
                found = (guarded if kind.guard_zero_div else usual)(code, here, constants, kind, counts)
                if layout.masked:
                    total.set(code.fma(found.value, weight, total.get()))
                    flat.set(code.fma(found.flat, weight, flat.get()))
                    weights_of.set(weights_of.get() + weight)
                else:
                    total.set(total.get() + code.select(there, found.value, 0))
                    flat.set(flat.get() + code.select(there, found.flat, 0))
                largest.set(code.select(found.size > largest.get(), found.size, largest.get()))
                if kind.n_grads:
                    one = found.ratio
                    if layout.masked:
                        one = one * code.min(weight * influence, code.splat(1))
                    ratio.set(code.select(one > ratio.get(), one, ratio.get()))
                out = grads + (column * ROWS + (row + layout.pad * ROWS))
                for number, grad in enumerate(found.grads):
                    code.store(grad, out, number * layout.grad_plane)
        code.add_wide(total.get(), sums, row + MEASURES.total * ROWS)
        code.max_wide(largest.get(), sums, row + MEASURES.largest * ROWS)
        code.add_wide(flat.get(), sums, row + MEASURES.flat * ROWS)
        if kind.n_grads:
            code.max_wide(ratio.get(), sums, row + MEASURES.ratio * ROWS)
        if layout.masked:
            code.add_wide(weights_of.get(), sums, row + MEASURES.weight * ROWS)


class _Found(NamedTuple):
    """What is known of some windows."""

    value: Vector
    size: Vector
    """The denominator, which may overflow."""
    flat: Vector
    """E[s²] + E[d²] where the window is nearly flat, else 0."""
    ratio: Vector | None
    """E[s²] + E[d²] in units of the denominator of cs."""
    grads: tuple[Vector, ...]


class _Quotient(NamedTuple):
    """What derivatives need of l, or of cs. It is (b - a) / (b + a), a and b the two parts."""

    value: Vector
    inverse: Vector
    """Of the denominator; 0 where there is no derivative."""
    cut: Vector
    """Whether the numerator was negative and counts as 0."""
    parts: tuple[Vector, Vector]
    """(σd², σs² + C2), or (μd², μs² + C1)."""

    def distances_from_one(self, code: SimdBuilder) -> tuple[Vector, Vector]:
        """1 - value and 1 + value: between nearly equal images the difference itself would be rounding.

        Where the numerator was cut off, -value and value: it has no derivative.
        """
        twice = self.inverse + self.inverse
        lack, excess = (part * twice for part in self.parts)
        return code.select(self.cut, -self.value, lack), code.select(self.cut, self.value, excess)


def _parts_of_cs(
    code: SimdBuilder, moments: list[Vector], constants: Constants
) -> tuple[Vector, Vector, Vector, tuple[Vector, Vector], tuple[Vector, Vector]]:
    """(numerator, denominator, whether the covariance is negative, parts, (squares, those of flat windows)) of cs.

    A covariance that may be negative by rounding alone keeps its gradient. Rounding is in proportion to the second
    moments that the variances are the differences of.
    """
    mean_s, mean_d, squares_s, squares_d = moments
    floor, eps = constants.floor, constants.eps
    of_s, of_d = code.fma(-mean_s, mean_s, squares_s), code.fma(-mean_d, mean_d, squares_d)
    # What is within rounding of zero is zero: with small constants it would not be small.
    of_s, of_d = (
        code.select(variance < eps * 0.5 * squares, 0, variance)
        for variance, squares in ((of_s, squares_s), (of_d, squares_d))
    )
    difference = of_s - of_d
    squares, variances = squares_s + squares_d, of_s + of_d
    cut = difference < code.fma(-eps, squares + constants.moved, floor)
    flat = code.select(variances > 0, code.select(variances < squares * _NEARLY_FLAT, squares, 0), 0)
    numerator = code.select(difference < floor, floor, difference) + constants.c2
    return numerator, variances + constants.c2, cut, (of_d, of_s + constants.c2), (squares, flat)


def _parts_of_l(
    code: SimdBuilder, moments: list[Vector], constants: Constants
) -> tuple[Vector, Vector, Vector, tuple[Vector, Vector], tuple[Vector, Vector]]:
    """(numerator, denominator, whether the product of the means is negative, parts, the true means of s and d) of l.

    The smaller of 2 |μx| and 2 |μy| is the difference of |μs| and |μd|. The sign of the product is not known where it
    is within rounding of the numbers that made it, as where an image is black.
    """
    floor = constants.floor
    of_s, of_d = moments[0] + constants.shift_s, moments[1] + constants.shift_d
    if code.element == FLOAT64:  # a black area is black, and not what rounding leaves of the shift
        rounding = constants.eps * constants.eps * constants.shift_squares
        of_s, of_d = (code.select(mean * mean < rounding, 0, mean) for mean in (of_s, of_d))
    square_s, square_d = of_s * of_s, of_d * of_d
    product = square_s - square_d
    gap = abs(of_d) - abs(of_s)
    sizes = constants.eps * constants.eps * (moments[2] + moments[3] + constants.shift_squares + constants.moved)
    dark = code.select(gap > 0, gap * gap, floor) > sizes - floor  # never, where the floor is -inf
    numerator = code.select(product < floor, floor, product) + constants.c1
    return numerator, square_s + square_d + constants.c1, dark, (square_d, square_s + constants.c1), (of_s, of_d)


def usual(code: SimdBuilder, moments: list[Vector], constants: Constants, kind: Derivatives, there: Vector) -> _Found:
    """Compute cs or l cs by one division."""
    numerator, size, cut, parts, (squares, flat) = _parts_of_cs(code, moments, constants)
    energy, light = None, None
    of_cs, denominator = numerator, size
    if kind.luminance:
        of_l, energy, dark, parts_l, means = _parts_of_l(code, moments, constants)
        numerator, size = numerator * of_l, size * energy
    if not kind.n_grads:
        return _Found(numerator / size, size, flat, None, ())
    inverse = code.select(there, code.splat(1) / size, 0)
    value = numerator * inverse
    value = code.fma(code.fma(-value, size, numerator), inverse, value)  # 1 exactly where the two are equal
    value = code.select(value > 1, 1, value)
    if kind.luminance:
        brightness = inverse * denominator
        inverse = inverse * energy
        light, cs = (_Quotient(of_l * brightness, brightness, dark, parts_l), means), of_cs * inverse
    else:
        cs = value
    grads = _grads(code, moments, _Quotient(cs, inverse, cut, parts), light, kind.n_grads)
    return _Found(value, size, flat, squares * inverse, grads)


def guarded(code: SimdBuilder, moments: list[Vector], constants: Constants, kind: Derivatives, there: Vector) -> _Found:
    """The same where denominators may be zero: cs is 1 then, and l cs is l, or 1 if that of l is zero.

    The squares times 0 make the value NaN where they overflow: then it is computed in another way.
    """
    numerator, denominator, cut, parts, (squares, flat_squares) = _parts_of_cs(code, moments, constants)
    size, light = denominator, None
    flat = denominator <= constants.zero + constants.eps_cs * squares
    denominator = code.select(flat, 1, denominator)
    value = cs = code.select(flat, 1, numerator / denominator)
    inverse = code.select(there, code.select(flat, 0, code.splat(1) / denominator), 0)
    lost = squares * inverse
    if kind.luminance:
        of_l, energy, dark, parts_l, means = _parts_of_l(code, moments, constants)
        size = size * energy
        shifts = constants.shift_s * constants.shift_s + constants.shift_d * constants.shift_d
        black = energy <= constants.zero + constants.eps_l * shifts
        energy = code.select(black, 1, energy)
        ratio = of_l / energy
        value = code.select(black, 1, ratio * cs)
        brightness = code.select(there, code.select(black, 0, code.splat(1) / energy), 0)
        light = _Quotient(code.select(black, 0, ratio), brightness, dark, parts_l), means
    grads = _grads(code, moments, _Quotient(cs, inverse, cut, parts), light, kind.n_grads) if kind.n_grads else ()
    return _Found(value + squares * 0, size, flat_squares, lost, grads)


def _grads(
    code: SimdBuilder,
    moments: list[Vector],
    contrast: _Quotient,
    light: tuple[_Quotient, tuple[Vector, Vector]] | None,
    n_grads: int,
) -> tuple[Vector, ...]:
    """The derivatives: half those to the means of s² and d², then what goes to x, and to y, through those of s and d.

    `contrast` is cs; `light`, for l cs, is l and the means of s and d with what was subtracted.
    """
    mean_s, mean_d = moments[:2]
    lack, excess = contrast.distances_from_one(code)
    by_s, by_d = lack * contrast.inverse, -(excess * contrast.inverse)
    if light:
        by_s, by_d = by_s * light[0].value, by_d * light[0].value
    through_s, through_d = -(mean_s * by_s), mean_d * by_d
    if light:
        luminance, (of_s, of_d) = light
        factor = contrast.value * luminance.inverse
        lack, excess = luminance.distances_from_one(code)
        through_s, through_d = code.fma(of_s, factor * lack, through_s), code.fma(of_d, factor * excess, through_d)
    return (by_s, by_d, through_s - through_d, through_s + through_d)[: 2 + n_grads]
