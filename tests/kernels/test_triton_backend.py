"""The fused GPU kernels: as accurate as the plain backend for every dtype, window, mode and layout.

Without a GPU, the compiled kernels run on the CPU; see validation/emulated_gpu. With TRITON_INTERPRET=1, Triton's
interpreter runs the kernels line by line, which takes a minute where the compiled ones take a second.
"""

import contextlib
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
import torch

import datasets
import msssim
from msssim import window
from msssim.backends import torch_backend
from reference import golden, longdouble

if importlib.util.find_spec("triton") is None:
    pytest.skip('triton is not installed: python -m pip install "triton>=3.4"', allow_module_level=True)
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
triton_backend = pytest.importorskip("msssim.backends.triton.api", exc_type=ImportError)
from msssim.backends.triton import launches as launching  # noqa: E402 - it needs triton
from msssim.backends.triton import plan as planning  # noqa: E402
from msssim.backends.triton.constants import Constants  # noqa: E402
from validation.emulated_gpu import driver  # noqa: E402 - it needs triton

pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # NumPy's, under the interpreter

ROOT = pathlib.Path(__file__).parents[2]
compiled = pytest.mark.skipif(GPU or INTERPRETED, reason="is for compiled kernels without a GPU")

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.bool)


@pytest.fixture(autouse=True)
def launches(monkeypatch):
    """The launches so far, on the emulated GPU; None elsewhere."""
    with contextlib.ExitStack() as stack:
        if not GPU and INTERPRETED:
            stack.enter_context(driver.kernels_on_the_cpu())
            # A program of four times the size takes little longer, and there are fewer of them.
            stack.enter_context(launching.using(Constants(threads=(512,))))
        yield stack.enter_context(driver.emulated_gpu(90)) if not GPU and not INTERPRETED else None
    driver.clear_caches()


def _set_plan(monkeypatch, **names):
    driver.clear_caches()
    for name, value in names.items():
        monkeypatch.setattr(planning, name, value)


@pytest.fixture(params=["small", "large"])
def size(request, launches):
    """The plan of a small image, whose scales are one launch, and of a large one."""
    constants = launching.constants_of(torch.device(DEVICE))
    with launching.using(constants._replace(small_pixels=0 if request.param == "large" else 1 << 22)):
        yield


def _options(levels=1, win_size=11, sigma=1.5, data_range=1.0, rectify=False, K1=0.01, K2=0.03):
    c1, c2 = window.constants(K1, K2, data_range)
    taps, unit = window.gaussian_taps(win_size, sigma), window.range_pow2(data_range)
    return dict(taps=taps, c1=c1, c2=c2, unit=unit, levels=levels, rectify=rectify)


class Fused(torch.autograd.Function):
    """The kernels by themselves, without the operator that calls them where there is a GPU."""

    @staticmethod
    def forward(ctx, x, y, options):
        arguments = (options[name] for name in ("taps", "c1", "c2", "unit", "levels", "rectify"))
        means, *ctx.kept = triton_backend.means_and_gradients(x, y, *arguments, *ctx.needs_input_grad[:2])
        ctx.image, ctx.options = x, options
        return means

    @staticmethod
    def backward(ctx, upstream):
        size, dtype = ctx.image.shape[-2:], ctx.image.dtype
        halo = len(ctx.options["taps"]) - 1
        arguments = (*size, ctx.options["levels"], halo, ctx.options["unit"], dtype)
        return *(
            triton_backend.gradient(upstream, None, kept, *arguments) if kept.numel() else None for kept in ctx.kept
        ), None


def fused_means(x, y, **options):
    return Fused.apply(x, y, options)


def plain_means(x, y, taps, **options):
    return torch_backend.pyramid_means(x, y, taps=(taps, taps), **options)


def _means_and_gradients(function, x, y, needs=(True, False), **options):
    x, y = (
        image.detach().to(DEVICE).requires_grad_(need and image.is_floating_point())
        for image, need in zip((x, y), needs, strict=True)
    )
    means = function(x, y, **options)
    wanted = [image for image in (x, y) if image.requires_grad]
    share = torch.linspace(1, 2, means.numel(), dtype=means.dtype, device=DEVICE).view_as(means)
    gradients = torch.autograd.grad((means * share).sum(), wanted) if wanted else ()
    return [each.detach().cpu() for each in (means, *gradients)]


