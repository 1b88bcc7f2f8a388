"""Faults of plain PyTorch, and of the arithmetic that all backends share."""

from . import Fault

_TORCH = "msssim/backends/torch_backend.py"
_CASTING = "msssim/casting.py"
_COMMON = "msssim/backends/common.py"
_MASKED = "msssim/backends/masked.py"
_BORDERS = "msssim/backends/borders.py"
_FILTERS = "msssim/backends/filters.py"
_VARIANCES = "msssim/backends/variances.py"
_SCALES = "msssim/multiscale.py"
_WINDOW = "msssim/window.py"
_RESAMPLE = "msssim/resample.py"
_AXES = "msssim/axes.py"

_SSIM = ("tests/library/test_values.py::test_ssim_of_any_size",)
_MSSSIM = ("tests/library/test_values.py::test_msssim_of_odd_and_even_sizes",)
_METHODS = ("tests/library/test_values.py::test_any_weights_and_both_methods",)
_SIGNED = ("tests/library/test_values.py::test_signed_images",)
_DTYPES = ("tests/library/test_values.py::test_dtypes",)
_FIRST = ("tests/library/test_gradients.py::test_first_derivative",)
_BOTH = ("tests/library/test_values.py::test_both_gradients",)
_ZERO = ("tests/library/test_stability.py::test_zero_denominators_follow_the_rule",)
_FLAT = ("tests/library/test_stability.py::test_flat_and_textured_parts_with_zero_constants",)
_NASTY = ("tests/library/test_stability.py::test_every_nasty_image_against_every_other",)
_FAR = ("tests/library/test_stability.py::test_an_outlier_does_not_cost_precision_elsewhere",)
_MASKS = "tests/library/test_masks.py::"
_POOL = ("tests/library/test_values.py::test_a_product_of_terms_near_zero",)

