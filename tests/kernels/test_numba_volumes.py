"""The fused kernel for volumes: values and gradients of plain PyTorch, any size and dtype, and its memory."""

import pytest
import torch

import msssim
from msssim import backends

pytest.importorskip("numba")


def pair(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    y = 0.6 * x + 0.4 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return x.to(dtype), y.to(dtype)


def assert_like_plain_pytorch(x, y, needs=(True, True), value=1e-13, gradient=1e-12, **options):
    """Value, terms, and gradients relative to the largest entry; the plain backend computes in float64."""
    found = []
    for backend in ("numba", "torch"):
        images = [image.clone() if backend == "numba" else image.double().clone() for image in (x, y)]
        images = [image.requires_grad_(need) for image, need in zip(images, needs, strict=True)]
        result, terms = msssim.msssim(*images, spatial_dims=3, scales=True, backend=backend, **options)
        wanted = [image for image in images if image.requires_grad]
        found.append((result, terms, torch.autograd.grad(result, wanted) if wanted else ()))
    (ours, terms, gradients), (expected, expected_terms, known) = found
    assert ours.item() == pytest.approx(expected.item(), abs=value)
    torch.testing.assert_close(terms.double(), expected_terms.double(), rtol=0, atol=value)
    for own, exact in zip(gradients, known, strict=True):
        assert own.dtype == x.dtype
        assert (own.double() - exact).abs().max() <= gradient * exact.abs().max()


# Sizes around those of a task (8 slices, 16 rows) and of a vector.
@pytest.mark.parametrize("shape", [(11, 11, 11), (18, 26, 19), (19, 27, 24), (27, 28, 33)])
def test_sizes(shape):
    assert_like_plain_pytorch(*pair(1, 1, *shape), weights=(1.0,))


def test_scales_planes_and_odd_sizes():
    options = dict(weights=(0.5, 0.3, 0.2))
    assert_like_plain_pytorch(*pair(2, 2, 45, 50, 47), **options)
    assert_like_plain_pytorch(*pair(1, 1, 45, 44, 46), normalize="covariance", **options)


@pytest.mark.parametrize("needs", [(True, False), (False, True), (False, False)])
def test_gradients_where_required(needs):
    assert_like_plain_pytorch(*pair(1, 1, 24, 23, 25), needs, weights=(0.5, 0.5))


@pytest.mark.parametrize(
    "dtype, value, gradient", [(torch.float32, 1e-7, 3e-7), (torch.float16, 1e-7, 1e-3), (torch.bfloat16, 1e-7, 1e-2)]
)
def test_dtypes(dtype, value, gradient):
    assert_like_plain_pytorch(*pair(1, 1, 24, 23, 25, dtype=dtype), value=value, gradient=gradient, weights=(0.5, 0.5))


def test_integers_give_the_value_of_floats():
    x, y = ((255 * image).to(torch.uint8) for image in pair(1, 1, 24, 23, 25))
    options = dict(weights=(0.5, 0.5), spatial_dims=3)
    exact = msssim.msssim(x.double(), y.double(), data_range=255, backend="torch", **options)
    assert msssim.msssim(x, y, backend="numba", **options).item() == pytest.approx(exact.item(), abs=1e-7)


@pytest.mark.parametrize("shape", [(33, 57, 90), (29, 35, 129), (19, 91, 20)])
def test_float32_in_several_blocks(shape):
    """More voxels than those below which float64 is used, and rows and columns around those of a block."""
    assert_like_plain_pytorch(*pair(1, 1, *shape, dtype=torch.float32), value=1e-7, gradient=1e-6, weights=(1.0,))


def test_float32_of_areas_at_many_levels():
    """The constants of neighbouring blocks and of blocks one above the other differ."""
    x, y = pair(1, 1, 33, 70, 140, dtype=torch.float32)
    place = torch.arange(70)[:, None] // 16 + torch.arange(140) // 64 * 3
    x, y = (0.05 * image + 0.1 * place for image in (x, y))
    assert_like_plain_pytorch(x, y, value=1e-6, gradient=1e-5, weights=(1.0,))


def test_where_float32_is_not_accurate_the_plane_is_computed_in_float64():
    x, y = pair(3, 1, 33, 34, 35, dtype=torch.float32)
    y[1] = torch.rand(33, 34, 35, generator=torch.Generator().manual_seed(1))  # a mean near 0
    x[2, ..., 3:], y[2, ..., 3:] = 0.3 + 0.002 * x[2, ..., 3:], 0.35  # nearly flat
    assert_like_plain_pytorch(x, y, value=1e-7, gradient=1e-6, weights=(1.0,))
    wide = [msssim.ssim(x[k:].double(), y[k:].double(), spatial_dims=3, reduction="none")[0] for k in (1, 2)]
    narrow = msssim.ssim(x, y, spatial_dims=3, reduction="none")
    torch.testing.assert_close(narrow[1:], torch.stack(wide).to(narrow.dtype), rtol=0, atol=1e-7)


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 0.5)])
def test_a_graph_that_is_kept_gives_the_same_gradient_again(weights):
    x, y = pair(1, 2, 24, 30, 40, dtype=torch.float32)
    x.requires_grad_(), y.requires_grad_()
    value = msssim.msssim(x, y, spatial_dims=3, weights=weights, backend="numba")
    first = torch.autograd.grad(value, (x, y), retain_graph=True)
    second = torch.autograd.grad(value, (x, y), retain_graph=True)
    (third,) = torch.autograd.grad(3 * value, (x,))
    assert all(map(torch.equal, first, second))
    assert (third - 3 * first[0]).abs().max() <= 1e-6 * third.abs().max()