def _compare(x, y, needs=(True, True), rtol=1e-10, **options):
    fused = _means_and_gradients(fused_means, x, y, needs, **_options(**options))
    plain = _means_and_gradients(plain_means, x, y, needs, **_options(**options))
    for ours, expected in zip(fused, plain, strict=True):
        torch.testing.assert_close(ours, expected, rtol=rtol, atol=rtol * 1e-3 + rtol * expected.abs().max().item())


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize(
    "shape, levels, win_size, rectify",
    [((1, 1, 11, 12), 1, 11, False), ((2, 1, 23, 25), 2, 11, True), ((1, 2, 35, 33), 3, 7, False)],
    ids=str,
)
def test_means_and_both_gradients(pair, shape, levels, win_size, rectify):
    _compare(*pair(*shape, noise=0.9), levels=levels, win_size=win_size, rectify=rectify)


@pytest.mark.parametrize("win_size, sigma, size", [(3, 0.7, (12, 17)), (31, 5.0, (33, 36))])
def test_windows_of_every_size(pair, win_size, sigma, size):
    _compare(*pair(1, 1, *size), win_size=win_size, sigma=sigma, needs=(True, False))


def test_programs_side_by_side_and_below_each_other(pair, monkeypatch):
    for rows, power in ((8, 4), (16, 7)):  # threads of a group as a power of two
        x, y = pair(1, 1, 15, 131 if power == 4 else 299, dtype=torch.float32)
        needed = planning.programs_per_plane(*x.shape[-2:], rows, 128, power, 20, 2)
        plan = planning.Plan(128, rows, power, (needed,))
        _set_plan(monkeypatch, choose_plan=lambda *_, plan=plan: plan)
        assert needed > 1
        _compare(x, y, needs=(True, False), rtol=2e-5)


def test_addresses_are_wide_where_rows_are_far_apart(pair, monkeypatch):
    plan = planning.Plan(128, 100, 7, (1,))
    near, far = (
        planning.farthest_offset(plan, 10**6, 300, 10, (0, 0, step, 1, 0, 0, step, 1)) for step in (300, 10**7)
    )
    assert near < 2**31 <= far
    _set_plan(monkeypatch, farthest_offset=lambda *_: 2**31)
    _compare(*pair(1, 1, 25, 44), levels=2, needs=(True, False))


@pytest.mark.usefixtures("size")
def test_more_scales_than_one_launch_halves(pair):
    _compare(*pair(1, 1, 193, 195), levels=7, win_size=3, sigma=0.7, needs=(False, False))


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_error_is_at_most_one_rounding_for_each_tap_that_a_number_passes(pair, dtype):
    # An entry of the gradient passes four filters: along rows and down columns, forward and backward. If each tap
    # rounds once, and never in favour of the result, this is the error. And once to the dtype of the image.
    x, y = pair(1, 1, 23, 31, dtype=dtype)
    peak = 255.0 if dtype == torch.uint8 else 1.0
    taps, unit_roundoff = 11, 2.0**-53 if dtype == torch.float64 else 2.0**-24
    means, *gradients = _means_and_gradients(fused_means, x, y, **_options(levels=2, data_range=peak))
    options = longdouble.Options(peak, weights=(1.0, 2.0), method="wtd_sum")
    exact = longdouble.msssim(x.double().numpy(), y.double().numpy(), options)
    assert abs(means[0].numpy() - exact.terms).max() <= 2 * taps * unit_roundoff
    allowed = 4 * taps * unit_roundoff + (torch.finfo(dtype).eps / 2 if gradients else 0)
    for gradient in gradients:
        expected = 3 * exact.gradient_x  # what the reference gives is divided by the sum of the weights
        assert gradient.dtype == dtype
        assert abs(gradient[0].double().numpy() - expected).max() <= allowed * abs(expected).max()


@pytest.mark.parametrize("K1", [0.01, 0])
def test_flat_areas_of_many_levels_keep_their_precision(K1):
    # About one constant for the whole image, rounding leaves of these gradients an error of 1.5e-5.
    rise = torch.arange(100, dtype=torch.float64) / 99
    y = (0.9 * rise[:, None] + 0.1 * rise)[None, None]
    x = (8 * y).round() / 8
    _assert_precise(x, y, value=1e-7, gradient=5e-6, K1=K1)


def test_black_and_white_keep_the_digits_of_next_to_nothing():
    x, y = torch.zeros(1, 1, 23, 24), torch.ones(1, 1, 23, 24)
    ours, of_ours = _means_and_gradients(fused_means, x, y, **_options(levels=2))
    exact, of_exact = _means_and_gradients(plain_means, x.double(), y.double(), **_options(levels=2))
    torch.testing.assert_close(ours, exact, rtol=1e-6, atol=0)
    assert exact[..., -1] < 1e-3
    assert (of_ours - of_exact).abs().max() < 1e-6 * of_exact.abs().max()


