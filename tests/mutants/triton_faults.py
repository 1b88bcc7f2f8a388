"""Faults of the kernels for GPUs, whose tests run on the emulated GPU."""

from . import Fault

_FOLDER = "msssim/backends/triton"
_BACKWARD, _FORWARD, _POOLING, _PYRAMID, _RECORDS, _ROWS, _SIMILARITY = (
    f"{_FOLDER}/kernels/{name}.py"
    for name in ("backward", "forward", "pooling", "pyramid", "records", "rows", "similarity")
)
_API, _LAUNCHES, _PLAN = (f"{_FOLDER}/{name}.py" for name in ("api", "launches", "plan"))

_TESTS = "tests/kernels/test_triton_backend.py"
_BOTH = (f"{_TESTS}::test_means_and_both_gradients",)
_EXACT = (f"{_TESTS}::test_without_constants_flat_and_black_windows_count_as_alike",)
_HUGE = (f"{_TESTS}::test_one_huge_pixel_leaves_everything_finite",)
_BLACK = (f"{_TESTS}::test_black_areas_keep_their_gradient",)
_FAINT = (f"{_TESTS}::test_the_gradient_of_a_faint_negative_covariance_is_cut",)
_POOL = ("tests/kernels/test_pool.py::test_matches_multiscale_pool_and_its_derivative",)