@pytest.mark.full
@pytest.mark.parametrize("win_size", [3, 7, 17, 19, 31])
def test_windows(win_size):
    assert_like_plain_pytorch(*pair(1, 1, 33, 34, 35), win_size=win_size, sigma=win_size / 5, weights=(1.0,))


@pytest.mark.filterwarnings("ignore:data_range is:UserWarning")
def test_constants_of_zero_and_extreme_voxels():
    x, y = pair(1, 2, 13, 14, 15)
    x[0, 0, :, :7], y[0, 0, :, :7] = 0, 0
    assert_like_plain_pytorch(x, y, K1=0, K2=0, weights=(1.0,), gradient=1e-8)
    assert_like_plain_pytorch(1e200 * x, 1e200 * y, weights=(1.0,), value=1e-12)
    x[0, 1, 3, 4, 5] = float("nan")
    terms = msssim.msssim(x, y, spatial_dims=3, weights=(1.0,), scales=True, backend="numba")[1]
    assert terms[0, 1].isnan().all() and terms[0, 0].isfinite().all()


def test_the_ring_does_not_carry_over_from_one_plane_to_the_next():
    x, y = pair(3, 1, 13, 14, 15)
    x[1] = float("nan")
    x.requires_grad_()
    value = msssim.ssim(x, y, spatial_dims=3, reduction="none", backend="numba")
    value[2].backward()
    alone = x.detach()[2:].clone().requires_grad_()
    msssim.ssim(alone, y[2:], spatial_dims=3, backend="numba").backward()
    assert torch.equal(x.grad[2:], alone.grad)


def test_nearly_equal_volumes_with_a_far_mean():
    x, other = pair(1, 1, 24, 23, 25)
    x, y = (3 + image for image in (x, x + 1e-4 * other))
    assert_like_plain_pytorch(x.float(), y.float(), value=1e-7, gradient=2e-5, weights=(0.5, 0.5))


def test_the_second_derivative_is_that_of_plain_pytorch():
    x, y = pair(1, 1, 12, 12, 13)
    found = []
    for backend in ("numba", "torch"):
        image = x.clone().requires_grad_()
        value = msssim.ssim(image, y, spatial_dims=3, backend=backend)
        (first,) = torch.autograd.grad(value, image, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), image)[0])
    torch.testing.assert_close(*found, rtol=1e-9, atol=0)


def test_threads_change_no_bit():
    x, y = pair(1, 1, 45, 50, 61, dtype=torch.float32)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            image = x.clone().requires_grad_()
            value = msssim.msssim(image, y, spatial_dims=3, weights=(0.5, 0.5), backend="numba")
            value.backward()
            results.append((value.detach(), image.grad))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_volumes_that_are_not_contiguous():
    x, y = pair(1, 1, 24, 23, 25)
    expected = msssim.ssim(x, y, spatial_dims=3, backend="numba")
    views = [image.transpose(2, 4).contiguous().transpose(2, 4) for image in (x, y)]
    assert torch.equal(msssim.ssim(*views, spatial_dims=3, backend="numba"), expected)


def test_transforms_fall_back_to_plain_pytorch():
    x, y = pair(2, 1, 1, 12, 12, 13)
    gradients = torch.func.vmap(torch.func.grad(lambda x, y: msssim.ssim(x, y, spatial_dims=3)))(x, y)
    one = x[1].clone().requires_grad_()
    msssim.ssim(one, y[1], spatial_dims=3, backend="torch").backward()
    torch.testing.assert_close(gradients[1], one.grad)


def test_auto_uses_the_kernel_for_volumes():
    x, _ = pair(1, 1, 12, 12, 13)
    assert backends.choose("auto", x, 11, features=("spatial_dims=3",)) is backends.ops
    assert backends.choose("auto", x, 11, features=("spatial_dims=3", "mask")) is backends.torch_backend


def test_gradients_of_scales_beyond_float32_are_finite():
    noise, data_range = pair(1, 1, 12, 6, 6)[0], 2.0**-128
    x, y = (torch.ones_like(noise) * data_range).float(), ((0.81 + 0.01 * noise) * data_range).float()
    images = [image.requires_grad_() for image in (x, y)]
    options = dict(spatial_dims=3, win_size=3, weights=(0.05, 0.28), normalize="covariance")
    value = msssim.msssim(*images, data_range=data_range, K2=0.0, backend="numba", **options)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, images))
