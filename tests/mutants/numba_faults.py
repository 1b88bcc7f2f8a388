"""Faults of the kernels for CPUs."""

from . import Fault

_SIMILARITY = "msssim/backends/numba/similarity.py"
_GRADIENT = "msssim/backends/numba/block_gradient.py"
_PIXELS = "msssim/backends/numba/pixels.py"
_HALVING = "msssim/backends/numba/halving.py"
_STRIP = "msssim/backends/numba/strip.py"
_FINISH = "msssim/backends/numba/finish.py"
_BACKWARD = "msssim/backends/numba/backward.py"
_POOLING = "msssim/backends/numba/pooling.py"
_API = "msssim/backends/numba/api.py"
_PLAN = "msssim/backends/numba/plan.py"

_SIZES = ("tests/kernels/test_numba_backend.py::test_ssim_and_both_gradients_at_sizes_around_those_of_a_tile",)
_SSIM = ("tests/library/test_values.py::test_ssim_of_any_size",)
_MSSSIM = ("tests/library/test_values.py::test_msssim_of_odd_and_even_sizes",)
_GRADIENTS = ("tests/library/test_values.py::test_both_gradients",)
_BLACK = ("tests/library/test_stability.py::test_zero_denominators_follow_the_rule",)
_LARGE = ("tests/library/test_stability.py::test_a_gradient_that_is_too_large_is_clamped",)
_ZEROS = ("tests/kernels/test_numba_zeros.py::test_no_padded_image_is_made",)
_MASKED = ("tests/kernels/test_numba_masks.py::test_value_and_gradients_in_float64",)
_POOL = ("tests/kernels/test_pool.py::test_matches_multiscale_pool_and_its_derivative",)

