"""Implementations that take and return torch tensors."""

import functools

from .convention import Convention
from .peer import Peer


def _vainf(metric, data_range, weights, defaults):
    import pytorch_msssim

    if metric == "ssim":
        return functools.partial(pytorch_msssim.ssim, data_range=data_range)
    return functools.partial(pytorch_msssim.ms_ssim, data_range=data_range, weights=weights)


def _original(metric, data_range, weights, defaults):
    from . import original

    return functools.partial(getattr(original, metric), data_range=None if defaults else data_range)


def _torchmetrics(metric, data_range, weights, defaults):
    from torchmetrics.functional import image

    options = {} if defaults else {"data_range": data_range}
    if metric == "ssim":
        return functools.partial(image.structural_similarity_index_measure, **options)
    if not defaults:
        options["normalize"] = None  # "relu" otherwise
    if weights is not None:
        options["betas"] = tuple(weights)
    return functools.partial(image.multiscale_structural_similarity_index_measure, **options)


def _piq(metric, data_range, weights, defaults):
    import piq
    import torch

    if metric == "ssim":
        return functools.partial(piq.ssim, data_range=data_range, **{} if defaults else {"downsample": False})

    def msssim(img1, img2):
        scale_weights = None if weights is None else torch.as_tensor(weights, dtype=img1.dtype, device=img1.device)
        return piq.multi_scale_ssim(img1, img2, data_range=data_range, scale_weights=scale_weights)

    return msssim


def _piqa(metric, data_range, weights, defaults):
    import piqa
    import torch

    @functools.cache
    def module(channels, dtype, device):
        options = {"n_channels": channels, "value_range": data_range}
        if metric == "ssim":
            return piqa.SSIM(**options).to(device, dtype)
        return piqa.MS_SSIM(weights=None if weights is None else torch.tensor(weights), **options).to(device, dtype)

    return lambda img1, img2: module(img1.shape[1], img1.dtype, img1.device)(img1, img2)


def _kornia(metric, data_range, weights, defaults):
    import kornia.losses
    import kornia.metrics

    if metric == "ssim":
        options = {"max_val": data_range} | ({} if defaults else {"eps": 0.0, "padding": "valid"})
        return lambda img1, img2: kornia.metrics.ssim(img1, img2, 11, **options).mean()

    @functools.cache
    def loss(device):  # without its L1 term
        return kornia.losses.MS_SSIMLoss(data_range=data_range, alpha=1.0, compensation=1.0).to(device)

    return lambda img1, img2: 1 - loss(img1.device)(img1, img2)


def _monai(metric, data_range, weights, defaults):
    from monai import metrics

    if metric == "ssim":
        options = {"spatial_dims": 2, "kernel_size": (11, 11), "kernel_sigma": (1.5, 1.5), "data_range": data_range}
        return lambda img1, img2: metrics.compute_ssim_and_cs(img1, img2, **options)[0].mean()
    options = {"spatial_dims": 2, "data_range": data_range} | ({} if weights is None else {"weights": weights})
    return lambda img1, img2: metrics.compute_ms_ssim(img1, img2, **options).mean()


def _ignite(metric, data_range, weights, defaults):
    from ignite.metrics import SSIM

    def ssim(img1, img2):
        metric = SSIM(data_range=data_range, device=img1.device)
        metric.update((img1, img2))
        return metric.compute()

    return ssim


def _fused_ssim(metric, data_range, weights, defaults):
    from fused_ssim import fused_ssim

    padding = "same" if defaults else "valid"
    return lambda img1, img2: fused_ssim(img1 / data_range, img2 / data_range, padding=padding)


def _pyiqa(metric, data_range, weights, defaults):
    import pyiqa

    @functools.cache
    def measure(device):
        options = {} if defaults else {"test_y_channel": False}
        name = {"ssim": "ssim", "msssim": "ms_ssim"}[metric]
        return pyiqa.create_metric(name, as_loss=True, device=device, **options)  # as a loss it keeps the gradient

    return lambda img1, img2: measure(img1.device)(img1 / data_range, img2 / data_range)


