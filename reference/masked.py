"""SSIM and MS-SSIM of planes with weights of pixels (masks), by a direct loop over the windows in NumPy float64.

Written from the definition, normalized convolution, to be read beside it. With the weights m of the pixels and the
window g, a window at a place has the weight w = sum(g m), the means sum(g m x) / w, and the variances and the
covariance of the same shares g m / w. It counts if w > 0, and the mean over the map is weighted by w. Between scales a
pixel is the weighted mean of 2 × 2 pixels that exist, and its weight the mean of their weights.

References
----------
.. [1] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993.
   :doi:`10.1109/CVPR.1993.341081`
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .wang import WEIGHTS, gaussian_taps


def ssim_index(
    img1: ArrayLike,
    img2: ArrayLike,
    mask: ArrayLike,
    *,
    data_range: float = 255,
    win_size: int = 11,
    sigma: float = 1.5,
    inside: bool = False,
    luminance: bool = True,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Compute SSIM of two planes with the weights of a mask.

    Parameters
    ----------
    img1, img2 : array_like, shape (H, W)
        The planes; what lies under a weight of 0 is never read.
    mask : array_like, shape (H, W)
        The weights, at least 0.
    data_range, win_size, sigma
        As in :func:`reference.wang.ssim_index`.
    inside : bool, default False
        Whether windows that hold a pixel of weight 0 do not count.
    luminance : bool, default True
        Whether the map is l times cs, not cs.

    Returns
    -------
    value : float
        NaN if no window counts.
    map, weights : ndarray, shape (H - win_size + 1, W - win_size + 1)
    """
    x, y, m = (np.asarray(each, dtype=np.float64) for each in (img1, img2, mask))
    taps = gaussian_taps(win_size, sigma)
    window = np.outer(taps, taps)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = np.zeros((x.shape[0] - win_size + 1, x.shape[1] - win_size + 1))
    weights = np.zeros_like(values)
    for i, j in np.ndindex(values.shape):
        place = slice(i, i + win_size), slice(j, j + win_size)
        used = m[place] > 0
        weight = (window * m[place])[used].sum()
        if weight == 0 or (inside and not used.all()):
            continue
        share, a, b = (window * m[place])[used] / weight, x[place][used], y[place][used]
        mu_x, mu_y = (share * a).sum(), (share * b).sum()
        variances = (share * ((a - mu_x) ** 2 + (b - mu_y) ** 2)).sum()
        covariance = (share * (a - mu_x) * (b - mu_y)).sum()
        value = (2 * covariance + c2) / (variances + c2)
        if luminance:
            value *= (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
        values[i, j], weights[i, j] = value, weight
    total = weights.sum()
    return float((values * weights).sum() / total) if total else float("nan"), values, weights


def msssim(
    img1: ArrayLike,
    img2: ArrayLike,
    mask: ArrayLike,
    *,
    data_range: float = 255,
    weights: Sequence[float] = WEIGHTS,
    win_size: int = 11,
    sigma: float = 1.5,
) -> tuple[float, np.ndarray]:
    """Compute MS-SSIM of two planes with the weights of a mask.

    Returns
    -------
    value : float
        The product of the terms to the powers `weights`; NaN if no window counts at some scale.
    terms : ndarray, shape (levels,)
        Mean cs of each scale, of the last mean l times cs.
    """
    x, y, m = (np.asarray(each, dtype=np.float64) for each in (img1, img2, mask))
    terms = []
    for level in range(len(weights)):
        if level:
            x, y, m = halved(x, y, m)
        last = level == len(weights) - 1
        term, _, _ = ssim_index(x, y, m, data_range=data_range, win_size=win_size, sigma=sigma, luminance=last)
        terms.append(term)
    return float(np.prod(np.array(terms) ** np.array(weights))), np.array(terms)


def halved(x: np.ndarray, y: np.ndarray, m: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the weighted means of 2 × 2 pixels of both planes, and the means of the weights."""
    shape = tuple((size + 1) // 2 for size in m.shape)
    results = [np.zeros(shape) for _ in range(3)]
    for i, j in np.ndindex(shape):
        place = slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2)
        used = m[place] > 0
        if used.any():
            share = m[place][used] / m[place][used].sum()
            for result, plane in zip(results[:2], (x, y), strict=True):
                result[i, j] = (share * plane[place][used]).sum()
            results[2][i, j] = m[place].mean()
    return results[0], results[1], results[2]
