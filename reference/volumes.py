"""SSIM and MS-SSIM of signals, images and volumes in NumPy float64: Wang's definition with any number of axes.

The window is a product of Gaussian windows, one for each axis. Between scales is the mean of 2 voxels along each axis,
at an odd border of those that exist. With two axes it is :mod:`reference.wang`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from .wang import WEIGHTS, gaussian_taps


def msssim_terms(
    img1: ArrayLike,
    img2: ArrayLike,
    *,
    levels: int = 5,
    data_range: float = 255,
    win_size: int | Sequence[int] = 11,
    sigma: float | Sequence[float] = 1.5,
    K1: float = 0.01,
    K2: float = 0.03,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean cs and mean SSIM (l times cs) of each scale, finest first.

    Parameters
    ----------
    img1, img2 : array_like
        Arrays of the same shape; every axis is spatial.
    levels : int, default 5
        The number of scales.
    data_range : float, default 255
        The difference between the largest and the smallest value that the arrays can have.
    win_size, sigma : number or a number for each axis, default 11 and 1.5
        Side and standard deviation of the Gaussian window.
    K1, K2 : float, default 0.01 and 0.03
        The constants of the paper; not 0.

    Returns
    -------
    cs, ssim : ndarray, shape (levels,)
    """
    x, y = np.asarray(img1, dtype=np.float64), np.asarray(img2, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError(f"img1 and img2 must have the same shape, got {x.shape} and {y.shape}")
    sizes, sigmas = np.broadcast_to(win_size, x.ndim), np.broadcast_to(sigma, x.ndim)
    taps = [gaussian_taps(int(size), float(deviation)) for size, deviation in zip(sizes, sigmas, strict=True)]
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    cs, ssim = np.empty(levels), np.empty(levels)
    for level in range(levels):
        if level:
            x, y = halved(x), halved(y)
        mu_x, mu_y = weighted_mean(x, taps), weighted_mean(y, taps)
        variances = weighted_mean(x * x, taps) - mu_x**2 + weighted_mean(y * y, taps) - mu_y**2
        cs_map = (2 * (weighted_mean(x * y, taps) - mu_x * mu_y) + c2) / (variances + c2)
        cs[level] = cs_map.mean()
        ssim[level] = (cs_map * (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)).mean()
    return cs, ssim


def msssim(
    img1: ArrayLike, img2: ArrayLike, *, weights: Sequence[float] = WEIGHTS, data_range: float = 255, **window: float
) -> float:
    """Compute the product of the powers of the terms; NaN if a term is negative. Options as of msssim_terms()."""
    exponents = np.asarray(weights, dtype=np.float64)
    terms, ssim = msssim_terms(img1, img2, levels=len(exponents), data_range=data_range, **window)  # type: ignore[arg-type]
    terms[-1] = ssim[-1]
    with np.errstate(invalid="ignore"):
        return float((terms**exponents).prod())


def weighted_mean(array: np.ndarray, taps: Sequence[np.ndarray]) -> np.ndarray:
    """Filter an array along each axis, at the positions inside of it."""
    for axis, tap in enumerate(taps):
        array = sliding_window_view(array, len(tap), axis=axis) @ tap
    return array


def halved(array: np.ndarray) -> np.ndarray:
    """Return the means of 2 voxels along each axis, at an odd border of the one that exists."""
    for axis in range(array.ndim):
        if array.shape[axis] % 2:
            array = np.concatenate([array, array.take([-1], axis)], axis)
        even, odd = (array.take(range(start, array.shape[axis], 2), axis) for start in (0, 1))
        array = 0.5 * (even + odd)
    return array