FAULTS = (
    Fault(
        "triton-sign-of-covariance", _SIMILARITY, "covariance4 < -rounding,", "covariance4 < 0,", _BLACK,
        "rounding decides which windows lose their gradient",
    ),
    Fault(
        "triton-sign-of-means", _SIMILARITY, "product4 < -rounding,", "product4 < 0,", _BLACK,
        "rounding decides which black windows lose their gradient",
    ),
    Fault(
        "triton-sign-error", _RECORDS, "tl.constexpr(16.0)", "tl.constexpr(1e9)", _FAINT,
        "a faint negative covariance keeps its gradient",
    ),
    Fault(
        "triton-variance-of-d", _SIMILARITY, "variances = variance_s + variance_d", "variances = variance_s", _BOTH,
        "σd² is missing",
    ),
    Fault(
        "triton-mean-of-d-forgotten", _SIMILARITY, "mean_d += bases.d", "mean_d += 0", _BOTH,
        "the base of d does not come back",
    ),
    Fault(
        "triton-light-of-d", _SIMILARITY, "mu_d = mean_d + shifts[1]", "mu_d = mean_d + shifts[0]", _BOTH,
        "l is of another mean of d",
    ),
    Fault(
        "triton-energy", _SIMILARITY, "energy = square_s + square_d + limits.c1",
        "energy = square_s + square_d", _BOTH, "C1 is missing below l",
    ),
    Fault(
        "triton-dim", _SIMILARITY, "l_lacking = square_d * inverse",
        "l_lacking = 2 * square_d * inverse", _BOTH, "l lacks twice as much of 1",
    ),
    Fault(
        "triton-slope-of-d", _SIMILARITY, "to_squares_d = to_squares_s - inverse\n",
        "to_squares_d = to_squares_s + inverse\n",
        _BOTH, "the slope to E[d²] has a sign wrong",
    ),
    Fault(
        "triton-slope-of-y", _SIMILARITY, "to_mean_y = tl.fma(-mean_s, to_squares_s, through_d)",
        "to_mean_y = tl.fma(-mean_s, to_squares_s, -through_d)", _BOTH, "the slope to img2 is that to img1",
    ),
    Fault(
        "triton-light-slope-of-y", _SIMILARITY, "to_mean_y = tl.fma(to_mean_y, l_value, factor * to_mu_y)",
        "to_mean_y = tl.fma(to_mean_y, l_value, factor * to_mu_x)", _BOTH, "the slope of l to img2 is that to img1",
    ),
    Fault(
        "triton-gradient-of-y", _ROWS, "tl.fma(-d, through_d, filter_row(fields[3], p, TAPS))",
        "tl.fma(d, through_d, filter_row(fields[3], p, TAPS))", _BOTH, "the gradient to img2 has a sign wrong",
    ),
    Fault(
        "triton-black-is-zero", _SIMILARITY, "tl.where(valid & black, -0.5, lacking)",
        "tl.where(valid & black, 0.0, lacking)",
        _EXACT, "black against black is 0 where C1 = 0",
    ),
    Fault(
        "triton-flat-divided", _SIMILARITY, "valid & (flat == 0) if GUARD_ZERO_DIV[1] else valid, reciprocal",
        "valid, reciprocal",
        _EXACT,
        "a window without contrast is divided by 1",
        "The variances of such a window are zero up to rounding, and the reciprocal multiplies nothing else.",
    ),
    Fault(
        "triton-extreme-left-alone", _FORWARD, "if peak / unit > EXTREME:", "if peak / unit > 1e30 * EXTREME:", _HUGE,
        "squares of extreme pixels overflow",
    ),
    Fault(
        "triton-odd-column", _ROWS, "alone = tl.where(column + 1 < width, zeros + 0.25, 0.5)", "alone = zeros + 0.25",
        _BOTH,
        "the last column of an odd side is averaged with zero",
    ),
    Fault(
        "triton-odd-row", _ROWS, "tl.where(last, above_y, mean_y) - shift_y", "mean_y - shift_y", _BOTH,
        "the last row of an odd side is averaged with zero",
    ),
    Fault(
        "triton-halve-odd", _PYRAMID, "tl.where(2 * (left + column) + 1 < width, 1.0, 2.0)\n", "1.0\n", _BOTH,
        "coarse scales: the last column of an odd side is averaged with zero",
    ),
    Fault(
        "triton-origin-of-y", _PYRAMID, "source = y + (plane // channels * y_n + plane % channels * y_c)",
        "source = y + (plane // channels * y_n + plane % channels * x_n)",
        (f"{_TESTS}::test_layout_changes_no_bit", *_BOTH), "channels of y are found by the steps of x",
    ),
    Fault(
        "triton-windows-counted", _FORWARD, "((height - halo).to(tl.float64) * (width - halo))\n",
        "((height - halo).to(tl.float64) * width)\n", _BOTH, "the mean divides by too many windows",
    ),
    Fault(
        "triton-whole-of-the-last", _FORWARD, "offset = tl.where(level < levels - 1, 1.0, 0.0)",
        "offset = tl.where(level < levels, 1.0, 0.0)", _BOTH, "the last scale is taken for what cs lacks of 1",
    ),
    Fault(
        "triton-share-of-one-level", _BACKWARD, "upstream + level * step_level, dvalue_dterms + level, weight",
        "upstream, dvalue_dterms, weight", _BOTH, "every scale has the share of the finest",
    ),
    Fault(
        "triton-spread-odd", _BACKWARD, "tl.where(side % 2 == 1, side - 1, -1), 1.0, 0.5)", "-1, 1.0, 0.5)", _BOTH,
        "the last pixel of an odd side gets half of its gradient",
    ),
    Fault(
        "triton-power-of-negative", _POOLING, 'power = tl.where(base < 0, float("nan"), power)', "power = power", _POOL,
        "the power of a negative term is that of its absolute value",
    ),
    Fault(
        "triton-simple-slope", _POOLING, "derivative *= 0.5", "derivative *= 1.0", _POOL,
        'the slope of "simple" is twice as large',
    ),
    Fault(
        "triton-relu-slope", _POOLING, "derivative = tl.where(pooled_terms[k] <= 0, 0.0, derivative)",
        "derivative = derivative", _POOL,
        "a term that counts as zero has a slope",
    ),
    Fault(
        "triton-gradients-exchanged", _API, "return means, first, second\n", "return means, second, first\n",
        (f"{_TESTS}::test_gradients_are_for_who_needs_them",), "the gradient to img2 alone is that to img1",
    ),
    Fault("triton-c1-of-range", _LAUNCHES, "(c1 / unit**2, c2 / unit**2, unit)", "(c1 / unit, c2 / unit**2, unit)",
        (f"{_TESTS}::test_error_is_at_most_one_rounding_for_each_tap_that_a_number_passes",),
        "C1 is in other units than the pixels",
    ),
    Fault(
        "triton-inner-taps", _PLAN, "range(len(taps) - 1, 0, -1))", "range(len(taps) - 2, -1, -1))", _BOTH,
        "what a pending sum weighs is a row off",
    ),
)  # fmt: skip
