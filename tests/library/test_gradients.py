"""Derivatives of every order, of both images, and under torch.func and torch.compile."""

import functools
import itertools
import shutil

import pytest
import torch
from marks import compiling, forward_mode, full
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, grad_and_value, hessian, jacrev, jvp, vmap

import msssim

MODES = [*itertools.product([None, "relu", "simple", "covariance"], ["product", "wtd_sum"])]
TWO = dict(weights=(0.4, 0.6), win_size=3)

INDICES = {
    "ssim": lambda a, b, **more: msssim.ssim(a, b, win_size=3, **more),
    **{
        f"msssim {normalize} {method}": lambda a, b, options=dict(normalize=normalize, method=method, **TWO), **more: (
            msssim.msssim(a, b, **options, **more)
        )
        for normalize, method in MODES
    },
}
# Each mode and each method once; the other combinations run with the slow tests.
USUAL = ("ssim", "msssim None product", "msssim relu product", "msssim simple wtd_sum", "msssim covariance product")
each_index = pytest.mark.parametrize(
    "index",
    [pytest.param(index, id=name, marks=() if name in USUAL else pytest.mark.full) for name, index in INDICES.items()],
)


@pytest.fixture
def two(pair):
    """A function that returns a pair of images that require a gradient."""
    return lambda *shape, **options: tuple(image.requires_grad_() for image in pair(*shape, **options))


@each_index
def test_first_derivative(index, two, backend):
    assert gradcheck(lambda a, b: index(a, b, reduction="none", backend=backend), two(1, 1, 6, 7))


@each_index
def test_second_derivative(index, two, backend):
    def each(a, b):
        return index(a, b, reduction="none", backend=backend)

    assert gradgradcheck(each, two(1, 1, 6, 7), fast_mode=True)


def test_derivatives_at_anticorrelated_windows(two, backend):
    """Where "covariance" clamps, the derivative is that of the clamped index, and not zero."""
    x, y = two(1, 1, 6, 8, noise=1.0)
    for method in ("product", "wtd_sum"):
        index = functools.partial(msssim.msssim, normalize="covariance", method=method, backend=backend, **TWO)
        assert gradcheck(index, (x, y))
        assert gradgradcheck(index, (x, y), fast_mode=True)


def test_derivatives_through_the_map(two):
    assert gradcheck(lambda a, b: msssim.ssim(a, b, win_size=3, full=True), two(1, 2, 6, 7))


def test_derivatives_through_the_terms_and_the_downsampling(two, backend):
    x, y = two(1, 2, 6, 7)
    options = dict(weights=(0.4, 0.6), win_size=3, scales=True, backend=backend)
    assert gradcheck(lambda a, b: msssim.msssim(a, b, **options), (x, y))
    x, y = two(1, 1, 384, 385)
    assert gradcheck(lambda a, b: msssim.ssim(a, b, downsample="auto", backend=backend), (x, y), fast_mode=True)


def test_gradient_of_default_msssim_against_finite_differences(two, backend):
    x, y = two(1, 1, 177, 182)
    assert gradcheck(lambda a, b: msssim.msssim(a, b, backend=backend), (x, y), fast_mode=True)


