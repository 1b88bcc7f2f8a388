"""The windowed sums of plain PyTorch: in blocks they have the same bits."""

import pytest
import torch

import msssim
from msssim import window
from msssim.backends import filters


@pytest.mark.parametrize("form", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 2, 41, 37), (2, 1, 97, 64), (1, 2, 24, 19, 21), (2, 3, 500), (90, 1, 12, 13)])
def test_blocks_have_the_bits_of_the_whole(shape, dtype, form):
    x = torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    taps = tuple(window.gaussian_taps(size, 1.5) for size in (11, 7, 5)[: len(shape) - 2])
    whole = filters._filtered(x, taps, form)
    for block in (1, 700, 5000, 10**6):
        assert torch.equal(filters._in_blocks(x, taps, form, block), whole)


def test_large_images_are_filtered_in_blocks(monkeypatch):
    """Value, gradient and second derivative have the same bits."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 2, 40, 50, dtype=torch.float64, generator=generator) for _ in range(2))
    calls, in_blocks = [], filters._in_blocks
    monkeypatch.setattr(filters, "_in_blocks", lambda *arguments: calls.append(1) or in_blocks(*arguments))

    def derivatives():
        image = x.clone().requires_grad_()
        value = msssim.msssim(image, y, small="fewer", normalize="covariance", backend="torch")
        (gradient,) = torch.autograd.grad(value, image, create_graph=True)
        return value.detach(), gradient.detach(), torch.autograd.grad((gradient * y).sum(), image)[0]

    whole = derivatives()
    assert not calls
    monkeypatch.setattr(filters, "_BLOCK", 900)
    for found, expected in zip(derivatives(), whole, strict=True):
        assert torch.equal(found, expected)
    assert calls
