"""Fixtures that the tests share: image pairs, a second implementation to compare with, the backends."""

import importlib.util
import math
import os

import pytest
import torch
import torch.nn.functional as F

import msssim
from msssim import backends

# PyTorch counts the GPUs at its first backward pass. If there is one, a forked process cannot run a backward pass. A
# CUDA build that counts first in FakeTensorMode counts a fake GPU.
torch.ones((), requires_grad=True).backward()


def _backends():
    """The available backends, and without a GPU the GPU kernels on an emulated one."""
    names = [*msssim.available_backends()]
    known = importlib.util.find_spec("triton") and backends.missing("triton") is None
    if known and "triton" not in names and os.environ.get("TRITON_INTERPRET") != "1":
        names.append(pytest.param("triton", marks=pytest.mark.full))  # each kind of call takes seconds to compile
    return names


@pytest.fixture(params=_backends())
def backend(request):
    """Each backend that can be used here. Calls that it does not support are skipped, see pytest_runtest_call()."""
    if request.param != "triton" or torch.cuda.is_available():
        yield request.param
        return
    from validation.emulated_gpu import driver

    with driver.emulated_gpu(90):
        yield request.param


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what is marked
def pytest_collection_modifyitems(items):
    """Mark a test as full where its parameters have the values that a mark `full_where` names."""
    for item in items:
        for mark in item.iter_markers("full_where"):
            if mark.kwargs.items() <= item.callspec.params.items():
                item.add_marker(pytest.mark.full)


def pytest_runtest_setup(item):
    """Skip tests that need a later PyTorch."""
    installed = tuple(map(int, torch.__version__.split(".")[:2]))
    for mark in item.iter_markers("since_torch"):
        if installed < mark.args:
            pytest.skip("needs PyTorch >= {}.{}".format(*mark.args))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Skip a test, with the message of the error, if its backend does not support the call; plain PyTorch must."""
    outcome = yield
    name = getattr(item, "callspec", None) and item.callspec.params.get("backend")
    error = outcome.excinfo and outcome.excinfo[1]
    if name not in (None, "torch") and isinstance(error, ValueError) and str(error).startswith("backend="):
        outcome.force_exception(pytest.skip.Exception(str(error)))


@pytest.fixture
def pair():
    """A function that makes two correlated images in [0, 1]; a seed always gives the same images."""

    def make(*shape, dtype=torch.float64, seed=0, noise=0.3):
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(shape, generator=generator, dtype=torch.float64)
        y = (1 - noise) * x + noise * torch.rand(shape, generator=generator, dtype=torch.float64)
        if not dtype.is_floating_point:
            peak = 1 if dtype == torch.bool else min(torch.iinfo(dtype).max, 65535)
            x, y = (x * peak).round(), (y * peak).round()
        return x.to(dtype), y.to(dtype)

    return make


@pytest.fixture
def naive():
    """A function that computes mean l cs and mean cs of every scale, each (N, C, levels), as written in the paper.

    It is slow: a two-dimensional convolution in float64, with an explicit copy of the last odd row.
    """

    def terms(x, y, levels=1, data_range=1.0, win_size=11, sigma=1.5, K1=0.01, K2=0.03, rectify=False):
        x, y = x.double(), y.double()
        position = torch.arange(win_size, dtype=torch.float64) - win_size // 2
        gaussian = torch.exp(-(position[:, None] ** 2 + position**2) / (2 * sigma**2))
        window = (gaussian / gaussian.sum())[None, None]

        def blur(image):
            return F.conv2d(image.flatten(0, 1)[:, None], window).unflatten(0, image.shape[:2])[:, :, 0]

        ssim, contrast = [], []
        c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
        for level in range(levels):
            if level:
                odd = (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)
                x, y = (F.avg_pool2d(F.pad(image, odd, mode="replicate"), 2) for image in (x, y))
            mx, my = blur(x), blur(y)
            product, covariance = mx * my, blur(x * y) - mx * my
            if rectify:
                product, covariance = product.clamp(min=0), covariance.clamp(min=0)
            variances = blur(x * x) - mx * mx + blur(y * y) - my * my
            luminance = (2 * product + c1) / (mx * mx + my * my + c1)
            cs = (2 * covariance + c2) / (variances + c2)
            ssim.append((luminance * cs).mean((-2, -1)))
            contrast.append(cs.mean((-2, -1)))
        return torch.stack(ssim, -1), torch.stack(contrast, -1)

    return terms


@pytest.fixture
def naive_msssim(naive):
    """A function that computes MS-SSIM of each plane, (N, C), from the terms of `naive`."""

    def index(x, y, weights=(0.0448, 0.2856, 0.3001, 0.2363, 0.1333), normalize=None, method="product", **options):
        ssim, cs = naive(x, y, len(weights), rectify=normalize == "covariance", **options)
        terms = torch.cat([cs[..., :-1], ssim[..., -1:]], -1)
        terms = {"relu": terms.clamp(min=0), "simple": (terms + 1) / 2}.get(normalize, terms)
        if method == "wtd_sum":
            return sum(term * weight for term, weight in zip(terms.unbind(-1), weights, strict=True)) / sum(weights)
        return math.prod(term**weight for term, weight in zip(terms.unbind(-1), weights, strict=True))

    return index