@each_index
def test_gradient_only_where_required(index, pair, backend):
    index = functools.partial(index, backend=backend)
    x, y = pair(1, 2, 24, 23)
    assert not index(x, y).requires_grad
    both = torch.autograd.grad(index(a := x.clone().requires_grad_(), b := y.clone().requires_grad_()), (a, b))
    for which in (0, 1):
        images = [x.clone(), y.clone()]
        images[which].requires_grad_()
        index(*images).backward()
        assert images[1 - which].grad is None
        torch.testing.assert_close(images[which].grad, both[which], rtol=0, atol=1e-15)
    with torch.no_grad():
        assert not index(a, b).requires_grad
    with torch.inference_mode():
        assert index(x, y) == index(x, y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalize", [None, "relu", "simple", "covariance"])
def test_gradients_have_the_dtype_of_the_images(dtype, normalize, two, backend):
    x, y = two(2, 2, 45, 50, dtype=dtype)
    options = dict(normalize=normalize, weights=(0.4, 0.6), backend=backend)
    narrow = torch.autograd.grad(msssim.msssim(x, y, **options), (x, y))
    exact_images = x.detach().double().requires_grad_(), y.detach().double().requires_grad_()
    exact = torch.autograd.grad(msssim.msssim(*exact_images, **options), exact_images)
    for ours, true in zip(narrow, exact, strict=True):
        assert ours.dtype == dtype
        # the arithmetic is float32; rounding to the narrower dtype comes last (float16 has no small numbers)
        budget = 5e-5 * true.abs().max() + torch.finfo(dtype).eps * true.abs() + torch.finfo(dtype).smallest_normal / 2
        assert ((ours.double() - true).abs() <= budget).all()


def test_gradient_of_images_in_any_layout(pair, backend):
    x, y = pair(2, 3, 45, 50)
    index = msssim.MSSSIM(weights=(0.4, 0.6), normalize="simple", backend=backend)
    (expected,) = torch.autograd.grad(index(a := x.clone().requires_grad_(), y), a)
    for layout in (
        lambda image: image.to(memory_format=torch.channels_last),
        lambda image: image.mT.contiguous().mT,
        lambda image: image.flip(-1).flip(-1),
    ):
        (ours,) = torch.autograd.grad(index(a := layout(x.clone()).requires_grad_(), layout(y)), a)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-15)
    (of_expanded,) = torch.autograd.grad(index((a := x[:1, :1].clone().requires_grad_()).expand_as(y), y), a)
    wide = x[:1, :1].expand_as(y).clone().requires_grad_()
    (of_copy,) = torch.autograd.grad(index(wide, y), wide)
    torch.testing.assert_close(of_expanded, of_copy.sum((0, 1), keepdim=True), rtol=0, atol=1e-15)


def test_images_that_depend_on_one_another(pair, backend):
    x, _ = pair(1, 1, 24, 23)
    index = functools.partial(INDICES["msssim simple product"], backend=backend)
    assert gradcheck(lambda a: index(a, a.flip(-1)), x.requires_grad_(), fast_mode=True)


def test_gradient_penalty_is_finite_and_nonzero(two, backend):
    x, y = two(1, 2, 24, 23, dtype=torch.float32)
    for index in INDICES.values():
        (gradient,) = torch.autograd.grad(index(x, y, backend=backend), x, create_graph=True)
        penalties = torch.autograd.grad(gradient.square().sum(), (x, y))
        assert all(each.isfinite().all() and each.abs().max() > 0 for each in penalties)


@each_index
def test_functional_transforms(index, pair, backend):
    index = functools.partial(index, backend=backend)
    x, y = pair(3, 2, 24, 23)
    single = torch.stack([index(a, b) for a, b in zip(x, y, strict=True)])
    gradient = torch.stack([grad(index)(a, b) for a, b in zip(x, y, strict=True)])
    leaf = x[0].clone().requires_grad_()
    index(leaf, y[0]).backward()
    torch.testing.assert_close(gradient[0], leaf.grad, rtol=0, atol=1e-15)
    torch.testing.assert_close(vmap(index)(x, y), single, rtol=0, atol=1e-14)
    torch.testing.assert_close(vmap(index, in_dims=(0, None))(x, y[0])[0], single[0], rtol=0, atol=1e-14)
    per_sample, values = vmap(grad_and_value(index))(x, y)
    torch.testing.assert_close(values, single, rtol=0, atol=1e-14)
    torch.testing.assert_close(per_sample, gradient, rtol=0, atol=1e-14)
    jacobian = jacrev(lambda a: index(a, y, reduction="none"))(x)
    for n in range(3):
        torch.testing.assert_close(jacobian[n, n], gradient[n], rtol=0, atol=1e-14)
    second = grad(lambda a: grad(index)(a, y[0]).square().sum())(x[0])
    assert second.isfinite().all() and second.abs().max() > 0


@forward_mode
@each_index
def test_forward_mode(index, two, backend):
    def each(a, b):
        return index(a, b, reduction="none", backend=backend)

    assert gradcheck(each, two(1, 1, 6, 7), check_forward_ad=True, check_batched_forward_grad=True)


@forward_mode
def test_forward_mode_of_the_map(two):
    index = functools.partial(msssim.ssim, win_size=3, full=True)
    assert gradcheck(index, two(1, 2, 6, 7), check_forward_ad=True, check_backward_ad=False)


