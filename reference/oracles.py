"""Other implementations of SSIM and MS-SSIM with one signature: ``(img1, img2, data_range) -> float``.

Images are planes (H, W) or colour (H, W, C), whose channels are compared one by one and averaged. Nothing is imported
before it is used.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def skimage_ssim(img1: ArrayLike, img2: ArrayLike, data_range: float) -> float:
    """Compute scikit-image's ``structural_similarity`` in float64, with the settings of Wang's ssim_index.m."""
    structural_similarity = _optional("skimage.metrics", "scikit-image").structural_similarity
    x, y = (np.asarray(image, dtype=np.float64) for image in (img1, img2))
    value = structural_similarity(
        x,
        y,
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1 if x.ndim == 3 else None,
    )
    return float(value)


def skimage_ssim_of_planes(img1: ArrayLike, img2: ArrayLike, data_range: float) -> float:
    """Compute the same of arrays whose axes are all spatial: signals, planes, volumes."""
    structural_similarity = _optional("skimage.metrics", "scikit-image").structural_similarity
    x, y = (np.asarray(image, dtype=np.float64) for image in (img1, img2))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(x, y, data_range=data_range, **options))


def tf_ssim(img1: ArrayLike, img2: ArrayLike, data_range: float) -> float:
    """Compute ``tf.image.ssim``, in float32: within 5e-5 of Wang's ssim_index.m on the golden pairs.

    Its moments are about zero, so the error is larger in bright flat areas: 1e-3 on photographs.
    """
    return _with_tensorflow("ssim", img1, img2, data_range)


def tf_msssim(img1: ArrayLike, img2: ArrayLike, data_range: float) -> float:
    """Compute ``tf.image.ssim_multiscale``, in float32: within 2e-5 of Wang's msssim.m on the golden pairs.

    It uses max(mean cs, 0) at each scale, and returns 0 if the value of the original is complex.
    """
    return _with_tensorflow("ssim_multiscale", img1, img2, data_range)


ORACLES = {function.__name__: function for function in (skimage_ssim, tf_ssim, tf_msssim)}


def _with_tensorflow(function: str, img1: ArrayLike, img2: ArrayLike, data_range: float) -> float:
    tf = tensorflow()
    x, y = (np.asarray(image, dtype=np.float32) for image in (img1, img2))
    x, y = (image[..., None] if image.ndim == 2 else image for image in (x, y))
    with tf.device("CPU"):  # a GPU may convolve in TF32, whose error is 1e-3
        return float(getattr(tf.image, function)(tf.constant(x), tf.constant(y), max_val=float(data_range)))


def tensorflow() -> Any:
    """Import and start TensorFlow without its messages."""
    if "tensorflow" in sys.modules:
        return _optional("tensorflow", "tensorflow-cpu")
    with contextlib.suppress(ImportError):
        # Both contain LLVM, and the process crashes if Triton's is loaded second, which PyTorch may do later.
        importlib.import_module("triton")
    with _silent_start():
        tf = _optional("tensorflow", "tensorflow-cpu")
        tf.constant(0)  # the first tensor starts the runtime, which prints messages too
    return tf


@contextlib.contextmanager
def _silent_start() -> Iterator[None]:
    """Suppress the messages of TensorFlow's C++ code at start: some ignore settings and Python's sys.stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr_copy, devnull = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
        os.close(devnull)


def _optional(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this oracle needs {package}: python -m pip install {package}") from error
