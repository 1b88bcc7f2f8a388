"""float32 in the CPU kernels where it is hard, against the long-double reference."""

import numpy as np
import pytest
import torch

import msssim
from reference import longdouble
from validation import fuzz, tolerances
from validation.fuzz.draws import round_to_dtype

pytest.importorskip("numba")
long_double = pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64 here")


def _smooth(height, width, seed=0):
    noise = torch.rand(1, 1, height + 6, width + 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.avg_pool2d(noise, 7, 1)[0].float().double().numpy()


def _failures(x, y, **options):
    x, y = (round_to_dtype(image, "float32") for image in (x, y))
    return fuzz.failures(fuzz.Draw("smooth", x, y, "float32", longdouble.Options(**options)), "numba")


def _assert_within_budgets(x, y, **options):
    """Without the allowance that the random calls make for what float32 cannot carry."""
    results = []
    for dtype, backend in ((torch.float64, "torch"), (torch.float32, "numba")):
        images = [
            torch.from_numpy(round_to_dtype(image, "float32")).to(dtype)[None].requires_grad_() for image in (x, y)
        ]
        value = msssim.msssim(*images, backend=backend, **options)
        results.append((value.double(), torch.autograd.grad(value, images)))
    (expected, gradients), (value, found) = results
    assert abs(value - expected) <= tolerances.budget("value", "float32", "numba").worst
    for one, other in zip(found, gradients, strict=True):
        limit = tolerances.budget("gradient", "float32", "numba").worst * other.abs().max()
        assert (one - other).abs().max() <= limit


@long_double
@pytest.mark.parametrize("difference", [1e-2, 1e-4, 1e-5])
@pytest.mark.parametrize("levels", [1, 3])
def test_gradient_between_nearly_equal_images(difference, levels):
    """Late in training: the difference of the images, not the images, has to keep its digits, at every scale."""
    x = _smooth(80, 90)
    y = x + difference * (_smooth(80, 90, seed=1) - 0.5)
    assert _failures(x, y, weights=(1 / levels,) * levels, normalize="covariance") == []


@pytest.mark.parametrize("difference", [1e-3, 1e-5])
def test_dark_pixels_that_are_nearly_equal(difference):
    """A dark pixel less the mean of its plane is rounded, so the difference of the images has to be computed first."""
    x = np.abs(np.linspace(0, 0.5, 90) + 0.3 * _smooth(80, 90) - 0.12)
    y = x + difference * (_smooth(80, 90, seed=1) - 0.5)
    _assert_within_budgets(x, y, weights=(0.5, 0.5), normalize="covariance")


@long_double
@pytest.mark.parametrize("options", [{"K2": 0.003}, {"K1": 0.0}, {"sigma": 0.3}, {"win_size": 3}], ids=str)
def test_small_constants_and_narrow_windows(options):
    x = _smooth(80, 70)
    y = x + 0.3 * (_smooth(80, 70, seed=1) - 0.5)
    assert _failures(x, y, weights=(0.5, 0.5), normalize="relu", **options) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_mean_near_zero_under_a_small_power(seed):
    """The power of a mean near zero, and its derivative, magnify what rounding leaves of it."""
    x, noise = (np.random.default_rng([seed, n]).random((1, 90, 90)) for n in range(2))

    def mean(share):
        images = (torch.from_numpy(round_to_dtype(image, "float32"))[None] for image in (x, noise + share * x))
        return msssim.ssim(*images, backend="torch").item()

    low, high = -0.5, 0.5  # the mean grows with the share of x in y
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if mean(middle) > 2e-7 else (middle, high)
    assert 0 < mean(high) < 2**-7
    _assert_within_budgets(x, noise + high * x, weights=(0.0448,))


def test_pixels_whose_sum_overflows_within_their_range():
    x = torch.full((1, 1, 70, 70), 3e38)
    x[..., ::3] = 1e38
    y = x.flip(-1)
    expected = msssim.msssim(x.double() / 3e38, y.double() / 3e38, weights=(0.5, 0.5))
    found = msssim.msssim(x, y, weights=(0.5, 0.5), data_range=3e38, backend="numba")
    assert abs(found - expected) <= tolerances.budget("value", "float32", "numba").worst


def test_a_weighted_sum_is_at_most_1():
    weights = (1.8341197507540667, 0.4969936646046722)  # their shares sum to 1 and a rounding
    x = torch.rand(1, 1, 30, 30, dtype=torch.float64)
    assert msssim.msssim(x, x, weights=weights, method="wtd_sum", win_size=5, backend="numba") == 1


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_huge_pixels_without_c1(backend):
    x, y = torch.zeros(1, 1, 3, 3), torch.full((1, 1, 3, 3), 1e38)
    y[..., 1, 1] = 0
    x.requires_grad_()
    y.requires_grad_()
    options = dict(win_size=3, sigma=0.05, K1=0.0, normalize="relu", weights=(1.0,), data_range=1e38, backend=backend)
    msssim.msssim(x, y, **options).backward()
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.filterwarnings("ignore:data_range is 1:UserWarning")
def test_infinity_beside_huge_pixels_is_nan(backend):
    x, y = torch.zeros(1, 1, 4, 3), (torch.arange(4.0)[:, None] % 2 * 2 - 1).expand(1, 1, 4, 3) * 1e20
    x[..., 0, 0] = -torch.inf
    assert msssim.msssim(x, y, normalize="relu", weights=(1.0,), win_size=3, K1=0.0, backend=backend).isnan()
