"""Masks: normalized convolution through the whole pyramid, against a direct loop in NumPy."""

import re

import numpy as np
import pytest
import torch
from marks import compiling, forward_mode, full

import msssim
from reference import longdouble, masked

TWO = dict(weights=(0.4, 0.6))


def _weights(shape, seed=0, holes=0.3):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(shape, generator=generator, dtype=torch.float64)
    return weights * (torch.rand(shape, generator=generator) > holes)


def _hidden(image, mask, value):
    return image.masked_fill((mask == 0).expand_as(image), value)


def _value_and_gradients(index, x, y, **options):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = index(x, y, **options)
    return value.detach(), *torch.autograd.grad(value.sum(), (x, y))


INDICES = [
    pytest.param(msssim.ssim, {}, id="ssim"),
    pytest.param(msssim.msssim, TWO, id="msssim"),
    pytest.param(msssim.msssim, dict(TWO, method="wtd_sum", normalize="covariance"), id="covariance"),
]


@pytest.mark.parametrize("kind", ["weights", "bool"])
def test_ssim_against_a_direct_loop(pair, kind):
    x, y = pair(21, 24)
    mask = _weights((21, 24)) if kind == "weights" else _weights((21, 24)) > 0
    value, map, weights = msssim.ssim(
        _hidden(x, mask, float("nan")), _hidden(y, mask, float("inf")), mask=mask, full="weights"
    )
    expected, of_map, of_weights = masked.ssim_index(x.numpy(), y.numpy(), mask.numpy(), data_range=1)
    assert abs(value.item() - expected) < 1e-11
    np.testing.assert_allclose(map, of_map, rtol=0, atol=1e-11)
    np.testing.assert_allclose(weights, of_weights, rtol=1e-11, atol=0)


def test_inside_against_a_direct_loop(pair):
    x, y = pair(31, 34)
    mask = _weights((31, 34), holes=0)
    mask[3:6, 20:24] = 0
    value, map, weights = msssim.ssim(x, y, mask=mask, mask_mode="inside", full="weights")
    expected, of_map, of_weights = masked.ssim_index(x.numpy(), y.numpy(), mask.numpy(), data_range=1, inside=True)
    assert (weights == 0).any() and (weights > 0).any()
    assert abs(value.item() - expected) < 1e-11
    np.testing.assert_allclose(map, of_map, rtol=0, atol=1e-11)
    np.testing.assert_allclose(weights, of_weights, rtol=1e-11, atol=0)


@pytest.mark.parametrize("shape", [(22, 25), (23, 24)])
def test_msssim_against_a_direct_loop(pair, shape):
    x, y = pair(*shape)
    mask = _weights(shape)
    value, terms = msssim.msssim(x, y, mask=mask, scales=True, **TWO)
    expected, of_terms = masked.msssim(x.numpy(), y.numpy(), mask.numpy(), data_range=1, **TWO)
    assert abs(value.item() - expected) < 1e-11
    np.testing.assert_allclose(terms, of_terms, rtol=0, atol=1e-11)


@pytest.mark.parametrize("normalize", [None, "covariance"])
def test_gradients_against_long_double(pair, normalize):
    x, y = pair(2, 2, 45, 50)
    mask = _weights((2, 2, 45, 50))
    ours = _value_and_gradients(msssim.msssim, x, y, mask=mask, normalize=normalize, reduction="none", **TWO)
    exact = longdouble.msssim(x, y, longdouble.Options(normalize=normalize, **TWO), mask=mask)
    gradients = (torch.from_numpy(each.astype(float)).view(x.shape) / 2 for each in exact[2:4])
    for found, expected in zip(ours[1:], gradients, strict=True):
        assert (found - expected).abs().max() < 1e-11 * expected.abs().max()
    torch.testing.assert_close(ours[0], torch.from_numpy(exact.value.astype(float)).view(2, 2).mean(1))


