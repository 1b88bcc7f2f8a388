"""The similarity of two images at one position of the window, and its derivatives with respect to the moments.

The kernels work with s = x + y and d = x - y, because 2 (σx² + σy²) = σs² + σd² and 4 σxy = σs² - σd². README.md
derives all formulas.
"""

# ruff: noqa: RUF005 - Triton's language has no [*a, b] and no (*a, b).

import triton
import triton.language as tl

from .primitives import push_row, reciprocal, relu, repeat
from .records import SIGN_ERROR


@triton.jit
def push_map_row(
    moments, bases, derivatives, valid, shifts, limits, luminance, RECTIFY: tl.constexpr, GUARD_ZERO_DIV: tl.constexpr,
    TAPS: tl.constexpr, TAP_SUM: tl.constexpr, FIELDS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A row of the map, and its derivatives pushed into the filters back down the columns.

    Returns (what the map lacks, per column; the pending derivatives; the rows of derivatives that are complete).
    """
    lacking, pending, complete = (), (), repeat((), FIELDS)
    for p in tl.static_range(COLUMNS):
        here = window_similarity(
            moments[p], bases, valid[p], shifts, limits, luminance, TAP_SUM * TAP_SUM, RECTIFY, GUARD_ZERO_DIV
        )
        lacking = lacking + (here[0],)
        begun, rows = (), ()
        for m in tl.static_range(FIELDS):
            row, rest = push_row(derivatives[p][m], here[1 + m], TAPS)
            rows = rows + (complete[m] + (row,),)
            begun = begun + (rest,)
        complete = rows
        pending = pending + (begun,)
    return lacking, pending, complete


@triton.jit
def window_similarity(
    moments, bases, valid, shifts, limits, luminance, TOTAL: tl.constexpr, RECTIFY: tl.constexpr,
    GUARD_ZERO_DIV: tl.constexpr,
):  # fmt: skip
    """(1 - cs) / 2, or -l cs / 2 if luminance is requested, and the derivatives of the map, at one position.

    Parameters
    ----------
    moments : (sum of s, of s², of d, of d²)
        About the bases, and TOTAL times too large.
    bases : Bases
    valid : bool
        Whether a window is here; elsewhere everything is 0.
    shifts : (constant of s, constant of d)
        What was subtracted from the planes. Only luminance depends on it.
    limits : Limits
    luminance : bool
        Whether l counts, which it does at the last scale.
    RECTIFY : bool
        Whether a negative covariance counts as zero (normalize="covariance").
    GUARD_ZERO_DIV : (bool, bool)
        Whether C1 and C2 are zero, so that a denominator may be.

    Returns
    -------
    tuple of 5
        The value, then half the derivatives with respect to E[s²] and E[d²], then a quarter of those with respect to
        the means of x and y. The derivatives are TOTAL times too small.

    Notes
    -----
    1 - cs is 2 σd² over the denominator: exactly 0 where the images are equal.

    Where the exact covariance is zero, rounding gives the computed one a sign, and so for μx μy. For the gradient a
    product is negative only if it is so by more than rounding can explain: some eps of the second moments about the
    bases, before and after the last change of bases, and of the deviation times the distance from the plane's constant,
    to which s and d are rounded.
    """
    sum_s, squares_s, sum_d, squares_d = moments
    mean_s = sum_s * tl.full((), 1 / TOTAL, sum_s.dtype)
    mean_d = sum_d * tl.full((), 1 / TOTAL, sum_d.dtype)
    variance_s = relu(tl.fma(-mean_s, sum_s, squares_s))
    variance_d = relu(tl.fma(-mean_d, sum_d, squares_d))
    mean_s += bases.s
    from_pivot = mean_d + (bases.d - bases.pivot)
    mean_d += bases.d
    EPS: tl.constexpr = SIGN_ERROR * (2.0**-53 if sum_s.dtype == tl.float64 else 2.0**-24)
    far = tl.abs(mean_s) + tl.abs(mean_d)

    # cs and its derivatives.
    variances = variance_s + variance_d
    denominator = variances + limits.c2
    flat = denominator <= limits.zero2 + limits.rounding2 * (squares_s + squares_d)
    if GUARD_ZERO_DIV[1]:
        denominator = tl.where(flat, 1.0, denominator)
    inverse = tl.where(valid & (flat == 0) if GUARD_ZERO_DIV[1] else valid, reciprocal(denominator), 0.0)
    if RECTIFY:
        covariance4 = variance_s - variance_d
        lacking = tl.where(covariance4 < 0, 0.5 * variances, variance_d) * inverse
        squares = squares_s + squares_d
        rounding = EPS * (
            squares
            + tl.sqrt(squares * TOTAL) * far
            + tl.maximum(bases.change3, tl.maximum(bases.change2, bases.change1))
        )
        cut = tl.where(covariance4 < -rounding, 0.5 * inverse, 0.0)
        to_squares_s = lacking * inverse
        to_squares_d = to_squares_s - (inverse - cut)
        to_squares_s -= cut
    else:
        lacking = variance_d * inverse
        to_squares_s = lacking * inverse
        to_squares_d = to_squares_s - inverse
    through_d = from_pivot * to_squares_d
    to_mean_x = tl.fma(-mean_s, to_squares_s, -through_d)
    to_mean_y = tl.fma(-mean_s, to_squares_s, through_d)

    if luminance:
        mu_s = mean_s + shifts[0]
        mu_d = mean_d + shifts[1]
        square_s = mu_s * mu_s
        square_d = mu_d * mu_d
        energy = square_s + square_d + limits.c1
        black = energy <= limits.zero1 + limits.rounding1 * (shifts[0] * shifts[0] + shifts[1] * shifts[1])
        if GUARD_ZERO_DIV[0]:
            energy = tl.where(black, 1.0, energy)
        inverse = reciprocal(energy)
        l_lacking = square_d * inverse  # (1 - l) / 2
        product4 = square_s - square_d  # 4 μx μy
        cut = tl.zeros_like(l_lacking)
        if RECTIFY:
            l_lacking = tl.where(product4 < 0, 0.5 * (square_s + square_d) * inverse, l_lacking)
            rounding = EPS * (tl.abs(mu_s) + tl.abs(mu_d)) * (far + tl.abs(shifts[0]) + tl.abs(shifts[1]))
            cut = tl.where(product4 < -rounding, 0.5, cut)
            product4 = relu(product4)
        counts = valid & (black == 0) if GUARD_ZERO_DIV[0] else valid
        factor = tl.where(counts, tl.fma(lacking, -2.0, 1.0) * inverse, 0.0) * tl.full((), 1 / TOTAL, inverse.dtype)
        # There are two formulas for l and for its derivatives. Each is accurate where the other is not.
        alike = l_lacking < 0.25
        l_value = tl.where(alike, tl.fma(l_lacking, -2.0, 1.0), (product4 + limits.c1) * inverse)
        l_value = tl.where(counts, l_value, 0.0)
        mu_x = 0.5 * (mu_s + mu_d)
        mu_y = 0.5 * (mu_s - mu_d)
        to_mu_s = mu_s * (l_lacking - cut)
        to_mu_d = mu_d * (l_lacking - (1 - cut))
        kept = 1 - 2 * cut
        to_mu_x = tl.where(alike, to_mu_s + to_mu_d, tl.fma(-l_value, mu_x, kept * mu_y))
        to_mu_y = tl.where(alike, to_mu_s - to_mu_d, tl.fma(-l_value, mu_y, kept * mu_x))
        to_squares_s *= l_value
        to_squares_d *= l_value
        to_mean_x = tl.fma(to_mean_x, l_value, factor * to_mu_x)
        to_mean_y = tl.fma(to_mean_y, l_value, factor * to_mu_y)
        lacking = (lacking - 0.5) * l_value
        if GUARD_ZERO_DIV[0]:
            lacking = tl.where(valid & black, -0.5, lacking)
    return lacking, to_squares_s, to_squares_d, to_mean_x, to_mean_y
