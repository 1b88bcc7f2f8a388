"""Two floating-point dtypes, such as a model's output under autocast and its target: torchmetrics#1453."""

import itertools

import pytest
import torch
from marks import compiling

import msssim

TWO_SCALES = dict(weights=(0.4, 0.6), normalize="covariance")
PAIRS = [
    pytest.param(one, other, id=f"{str(one)[6:]}-{str(other)[6:]}")
    for one, other in itertools.permutations((torch.float32, torch.bfloat16, torch.float16, torch.float64), 2)
]


def _computed(*dtypes):
    return torch.float64 if torch.float64 in dtypes else torch.float32


def _value_and_gradients(x, y, **options):
    x, y = (image.detach().clone().requires_grad_() for image in (x, y))
    value = msssim.msssim(x, y, **TWO_SCALES, **options)
    return value.detach(), *torch.autograd.grad(value, (x, y))


@pytest.mark.parametrize("one, other", PAIRS)
def test_the_wider_dtype_is_used_and_each_gradient_has_its_own(pair, backend, one, other):
    x, y = (image.to(dtype) for image, dtype in zip(pair(1, 2, 45, 50), (one, other), strict=True))
    value, of_x, of_y = _value_and_gradients(x, y, backend=backend)
    wide = _computed(one, other)
    expected, of_wide_x, of_wide_y = _value_and_gradients(x.to(wide), y.to(wide), backend=backend)
    assert value.dtype == wide and of_x.dtype == one and of_y.dtype == other
    assert torch.equal(value, expected)
    assert torch.equal(of_x, of_wide_x.to(one)) and torch.equal(of_y, of_wide_y.to(other))
    assert of_x.abs().max() > 0 and of_y.abs().max() > 0


def test_maps_and_downsampling_of_two_dtypes(pair):
    x, y = pair(1, 1, 400, 390, dtype=torch.float32)
    narrow = y.bfloat16()
    for options in (dict(full=True), dict(downsample="auto", full=True)):
        for ours, expected in zip(
            msssim.ssim(x, narrow, **options), msssim.ssim(x, narrow.float(), **options), strict=True
        ):
            assert torch.equal(ours, expected)


@pytest.mark.parametrize("criterion", [msssim.SSIM(), msssim.MSSSIM(**TWO_SCALES)], ids=["SSIM", "MSSSIM"])
def test_a_model_under_autocast_and_its_target(pair, criterion):
    torch.manual_seed(0)
    model, (x, _) = torch.nn.Conv2d(3, 3, 3, padding=1), pair(1, 3, 45, 50, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x)
        loss = 1 - criterion(output, x)
    assert output.dtype == torch.bfloat16 and loss.dtype == torch.float32
    loss.backward()
    assert model.weight.grad.isfinite().all() and model.weight.grad.abs().max() > 0
    torch.testing.assert_close(loss, 1 - criterion(output.float(), x), rtol=0, atol=0)


@compiling
@pytest.mark.full_where(backend="torch")
def test_two_dtypes_in_a_compiled_function(pair, backend):
    torch._dynamo.reset()
    index = lambda x, y: msssim.msssim(x, y, backend=backend, **TWO_SCALES)  # noqa: E731
    x, y = pair(1, 2, 45, 50, dtype=torch.float32)
    x, results = x.bfloat16(), []
    for call in (index, torch.compile(index, fullgraph=True, backend="aot_eager")):
        image = x.clone().requires_grad_()
        value = call(image, y)
        results.append((value.detach(), *torch.autograd.grad(value, image)))
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)


def test_two_dtypes_under_transforms_and_in_a_gradient_penalty(pair, backend):
    x, y = pair(3, 2, 45, 50, dtype=torch.float32)
    x = x.bfloat16()
    index = lambda x, y: msssim.msssim(x, y, backend=backend, **TWO_SCALES)  # noqa: E731
    each = torch.stack([index(a, b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(torch.func.vmap(index)(x, y), each)
    gradients = torch.func.vmap(torch.func.grad(index))(x, y)
    assert gradients.dtype == torch.bfloat16 and gradients.abs().max() > 0
    results = []
    for a, b in ((x, y), (x.float(), y)):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        (of_b,) = torch.autograd.grad(index(a, b), b, create_graph=True)
        results.append(torch.autograd.grad(of_b.square().sum(), (a, b)))
    (narrow, of_y), (wide, expected) = results
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(of_y, expected)
    torch.testing.assert_close(narrow, wide.bfloat16())


def test_a_gradient_beyond_float16_is_clamped(pair, backend):
    x, y = pair(1, 1, 45, 50, dtype=torch.float32)
    x = x.half().requires_grad_()
    msssim.msssim(x, y, backend=backend, **TWO_SCALES).mul(1e30).backward()
    assert x.grad.isfinite().all() and x.grad.abs().max() == torch.finfo(torch.float16).max


# MONAI PR#4600: data_range as a tensor, often computed from the images, with a gradient.
@pytest.mark.parametrize(
    "make", [lambda y: y.max(), lambda y: y.amax(keepdim=True), lambda y: y.detach().numpy().max()]
)
def test_a_tensor_as_data_range_gets_no_gradient(pair, backend, make):
    results = []
    for as_number in (False, True):
        x, y = (image.requires_grad_() for image in pair(1, 1, 45, 50))
        data_range = make(y).item() if as_number else make(y)
        for call in (msssim.ssim, lambda a, b, **options: msssim.SSIM(**options)(a, b)):
            value = call(x, y, data_range=data_range, backend=backend)
            results.append((value.detach(), *torch.autograd.grad(value, (x, y))))
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert torch.equal(one, other)


def test_a_tensor_as_data_range_is_read_at_each_call(pair):
    x, y = pair(1, 1, 45, 50)
    data_range = torch.tensor(1.0)
    criterion = msssim.SSIM(data_range=data_range)
    one = msssim.ssim(x, y, data_range=data_range)
    data_range.fill_(2.0)
    assert msssim.ssim(x, y, data_range=data_range) == msssim.ssim(x, y, data_range=2.0) != one
    assert criterion(x, y) == one and "data_range=1.0" in repr(criterion)


@compiling
def test_a_tensor_as_data_range_only_breaks_a_compiled_graph(pair):
    torch._dynamo.reset()
    x, y = pair(1, 1, 45, 50, dtype=torch.float32)
    compiled = torch.compile(lambda a, b: msssim.ssim(a, b, data_range=b.max()), backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), msssim.ssim(x, y, data_range=y.max()))
