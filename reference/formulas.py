"""Formulas of tools whose number no option of ssim() or msssim() gives: ffmpeg, VMAF, BasicSR and MATLAB's multissim.

Written from their sources, or for MATLAB from its documentation, with the filters of SciPy. Images are gray planes
(H, W) in 0..255.
"""

import numpy as np

from . import tools
from .wang import gaussian_taps

MULTISSIM_WEIGHTS = (0.0545, 0.2442, 0.4026, 0.2442, 0.0545)
"""fspecial("gaussian", [1, 5], 1), rounded."""


def basicsr(x: np.ndarray, y: np.ndarray, crop_border: int = 4) -> float:
    """Return ``calculate_ssim`` of BasicSR: Wang's SSIM without a border, which is the factor of super-resolution."""
    inside = slice(crop_border, -crop_border)
    return tools.FORMULAS["tensorflow"](x[inside, inside], y[inside, inside], 255.0)


def ffmpeg(x: np.ndarray, y: np.ndarray) -> float:
    """Return the ssim filter of ffmpeg for one plane: sums over 8 × 8 pixels at every fourth position."""
    x, y = x.astype(np.int64), y.astype(np.int64)

    def sums(plane: np.ndarray) -> np.ndarray:
        height, width = plane.shape[0] // 4, plane.shape[1] // 4
        blocks = plane[: 4 * height, : 4 * width].reshape(height, 4, width, 4).sum((1, 3))
        total: np.ndarray = blocks[:-1, :-1] + blocks[:-1, 1:] + blocks[1:, :-1] + blocks[1:, 1:]
        return total

    s1, s2, squares, products = sums(x), sums(y), sums(x * x + y * y), sums(x * y)
    c1, c2 = int(0.01**2 * 255**2 * 64 + 0.5), int(0.03**2 * 255**2 * 64 * 63 + 0.5)
    variances, covariance = squares * 64 - s1 * s1 - s2 * s2, products * 64 - s1 * s2
    above = (2 * s1 * s2 + c1) * (2 * covariance + c2).astype(np.float64)
    return float((above / ((s1 * s1 + s2 * s2 + c1) * (variances + c2).astype(np.float64))).mean())


def vmaf(x: np.ndarray, y: np.ndarray) -> float:
    """Return ``float_ssim`` of VMAF: Wang's SSIM after downsampling; blocks begin f // 2 earlier than in ssim.m."""
    factor = max(1, int(min(x.shape) / 256 + 0.5))
    if factor > 1:
        x, y = (_decimated(plane.astype(np.float64), factor) for plane in (x, y))
    return tools.FORMULAS["tensorflow"](x, y, 255.0)


def _decimated(plane: np.ndarray, factor: int) -> np.ndarray:
    from scipy.ndimage import correlate1d

    for axis in (0, 1):
        # The mean over -(f // 2) .. (f - 1) // 2; what is around the plane is its mirror image.
        size = plane.shape[axis] // factor + plane.shape[axis] % 2
        plane = np.pad(plane, [(0, factor if each == axis else 0) for each in (0, 1)], mode="symmetric")
        plane = correlate1d(plane, np.full(factor, 1 / factor), axis, mode="reflect")
        plane = np.take(plane, range(0, size * factor, factor), axis)
    return plane


def multissim(x: np.ndarray, y: np.ndarray) -> float:
    """Return ``multissim`` of MATLAB as documented: five scales, other weights, windows over replicated borders.

    The documentation does not say how it halves the images; the mean of 2 × 2 pixels is assumed.
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    index = 1.0
    for scale, weight in enumerate(MULTISSIM_WEIGHTS):
        if scale:
            x, y = (_halved(plane) for plane in (x, y))
        l_map, cs = _maps(x, y)
        index *= float((cs * l_map if scale == len(MULTISSIM_WEIGHTS) - 1 else cs).mean()) ** weight
    return index


def _halved(plane: np.ndarray) -> np.ndarray:
    plane = np.pad(plane, [(0, side % 2) for side in plane.shape], mode="edge")
    mean: np.ndarray = plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean((1, 3))
    return mean


def _maps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    taps = gaussian_taps(11, 1.5)
    mu_x, mu_y, xx, yy, xy = (tools.filtered(plane, taps, "nearest") for plane in (x, y, x * x, y * y, x * y))
    c1, c2 = 2.55**2, 7.65**2
    cs = (2 * (xy - mu_x * mu_y) + c2) / (xx - mu_x**2 + yy - mu_y**2 + c2)
    return (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1), cs
