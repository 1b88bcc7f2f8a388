"""Values, against a second implementation and against properties that hold for all images."""

import math
import warnings

import numpy as np
import pytest
import torch

import msssim
from msssim import multiscale, ranges

WEIGHTS3 = (0.2, 0.5, 0.3)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def close(actual, expected, tolerance=1e-12):
    torch.testing.assert_close(actual, torch.as_tensor(expected).to(actual.dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(11, 11), (11, 40), (41, 12), (37, 53), (64, 64)])
@pytest.mark.parametrize(
    "options", [{}, dict(win_size=5, sigma=0.8), dict(win_size=3, K1=0.05, K2=0.2, data_range=2.0)]
)
def test_ssim_of_any_size(shape, options, pair, naive, backend):
    x, y = pair(2, 3, *shape)
    expected, _ = naive(x, y, **options)
    close(msssim.ssim(x, y, reduction="none", backend=backend, **options), expected[..., 0].mean(-1))
    close(msssim.ssim(x, y, backend=backend, **options), expected.mean())


# Odd at no scale, at the first, in the middle, at the last, on one side, at all of them.
@pytest.mark.parametrize("shape", [(176, 176), (177, 192), (178, 182), (176, 183), (191, 200), (241, 177)])
@pytest.mark.parametrize("normalize", [None, "covariance"])
def test_msssim_of_odd_and_even_sizes(shape, normalize, pair, naive_msssim, backend):
    x, y = pair(1, 1, *shape)
    close(
        msssim.msssim(x, y, normalize=normalize, reduction="none", backend=backend),
        naive_msssim(x, y, normalize=normalize).mean(-1),
    )


@pytest.mark.parametrize("method", ["product", "wtd_sum"])
@pytest.mark.parametrize("weights", [(1.0,), (0.3, 0.9), WEIGHTS3, (1, 2, 3, 4), (1e-3, 5.0)])
@pytest.mark.parametrize("normalize", ["relu", "simple", "covariance"])
def test_any_weights_and_both_methods(method, weights, normalize, pair, naive_msssim, backend):
    options = dict(weights=weights, method=method, normalize=normalize, win_size=5)
    for noise in (0.3, 1.0):  # 1.0: independent images, half of the windows are anticorrelated
        x, y = pair(2, 2, 43, 57, noise=noise)
        value = msssim.msssim(x, y, reduction="none", backend=backend, **options)
        close(value, naive_msssim(x, y, **options).mean(-1))


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda w: np.array(w, np.float32)])
def test_weights_in_any_container(kind, pair):
    x, y = pair(1, 1, 44, 44)
    expected = msssim.msssim(x, y, weights=(0.25, 0.5, 0.25))
    close(msssim.msssim(x, y, weights=kind([0.25, 0.5, 0.25])), expected)
    close(msssim.MSSSIM(weights=kind([0.25, 0.5, 0.25]))(x, y), expected)


def test_normalize_true_is_simple_and_false_is_none(pair, backend):
    x, y = pair(1, 1, 44, 44, noise=0.9)
    for short, long in ((True, "simple"), (False, None)):
        options = dict(weights=(0.5, 0.5), backend=backend)
        expected = msssim.msssim(x, y, normalize=long, **options)
        assert msssim.msssim(x, y, normalize=short, **options) == expected
        assert msssim.MSSSIM(normalize=short, **options)(x, y) == expected


def test_negative_mean_gives_nan_in_the_product_and_a_number_in_the_sum(pair, backend):
    x, _ = pair(1, 1, 44, 44)
    options = dict(weights=WEIGHTS3, backend=backend)
    assert msssim.msssim(x, 1 - x, **options).isnan()
    assert -1 <= msssim.msssim(x, 1 - x, method="wtd_sum", **options) < 0
    assert msssim.msssim(x, 1 - x, normalize="relu", **options) == 0
    assert msssim.msssim(x, 1 - x, normalize="simple", **options) > 0
    assert msssim.msssim(x, 1 - x, normalize="covariance", **options) > 0


@pytest.mark.parametrize("normalize", ["relu", "simple", "covariance"])
@pytest.mark.parametrize("method", ["product", "wtd_sum"])
def test_signed_images(normalize, method, pair, naive_msssim, backend):
    """Means and covariances of either sign, each with the other: "covariance" takes max(., 0) of both."""
    x, y = signed(pair)
    options = dict(weights=(0.4, 0.6), normalize=normalize, method=method, data_range=2.0, win_size=5)
    value = msssim.msssim(x, y, reduction="none", backend=backend, **options)
    close(value, naive_msssim(x, y, **options).mean(-1))


