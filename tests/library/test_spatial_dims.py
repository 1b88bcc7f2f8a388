"""Signals, volumes and windows by axis: values, gradients, finiteness, and errors."""

import itertools

import numpy as np
import pytest
import torch
from marks import compiling, forward_mode, full

import msssim
from reference import longdouble

WEIGHTS = (0.3, 0.5, 0.2)
SHAPES = {1: (47,), 2: (29, 34), 3: (29, 34, 31)}
longdouble_only = pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64")


def volumes(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return x.to(dtype), (0.6 * x + 0.4 * torch.rand(shape, generator=generator, dtype=torch.float64)).to(dtype)


def assert_like_long_double(x, y, dims, **options):
    """Value, terms and both gradients of each plane."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value, terms = msssim.msssim(x, y, spatial_dims=dims, reduction="none", scales=True, backend="torch", **options)
    gradients = torch.autograd.grad(value.sum(), (x, y))
    mask = options.pop("mask", None)
    mask = None if mask is None else mask.expand(x.shape).numpy()
    arrays = (each.detach().numpy() for each in (x, y))
    expected = longdouble.msssim(*arrays, longdouble.Options(**options), axes=dims, mask=mask)
    channels = x.shape[1]
    np.testing.assert_allclose(value.detach(), expected.value.reshape(-1, channels).mean(-1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(terms.detach().flatten(0, 1), expected.terms, rtol=0, atol=1e-12)
    for found, known in zip(gradients, (expected.gradient_x, expected.gradient_y), strict=True):
        known = known.reshape(x.shape) / channels
        np.testing.assert_allclose(found, known, rtol=0, atol=1e-12 * float(abs(known).max()))


@longdouble_only
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("normalize", [None, "relu", "simple", "covariance"])
@pytest.mark.parametrize("method", ["product", "wtd_sum"])
def test_values_and_gradients_in_every_mode(dims, normalize, method):
    pair = volumes(2, 2, *SHAPES[dims])
    assert_like_long_double(*pair, dims, weights=WEIGHTS, win_size=7, normalize=normalize, method=method)


@longdouble_only
@pytest.mark.parametrize("shape", [(12, 12, 12), (13, 12, 12), (12, 15, 12), (12, 14, 13), (13, 15, 17)])
def test_odd_sizes_on_any_axis(shape):
    assert_like_long_double(*volumes(1, 1, *shape), 3, weights=WEIGHTS, win_size=3)


@longdouble_only
@pytest.mark.parametrize(
    "dims, win_size, sigma",
    [
        (3, (3, 7, 5), 1.5),
        (3, 7, (0.5, 1.5, 2.0)),
        (3, (5, 3, 7), (1.0, 0.7, 1.5)),
        (2, (7, 3), (1.5, 0.8)),
        (1, (5,), (1.0,)),
    ],
)
def test_windows_by_axis(dims, win_size, sigma):
    assert_like_long_double(*volumes(1, 2, *SHAPES[dims]), dims, weights=WEIGHTS, win_size=win_size, sigma=sigma)


@longdouble_only
@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("normalize", [None, "covariance"])
def test_masks(dims, normalize):
    mask = torch.rand(1, 2, *SHAPES[dims], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pair = volumes(2, 2, *SHAPES[dims])
    options = dict(weights=WEIGHTS, win_size=7, normalize=normalize)
    assert_like_long_double(*pair, dims, mask=mask * (mask > 0.2), **options)


@pytest.mark.parametrize("dims, size", [(1, (40,)), (2, (20, 23)), (3, (16, 19, 17))])
@pytest.mark.parametrize("options", [{}, {"use_sample_covariance": True}, {"gaussian_weights": False}])
def test_ssim_is_scikit_images(dims, size, options):
    metrics = pytest.importorskip("skimage.metrics")
    x, y = volumes(*size)
    known = dict(data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False) | options
    ours = {"sample_covariance": known["use_sample_covariance"]}
    if not known["gaussian_weights"]:
        ours |= {"window": "uniform", "win_size": 7}
    expected = metrics.structural_similarity(x.numpy(), y.numpy(), **known)
    assert msssim.ssim(x, y, spatial_dims=dims, **ours).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "replicate", "symmetric"])
def test_padding_is_that_of_numpy(padding):
    x, y = volumes(13, 12, 11)
    mode = {"zeros": "constant", "replicate": "edge"}.get(padding, padding)
    wide = [torch.from_numpy(np.pad(image.numpy(), ((1, 1), (2, 2), (3, 3)), mode=mode)) for image in (x, y)]
    options = dict(win_size=(3, 5, 7), spatial_dims=3)
    expected = msssim.ssim(*wide, **options)
    value, map = msssim.ssim(x, y, padding=padding, full=True, **options)
    assert value.item() == pytest.approx(expected.item(), abs=1e-14) and map.shape == x.shape


def test_shapes_with_and_without_batch_and_channels():
    x, y = volumes(2, 3, 12, 13, 14)
    options = dict(spatial_dims=3, win_size=5, weights=(0.5, 0.5))
    each, terms = msssim.msssim(x, y, reduction="none", scales=True, **options)
    assert each.shape == (2,) and terms.shape == (2, 3, 2)
    assert torch.equal(msssim.msssim(x, y, **options), each.mean())
    torch.testing.assert_close(msssim.msssim(x[1], y[1], reduction="none", **options), each[1])
    value, terms = msssim.msssim(x[1, 2], y[1, 2], scales=True, **options)
    assert value.shape == () and terms.shape == (2,)
    value, map = msssim.ssim(x[1], y[1], spatial_dims=3, win_size=(3, 5, 7), full=True)
    assert map.shape == (3, 10, 9, 8) and value.item() == pytest.approx(map.mean().item(), abs=1e-14)
    value, map = msssim.ssim(x[0, 0, 0, 0], y[0, 0, 0, 0], spatial_dims=1, full=True)
    assert value.shape == () and map.shape == (4,)


def test_a_volume_of_one_slice_repeated_has_the_terms_of_the_slice_at_one_scale():
    x, y = volumes(1, 1, 30, 31)
    deep = [image.unsqueeze(2).expand(1, 1, 12, 30, 31) for image in (x, y)]
    assert msssim.ssim(*deep, spatial_dims=3).item() == pytest.approx(
        msssim.ssim(x, y, backend="torch").item(), abs=1e-12
    )


@pytest.mark.parametrize("dims", [1, 3])
def test_gradcheck_to_the_second_order(dims):
    x, y = (image.requires_grad_() for image in volumes(1, 2, *(6, 5, 7)[-dims:]))

    def index(x, y):
        return msssim.msssim(
            x, y, spatial_dims=dims, win_size=3, weights=(0.6,), normalize="covariance", reduction="none"
        )

    assert torch.autograd.gradcheck(index, (x, y), fast_mode=True)
    assert torch.autograd.gradgradcheck(index, (x, y), fast_mode=True)

    def two_scales(x, y):
        return msssim.msssim(x, y, spatial_dims=dims, win_size=3, weights=(0.6, 0.4), normalize="covariance")

    pair = [image.requires_grad_() for image in volumes(1, 1, *(6, 7, 6)[-dims:])]
    assert torch.autograd.gradcheck(two_scales, pair, fast_mode=True)
    assert torch.autograd.gradgradcheck(two_scales, pair, fast_mode=True)


@forward_mode
@pytest.mark.parametrize("dims", [1, 3])
def test_transforms_of_torch_func(dims):
    x, y = volumes(3, 1, *(6, 7, 8)[-dims:])
    options = dict(spatial_dims=dims, win_size=3, weights=(0.6, 0.4), normalize="covariance")

    def index(x, y):
        return msssim.msssim(x, y, **options)

    gradients = torch.func.vmap(torch.func.grad(index))(x, y)
    for k in range(3):
        one = x[k].clone().requires_grad_()
        index(one, y[k]).backward()
        torch.testing.assert_close(gradients[k], one.grad)
    tangent = torch.func.jvp(lambda x: index(x, y), (x,), (y,))[1]
    whole = x.clone().requires_grad_()
    index(whole, y).backward()
    assert tangent.item() == pytest.approx((whole.grad * y).sum().item(), rel=1e-9)


@pytest.mark.filterwarnings("ignore:data_range is:UserWarning")
@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_value_and_gradients_are_finite(dims, dtype):
    shape = (7, 8, 9)[-dims:]
    noise = volumes(*shape, dtype=torch.float64)[0]
    largest = torch.finfo(dtype).max
    images = [
        torch.zeros_like(noise), torch.full_like(noise, 0.3), noise, 1 - noise, -noise, (noise > 0.5).double(),
        noise * largest, (noise - 0.5) * largest, noise * torch.finfo(dtype).tiny,
    ]  # fmt: skip
    modes = itertools.product(["relu", "simple", "covariance"], ["product", "wtd_sum"])
    for (x, y), (normalize, method) in zip(itertools.product(images, images), itertools.cycle(modes), strict=False):
        x, y = (image.to(dtype).requires_grad_() for image in (x, y))
        value = msssim.msssim(
            x, y, spatial_dims=dims, win_size=3, weights=(0.5, 0.5), normalize=normalize, method=method
        )
        value.backward()
        assert -1e-5 <= value <= 1 + 1e-5
        assert x.grad.isfinite().all() and y.grad.isfinite().all()


def test_float32_and_uint8():
    x, y = volumes(1, 2, 24, 22, 23, dtype=torch.float32)
    options = dict(spatial_dims=3, win_size=5, weights=(0.5, 0.5))
    exact = msssim.msssim(x.double(), y.double(), **options)
    assert msssim.msssim(x, y, **options).item() == pytest.approx(exact.item(), abs=1e-6)
    x, y = ((255 * image).to(torch.uint8) for image in (x, y))
    exact = msssim.msssim(x.double(), y.double(), data_range=255, **options)
    assert msssim.msssim(x, y, **options).item() == pytest.approx(exact.item(), abs=1e-6)


def test_downsampling_averages_cubes():
    from msssim import resample

    x, _ = volumes(1, 1, 8, 12, 10)
    torch.testing.assert_close(resample.box_downsample(x, 2), torch.nn.functional.avg_pool3d(x, 2))
    assert resample.automatic_factor(384, 500, 1000) == 2
    x, y = volumes(384)[0], volumes(384, seed=1)[0]
    small = [torch.nn.functional.avg_pool1d(image[None], 2)[0] for image in (x, y)]
    value = msssim.ssim(x, y, spatial_dims=1, downsample="auto")
    assert value.item() == pytest.approx(msssim.ssim(*small, spatial_dims=1).item(), abs=1e-12)


def test_modules():
    x, y = volumes(1, 1, 20, 22, 21)
    one = msssim.SSIM(spatial_dims=3, win_size=(3, 5, 7), sigma=np.array([0.5, 1.0, 1.5]))
    assert one.win_size == (3, 5, 7) and one.sigma == (0.5, 1.0, 1.5)
    assert torch.equal(one(x, y), msssim.ssim(x, y, spatial_dims=3, win_size=[3, 5, 7], sigma=[0.5, 1.0, 1.5]))
    several = msssim.MSSSIM(spatial_dims=3, small="fewer")
    assert torch.equal(several(x, y), msssim.msssim(x, y, spatial_dims=3, small="fewer"))
    several.spatial_dims = 2
    assert torch.equal(several(x[0], y[0]), msssim.msssim(x[0], y[0], small="fewer"))


def test_losses_of_volumes():
    x, y = volumes(2, 1, 24, 22, 23)
    options = dict(spatial_dims=3, small="fewer", normalize="covariance")
    index = msssim.msssim(x, y, **options)
    assert msssim.msssim_loss(x, y, **options).item() == pytest.approx(1 - index.item(), abs=1e-12)
    both = msssim.msssim_l1_loss(x, y, alpha=0.5, spatial_dims=3, small="fewer")
    assert both.item() == pytest.approx(0.5 * (1 - index.item()) + 0.5 * (x - y).abs().mean().item(), abs=1e-12)
    mask = torch.ones(24, 22, 23)
    masked = msssim.msssim_l1_loss(x, y, alpha=0.5, spatial_dims=3, small="fewer", mask=mask)
    assert masked.item() == pytest.approx(both.item(), abs=1e-12)


@compiling
@pytest.mark.parametrize("function", [msssim.msssim, *full(msssim.ssim, msssim.msssim_l1_loss)])
def test_compiled_for_images_volumes_and_signals(function):
    """spatial_dims that varies is a symbol of torch.compile, which messages and tables cannot use."""
    torch.compiler.reset()
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    options = {} if function is msssim.ssim else dict(small="fewer", normalize="relu")
    for shape in ((24, 25), (12, 13, 12), (40,), (12, 13, 12)):
        x, y = volumes(1, 1, *shape)
        found, expected = (each(x, y, spatial_dims=len(shape), **options) for each in (compiled, function))
        assert found.item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize(
    "shape, options, message",
    [
        (
            (1, 3, 5, 20, 20),
            {},
            r"videos \(N, C, T, H, W\) pass img1.transpose\(1, 2\).flatten\(0, 1\).* spatial_dims=3",
        ),
        ((20, 20), {"spatial_dims": 3}, r"\(N, C, D, H, W\), \(C, D, H, W\) or \(D, H, W\), got \(20, 20\)"),
        ((1, 1, 20, 20), {"spatial_dims": 1}, r"shape \(N, C, L\), \(C, L\) or \(L,\), got \(1, 1, 20, 20\)"),
        ((20, 20), {"spatial_dims": 4}, "spatial_dims must be 1, 2 or 3, got 4"),
        ((20, 20), {"spatial_dims": True}, "spatial_dims must be 1, 2 or 3, got True"),
        ((20, 20), {"win_size": (3, 5, 7)}, r"win_size must be an odd integer >= 3, or 2 of them, .* got \(3, 5, 7\)"),
        ((20, 20), {"win_size": (3, 4)}, r"win_size must be an odd integer >= 3, got \(3, 4\)"),
        ((20, 20), {"sigma": (1.5, 0)}, r"sigma must be a positive number .* got \(1.5, 0\)"),
        ((9, 20, 20), {"spatial_dims": 3}, r"at least 11 voxels along every axis for win_size=11, got 9 × 20 × 20"),
        ((9, 20, 4), {"spatial_dims": 3, "win_size": (5, 5, 7)}, r"at least 5 × 5 × 7 voxels .* got 9 × 20 × 4"),
        ((20, 20), {"win_size": (3, 5), "backend": "numba"}, "has no fused kernel for win_size by axis"),
        ((20,), {"spatial_dims": 1, "backend": "numba"}, "has no fused kernel for spatial_dims=1"),
    ],
)
def test_errors(shape, options, message):
    if "numba" in options.values():
        pytest.importorskip("numba")
    with pytest.raises(ValueError, match=message):
        msssim.ssim(torch.zeros(shape), torch.zeros(shape), **options)


def test_the_error_of_a_volume_that_is_too_small_for_five_scales_says_what_to_do():
    volume = torch.zeros(1, 1, 100, 155, 155)
    with pytest.raises(ValueError, match=r'176 voxels .* got 100 × 155 × 155; pass small="fewer" .* 4 scales'):
        msssim.msssim(volume, volume, spatial_dims=3)
