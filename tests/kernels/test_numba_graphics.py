"""Two-level graphics in the fused CPU kernel: planes that float32 makes inaccurate are computed again in float64."""

import numpy as np
import pytest
import torch

import msssim
from reference import longdouble
from validation import tolerances

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")

VALUE = tolerances.budget("value", "float32", "numba").worst
GRADIENT = tolerances.budget("gradient", "float32", "numba").worst


def _exact(index, x, y, **options):
    return index(x.double(), y.double(), backend="torch", **options)


def test_two_levels_beside_each_other():
    x = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    x[..., :40] = 255
    y = torch.full_like(x, 255)
    y[..., :40] = 108
    value = msssim.ssim(x, y, backend="numba")
    assert value.item() == pytest.approx(_exact(msssim.ssim, x, y, data_range=255).item(), abs=VALUE)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_two_levels_against_one_level_at_five_scales(dtype):
    x = torch.full((1, 1, 256, 256), 255, dtype=dtype)
    x[..., :195] = 7
    y = torch.full_like(x, 209)
    options = dict(data_range=255, normalize="relu")
    value = msssim.msssim(x, y, backend="numba", **options)
    assert value.item() == pytest.approx(_exact(msssim.msssim, x, y, **options).item(), abs=VALUE)


@pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64 here")
@pytest.mark.parametrize("normalize", [None, "simple", "covariance"])
def test_random_rectangles_of_two_levels(normalize):
    rng = np.random.default_rng(0)
    for _ in range(12):
        height, width = rng.integers(22, 60, 2)
        where = np.zeros((height, width), bool)
        for _ in range(3):
            top, left = rng.integers(0, height), rng.integers(0, width)
            where[top : top + rng.integers(1, height), left : left + rng.integers(1, width)] ^= True
        a, b, c, d = rng.integers(0, 256, 4)
        x, y = (torch.from_numpy(np.where(where, *pair).astype(np.float32)) for pair in ((a, b), (c, d)))
        options = longdouble.Options(255.0, (0.4, 0.6), normalize)
        exact = longdouble.msssim(x.numpy(), y.numpy(), options, rounding=2.0**-24)
        if np.isnan(exact.value[0]):
            continue
        x.requires_grad_()
        value = msssim.msssim(x, y, data_range=255, weights=(0.4, 0.6), normalize=normalize, backend="numba")
        assert value.item() == pytest.approx(float(exact.value[0]), abs=VALUE)
        size = abs(exact.gradient_x).max()
        if size * 255 * x.numel() < 1e-6:  # equal images: no gradient to be relative to
            continue
        error = abs(torch.autograd.grad(value, x)[0].double().numpy() - exact.gradient_x[0]) - exact.slack_x[0]
        assert error.max() < GRADIENT * size


def test_a_photograph_is_computed_in_float32(monkeypatch):
    from msssim.backends.numba import api

    x = torch.rand(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    calls = []
    original = api._means
    monkeypatch.setattr(api, "_means", lambda source, *rest: calls.append(source.dtype) or original(source, *rest))
    msssim.ssim(x.requires_grad_(), 0.9 * x.detach(), backend="numba")
    assert calls == [torch.float32]
    flat = torch.zeros(1, 1, 64, 64)
    flat[..., 40:] = 1
    msssim.ssim(flat.requires_grad_(), 0.5 * flat.detach() + 0.4, backend="numba")
    assert calls[1:] == [torch.float32, torch.float64]
