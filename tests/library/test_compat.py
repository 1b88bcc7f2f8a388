"""The names of other packages: their signatures, their numbers where they are Wang's, errors where they are not."""

import inspect

import pytest
import torch
import torch.nn.functional as F

import msssim
from msssim import window
from msssim.compat import fused_ssim, original, pytorch_msssim

# Of gradients, where the window of pytorch-msssim does not sum to 1.
ROUNDED_WINDOW = 5e-5


def close(ours, theirs, images, budget=1e-5, of_gradient=ROUNDED_WINDOW):
    """Compare values, and gradients relative to the largest entry."""
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=0, atol=budget)
    mine, other = (torch.autograd.grad(value.sum(), images, retain_graph=True) for value in (ours, theirs))
    for gradient, expected in zip(mine, other, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=of_gradient * expected.abs().max().item())


def signature(function):
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.default, each.kind) for each in parameters]


@pytest.fixture
def installed():
    return pytest.importorskip("pytorch_msssim", reason="needs pytorch-msssim: python -m pip install pytorch-msssim")


@pytest.fixture
def images(pair):
    x, y = pair(2, 3, 192, 208)
    return x.requires_grad_(), y.requires_grad_()


@pytest.mark.parametrize("name", ["ssim", "ms_ssim", "SSIM", "MS_SSIM"])
def test_signatures_of_pytorch_msssim(installed, name):
    assert signature(getattr(pytorch_msssim, name)) == signature(getattr(installed, name))


