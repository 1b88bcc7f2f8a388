"""Zeros around the images, which the CPU kernels read without padded images, against the plain backend."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import forward_mode, full

import msssim
from msssim import backends
from validation import tolerances

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.uint8)


def _value_and_gradients(x, y, backend, **options):
    x, y = (image.clone().requires_grad_(image.is_floating_point()) for image in (x, y))
    value = msssim.ssim(x, y, padding="zeros", backend=backend, **options)
    # Times the number of pixels, so that float16 holds it.
    return value.detach(), *(torch.autograd.grad(value * x.numel(), (x, y)) if x.requires_grad else ())


def _assert_equal(ours, expected, tolerance):
    for found, same in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, same, rtol=0, atol=tolerance * max(1e-300, same.abs().max().item()))


@pytest.mark.parametrize(
    "options", [{}, dict(win_size=3, window="uniform"), *full(dict(win_size=31, sigma=5.0))], ids=str
)
@pytest.mark.parametrize(
    "size", [(1, 1), (5, 9), (11, 11), (16, 43), (27, 48), (59, 107), (128, 112), (130, 570), (400, 37)], ids=str
)
def test_no_padded_image_is_made(monkeypatch, pair, size, options):
    """At sizes around those of blocks: 16 rows, of which a border is a part, and 64 columns, of which 16 are zeros."""
    x, y = pair(1, 2, *size)
    expected = _value_and_gradients(x, y, "torch", **options)
    with monkeypatch.context() as patched:
        patched.setattr(backends.borders, "pad", None)
        _assert_equal(_value_and_gradients(x, y, "numba", **options), expected, 1e-12)
        only_x = x.clone().requires_grad_()
        (msssim.ssim(y, only_x, padding="zeros", backend="numba", **options) * x.numel()).backward()
        value = msssim.ssim(x, y, padding="zeros", backend="numba", **options)
    torch.testing.assert_close(value, expected[0], rtol=1e-12, atol=0)
    swapped = _value_and_gradients(y, x, "torch", **options)
    _assert_equal([only_x.grad], [swapped[2]], 1e-12)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    win_size=st.sampled_from([3, 7, 11, 15]),
    mean=st.sampled_from([0.0, 1.0, -3.0]),
    seed=st.integers(0, 99),
)
def test_any_size(size, win_size, mean, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(2, 1, 1, *size, generator=generator, dtype=torch.float64) + mean
    options = dict(win_size=win_size, data_range=4.0)
    ours, expected = (_value_and_gradients(x, y, backend, **options) for backend in ("numba", "torch"))
    _assert_equal(ours, expected, 1e-12)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(201, 333), (64, 570)], ids=str)
def test_narrow_dtypes_are_within_the_budgets(pair, dtype, size):
    x, y = pair(2, 2, *size, dtype=dtype)
    options = dict(data_range=255.0 if dtype == torch.uint8 else 1.0)
    value, *gradients = _value_and_gradients(x, y, "numba", **options)
    exact, *exact_gradients = _value_and_gradients(x.double(), y.double(), "torch", **options)
    name = str(dtype).removeprefix("torch.")
    assert abs(value - exact) < tolerances.budget("value", name, "numba").worst
    kind = "gradient" if dtype == torch.float32 else "rounded gradient"
    for found, expected in zip(gradients, exact_gradients, strict=False):
        error = (found.double() - expected).abs().max() / expected.abs().max()
        assert error < tolerances.budget(kind, name, "numba").worst


def test_black_images_stay_black(pair):
    """Around images near 0 the border is no edge; in float64 and in float32 the value is that of the plain backend."""
    x, y = (1e-3 * image for image in pair(1, 1, 100, 130))
    expected = _value_and_gradients(x, y, "torch")
    _assert_equal(_value_and_gradients(x, y, "numba"), expected, 1e-12)
    _assert_equal(_value_and_gradients(x.float(), y.float(), "numba"), [each.float() for each in expected], 2e-5)
    assert msssim.ssim(0 * x, 0 * x, padding="zeros", backend="numba", K1=0, K2=0) == 1


@pytest.mark.parametrize("constants", [{}, dict(K1=0.0, K2=0.0)], ids=str)
@pytest.mark.filterwarnings("ignore:data_range")  # values beyond the range are what is tested
@pytest.mark.parametrize("factor", [1e-30, 1e12, 1e30])
def test_values_far_beyond_the_range(pair, factor, constants):
    x, y = (factor * image for image in pair(2, 1, 80, 75, dtype=torch.float32))
    ours, expected = (_value_and_gradients(x, y, name, data_range=1.0, **constants) for name in ("numba", "torch"))
    _assert_equal(ours, expected, 2e-5)
    x[0, 0, 40, 70] = float("nan")
    values = msssim.ssim(x, y, padding="zeros", data_range=1.0, reduction="none", backend="numba")
    assert values[0].isnan() and values[1].isfinite()


def test_layout_and_threads_change_no_bit(pair):
    x, y = pair(2, 3, 200, 190, dtype=torch.float32)
    expected = _value_and_gradients(x, y, "numba")
    wide = x.repeat_interleave(2, -1)[..., ::2]
    before = torch.get_num_threads()
    for image in (x.contiguous(memory_format=torch.channels_last), wide, x.mT.contiguous().mT):
        leaf = image.detach().requires_grad_()
        assert torch.equal(msssim.ssim(leaf, y, padding="zeros", backend="numba"), expected[0])
    for number in (2, 3):
        torch.set_num_threads(number)
        again = _value_and_gradients(x, y, "numba")
        torch.set_num_threads(before)
        assert all(map(torch.equal, again, expected))


def test_every_pixel_of_fresh_memory_is_written(pair):
    x, y = pair(1, 2, 203, 333, dtype=torch.float32)
    expected = _value_and_gradients(x, y, "numba")
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        again = _value_and_gradients(x, y, "numba")
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, again, expected))


@forward_mode
def test_transforms_ranges_and_second_derivatives(pair):
    x, y = pair(3, 1, 13, 14)
    results = []
    for backend in ("numba", "torch"):

        def index(x, y, backend=backend, **options):
            return msssim.ssim(x, y, padding="zeros", backend=backend, **options)

        leaf = x.clone().requires_grad_()
        ranges = torch.tensor([1.0, 2.0, 3.0])
        gradient = torch.autograd.grad(index(leaf, y), leaf, create_graph=True)[0]
        results.append(
            [
                gradient.detach(),
                torch.autograd.grad(gradient.square().sum(), leaf)[0],
                torch.func.grad(index)(x, y),
                torch.func.vmap(index)(x, y),
                torch.autograd.grad(index(leaf, y, data_range=ranges, reduction="sum"), leaf)[0],
            ]
        )
    _assert_equal(*results, 1e-11)