FAULTS = (
    Fault(
        "numba-variance-of-d", _SIMILARITY, "squares_s + squares_d, of_s + of_d", "squares_s + squares_d, of_s",
        _SSIM, "σd² is missing below the line of cs",
    ),
    Fault(
        "numba-covariance-sign", _SIMILARITY, "difference = of_s - of_d", "difference = of_s + of_d", _SSIM,
        "σxy is taken to be the sum of the variances",
    ),
    Fault(
        "numba-square-of-s-for-d", _SIMILARITY, "square_s, square_d = of_s * of_s, of_d * of_d",
        "square_s, square_d = of_s * of_s, of_s * of_d", _SSIM, "l has μs μd in the place of μd²",
    ),
    Fault(
        "numba-shifts-forgotten", _SIMILARITY,
        "of_s, of_d = moments[0] + constants.shift_s, moments[1] + constants.shift_d", "of_s, of_d = moments[:2]",
        _SSIM,
        "l is of the means less what was taken from the pixels",
    ),
    Fault(
        "numba-gradient-of-y", _GRADIENT, "(of_s - of_d if number else of_s + of_d)",
        "(of_s + of_d if number else of_s + of_d)",
        _SIZES, "the gradient to img2 has a sign wrong",
    ),
    Fault(
        "numba-through-y", _SIMILARITY, "(by_s, by_d, through_s - through_d, through_s + through_d)",
        "(by_s, by_d, through_s - through_d, through_s - through_d)", _SIZES,
        "what goes to img2 through the means is that of img1",
    ),
    Fault(
        "numba-loss-of-l", _SIMILARITY, "by_s, by_d = by_s * light[0].value, by_d * light[0].value",
        "by_s, by_d = by_s * light[0].value, by_d", _SIZES, "a part of the slope is not multiplied by l",
    ),
    Fault(
        "numba-lack-of-cs", _SIMILARITY, "lack, excess = (part * twice for part in self.parts)",
        "lack, excess = (part * self.inverse for part in self.parts)", _SIZES, "1 - cs and 1 - l are half as large",
    ),
    Fault(
        "numba-cut-keeps-gradient", _SIMILARITY, "return code.select(self.cut, -self.value, lack)",
        "return code.select(self.cut, lack, lack)",
        ("tests/library/test_gradients.py::test_derivatives_at_anticorrelated_windows",),
        "a negative covariance that counts as 0 has a derivative",
    ),
    Fault(
        "numba-difference-of-rounded", _PIXELS, "if code.element == FLOAT32:", "if code.element != FLOAT32:",
        ("tests/kernels/test_numba_accuracy.py",), "x - y is made of pixels that were rounded",
    ),
    Fault(
        "numba-near-zero-in-float32", _FINISH, "| (least.get() < LEAST_MEAN)", "",
        ("tests/kernels/test_numba_accuracy.py",), "a mean near zero stays in float32",
    ),
    Fault(
        "numba-flat-is-zero", _SIMILARITY, "value = cs = code.select(flat, 1, numerator / denominator)",
        "value = cs = code.select(flat, 0, numerator / denominator)", _BLACK, "cs of 0 / 0 is 0 and not 1",
    ),
    Fault(
        "numba-black-is-zero", _SIMILARITY, "value = code.select(black, 1, ratio * cs)",
        "value = code.select(black, 0, ratio * cs)", _BLACK, "black against black is 0 where C1 = 0",
    ),
    Fault(
        "numba-rows-not-counted", _SIMILARITY, "there = code.counted(row) < code.real(rows)",
        "there = code.counted(row) <= code.real(rows)", _SIZES, "a row below the map is counted",
    ),
    Fault(
        "numba-moved-squares", _GRADIENT, "code.store(square - changes[m] * (mean + moved), ",
        "code.store(square - changes[m] * mean, ", _SIZES,
        "squares from the block before are about another constant",
    ),
    Fault(
        "numba-moved-slopes", _GRADIENT, "zip(through, (of_s + of_d, of_s - of_d), strict=False)",
        "zip(through, (of_s + of_d, of_s + of_d), strict=False)", _SIZES,
        "slopes from the block before are about another constant",
    ),
    Fault(
        "numba-halved-by-seven", _HALVING, "total * 0.25 + shift", "total * 0.2500002 + shift", _MSSSIM,
        "the mean of 2 x 2 pixels is 1e-6 off in whole blocks",
    ),
    Fault(
        "numba-odd-row-dropped", _HALVING, "code.select(row + 1 < rows, row + 1, row)",
        "code.select(row + 1 < rows, row + 1, row - 1)", _MSSSIM,
        "the last row of an odd side is averaged with the one above",
    ),
    Fault(
        "numba-odd-column-dropped", _HALVING, "k = code.min(j + 1, columns - 1)", "k = code.min(j + 1, columns - 2)",
        _MSSSIM,
        "the last column of an odd side is averaged with the one before",
    ),
    Fault(
        "numba-strided-pixels", _PIXELS, "y_row[i * y.step]", "y_row[i * x.step]",
        ("tests/library/test_values.py::test_layout_in_memory_changes_nothing",), "y is read with the strides of x",
    ),
    Fault(
        "numba-shift-of-y", _HALVING, "enumerate(zip(targets, shifts, strict=False))",
        "enumerate(zip(targets, (shifts[0], shifts[0]), strict=False))", _MSSSIM, "the coarser d is shifted as s",
    ),
    Fault(
        "numba-windows-counted", _FINISH, "windows = (shape.height + beyond) * (shape.width + beyond)",
        "windows = (shape.height + beyond) * (shape.width + beyond) + 1", _SSIM,
        "the mean divides by one window too many",
    ),
    Fault(
        "numba-strips-added", _FINISH, "for slot in code.range(shape.n_strips):",
        "for slot in code.range(code.min(shape.n_strips, 1)):",
        _SIZES, "only the first strip of a plane counts",
    ),
    Fault(
        "numba-luminance-at-the-finest", _STRIP, "zip(branches, (True, False), strict=True)",
        "zip(branches, (False, True), strict=True)", _MSSSIM, "l counts at all scales but the coarsest",
    ),
    Fault(
        "numba-gradient-of-odd-column", _BACKWARD, "common = code.select(alone_in_mean, weight + weight, weight)",
        "common = weight", _GRADIENTS, "the last pixel of an odd row gets half of its gradient",
    ),
    Fault(
        "numba-gradient-of-odd-row", _BACKWARD, "code.select(odd, code.real(0.5), code.real(0.25))", "code.real(0.25)",
        _GRADIENTS, "the last row of an odd side gets half of its gradient",
    ),
    Fault(
        "numba-gradient-of-one-scale", _BACKWARD, "upstream[plane * call.n_levels + level]",
        "upstream[plane * call.n_levels]", _GRADIENTS, "every scale has the share of the finest",
    ),
    Fault(
        "numba-gradient-unbounded", _BACKWARD, "value = code.select(value > limit, limit, value)",
        "value = value * 1", _LARGE,
        "a gradient beyond the dtype of the image is infinite",
    ),
    Fault(
        "numba-simple-slope", _POOLING, "slope_of_term = code.select(mode == SIMPLE, slope / 2, slope)",
        "slope_of_term = slope", _POOL,
        'the slope of "simple" is twice as large',
    ),
    Fault(
        "numba-relu-keeps-negative", _POOLING, "code.select((mode != RAW) & (term < 0), 0.0, term)",
        "code.select((mode == SIMPLE) & (term < 0), 0.0, term)",
        _POOL, '"relu" keeps a negative term',
    ),
    Fault(
        "numba-steep-ignored", _POOLING, "code.select(abs(term) < pow_eps, pow_eps, term)", "term", _POOL,
        "the slope of a term of zero is infinite",
    ),
    Fault(
        "numba-sum-not-divided", _POOLING, "slope = weights[k] / call.n_planes", "slope = weights[k]", _POOL,
        "the slope is that of the sum over planes",
    ),
    Fault(
        "numba-c1-once", _PLAN, "twice_c1, twice_c2 = 2 * c1 * scale**2,", "twice_c1, twice_c2 = c1 * scale**2,",
        _SSIM, "C1 for 2 C1",
    ),
    Fault(
        "numba-c2-not-scaled", _PLAN, ", 2 * c2 * scale**2\n", ", 2 * c2 * scale\n",
        ("tests/library/test_values.py::test_dtypes",), "C2 is in other units than the pixels",
    ),
    Fault(
        "numba-gradients-exchanged", _API, "means_and_gradients(img2, img1, *options, True, False, border)",
        "means_and_gradients(img1, img2, *options, True, False, border)",
        ("tests/library/test_gradients.py::test_gradient_only_where_required",),
        "the gradient to img2 alone is that to img1",
    ),
    Fault(
        "numba-zeros-not-shifted", _PIXELS, "zero = code.splat(-shift)", "zero = code.splat(0)", _ZEROS,
        "around the image there is the constant of the block",
    ),
    Fault(
        "numba-zeros-below-missing", _PIXELS, "(inside.bottom < rows)", "(inside.bottom < 0)", _ZEROS,
        "below the image there is what the block before left",
    ),
    Fault(
        "numba-zeros-not-counted", _FINISH, "beyond = call.border * 2 - layout.halo", "beyond = 0 - layout.halo",
        _ZEROS, "the mean is over the windows inside the image",
    ),
    Fault(
        "numba-zeros-first-window", _STRIP, "return strip.left - strip.border + layout.halo",
        "return strip.border * 0 + layout.halo", _ZEROS, "windows begin at columns that are there for alignment only",
    ),
    Fault(
        "numba-zeros-gradient-row", _STRIP, "for row in code.range(above, block.rows):",
        "for row in code.range(above + 1, block.rows):", _ZEROS, "the first row of the image gets no gradient",
    ),
    Fault(
        "numba-zeros-halo-of-backward", "msssim/backends/ops.py", "halo = 0 if border else len(taps) - 1",
        "halo = len(taps) - 1", _ZEROS, "the gradient is divided by the number of windows inside the image",
    ),
    Fault(
        "numba-mask-mean-of-the-map", _SIMILARITY, "total.set(code.fma(found.value, weight, total.get()))",
        "total.set(total.get() + found.value)", _MASKED, "windows of little weight count as much as others",
    ),
    Fault(
        "numba-mask-moved-moments", _GRADIENT,
        "moved = mean - changes[m] * code.load(at, COLUMNS * ROWS + 4 * layout.moment_plane)",
        "moved = mean - scaled[m]", _MASKED, "moments are brought to other constants as if all weights were 1",
    ),
    Fault(
        "numba-mask-hidden-pixels", _PIXELS, "weight = code.load_real(mask.pixels + row * mask.below, at)\n",
        "weight = code.load_real(mask.pixels + row * mask.below, at) + 1e-30\n",
        ("tests/kernels/test_numba_masks.py::test_what_is_hidden_changes_no_bit",), "a NaN that is hidden is used",
    ),
    Fault(
        "numba-mask-unweighted-squares", "msssim/backends/numba/filters.py",
        "return weighted * value if square else weighted", "return value * value if square else weighted", _MASKED,
        "E[s²] is the sum of squares without weights",
    ),
    Fault(
        "numba-mask-plain-halving", _HALVING,
        "lines = [line * weight for line, weight in zip(lines, weights, strict=True)]",
        "lines = [line * 1.0 for line in lines]", _MASKED, "the next scale's pixels are sums without weights",
    ),
    Fault(
        "numba-mask-coarser-weights", _HALVING,
        "results.append(code.select(factor > 0, total * 0.25, 0))",
        "results.append(code.select(factor > 0, total * 0.3, 0))", _MASKED,
        "the next scale's weights differ between whole blocks and others",
    ),
    Fault(
        "numba-mask-gradient-weights", "msssim/backends/numba/masks.py", "upstream.double() / mean_weights(",
        "upstream.double() * mean_weights(", _MASKED, "gradients are multiplied by the mean weight",
    ),
    Fault(
        "numba-mask-block-at-the-left", _STRIP, "reached = uniform[0] & left[0], uniform[1] & left[1]",
        "reached = uniform[0], uniform[1] & left[1]", _MASKED,
        "windows that reach into a block with hidden pixels are computed as if it had none",
    ),
    Fault(
        "numba-mask-hidden-moments", _STRIP, "COLUMNS * ROWS, layout.moments, layout.moment_plane)",
        "COLUMNS * ROWS, layout.moments - 1, layout.moment_plane)", _MASKED,
        "hidden blocks leave the weights of another block to the block at the right",
    ),
    Fault(
        "numba-mask-pixels-of-the-gradient", _BACKWARD,
        "out[j] = code.select(weight > 0, out[j] * weight, code.real(0))", "out[j] = out[j]", _MASKED,
        "the last pixels of a row get a gradient as if their weight was 1",
    ),
    Fault(
        "numba-mask-nan-under-zero", _BACKWARD,
        "code.select(several > 0, code.load(out, at) * several, 0)", "code.load(out, at) * several",
        ("tests/library/test_masks.py::test_hidden_pixels_have_no_gradient_where_the_value_is_nan",),
        "hidden pixels get a gradient of NaN where the value is NaN",
    ),
    Fault(
        "numba-mask-plane-without-weight", "msssim/backends/fused_masks.py", "if (weights > 0).all():",
        "if (weights >= 0).all():",
        ("tests/kernels/test_numba_masks.py::test_gradients_of_terms_and_planes_without_weight",),
        "a plane without weight has the index 0",
    ),
)  # fmt: skip
