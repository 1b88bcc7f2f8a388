"""Warnings about calls that return a number, but probably not the one that the caller means."""

import os
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import msssim

CALLS = pytest.mark.parametrize("call", [msssim.ssim, lambda *a, **k: msssim.SSIM(**k)(*a)], ids=["ssim", "SSIM"])


def _warning(call, *images, **options):
    """The text of the one warning that a call gives at a line of this file, or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*images, **options)
    if not caught:
        return None
    (warning,) = caught
    assert warning.category is UserWarning and warning.filename == __file__
    return str(warning.message)


def _as(image, dtype, bits):
    return (image * (2**bits - 1)).round().to(dtype)


# imgcomp-cvpr#1 and image-similarity-measures#28: numbers that look plausible, of images and a range that do not match.
@CALLS
def test_a_range_that_contradicts_the_images_gives_a_warning(pair, call):
    x, y = pair(1, 1, 45, 50, dtype=torch.float32)
    assert "img2 holds values in [0, 1]" in _warning(call, 255 * x, y)
    assert "img1 holds values in [0, 1]" in _warning(call, x, 255 * y, data_range=255)
    assert "data_range is 255, but the images hold values in [-1, 1]" in _warning(call, x, y, data_range=255)
    assert "data_range is 255" in _warning(call, 2 * x - 1, 2 * y - 1, data_range=255)
    assert "leave it out for uint8" in _warning(call, _as(x, torch.uint8, 8), _as(y, torch.uint8, 8), data_range=1)
    assert "data_range=4095" in _warning(call, _as(x, torch.uint16, 12), _as(y, torch.uint16, 12))


@CALLS
def test_plausible_ranges_give_no_warning(pair, call):
    x, y = pair(1, 1, 45, 50, dtype=torch.float32)
    black = torch.zeros_like(x)
    for images, options in [
        ((x / 300, y / 300), {}),
        ((black, y), {}),
        ((black, black), dict(data_range=255)),
        ((black, 255 * y), dict(data_range=255)),
        ((x.round(), 255 * y), dict(data_range=255)),  # nearly black, integers
        ((255 * x / 16, 255 * y / 16), dict(data_range=255)),
        ((x > 0.5, y > 0.5), {}),
        ((_as(x, torch.uint8, 1), _as(y, torch.uint8, 1)), dict(data_range=1)),  # masks
        ((_as(x, torch.uint8, 4), _as(y, torch.uint8, 4)), {}),
        ((_as(x, torch.uint16, 16), _as(y, torch.uint16, 16)), {}),
        (
            (_as(x, torch.uint16, 12), _as(y, torch.uint16, 12)),
            dict(data_range=65535),
        ),  # dark; the caller passes the range
        ((_as(x, torch.uint16, 12), _as(y, torch.uint16, 12)), dict(data_range=4095)),
        ((_as(x, torch.uint16, 4), _as(y, torch.uint16, 4)), {}),
        ((x.fill_(float("nan")), y), {}),
    ]:
        assert _warning(call, *images, **options) is None, (options, images)


def test_a_warning_is_shown_once_per_line_of_code():
    """By Python's default filter: so the texts have no pixel values."""
    code = (
        "import torch, msssim\nimage = torch.rand(1, 1, 32, 32)\n"
        "msssim.ssim(image, image)  # importing kernels resets the warnings that Python has shown\n"
        "for i in range(1, 5):\n    msssim.ssim(i * 50 * image, i * 50 * image.flip(-1))\n"
    )
    root = pathlib.Path(msssim.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and done.stderr.count("UserWarning: data_range is 1") == 1, done.stderr


def _false_alarms(images):
    """The dark images in the right range, at 1/16 exposure, for which there is a warning."""
    found = []
    for name, image in images:
        dark = torch.from_numpy(np.asarray(image, np.float32)) / 255 / 16
        noisy = (dark + 0.002 * torch.randn(dark.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
        pairs = {
            "float in 0..1": (dark, noisy, {}),
            "float in 0..255": (255 * dark, 255 * noisy, dict(data_range=255)),
            "dark against bright": (dark, 16 * dark, {}),
            "uint8": ((255 * dark).round().byte(), (255 * noisy).round().byte(), {}),
            "uint8 with its range": ((255 * dark).round().byte(), (255 * noisy).round().byte(), dict(data_range=255)),
        }
        for kind, (x, y, options) in pairs.items():
            if _warning(msssim.ssim, x, y, **options):
                found.append((name, kind))
    return found


@pytest.mark.parametrize("name", ["camera", "coins", "page", "text"])
def test_a_dark_picture_in_the_right_range_gives_no_warning(name):
    picture = getattr(pytest.importorskip("skimage.data"), name)()
    assert _false_alarms([(name, picture)]) == []


def test_dark_kodak_photographs_give_no_warning():
    folder = pathlib.Path(os.environ.get("MSSSIM_DATA", "")) / "kodak"
    files = sorted(folder.glob("kodim*.png"))
    if not files:
        pytest.skip("Kodak is not here: set MSSSIM_DATA, and run `python -m datasets get kodak`")
    assert _false_alarms((file.name, np.array(Image.open(file).convert("L"))) for file in files) == []


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_nan_with_a_gradient_gives_a_warning(pair, backend, reduction):
    x, _ = pair(2, 1, 44, 45, dtype=torch.float32)
    options = dict(weights=(0.4, 0.6), backend=backend, reduction=reduction)
    criterion = msssim.MSSSIM(**options)
    text = _warning(criterion, x.clone().requires_grad_(), 1 - x)
    assert text.startswith("MS-SSIM is NaN") and 'normalize="covariance"' in text
    assert _warning(msssim.msssim, x, (1 - x).requires_grad_(), **options) == text


def test_a_nan_without_a_gradient_gives_no_warning(pair, backend):
    x, y = pair(1, 1, 44, 45, dtype=torch.float32)
    options = dict(weights=(0.4, 0.6), backend=backend)
    for images, more in [
        ((x, 1 - x), {}),  # no gradient is asked for
        ((x.clone().requires_grad_(), 1 - x), dict(normalize="covariance")),
        ((x.clone().requires_grad_(), 1 - x), dict(method="wtd_sum")),
        ((x.clone().requires_grad_(), y), {}),
        ((x.clone().fill_(float("nan")).requires_grad_(), y), {}),  # of the input
    ]:
        assert _warning(msssim.msssim, *images, **options, **more) is None
    with torch.no_grad():
        assert _warning(msssim.msssim, x.clone().requires_grad_(), 1 - x, **options) is None
    assert _warning(torch.func.grad(lambda a: msssim.msssim(a, 1 - x, **options)), x) is None
