"""Wang's algorithm with any of his decisions replaced: what a convention comes to, in float64.

Built on :mod:`reference.wang`. Where this reproduces the number of an implementation, the convention is what that
implementation does; where taking one decision back changes the number, that decision is a cause of the difference.
"""

import math

import numpy as np

from .. import wang
from .convention import WANG

_TAPS = {"gaussian": wang.gaussian_taps(11, 1.5), "uniform": np.full(7, 1 / 7)}
_PADDING = {"reflected": "reflect", "zeros": "constant"}  # as NumPy calls them
_ZHAO_SIGMAS, _ZHAO_RADIUS = (0.5, 1.0, 2.0, 4.0, 8.0), 16


class Emulation:
    """One pair of images (C, H, W), under any convention; what conventions share is computed once."""

    def __init__(self, img1, img2, data_range):
        self._planes = np.stack([img1, img2]).astype(np.float64)
        self._data_range = data_range
        self._kept = {}

    def value(self, metric, convention=WANG, weights=wang.WEIGHTS):
        """SSIM or MS-SSIM, complex where a negative mean is raised to a power, NaN where no window fits."""
        if metric == "ssim":
            return float(self.terms(1, convention, reduced=convention.reduced)[1].mean())
        if convention.scales == "windows":
            return self._zhao()
        cs, ssim = self.terms(len(weights), convention)
        terms = np.concatenate([cs[:, :-1], ssim[:, -1:]], axis=1)
        if convention.channels == "averaged":
            terms = terms.mean(0, keepdims=True)
        if convention.rectified == "means":
            terms = terms.clip(min=0)
        powers = np.array(weights, dtype=np.float64)
        powers[-1] *= 4 if convention.last_scale == "four times" else 1
        if (terms < 0).any():
            terms = terms.astype(np.complex128)
        return (terms**powers).prod(1).mean().item()

    def terms(self, levels, convention=WANG, reduced=False):
        """Mean cs and mean l·cs, each (C, levels)."""
        cs, ssim = (np.empty((self._planes.shape[1], levels)) for _ in range(2))
        for level in range(levels):
            data_range = self._range(convention, level)
            c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
            for means, border in ((cs, convention.cs_border), (ssim, convention.border)):
                light, contrast = self._maps(level, convention, border, c1, c2, reduced)
                counted = light * contrast if means is ssim else contrast
                means[:, level] = counted.mean((-2, -1)) if counted.size else math.nan
        return cs, ssim

    def _maps(self, level, convention, border, c1, c2, reduced):
        taps = _TAPS[convention.window]
        mu_x, mu_y, xx, yy, xy = self._moments(level, convention.halving, convention.window, border, reduced)
        count = len(taps) ** 2
        unbiased = count / (count - 1) if convention.covariance == "sample" else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):  # a guessed range can be 0
            contrast = (2 * unbiased * xy + c2) / (unbiased * (xx + yy) + c2)
            light = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
        return light, contrast.clip(min=0) if convention.rectified == "pixels" else contrast

    def _moments(self, level, halving, window, border, reduced):
        """Means, variances and covariance at every window that counts."""
        key = (level, halving if level else "", window, border, reduced)
        if key not in self._kept:
            self._kept[key] = _moments(self._scale(level, halving, reduced), _TAPS[window], _PADDING.get(border))
        return self._kept[key]

    def _scale(self, level, halving, reduced=False):
        """Both images at a scale, (2, C, H, W)."""
        if not level:
            factor = max(1, round(min(self._planes.shape[-2:]) / 256)) if reduced else 1
            return _blocks(self._planes, factor)
        key = (level, halving)
        if key not in self._kept:
            self._kept[key] = _blocks(_padded(self._scale(level - 1, halving), halving), 2)
        return self._kept[key]

    def _range(self, convention, level):
        if convention.data_range == "given":
            return self._data_range
        planes = self._scale(level, convention.halving)
        if convention.data_range == "spread":
            return max(np.ptp(image) for image in planes)
        return (255 if planes[0].max() > 128 else 1) + (1 if planes[0].min() < -0.5 else 0)

    def _zhao(self):
        """Zhao et al.'s: Π cs over five windows times l of the widest, at every pixel, zeros around the image."""
        c1, c2 = (0.01 * self._data_range) ** 2, (0.03 * self._data_range) ** 2
        product = 1.0
        for sigma in _ZHAO_SIGMAS:
            mu_x, mu_y, xx, yy, xy = _moments(
                self._planes, wang.gaussian_taps(2 * _ZHAO_RADIUS + 1, sigma), _PADDING["zeros"]
            )
            product = product * (2 * xy + c2) / (xx + yy + c2)
        return float((product * (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)).mean())


def _moments(planes, taps, padding):
    """(mean of x, of y, variance of x, of y, covariance), each (C, H, W), with the planes continued or not."""
    if padding:
        reach = len(taps) // 2
        planes = np.pad(planes, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode=padding)
    if min(planes.shape[-2:]) < len(taps):
        return np.empty((5, planes.shape[1], 0, 0))
    x, y = planes

    def mean(images):
        return np.stack([wang.weighted_mean(plane, taps) for plane in images])

    mu_x, mu_y = mean(x), mean(y)
    return mu_x, mu_y, mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y


def _padded(planes, halving):
    """The planes with what is added to an odd side before 2 x 2 blocks are averaged."""
    odd = [side % 2 for side in planes.shape[-2:]]
    if halving == "mean of what is there":
        return np.pad(planes, ((0, 0), (0, 0), *((0, one) for one in odd)), mode="edge")
    if halving == "zeros before":
        return np.pad(planes, ((0, 0), (0, 0), *((one, 0) for one in odd)))
    if halving == "copies before":
        return np.pad(planes, ((0, 0), (0, 0), *((max(odd), 0) for _ in odd)), mode="edge")
    return planes  # "dropped"


def _blocks(planes, factor):
    """The mean of each whole block of factor x factor pixels."""
    height, width = (side // factor for side in planes.shape[-2:])
    cut = planes[..., : height * factor, : width * factor]
    return cut.reshape(*planes.shape[:2], height, factor, width, factor).mean((-3, -1))