@forward_mode
def test_forward_mode_of_the_terms_and_the_downsampling(two, backend):
    x, y = two(1, 2, 6, 7)
    forward = functools.partial(gradcheck, check_forward_ad=True, check_backward_ad=False)
    options = dict(weights=(0.4, 0.6), win_size=3, scales=True, backend=backend)
    assert forward(lambda a, b: msssim.msssim(a, b, **options), (x, y))
    index = functools.partial(msssim.ssim, downsample="auto", backend=backend)
    assert forward(index, two(1, 1, 384, 385), fast_mode=True)


@forward_mode
@each_index
def test_hessian_forward_over_reverse(index, pair, backend):
    x, y = pair(1, 1, 8, 9)
    f = functools.partial(index, backend=backend)
    whole = jacrev(jacrev(f))(x, y)
    torch.testing.assert_close(hessian(f)(x, y), whole, rtol=0, atol=1e-13)
    direction = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    product = jvp(lambda a: grad(f)(a, y), (x,), (direction,))[1]
    torch.testing.assert_close(product, torch.tensordot(whole, direction, 4), rtol=0, atol=1e-13)
    twice = jvp(lambda a: jvp(lambda b: f(b, y), (a,), (direction,))[1], (x,), (direction,))[1]
    torch.testing.assert_close(twice, (product * direction).sum(), rtol=0, atol=1e-12)


COMPILED = {
    "penalty": lambda f, y: lambda a: grad(lambda b: grad(f)(b, y).square().sum())(a),
    "hessian": lambda f, y: lambda a: hessian(f)(a, y),
    "reverse over reverse": lambda f, y: lambda a: jacrev(jacrev(f))(a, y),
    "forward over reverse": lambda f, y: lambda a: jvp(lambda b: grad(f)(b, y), (a,), (a + 1,))[1],
    "each gradient": lambda f, y: lambda a: vmap(grad(f), (0, None))(torch.stack([a, 0.9 * a]), y),
}


@pytest.mark.since_torch(2, 12)  # earlier versions of torch.compile trace no autograd function below a transform
@compiling
@pytest.mark.parametrize("compiler", ["aot_eager", *full("eager")])
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.full_where(backend="torch")
@pytest.mark.full_where(name="forward over reverse")
@pytest.mark.full_where(name="reverse over reverse")
@pytest.mark.full_where(name="hessian")
def test_nested_transforms_compiled(name, compiler, pair, backend):
    x, y = pair(1, 1, 8, 9)

    def f(a, b):
        return INDICES["msssim covariance product"](a, b, backend=backend)

    torch._dynamo.reset()
    wanted = COMPILED[name](f, y)
    torch.testing.assert_close(torch.compile(wanted, fullgraph=True, backend=compiler)(x), wanted(x))


# torch.compile calls functions that PyTorch deprecates; which ones depends on the version.
compiles = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Skipping serialization:UserWarning"
)


@compiles
@pytest.mark.full_where(backend="torch")
def test_compiles_for_any_size_without_a_graph_break(pair, backend):
    index = functools.partial(INDICES["msssim covariance wtd_sum"], backend=backend)
    torch._dynamo.reset()
    compiled = torch.compile(index, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_compiled(compiled, index, (24, 31), pair)


@compiles
def test_compiled_with_options_that_change(pair):
    """A number that changes from call to call becomes a symbol at the second call."""
    torch._dynamo.reset()
    compiled = torch.compile(msssim.ssim, fullgraph=True, backend="aot_eager")
    x, y = pair(1, 1, 12, 13)
    for options in (dict(sigma=1.0), dict(sigma=1.2, data_range=2.0), dict(sigma=1.4, data_range=3.0)):
        torch.testing.assert_close(compiled(x, y, win_size=3, **options), msssim.ssim(x, y, win_size=3, **options))


@compiles
@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile's own code for the CPU needs a C++ compiler, g++"
)
@pytest.mark.full
def test_module_compiled_to_machine_code(pair, backend):
    """With odd sizes at all scales: Inductor had errors at odd borders."""
    module = msssim.MSSSIM(normalize="covariance", data_range=2.0, weights=(0.2, 0.3, 0.5), win_size=3, backend=backend)
    torch._dynamo.reset()
    assert_compiled(torch.compile(module, fullgraph=True), module, (17,), pair)