def signed(pair):
    """Two images from -1 to 1 whose windows have means of the same sign and of opposite ones."""
    x, y = pair(1, 2, 43, 57, noise=0.9)
    light = torch.linspace(-1, 1, 57, dtype=x.dtype)
    return 0.5 * x + 0.5 * light, 0.5 * y - 0.5 * light.roll(20)


@pytest.mark.parametrize("normalize", [None, "relu", "simple", "covariance"])
@pytest.mark.parametrize("method", ["product", "wtd_sum"])
def test_both_gradients(normalize, method, pair, naive_msssim, backend):
    """Against autograd through the second implementation, for each image."""
    options = dict(weights=(0.4, 0.6), normalize=normalize, method=method, data_range=2.0, win_size=5)
    images = pair(1, 2, 33, 37, noise=0.5) if normalize is None else signed(pair)
    images = [image.requires_grad_() for image in images]
    ours = torch.autograd.grad(msssim.msssim(*images, backend=backend, **options), images)
    expected = torch.autograd.grad(naive_msssim(*images, **options).mean(), images)
    for gradient, right in zip(ours, expected, strict=True):
        assert right.abs().max() > 1e-5
        torch.testing.assert_close(gradient, right, rtol=0, atol=1e-11 * right.abs().max().item())


def test_the_mean_is_summed_in_float64(pair):
    """The value equals the mean of the map bit for bit; a float32 sum would differ for one of these seeds."""
    for seed in range(6):
        x, y = pair(1, 1, 61, 67, dtype=torch.float32, seed=seed)
        value, map = msssim.ssim(x, y, full=True)
        assert value == map.mean(dtype=torch.float64).float()


def test_range_of_each_dtype(pair):
    """The range that data_range=None implies."""
    expected = {torch.uint8: 255, torch.uint16: 65535, torch.bool: 1, **dict.fromkeys(DTYPES, 1)}
    for dtype, data_range in expected.items():
        assert ranges.resolved(None, dtype) == data_range
        x, y = pair(1, 1, 13, 14, dtype=dtype)
        implied, given = (msssim.ssim(x, y, data_range=each, backend="torch") for each in (None, data_range))
        assert implied == given


@pytest.mark.filterwarnings("ignore:data_range is:UserWarning")
@pytest.mark.parametrize("exponent", [50, 88])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_images_far_beyond_the_range(dtype, exponent, pair, naive, backend):
    """So large that backends scale them, and C1 and C2, before they square."""
    x, y = (image * 2.0**exponent for image in pair(1, 1, 24, 25, dtype=dtype, noise=0.9))
    for K1, K2 in ((0.01, 0.03), (0.01, 1000), (1000, 0.03)):
        options = dict(K1=K1, K2=K2, data_range=2.0**9)
        expected = naive(x, y, **options)[0].mean()
        close(msssim.ssim(x, y, backend=backend, **options), expected, 1e-12 if dtype == torch.float64 else 3e-6)


