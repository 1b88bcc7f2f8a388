"""The losses are one minus the index, are finite, and differentiate as the index does; reduction="sum" adds images."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F

import msssim

FUNCTIONS = {
    "ssim_loss": (msssim.ssim, {}),
    "msssim_loss": (msssim.msssim, {"normalize": "covariance"}),
}
MODULES = {
    "SSIMLoss": msssim.ssim_loss, "MSSSIMLoss": msssim.msssim_loss, "MSSSIML1Loss": msssim.msssim_l1_loss,
}  # fmt: skip
SHAPES = [(2, 3, 180, 177), (3, 180, 177), (180, 177)]


@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_minus_the_index(pair, name, shape):
    x, y = pair(*shape)
    index, defaults = FUNCTIONS[name]
    loss = getattr(msssim, name)
    each = 1 - index(x, y, reduction="none", **defaults)
    torch.testing.assert_close(loss(x, y), each.mean(), rtol=0, atol=1e-14)
    torch.testing.assert_close(loss(x, y, reduction="none"), each, rtol=0, atol=1e-14)
    torch.testing.assert_close(loss(x, y, reduction="sum"), each.sum(), rtol=0, atol=1e-14)
    with_option = 1 - index(x, y, **defaults | {"K1": 0.2})
    torch.testing.assert_close(loss(x, y, K1=0.2), with_option, rtol=0, atol=1e-14)
    assert 0.001 < loss(x, y) < 0.999 and loss(x, y, K1=0.2) != loss(x, y)


@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("name", ["ssim", "msssim"])
def test_sum_of_the_images(backend, pair, name, shape):
    x, y = pair(*shape, dtype=torch.float32)
    x.requires_grad_()
    function = getattr(msssim, name)
    total = function(x, y, reduction="sum", backend=backend)
    expected = function(x, y, reduction="none", backend=backend).sum()
    assert total.shape == () and total > (1 if len(shape) == 4 else 0)
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=0)
    (gradient,), (of_expected,) = torch.autograd.grad(total, x), torch.autograd.grad(expected, x)
    torch.testing.assert_close(gradient, of_expected)
    if name == "ssim":
        with_map, _ = function(x, y, reduction="sum", full=True)
        torch.testing.assert_close(with_map, total, rtol=1e-6, atol=0)


@pytest.mark.parametrize("alpha", [0, 0.3, 0.84, 1])
@pytest.mark.parametrize("reduction", ["mean", "none", "sum"])
@pytest.mark.parametrize("data_range", [1.0, 4.0])
def test_the_mix(pair, alpha, reduction, data_range):
    x, y = pair(2, 3, 180, 177, noise=0.5)
    difference = (x - y).abs() / data_range
    l1 = {"mean": difference.mean(), "none": difference.mean((1, 2, 3)), "sum": difference.mean((1, 2, 3)).sum()}
    structure = msssim.msssim_loss(x, y, reduction=reduction, data_range=data_range)
    mix = msssim.msssim_l1_loss(x, y, alpha=alpha, reduction=reduction, data_range=data_range)
    torch.testing.assert_close(mix, alpha * structure + (1 - alpha) * l1[reduction], rtol=1e-13, atol=0)


def test_the_mix_of_integers_and_of_two_dtypes():
    x, y = torch.full((1, 176, 176), 10, dtype=torch.uint8), torch.full((1, 176, 176), 20, dtype=torch.uint8)
    assert msssim.msssim_l1_loss(x, y, alpha=0).item() == pytest.approx(10 / 255, rel=1e-6)
    mixed = msssim.msssim_l1_loss((x / 16).bfloat16(), (y / 16).double(), alpha=0)
    assert mixed.dtype == torch.float64 and mixed.item() == pytest.approx(0.625, rel=1e-12)


@pytest.mark.parametrize("name", MODULES)
def test_modules(pair, name):
    x, y = pair(2, 1, 180, 177, dtype=torch.float32)
    options = {"reduction": "none", "data_range": 2.0}
    module = getattr(msssim, name)(**options)
    torch.testing.assert_close(module(x, y), MODULES[name](x, y, **options), rtol=0, atol=0)
    module.reduction = "sum"
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(x, y), MODULES[name](x, y, **options).sum(), rtol=1e-6, atol=0)
        assert repr(twin) == repr(module) and "reduction='sum'" in repr(module)
    assert not module.state_dict()
    with pytest.raises(ValueError, match="reduction must be"):
        module.reduction = "total"


def test_alpha_is_an_option_of_the_module(pair):
    x, y = pair(1, 1, 176, 176)
    module = msssim.MSSSIML1Loss()
    assert module.alpha == 0.84 and "alpha=0.84" in repr(module)
    module.alpha = 0.25
    torch.testing.assert_close(module(x, y), msssim.msssim_l1_loss(x, y, alpha=0.25), rtol=0, atol=0)
    for wrong in (-0.1, 1.1, math.nan, "1", None, True):
        with pytest.raises(ValueError, match="alpha must be a number from 0 to 1, got "):
            module.alpha = wrong
        with pytest.raises(ValueError, match="alpha must be a number from 0 to 1, got "):
            msssim.msssim_l1_loss(x, y, alpha=wrong)


def extreme_images():
    generator = torch.Generator().manual_seed(0)
    noise, flat = torch.rand(2, 1, 44, 44, generator=generator), torch.full((2, 1, 44, 44), 0.5)
    checkers = (torch.arange(44)[:, None] + torch.arange(44)).remainder(2).float().expand(2, 1, 44, 44)
    largest = torch.finfo(torch.float32).max
    return [
        noise,
        1 - noise,
        flat,
        0 * flat,
        checkers,
        1 - checkers,
        -noise,
        largest * checkers,
        -largest * flat,
        1e-40 * noise,
    ]


@pytest.mark.parametrize("name", MODULES)
def test_finite_for_finite_images(backend, name):
    options = {} if name == "SSIMLoss" else {"weights": (0.3, 0.3, 0.4)}
    criterion = getattr(msssim, name)(backend=backend, **options)
    images = extreme_images()
    for first in images:
        for second in images:
            x, y = first.clone().requires_grad_(), second.clone().requires_grad_()
            loss = criterion(x, y)
            loss.backward()
            assert loss.isfinite() and x.grad.isfinite().all() and y.grad.isfinite().all()
            assert loss >= -1e-6 and (loss <= 2 if name == "SSIMLoss" else name != "MSSSIMLoss" or loss <= 1)


def test_l1_beyond_float64_is_finite():
    largest = torch.finfo(torch.float64).max
    x = torch.full((1, 1, 176, 176), largest, dtype=torch.float64, requires_grad=True)
    loss = msssim.msssim_l1_loss(x, -x.detach(), alpha=0.5)
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()


@pytest.mark.parametrize("name", MODULES)
def test_second_derivatives(pair, name):
    x, y = pair(1, 1, 22, 22)
    options = {} if name == "SSIMLoss" else {"weights": (0.4, 0.6)}
    criterion = getattr(msssim, name)(**options)
    torch.autograd.gradgradcheck(lambda image: criterion(image, y), x[..., :22, :22].requires_grad_(), fast_mode=True)


def test_small_crops_say_what_to_pass(pair):
    x, y = pair(1, 1, 96, 96, dtype=torch.float32)
    with pytest.raises(ValueError, match='pass small="fewer"'):
        msssim.MSSSIMLoss()(x, y)
    assert msssim.MSSSIMLoss(small="fewer")(x, y) == 1 - msssim.msssim(x, y, normalize="covariance", small="fewer")


def test_a_training_step_lowers_the_mix(pair):
    target, start = pair(1, 3, 64, 64, dtype=torch.float32, noise=1.0)
    output, criterion = start.clone().requires_grad_(), msssim.MSSSIML1Loss(small="fewer")
    optimizer = torch.optim.Adam([output], lr=0.02)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert F.l1_loss(output, target) < F.l1_loss(start, target)


def test_the_mix_with_a_mask_and_ranges_of_images(pair):
    x, y = pair(2, 3, 64, 61, noise=0.5)
    mask = torch.rand(2, 1, 64, 61, generator=torch.Generator().manual_seed(0)) > 0.3
    ranges, options = torch.tensor([1.0, 4.0]), dict(small="fewer", reduction="none")
    hidden = x.masked_fill(~mask, float("nan")).requires_grad_()
    value = msssim.msssim_l1_loss(hidden, y, mask=mask, data_range=ranges, **options)
    index = msssim.msssim(x, y, mask=mask, data_range=ranges, normalize="covariance", **options)
    l1 = torch.stack([(x - y).abs()[n, :, mask[n, 0]].mean() / ranges[n] for n in range(2)])
    torch.testing.assert_close(value, 0.84 * (1 - index) + 0.16 * l1)
    torch.testing.assert_close(
        msssim.msssim_l1_loss(hidden, y, mask=mask, data_range=ranges, small="fewer"), value.mean()
    )
    assert torch.autograd.grad(value.sum(), hidden)[0].isfinite().all()
    criterion = msssim.MSSSIML1Loss(**options)
    assert torch.equal(criterion(hidden, y, mask=mask, data_range=ranges), value)
