"""SSIM and MS-SSIM in NumPy float64, written from the papers to be read beside them, not to be fast.

Images are gray planes (H, W) of the same shape, as in the original. Where the papers leave something open, it
follows Wang's ssim_index.m, ssim.m and msssim.m: borders, odd sizes, zero denominators.

References
----------
.. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to
   structural similarity", IEEE Transactions on Image Processing 13(4), 2004. :doi:`10.1109/TIP.2003.819861`
.. [2] Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment",
   37th Asilomar Conference on Signals, Systems and Computers, 2003. :doi:`10.1109/ACSSC.2003.1292216`
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim_index(
    img1: ArrayLike,
    img2: ArrayLike,
    *,
    data_range: float = 255,
    win_size: int = 11,
    sigma: float = 1.5,
    K1: float = 0.01,
    K2: float = 0.03,
) -> tuple[float, np.ndarray]:
    """Compute mean SSIM and its map without downsampling, like ssim_index.m.

    Parameters
    ----------
    img1, img2 : array_like, shape (H, W)
        The planes, of the same shape.
    data_range : float, default 255
        The difference between the largest and the smallest value that the planes can have.
    win_size, sigma : int and float, default 11 and 1.5
        Side and standard deviation of the Gaussian window in pixels.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper.

    Returns
    -------
    value : float
    map : ndarray, shape (H - win_size + 1, W - win_size + 1)
    """
    x, y = _planes(img1, img2, win_size)
    ssim_map, _ = _maps(x, y, gaussian_taps(win_size, sigma), (K1 * data_range) ** 2, (K2 * data_range) ** 2)
    return float(ssim_map.mean()), ssim_map


def ssim(img1: ArrayLike, img2: ArrayLike, *, data_range: float = 255) -> float:
    """Compute mean SSIM after downsampling to about 256 pixels on the shorter side, like ssim.m and most papers."""
    x, y = _planes(img1, img2, 1)
    factor = max(1, math.floor(min(x.shape) / 256 + 0.5))  # MATLAB rounds halves up
    return ssim_index(downsample(x, factor), downsample(y, factor), data_range=data_range)[0]


def msssim_terms(
    img1: ArrayLike,
    img2: ArrayLike,
    *,
    levels: int = 5,
    data_range: float = 255,
    win_size: int = 11,
    sigma: float = 1.5,
    K1: float = 0.01,
    K2: float = 0.03,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean cs and mean SSIM (l times cs) of each scale, finest first.

    Parameters
    ----------
    img1, img2 : array_like, shape (H, W)
        The planes, of the same shape, at least ``win_size * 2 ** (levels - 1)`` pixels on the shorter side.
    levels : int, default 5
        The number of scales.
    data_range, win_size, sigma, K1, K2
        As in :func:`ssim_index`.

    Returns
    -------
    cs, ssim : ndarray, shape (levels,)
    """
    x, y = _planes(img1, img2, win_size * 2 ** (levels - 1))
    taps = gaussian_taps(win_size, sigma)
    cs, ssim = np.empty(levels), np.empty(levels)
    for level in range(levels):
        ssim_map, cs_map = _maps(x, y, taps, (K1 * data_range) ** 2, (K2 * data_range) ** 2)
        ssim[level], cs[level] = ssim_map.mean(), cs_map.mean()
        x, y = downsample(x, 2), downsample(y, 2)
    return cs, ssim


def msssim(
    img1: ArrayLike,
    img2: ArrayLike,
    *,
    data_range: float = 255,
    weights: Sequence[float] = WEIGHTS,
    method: str = "product",
    win_size: int = 11,
    sigma: float = 1.5,
    K1: float = 0.01,
    K2: float = 0.03,
) -> float | complex:
    """Compute MS-SSIM, like msssim.m.

    Parameters
    ----------
    img1, img2 : array_like, shape (H, W)
        The planes, of the same shape.
    weights : sequence of float
        The exponent of each scale, finest first; for wtd_sum its weight, after normalization to the sum 1.
    method : {"product", "wtd_sum"}
        Whether the scales are multiplied or added.
    data_range, win_size, sigma, K1, K2
        As in :func:`ssim_index`.

    Returns
    -------
    float or complex
        complex if the mean cs of a scale is negative and its exponent is not an integer.
    """
    if method not in ("product", "wtd_sum"):
        raise ValueError(f"method must be 'product' or 'wtd_sum', got {method!r}")
    exponents = np.asarray(weights, dtype=np.float64)
    terms, ssim = msssim_terms(
        img1, img2, levels=len(exponents), data_range=data_range, win_size=win_size, sigma=sigma, K1=K1, K2=K2
    )
    terms[-1] = ssim[-1]  # luminance counts at the coarsest scale only
    if method == "wtd_sum":
        return float((terms * exponents / exponents.sum()).sum())
    if np.any((terms < 0) & (exponents != np.round(exponents))):
        return complex((terms.astype(np.complex128) ** exponents).prod())
    return float((terms**exponents).prod())


