"""Masks in the CPU kernels against the plain backend, in the arithmetic of each dtype."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import full

import msssim
from msssim.backends import fused_masks
from validation import tolerances

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")

TWO = dict(weights=(0.4, 0.6))
THREE = dict(weights=(0.2, 0.3, 0.5))  # with the usual window: each size of windows is compiled
COVARIANCE = dict(TWO, normalize="covariance", method="wtd_sum")
INDICES = [
    pytest.param(msssim.ssim, {}, id="ssim"),
    pytest.param(msssim.msssim, THREE, id="msssim"),
    pytest.param(msssim.msssim, COVARIANCE, id="covariance"),
]
KINDS = ("weights", "bool", "box", "line", "right", "left")


@pytest.fixture
def _float32_at_every_size(monkeypatch):
    from msssim.backends.numba import api

    monkeypatch.setattr(api, "_SMALL_PLANE", 0)
    monkeypatch.setattr(api, "_FEW_VISIBLE", 0)


def _mask(shape, kind="weights"):
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(shape, generator=generator, dtype=torch.float64)
    if kind == "weights":
        return random * (torch.rand(shape, generator=generator) > 0.3)
    if kind == "bool":
        return random > 0.3
    box = torch.zeros(shape, dtype=torch.bool)
    rows, columns = shape[-2:]
    if kind == "box":
        box[..., rows // 4 : rows // 2 + 9, columns // 3 : columns // 2 + 8] = True
    elif kind == "line":
        box[..., rows // 2, columns // 5 :] = True
    elif kind == "right":  # visible blocks of 64 columns, at the right of others with hidden pixels
        box[..., rows // 5 :, 70:] = True
        box[..., rows // 2, min(125, columns - 1)] = False
    else:  # hidden blocks, at the right of visible ones
        box[..., rows // 5 :, :64] = True
    return box


def _smooth(x):
    return F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, 1)


def _value_and_gradients(index, x, y, backend, **options):
    x, y = (image.clone().requires_grad_(image.is_floating_point()) for image in (x, y))
    value = index(x, y, backend=backend, **options)
    # Times the number of pixels, so that float16 holds it.
    scale = x.shape[-1] * x.shape[-2]
    return value.detach(), *(torch.autograd.grad(value.sum() * scale, (x, y)) if x.requires_grad else ())


def _assert_equal(ours, expected, tolerance):
    for found, same in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, same, rtol=0, atol=tolerance * max(1e-300, same.abs().max().item()))


@pytest.mark.parametrize("index, options", INDICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(130, 201), *full(((80, 81),), ((96, 128),), ((333, 400),), ((81, 570),))], ids=str)
def test_value_and_gradients_in_float64(pair, index, options, kind, size):
    x, y = pair(2, 2, *size)
    for shape in ((1, 1), (2, 1), (1, 2)):
        mask = _mask((*shape, *size), kind)
        ours, expected = (_value_and_gradients(index, x, y, each, mask=mask, **options) for each in ("numba", "torch"))
        _assert_equal(ours, expected, 1e-12)
    only_y = y.clone().requires_grad_()
    value = index(x, only_y, mask=mask, backend="numba", **options)
    _assert_equal([value.detach(), index(x, y, mask=mask, backend="numba", **options)], [expected[0]] * 2, 1e-12)
    _assert_equal(torch.autograd.grad(value * size[0] * size[1], only_y), expected[2:], 1e-12)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(14, 150), st.integers(14, 150)),
    win_size=st.sampled_from([3, 7]),
    holes=st.sampled_from([0.0, 0.3, 0.9, 0.99]),
    mean=st.sampled_from([0.0, 1.0, -3.0]),
    seed=st.integers(0, 99),
)
def test_any_size(size, win_size, holes, mean, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y, mask = torch.rand(3, 1, 1, *size, generator=generator, dtype=torch.float64)
    x, y, mask = x + mean, y + mean, mask * (torch.rand(1, 1, *size, generator=generator) >= holes)
    mask[..., 7, 7] = 1
    options = dict(TWO, win_size=win_size, data_range=4.0, mask=mask, normalize="relu")
    ours, expected = (_value_and_gradients(msssim.msssim, x, y, name, **options) for name in ("numba", "torch"))
    _assert_equal(ours, expected, 1e-11)


@pytest.mark.parametrize("index, options", INDICES[:2])
@pytest.mark.parametrize("kind", ["weights", "box", *full("bool", "line")])
@pytest.mark.parametrize("dtype", [torch.float32, *full(torch.uint8, torch.float16, torch.bfloat16)], ids=str)
def test_narrow_dtypes_are_within_the_budgets(pair, dtype, kind, index, options):
    size = (210, 333)
    x, y = pair(1, 2, *size)
    x, y = _smooth(x), _smooth(0.7 * x + 0.3 * y)
    options = dict(options, data_range=255.0 if dtype == torch.uint8 else 1.0, mask=_mask(size, kind))
    x, y = ((255 * each).round().byte() if dtype == torch.uint8 else each.to(dtype) for each in (x, y))
    value, *gradients = _value_and_gradients(index, x, y, "numba", **options)
    exact, *exact_gradients = _value_and_gradients(index, x.double(), y.double(), "torch", **options)
    name = str(dtype).removeprefix("torch.")
    assert abs(value - exact) < tolerances.budget("value", name, "numba").worst
    kind = "gradient" if dtype == torch.float32 else "rounded gradient"
    for found, expected in zip(gradients, exact_gradients, strict=False):
        error = (found.double() - expected).abs().max() / expected.abs().max()
        assert error < tolerances.budget(kind, name, "numba").worst


@pytest.mark.parametrize("index, options", INDICES)
@pytest.mark.parametrize("dtype", [torch.float32, *full(torch.float64, torch.float16)], ids=str)
def test_what_is_hidden_changes_no_bit(pair, dtype, index, options, _float32_at_every_size):
    x, y = pair(1, 2, 100, 147, dtype=dtype)
    for kind in ("weights", "bool", "box"):
        mask = _mask((1, 1, 100, 147), kind)
        mask[..., :30, :] = 0

        def found(hidden, mask=mask):
            images = (image.masked_fill((mask == 0).expand_as(image), hidden) for image in (x, y))
            return _value_and_gradients(index, *images, "numba", mask=mask, **options)

        expected = found(0.5)
        assert expected[0].isfinite() and expected[1].abs().max() > 0 and not expected[1][..., :30, :].any()
        for hidden in (float("nan"), float("inf"), -float("inf"), 1e4 if dtype == torch.float16 else 1e30):
            for ours, same in zip(found(hidden), expected, strict=True):
                assert torch.equal(ours, same)


@pytest.mark.parametrize("number", [1.0, 1e-300, *full(0.25, 3.0, 1e300)])
def test_a_constant_mask_is_no_mask(pair, number):
    x, y = pair(1, 2, 201, 147, dtype=torch.float32)
    mask = torch.full((201, 147), number, dtype=torch.float64)
    ours = _value_and_gradients(msssim.msssim, x, y, "numba", mask=mask, **THREE)
    expected = _value_and_gradients(msssim.msssim, x, y, "numba", **THREE)
    _assert_equal(ours, expected, 2e-6)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-13)], ids=str)
@pytest.mark.parametrize("dtype_of_mask", [torch.bool, torch.float32], ids=str)
def test_a_mask_of_ones_is_no_mask(pair, dtype, tolerance, dtype_of_mask):
    x, y = pair(1, 2, 201, 147, dtype=dtype)
    ones = torch.ones(201, 147, dtype=dtype_of_mask)
    ours = _value_and_gradients(msssim.msssim, x, y, "numba", mask=ones, **THREE)
    _assert_equal(ours, _value_and_gradients(msssim.msssim, x, y, "numba", **THREE), tolerance)


def test_borders_of_a_mask_do_not_need_float64(monkeypatch):
    """The windows at its border may hold a single pixel, far from the mean, whose influence is as small."""
    from msssim.backends.numba import masks

    def refuse(*_):
        raise AssertionError("a plane is computed again in float64")

    monkeypatch.setattr(masks.Masked, "widened", refuse)
    x, noise = torch.rand(2, 1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    y = (x + 0.1 * (noise - 0.5)).requires_grad_()
    place = torch.arange(256) - 127.5
    disc = place[:, None] ** 2 + place**2 < 100**2
    value = msssim.msssim(x, y, mask=disc, normalize="covariance", backend="numba")
    ours = torch.autograd.grad(value, y)[0]
    wide = y.detach().double().requires_grad_()
    exact = msssim.msssim(x.double(), wide, mask=disc, normalize="covariance", backend="torch")
    _assert_equal([value], [exact.float()], 1e-6)
    _assert_equal([ours.double()], torch.autograd.grad(exact, wide), 2e-5)


@pytest.mark.parametrize("kind", ["weights", "box"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *full(torch.uint8)], ids=str)
def test_equal_images_give_exactly_one(pair, dtype, kind):
    x, _ = pair(1, 3, 181, 222, dtype=dtype)
    mask = _mask((181, 222), kind)
    for options in (TWO, THREE):
        options = dict(options, data_range=255.0 if dtype == torch.uint8 else 1.0)
        assert msssim.msssim(x, x, mask=mask, backend="numba", **options) == 1


def test_layouts_dtypes_of_masks_and_threads_change_no_bit(pair):
    x, y = pair(2, 3, 200, 190, dtype=torch.float32)
    mask = _mask((2, 1, 200, 190)).float().round(decimals=1)  # as it is in float16
    expected = _value_and_gradients(msssim.msssim, x, y, "numba", mask=mask, **TWO)
    wide = mask.repeat_interleave(2, -1)[..., ::2]
    for same in (wide, mask.mT.contiguous().mT, mask.double(), mask.expand(2, 3, -1, -1)):
        ours = _value_and_gradients(msssim.msssim, x, y, "numba", mask=same, **TWO)
        assert all(map(torch.equal, ours, expected))
    strided = x.repeat_interleave(2, -1)[..., ::2]
    assert torch.equal(msssim.msssim(strided, y, mask=mask, backend="numba", **TWO), expected[0])
    before = torch.get_num_threads()
    for number in (2, 3):
        torch.set_num_threads(number)
        ours = _value_and_gradients(msssim.msssim, x, y, "numba", mask=mask, **TWO)
        torch.set_num_threads(before)
        assert all(map(torch.equal, ours, expected))
    visible = mask > 0
    as_bool, as_float = (
        _value_and_gradients(msssim.msssim, x, y, "numba", mask=each, **TWO) for each in (visible, visible.float())
    )
    _assert_equal(as_bool, as_float, 1e-6)
    columns = mask[:, :, :1]  # broadcast along the rows
    ours, whole = (
        msssim.msssim(x, y, mask=each, backend="numba", **TWO) for each in (columns, columns.expand(2, 1, 200, 190))
    )
    assert torch.equal(ours, whole)


def test_every_pixel_of_fresh_memory_is_written(pair):
    x, y = pair(1, 2, 203, 333, dtype=torch.float32)
    mask = _mask((203, 333), "bool")
    expected = _value_and_gradients(msssim.msssim, x, y, "numba", mask=mask, **TWO)
    from msssim.backends.numba import memory

    memory._SPARE.clear()
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        again = _value_and_gradients(msssim.msssim, x, y, "numba", mask=mask, **TWO)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, again, expected))


@pytest.mark.parametrize("least, win_size", [(1e-12, 11), *full((1e-3, 11), (1e-30, 11), (1e-12, 31), (1e-30, 31))])
def test_few_and_small_weights_are_computed_in_float64(pair, least, win_size):
    """In float32 the windows that hold only small weights would be lost; one pixel is in the corner of the image."""
    x, y = pair(1, 2, 96, 130, dtype=torch.float32)
    mask = torch.zeros(1, 2, 96, 130, dtype=torch.float64)
    mask[0, 0, 0, 0] = 1
    mask[0, 1] = _mask((96, 130)) * least
    mask[0, 1, 50, 60] = 1
    options = dict(mask=mask, win_size=win_size)
    ours, expected = (_value_and_gradients(msssim.ssim, x, y, name, **options) for name in ("numba", "torch"))
    _assert_equal(ours, expected, 1e-6)


@pytest.mark.filterwarnings("ignore:data_range")  # values beyond the range are what is tested
@pytest.mark.parametrize("constants", [{}, dict(K1=0.0, K2=0.0)], ids=str)
@pytest.mark.parametrize("factor", [1e-30, 1e12, 1e30])
def test_values_far_beyond_the_range(pair, factor, constants):
    x, y = (factor * image for image in pair(2, 1, 80, 95, dtype=torch.float32))
    options = dict(TWO, data_range=1.0, mask=_mask((80, 95)), normalize="relu", **constants)
    ours, expected = (_value_and_gradients(msssim.msssim, x, y, name, **options) for name in ("numba", "torch"))
    _assert_equal(ours, expected, 2e-5)


def test_nan_that_is_not_hidden_gives_nan_in_its_image(pair):
    x, y = pair(2, 1, 100, 147, dtype=torch.float32)
    mask = _mask((100, 147), "bool")
    mask[50, 70] = True
    x[0, 0, 50, 70] = float("nan")
    values = msssim.msssim(x, y, mask=mask, reduction="none", backend="numba", **TWO)
    assert values[0].isnan() and values[1].isfinite()


def test_a_mask_in_the_dtype_of_computation_is_not_copied():
    from msssim.backends.numba import masks

    mask = _mask((1, 1, 40, 50)).float()
    assert masks.scaled(mask, torch.float32).data_ptr() == mask.data_ptr()
    assert masks.scaled(1e-30 * mask, torch.float32).max() >= 0.5


@pytest.mark.parametrize("channels", ["mean", "pooled"])
def test_gradients_of_terms_and_planes_without_weight(pair, channels):
    x, y = pair(3, 2, 45, 50)
    mask = _mask((3, 2, 45, 50))
    mask[1, 0] = mask[2] = 0
    results = []
    for backend in ("numba", "torch"):
        leaf = x.clone().requires_grad_()
        with pytest.warns(UserWarning, match="without weight"):
            value, terms = msssim.msssim(
                leaf, y, mask=mask, channels=channels, scales=True, reduction="none", backend=backend, **TWO
            )
        assert value[2].isnan() and terms[2].isnan().all()
        both = value[:2].sum() + (terms[:1] * torch.arange(4.0).view(2, 2)).sum()
        gradient = torch.autograd.grad(both, leaf, retain_graph=True)[0]
        of_terms = torch.autograd.grad(terms[0].sum(), leaf, retain_graph=True)[0]
        batched = torch.autograd.grad(
            value, leaf, torch.eye(3, dtype=value.dtype)[:2], is_grads_batched=True, retain_graph=True
        )[0]
        results.append([value[:2].detach(), terms[0].detach(), gradient, of_terms, batched])
    _assert_equal(*results, 1e-12)


def test_second_derivatives_ranges_and_inference(pair):
    x, y = pair(3, 1, 33, 34)
    mask = _mask((3, 1, 33, 34))
    results = []
    for backend in ("numba", "torch"):
        options = dict(TWO, mask=mask, backend=backend)
        leaf = x.clone().requires_grad_()
        gradient = torch.autograd.grad(msssim.msssim(leaf, y, **options), leaf, create_graph=True)[0]
        ranges = torch.tensor([1.0, 2.0, 3.0])
        of_ranges = torch.autograd.grad(msssim.msssim(leaf, y, data_range=ranges, **options), leaf)[0]
        one_range = torch.autograd.grad(msssim.msssim(leaf, y, data_range=ranges[1], **options), leaf)[0]
        with torch.inference_mode():
            image = 1 * y
        of_inference = torch.autograd.grad(msssim.msssim(leaf, image, **options), leaf)[0]
        second = torch.autograd.grad(gradient.square().sum(), leaf)[0]
        results.append([gradient.detach(), second, of_ranges, one_range, of_inference])
    _assert_equal(*results, 1e-11)


def test_auto_uses_the_kernel(monkeypatch, pair):
    called, original = [], fused_masks.index

    def spy(*arguments, **options):
        called.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(fused_masks, "index", spy)
    x, y = pair(1, 1, 64, 64, dtype=torch.float32)
    msssim.ssim(x, y, mask=torch.ones(64, 64))
    msssim.ssim(x, y, mask=torch.ones(64, 64), mask_mode="inside")
    assert len(called) == 1