@pytest.mark.parametrize("index, options", INDICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_what_lies_under_a_weight_of_zero_changes_no_bit(pair, backend, index, options, dtype):
    x, y = pair(1, 2, 45, 50, dtype=dtype)
    mask = _weights((1, 1, 45, 50))
    mask[..., :15, :] = 0
    options = dict(options, backend=backend, mask=mask)
    expected = _value_and_gradients(index, _hidden(x, mask, 0.5), _hidden(y, mask, 0.5), **options)
    assert expected[0].isfinite() and expected[1].abs().max() > 0
    for hidden in (float("nan"), float("inf"), -float("inf"), 1e30, 0.0):
        found = _value_and_gradients(index, _hidden(x, mask, hidden), _hidden(y, mask, -hidden), **options)
        for ours, same in zip(found, expected, strict=True):
            assert torch.equal(ours, same)
    assert not expected[1][..., :15, :].any()


@pytest.mark.filterwarnings("ignore:MS-SSIM is NaN")
@pytest.mark.parametrize("kind", ["weights", "bool"])
def test_hidden_pixels_have_no_gradient_where_the_value_is_nan(pair, backend, kind):
    x, _ = pair(1, 2, 45, 50)
    mask = _weights((45, 50))
    mask = mask if kind == "weights" else mask > 0
    value, to_x, to_y = _value_and_gradients(msssim.msssim, x, 1 - x, mask=mask, backend=backend, **TWO)
    hidden = (mask == 0).expand_as(x)
    for gradient in (to_x, to_y):
        assert value.isnan() and gradient[~hidden].isnan().all()
        assert not gradient[hidden].any()


@pytest.mark.parametrize("index, options", INDICES)
def test_a_mask_of_ones_is_no_mask_and_its_scale_does_not_matter(pair, backend, index, options):
    x, y = pair(2, 2, 45, 50)
    options = dict(options, backend=backend)
    expected = _value_and_gradients(index, x, y, **options)
    for number in (1.0, 0.3, 1e-300, 1e300):
        mask = torch.full((45, 50), number, dtype=torch.float64)
        for ours, same in zip(_value_and_gradients(index, x, y, mask=mask, **options), expected, strict=True):
            torch.testing.assert_close(ours, same, rtol=1e-12, atol=1e-12 * same.abs().max().item())
    mask = _weights((45, 50))
    once, again = (_value_and_gradients(index, x, y, mask=each, **options) for each in (mask, 1e-6 * mask))
    for ours, same in zip(once, again, strict=True):
        torch.testing.assert_close(ours, same, rtol=1e-12, atol=1e-12 * same.abs().max().item())


def test_shapes_that_are_broadcast(pair, backend):
    x, y = pair(2, 3, 45, 50)
    mask = _weights((45, 50)) > 0
    expected = msssim.msssim(x, y, mask=mask, backend=backend, **TWO)
    for shape in ((1, 1, 45, 50), (2, 1, 45, 50), (1, 3, 45, 50), (2, 3, 45, 50)):
        assert torch.equal(msssim.msssim(x, y, mask=mask.expand(shape), backend=backend, **TWO), expected)
    for image in (x[0], x[0, 0]):
        other = y[0] if image.dim() == 3 else y[0, 0]
        whole = msssim.ssim(image.expand(1, 1, *image.shape)[0, 0], other, mask=mask, backend=backend)
        assert torch.equal(whole, msssim.ssim(image, other, mask=mask.expand(image.shape), backend=backend))
    separate = _weights((2, 3, 45, 50))
    values = [msssim.ssim(x[n, c], y[n, c], mask=separate[n, c], backend=backend) for n in range(2) for c in range(3)]
    torch.testing.assert_close(msssim.ssim(x, y, mask=separate, backend=backend), torch.stack(values).mean())


def test_finite_uses_the_pixels_that_are_finite_in_both(pair, backend):
    x, y = pair(2, 2, 45, 50)
    x[0, 0, 3:9, 4:20], y[0, 0, 5:12, 30:], y[1, 1, 20] = float("nan"), float("inf"), -float("inf")
    mask = x.isfinite() & y.isfinite()
    ours = _value_and_gradients(msssim.msssim, x, y, mask="finite", backend=backend, **TWO)
    for found, expected in zip(
        ours, _value_and_gradients(msssim.msssim, x, y, mask=mask, backend=backend, **TWO), strict=True
    ):
        assert found.isfinite().all() and torch.equal(found, expected)
    whole = (255 * pair(1, 1, 20, 20)[0]).byte()
    assert msssim.ssim(whole, whole, mask="finite") == 1


@pytest.mark.parametrize("channels", ["mean", "pooled"])
def test_planes_without_weight_have_no_index(pair, channels):
    x, y = pair(3, 2, 45, 50)
    mask = torch.ones(3, 2, 45, 50)
    mask[0], mask[1, 0] = 0, 0
    options = dict(channels=channels, scales=True, **TWO)
    x.requires_grad_()
    with pytest.warns(UserWarning, match="without weight at some scale") as caught:
        values, terms = msssim.msssim(x, y, mask=mask, reduction="none", **options)
    assert len(caught) == 1 and caught[0].filename == __file__
    alone, whole = (msssim.msssim(x[n, c:], y[n, c:], channels=channels, **TWO) for n, c in ((1, 1), (2, 0)))
    assert values[0].isnan()
    torch.testing.assert_close(values[1:], torch.stack([alone, whole]))
    assert terms[0].isnan().all() and terms[1, 0].isnan().all() and terms[1, 1].isfinite().all()
    with pytest.warns(UserWarning, match="without weight"):
        value = msssim.msssim(x, y, mask=mask, **options)[0]
    shares = (1, 2) if channels == "mean" else (1, 1)  # over planes, or over images
    torch.testing.assert_close(value, (shares[0] * alone + shares[1] * whole) / sum(shares))
    gradient = torch.autograd.grad(values[1:].sum() + 0 * values[0], x, retain_graph=True)[0]
    assert gradient.isfinite().all() and not gradient[0].any() and not gradient[1, 0].any() and gradient[1, 1].any()
    assert not torch.autograd.grad(values[0], x)[0].any()
    with pytest.warns(UserWarning, match="without weight"):
        assert msssim.msssim(x, y, mask=0 * mask, **TWO).isnan()


def test_planes_without_weight_at_one_scale(pair):
    """The window is one pixel wide, so that the pixels at the border count in no window."""
    x, y = pair(1, 2, 12, 12)
    mask = torch.zeros(1, 2, 12, 12)
    mask[:, 0, 1, 4:8] = mask[:, 1, 4:8, 4:8] = 1  # the first is at the border of the second scale
    options = dict(mask=mask, win_size=3, sigma=0.02, scales=True, **TWO)
    with pytest.warns(UserWarning, match="without weight at some scale"):
        value, terms = msssim.msssim(x, y, **options)
    assert terms[0, 0].isnan().tolist() == [False, True] and terms[0, 1].isfinite().all()
    torch.testing.assert_close(value, msssim.msssim(x[:, 1:], y[:, 1:], **options | dict(mask=mask[:, 1:]))[0])


def test_pooled_channels(pair, backend):
    x, y = pair(2, 3, 45, 50, noise=0.6)
    value, terms = msssim.msssim(x, y, channels="pooled", scales=True, reduction="none", backend=backend, **TWO)
    _, expected = msssim.msssim(x, y, scales=True, reduction="none", **TWO)
    torch.testing.assert_close(terms, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(value, (expected.mean(1) ** torch.tensor(TWO["weights"])).prod(-1))
    assert not torch.allclose(value, msssim.msssim(x, y, reduction="none", **TWO), rtol=1e-7)
    assert torch.equal(msssim.MSSSIM(channels="pooled", reduction="none", backend=backend, **TWO)(x, y), value)


def test_maps_and_values_are_at_most_one():
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        x = torch.rand(1, 1, 13, 17, generator=generator)
        x = torch.where(x > 0.5, x, 0.25)
        value, map = msssim.ssim(x, x, mask=_weights((13, 17), seed).float(), full=True)
        assert value == 1 and map.max() <= 1


@pytest.mark.full  # the kernels' tests have one of each backend
def test_second_derivatives(pair):
    x, y = (image.requires_grad_() for image in pair(1, 1, 9, 8))
    mask = _weights((9, 8))
    index = lambda x, y: msssim.msssim(x, y, mask=mask, win_size=3, sigma=1.0, normalize="covariance", **TWO)  # noqa: E731
    assert torch.autograd.gradcheck(index, (x, y))
    assert torch.autograd.gradgradcheck(index, (x, y))


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev, torch.func.jacfwd])
@forward_mode
def test_transforms(pair, transform):
    x, y = pair(1, 1, 13, 14)
    mask = _weights((13, 14))
    index = lambda x: msssim.ssim(x, y, mask=mask)  # noqa: E731
    expected = torch.func.grad(lambda x: msssim.ssim(x, y, mask=mask, backend="torch"))(x)
    torch.testing.assert_close(transform(index)(x), expected)
    batch = torch.stack([x, y.square()])
    masks = torch.stack([mask, _weights((13, 14), 1)])
    each = torch.stack([msssim.ssim(image, y, mask=one) for image, one in zip(batch, masks, strict=True)])
    mapped = torch.func.vmap(lambda image, one: msssim.ssim(image, y, mask=one))(batch, masks)
    torch.testing.assert_close(mapped, each)


