"""Borders, uniform windows and sample covariance of ssim()."""

import re

import numpy as np
import pytest
import torch
from marks import compiling

import msssim

NUMPY_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


def _by_hand(image, padding, radius):
    width = ((0, 0), (0, 0), (radius, radius), (radius, radius))
    return torch.from_numpy(np.pad(image.numpy(), width, mode=NUMPY_MODE[padding]))


@pytest.mark.parametrize("padding", NUMPY_MODE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8], ids=str)
def test_padding_equals_padding_by_hand(pair, backend, padding, dtype):
    x, y = pair(2, 2, 33, 36, dtype=dtype)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-6
    for options in ({}, dict(win_size=7, window="uniform"), dict(win_size=31, sigma=3.0)):
        radius = options.get("win_size", 11) // 2
        value = msssim.ssim(x, y, padding=padding, backend=backend, **options)
        expected, map = msssim.ssim(*(_by_hand(each, padding, radius) for each in (x, y)), full=True, **options)
        torch.testing.assert_close(value, expected, rtol=0, atol=tolerance)
        assert map.shape == x.shape


@pytest.mark.parametrize("padding", NUMPY_MODE)
def test_gradients_with_padding(pair, backend, padding):
    x, y = (image.requires_grad_() for image in pair(1, 2, 21, 18))
    value = msssim.ssim(x, y, padding=padding, backend=backend)
    ours = torch.autograd.grad(value, (x, y))
    if padding == "zeros":
        a, b = (torch.nn.functional.pad(image, (5,) * 4) for image in (x, y))
    elif padding == "symmetric":
        a, b = (_symmetric(image, 5) for image in (x, y))
    else:
        a, b = (torch.nn.functional.pad(image, (5,) * 4, mode=padding) for image in (x, y))
    expected = torch.autograd.grad(msssim.ssim(a, b, backend="torch"), (x, y))
    for found, same in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, same, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("padding", NUMPY_MODE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_gradients_of_narrow_images_with_padding_are_rounded_once(pair, backend, padding, dtype):
    x, y = pair(2, 2, 12, 17, dtype=dtype)
    gradients = []
    for images, name in (((x, y), backend), ((x.double(), y.double()), "torch")):
        images = [image.clone().requires_grad_() for image in images]
        value = msssim.ssim(*images, data_range=1.0, padding=padding, backend=name)
        # Times a number, so that float16 holds the gradient of every pixel.
        gradients.append(torch.autograd.grad(value * 256, images))
    for ours, exact in zip(*gradients, strict=True):
        assert ours.dtype == dtype
        rounded = exact.abs() * torch.finfo(dtype).eps / 2 + 1e-6 * exact.abs().max()
        assert ((ours.double() - exact).abs() <= 1.01 * rounded).all()


@pytest.mark.parametrize("padding", NUMPY_MODE)
def test_gradients_of_tiny_images_with_padding_are_finite(backend, padding):
    x, y = torch.rand(2, 1, 1, 3, 5, generator=torch.Generator().manual_seed(1)) * 6e-40
    x.requires_grad_()
    value = msssim.ssim(x, y, data_range=3e-39, win_size=3, padding=padding, backend=backend)
    (gradient,) = torch.autograd.grad(value, x)
    assert gradient.isfinite().all() and gradient.any()


def _symmetric(image, radius):
    for axis, size in ((-2, image.shape[-2]), (-1, image.shape[-1])):
        places = torch.arange(-radius, size + radius)
        places = torch.where(places < 0, -1 - places, places)
        image = image.index_select(axis, torch.where(places >= size, 2 * size - 1 - places, places))
    return image


@pytest.mark.parametrize("padding, least", [("zeros", 1), ("replicate", 1), ("reflect", 6), ("symmetric", 5)])
def test_the_least_size_is_what_the_padding_needs(pair, backend, padding, least):
    x, y = pair(1, 1, least, 9)
    assert msssim.ssim(x, y, padding=padding, full=True)[1].shape == (1, 1, least, 9)
    assert msssim.ssim(x, y, padding=padding, backend=backend).isfinite()
    if least > 1:
        text = f'at least {least} pixels high and wide for win_size=11 and padding="{padding}"'
        with pytest.raises(ValueError, match=re.escape(text)):
            msssim.ssim(x[..., 1:, :], y[..., 1:, :], padding=padding)


def test_a_gradient_through_the_downsampling_is_clamped(backend):
    x, y = torch.rand(2, 1, 1, 384, 384, generator=torch.Generator().manual_seed(0)).half() / 1024
    value = msssim.ssim(x.requires_grad_(), y, data_range=1 / 1024, downsample="auto", backend=backend)
    (gradient,) = torch.autograd.grad(value * 1e7, x)
    assert gradient.isfinite().all() and gradient.abs().max() == torch.finfo(torch.float16).max


def test_padding_is_after_the_downsampling(pair):
    x, y = pair(1, 1, 520, 514)
    value, map = msssim.ssim(x, y, padding="symmetric", downsample="auto", full=True)
    small = (torch.nn.functional.avg_pool2d(image, 2) for image in (x, y))
    torch.testing.assert_close(value, msssim.ssim(*small, padding="symmetric"), rtol=1e-12, atol=0)
    assert map.shape == (1, 1, 260, 257)


@pytest.mark.parametrize("padding", ["zeros", "reflect", "symmetric", "replicate"])
def test_second_derivatives_with_padding(pair, padding):
    x, y = (image.requires_grad_() for image in pair(1, 1, 5, 4))
    index = lambda x, y: msssim.ssim(x, y, padding=padding, win_size=5, sigma=1.0)  # noqa: E731
    assert torch.autograd.gradcheck(index, (x, y))
    assert torch.autograd.gradgradcheck(index, (x, y))


@pytest.mark.parametrize("size", [(31, 34), (64, 65)])
def test_the_default_of_scikit_image(pair, backend, size):
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pair(*size)
    options = dict(window="uniform", win_size=7, sample_covariance=True)
    value, map = msssim.ssim(x, y, full=True, **options)
    expected, whole = metrics.structural_similarity(x.numpy(), y.numpy(), data_range=1.0, full=True)
    assert abs(value.item() - expected) < 1e-12
    np.testing.assert_allclose(map, whole[3:-3, 3:-3], rtol=0, atol=1e-12)
    assert abs(msssim.ssim(x, y, backend=backend, **options).item() - expected) < 1e-12


def test_sample_covariance_with_a_gaussian_window(pair, backend):
    metrics = pytest.importorskip("skimage.metrics")
    x, y = pair(31, 34)
    for sample in (True, False):
        value = msssim.ssim(x, y, sample_covariance=sample, backend=backend)
        expected = metrics.structural_similarity(
            x.numpy(), y.numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=sample
        )
        assert abs(value.item() - expected) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_gradients_of_a_uniform_window(pair, backend, dtype):
    x, y = pair(2, 1, 70, 75, dtype=dtype)
    options = dict(window="uniform", win_size=7, sample_covariance=True)
    results = []
    for image, other, name in ((x, y, backend), (x.double(), y.double(), "torch")):
        image = image.clone().requires_grad_()
        results.append(torch.autograd.grad(msssim.ssim(image, other, backend=name, **options), image)[0].double())
    rtol = 1e-10 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(*results, rtol=0, atol=rtol * results[1].abs().max().item())


def test_sigma_belongs_to_the_gaussian_window(pair):
    x, y = pair(20, 20)
    assert torch.equal(msssim.ssim(x, y, sigma=None), msssim.ssim(x, y, sigma=1.5))
    for call in (msssim.ssim, lambda *images, **options: msssim.SSIM(**options)):
        with pytest.raises(ValueError, match=r'sigma must be None with window="uniform", .* got 1\.5'):
            call(x, y, window="uniform", sigma=1.5)
    with pytest.raises(ValueError, match="sigma must be a positive number"):
        msssim.msssim(x, y, sigma=None)


@pytest.mark.parametrize("options", [dict(window="box"), dict(padding="same"), dict(sample_covariance=1)])
def test_errors(options):
    (name, value), image = next(iter(options.items())), torch.rand(20, 20)
    for call in (msssim.ssim, lambda *images, **options: msssim.SSIM(**options)):
        with pytest.raises(ValueError, match=f"{name} must be one of .*, got {value!r}"):
            call(image, image, **options)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        msssim.msssim(image, image, **options)


@compiling
@pytest.mark.parametrize(
    "options", [dict(padding="reflect"), dict(padding="zeros", window="uniform", win_size=7)], ids=str
)
def test_torch_compile_without_a_graph_break(pair, options):
    torch._dynamo.reset()
    x, y = pair(1, 2, 25, 26)
    index = lambda x, y: msssim.ssim(x, y, **options)  # noqa: E731
    compiled = torch.compile(index, fullgraph=True, backend="aot_eager")
    results = []
    for each in (compiled, index):
        a = x.clone().requires_grad_()
        value = each(a, y)
        results.append((value.detach(), *torch.autograd.grad(value, a)))
    for found, same in zip(*results, strict=True):
        torch.testing.assert_close(found, same)