FAULTS = (
    Fault(
        "plain-mean-in-float32", _TORCH, 'torch.float32 if x.device.type == "mps" else torch.float64', "x.dtype",
        ("tests/library/test_values.py::test_the_mean_is_summed_in_float64",),
        "the mean over the map is added up in float32",
    ),
    Fault(
        "plain-means-not-clamped", _TORCH, "        mu_xy2 = _clamp_at_zero(", "        _clamp_at_zero(", _SIGNED,
        '"covariance" keeps a negative product of the means',
    ),
    Fault(
        "plain-covariance-not-clamped", _TORCH, "sigma_xy4.clamp(min=0)", "sigma_xy4",
        _METHODS, '"covariance" keeps the value of a negative covariance',
    ),
    Fault(
        "plain-covariance-keeps-gradient", _TORCH,
        "torch.where(sigma_xy4 < -eps / 4 * squares, sigma2_sum2, missing)", "missing",
        ("tests/library/test_gradients.py::test_derivatives_at_anticorrelated_windows",),
        "a negative covariance that counts as zero has a gradient",
    ),
    Fault(
        "plain-means-keep-gradient", _TORCH, ".masked_fill(detached < -rounding, 0.0)", "", _BOTH,
        "a negative product of the means that counts as zero has a gradient",
    ),
    Fault(
        "plain-tolerance-ten-times", _TORCH, "sigma_xy4 < -eps / 4 * squares", "sigma_xy4 < -2e-5",
        _BOTH,
        "a covariance that is plainly negative keeps its gradient",
    ),
    Fault(
        "plain-covariance-halved", _TORCH, "(sigma2_s - sigma2_d).detach()", "(sigma2_s - sigma2_d).detach() / 2",
        _SSIM, "2 σxy for 4 σxy",
    ),
    Fault(
        "plain-variance-of-x-alone", _VARIANCES, "gaussian(s * s, taps), gaussian(d * d, taps)",
        "gaussian(s * s, taps), gaussian(s * s, taps)",
        _SSIM, "E[d²] is taken to be E[s²]",
    ),
    Fault(
        "plain-variance-keeps-a-mean", _VARIANCES, "squares_s - mu_s * mu_s, squares_d - mu_d * mu_d",
        "squares_s - mu_s * mu_s, squares_d", _SSIM, "μd² is not taken from E[d²]",
    ),
    Fault(
        "plain-luminance-above-one", _TORCH, "mu_xy2.detach().clamp(-bound, bound)", "mu_xy2.detach() * (1 + 2e-7)",
        ("tests/library/test_stability.py::test_maps_and_values_are_at_most_one",), "l may be above 1",
    ),
    Fault(
        "plain-variance-below-zero", _VARIANCES, "straight_through(sigma2_d, sigma2_d.detach().clamp(min=0))",
        "sigma2_d",
        (*_FLAT, *_NASTY), "rounding may make a variance negative",
    ),
    Fault(
        "plain-c2-in-the-numerator", _TORCH, "_ratio(sigma_xy4 + 2 * pair.c2.detach(),",
        "_ratio(sigma_xy4 + 2.002 * pair.c2.detach(),",
        _SSIM, "C2 is 0.1 % larger above the line of cs",
    ),
    Fault(
        "plain-c1-in-the-denominator", _TORCH, "denominator = mu2_sum + pair.c1",
        "denominator = mu2_sum + 1.001 * pair.c1", _SSIM, "C1 is 0.1 % larger below the line of l",
    ),
    Fault(
        "plain-luminance-at-every-scale", _TORCH, "luminance=level == levels - 1", "luminance=True", _MSSSIM,
        "l counts at every scale",
    ),
    Fault(
        "plain-luminance-at-the-finest", _TORCH, "luminance=level == levels - 1", "luminance=level == 0", _MSSSIM,
        "l counts at the finest scale and not at the coarsest",
    ),
    Fault(
        "plain-shift-of-y-forgotten", _TORCH, "mu_y + pair.shift_y", "mu_y + pair.shift_x", _SSIM,
        "the constant that was taken from y comes back as that of x",
    ),
    Fault(
        "plain-constants-not-rescaled", _TORCH, "c1 / unit**2 * change, c2 / unit**2 * change",
        "c1 / unit**2 * change**0, c2 / unit**2 * change**0",
        ("tests/library/test_values.py::test_images_far_beyond_the_range",),
        "C1 and C2 stay as they are where extreme images are scaled down",
    ),
    Fault(
        "plain-working-unit-ignored", _TORCH, "TAMED / peak, 1 / unit)", "TAMED / peak, 2 / unit)", _SSIM,
        "images are scaled by twice the usual number",
        "C1 and C2 are multiplied by the square of the same number, and a power of two rounds nothing.",
    ),
    Fault(
        "plain-floor-of-odd-sides", _MASKED, "ceil_mode=True", "ceil_mode=False",
        ("tests/suite/test_validation.py::test_a_fault_breaks_a_budget_with_one_pair_of_each_kind",),
        "between scales the last odd row and column are dropped",
    ),
    Fault(
        "plain-odd-sides-padded", _MASKED, "count_include_pad=False)", "count_include_pad=False) * 1.0000001", _MSSSIM,
        "between scales a pixel is 1e-7 brighter",
    ),
    Fault(
        "plain-taps-lose-their-order", _FILTERS, "alpha=-tails[k])", "alpha=-tails[k - 1])", _SSIM,
        "the window is not symmetric",
    ),
    Fault(
        "plain-filter-adjoint-short", _FILTERS, "F.pad(values, [len(tap) - 1 for tap",
        "F.pad(values, [len(tap) // 2 * 2 - 2 for tap",
        _FIRST, "the derivative of the filter misses the border",
    ),
    Fault(
        "plain-gradient-unbounded", _CASTING, "gradient.clamp(-limit, limit).to(ctx.dtype), None",
        "gradient.to(ctx.dtype), None",
        ("tests/library/test_stability.py::test_a_gradient_that_is_too_large_is_clamped",),
        "a gradient beyond the dtype of the image is infinite",
    ),
    Fault(
        "plain-forward-mode-doubled", _CASTING, "return image_tangent.to(ctx.compute_dtype)",
        "return 2 * image_tangent.to(ctx.compute_dtype)", ("tests/library/test_gradients.py::test_forward_mode",),
        "forward mode gives twice the derivative",
    ),
    Fault(
        "plain-flat-is-not-flat", _TORCH, "zero + eps * squares if", "zero if", _FLAT,
        "with C2 = 0 pixels that differ by rounding count as contrast",
    ),
    Fault(
        "plain-black-is-zero", _TORCH, "masked_fill(black, 1.0), cs", "masked_fill(black, 0.0), cs", _ZERO,
        "black against black is 0 where C1 = 0",
    ),
    Fault(
        "plain-ratio-of-zero-is-zero", _TORCH, "masked_fill(is_zero, 1.0)).masked_fill(is_zero, 1.0)",
        "masked_fill(is_zero, 1.0)).masked_fill(is_zero, 0.0)", _ZERO, "0 / 0 is 0 and not 1",
    ),
    Fault(
        "plain-typical-counts-all", _TORCH, "near = x.abs() <= OUTLIER_LIMIT",
        "near = x.abs() <= OUTLIER_LIMIT * 1e30", _FAR,
        "one pixel far beyond the range takes the precision of all others",
    ),
    Fault(
        "plain-extreme-left-alone", _COMMON, "EXTREME, TAMED = 2.0**40, 2.0**20",
        "EXTREME, TAMED = 2.0**80, 2.0**20",
        ("tests/library/test_values.py::test_images_far_beyond_the_range",), "squares of extreme pixels overflow",
    ),
    Fault(
        "plain-weight-in-its-fourth-digit", _SCALES, "0.2856, 0.3001", "0.2857, 0.3001", _MSSSIM,
        "the weight of the second scale",
    ),
    Fault(
        "plain-weights-normalized", _SCALES, 'if method == "wtd_sum" else 1', "if method else 1", _MSSSIM,
        "the weights of the product are made to sum to 1",
    ),
    Fault(
        "plain-sum-not-normalized", _SCALES, 'total = sum(weights) if method == "wtd_sum" else 1', "total = 1",
        _METHODS,
        "the weights of the sum are not made to sum to 1",
    ),
    Fault(
        "plain-simple-of-another-range", _SCALES, "((terms + 1) / 2).relu()", "((terms + 2) / 3).relu()", _METHODS,
        '"simple" is (term + 2) / 3',
    ),
    Fault(
        "plain-simple-below-zero", _SCALES, "((terms + 1) / 2).relu()", "(terms + 1) / 2",
        ("tests/library/test_values.py::test_a_term_just_below_minus_one",),
        '"simple" of a term that rounding put below -1 is negative',
    ),
    Fault(
        "plain-relu-is-abs", _SCALES, "terms = terms.relu()", "terms = terms.abs()", _METHODS, '"relu" is |term|',
    ),
    Fault(
        "plain-pow-eps", _SCALES, "POW_EPS = 1e-16", "POW_EPS = 1e-1", (*_METHODS, *_POOL),
        "the power of a term below 0.1 has another derivative",
    ),
    Fault(
        "plain-no-pow-eps", _SCALES, "near_zero = terms.abs() < POW_EPS", "near_zero = terms.abs() < 0",
        (*_POOL, *_NASTY),
        "the power of a term of zero has an infinite derivative",
    ),
    Fault(
        "plain-fewer-not-normalized", _SCALES, "tuple(weight / total for weight in weights[:levels])",
        "tuple(weight for weight in weights[:levels])",
        ("tests/library/test_values.py::test_small_images_use_as_many_scales_as_fit",),
        'the weights of small="fewer" do not sum to 1',
    ),
    Fault(
        "plain-mean-over-images-summed", _SCALES, "planes.mean() if pooling.reduce_batch",
        "planes.sum() if pooling.reduce_batch",
        ("tests/library/test_values.py::test_images_and_channels_are_compared_separately",),
        "the value of several images is their sum",
    ),
    Fault(
        "plain-uint16-range", _WINDOW, "torch.uint16: 65535.0", "torch.uint16: 65536.0",
        ("tests/library/test_values.py::test_range_of_each_dtype",), "the range of uint16",
    ),
    Fault(
        "plain-uint8-range", _WINDOW, "torch.uint8: 255.0", "torch.uint8: 256.0",
        ("tests/library/test_values.py::test_range_of_each_dtype",), "the range of uint8",
    ),
    Fault(
        "plain-window-center", _WINDOW, "(k - win_size // 2) / sigma", "(k - win_size / 2) / sigma", _SSIM,
        "the window's center is between two pixels",
    ),
    Fault(
        "plain-window-variance", _WINDOW, "math.exp(-0.5 * (offset * offset))", "math.exp(-0.5001 * (offset * offset))",
        _SSIM, "the window's sigma is 0.01 % off",
    ),
    Fault(
        "plain-constants-swapped", _WINDOW, "(K1 * data_range) ** 2, (K2 * data_range) ** 2",
        "(K2 * data_range) ** 2, (K1 * data_range) ** 2", _SSIM, "C1 and C2 are exchanged",
    ),
    Fault(
        "plain-constants-linear-in-range", _WINDOW, "(K1 * data_range) ** 2, (K2", "K1**2 * data_range, (K2", _SSIM,
        "C1 grows with the range and not with its square",
    ),
    Fault(
        "plain-integers-in-float32", _WINDOW, "torch.float64, torch.int32, torch.int64,", "torch.float64, torch.int64,",
        _DTYPES, "32-bit integers are computed in float32",
    ),
    Fault(
        "plain-factor-rounds-down", _RESAMPLE, "/ 256 + 0.5)", "/ 256 + 0.499)",
        ("tests/library/test_values.py::test_downsampling_of_ssim_m",), "384 pixels are not reduced",
    ),
    Fault(
        "plain-mirror-skips-the-edge", _RESAMPLE, "(-1 - i if i < 0 else 2 * size - 1 - i)",
        "(-i if i < 0 else 2 * size - 2 - i)", ("tests/library/test_values.py::test_downsampling_of_ssim_m",),
        "borders are mirrored about the last pixel and not beside it",
    ),
    Fault(
        "plain-even-filter-center", _RESAMPLE, "start = -((factor - 1) // 2)", "start = -(factor // 2)",
        ("tests/library/test_values.py::test_downsampling_of_ssim_m",),
        "the center of an even filter is the pixel after its middle",
    ),
    Fault(
        "plain-size-rule", _AXES, "if all(length >= size * 2 ** (levels - 1) for",
        "if all(length >= size * 2 ** (levels - 1) - 1 for",
        ("tests/library/test_errors.py",), "175 pixels are taken for five scales",
    ),
    Fault(
        "plain-fewer-scales", _AXES, "(length // size).bit_length()", "((length - 1) // size).bit_length()",
        ("tests/library/test_values.py::test_small_images_use_as_many_scales_as_fit",),
        'small="fewer" takes a scale less where one fits exactly',
    ),
    Fault(
        "plain-mask-window-weight", _MASKED, "return correlate(weights.pixels * values, taps) * windows.reciprocal",
        "return correlate(weights.pixels * values, taps) * windows.reciprocal.clamp(max=2)",
        (_MASKS + "test_ssim_against_a_direct_loop",), "windows with little weight are not normalized",
    ),
    Fault(
        "plain-mask-mean-without-weights", _MASKED, "(values.masked_fill(weight == 0, 0) * weight).sum(axes)",
        "(values.masked_fill(weight == 0, 0) * weight.gt(0) * weight.mean()).sum(axes)",
        (_MASKS + "test_ssim_against_a_direct_loop",), "every window with weight counts alike",
    ),
    Fault(
        "plain-mask-not-halved", _MASKED, "halved_means(weights.pixels * image) * reciprocal", "halved_means(image)",
        (_MASKS + "test_msssim_against_a_direct_loop",), "between scales hidden pixels count as the typical value",
    ),
    Fault(
        "plain-mask-inside-ignored", _MASKED, "weight.masked_fill(holes > 0, 0)", "weight",
        (_MASKS + "test_inside_against_a_direct_loop",), '"inside" is "normalized"',
    ),
    Fault(
        "plain-mask-hidden-in-samples", _TORCH, "near = near & ~hidden", "near = near | hidden",
        ("tests/library/test_masks.py::test_a_mask_of_ones_is_no_mask_and_its_scale_does_not_matter",),
        "hidden pixels take part in the typical value",
        "Any typical value gives the same numbers up to rounding, as hidden pixels are replaced first.",
    ),
    Fault(
        "plain-mask-planes-without-weight", _SCALES, "has_index = has_weight.all(-1)", "has_index = has_weight.any(-1)",
        (_MASKS + "test_planes_without_weight_at_one_scale",), "a plane needs weight at one scale only",
    ),
    Fault(
        "plain-reflect-is-symmetric", _BORDERS, 'skipped = 1 if padding == "reflect" else 0', "skipped = 0",
        ("tests/library/test_windows.py::test_padding_equals_padding_by_hand",), '"reflect" repeats the border',
    ),
    Fault(
        "plain-sample-covariance-inverted", _WINDOW, "return (pixels - 1) / pixels", "return pixels / (pixels - 1)",
        ("tests/library/test_windows.py::test_the_default_of_scikit_image",), "C2 is scaled by n / (n - 1)",
    ),
    Fault(
        "plain-range-not-checked", _WINDOW, "data_range.masked_fill(~((data_range >= MIN_RANGE)",
        "data_range.masked_fill(~((data_range >= -1e50)",
        ("tests/library/test_ranges.py::test_a_range_that_is_not_positive_gives_nan",), "a negative range has a value",
    ),
)  # fmt: skip