def assert_compiled(compiled, index, sizes, pair):
    for size in sizes:
        x, y = pair(1, 1, size, size + 2, dtype=torch.float32)
        (expected,) = torch.autograd.grad(index(a := x.clone().requires_grad_(), y), a)
        (ours,) = torch.autograd.grad(value := compiled(b := x.clone().requires_grad_(), y), b)
        torch.testing.assert_close(value, index(x, y), rtol=0, atol=1e-6, check_device=False)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def gradients_of(x, y, normalize, **options):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = msssim.msssim(x, y, weights=(1.0,), normalize=normalize, backend="torch", **options)
    return torch.autograd.grad(value, (x, y))


def black_beside_white():
    x, y = torch.zeros(1, 1, 22, 40, dtype=torch.float64), torch.full((1, 1, 22, 40), 0.05, dtype=torch.float64)
    x[..., 20:] = 1
    y[..., ::2] = 0.1
    return x, y


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1, 255, 3])
def test_covariance_keeps_the_gradient_of_products_that_are_zero(dtype, scale):
    """No product is negative, so "covariance" equals None."""
    x, y = black_beside_white()
    x, y = (x * scale).to(dtype), (y * scale).to(dtype)
    found = gradients_of(x, y, "covariance", data_range=float(scale))
    expected = gradients_of(x.double(), y.double(), None, data_range=float(scale))
    budget = 1e-9 if dtype == torch.float64 else 5e-5
    for got, want in zip(found, expected, strict=True):
        assert (got - want).abs().max() <= budget * want.abs().max()


@pytest.mark.parametrize("scale", [1, 255, 3])
def test_a_small_negative_covariance_has_no_gradient(scale):
    """2 cov / data_range^2 is about -1e-7 in every window: negative, and far beyond rounding in float64."""
    noise = torch.rand(1, 1, 11, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = scale * (0.5 + 5e-4 * noise), scale * (0.5 - 5e-4 * noise)
    x.requires_grad_()
    scales = msssim.msssim(
        x, y, weights=(1.0,), normalize="covariance", data_range=float(scale), backend="torch", K1=0.0
    )
    (gradient,) = torch.autograd.grad(scales, x)
    # cs = C2 / (var_x + var_y + C2), and l is constant to 1e-6: written down with the covariance left out.
    x2 = x.detach().requires_grad_()
    window = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / 4.5)
    window = window[:, None] * window
    window /= window.sum()
    mean_x, mean_y = (x2 * window).sum(), (y * window).sum()
    variances = ((x2 - mean_x) ** 2 * window).sum() + ((y - mean_y) ** 2 * window).sum()
    c2 = (0.03 * scale) ** 2
    value = 2 * mean_x * mean_y / (mean_x**2 + mean_y**2) * c2 / (variances + c2)
    (expected,) = torch.autograd.grad(value, x2)
    assert (gradient - expected).abs().max() <= 1e-8 * expected.abs().max()


@pytest.mark.parametrize(
    ("levels_x", "levels_y"), [((21, 24), (225, 237)), ((6, 56), (0, 136)), ((0, 255), (108, 255))]
)
@pytest.mark.parametrize("normalize", [None, "covariance"])
@pytest.mark.parametrize("edge", [1, 13, 26])
def test_float32_gradients_on_two_level_graphics(levels_x, levels_y, normalize, edge):
    def graphic(levels):
        image = torch.full((1, 1, 40, 27), float(levels[0]), dtype=torch.float64)
        image[..., edge:] = levels[1]
        return image

    x, y = graphic(levels_x), graphic(levels_y)
    found = gradients_of(x.float(), y.float(), normalize, data_range=255.0)
    expected = gradients_of(x, y, normalize, data_range=255.0)
    for got, want in zip(found, expected, strict=True):
        assert (got - want).abs().max() <= 5e-5 * want.abs().max()


def test_float32_gradient_of_noise_beside_a_constant_image(backend):
    """The means differ by next to nothing, so the gradient is hardly more than their rounding errors in float32."""
    x = torch.full((1, 1, 80, 125), 255.0, dtype=torch.float64)
    noise = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = (x + 0.01 * noise).float()

    def gradient(dtype):
        image = y.to(dtype).requires_grad_()
        value = msssim.ssim(x.to(dtype), image, data_range=255.0, win_size=9, backend=backend)
        return torch.autograd.grad(value, image)[0].double()

    expected = gradient(torch.float64)
    assert (gradient(torch.float32) - expected).abs().max() <= 5e-5 * expected.abs().max()
