"""What ssim() and msssim() share: from checked arguments to those of a backend."""

import torch
from torch import Tensor

from . import _dispatch, _types, advice, backends, checks, multiscale, window


def prepared(img1: Tensor, img2: Tensor, data_range: float | None) -> tuple[Tensor, Tensor, float]:
    """The images, checked, of shape (N, C, H, W) and the same dtype, and their data_range."""
    checks.images(img1, img2)
    resolved_range = checks.resolve_data_range(data_range, img1.dtype)
    advice.warn_if_out_of_range(img1, img2, resolved_range, data_range is not None)
    x, y = (image[(None,) * (4 - image.dim())] if image.dim() < 4 else image for image in (img1, img2))
    if x.dtype != y.dtype:
        x, y = backends.to_wider_dtype(x, y)
    return x, y, resolved_range


@_dispatch.cached_when_eager
def kernel_params(data_range: float, win_size: int, sigma: float, K1: float, K2: float) -> window.KernelParams:
    c1, c2, unit = window.constants_and_unit(K1, K2, data_range)
    return {"taps": (window.gaussian_taps(win_size, sigma),) * 2, "c1": c1, "c2": c2, "unit": unit}


def pooling(
    weights: tuple[float, ...],
    normalize: _types.Normalize,
    method: _types.Method,
    dim: int,
    dtype: torch.dtype,
    reduction: _types.Reduction,
) -> multiscale.Pooling:
    reduce_batch = reduction == "mean" or dim < 4
    return multiscale.Pooling(weights, normalize, method, reduce_batch, window.compute_dtype(dtype))


def reduced(value: Tensor, reduction: _types.Reduction) -> Tensor:
    return value.sum() if reduction == "sum" else value  # "mean" is a part of the pooling
