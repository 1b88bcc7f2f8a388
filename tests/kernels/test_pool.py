"""pool() of the fused backends against multiscale.pool() and its derivative."""

import contextlib
import importlib
import os

import pytest
import torch

from msssim import multiscale

DEVICES = {"numba": "cpu", "triton": "cuda" if torch.cuda.is_available() else "cpu"}

pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # NumPy's, under the interpreter


@pytest.fixture(params=DEVICES)
def pool(request):
    """A function: pool() of a backend, with tensors on its device and results on the CPU."""
    pytest.importorskip(request.param)
    module = importlib.import_module(f"msssim.backends.{request.param}.api")
    compiled = DEVICES["triton"] == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"
    if request.param == "triton" and compiled:
        driver = importlib.import_module("validation.emulated_gpu.driver")
        here = driver.emulated_gpu(90)
    else:
        here = contextlib.nullcontext()

    def pool(terms, pooling, with_derivative=True):
        results = module.pool(terms.detach().to(DEVICES[request.param]), pooling, with_derivative)
        return [each if each is None else each.cpu() for each in results]

    with here:
        yield pool


def _pooling(weights=(0.3, 0.7), normalize=None, method="product", reduce_batch=True, dtype=torch.float64):
    return multiscale.Pooling(weights, normalize, method, reduce_batch, dtype)


def _terms(*shape):
    """Terms from -1 to 1, among them NaN and other special values."""
    terms = torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=torch.float64).view(shape).roll(7)
    terms.view(-1)[-4:] = torch.tensor([0.0, 1e-300, -1e-20, torch.nan])
    return terms


@pytest.mark.parametrize("reduce_batch", [True, False])
@pytest.mark.parametrize("method", multiscale.METHODS)
@pytest.mark.parametrize("normalize", multiscale.NORMALIZE)
@pytest.mark.parametrize("weights", [(0.3, 0.7), (1.0, 2.0), (0.5,)], ids=str)
def test_matches_multiscale_pool_and_its_derivative(pool, weights, normalize, method, reduce_batch):
    pooling = _pooling(weights, normalize, method, reduce_batch)
    for terms in (_terms(3, 12, len(weights)), torch.full((2, 1, len(weights)), 0.9, dtype=torch.float64)):
        terms.requires_grad_()
        expected = multiscale.pool(terms, pooling)
        (derivative,) = torch.autograd.grad(expected.sum(), terms)
        value, derivatives = pool(terms, pooling)
        torch.testing.assert_close(value, expected.detach(), rtol=1e-14, atol=1e-300, equal_nan=True)
        torch.testing.assert_close(derivatives, derivative, rtol=1e-12, atol=1e-300, equal_nan=True)


@pytest.mark.parametrize("planes", [1, 100, 1000])
def test_many_planes(pool, planes):
    terms = torch.rand(planes, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(planes))
    pooling = _pooling(multiscale.WEIGHTS)
    torch.testing.assert_close(pool(terms, pooling)[0], multiscale.pool(terms, pooling), rtol=1e-14, atol=0)


def test_identical_images_give_exactly_one(pool):
    for dtype in (torch.float32, torch.float64):
        value, derivatives = pool(
            torch.ones(3, 3, 5, dtype=torch.float64), _pooling(multiscale.WEIGHTS, dtype=dtype), False
        )
        assert value.dtype == dtype and value.shape == () and value == 1 and derivatives is None
