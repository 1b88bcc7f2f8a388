"""What ssim() and msssim() share: from checked arguments to those of a backend."""

from typing import Any, TypeAlias

import torch
from torch import Tensor

from . import _dispatch, _types, advice, axes, casting, checks, masks, multiscale, ranges, window

Images: TypeAlias = tuple[Tensor, Tensor, float | Tensor, Tensor | None]
"""The images of a call, (N, C, ...), data_range (a number, or a float64 tensor () or (N, 1, ..., 1)), the mask."""


def prepared(
    img1: Tensor, img2: Tensor, data_range: float | Tensor | None, mask: _types.Mask, spatial_dims: int
) -> Images:
    """The arguments of a call, checked; the images have the same dtype."""
    checks.images(img1, img2, spatial_dims)
    resolved_range = ranges.of_images(data_range, img1, spatial_dims)
    weights = None if mask is None else masks.prepared(mask, img1, img2, spatial_dims)
    if type(resolved_range) is float:  # isinstance() with Tensor takes five times as long
        advice.warn_if_out_of_range(img1, img2, resolved_range, data_range is not None, weights, spatial_dims)
    missing = spatial_dims + 2 - img1.dim()
    x, y = (image[(None,) * missing] if missing else image for image in (img1, img2))
    if x.dtype != y.dtype:
        x, y = casting.to_wider_dtype(x, y)
    return x, y, resolved_range, weights


def kernel_params(
    data_range: Any, options: window.WindowOptions, mask: Tensor | None, mask_mode: _types.MaskMode
) -> tuple[window.KernelParams, tuple[str, ...]]:
    """(the parameters of a backend, the options of the call that a fused backend may have no kernel for)."""
    if type(data_range) is float:
        params, features = _params_of_number(data_range, options)
    else:
        params, features = _params_of_tensor(data_range, options)
    if mask is None:
        return params, features
    params = params.copy()  # the original is kept for other calls
    params["mask"] = mask
    if mask_mode == "inside":
        params["inside"] = True
    return params, (*features, "mask" if mask_mode == "normalized" else 'mask_mode="inside"')


@_dispatch.cached_when_eager
def _params_of_number(data_range: float, options: window.WindowOptions) -> tuple[window.KernelParams, tuple[str, ...]]:
    return _with_window(options, *window.constants_and_unit(options.K1, options.K2, data_range))


def _params_of_tensor(data_range: Tensor, options: window.WindowOptions) -> tuple[window.KernelParams, tuple[str, ...]]:
    constants = window.constants_and_unit_of_tensor(options.K1, options.K2, data_range)
    params, features = _with_window(options, *constants)
    return params, (*features, "a data_range for each image" if data_range.dim() else "a tensor as data_range")


def _with_window(
    options: window.WindowOptions, c1: window.Constant, c2: window.Constant, unit: window.Constant
) -> tuple[window.KernelParams, tuple[str, ...]]:
    features = [] if options.spatial_dims == 2 else [f"spatial_dims={options.spatial_dims}"]
    if options.window == "uniform":
        features.append('window="uniform"')
    taps = _taps(options)
    if any(each is not taps[0] for each in taps):
        features.append(f"{'win_size' if isinstance(options.win_size, tuple) else 'sigma'} by axis")
    if options.sample_covariance:
        c2 = c2 * window.sample_covariance_factor([len(each) for each in taps])
        features.append("sample_covariance=True")
    params: window.KernelParams = {"taps": taps, "c1": c1, "c2": c2, "unit": unit}
    if options.padding != "valid":
        params["padding"] = options.padding
        features.append(f'padding="{options.padding}"')
    return params, tuple(features)


def _taps(options: window.WindowOptions) -> window.Taps:
    """The window of each axis: one object where the axes have the same."""
    dims, sigma = options.spatial_dims, 1.5 if options.sigma is None else options.sigma

    if not isinstance(options.win_size, tuple) and not isinstance(sigma, tuple):
        return (_taps_of_axis(options.window, options.win_size, sigma),) * dims
    by_axis = zip(axes.expanded(options.win_size, dims), axes.expanded(sigma, dims), strict=True)
    taps = tuple(_taps_of_axis(options.window, *each) for each in by_axis)
    return (taps[0],) * dims if all(each == taps[0] for each in taps) else taps


def _taps_of_axis(kind: _types.Window, size: int, sigma: float) -> tuple[float, ...]:
    return window.uniform_taps(size) if kind == "uniform" else window.gaussian_taps(size, sigma)


def pooling(
    weights: tuple[float, ...],
    normalize: _types.Normalize,
    method: _types.Method,
    dim: int,
    dtype: torch.dtype,
    reduction: _types.Reduction,
    channels: _types.Channels = "mean",
    spatial_dims: int = 2,
) -> multiscale.Pooling:
    reduce_batch = reduction == "mean" or dim < spatial_dims + 2
    dtype = window.compute_dtype(dtype)
    return multiscale.Pooling(weights, normalize, method, reduce_batch, dtype, channels=channels)


def reduced(value: Tensor, reduction: _types.Reduction) -> Tensor:
    return value.sum() if reduction == "sum" else value  # "mean" is a part of the pooling
