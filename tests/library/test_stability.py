"""In every mode but None, value and both gradients are finite for every finite input."""

import functools
import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import msssim
from validation import tolerances

# These images exceed the range on purpose; test_values.py tests the warning.
pytestmark = pytest.mark.filterwarnings("ignore:data_range is:UserWarning")

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
MODES = [*itertools.product(["relu", "simple", "covariance"], ["product", "wtd_sum"])]


def assert_finite(x, y, lowest, index, **options):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = index(x, y, **options)
    assert lowest - 1e-5 <= value.item() <= 1 + 1e-5, value
    value.backward()
    assert x.grad.isfinite().all() and y.grad.isfinite().all(), "gradient"


def assert_stable(x, y, **options):
    """All modes and methods and plain SSIM, at one and at two scales."""
    ssim_options = {name: value for name, value in options.items() if name != "weights"}
    assert_finite(x, y, -1, msssim.ssim, **ssim_options)
    for normalize, method in MODES:
        assert_finite(x, y, 0, msssim.msssim, normalize=normalize, method=method, **options)


def nasty_images(dtype, height=12, width=13):
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(height, width, generator=generator, dtype=torch.float64)
    info = torch.finfo(dtype)
    checks = ((torch.arange(height)[:, None] + torch.arange(width)) % 2).double()
    some = noise < 0.1
    images = {
        "black": torch.zeros_like(noise),
        "white": torch.ones_like(noise),
        "flat": torch.full_like(noise, 0.3),
        "almost flat": 0.3 + info.eps * (noise > 0.5).double(),
        "noise": noise,
        "negative": 1 - noise,
        "below zero": -noise,
        "centred": noise - noise.mean(),
        "checks": checks,
        "other checks": 1 - checks,
        "half flat": torch.where(torch.arange(width) < width // 2, 0.5, noise),
        "checks of both signs": (checks * 2 - 1),
        "largest": torch.full_like(noise, info.max),
        "largest of both signs": (checks * 2 - 1) * info.max,
        "noise up to the largest": noise * info.max,
        "denormal": noise * info.smallest_normal,
        "least denormal": (noise > 0.5).double() * info.smallest_normal * info.eps,
        "tiny": noise * info.smallest_normal**0.5,
        "huge": noise * info.max**0.5,
        "tiny and huge": torch.where(some, info.max * noise, info.smallest_normal),
        "normal and huge": torch.where(some, info.max * noise, noise),
        "every magnitude": torch.exp2((noise - 0.5) * 2 * torch.tensor(info.max, dtype=torch.float64).log2()),
        "one pixel": torch.zeros_like(noise).index_put((torch.tensor(5), torch.tensor(6)), torch.ones(()).double()),
        "one huge pixel": noise.index_put(
            (torch.tensor(5), torch.tensor(6)), torch.tensor(info.max, dtype=torch.float64)
        ),
    }
    return {name: image.clamp(-info.max, info.max).to(dtype)[None, None] for name, image in images.items()}


# The first run always, the others with the slow tests.
CONSTANTS = [{}, dict(K1=0.0, K2=0.0), dict(K1=1e-9, K2=1e-9)]
CONSTANTS += [
    pytest.param(constants, marks=pytest.mark.full)
    for constants in (
        dict(K1=0.0), dict(K2=0.0), dict(K1=1e-18, K2=1e-18), dict(K1=0.0, K2=1e-18),
        dict(K1=1e-12, K2=1e-22), dict(data_range=1e-40), dict(data_range=1e38),
        dict(data_range=1e-20, K1=0.0, K2=0.0), dict(data_range=255, K2=1e-6),
    )
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("constants", CONSTANTS, ids=str)
def test_every_nasty_image_against_every_other(dtype, constants, backend):
    """In one batch, for speed: planes do not depend on each other, and one bad value fails the test."""
    images = nasty_images(dtype)
    names = list(itertools.product(images, images))
    x, y = (torch.cat([images[pair[which]] for pair in names]) for which in (0, 1))
    for normalize, method in [("ssim", None), *MODES]:
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        if normalize == "ssim":
            value = msssim.ssim(a, b, win_size=5, reduction="none", backend=backend, **constants)
        else:
            options = dict(normalize=normalize, method=method, weights=(0.3, 0.7), win_size=5, reduction="none")
            value = msssim.msssim(a, b, backend=backend, **options, **constants)
        value.sum().backward()
        lowest = -1 if normalize == "ssim" else 0
        good = (value >= lowest - 1e-5) & (value <= 1 + 1e-5)
        good &= a.grad.isfinite().all((1, 2, 3)) & b.grad.isfinite().all((1, 2, 3))
        bad = [pair for pair, fine in zip(names, good.tolist(), strict=True) if not fine]
        assert not bad, (normalize, method, len(bad), bad[:8])


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
def test_default_weights_and_five_scales(dtype, backend):
    images = nasty_images(dtype, 176, 177)
    for name in ("black", "flat", "noise", "checks", "largest of both signs", "every magnitude", "denormal"):
        x = images[name]
        for y in (-x, images["noise"]):
            for normalize in ("relu", "simple", "covariance"):
                assert_finite(x, y, 0, msssim.msssim, normalize=normalize, backend=backend)


@pytest.mark.parametrize("dtype", [torch.uint8, *DTYPES], ids=str)
@pytest.mark.parametrize("constants", [dict(K2=0.0), dict(K1=0.0, K2=0.0)], ids=str)
def test_adjacent_flat_areas_with_zero_constants(backend, dtype, constants):
    """Inside each area, at windows that see no other, cs is 1 and l cs is l."""
    x, y = torch.full((70, 168), 16.0), torch.full((70, 168), 30.0)
    x[:, 30:], y[:, 30:] = 235, 200
    x[:, 130:], y[:, 130:] = 90, 90
    x, y = (image.to(dtype)[None, None] for image in (x, y))
    expected, _ = msssim.ssim(x.double(), y.double(), data_range=255.0, full=True, backend="torch", **constants)
    if dtype.is_floating_point:
        x.requires_grad_()
    value = msssim.ssim(x, y, data_range=255, backend=backend, **constants)
    assert value.item() == pytest.approx(expected.item(), abs=2e-4)  # where hardly any of a window sees an edge
    if dtype.is_floating_point:
        assert torch.autograd.grad(value, x)[0].isfinite().all()
    for normalize, method in MODES:
        index = msssim.msssim(
            x, y, data_range=255, weights=(0.5, 0.5), normalize=normalize, method=method, backend=backend, **constants
        )
        assert index.isfinite()


@pytest.mark.parametrize("data_range", [1e-30, 1e-37, 1e-38])
@pytest.mark.parametrize("constants", [{}, dict(K1=0.0, K2=0.0)], ids=str)
def test_gradients_with_a_tiny_data_range(backend, data_range, constants):
    """The gradient of the mean over the map is a float32 number; that of the sum may overflow."""
    noise = torch.rand(2, 1, 1, 45, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = (noise * data_range).float()
    options = dict(weights=(0.3, 0.7), normalize="simple", data_range=data_range, **constants)
    gradients = []
    for dtype, name in ((torch.float32, backend), (torch.float64, "torch")):
        images = [image.to(dtype).requires_grad_() for image in (x, y)]
        gradients.append(torch.autograd.grad(msssim.msssim(*images, backend=name, **options), images))
    for ours, exact in zip(*gradients, strict=True):
        assert (ours.double() - exact).abs().max() < 1e-4 * exact.abs().max()


@pytest.mark.parametrize("size", [11, 64])  # small images take another path in the CPU kernels
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gradient_that_is_too_large_is_clamped(backend, dtype, size):
    data_range = {torch.float16: 1e-4, torch.float64: 1e-12}.get(dtype, 1e-6)  # derivatives are far above 1
    x = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = ((1 - x) * data_range).to(dtype)
    limit = torch.finfo(dtype).max
    large = 1e-6 * limit if dtype == torch.float64 else limit  # no wider dtype has the products of a larger one
    for upstream in (large, float("inf"), float("nan")):
        image = (x * data_range).to(dtype).requires_grad_()
        value = msssim.ssim(image, y, data_range=data_range, backend=backend)
        (gradient,) = torch.autograd.grad(value, image, torch.tensor(upstream, dtype=value.dtype))
        if upstream == large:
            assert gradient.isfinite().all() and gradient.abs().max() == limit
        else:  # an upstream gradient that is not finite is not hidden
            assert not gradient.isfinite().any()


@st.composite
def images(draw, dtype, size):
    """Few values of any magnitude of the dtype, in halves, stripes, checks or scattered."""
    info = torch.finfo(dtype)
    special = [0.0, 1.0, -1.0, 0.5, 255.0, info.max, -info.max, info.smallest_normal, info.eps, 1 - info.eps]
    width = info.bits if dtype != torch.bfloat16 else 32
    finite = st.floats(-info.max, info.max, width=width) | st.sampled_from(special) | st.floats(0, 1, width=width)
    values = torch.tensor(draw(st.lists(finite, min_size=1, max_size=4)), dtype=torch.float64)
    count = len(values)
    pattern = draw(st.sampled_from(["scattered", "stripes", "halves", "checks"]))
    row, column = torch.arange(size)[:, None], torch.arange(size)[None]
    which = {
        "scattered": torch.randint(
            count, (size, size), generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))
        ),
        "stripes": (row * 0 + column) % count,
        "halves": ((row * 0 + column) * count) // size,
        "checks": (row + column) % count,
    }[pattern]
    return values[which].clamp(-info.max, info.max).to(dtype)[None, None]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_images(dtype, backend, data):
    size, shares = data.draw(st.sampled_from([(3, [(1.0,), (0.0448,)]), (9, [(0.0448,), (0.1, 0.9), (2.0, 0.01)])]))
    x = data.draw(images(dtype, size))
    y = data.draw(images(dtype, size) | st.sampled_from([x, -x, x / 2, x.flip(-1), torch.zeros_like(x)]))
    constant = st.sampled_from([0.0, 0.01, 1e-6, 1e-9, 1e-12, 1e-18, 1e-30])
    data_range = data.draw(st.sampled_from([1.0, 255.0, 1e-40, 1e-10, 1e20, 1e38]))
    options = dict(K1=data.draw(constant), K2=data.draw(constant), data_range=data_range, backend=backend)
    assert_stable(x, y, win_size=3, weights=data.draw(st.sampled_from(shares)), **options)


def _of_axes(image, axes, repeats):
    """A signal of all pixels, or a volume whose slices are the image, each one column further to the right."""
    if axes == 1:
        return image.flatten(2)
    size = image.shape[-1]
    return torch.stack([image.roll(k, -1) for k in range(size)], 2).repeat(1, 1, 1, repeats, repeats)


@pytest.mark.parametrize(
    "dtype", [*DTYPES[:2], *(pytest.param(dtype, marks=pytest.mark.full) for dtype in DTYPES[2:])], ids=str
)
@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_signals_and_volumes(dtype, backend, data):
    axes, size, repeats = data.draw(st.sampled_from([(1, 3, 1), (1, 6, 1), (3, 3, 1), (3, 7, 1), (3, 9, 7)]))
    x = data.draw(images(dtype, size))
    y = data.draw(images(dtype, size) | st.sampled_from([x, -x, x / 2, x.flip(-1), torch.zeros_like(x)]))
    x, y = (_of_axes(image, axes, repeats) for image in (x, y))
    constant = st.sampled_from([0.0, 0.01, 1e-6, 1e-9, 1e-12, 1e-18, 1e-30])
    data_range = data.draw(st.sampled_from([1.0, 255.0, 1e-40, 1e-10, 1e20, 1e38]))
    options = dict(K1=data.draw(constant), K2=data.draw(constant), data_range=data_range)
    if axes == 1 and backend != "torch":
        backend = "auto"
    weights = data.draw(st.sampled_from([(1.0,), (0.0448,), (0.1, 0.9)] if size >= 6 else [(1.0,), (0.0448,)]))
    assert_stable(x, y, win_size=3, weights=weights, spatial_dims=axes, backend=backend, **options)


FAR = (
    msssim.ssim,
    functools.partial(msssim.msssim, weights=(0.3, 0.3, 0.4), normalize="covariance"),
)


def _exact_and_found(index, x, y, backend):
    exact = torch.func.grad_and_value(lambda a: index(a, y.double(), backend="torch"))(x.double())
    return exact, torch.func.grad_and_value(lambda a: index(a, y, backend=backend))(x)


@pytest.mark.parametrize("value", [-9999.0, 1e6])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("row, column", [(0, 0), (99, 96), (41, 23)])
def test_an_outlier_does_not_cost_precision_elsewhere(pair, backend, value, both, row, column):
    """Such as a code for "no data". Windows without it are as accurate as in images without it."""
    x, y = pair(1, 1, 100, 97, dtype=torch.float32)
    x[..., row, column] = value if both else 0.5
    y[..., row, column] = value
    for index in FAR:
        (of_exact, exact), (of_found, found) = _exact_and_found(index, x, y, backend)
        assert abs(found - exact) < 1e-6
        error = (of_found - of_exact).abs()[0, 0] / of_exact.abs().max()
        # Around the value itself the sign of a covariance is within rounding: there the budget holds.
        assert error[row, column] < tolerances.budget("gradient", "float32", backend).worst
        error[row, column] = 0
        assert error.max() < 5e-6
        assert abs(index(x, y, backend=backend) - exact) < 1e-6  # without a gradient the arithmetic can be another one


@pytest.mark.parametrize("rows, columns", [((30, 60), (20, 50)), ((0, 100), (0, 48))])
def test_an_area_of_outliers_in_both_images(pair, backend, rows, columns):
    x, y = pair(1, 1, 100, 97, dtype=torch.float32)
    for image in (x, y):
        image[..., slice(*rows), slice(*columns)] = -9999.0
    for index in FAR:
        (_, exact), (_, found) = _exact_and_found(index, x, y, backend)
        assert abs(found - exact) < 1e-6


def test_the_power_of_a_tiny_term(backend):
    """The derivative of 1e-45 ** .0448 overflows in float32."""
    x = torch.tensor([[-1.9949e-17, 1.3863e16, -1.9949e-17], [1.3863e16, -1.9949e-17, 1.3863e16]])[[0, 1, 0]]
    y = torch.tensor([-1.1921e-07, -3.3895e38, -1.1921e-07]).expand(3, 3)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        options = dict(win_size=3, weights=(0.0448,), K1=1e-30, K2=1e-30, data_range=1e-40, backend=backend)
        assert_stable(x.to(dtype), y.to(dtype), **options)
        assert_stable(x.to(dtype), -y.to(dtype), **options)


FLAT = {
    name: torch.full((1, 1, 24, 24), value, dtype=torch.float64) for name, value in [("a", 0.3), ("b", 0.7), ("0", 0.0)]
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zero_denominators_follow_the_rule(dtype, backend):
    """K1 = K2 = 0: l cs is l when only cs's denominator is zero and 1 when l's is; cs is 1 (Wang, ssim_index.m)."""
    a, b, black = (FLAT[name].to(dtype) for name in ("a", "b", "0"))
    options = dict(K1=0.0, K2=0.0, backend=backend)
    low, high = a[0, 0, 0, 0].double().item(), b[0, 0, 0, 0].double().item()
    luminance = 2 * low * high / (low**2 + high**2)
    assert msssim.ssim(a, b, **options).item() == pytest.approx(luminance, abs=2e-7)
    assert msssim.ssim(black, black, **options) == 1
    assert msssim.ssim(black, b, **options) == 0
    for mode in (None, "relu", "simple", "covariance"):
        terms = msssim.msssim(a, b, weights=(0.5, 0.5), scales=True, normalize=mode, **options)[1]
        assert terms[0, 0, 0] == 1 and terms[0, 0, 1].item() == pytest.approx(luminance, abs=2e-7)
        assert (msssim.msssim(black, black, weights=(0.5, 0.5), scales=True, normalize=mode, **options)[1] == 1).all()
    # C2 alone keeps cs's denominator from zero, and C1 alone l's: black is then like black all the same
    for options in (dict(K1=0.0), dict(K2=0.0), {}):
        assert msssim.ssim(black, black, backend=backend, **options) == 1
        assert msssim.ssim(a, a, backend=backend, **options).item() == pytest.approx(1, abs=2e-7)


def test_zero_mean_with_contrast_and_zero_constants(backend):
    """Only the denominator of l is zero: Wang's rule gives 1 for any cs. One window, of mean exactly zero."""
    x = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64).expand(3, 3)
    for y in (x, -x, 2 * x):
        assert msssim.ssim(x, y, win_size=3, K1=0.0, K2=0.0, data_range=2, backend=backend) == 1
    assert msssim.ssim(x, -x, win_size=3, K1=0.0, data_range=2, backend=backend) == 1
    assert msssim.ssim(x, -x, win_size=3, K2=0.0, data_range=2, backend=backend).item() == pytest.approx(-1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_flat_and_textured_parts_with_zero_constants(dtype):
    """In the flat part float64 pixels differ by rounding; their variance counts as zero, and no other does."""
    noise = torch.rand(1, 1, 30, 60, generator=torch.Generator().manual_seed(0), dtype=dtype)
    flat = torch.arange(60) < 30
    x = torch.where(flat, 0.7, noise)
    y = torch.where(flat, 0.3, 0.5 * noise + 0.1)
    # With K2 = 0 float32 images are compared in float64, in which their differences are no rounding.
    rounded = flat & (noise < 0.5) & (dtype == torch.float64)
    x, y = (torch.where(rounded, torch.nextafter(image, torch.ones_like(image)), image) for image in (x, y.flip(-2)))
    _, map = msssim.ssim(x, y, K1=0.0, K2=0.0, full=True)
    luminance = 2 * 0.7 * 0.3 / (0.7**2 + 0.3**2)
    torch.testing.assert_close(map[..., :20], torch.full_like(map[..., :20], luminance), rtol=0, atol=1e-6)
    _, of_texture = msssim.ssim(x[..., 30:], y[..., 30:], K1=0.0, K2=0.0, full=True)
    torch.testing.assert_close(map[..., 30:], of_texture, rtol=0, atol=2e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_non_finite_pixels_give_nan(bad, dtype, backend):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 1, 24, 24, generator=generator).to(dtype) for _ in range(2))
    x[1, 0, 3, 4] = bad
    for a, b in ((x, y), (y, x), (x, x)):
        for constants in ({}, dict(K1=0.0, K2=0.0)):
            values = [msssim.ssim(a, b, reduction="none", backend=backend, **constants)]
            for normalize, method in MODES:
                options = dict(normalize=normalize, method=method, weights=(0.5, 0.5), reduction="none")
                values.append(msssim.msssim(a, b, backend=backend, **options, **constants))
            assert all(value[0].isfinite() and value[1].isnan() for value in values)


def test_maps_and_values_are_at_most_one():
    """kornelski/dssim#2: sqrt(1 - map) is NaN where the map is above 1."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.rand(2000, 1, 1, 1, generator=generator)
    x = levels.expand(2000, 1, 11, 11).clone()
    x[1000:] += 0.1 * torch.rand(1000, 1, 11, 11, generator=generator)
    x[0] = 0.6
    y = (x + 1e-7).requires_grad_()
    value, index_map = msssim.ssim(x, y, reduction="none", full=True, backend="torch")
    assert value.max() <= 1 and index_map.max() <= 1
    distance = (1 - index_map).sqrt()
    assert distance.isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), y)
    exact = y.detach().double().requires_grad_()
    expected = msssim.ssim(x.double(), exact, reduction="none", backend="torch").sum()
    (expected,) = torch.autograd.grad(expected, exact)
    assert (gradient - expected).abs().max() <= 1e-5  # there is a gradient, and no larger than rounding of y makes it


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("weights", [(0.1,) * 3, (0.7, 0.1, 0.2), (0.0448, 0.2856, 0.3001)])
def test_weights_that_round_above_one_give_a_value_of_at_most_one(weights, dtype):
    x = torch.rand(1, 1, 44, 44, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for method in ("product", "wtd_sum"):
        value = msssim.msssim(x, x, weights=weights, method=method, normalize="simple", backend="torch")
        assert value.item() <= 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_largest_weights_give_finite_gradients(dtype):
    noise = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for normalize, method in MODES:
        for x, y in ((noise[:1], noise[1:]), (noise[:1], noise[:1] * (1 - 1e-3)), (noise[:1], -noise[:1])):
            for weights in ((1e10, 1e10), (1e10, 1e-10)):
                options = {"weights": weights, "normalize": normalize, "method": method, "backend": "torch"}
                assert_finite(x, y, 0, msssim.msssim, **options)


def test_larger_weights_are_refused():
    x = torch.zeros(1, 1, 24, 24)
    with pytest.raises(ValueError, match=r"^weights must be .* at most 1e\+10, got \(1e\+38, 1\.0\)"):
        msssim.msssim(x, x, weights=(1e38, 1.0))
