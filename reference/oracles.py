"""Other people's SSIM and MS-SSIM behind one signature: ``(img1, img2, data_range) -> float``.

Images are planes (H, W) or colour (H, W, C), whose channels are compared one by one and averaged. Nothing is imported
before it is used.
"""

import contextlib
import importlib
import os
import sys

import numpy as np


def skimage_ssim(img1, img2, data_range):
    """scikit-image's ``structural_similarity`` in float64, with the settings that make it Wang's ssim_index.m."""
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


def tf_ssim(img1, img2, data_range):
    """``tf.image.ssim``, which computes in float32: within 5e-5 of Wang's ssim_index.m on the golden pairs.

    Its moments are about zero, so that bright flat areas lose more: 1e-3 on photographs.
    """
    return _with_tensorflow("ssim", img1, img2, data_range)


def tf_msssim(img1, img2, data_range):
    """``tf.image.ssim_multiscale``, which computes in float32: within 2e-5 of Wang's msssim.m on the golden pairs.

    It takes max(mean cs, 0) at each scale, and so gives 0 where the original's value is complex.
    """
    return _with_tensorflow("ssim_multiscale", img1, img2, data_range)


ORACLES = {function.__name__: function for function in (skimage_ssim, tf_ssim, tf_msssim)}


def _with_tensorflow(function, img1, img2, data_range):
    tf = tensorflow()
    x, y = (np.asarray(image, dtype=np.float32) for image in (img1, img2))
    x, y = (image[..., None] if image.ndim == 2 else image for image in (x, y))
    with tf.device("CPU"):  # a GPU may convolve in TF32, which is off by 1e-3
        return float(getattr(tf.image, function)(tf.constant(x), tf.constant(y), max_val=float(data_range)))


def tensorflow():
    """The module, started without what it prints as it starts."""
    if "tensorflow" in sys.modules:
        return _optional("tensorflow", "tensorflow-cpu")
    with contextlib.suppress(ImportError):
        # Each of the two brings an LLVM, and the process ends where Triton's is the second: PyTorch may load it yet.
        importlib.import_module("triton")
    with _silent_start():
        tf = _optional("tensorflow", "tensorflow-cpu")
        tf.constant(0)  # the first tensor starts the runtime, which has something to say too
    return tf


@contextlib.contextmanager
def _silent_start():
    """Drop what TensorFlow's C++ prints as it starts: some of it heeds no setting, nor Python's sys.stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _optional(module, package):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this oracle needs {package}: python -m pip install {package}") from error
