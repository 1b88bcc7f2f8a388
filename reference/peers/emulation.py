"""Wang's algorithm in float64 with any of his decisions replaced, to compute what a convention gives.

Built on :mod:`reference.wang`. If an emulation gives the number of an implementation, its convention describes what
that implementation does. If restoring one of Wang's decisions changes the number, that decision is a cause of the
difference.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from .. import wang
from .convention import WANG, Border, Convention, Downsampling

_TAPS = {"gaussian": wang.gaussian_taps(11, 1.5), "uniform": np.full(7, 1 / 7)}
_PAD_MODE: dict[Border, Literal["reflect", "constant"]] = {"reflected": "reflect", "zeros": "constant"}
_ZHAO_SIGMAS, _ZHAO_RADIUS = (0.5, 1.0, 2.0, 4.0, 8.0), 16


class _Moments(NamedTuple):
    """Means, variances and covariance under the window, each (C, H, W)."""

    mu_x: np.ndarray
    mu_y: np.ndarray
    var_x: np.ndarray
    var_y: np.ndarray
    cov_xy: np.ndarray


class Emulation:
    """SSIM and MS-SSIM of one pair of images (C, H, W) under any convention; shared intermediate results are cached."""

    def __init__(self, img1: np.ndarray, img2: np.ndarray, data_range: float) -> None:
        self._images = np.stack([img1, img2]).astype(np.float64)
        self._data_range = data_range
        self._scales: dict[tuple[int, str], np.ndarray] = {}
        self._moments: dict[tuple[int, str, str, str, bool], _Moments] = {}

    def value(
        self, metric: str, convention: Convention = WANG, weights: Sequence[float] | np.ndarray = wang.WEIGHTS
    ) -> float | complex:
        """Return SSIM or MS-SSIM: complex if a negative mean is raised to a power, NaN if no window fits."""
        if metric == "ssim":
            return float(self.terms(1, convention, convention.downsample_first)[1].mean())
        if convention.scales == "windows":
            return self._zhao()
        cs, ssim = self.terms(len(weights), convention)
        terms = np.concatenate([cs[:, :-1], ssim[:, -1:]], axis=1)
        if convention.channels == "averaged":
            terms = terms.mean(0, keepdims=True)
        if convention.relu == "means":
            terms = terms.clip(min=0)
        powers = np.array(weights, dtype=np.float64)
        powers[-1] *= 4 if convention.last_scale == "four times" else 1
        if (terms < 0).any():
            terms = terms.astype(np.complex128)
        result: float | complex = (terms**powers).prod(1).mean().item()
        return result

    def terms(
        self, levels: int, convention: Convention = WANG, downsample_first: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean cs and mean l·cs, each (C, levels)."""
        cs, ssim = (np.empty((self._images.shape[1], levels)) for _ in range(2))
        for level in range(levels):
            for means, border in ((cs, convention.cs_border), (ssim, convention.border)):
                l_map, cs_map = self._maps(level, convention, border, downsample_first)
                values = l_map * cs_map if means is ssim else cs_map
                means[:, level] = values.mean((-2, -1)) if values.size else math.nan
        return cs, ssim

    def _maps(
        self, level: int, convention: Convention, border: Border, downsample_first: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps of l and cs."""
        key = (level, convention.downsampling if level else "", convention.window, border, downsample_first)
        taps = _TAPS[convention.window]
        if key not in self._moments:
            images = self._scale(level, convention.downsampling, downsample_first)
            self._moments[key] = _moments(images, taps, _PAD_MODE.get(border))
        mu_x, mu_y, var_x, var_y, cov_xy = self._moments[key]
        data_range = self._range(convention, level)
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        count = len(taps) ** 2
        unbiased = count / (count - 1) if convention.covariance == "sample" else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):  # a guessed range can be 0
            cs = (2 * unbiased * cov_xy + c2) / (unbiased * (var_x + var_y) + c2)
            l_map = (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
        return l_map, cs.clip(min=0) if convention.relu == "pixels" else cs

    def _scale(self, level: int, downsampling: Downsampling, downsample_first: bool = False) -> np.ndarray:
        """Return both images at a scale, (2, C, H, W)."""
        if not level:
            factor = max(1, round(min(self._images.shape[-2:]) / 256)) if downsample_first else 1
            return _block_means(self._images, factor)
        key = (level, downsampling)
        if key not in self._scales:
            self._scales[key] = _block_means(_padded(self._scale(level - 1, downsampling), downsampling), 2)
        return self._scales[key]

    def _range(self, convention: Convention, level: int) -> float:
        if convention.data_range == "given":
            return self._data_range
        images = self._scale(level, convention.downsampling)
        if convention.data_range == "max - min":
            return float(max(np.ptp(image) for image in images))
        return (255 if images[0].max() > 128 else 1) + (1 if images[0].min() < -0.5 else 0)

    def _zhao(self) -> float:
        """Return the index of Zhao et al.: Π cs over five windows, times l of the widest, per pixel, zero padding."""
        c1, c2 = (0.01 * self._data_range) ** 2, (0.03 * self._data_range) ** 2
        product: np.ndarray | float = 1.0
        for sigma in _ZHAO_SIGMAS:
            taps = wang.gaussian_taps(2 * _ZHAO_RADIUS + 1, sigma)
            mu_x, mu_y, var_x, var_y, cov_xy = _moments(self._images, taps, _PAD_MODE["zeros"])
            product = product * (2 * cov_xy + c2) / (var_x + var_y + c2)
        return float((product * (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)).mean())


def _moments(images: np.ndarray, taps: np.ndarray, pad_mode: Literal["reflect", "constant"] | None) -> _Moments:
    if pad_mode:
        radius = len(taps) // 2
        images = np.pad(images, ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode=pad_mode)
    if min(images.shape[-2:]) < len(taps):
        return _Moments(*np.empty((5, images.shape[1], 0, 0)))
    x, y = images

    def mean(image: np.ndarray) -> np.ndarray:
        return np.stack([wang.weighted_mean(plane, taps) for plane in image])

    mu_x, mu_y = mean(x), mean(y)
    return _Moments(mu_x, mu_y, mean(x * x) - mu_x**2, mean(y * y) - mu_y**2, mean(x * y) - mu_x * mu_y)


def _padded(images: np.ndarray, downsampling: Downsampling) -> np.ndarray:
    """Pad odd sides before 2 x 2 blocks are averaged."""
    odd = [side % 2 for side in images.shape[-2:]]
    if downsampling == "mean of existing pixels":
        return np.pad(images, ((0, 0), (0, 0), *((0, one) for one in odd)), mode="edge")
    if downsampling == "zeros before":
        return np.pad(images, ((0, 0), (0, 0), *((one, 0) for one in odd)))
    if downsampling == "copies before":
        return np.pad(images, ((0, 0), (0, 0), *((max(odd), 0) for _ in odd)), mode="edge")
    return images  # "last dropped"


def _block_means(images: np.ndarray, factor: int) -> np.ndarray:
    """Return the mean of each complete block of factor x factor pixels."""
    height, width = (side // factor for side in images.shape[-2:])
    cropped = images[..., : height * factor, : width * factor]
    means: np.ndarray = cropped.reshape(*images.shape[:2], height, factor, width, factor).mean((-3, -1))
    return means