@compiling
@pytest.mark.full
def test_torch_compile_without_a_graph_break(pair):
    torch._dynamo.reset()
    x, y = pair(1, 2, 25, 26)
    mask = _weights((25, 26))
    index = lambda x, y, mask: msssim.msssim(x, y, mask=mask, normalize="covariance", **TWO)  # noqa: E731
    compiled = torch.compile(index, fullgraph=True, backend="aot_eager")
    ours, expected = (_value_and_gradients(each, x, y, mask=mask) for each in (compiled, index))
    for found, same in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, same)


def test_with_downsampling(pair):
    x, y = pair(1, 1, 520, 390)
    mask = _weights((520, 390))
    ours = msssim.ssim(x, y, mask=mask, downsample="auto")
    small = {"x": x, "y": y}
    # factor 2: the pixels of MATLAB's imfilter, which are those of each 2 x 2 block here
    total = torch.nn.functional.avg_pool2d(mask[None, None], 2)
    for name, image in small.items():
        mean = torch.nn.functional.avg_pool2d(image * mask, 2) / total
        small[name] = mean.masked_fill(total == 0, 0)
    torch.testing.assert_close(ours, msssim.ssim(small["x"], small["y"], mask=total), rtol=1e-12, atol=0)
    ones = torch.ones(520, 390, dtype=torch.bool)
    whole = msssim.ssim(x, y, downsample="auto")
    torch.testing.assert_close(msssim.ssim(x, y, mask=ones, downsample="auto"), whole, rtol=1e-12, atol=0)
    hidden = _hidden(x, mask, float("nan"))
    assert torch.equal(msssim.ssim(hidden, y, mask=mask, downsample="auto"), ours)


