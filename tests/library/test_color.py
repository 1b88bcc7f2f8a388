"""Luma has the published coefficients, rounds as MATLAB's rgb2gray, and can be differentiated."""

import numpy as np
import pytest
import torch

import msssim

# The rows for R, G and B in 0..1 as their sources print them: MATLAB's rgb2gray (the first row of the inverse of its
# matrix from YIQ), BT.601, BT.709, and rgb2ycbcr with 16 added, in units of 255.
PUBLISHED = {
    "matlab": (np.linalg.inv([[1.0, 0.956, 0.621], [1.0, -0.272, -0.647], [1.0, -1.106, 1.703]])[0], 0.0),
    "bt601": ((0.299, 0.587, 0.114), 0.0),
    "bt709": ((0.2126, 0.7152, 0.0722), 0.0),
    "ycbcr": (np.array([65.481, 128.553, 24.966]) / 255, 16 / 255),
}


def rgb(*shape, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("standard", PUBLISHED)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7)])
def test_published_coefficients(standard, shape):
    image, (weights, offset) = rgb(*shape), PUBLISHED[standard]
    expected = torch.einsum("...chw,c->...hw", image, torch.as_tensor(np.asarray(weights))).unsqueeze(-3) + offset
    torch.testing.assert_close(msssim.luma(image, standard), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("standard", PUBLISHED)
def test_white_and_black(standard):
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(3, 1, 2)
    expected = [16 / 255, 235 / 255] if standard == "ycbcr" else [0, 1]
    assert msssim.luma(ends, standard).flatten().tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("dtype, peak", [(torch.uint8, 255), (torch.uint16, 65535)])
def test_integers_are_rounded_as_by_rgb2gray(dtype, peak):
    image = (rgb(3, 200, 200) * peak).round()
    gray = msssim.luma(image.to(dtype), "matlab")
    expected = np.floor(np.einsum("chw,c->hw", image.numpy(), PUBLISHED["matlab"][0]) + 0.5)
    assert gray.dtype == dtype and gray.shape == (1, 200, 200)
    np.testing.assert_array_equal(gray[0].numpy(), expected)
    levels = torch.arange(peak + 1).to(dtype)
    assert torch.equal(msssim.luma(levels.expand(3, 1, -1), "matlab")[0, 0].int(), levels.int())  # gray stays gray


def test_every_colour_of_uint8_is_rounded_as_by_rgb2gray():
    green, blue = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    weights = PUBLISHED["matlab"][0]
    for red in range(256):
        image = torch.stack([torch.full_like(green, red), green, blue]).double()
        expected = (image[0] * weights[0] + image[1] * weights[1] + image[2] * weights[2] + 0.5).floor()
        assert torch.equal(msssim.luma(image.byte(), "matlab")[0], expected.byte()), red


@pytest.mark.parametrize("standard", PUBLISHED)
def test_gradient(standard):
    image = rgb(1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: msssim.luma(x, standard), image)
    assert torch.autograd.gradgradcheck(lambda x: msssim.luma(x, standard).square(), image)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_dtypes_are_computed_in_float32(dtype):
    image = rgb(2, 3, 30, 30, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plane = msssim.luma(image, "bt709")
    assert plane.dtype == dtype
    torch.testing.assert_close(
        plane.double(), msssim.luma(image.double(), "bt709"), rtol=2 * torch.finfo(dtype).eps, atol=0
    )


@pytest.mark.parametrize(
    "image, standard, error, message",
    [
        (rgb(3, 4, 4), "rec601", ValueError, "'matlab', 'bt601', 'bt709', 'ycbcr', got 'rec601'"),
        (np.zeros((3, 4, 4)), "bt601", TypeError, "image must be a torch.Tensor, got numpy.ndarray"),
        (rgb(3, 4, 4).byte(), "ycbcr", TypeError, "floating point in 0..1 .*, got torch.uint8; pass image / 255"),
        (rgb(3, 4, 4).int(), "matlab", TypeError, "uint8 or uint16 .*, got torch.int32; convert it to floating point"),
        (rgb(1, 4, 4), "bt601", ValueError, r"got \(1, 4, 4\); a gray image is its own luma"),
        (rgb(4, 5, 3), "bt601", ValueError, r"got \(4, 5, 3\); channels come first: pass image.permute\(2, 0, 1\)"),
        (rgb(4, 4), "bt601", ValueError, r"must have shape \(N, 3, H, W\) or \(3, H, W\), got \(4, 4\)"),
    ],
)  # fmt: skip
def test_errors(image, standard, error, message):
    with pytest.raises(error, match=message):
        msssim.luma(image, standard)
