"""Faults of the kernels for CPUs."""

from . import Fault

_BLOCKS = "msssim/backends/numba/blocks.py"
_PIXELS = "msssim/backends/numba/pixels.py"
_SWEEP = "msssim/backends/numba/sweep.py"
_BACKWARD = "msssim/backends/numba/backward.py"
_POOLING = "msssim/backends/numba/pooling.py"
_API = "msssim/backends/numba/api.py"

_SIZES = ("tests/kernels/test_numba_backend.py::test_ssim_and_both_gradients_at_sizes_around_those_of_a_tile",)
_WINDOWS = ("tests/kernels/test_numba_backend.py::test_windows_of_every_size",)
_SSIM = ("tests/library/test_values.py::test_ssim_of_any_size",)
_MSSSIM = ("tests/library/test_values.py::test_msssim_of_odd_and_even_sizes",)
_SIGNED = ("tests/library/test_values.py::test_signed_images",)
_METHODS = ("tests/library/test_values.py::test_any_weights_and_both_methods",)
_GRADIENTS = ("tests/library/test_values.py::test_both_gradients",)
_BLACK = ("tests/library/test_stability.py::test_zero_denominators_follow_the_rule",)
_NASTY = ("tests/library/test_stability.py::test_every_nasty_image_against_every_other",)
_FAR = ("tests/library/test_stability.py::test_a_value_of_no_meaning_takes_no_precision_from_others",)
_LARGE = ("tests/library/test_stability.py::test_a_gradient_that_is_too_large_is_the_largest_number",)
_POOL = ("tests/kernels/test_pool.py::test_as_the_plain_way_and_its_derivative",)