def test_no_gradient_reaches_the_mask(pair):
    x, y = pair(20, 20)
    mask = _weights((20, 20)).requires_grad_()
    assert not msssim.ssim(x, y, mask=mask).requires_grad


def test_hidden_pixels_do_not_contradict_the_range(pair):
    x, y = pair(20, 20)
    mask = torch.ones(20, 20, dtype=torch.bool)
    mask[::2] = False
    msssim.ssim(_hidden(x, mask, -9999.0), _hidden(y, mask, 9999.0), mask=mask)  # any warning is an error


IMAGES = torch.rand(2, 3, 30, 31)


@pytest.mark.parametrize(
    "error, mask, options, text",
    [
        (TypeError, torch.ones(30, 31, dtype=torch.uint8), {}, "mask must be bool .* got torch.uint8; pass mask != 0"),
        (TypeError, torch.ones(30, 31, dtype=torch.int64), {}, "mask must be bool .* got torch.int64"),
        (TypeError, np.ones((30, 31)), {}, "mask must be a torch.Tensor, .* got numpy.ndarray"),
        (TypeError, "nan", {}, "mask must be a torch.Tensor, .* got 'nan'"),
        (ValueError, -torch.ones(30, 31), {}, "mask must have weights .* got weights from -1"),
        (ValueError, torch.full((30, 31), float("nan")), {}, "mask must have weights .* got weights from nan"),
        (ValueError, torch.full((30, 31), float("inf")), {}, "mask must have weights .* to inf"),
        (ValueError, torch.ones(2, 30, 31), {}, r"got \(2, 30, 31\); pass mask.unsqueeze\(1\)"),
        (ValueError, torch.ones(31, 30), {}, r"mask must have shape \(30, 31\), .* got \(31, 30\)"),
        (ValueError, torch.ones(30, 31), dict(padding="zeros"), 'padding must be "valid" with a mask, got "zeros"'),
        (ValueError, None, dict(mask_mode="outside"), "mask_mode must be one of .* got 'outside'"),
    ],
)  # fmt: skip
def test_errors(error, mask, options, text):
    with pytest.raises(error, match=text):
        msssim.ssim(IMAGES, IMAGES, mask=mask, **options)


def test_a_fused_backend_says_what_it_lacks():
    pytest.importorskip("numba")
    message = 'backend="numba" does not support the call: it has no fused kernel for mask_mode="inside"'
    with pytest.raises(ValueError, match=re.escape(message)):
        msssim.ssim(IMAGES, IMAGES, mask=torch.ones(30, 31), mask_mode="inside", backend="numba")


@pytest.mark.parametrize("name, options", [("ssim", {}), *full(("msssim", TWO))])
def test_a_module_takes_a_mask_and_a_range_in_each_call(pair, name, options):
    x, y = pair(2, 1, 45, 50)
    mask = _weights((45, 50))
    data_range = torch.tensor([1.0, 2.0])
    module = getattr(msssim, name.upper())(**options)
    ours = module(x, y, mask=mask, data_range=data_range)
    assert torch.equal(ours, getattr(msssim, name)(x, y, mask=mask, data_range=data_range, **options))
    assert torch.equal(module(x, y), getattr(msssim, name)(x, y, **options))