def _bright_text(height, width):
    """White strokes, 1 to 3 pixels thick, on black: none is far from an edge, and many windows are flat."""
    image = torch.zeros(1, 1, height, width)
    image[..., 14:16, 5:30] = image[..., 8:23, 11:14] = image[..., 30:31, 3:-5] = image[..., 25:50, 40:42] = 1
    return image


@pytest.mark.parametrize(
    "kind, levels, rectify",
    [
        *((kind, 1, False) for kind in ("columns", "rows", "text", "letterbox", "black and bright")),
        ("letterbox", 2, False),
        ("text", 1, True),
    ],
)
def test_graphics_of_two_levels_keep_their_precision(kind, levels, rectify):
    # Right beside an edge windows are flat: the largest derivatives there are, times a difference that is zero.
    x = torch.zeros(1, 1, 64, 56)
    if kind == "columns":
        x[..., 20:] = 1
    elif kind == "rows":
        x[..., 23:, :] = 1
    elif kind == "text":
        x = _bright_text(64, 56)
    elif kind == "letterbox":
        x[..., 8:-8, :] = 1
    y = 206 / 255 - 52 / 255 * x
    if kind == "black and bright":
        x[..., 18:], y = 0.3, 146 / 255 + 95 / 255 * _bright_text(64, 56)
        x[..., 18:] = 0
    _assert_precise(x, y, value=2e-6, gradient=5e-5, levels=levels, rectify=rectify)


def _black_beside_white(dtype, data_range):
    """A pair in which no window has a negative covariance, and many have exactly none, as one image is black there."""
    x, y = torch.zeros(1, 1, 22, 40), torch.full((1, 1, 22, 40), 0.05)
    x[..., 20:], y[..., ::2] = 1, 0.1
    return (x * data_range).to(dtype), (y * data_range).to(dtype)


