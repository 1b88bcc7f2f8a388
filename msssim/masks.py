"""The weights of pixels: checks of a mask, and its preparation for a backend."""

import torch
from torch import Tensor

from . import _dispatch, resample
from .casting import cast
from .window import compute_dtype


def prepared(mask: object, img1: Tensor, img2: Tensor, spatial_dims: int = 2) -> Tensor | None:
    """The mask, checked, with as many axes as a batch has; None if every pixel counts.

    Parameters
    ----------
    mask : None, "finite" or Tensor
        As ssim() takes it.
    img1, img2 : Tensor
        The images as given, checked.
    spatial_dims : int
        The number of spatial axes.

    Returns
    -------
    Tensor or None
        bool or floating point, of shape (1 or N, 1 or C, ...) without a gradient.
    """
    if mask is None:
        return None
    if isinstance(mask, str) and mask == "finite":
        if not img1.is_floating_point():
            return None
        weights = img1.detach().isfinite() & img2.detach().isfinite()
    else:
        weights = _checked(mask, img1, spatial_dims).detach()
    weights = weights[(None,) * (2 + spatial_dims - weights.dim())]
    return weights.expand(*weights.shape[:2], *img1.shape[-spatial_dims:])


def _checked(mask: object, image: Tensor, spatial_dims: int) -> Tensor:
    """The mask, if it is one for this image."""
    if not isinstance(mask, Tensor):
        got = repr(mask) if isinstance(mask, str) else f"{type(mask).__module__}.{type(mask).__name__}"
        raise TypeError(f'mask must be a torch.Tensor, "finite" or None, got {got}')
    if mask.layout != torch.strided or mask.is_nested or mask.is_quantized:
        raise TypeError(f"mask must be a dense tensor, got one of layout {mask.layout}")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(
            f"mask must be bool (True: use the pixel) or floating-point weights, got {mask.dtype}; pass mask != 0 "
            "to use the pixels where it is not 0"
        )
    shape = image.shape if mask.dim() == image.dim() else image.shape[-spatial_dims:]
    if mask.dim() != len(shape) or any(size not in (1, full) for size, full in zip(mask.shape, shape, strict=True)):
        spatial = tuple(image.shape[-spatial_dims:])
        raise ValueError(
            f"mask must have shape {spatial}, or {image.dim()} axes that can be broadcast to {tuple(image.shape)}, "
            f"got {tuple(mask.shape)}{_advice_on_shape(mask, image, spatial_dims)}"
        )
    if mask.device != image.device:
        raise ValueError(f"mask must be on the device of the images, {image.device}, got {mask.device}")
    if mask.device.type == "cpu" and mask.is_floating_point() and _dispatch.is_plain_eager():
        _check_weights(mask.detach())
    return mask


def _advice_on_shape(mask: Tensor, image: Tensor, spatial_dims: int) -> str:
    batch = (image.shape[0], *image.shape[-spatial_dims:])
    if image.dim() == spatial_dims + 2 and tuple(mask.shape) == batch:
        return "; pass mask.unsqueeze(1) if there is one mask for each image"
    return ""


def _check_weights(mask: Tensor) -> None:
    # Both are NaN if a weight is.
    least, most = (each.item() for each in mask.aminmax())
    if not (least >= 0 and most <= torch.finfo(mask.dtype).max):
        raise ValueError(
            f"mask must have weights that are finite and not negative, got weights from {least:g} to {most:g}"
        )


def downsample(img1: Tensor, img2: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """The images and the mask, each pixel the weighted mean over the pixels that resample.box_downsample() averages."""
    if factor == 1:
        return img1, img2, mask
    weights = mask if mask.dtype == torch.float64 else mask.float()
    peak = weights.amax(tuple(range(2, weights.dim())), keepdim=True)
    weights = (weights / peak.masked_fill(peak == 0, 1)).to(compute_dtype(img1.dtype))
    total = resample.box_downsample(weights, factor)
    divisor = total.masked_fill(total == 0, 1)
    x, y = (
        resample.box_downsample(cast(image, weights.dtype).masked_fill(weights == 0, 0) * weights, factor) / divisor
        for image in (img1, img2)
    )
    return x, y, total * peak
