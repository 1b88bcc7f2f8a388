"""Peers that take NumPy arrays or TensorFlow tensors and run on a CPU; torch tensors are converted."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import oracles
from .convention import Convention
from .peer import Function, Peer, Weights

if TYPE_CHECKING:
    import torch

_DTYPES = ("float32", "float64", "uint8")


def _batch_mean(function: Callable[[np.ndarray, np.ndarray], Any]) -> Function:
    """Turn a function of two arrays (H, W, C) into the mean over a batch of tensors."""

    def mean(img1: "torch.Tensor", img2: "torch.Tensor") -> float:
        return float(np.mean([function(*pair) for pair in zip(_arrays(img1), _arrays(img2), strict=True)]))

    return mean


def _arrays(images: "torch.Tensor") -> np.ndarray:
    """Return an array (N, H, W, C) of the tensor's dtype; bfloat16 becomes float32, because NumPy has no bfloat16."""
    images = images.detach().cpu()
    if str(images.dtype) == "torch.bfloat16":
        images = images.float()
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def _skimage(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    from skimage.metrics import structural_similarity

    options = {"channel_axis": -1, "data_range": data_range}
    if not defaults:
        options |= {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return _batch_mean(functools.partial(structural_similarity, **options))


def _tensorflow(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    tf = oracles.tensorflow()
    function = functools.partial(
        {"ssim": tf.image.ssim, "msssim": tf.image.ssim_multiscale}[metric], max_val=data_range
    )
    if weights is not None:
        function = functools.partial(function, power_factors=tuple(weights))

    def mean(img1: "torch.Tensor", img2: "torch.Tensor") -> float:
        with tf.device("CPU"):
            images = (tf.constant(_arrays(image).astype(np.float32)) for image in (img1, img2))
            return float(np.mean(function(*images).numpy()))

    return mean


def _opencv(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import cv2

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    def ssim(x: np.ndarray, y: np.ndarray) -> Any:
        x, y = (image.astype(np.promote_types(image.dtype, np.float32), copy=False) for image in (x, y))
        mu_x, mu_y = blur(x), blur(y)
        mu_xx, mu_yy, mu_xy = mu_x * mu_x, mu_y * mu_y, mu_x * mu_y
        variances = blur(x * x) - mu_xx + blur(y * y) - mu_yy
        covariance = blur(x * y) - mu_xy
        return np.mean((2 * mu_xy + c1) * (2 * covariance + c2) / ((mu_xx + mu_yy + c1) * (variances + c2)))

    return _batch_mean(ssim)


def _opencv_quality(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import cv2

    def ssim(x: np.ndarray, y: np.ndarray) -> Any:
        if data_range != 255:
            x, y = (image.astype(np.float64) * (255 / data_range) for image in (x, y))
        return np.mean(cv2.quality.QualitySSIM_compute(x, y)[0][: x.shape[-1]])

    return _batch_mean(ssim)


NUMPY_PEERS = (
    Peer(
        name="scikit-image",
        package="scikit-image",
        module="skimage.metrics",
        build=_skimage,
        metrics=("ssim",),
        differentiable=False,
        dtypes=_DTYPES,
        devices=("cpu",),
        default_conventions={"ssim": Convention(window="uniform", covariance="sample")},
        description="SSIM only; Wang's with a Gaussian window and population covariance (by default a uniform 7 x 7 "
        "window and sample covariance); valid windows",
    ),
    Peer(
        name="OpenCV, five blurs",
        package="opencv-contrib-python-headless",
        module="cv2",
        build=_opencv,
        metrics=("ssim",),
        differentiable=False,
        dtypes=_DTYPES,
        devices=("cpu",),
        description="SSIM only, built from five calls of cv2.GaussianBlur, as often seen; five pixels of border are "
        "cropped; in the dtype of the images, at least float32",
    ),
    Peer(
        name="OpenCV, cv2.quality",
        package="opencv-contrib-python-headless",
        module="cv2",
        required_attribute="quality.QualitySSIM_compute",
        build=_opencv_quality,
        metrics=("ssim",),
        differentiable=False,
        dtypes=_DTYPES,
        devices=("cpu",),
        conventions={"ssim": Convention(border="reflected")},
        description="QualitySSIM: SSIM only; windows over reflected borders count; the constants of 8-bit images; at "
        "most four channels; float images are computed in float64",
    ),
    Peer(
        name="TensorFlow",
        package="tensorflow-cpu",
        module="tensorflow",
        load=lambda module: oracles.tensorflow(),
        build=_tensorflow,
        takes_weights=True,
        differentiable=False,
        dtypes=("float32",),
        devices=("cpu",),
        conventions={"msssim": Convention(relu="means")},
        description="tf.image.ssim and ssim_multiscale: valid windows, a given data range, odd sides as in msssim.m, "
        "ReLU on each mean cs, everything in float32",
    ),
)