@pytest.mark.parametrize(
    "options",
    [
        {}, {"size_average": False}, {"K": (0.02, 0.05)}, {"win_size": 7, "win_sigma": 1.0}, {"data_range": 2},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_numbers_of_pytorch_msssim(installed, images, name, options):
    options = {"data_range": 1} | options
    theirs = getattr(installed, name)(*images, **options)
    close(getattr(pytorch_msssim, name)(*images, **options), theirs, images)
    module, of_theirs = (getattr(each, name.upper())(channel=3, **options) for each in (pytorch_msssim, installed))
    close(module(*images), of_theirs(*images), images)


def test_options_of_one_function_of_pytorch_msssim(installed, images):
    x, y = images
    weights = [0.2, 0.3, 0.1, 0.2, 0.2]
    close(pytorch_msssim.ms_ssim(x, y, 1, weights=weights), installed.ms_ssim(x, y, 1, weights=weights), images)
    negative = 1 - x
    for nonnegative in (False, True):
        ours, theirs = (
            each.ssim(x, negative, 1, False, nonnegative_ssim=nonnegative) for each in (pytorch_msssim, installed)
        )
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        assert (ours == 0).all() if nonnegative else (ours < 0).all()
    sliced = [image.unsqueeze(2) for image in images]
    close(pytorch_msssim.ssim(*sliced, data_range=1), installed.ssim(*sliced, data_range=1), images)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_numbers_of_pytorch_msssim_with_a_window_in_float64(installed, images, name):
    taps = torch.tensor(window.gaussian_taps(11, 1.5), dtype=torch.float64)
    theirs = getattr(installed, name)(*images, data_range=1, win=taps.expand(3, 1, 1, -1))
    ours = getattr(pytorch_msssim, name)(*images, data_range=1)
    close(ours, theirs, images, budget=1e-11, of_gradient=1e-9)


def smooth_images():
    """Two images with small variances, as photographs have them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 3, 12, 13, generator=generator, dtype=torch.float64)
    x = F.interpolate(coarse, size=(192, 208), mode="bicubic").clamp(0, 1)
    noise = 0.05 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), (x.detach() + noise).clamp(0, 1).requires_grad_()


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_the_window_of_pytorch_msssim_explains_the_difference_of_gradients(installed, name):
    images = smooth_images()
    win = installed.ssim.__globals__["_fspecial_gauss_1d"](11, 1.5).double()
    assert 1e-8 < abs(win.sum().item() - 1) < 1e-7
    ours, theirs = (getattr(each, name)(*images, data_range=1) for each in (pytorch_msssim, installed))
    close(ours, theirs, images, of_gradient=1e-4)
    with pytest.raises(AssertionError):  # in float64 too
        close(ours, theirs, images, of_gradient=1e-5)
    with_sum_one = getattr(installed, name)(*images, data_range=1, win=(win / win.sum()).expand(3, 1, 1, -1))
    close(ours, with_sum_one, images, budget=1e-8, of_gradient=1e-7)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_float32_gradients_are_nearer_to_float64_than_those_of_pytorch_msssim(installed, name):
    wide = smooth_images()
    narrow = [image.detach().float().requires_grad_() for image in wide]

    def error(package):
        exact, rounded = (
            torch.autograd.grad(getattr(package, name)(*images, data_range=1), images[0])[0]
            for images in (wide, narrow)
        )
        return (rounded - exact).abs().max() / exact.abs().max()

    assert error(pytorch_msssim) < error(installed) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [0.5, 1.5, 4.0])
def test_a_gaussian_window_of_pytorch_msssim(installed, pair, sigma, dtype):
    x, y = (image.requires_grad_() for image in pair(1, 2, 64, 50))
    win = installed.ssim.__globals__["_fspecial_gauss_1d"](9, sigma).repeat(2, 1, 1, 1).to(dtype)
    ours, theirs = (each.ssim(x, y, data_range=1, win=win) for each in (pytorch_msssim, installed))
    close(ours, theirs, (x, y))
    torch.testing.assert_close(ours, msssim.ssim(x, y, win_size=9, sigma=sigma), rtol=0, atol=1e-7)


def test_a_uniform_window_of_pytorch_msssim(installed, pair):
    x, y = (image.requires_grad_() for image in pair(1, 1, 64, 50))
    win = torch.full((1, 1, 1, 7), 1 / 7)
    close(pytorch_msssim.ssim(x, y, 1, win=win), installed.ssim(x, y, 1, win=win), (x, y))


@pytest.mark.parametrize(
    "win", [torch.tensor([0.2, 0.6, 0.1, 0.1, 0.0]), torch.full((4,), 0.25), torch.full((7,), 1.0), torch.eye(3)[1]]
)
def test_a_window_that_is_no_gaussian_is_an_error(pair, win):
    x, y = pair(1, 1, 64, 64)
    with pytest.raises(ValueError, match=r"win must be a Gaussian window .* pass the size and sigma"):
        pytorch_msssim.ssim(x, y, 1, win=win.reshape(1, 1, 1, -1))
    if len(win) == 7:
        with pytest.raises(ValueError, match="window must be a Gaussian window"):
            original.ssim(x, y, window=torch.outer(win, win).reshape(1, 1, 7, 7))


def test_what_pytorch_msssim_accepts_and_we_do_not(pair):
    x, y = pair(1, 1, 161, 175)
    with pytest.raises(ValueError, match=r'at least 176 pixels high and wide, got 161 × 175; .* small="fewer"'):
        pytorch_msssim.ms_ssim(x, y, data_range=1)
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3, got 1"):
        pytorch_msssim.MS_SSIM(spatial_dims=1)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\) or \(N, C, D, H, W\), got \(161, 175\)"):
        pytorch_msssim.ssim(x[0, 0], y[0, 0])
    with pytest.raises(ValueError, match=r"for spatial_dims=3, got \(1, 1, 161, 175\); pass spatial_dims=2"):
        pytorch_msssim.SSIM(spatial_dims=3)(x, y)
    volumes = [image.expand(1, 1, 40, -1, -1) for image in (x, y)]
    with pytest.raises(ValueError, match=r"for spatial_dims=2, got .*; pass spatial_dims=3"):
        pytorch_msssim.SSIM()(*volumes)
    with pytest.raises(ValueError, match=r"176 voxels deep, high and wide, got 40 × 161 × 175; .* spatial_dims=3, "):
        pytorch_msssim.ms_ssim(*volumes, data_range=1)
    with pytest.raises(ValueError, match="win_size"):  # there, with a warning, it does not filter along the depth
        pytorch_msssim.ssim(*(volume[:, :, :8] for volume in volumes), data_range=1)


@pytest.mark.parametrize("options", [{}, {"size_average": False}, {"win_size": 7, "win_sigma": 1.0}])
def test_ssim_of_volumes_of_pytorch_msssim(installed, pair, options):
    volumes = [volume.requires_grad_() for volume in pair(2, 2, 12, 20, 17)]
    options = {"data_range": 1} | options
    theirs = installed.ssim(*volumes, **options)
    close(pytorch_msssim.ssim(*volumes, **options), theirs, volumes)
    close(pytorch_msssim.SSIM(channel=2, spatial_dims=3, **options)(*volumes), theirs, volumes)


def test_ms_ssim_of_volumes_of_pytorch_msssim(installed, pair):
    volumes = [volume.requires_grad_() for volume in pair(1, 2, 48, 64, 48)]
    options = {"data_range": 1, "win_size": 3}
    theirs = installed.ms_ssim(*volumes, **options)
    close(pytorch_msssim.ms_ssim(*volumes, **options), theirs, volumes)
    close(pytorch_msssim.MS_SSIM(channel=2, spatial_dims=3, **options)(*volumes), theirs, volumes)


def test_other_options_of_volumes_of_pytorch_msssim(installed, pair):
    x, y = pair(1, 2, 16, 20, 18)
    win = installed.ssim.__globals__["_fspecial_gauss_1d"](9, 2.0).repeat(2, 1, 1, 1, 1)
    assert win.shape == (2, 1, 1, 1, 9)
    ours, theirs = (each.ssim(x, y, data_range=1, win=win) for each in (pytorch_msssim, installed))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    ours, theirs = (each.ssim(x, 1 - x, 1, False, nonnegative_ssim=True) for each in (pytorch_msssim, installed))
    assert ours == theirs == 0
    slices = [volume[:, :, :1] for volume in (x, y)]
    torch.testing.assert_close(
        pytorch_msssim.SSIM(1)(*slices), msssim.ssim(*(each[:, :, 0] for each in slices)), rtol=0, atol=0
    )


def test_the_range_is_255_unless_given(pair):
    x, y = pair(1, 1, 64, 64)
    expected = msssim.ssim(255 * x, 255 * y, data_range=255)
    torch.testing.assert_close(pytorch_msssim.ssim(255 * x, 255 * y), expected, rtol=0, atol=0)
    with pytest.warns(UserWarning, match="data_range"):
        pytorch_msssim.SSIM()(x, y)


def splatting_ssim(x, y, padding):
    """SSIM as the code of 3D Gaussian splatting has it; fused-ssim crops its map for "valid"."""
    taps = torch.tensor(window.gaussian_taps(11, 1.5), dtype=x.dtype)
    weight = torch.outer(taps, taps).expand(x.shape[1], 1, 11, 11)
    mu_x, mu_y, xx, yy, xy = (
        F.conv2d(image, weight, padding=5, groups=x.shape[1]) for image in (x, y, x * x, y * y, x * y)
    )
    luminance = (2 * mu_x * mu_y + 1e-4) / (mu_x**2 + mu_y**2 + 1e-4)
    map = luminance * (2 * (xy - mu_x * mu_y) + 9e-4) / (xx - mu_x**2 + yy - mu_y**2 + 9e-4)
    return (map[..., 5:-5, 5:-5] if padding == "valid" else map).mean()


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_fused_ssim(pair, padding):
    x, y = (image.requires_grad_() for image in pair(2, 3, 40, 33))
    close(
        fused_ssim.fused_ssim(x, y, padding=padding),
        splatting_ssim(x, y, padding),
        (x, y),
        budget=1e-11,
        of_gradient=1e-9,
    )
    assert signature(fused_ssim.fused_ssim)[2:] == [
        ("padding", "same", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        ("train", True, inspect.Parameter.POSITIONAL_OR_KEYWORD),
    ]
    assert not fused_ssim.fused_ssim(x, y, padding, train=False).requires_grad


def test_fused_ssim_refuses_another_padding(pair):
    with pytest.raises(ValueError, match="padding must be one of 'same', 'valid', got 'reflect'"):
        fused_ssim.fused_ssim(*pair(1, 1, 20, 20), padding="reflect")


@pytest.mark.parametrize("size_average", [True, False])
def test_original(pair, naive, size_average):
    x, y = pair(2, 3, 64, 50)
    l_cs, cs = naive(x, y, data_range=3.0)
    expected = [each.mean() if size_average else each.mean((1, 2)) for each in (l_cs, cs)]
    found = original.ssim(x, y, size_average=size_average, full=True, val_range=3.0)
    torch.testing.assert_close(found, tuple(expected), rtol=0, atol=1e-12)
    alone = original.SSIM(size_average=size_average, val_range=3.0)(x, y)
    torch.testing.assert_close(alone, expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalize", [None, False, True, "simple", "relu"])
def test_original_msssim(pair, normalize):
    x, y = pair(2, 1, 176, 180)
    expected = msssim.msssim(x, y, normalize=normalize, reduction="none", data_range=2)
    found = original.msssim(x, y, size_average=False, val_range=2, normalize=normalize)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(original.MSSSIM(channel=1)(x, y), msssim.msssim(x, y), rtol=0, atol=0)


def test_original_takes_its_own_window(pair):
    x, y = pair(1, 2, 64, 50)
    taps = torch.exp(-((torch.arange(11.0) - 5) ** 2) / 4.5)
    window = torch.outer(taps / taps.sum(), taps / taps.sum()).expand(2, 1, 11, 11)
    torch.testing.assert_close(original.ssim(x, y, 11, window), msssim.ssim(x, y), rtol=0, atol=1e-7)


def test_original_agrees_with_its_formula_on_one_gray_image(pair):
    peer = pytest.importorskip("reference.peers.original", reason="the folder reference is not on the path")
    x, y = pair(1, 1, 192, 208)
    torch.testing.assert_close(original.ssim(x, y), peer.ssim(x, y), rtol=0, atol=1e-11)