def downsample(plane: np.ndarray, factor: int) -> np.ndarray:
    """Average factor × factor pixels at every factor-th pixel, with mirrored borders; the size is ceil(n / factor).

    This is ``imfilter(plane, ones(f) / f^2, 'symmetric')`` and then ``(1:f:end, 1:f:end)``; the centre of an even
    window is the pixel before its middle.
    """
    before = (factor - 1) // 2
    padded = np.pad(plane, (before, factor - 1 - before), mode="symmetric")
    return sliding_window_view(padded, (factor, factor))[::factor, ::factor].mean((-2, -1))


def rgb2gray(image: ArrayLike) -> np.ndarray:
    """Return the gray uint8 plane of an image (H, W, 3) in 0..255, like MATLAB's rgb2gray; a plane is not changed."""
    plane = np.asarray(image)
    if plane.ndim == 3:
        plane = np.floor(plane @ np.array([0.298936021293775, 0.587043074451121, 0.114020904255103]) + 0.5)
    return plane.astype(np.uint8)


def _planes(img1: ArrayLike, img2: ArrayLike, min_side: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(img1, dtype=np.float64), np.asarray(img2, dtype=np.float64)
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"img1 and img2 must be two planes (H, W) of the same shape, got {x.shape} and {y.shape}")
    if min(x.shape) < min_side:
        raise ValueError(f"img1 and img2 must be at least {min_side} pixels on the shorter side, got {x.shape}")
    return x, y


def gaussian_taps(win_size: int, sigma: float) -> np.ndarray:
    """Return the window along one axis, with sum 1; the window of a plane is its outer product with itself."""
    distance = np.arange(win_size) - (win_size - 1) / 2
    taps: np.ndarray = np.exp(-(distance**2) / (2 * sigma**2))
    return taps / taps.sum()


def _maps(x: np.ndarray, y: np.ndarray, taps: np.ndarray, c1: float, c2: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps of l times cs and of cs, at every position where the window is inside of the planes."""
    mu_x, mu_y = weighted_mean(x, taps), weighted_mean(y, taps)
    variances = weighted_mean(x * x, taps) - mu_x**2 + weighted_mean(y * y, taps) - mu_y**2
    covariance = weighted_mean(x * y, taps) - mu_x * mu_y
    l_numerator, l_denominator = 2 * mu_x * mu_y + c1, mu_x**2 + mu_y**2 + c1
    cs_numerator, cs_denominator = 2 * covariance + c2, variances + c2
    if c1 > 0 and c2 > 0:
        return l_numerator * cs_numerator / (l_denominator * cs_denominator), cs_numerator / cs_denominator
    # Without constants a denominator can be zero: the value is l if only that of cs is, and 1 if that of l is.
    # As in the original the comparison is exact: an area counts as flat only if its computed variance is exactly 0.
    ssim_map, cs_map = np.ones_like(mu_x), np.ones_like(mu_x)
    has_both, has_cs = l_denominator * cs_denominator > 0, cs_denominator > 0
    has_l_only = (l_denominator != 0) & (cs_denominator == 0)
    ssim_map[has_both] = (l_numerator * cs_numerator)[has_both] / (l_denominator * cs_denominator)[has_both]
    ssim_map[has_l_only] = l_numerator[has_l_only] / l_denominator[has_l_only]
    cs_map[has_cs] = cs_numerator[has_cs] / cs_denominator[has_cs]
    return ssim_map, cs_map


def weighted_mean(plane: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filter a plane along both axes, at the positions inside of it."""
    for axis in (0, 1):
        plane = sliding_window_view(plane, len(taps), axis=axis) @ taps
    return plane
