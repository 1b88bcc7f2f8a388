"""SSIM as other tools compute it by default: the tools themselves where they are installed, and their formulas.

A formula is written from a tool's documentation, with the filters of SciPy, for tools that cannot be installed
everywhere. Images are gray planes (H, W).
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from . import oracles
from .wang import downsample, gaussian_taps

Ssim: TypeAlias = Callable[[np.ndarray, np.ndarray, float], float]


def filtered(plane: np.ndarray, taps: np.ndarray, mode: str) -> np.ndarray:
    """Filter along both axes; the size stays the same, `mode` is what SciPy takes to be around the plane."""
    from scipy.ndimage import correlate1d

    for axis in (0, 1):
        plane = correlate1d(plane, taps, axis, mode=mode)
    return plane


def _formula(
    x: np.ndarray, y: np.ndarray, data_range: float, *, taps: np.ndarray, mode: str = "constant", crop: int = 0,
    sample: bool = False,
) -> float:  # fmt: skip
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean = functools.partial(filtered, taps=taps, mode=mode)
    n = len(taps) ** 2
    norm = n / (n - 1) if sample else 1
    mu_x, mu_y = mean(x), mean(y)
    variances = norm * (mean(x * x) - mu_x**2 + mean(y * y) - mu_y**2)
    covariance = norm * (mean(x * y) - mu_x * mu_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    above = (2 * mu_x * mu_y + c1) * (2 * covariance + c2)
    values = above / ((mu_x**2 + mu_y**2 + c1) * (variances + c2))
    inside = slice(crop, -crop or None)
    return float(values[inside, inside].mean())


def _piq_formula(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    # Its downsampling is avg_pool2d(); for the factors 1 and 2 and even sides that is ssim.m's.
    factor = max(1, round(min(x.shape) / 256))
    x, y = (downsample(plane.astype(np.float64), factor) for plane in (x, y))
    return _formula(x, y, data_range, taps=gaussian_taps(11, 1.5), crop=5)


_GAUSSIAN = gaussian_taps(11, 1.5)
_VALID: Ssim = functools.partial(_formula, taps=_GAUSSIAN, crop=5)
_ZEROS: Ssim = functools.partial(_formula, taps=_GAUSSIAN)
_MIRRORED: Ssim = functools.partial(_formula, taps=_GAUSSIAN, mode="mirror")
_UNIFORM_7: Ssim = functools.partial(_formula, taps=np.full(7, 1 / 7), crop=3, sample=True)

FORMULAS: dict[str, Ssim] = {
    "scikit-image": _UNIFORM_7,
    "fastmri": _UNIFORM_7,
    "matlab": functools.partial(_formula, taps=_GAUSSIAN, mode="nearest"),
    "monodepth2": functools.partial(_formula, taps=np.full(3, 1 / 3), mode="mirror"),
    "3dgs": _ZEROS,
    "fused-ssim": _ZEROS,
    "kornia": _MIRRORED,
    "torchmetrics": _MIRRORED,
    "tensorflow": _VALID,
    "pytorch-msssim": _VALID,
    "piq": _piq_formula,
}


def _tensor(plane: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(plane.astype(np.float64))[None, None]


def _skimage(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    from skimage.metrics import structural_similarity

    return float(structural_similarity(x.astype(np.float64), y.astype(np.float64), data_range=data_range))


def _tensorflow(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    tf = oracles.tensorflow()
    images = (tf.constant(plane.astype(np.float32)[..., None]) for plane in (x, y))
    return float(tf.image.ssim(*images, max_val=data_range).numpy())


def _kornia(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    from kornia.metrics import ssim

    return float(ssim(_tensor(x), _tensor(y), 11, max_val=data_range, eps=0.0).mean())


def _torchmetrics(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    return float(structural_similarity_index_measure(_tensor(x), _tensor(y), data_range=data_range))


def _pytorch_msssim(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    import pytorch_msssim

    return float(pytorch_msssim.ssim(_tensor(x), _tensor(y), data_range=data_range))


def _piq(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    import piq

    return float(piq.ssim(_tensor(x), _tensor(y), data_range=data_range))


# fastMRI's evaluation calls scikit-image. The module is what has to be installed.
TOOLS: dict[str, tuple[str, Ssim]] = {
    "scikit-image": ("skimage", _skimage),
    "fastmri": ("skimage", _skimage),
    "kornia": ("kornia", _kornia),
    "torchmetrics": ("torchmetrics", _torchmetrics),
    "tensorflow": ("tensorflow", _tensorflow),
    "pytorch-msssim": ("pytorch_msssim", _pytorch_msssim),
    "piq": ("piq", _piq),
}


def is_installed(name: str) -> bool:
    """Return whether a tool can be called here; the other ones have their formula alone."""
    return name in TOOLS and importlib.util.find_spec(TOOLS[name][0]) is not None