TORCH_PEERS = (
    Peer(
        name="pytorch-msssim",
        package="pytorch-msssim",
        module="pytorch_msssim",
        build=_vainf,
        weights=True,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={"msssim": Convention(halving="zeros before", rectified="means")},
        convention="valid windows and a given range; between scales an odd side gets a row of zeros before the first "
        "pixel, which moves every 2 x 2 block; ReLU on each mean cs; sizes are checked for five scales whatever the "
        "weights; the window is rounded to float32",
    ),
    Peer(
        name="pytorch-msssim (original)",
        package="",
        module="",
        build=_original,
        conventions={"msssim": Convention(halving="dropped", last_scale="four times", channels="averaged")},
        by_default={
            "ssim": Convention(data_range="255 or 1"),
            "msssim": Convention(
                halving="dropped", last_scale="four times", channels="averaged", data_range="255 or 1"
            ),
        },
        convention="the formula of jorge-pessoa's pytorch-msssim, written down here: valid windows, odd rows dropped, "
        "the last scale multiplied in four times; by default the range is guessed from the first image at every scale, "
        "255 above 128 and 1 below",
    ),
    Peer(
        name="torchmetrics",
        package="torchmetrics",
        module="torchmetrics.functional.image",
        build=_torchmetrics,
        weights=True,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={
            "ssim": Convention(border="reflected"),
            "msssim": Convention(border="reflected", halving="dropped", channels="averaged"),
        },
        by_default={
            "ssim": Convention(border="reflected", data_range="spread"),
            "msssim": Convention(
                border="reflected", halving="dropped", channels="averaged", rectified="means", data_range="spread"
            ),
        },
        convention="SSIM counts windows that reach over reflected borders, MS-SSIM at the last scale alone; odd rows "
        "dropped; channels are averaged before the powers; by default the range is max - min of the images, anew at "
        "every scale, and ReLU is on",
    ),
    Peer(
        name="piq",
        package="piq",
        module="piq",
        build=_piq,
        weights=True,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={"msssim": Convention(halving="copies before", rectified="means")},
        by_default={"ssim": Convention(reduced=True)},
        convention="valid windows and a given range; between scales both sides get a copy of their first row and "
        "column if either is odd, which moves every 2 x 2 block and drops the last of a side that was even; ReLU on "
        "each mean cs; weights are made to sum to 1; SSIM is by default reduced to about 256 pixels first",
    ),
    Peer(
        name="piqa",
        package="piqa",
        module="piqa",
        build=_piqa,
        weights=True,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={"msssim": Convention(rectified="means")},
        convention="valid windows, a given range, odd sides as in msssim.m; ReLU on each mean cs; window in float32",
    ),
    Peer(
        name="kornia",
        package="kornia",
        module="kornia.metrics",
        install='python -m pip install "kornia>=0.9"',
        at_least="0.9",
        build=_kornia,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={"msssim": Convention(scales="windows")},
        by_default={"ssim": Convention(border="reflected")},
        convention="SSIM as Wang's when padding='valid' and eps=0 (by default reflected borders are counted); "
        "its MS_SSIMLoss is another quantity, that of Zhao et al.: five windows on one scale, zeros around the image",
    ),
    Peer(
        name="MONAI",
        package="monai",
        module="monai.metrics",
        build=_monai,
        weights=True,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={"msssim": Convention(halving="dropped", rectified="means", channels="averaged")},
        convention="valid windows and a given range; odd rows dropped; channels are averaged before the powers; ReLU "
        "on each mean cs; everything in float32",
    ),
    Peer(
        name="pytorch-ignite",
        package="pytorch-ignite",
        module="ignite.metrics",
        build=_ignite,
        metrics=("ssim",),
        differentiable=False,
        conventions={"ssim": Convention(border="reflected")},
        convention="SSIM alone, over reflected borders, with a given range and no gradient; window in float32",
    ),
    Peer(
        name="fused-ssim",
        package="fused-ssim",
        module="fused_ssim",
        build=_fused_ssim,
        metrics=("ssim",),
        dtypes=("float32",),
        devices=("cuda",),
        install="python -m pip install git+https://github.com/rahul-goel/fused-ssim --no-build-isolation",
        by_default={"ssim": Convention(border="zeros")},
        convention="SSIM alone, in float32 on images in [0, 1]; valid windows when asked (zeros around the image by "
        "default); gradient to the first image only",
    ),
    Peer(
        name="pyiqa",
        package="pyiqa",
        module="pyiqa",
        build=_pyiqa,
        dtypes=("float32", "float64", "bfloat16"),
        conventions={
            "ssim": Convention(rectified="pixels"),
            "msssim": Convention(rectified="pixels", halving="zeros before", channels="averaged"),
        },
        convention="images rounded to 8 bits, then float64; valid windows; ReLU on cs at every pixel; between scales "
        "an odd side gets a row of zeros before the first pixel; channels are averaged before the powers; on colour, "
        "luma alone by default",
    ),
)
