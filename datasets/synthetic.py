"""Pairs whose SSIM and MS-SSIM have a closed form.

Three kinds of image keep their form under the window and under downsampling, so that every mean has a closed form:

flat
    The variance is 0, so that cs is 1 and SSIM is l.
stripes and checks, m ± a alternating from pixel to pixel
    The window's mean is m ± a s, with s = Σ (-1)^k g_k along each alternating axis, and its variance a² (1 - s²).
    Downsampled once, they are flat.
ramps, a + b j along an axis
    The window's mean is the value at its centre, and its variance b² Σ g_k k². Downsampled, the slope is 2 b.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .pair import Pair, Pairs

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_GAUSSIAN = [math.exp(-(k**2) / 4.5) for k in range(-5, 6)]
TAPS = {k: value / sum(_GAUSSIAN) for k, value in zip(range(-5, 6), _GAUSSIAN, strict=True)}
ALTERNATING = sum(tap * (-1) ** k for k, tap in TAPS.items())
TAP_VARIANCE = sum(tap * k**2 for k, tap in TAPS.items())


def synthetic() -> Pairs:
    """Return all pairs."""
    return Pairs(
        {
            "identical-noise": functools.partial(_identical, "identical-noise", (192, 208)),
            "identical-odd": functools.partial(_identical, "identical-odd", (181, 203)),
            "flat-near": functools.partial(_flat, "flat-near", 100, 110, 255.0, np.uint8, (176, 192)),
            "flat-odd": functools.partial(_flat, "flat-odd", 30, 200, 255.0, np.uint8, (177, 241)),
            "flat-black-white": functools.partial(_flat, "flat-black-white", 0, 1, 1.0, np.float32, (180, 180)),
            "flat-black-black": functools.partial(_flat, "flat-black-black", 0, 0, 255.0, np.uint8, (176, 176)),
            "flat-16-bit": functools.partial(_flat, "flat-16-bit", 20000, 30000, 65535.0, np.float64, (176, 190)),
            "stripes-brighter": functools.partial(_alternating, "stripes-brighter", 1, (100, 40), (130, 40)),
            "stripes-weaker": functools.partial(_alternating, "stripes-weaker", 1, (120, 60), (120, 15)),
            "checks-brighter": functools.partial(_alternating, "checks-brighter", 2, (90, 20), (110, 20)),
            "checks-weaker": functools.partial(_alternating, "checks-weaker", 2, (128, 100), (100, 10)),
            "checks-inverted": functools.partial(_alternating, "checks-inverted", 2, (128, 50), (128, -50)),
            "ramps-parallel": functools.partial(_ramps, "ramps-parallel", (0.1, 0.003), (0.3, 0.002), False),
            "ramps-crossed": functools.partial(_ramps, "ramps-crossed", (0.0, 0.002), (0.2, 0.003), True),
        }
    )


def _identical(name: str, shape: tuple[int, int]) -> Pair:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Pair(name, image, image.copy(), 255.0, "identical", expected=_expected([1.0] * 5, 1.0, 1.0))


def _flat(
    name: str, first: float, second: float, data_range: float, dtype: type[np.generic], shape: tuple[int, int]
) -> Pair:
    luminance = float(_luminance(first, second, data_range))
    x, y = (np.full(shape, value, dtype) for value in (first, second))
    return Pair(name, x, y, data_range, "flat", expected=_expected([1.0] * 5, luminance, luminance))


def _alternating(name: str, axes: int, first: tuple[float, float], second: tuple[float, float]) -> Pair:
    """Make stripes (one axis) or checks (two), each m ± a; with even sides, half of the pixels have each sign."""
    (m1, a1), (m2, a2) = first, second
    rows, columns = np.indices((192, 176))
    sign = (-1) ** (columns if axes == 1 else rows + columns)
    s = ALTERNATING**axes
    c2, variance = (0.03 * 255.0) ** 2, 1 - s**2
    cs = (2 * a1 * a2 * variance + c2) / ((a1**2 + a2**2) * variance + c2)
    luminance = sum(float(_luminance(m1 + one * a1 * s, m2 + one * a2 * s, 255.0)) for one in (-1, 1)) / 2
    expected = _expected([cs, 1.0, 1.0, 1.0, 1.0], luminance * cs, float(_luminance(m1, m2, 255.0)))
    x, y = ((m + a * sign).astype(np.uint8) for m, a in (first, second))
    return Pair(name, x, y, 255.0, "alternating", expected=expected)


def _ramps(name: str, first: tuple[float, float], second: tuple[float, float], crossed: bool) -> Pair:
    """Make ramps of given start and slope, both along the rows or, if crossed, the second along the columns."""
    (a1, b1), (a2, b2) = first, second
    side, c2 = 256, 0.03**2
    x = np.broadcast_to(a1 + b1 * np.arange(side), (side, side)).copy()
    y = np.broadcast_to(a2 + b2 * np.arange(side), (side, side)).copy()
    y = y.T.copy() if crossed else y
    cs: list[float] = []
    ssim: list[float] = []
    for _ in range(5):
        covariance = 0.0 if crossed else b1 * b2 * TAP_VARIANCE
        cs.append((2 * covariance + c2) / ((b1**2 + b2**2) * TAP_VARIANCE + c2))
        centre = np.arange(5, side - 5)  # of the windows inside the image
        mean1, mean2 = a1 + b1 * centre, a2 + b2 * centre
        luminance = _luminance(mean1, mean2[:, None] if crossed else mean2, 1.0)
        ssim.append(float(np.mean(luminance)) * cs[-1])
        a1, b1, a2, b2, side = a1 + b1 / 2, 2 * b1, a2 + b2 / 2, 2 * b2, side // 2
    return Pair(name, x, y, 1.0, "ramps", expected=_expected(cs, ssim[0], ssim[-1]))


def _luminance(mean1: Any, mean2: Any, data_range: float) -> Any:
    c1 = (0.01 * data_range) ** 2
    return (2 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)


def _expected(cs: Sequence[float], ssim: float, coarsest: float) -> dict[str, float]:
    """Return the expected values from cs of each scale, and SSIM of the finest and the coarsest scale."""
    terms = [*cs[:-1], coarsest]
    expected = {"ssim": ssim}
    if min(terms) >= 0:  # otherwise the product of powers is not real
        expected["msssim"] = math.prod(term**weight for term, weight in zip(terms, WEIGHTS, strict=True))
    total = sum(term * weight for term, weight in zip(terms, WEIGHTS, strict=True))
    return expected | {"msssim_wtd_sum": total / sum(WEIGHTS)}
