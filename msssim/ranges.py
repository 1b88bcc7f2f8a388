"""The data_range of a call: from the option, the dtype, or a tensor."""

import torch
from torch import Tensor

from . import _dispatch, checks, window


def of_images(data_range: float | Tensor | None, image: Tensor, spatial_dims: int = 2) -> float | Tensor:
    """The data_range to use: a number, or the result of of_tensor()."""
    if data_range is None or type(data_range) is float or not isinstance(data_range, Tensor):
        return resolved(data_range, image.dtype)
    return of_tensor(data_range, image, spatial_dims)


def resolved(data_range: float | None, dtype: torch.dtype) -> float:
    """The data_range to use: the given one, or the one that the dtype implies."""
    data_range = window.range_of_dtype(dtype) if data_range is None else data_range
    if data_range is None:
        raise ValueError(f"data_range must be given for images of {dtype}, which has no conventional range, got None")
    return float(data_range)


def of_tensor(data_range: Tensor, image: Tensor, spatial_dims: int = 2) -> float | Tensor:
    """The number in a tensor, or a float64 tensor of shape () or (N, 1, ..., 1).

    The result is a tensor where reading the number would synchronize with a GPU, or cannot be compiled or transformed,
    and where the number is not a valid range: the index is then NaN on every device.
    """
    if data_range.dtype == torch.bool or data_range.is_complex():
        raise ValueError(f"data_range must be {checks.POSITIVE} or None, got {data_range!r}")
    batch = image.shape[0] if image.dim() == spatial_dims + 2 else 1
    if data_range.numel() != 1 and tuple(data_range.shape) != (batch,):
        kind = f"{type(data_range).__module__}.{type(data_range).__name__}"
        raise ValueError(
            f"data_range must be one number, or a tensor with one for each of the {batch} images, got a {kind} of "
            f"shape {tuple(data_range.shape)}"
        )
    if data_range.device != image.device and data_range.device.type != "cpu":
        raise ValueError(
            f"data_range must be on the device of the images, {image.device}, or on the CPU, got {data_range.device}"
        )
    value = data_range.detach()
    if value.numel() == 1:
        value = value.reshape(())
        if value.device.type == "cpu" and _dispatch.is_plain_eager():
            number = float(value.item())
            if window.MIN_RANGE <= number <= window.MAX_RANGE:
                return number
    value = value.to(image.device, torch.float32 if image.device.type == "mps" else torch.float64)
    return value.reshape(-1, *(1,) * (image.dim() - 1)) if value.dim() else value
