"""Gradients of "covariance" in the CPU kernels at its clamps: rounding must not decide the sign of a zero."""

import pytest
import torch

import msssim

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")


def _gradients(x, y, **options):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = msssim.msssim(x, y, weights=(1.0,), backend="numba", **options)
    return value.detach(), *torch.autograd.grad(value, (x, y))


def _black_beside_white(dtype=torch.float64):
    x = torch.zeros(1, 1, 22, 40, dtype=dtype)
    x[..., 20:] = 1
    y = torch.full_like(x, 0.05)
    y[..., ::2] = 0.1
    return x, y


def test_black_areas_keep_their_gradient():
    # No window has a negative covariance or product of means: "covariance" clamps nothing.
    x, y = _black_beside_white()
    value, *clamped = _gradients(x, y, normalize="covariance")
    expected, *free = _gradients(x, y, normalize=None)
    assert value == pytest.approx(expected.item(), abs=1e-14)
    for one, other in zip(clamped, free, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * other.abs().max().item())


@pytest.mark.parametrize("scale", [2.0, 100.0, 255.0])
def test_gradient_follows_the_data_range(scale):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 24, 30, generator=generator, dtype=torch.float64)
    y = 0.5 + 4e-4 * torch.randn(x.shape, generator=generator, dtype=torch.float64)  # |2 sigma_xy| near 1e-6
    _, *expected = _gradients(x, y, normalize="covariance")
    _, *scaled = _gradients(x * scale, y * scale, normalize="covariance", data_range=scale)
    for one, other in zip(scaled, expected, strict=True):
        torch.testing.assert_close(one * scale, other, rtol=0, atol=1e-9 * other.abs().max().item())


def test_flat_areas_beside_an_edge_keep_their_gradient():
    """A covariance of zero is kept, also where moments were made about constants that are far from the area."""
    x = torch.rand(1, 1, 40, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = 0.45 + 0.02 * x
    y = torch.full_like(x, 0.4375)  # its windows are flat but at the edge
    y[..., :60] = 0
    _, *expected = _plain_gradients(x, y)
    _, *found = _gradients(x, y, normalize="covariance")
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * other.abs().max().item())


def _plain_gradients(x, y):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = msssim.msssim(x, y, weights=(1.0,), backend="torch", normalize="covariance")
    return value.detach(), *torch.autograd.grad(value, (x, y))
