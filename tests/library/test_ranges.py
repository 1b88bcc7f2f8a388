"""A tensor as data_range: one number, or one for each image."""

import re

import pytest
import torch
from marks import compiling

import msssim

TWO = dict(weights=(0.4, 0.6))


def _value_and_gradient(index, x, y, **options):
    x = x.clone().requires_grad_()
    value = index(x, y, reduction="none", **options)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


@pytest.mark.parametrize("index, options", [(msssim.ssim, {}), (msssim.msssim, TWO)], ids=["ssim", "msssim"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("of_range", [torch.float32, torch.int64], ids=str)
def test_one_range_for_each_image(pair, backend, index, options, dtype, of_range):
    x, y = pair(3, 2, 45, 50, dtype=dtype)
    ranges = torch.tensor([1, 255, 4095], dtype=of_range)
    scale = ranges.to(dtype).reshape(3, 1, 1, 1)
    ours = _value_and_gradient(index, x * scale, y * scale, data_range=ranges, backend=backend, **options)
    for n in range(3):
        image = slice(n, n + 1)
        alone = dict(options, data_range=float(ranges[n]), backend="torch")
        value, gradient = _value_and_gradient(index, (x * scale)[image].double(), (y * scale)[image].double(), **alone)
        tolerance = 1e-12 if dtype == torch.float64 else 2e-5
        torch.testing.assert_close(ours[0][image].double(), value, rtol=0, atol=tolerance)
        atol = tolerance * gradient.abs().max().item()
        torch.testing.assert_close(ours[1][image].double(), gradient, rtol=0, atol=atol)


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_a_range_that_is_not_positive_gives_nan(pair, shape, bad):
    x, y = pair(2, 1, 20, 20)
    ranges = torch.full(shape, bad)
    if shape == (2,):
        ranges[0] = 1
    values = msssim.ssim(x, y, data_range=ranges, reduction="none")
    assert values[1].isnan()
    if shape == (2,):
        torch.testing.assert_close(values[0], msssim.ssim(x[:1], y[:1]))
    else:
        assert values[0].isnan()


def test_a_range_gets_no_gradient(pair):
    x, y = pair(2, 1, 20, 20)
    y.requires_grad_()
    ranges = y.amax((1, 2, 3))
    expected = msssim.ssim(x, y, data_range=ranges.detach())
    value = msssim.ssim(x, y, data_range=ranges)
    assert torch.equal(*(torch.autograd.grad(each, y)[0] for each in (value, expected)))


def test_a_tensor_is_read_at_each_call(pair):
    x, y = pair(2, 1, 20, 20)
    ranges = torch.tensor([1.0, 2.0])
    before = msssim.ssim(x, y, data_range=ranges)
    ranges.fill_(4.0)
    assert msssim.ssim(x, y, data_range=ranges) == pytest.approx(msssim.ssim(x, y, data_range=4.0).item(), abs=1e-12)
    assert msssim.ssim(x, y, data_range=ranges) != before


def test_zero_constants_stay_zero():
    flat = torch.full((2, 1, 20, 20), 0.5)
    values = msssim.ssim(flat, flat, data_range=torch.tensor([1.0, 2.0]), K1=0, K2=0, reduction="none")
    assert torch.equal(values, torch.ones(2))


@pytest.mark.parametrize(
    "shape, ranges, text",
    [
        ((2, 1, 20, 20), torch.ones(3), "one for each of the 2 images, got a torch.Tensor of shape (3,)"),
        ((2, 20, 20), torch.ones(2), "one number"),
        ((20, 20), torch.ones(20), "one number"),
        ((2, 1, 20, 20), torch.ones(2, 1), "one number"),
        ((2, 1, 20, 20), torch.ones(2, dtype=torch.bool), "positive number"),
        ((2, 1, 20, 20), torch.ones(2, dtype=torch.complex64), "positive number"),
        ((2, 1, 20, 20), torch.ones(2, device="meta"), "on the device of the images, cpu, or on the CPU, got meta"),
    ],
)  # fmt: skip
def test_errors(shape, ranges, text):
    image = torch.rand(shape)
    with pytest.raises(ValueError, match=re.escape(text)):
        msssim.ssim(image, image, data_range=ranges)


@compiling
@pytest.mark.parametrize("shape", [(), (2,)])
def test_one_compiled_graph_serves_all_tensors(pair, shape):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    index = lambda x, y, ranges: msssim.ssim(x, y, data_range=ranges)  # noqa: E731
    compiled = torch.compile(index, fullgraph=True, backend=counter)
    x, y = pair(2, 1, 20, 20, dtype=torch.float32)
    for number in (1.0, 2.0, 100.0, 255.0):
        ranges = torch.full(shape, number)
        torch.testing.assert_close(compiled(x * number, y * number, ranges), index(x * number, y * number, ranges))
    assert counter.frame_count == 1


def test_vmap_over_ranges(pair):
    x, y = pair(3, 1, 20, 20)
    ranges = torch.tensor([1.0, 2.0, 4.0])
    expected = msssim.ssim(x, y, data_range=ranges, reduction="none")
    mapped = torch.func.vmap(lambda x, y, one: msssim.ssim(x, y, data_range=one))(x, y, ranges)
    torch.testing.assert_close(mapped, expected)
