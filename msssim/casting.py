"""Images in the dtype of the arithmetic, whose gradients have the dtype of the image."""

from typing import Any

import torch
from torch import Tensor

from . import _dispatch
from .window import compute_dtype


def cast(image: Tensor, dtype: torch.dtype) -> Tensor:
    """A contiguous copy of an image in another dtype; its gradient is clamped to the range of the image's dtype.

    It is a copy even if the dtype is the same: autograd cannot save an inference tensor, but it can save the copy.
    """
    copy: Tensor = _dispatch.apply(_CastToCompute, image, dtype)
    return copy


def as_dtype(image: Tensor, dtype: torch.dtype) -> Tensor:
    """The image itself, or a cast() of it if it has another dtype."""
    return image if image.dtype == dtype else cast(image, dtype)


def to_wider_dtype(img1: Tensor, img2: Tensor) -> tuple[Tensor, Tensor]:
    """Two images of different floating-point dtypes in the wider dtype of the arithmetic."""
    dtypes = [compute_dtype(image.dtype) for image in (img1, img2)]
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    return as_dtype(img1, dtype), as_dtype(img2, dtype)


class _CastToCompute(torch.autograd.Function):
    """The image in the dtype of the arithmetic; its gradient in its own dtype, clamped to the range of that."""

    generate_vmap_rule = True

    @staticmethod
    def forward(image: Tensor, dtype: torch.dtype) -> Tensor:
        return image.to(dtype, memory_format=torch.contiguous_format, copy=True)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.dtype, ctx.compute_dtype = inputs[0].dtype, inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        limit = torch.finfo(ctx.dtype).max
        return gradient.clamp(-limit, limit).to(ctx.dtype), None

    @staticmethod
    def tangent(ctx: Any, image_tangent: Tensor, _: None) -> Tensor:
        return image_tangent.to(ctx.compute_dtype)