@pytest.mark.parametrize("dtype, allowed", [(torch.float64, 1e-11), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_black_areas_keep_their_gradient(dtype, allowed, data_range):
    x, y = _black_beside_white(dtype, data_range)
    options = dict(data_range=data_range)
    rectified = _means_and_gradients(fused_means, x, y, (True, True), **_options(rectify=True, **options))
    as_they_are = _means_and_gradients(plain_means, x.double(), y.double(), (True, True), **_options(**options))
    for ours, expected in zip(rectified, as_they_are, strict=True):
        assert (ours - expected).abs().max() < allowed * expected.abs().max()


@pytest.mark.parametrize("dtype, allowed", [(torch.float64, 1e-10), (torch.float32, 2e-5)], ids=str)
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_the_gradient_of_a_faint_negative_covariance_is_cut(pair, naive, dtype, allowed, data_range):
    noise, _ = pair(1, 1, 22, 25)
    x, y = ((level + contrast * (noise - 0.5)) * data_range for level, contrast in ((0.5, 1e-3), (0.4, -3e-4)))
    x, y = x.to(dtype), y.to(dtype)
    ours = _means_and_gradients(fused_means, x, y, (True, True), **_options(rectify=True, data_range=data_range))
    images = [(image.double() / data_range).requires_grad_() for image in (x, y)]
    exact = naive(*images, rectify=True)[0]
    assert abs(ours[0] - exact).max() < allowed
    for gradient, expected in zip(ours[1:], torch.autograd.grad(exact.sum(), images), strict=True):
        expected = expected / data_range
        assert (gradient - expected).abs().max() < allowed * expected.abs().max()


def test_gpus_with_warps_of_64_threads_are_refused(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    with pytest.raises(RuntimeError, match=r"NVIDIA GPUs only, got PyTorch for ROCm 6\.4"):
        importlib.reload(triton_backend)


@pytest.mark.parametrize("offset", [1e-7, 3e-7])
def test_nearly_equal_images_are_never_above_one(offset):
    for level in (0.1, 0.6, 0.9):
        x = torch.full((1, 1, 13, 11), level)
        means, *_ = _means_and_gradients(fused_means, x, x + offset, (False, False), **_options())
        assert (means <= 1).all()


def test_weights_that_sum_to_a_little_more_than_one_give_no_value_above_one(pair):
    x, _ = pair(1, 1, 13, 14)
    weights = (0.8, 0.2, 0.2)  # over their sum, in float64, they sum to 1 + 2^-52
    assert sum(weight / sum(weights) for weight in weights) > 1
    assert fused_index(x, x, weights=weights, win_size=3, method="wtd_sum") <= 1


@pytest.mark.full
@pytest.mark.parametrize("normalize", ["relu", "covariance"])
def test_a_window_that_sees_one_pixel_alone_is_finite(normalize):
    x, y = torch.zeros(1, 1, 3, 3), torch.full((1, 1, 3, 3), 1e38)
    y[..., 1, 1] = 0
    images = [image.to(DEVICE).requires_grad_() for image in (x, y)]
    value = fused_index(*images, normalize=normalize, weights=(1.0,), win_size=3, sigma=0.05, K1=0.0)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, images))


@pytest.mark.filterwarnings("ignore:data_range is:UserWarning")
def test_infinity_beside_huge_numbers_gives_nan():
    x, y = torch.zeros(1, 1, 4, 3), (torch.arange(4.0)[:, None] % 2 * 2 - 1).expand(1, 1, 4, 3) * 1e20
    x[..., 0, 0] = -torch.inf
    assert fused_index(x, y, normalize="relu", weights=(1.0,), win_size=3, K1=0.0).isnan()


@pytest.mark.parametrize("bright", [100.0, 1e4])
def test_a_pixel_far_beyond_the_range_takes_no_precision_from_others(pair, bright):
    x, y = pair(1, 1, 46, 30)
    x[..., 21, 20], y[..., 21, 20] = bright, 0.9 * bright  # the row before one whose mean may become a base
    _assert_precise(x, y, value=1e-7, gradient=2e-6)


@pytest.mark.parametrize("columns", [1, 15])
def test_an_outlier_does_not_cost_precision_elsewhere(pair, columns):
    x, y = pair(1, 1, 46, 30)
    for image in (x, y):
        image[..., :9, :columns] = -9999.0
    _assert_precise(x, y, value=1e-6, gradient=5e-5, levels=2)


def _assert_precise(x, y, value, gradient, **options):
    """In float32, against the plain backend in float64 on the same pixels; the gradient by its largest entry."""
    x, y = x.float(), y.float()
    options = _options(**options)
    ours, of_ours = _means_and_gradients(fused_means, x, y, **options)
    exact, of_exact = _means_and_gradients(plain_means, x.double(), y.double(), **options)
    assert (ours - exact).abs().max() < value
    assert (of_ours - of_exact).abs().max() < gradient * of_exact.abs().max()


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_images_give_exactly_one(pair, dtype):
    x, _ = pair(1, 1, 22, 27, dtype=dtype)
    means, *_ = _means_and_gradients(fused_means, x, x, (False, False), **_options(levels=2, data_range=3.0))
    assert (means == 1).all()


def test_gradients_are_for_who_needs_them(pair):
    x, y = (image.to(DEVICE) for image in pair(1, 1, 13, 15))
    options = _options()
    for needs in ((False, False), (True, False), (False, True), (True, True)):
        _, *kept = triton_backend.means_and_gradients(x, y, *options.values(), *needs)
        assert [gradient.shape[-1] for gradient in kept] == [13 * 15 * need for need in needs]
    _compare(x.cpu(), y.cpu(), needs=(False, True))


def _layouts(x):
    wide = torch.zeros(*x.shape[:3], 2 * x.shape[3], dtype=x.dtype, device=x.device)
    wide[..., ::2] = x
    offset = torch.zeros(x.shape[0], x.shape[1] + 1, x.shape[2] + 3, x.shape[3] + 5, dtype=x.dtype, device=x.device)
    offset[:, 1:, 3:, 5:] = x
    yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    yield "strided", wide[..., ::2]
    yield "sliced", offset[:, 1:, 3:, 5:]
    yield "transposed", x.mT.contiguous().mT


@pytest.mark.parametrize(
    "dtype, some", [(torch.float32, slice(None, None, 2)), (torch.uint8, slice(1, None, 2))], ids=str
)
def test_layout_changes_no_bit(pair, dtype, some):
    x, y = (image.to(DEVICE) for image in pair(1, 2, 12, 14, dtype=dtype))
    options = _options(levels=1, data_range=255.0 if dtype == torch.uint8 else 1.0)
    expected = fused_means(x, y, **options)
    for (name, other), (_, view) in list(zip(_layouts(x), [*_layouts(y)][::-1], strict=True))[some]:
        assert torch.equal(fused_means(other, view, **options), expected), name
    assert torch.equal(fused_means(x[:, :1].expand_as(x), y, **options)[:, 0], expected[:, 0])


def test_addresses_beyond_two_to_the_31(pair):
    step = 2**31 + 4096
    try:
        memory = torch.empty(step + 256, dtype=torch.uint8, device=DEVICE)  # untouched pages take no memory on a CPU
    except RuntimeError:
        pytest.skip("2 GiB of address space cannot be allocated")
    x, y = (image.to(DEVICE) for image in pair(2, 1, 13, 15, dtype=torch.uint8))
    far = memory.as_strided((2, 1, 13, 15), (step, 13 * 15, 15, 1))
    far.copy_(x)
    options = _options(data_range=255.0)
    assert torch.equal(fused_means(far, y, **options), fused_means(x, y, **options))


@pytest.mark.usefixtures("size")
def test_every_pixel_of_fresh_memory_is_written(pair):
    x, y = pair(1, 1, 23, 25, dtype=torch.float32)
    expected = _means_and_gradients(fused_means, x, y, (True, True), **_options(levels=2))
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        again = _means_and_gradients(fused_means, x, y, (True, True), **_options(levels=2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(*each) for each in zip(again, expected, strict=True))


@pytest.mark.usefixtures("size")
@pytest.mark.parametrize(
    "dtype, factor",
    [(torch.float32, 1e-30), (torch.float32, 1e30), (torch.float64, 1e200)],
    ids=str,
)
def test_values_far_beyond_the_range_are_those_of_the_plain_backend(pair, dtype, factor):
    x, y = pair(1, 1, 22, 23, dtype=dtype)
    _compare(x * factor, y * factor, levels=2, needs=(True, False), rtol=2e-5 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_give_nan_in_their_plane(pair, bad):
    x, y = pair(2, 1, 13, 15, dtype=torch.float32)
    x[0, 0, 12, 14] = bad
    (means,) = _means_and_gradients(fused_means, x, y, (False, False), **_options())
    assert means[0].isnan().all() and means[1].isfinite().all()


@pytest.mark.usefixtures("size")
def test_one_huge_pixel_leaves_everything_finite(pair):
    x, y = pair(1, 1, 22, 60, dtype=torch.float32)
    x[0, 0, 3, 50] = 3e38
    x[0, 0, 20, 3] = -3e38
    for result in _means_and_gradients(fused_means, x, y, (True, True), **_options(levels=2, rectify=True)):
        assert result.isfinite().all()


def test_flat_areas_of_many_rows_without_constants(pair):
    x, y = pair(1, 1, 40, 30)
    x[..., 13:], y[..., 13:] = 0.7, 0.2
    _compare(x, y, K2=0)
    _compare(x.float(), y.float(), K2=0, rtol=1e-4)


@pytest.mark.parametrize("K1", [0.01, 0])
def test_constants_beyond_what_can_be_scaled(pair, K1):
    x, y = pair(1, 1, 24, 24, dtype=torch.float32)
    options = _options(levels=2, data_range=1e50, K1=K1, K2=1000)
    (ours,), (plain,) = (
        _means_and_gradients(each, x, y, (False, False), **options) for each in (fused_means, plain_means)
    )
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-6)
    assert (ours[..., 0] == 1).all() and (ours[..., 1] < 1).all() == (K1 == 0)  # l of the true means without C1


@pytest.mark.parametrize("K1, K2", [(0, 0), (0.01, 0), (0, 0.03)])
def test_without_constants_flat_and_black_windows_count_as_alike(pair, K1, K2):
    x, y = pair(1, 1, 16, 40, dtype=torch.float32)
    x[..., :20], y[..., :20] = 0.7, 0.2
    x[..., 25:], y[..., 25:] = 0, 0
    _compare(x, y, K1=K1, K2=K2, needs=(False, False), rtol=2e-5)


def fused_index(x, y, function=msssim.msssim, **options):
    """msssim(), or another, through these kernels."""
    return function(x.to(DEVICE), y.to(DEVICE), backend="triton", **options)


@pytest.mark.parametrize("normalize", [None, "relu", "simple", "covariance"])
@pytest.mark.parametrize("method", ["product", "wtd_sum"])
def test_every_mode_and_method(pair, normalize, method):
    x, y = pair(1, 1, 23, 24, dtype=torch.float64, noise=0.7)
    options = dict(normalize=normalize, method=method, weights=(0.4, 0.6))
    results = []
    for index in (fused_index, lambda x, y, **options: msssim.msssim(x, y, backend="torch", **options)):
        image = x.clone().requires_grad_()
        value = index(image, y, **options)
        results.append((value.detach().cpu(), torch.autograd.grad(value, image)[0]))
    assert results[1][1].abs().max() > 0
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-14)


def _golden(dataset, name):
    (found,) = (each for each in datasets.load(dataset) if each.name == name)
    return [torch.as_tensor(image)[None, None].double() for image in (found.reference, found.distorted)]


def test_what_the_matlab_code_returned():
    value, terms = fused_index(*_golden("golden", "grass-257x191-quantised"), data_range=255.0, scales=True)
    expected = golden.values()["grass-257x191-quantised"]
    assert abs(value.item() - expected.msssim_product.real) < 1e-11
    assert terms.flatten().tolist()[:-1] == pytest.approx(expected.cs[:-1], abs=1e-11)


def test_the_gradient_of_the_matlab_code():
    x, y = _golden("golden-gradients", "coffee-179x193-noisy")
    expected = golden.gradients()["coffee-179x193-noisy"]
    (gradient,) = torch.autograd.grad(fused_index(x, y.requires_grad_(), data_range=255.0), y)
    sampled = gradient[0, 0, expected.row, expected.column].numpy()
    assert abs(sampled - expected.msssim_product).max() < 1e-6 * abs(expected.msssim_product).max()


def test_every_kernel_compiles_ahead_of_time_and_its_loop_needs_few_instructions_at_the_default_window():
    command = [sys.executable, "-m", "tests.ahead_of_time", "float32 window 11 one gradient 128 threads"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stderr
    print(done.stdout)
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert {row[0] for row in rows} == {"sm_80", "sm_90"}
    assert {row[-6] for row in rows} == {"sweep", "downsample", "finish_means", "pool", "pyramid_backward"}
    loops = [[float(each) for each in row[-3:]] for row in rows if row[-6] == "sweep"]
    assert len(loops) == 6
    for instructions, _, spilling in loops:
        assert instructions < 300
        assert spilling == 0
    assert all(row[-4] == "0" for row in rows if row[-6] != "sweep")


@compiled
@pytest.mark.usefixtures("size")
def test_a_call_launches_the_same_when_it_is_made_again(pair, launches):
    x, y = pair(1, 1, 29, 28)
    for _ in range(2):
        _means_and_gradients(fused_means, x, y, (True, True), **_options(levels=3, win_size=7))
    half = len(launches) // 2
    assert half >= 5
    assert launches[:half] == launches[half:]


@compiled
def test_the_order_of_threads_changes_no_bit(pair):
    x, y = pair(1, 2, 45, 91, dtype=torch.float32)
    results = []
    for seed in (1, 2, 3):
        with driver.emulated_gpu(90, seed=seed):
            results.append(_means_and_gradients(fused_means, x, y, **_options(levels=3)))
    for again in results[1:]:
        assert all(torch.equal(*each) for each in zip(results[0], again, strict=True))


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("capability", [60, 75, 100, 120])
def test_the_kernels_for_gpus_old_and_new(pair, capability, dtype):
    x, y = pair(1, 1, 45, 47, dtype=dtype)
    with driver.emulated_gpu(capability):
        _compare(x, y, (True, False), levels=3, win_size=7, rtol=2e-5 if dtype == torch.float32 else 2**-8)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_value_of_the_matlab_code(dtype):
    expected = golden.values()
    for found in datasets.load("golden"):
        x, y = (torch.as_tensor(image)[None, None].to(dtype) for image in (found.reference, found.distorted))
        terms = fused_index(x, y, data_range=255.0, normalize="relu", scales=True)[1]
        cs, ssim = terms.flatten().tolist()[:-1], terms.flatten().tolist()[-1]
        allowed = 1e-5 if dtype == torch.float32 else 1e-11
        assert [*cs, ssim] == pytest.approx([*expected[found.name].cs[:-1], expected[found.name].ssim[-1]], abs=allowed)


@pytest.mark.skipif(GPU or INTERPRETED, reason="is run by it")
def test_the_interpreter_computes_the_same():
    # By a process of its own: Triton asks whether it is to interpret while it is imported.
    tests = (
        "means_and_both_gradients or windows_of_every_size or matlab_code_returned or the_gradient_of or many_planes"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-k",
        tests,
        __file__,
        "tests/kernels/test_pool.py",
    ]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert not done.returncode and " passed" in done.stdout
