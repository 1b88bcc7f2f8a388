"""Peers that take and return torch tensors."""

import functools
import importlib
from typing import TYPE_CHECKING, Any

from .convention import Convention
from .peer import Function, Peer, Weights

if TYPE_CHECKING:
    import torch

_DTYPES = ("float32", "float64", "bfloat16")


def _vainf(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import pytorch_msssim

    if metric == "ssim":
        return functools.partial(pytorch_msssim.ssim, data_range=data_range)
    return functools.partial(pytorch_msssim.ms_ssim, data_range=data_range, weights=weights)


def _original(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    from . import original

    return functools.partial(getattr(original, metric), data_range=None if defaults else data_range)


def _torchmetrics(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    from torchmetrics.functional import image

    options: dict[str, Any] = {} if defaults else {"data_range": data_range}
    if metric == "ssim":
        return functools.partial(image.structural_similarity_index_measure, **options)
    if not defaults:
        options["normalize"] = None  # "relu" otherwise
    if weights is not None:
        options["betas"] = tuple(weights)
    return functools.partial(image.multiscale_structural_similarity_index_measure, **options)


def _piq(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import piq
    import torch

    if metric == "ssim":
        return functools.partial(piq.ssim, data_range=data_range, **{} if defaults else {"downsample": False})

    def msssim(img1: "torch.Tensor", img2: "torch.Tensor") -> "torch.Tensor":
        scale_weights = None if weights is None else torch.as_tensor(weights, dtype=img1.dtype, device=img1.device)
        value: torch.Tensor = piq.multi_scale_ssim(img1, img2, data_range=data_range, scale_weights=scale_weights)
        return value

    return msssim


def _piqa(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import piqa
    import torch

    @functools.cache
    def module(channels: int, dtype: "torch.dtype", device: "torch.device") -> "torch.nn.Module":
        options = {"n_channels": channels, "value_range": data_range}
        if metric == "ssim":
            return piqa.SSIM(**options).to(device, dtype)
        return piqa.MS_SSIM(weights=None if weights is None else torch.tensor(weights), **options).to(device, dtype)

    return lambda img1, img2: module(img1.shape[1], img1.dtype, img1.device)(img1, img2)


def _kornia(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import kornia.losses
    import kornia.metrics

    if metric == "ssim":
        options = {"max_val": data_range} | ({} if defaults else {"eps": 0.0, "padding": "valid"})
        return lambda img1, img2: kornia.metrics.ssim(img1, img2, 11, **options).mean()

    @functools.cache
    def loss(device: "torch.device") -> "torch.nn.Module":  # without its L1 term
        return kornia.losses.MS_SSIMLoss(data_range=data_range, alpha=1.0, compensation=1.0).to(device)

    return lambda img1, img2: 1 - loss(img1.device)(img1, img2)


def _monai(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    from monai import metrics

    if metric == "ssim":

        def ssim(img1: "torch.Tensor", img2: "torch.Tensor") -> "torch.Tensor":
            axes = img1.dim() - 2
            options = {"kernel_size": (11,) * axes, "kernel_sigma": (1.5,) * axes, "data_range": data_range}
            return metrics.compute_ssim_and_cs(img1, img2, axes, **options)[0].mean()

        return ssim
    options = {"data_range": data_range} | ({} if weights is None else {"weights": weights})
    return lambda img1, img2: metrics.compute_ms_ssim(img1, img2, img1.dim() - 2, **options).mean()


def _ignite(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    from ignite.metrics import SSIM

    def ssim(img1: "torch.Tensor", img2: "torch.Tensor") -> float:
        metric = SSIM(data_range=data_range, device=img1.device)
        metric.update((img1, img2))
        return float(metric.compute())

    return ssim


def _fused_ssim(module: str, metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    fused_ssim = importlib.import_module(module).fused_ssim
    padding = "same" if defaults else "valid"
    return lambda img1, img2: fused_ssim(img1 / data_range, img2 / data_range, padding=padding)


def _pyiqa(metric: str, data_range: float, weights: Weights, defaults: bool) -> Function:
    import pyiqa

    @functools.cache
    def measure(device: "torch.device") -> "torch.nn.Module":
        options = {} if defaults else {"test_y_channel": False}
        name = {"ssim": "ssim", "msssim": "ms_ssim"}[metric]
        return pyiqa.create_metric(name, as_loss=True, device=device, **options)  # as_loss keeps the gradient

    return lambda img1, img2: measure(img1.device)(img1 / data_range, img2 / data_range)


TORCH_PEERS = (
    Peer(
        name="pytorch-msssim",
        package="pytorch-msssim",
        module="pytorch_msssim",
        build=_vainf,
        volumes=True,
        takes_weights=True,
        dtypes=_DTYPES,
        conventions={"msssim": Convention(downsampling="zeros before", relu="means")},
        description="valid windows and a given data range; between scales an odd side gets a row of zeros before the "
        "first pixel, which shifts every 2 x 2 block; ReLU on each mean cs; requires the image size of five scales for "
        "any number of weights; the window is rounded to float32",
    ),
    Peer(
        name="pytorch-msssim (original)",
        package="",
        module="",
        build=_original,
        conventions={"msssim": Convention(downsampling="last dropped", last_scale="four times", channels="averaged")},
        default_conventions={
            "ssim": Convention(data_range="255 or 1"),
            "msssim": Convention(
                downsampling="last dropped", last_scale="four times", channels="averaged", data_range="255 or 1"
            ),
        },
        description="the formula of jorge-pessoa's pytorch-msssim, implemented here: valid windows, the last row or "
        "column of odd sides dropped, the last scale multiplied in four times; by default the data range is guessed "
        "from the first image at every scale: 255 if its maximum is above 128, else 1",
    ),
    Peer(
        name="torchmetrics",
        package="torchmetrics",
        module="torchmetrics.functional.image",
        build=_torchmetrics,
        takes_weights=True,
        dtypes=_DTYPES,
        conventions={
            "ssim": Convention(border="reflected"),
            "msssim": Convention(border="reflected", downsampling="last dropped", channels="averaged"),
        },
        default_conventions={
            "ssim": Convention(border="reflected", data_range="max - min"),
            "msssim": Convention(
                border="reflected",
                downsampling="last dropped",
                channels="averaged",
                relu="means",
                data_range="max - min",
            ),
        },
        description="SSIM counts windows over reflected borders, MS-SSIM only at the last scale; the last row or "
        "column of odd sides is dropped; channels are averaged before the powers; by default the data range is max - "
        "min of the images at every scale, and ReLU is on",
    ),
    Peer(
        name="piq",
        package="piq",
        module="piq",
        build=_piq,
        takes_weights=True,
        dtypes=_DTYPES,
        conventions={"msssim": Convention(downsampling="copies before", relu="means")},
        default_conventions={"ssim": Convention(downsample_first=True)},
        description="valid windows and a given data range; between scales both sides are padded with a copy of the "
        "first row and column if either side is odd, which shifts every 2 x 2 block and drops the last row or column "
        "of an even side; ReLU on each mean cs; weights are normalized to sum 1; by default SSIM downsamples the "
        "images to about 256 pixels first",
    ),
    Peer(
        name="piqa",
        package="piqa",
        module="piqa",
        build=_piqa,
        takes_weights=True,
        dtypes=_DTYPES,
        conventions={"msssim": Convention(relu="means")},
        description="valid windows, a given data range, odd sides as in msssim.m; ReLU on each mean cs; window in "
        "float32",
    ),
    Peer(
        name="kornia",
        package="kornia",
        module="kornia.metrics",
        install='python -m pip install "kornia>=0.9"',
        min_version="0.9",
        build=_kornia,
        dtypes=_DTYPES,
        conventions={"msssim": Convention(scales="windows")},
        default_conventions={"ssim": Convention(border="reflected")},
        description="SSIM is Wang's with padding='valid' and eps=0 (by default, windows over reflected borders count); "
        "its MS_SSIMLoss is another quantity, from Zhao et al.: five windows on one scale, zero padding",
    ),
    Peer(
        name="MONAI",
        package="monai",
        module="monai.metrics",
        build=_monai,
        volumes=True,
        takes_weights=True,
        dtypes=_DTYPES,
        conventions={"msssim": Convention(downsampling="last dropped", relu="means", channels="averaged")},
        description="valid windows and a given data range; the last row or column of odd sides is dropped; channels "
        "are averaged before the powers; ReLU on each mean cs; everything in float32",
    ),
    Peer(
        name="pytorch-ignite",
        package="pytorch-ignite",
        module="ignite.metrics",
        build=_ignite,
        metrics=("ssim",),
        differentiable=False,
        conventions={"ssim": Convention(border="reflected")},
        description="SSIM only; windows over reflected borders count; a given data range; no gradient; window in "
        "float32",
    ),
    Peer(
        name="fused-ssim",
        package="fused-ssim",
        module="fused_ssim",
        build=functools.partial(_fused_ssim, "fused_ssim"),
        metrics=("ssim",),
        dtypes=("float32",),
        devices=("cuda",),
        install="python -m pip install git+https://github.com/rahul-goel/fused-ssim --no-build-isolation",
        default_conventions={"ssim": Convention(border="zeros")},
        description="SSIM only, in float32 on images in [0, 1]; valid windows as an option (zero padding by default); "
        "gradient to the first image only",
    ),
    Peer(
        name="fussim",
        package="fussim",
        module="fussim",
        build=functools.partial(_fused_ssim, "fussim"),
        metrics=("ssim",),
        dtypes=("float32",),
        devices=("cuda",),
        min_version="0.3",
        default_conventions={"ssim": Convention(border="zeros")},
        description="the kernels of fused-ssim, compiled ahead of time; SSIM only, in float32 on images in [0, 1]; "
        "valid windows as an option (zero padding by default); gradient to the first image only",
    ),
    Peer(
        name="pyiqa",
        package="pyiqa",
        module="pyiqa",
        build=_pyiqa,
        dtypes=_DTYPES,
        conventions={
            "ssim": Convention(relu="pixels"),
            "msssim": Convention(relu="pixels", downsampling="zeros before", channels="averaged"),
        },
        description="images are rounded to 8 bits and computed in float64; valid windows; ReLU on cs at every pixel; "
        "between scales an odd side gets a row of zeros before the first pixel; channels are averaged before the "
        "powers; by default only the luma of colour images",
    ),
)
