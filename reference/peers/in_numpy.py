"""Implementations that take arrays, on a CPU; tensors are turned into what they take."""

import functools

import numpy as np

from .. import oracles
from .convention import Convention
from .peer import Peer


def _on_images(function):
    """A function of two arrays (H, W, C) as the mean over a batch of tensors."""

    def mean(img1, img2):
        return float(np.mean([function(*pair) for pair in zip(_arrays(img1), _arrays(img2), strict=True)]))

    return mean


def _arrays(images):
    """(N, H, W, C) in the dtype of the tensor; NumPy has no bfloat16, and every value of it is a float32."""
    images = images.detach().cpu()
    if str(images.dtype) == "torch.bfloat16":
        images = images.float()
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def _skimage(metric, data_range, weights, defaults):
    from skimage.metrics import structural_similarity

    options = {"channel_axis": -1, "data_range": data_range}
    if not defaults:
        options |= {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return _on_images(functools.partial(structural_similarity, **options))


def _tensorflow(metric, data_range, weights, defaults):
    tf = oracles.tensorflow()
    function = functools.partial(
        {"ssim": tf.image.ssim, "msssim": tf.image.ssim_multiscale}[metric], max_val=data_range
    )
    if weights is not None:
        function = functools.partial(function, power_factors=tuple(weights))

    def mean(img1, img2):
        with tf.device("CPU"):
            images = (tf.constant(_arrays(image).astype(np.float32)) for image in (img1, img2))
            return float(np.mean(function(*images).numpy()))

    return mean


def _opencv(metric, data_range, weights, defaults):
    import cv2

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2

    def blur(image):
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    def ssim(x, y):
        x, y = (image.astype(np.promote_types(image.dtype, np.float32), copy=False) for image in (x, y))
        mu_x, mu_y = blur(x), blur(y)
        mu_xx, mu_yy, mu_xy = mu_x * mu_x, mu_y * mu_y, mu_x * mu_y
        variances = blur(x * x) - mu_xx + blur(y * y) - mu_yy
        covariance = blur(x * y) - mu_xy
        return np.mean((2 * mu_xy + c1) * (2 * covariance + c2) / ((mu_xx + mu_yy + c1) * (variances + c2)))

    return _on_images(ssim)


def _opencv_quality(metric, data_range, weights, defaults):
    import cv2

    def ssim(x, y):
        if data_range != 255:
            x, y = (image.astype(np.float64) * (255 / data_range) for image in (x, y))
        return np.mean(cv2.quality.QualitySSIM_compute(x, y)[0][: x.shape[-1]])

    return _on_images(ssim)


NUMPY_PEERS = (
    Peer(
        name="scikit-image",
        package="scikit-image",
        module="skimage.metrics",
        build=_skimage,
        metrics=("ssim",),
        differentiable=False,
        dtypes=("float32", "float64", "uint8"),
        devices=("cpu",),
        by_default={"ssim": Convention(window="uniform", covariance="sample")},
        convention="SSIM alone; Wang's when asked for a Gaussian window and population covariance (by default 7 x 7 "
        "equal weights and sample covariance); windows that reach over the border are not counted",
    ),
    Peer(
        name="OpenCV, five blurs",
        package="opencv-contrib-python-headless",
        module="cv2",
        build=_opencv,
        metrics=("ssim",),
        differentiable=False,
        dtypes=("float32", "float64", "uint8"),
        devices=("cpu",),
        convention="SSIM alone, as people build it from cv2.GaussianBlur: five blurs, five pixels of border cut off; "
        "in float32 or float64 as the images are",
    ),
    Peer(
        name="OpenCV, cv2.quality",
        package="opencv-contrib-python-headless",
        module="cv2",
        needs="quality.QualitySSIM_compute",
        build=_opencv_quality,
        metrics=("ssim",),
        differentiable=False,
        dtypes=("float32", "float64", "uint8"),
        devices=("cpu",),
        conventions={"ssim": Convention(border="reflected")},
        convention="QualitySSIM: SSIM alone, over reflected borders, with the constants of 8-bit images and at most "
        "four channels; float images are computed in float64",
    ),
    Peer(
        name="TensorFlow",
        package="tensorflow-cpu",
        module="tensorflow",
        load=lambda module: oracles.tensorflow(),
        build=_tensorflow,
        weights=True,
        differentiable=False,
        dtypes=("float32",),
        devices=("cpu",),
        conventions={"msssim": Convention(rectified="means")},
        convention="tf.image.ssim and ssim_multiscale: valid windows, a given range, odd sides as in msssim.m, ReLU on "
        "each mean cs, everything in float32",
    ),
)