FAULTS = (
    Fault(
        "numba-variance-of-d", _BLOCKS, "squares_s + squares_d, of_s + of_d", "squares_s + squares_d, of_s",
        _SSIM, "σd² is missing below the line of cs",
    ),
    Fault(
        "numba-covariance-sign", _BLOCKS, "difference = of_s - of_d", "difference = of_s + of_d", _SSIM,
        "σxy is taken to be the sum of the variances",
    ),
    Fault(
        "numba-square-of-s-for-d", _BLOCKS, "square_s, square_d = of_s * of_s, of_d * of_d",
        "square_s, square_d = of_s * of_s, of_s * of_d", _SSIM, "l has μs μd in the place of μd²",
    ),
    Fault(
        "numba-shifts-forgotten", _BLOCKS, "(mean + shift for mean, shift in zip", "(mean for mean, shift in zip",
        _SSIM,
        "l is of the means less what was taken from the pixels",
    ),
    Fault(
        "numba-gradient-of-y", _BLOCKS, "(of_s - of_d if m else of_s + of_d)", "(of_s + of_d if m else of_s + of_d)",
        _SIZES, "the gradient to img2 has a sign wrong",
    ),
    Fault(
        "numba-through-y", _BLOCKS, "(by_s, by_d, through_s - through_d, through_s + through_d)",
        "(by_s, by_d, through_s - through_d, through_s - through_d)", _SIZES,
        "what goes to img2 through the means is that of img1",
    ),
    Fault(
        "numba-loss-of-l", _BLOCKS, "loss, gain, loss_l = loss * ratio, gain * ratio, loss_l * ratio",
        "loss, gain, loss_l = loss * ratio, gain, loss_l * ratio", _SIZES, "a part of the slope is not multiplied by l",
    ),
    Fault(
        "numba-flat-is-zero", _BLOCKS, "value = cs = code.select(flat, 1, numerator / denominator)",
        "value = cs = code.select(flat, 0, numerator / denominator)", _BLACK, "cs of 0 / 0 is 0 and not 1",
    ),
    Fault(
        "numba-black-is-zero", _BLOCKS, "value = code.select(black, 1, ratio * cs)",
        "value = code.select(black, 0, ratio * cs)", _BLACK, "black against black is 0 where C1 = 0",
    ),
    Fault(
        "numba-rows-not-counted", _BLOCKS, "there = code.counted(row) < code.number(rows)",
        "there = code.counted(row) <= code.number(rows)", _SIZES, "a row below the map is counted",
    ),
    Fault(
        "numba-moved-squares", _BLOCKS, "code.store(square - change * (mean + moved), at, (2 + m) * plane)",
        "code.store(square - change * mean, at, (2 + m) * plane)", _SIZES,
        "squares from the block before are about another constant",
    ),
    Fault(
        "numba-moved-slopes", _BLOCKS, "zip(through, (of_s + of_d, of_s - of_d), strict=False)",
        "zip(through, (of_s + of_d, of_s + of_d), strict=False)", _SIZES,
        "slopes from the block before are about another constant",
    ),
    Fault(
        "numba-halved-by-seven", _PIXELS, "(even + odd) * 0.125", "(even + odd) * 0.1250001", _MSSSIM,
        "the mean of 2 x 2 pixels is 1e-6 off in whole blocks",
    ),
    Fault(
        "numba-odd-row-dropped", _PIXELS, "(row + 1 if row + 1 < rows else row) * line(taps)",
        "(row + 1 if row + 1 < rows else row - 1) * line(taps)", _MSSSIM,
        "the last row of an odd side is averaged with the one above",
    ),
    Fault(
        "numba-odd-column-dropped", _PIXELS, "k = min(j + 1, columns - 1)", "k = min(j + 1, columns - 2)", _MSSSIM,
        "the last column of an odd side is averaged with the one before",
    ),
    Fault(
        "numba-strided-pixels", _PIXELS, "b = _widen(y_row[i * y[1]])", "b = _widen(y_row[i * x[1]])",
        ("tests/library/test_values.py::test_layout_in_memory_changes_nothing",), "y is read with the strides of x",
    ),
    Fault(
        "numba-shift-of-y", _PIXELS, "out_y[row // 2 * width + j // 2] = (s - d) + shift_y",
        "out_y[row // 2 * width + j // 2] = (s - d) + shift_x", _MSSSIM, "the coarser y is shifted as x",
    ),
    Fault(
        "numba-windows-counted", _SWEEP, "windows = (shapes[level, 0] - down) * (shapes[level, 1] - down)",
        "windows = (shapes[level, 0] - down) * (shapes[level, 1] - down) + 1", _SSIM,
        "the mean divides by one window too many",
    ),
    Fault(
        "numba-strips-added", _SWEEP, "for slot in range(shapes[level, 3]):",
        "for slot in range(min(1, shapes[level, 3])):",
        _SIZES, "only the first strip of a plane counts",
    ),
    Fault(
        "numba-luminance-at-the-finest", _SWEEP, "last, lines, scale = level == levels - 1,",
        "last, lines, scale = level == 0,", _MSSSIM, "l counts at the finest scale and not at the coarsest",
    ),
    Fault(
        "numba-gradient-of-odd-column", _BACKWARD, "weight + weight if j == count - 1 and count % 2 else weight",
        "weight", _GRADIENTS, "the last pixel of an odd row gets half of its gradient",
    ),
    Fault(
        "numba-gradient-of-odd-row", _BACKWARD, "T(0.5) if i == rows - 1 and rows % 2 == 1 else T(0.25)", "T(0.25)",
        _GRADIENTS, "the last row of an odd side gets half of its gradient",
    ),
    Fault(
        "numba-gradient-of-one-scale", _BACKWARD, "share = T(weight * shares[plane * levels + level] /",
        "share = T(weight * shares[plane * levels] /", _GRADIENTS, "every scale has the share of the finest",
    ),
    Fault(
        "numba-gradient-unbounded", _BACKWARD, "value = limit if value > limit else value", "value = value + 0", _LARGE,
        "a gradient beyond the dtype of the image is infinite",
    ),
    Fault(
        "numba-simple-slope", _POOLING, "return slope / 2 if mode == SIMPLE else slope", "return slope", _POOL,
        'the slope of "simple" is twice as large',
    ),
    Fault(
        "numba-relu-keeps-negative", _POOLING, "if mode != RAW and term < 0 else term",
        "if mode == SIMPLE and term < 0 else term",
        _POOL, '"relu" keeps a negative term',
    ),
    Fault(
        "numba-steep-ignored", _POOLING, "(steep if abs(term) < steep else term)", "term", _POOL,
        "the slope of a term of zero is infinite",
    ),
    Fault(
        "numba-sum-not-divided", _POOLING, "slope = shares[k] / each", "slope = shares[k]", _POOL,
        "the slope is that of the sum over planes",
    ),
    Fault(
        "numba-c1-once", _API, "table[:, 1] = 2 * c1 * scale**2", "table[:, 1] = c1 * scale**2", _SSIM, "C1 for 2 C1",
    ),
    Fault(
        "numba-c2-not-scaled", _API, "table[:, 2] = 2 * c2 * scale**2", "table[:, 2] = 2 * c2 * scale",
        ("tests/library/test_values.py::test_dtypes",), "C2 is in other units than the pixels",
    ),
    Fault(
        "numba-gradients-exchanged", _API, "return means, first, second\n", "return means, second, first\n",
        ("tests/library/test_gradients.py::test_gradient_only_where_asked",),
        "the gradient to img2 alone is that to img1",
    ),
)  # fmt: skip