@pytest.mark.parametrize("weights", [(0.3, 0.7), (2.0, 0.5)], ids=str)
def test_a_product_of_terms_near_zero(weights):
    """The derivative of x^w is right down to 1e-15 and finite at 0; the other terms are not affected."""
    for least in (1e-3, 1e-9, 1e-15):
        terms = torch.tensor([[[least, 0.5]]], dtype=torch.float64, requires_grad=True)
        value = multiscale.combine(terms, weights, "covariance", "product")
        (slopes,) = torch.autograd.grad(value.sum(), terms)
        expected = [weight * value.item() / term for weight, term in zip(weights, (least, 0.5), strict=True)]
        assert slopes.flatten().tolist() == pytest.approx(expected, rel=1e-10)
    terms = torch.tensor([[[0.0, 0.5]]], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(multiscale.combine(terms, weights, "covariance", "product").sum(), terms)
    assert slopes.isfinite().all()


def test_a_term_just_below_minus_one():
    """Rounding may produce it; "simple" clamps it to 0, so that its power is not NaN."""
    terms = torch.tensor([[[-1 - 1e-15, 0.5]]], dtype=torch.float64)
    assert multiscale.combine(terms, (0.3, 0.7), "simple", "product") == 0


def test_scales_are_the_terms_of_each_scale_and_channel(pair, naive, backend):
    x, y = pair(2, 3, 47, 61)
    options = dict(weights=WEIGHTS3, scales=True, backend=backend)
    value, terms = msssim.msssim(x, y, **options)
    ssim, cs = naive(x, y, 3)
    close(terms, torch.cat([cs[..., :-1], ssim[..., -1:]], -1))
    close(value, terms.pow(torch.tensor(WEIGHTS3, dtype=terms.dtype)).prod(-1).mean())
    # the terms are those before "relu" or "simple", and of float32 images in float32
    for normalize in ("relu", "simple"):
        close(msssim.msssim(x, y, normalize=normalize, **options)[1], terms)
    assert msssim.msssim(x.float(), y.float(), **options)[1].dtype == torch.float32
    close(msssim.msssim(x[0, 0], y[0, 0], **options)[1], terms[0, 0])


def test_full_map_is_right_at_every_position(pair, naive):
    x, y = pair(2, 3, 13, 15)
    _, map = msssim.ssim(x, y, full=True)
    for row in range(map.shape[-2]):
        for column in range(map.shape[-1]):
            window = np.s_[..., row : row + 11, column : column + 11]
            close(map[..., row, column], naive(x[window], y[window])[0][..., 0])


@pytest.mark.parametrize("shape", [(255, 300), (383, 400), (384, 400), (400, 385), (645, 650)])
def test_downsampling_of_ssim_m(shape, pair, naive, backend):
    """MATLAB: f = max(1, round(min(H, W) / 256)), imfilter(img, ones(f) / f², 'symmetric'), img(1:f:end, 1:f:end)."""
    x, y = pair(1, 1, *shape)
    factor = max(1, math.floor(min(shape) / 256 + 0.5))
    before = (factor - 1) // 2  # MATLAB's centre of an even filter is the pixel before its middle

    def reduced(image):
        padded = np.pad(image[0, 0].numpy(), (before, factor - 1 - before), mode="symmetric")
        means = np.lib.stride_tricks.sliding_window_view(padded, (factor, factor)).mean((-2, -1))
        return torch.from_numpy(means[::factor, ::factor].copy())[None, None]

    close(msssim.ssim(x, y, downsample="auto", backend=backend), naive(reduced(x), reduced(y))[0].mean())


@pytest.mark.parametrize(
    "size, levels", [(175, 4), (88, 4), (87, 3), (44, 3), (43, 2), (22, 2), (21, 1), (11, 1), (176, 5)]
)
def test_small_images_use_as_many_scales_as_fit(size, levels, pair, backend):
    x, y = pair(1, 1, size, size + 30)
    weights = msssim.WEIGHTS[:levels] if levels < 5 else msssim.WEIGHTS
    total = sum(weights) if levels < 5 else 1.0
    expected = msssim.msssim(x, y, weights=[weight / total for weight in weights], backend=backend)
    close(msssim.msssim(x, y, small="fewer", backend=backend), expected)
    assert msssim.msssim(x, y, small="fewer", scales=True, backend=backend)[1].shape == (1, 1, levels)


def test_images_and_channels_are_compared_separately(pair, backend):
    x, y = pair(3, 2, 45, 50)
    options = dict(weights=WEIGHTS3, backend=backend)
    each = msssim.msssim(x, y, reduction="none", **options)
    close(msssim.msssim(x, y, **options), each.mean())
    for n in range(3):
        close(msssim.msssim(x[n], y[n], **options), each[n])
        close(torch.stack([msssim.msssim(x[n, c], y[n, c], **options) for c in range(2)]).mean(), each[n])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_invariances(dtype, pair, backend):
    x, y = pair(2, 2, 45, 50, dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 3e-6
    for index in (
        lambda a, b, **options: msssim.ssim(a, b, backend=backend, **options),
        lambda a, b, **options: msssim.msssim(a, b, weights=WEIGHTS3, backend=backend, **options),
    ):
        value = index(x, y)
        assert 0 < value < 1
        close(index(x, x), 1.0, tolerance)
        close(index(y, x), value, tolerance)
        close(index(x.mT, y.mT), value, tolerance)
        close(index(x.flip(1), y.flip(1)), value, tolerance)
        close(index(x * 8, y * 8, data_range=8), value, tolerance)
        if dtype.itemsize > 2:
            close(index(x * 255, y * 255, data_range=255), value, tolerance)
    # a mirrored image gives the same value at one scale; at several the last odd row would be another one
    close(msssim.ssim(x.flip(-1), y.flip(-1), backend=backend), msssim.ssim(x, y, backend=backend), tolerance)


@pytest.mark.parametrize(
    "dtype", [*DTYPES, torch.uint8, torch.uint16, torch.bool, torch.int16, torch.int32, torch.int64]
)
def test_dtypes(dtype, pair, naive, naive_msssim, backend):
    x, y = pair(2, 2, 45, 50, dtype=dtype)
    wide = dtype in (torch.float64, torch.int32, torch.int64)
    data_range = {
        torch.uint8: 255,
        torch.uint16: 65535,
        torch.int16: 32767,
        torch.int32: 65535,
        torch.int64: 65535,
    }.get(dtype, 1)
    implied = dtype.is_floating_point or dtype in (torch.bool, torch.uint8, torch.uint16)
    for given in (None, data_range) if implied else (data_range,):
        options = dict(data_range=given, backend=backend)
        ssim = msssim.ssim(x, y, **options)
        several = msssim.msssim(x, y, weights=WEIGHTS3, normalize="simple", **options)
        assert ssim.dtype == several.dtype == (torch.float64 if wide else torch.float32)
        tolerance = 1e-12 if wide else 3e-6
        close(ssim, naive(x, y, data_range=data_range)[0].mean(), tolerance)
        expected = naive_msssim(x, y, weights=WEIGHTS3, normalize="simple", data_range=data_range).mean()
        close(several, expected, tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_autocast_changes_nothing(dtype, pair, backend):
    x, y = pair(1, 2, 45, 50, dtype=dtype)
    for index in (msssim.SSIM(backend=backend), msssim.MSSSIM(weights=WEIGHTS3, normalize="simple", backend=backend)):
        x.grad = None
        (plain_gradient,) = torch.autograd.grad(index(x.requires_grad_(), y), x)
        with torch.autocast("cpu", torch.bfloat16):
            value = index(x, y)
        (gradient,) = torch.autograd.grad(value, x)
        close(value.detach(), index(x, y).detach(), 0)
        assert torch.equal(gradient, plain_gradient)


MEMORY = {
    "channels_last": lambda image: image.to(memory_format=torch.channels_last),
    "transposed": lambda image: image.mT.contiguous().mT,
    "sliced": lambda image: torch.nn.functional.pad(image, (3, 5, 2, 1), value=9.0)[..., 2:-1, 3:-5],
    "every other": lambda image: image.repeat_interleave(2, -1)[..., ::2],
    "channels moved": lambda image: image.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "offset": lambda image: torch.cat([image[:1], image])[1:],
}


@pytest.mark.parametrize("layout", MEMORY)
def test_layout_in_memory_changes_nothing(layout, pair, backend):
    x, y = pair(2, 3, 45, 50)
    for a, b in ((MEMORY[layout](x), y), (x, MEMORY[layout](y)), (MEMORY[layout](x), MEMORY[layout](y))):
        assert torch.equal(a, x) and torch.equal(b, y)
        close(msssim.ssim(a, b, backend=backend), msssim.ssim(x, y, backend=backend), 1e-15)
        two = dict(weights=(0.5, 0.5), backend=backend)
        close(msssim.msssim(a, b, **two), msssim.msssim(x, y, **two), 1e-15)


def test_expanded_images(pair, backend):
    x, y = pair(1, 1, 45, 50)
    many = msssim.ssim(x.expand(4, 3, -1, -1), y.expand(4, 3, -1, -1), reduction="none", backend=backend)
    close(many, msssim.ssim(x, y, backend=backend).expand(4), 1e-15)
    column = x[..., :1].expand(-1, -1, -1, 50)
    close(msssim.ssim(column, y, backend=backend), msssim.ssim(column.contiguous(), y, backend=backend), 1e-15)


def test_images_are_not_modified(pair, backend):
    for dtype in (torch.float64, torch.float32, torch.uint8):
        x, y = pair(2, 3, 45, 50, dtype=dtype)
        before = x.clone(), y.clone()
        msssim.ssim(x, y, backend=backend)
        msssim.msssim(x, y, weights=WEIGHTS3, normalize="covariance", backend=backend)
        assert torch.equal(x, before[0]) and torch.equal(y, before[1])


@pytest.mark.parametrize(
    "call", [msssim.ssim, msssim.msssim, msssim.SSIM(), msssim.MSSSIM()], ids=lambda call: repr(call)[:12]
)
def test_images_beyond_the_range_give_one_warning_at_the_callers_line(call, pair):
    x, y = pair(1, 1, 176, 176, dtype=torch.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(255 * x, 255 * y)
    (warning,) = caught
    assert warning.category is UserWarning and warning.filename == __file__
    assert str(warning.message).startswith("data_range is 1, that of torch.float32, but ") and "data_range=255" in str(
        warning.message
    )


def test_no_warning_where_the_range_may_be_correct(pair):
    """Pytest's filterwarnings = error turns any warning into a failure."""
    x, y = pair(1, 1, 45, 50, dtype=torch.float32)
    msssim.ssim(x, y)
    msssim.ssim(255 * x, 255 * y, data_range=255)
    msssim.ssim(1.4 * x - 0.2, y)  # an output that overshoots
    msssim.ssim(255 * x - 128, y)  # one of the two alone: a network at its start
    msssim.ssim((255 * x).byte(), (255 * y).byte())
    with pytest.warns(UserWarning, match="2 for images in"):
        msssim.ssim(2 * x - 1, 2 * y - 1)
