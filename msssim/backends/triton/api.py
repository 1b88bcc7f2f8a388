"""The fused GPU kernels as functions of tensors: what backends/ops.py calls on CUDA devices."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from ... import window
from . import launches

launches.require_nvidia()

VERSION = f"triton {triton.__version__}"


def means(
    img1: Tensor, img2: Tensor, taps: Sequence[float], c1: float, c2: float, unit: float, levels: int, rectify: bool
) -> Tensor:
    """The terms of every plane, (N, C, levels)."""
    return means_and_gradients(img1, img2, taps, c1, c2, unit, levels, rectify, False, False)[0]


def means_and_gradients(
    img1: Tensor, img2: Tensor, taps: Sequence[float], c1: float, c2: float, unit: float, levels: int, rectify: bool,
    need1: bool, need2: bool, cut: launches.Cut | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The terms of every plane, and the gradients of each scale's sum with respect to its own image.

    Images are converted to float64 where float32 does not suffice; see window.float32_suffices(). `cut` replaces the
    choice of launches, so that a small image can be computed by the machine code for a large one.

    Returns
    -------
    means : Tensor, shape (N, C, levels)
    grads1, grads2 : Tensor, shape (N, C, pixels of all scales), or (N, C, 0) where not needed
        In the units of the images as given, times window.gradient_scale(). Of the sum, not of the mean: gradient()
        divides.
    """
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, taps, c1, c2, unit, levels, rectify, True, False, cut)
        return means, first, second
    x, y = _as_stored(img1), _as_stored(img2)
    wide = x.dtype != torch.float64 and not window.float32_suffices((tuple(taps),), c1, c2, unit)
    if wide:
        x, y = x.double(), y.double()
    call = launches.terms_call(
        x.shape, x.stride(), y.stride(), x.dtype, x.device, tuple(taps), c1, c2, unit, levels, rectify, need1 + need2,
        *(() if cut is None else (cut,)),
    )  # fmt: skip
    with _device_of(x):
        terms, grads1, grads2 = call(x, y, need1, need2)
    return (terms, _narrow(grads1), _narrow(grads2)) if wide else (terms, grads1, grads2)


def cut_of_call(
    shape: tuple[int, ...], x_steps: tuple[int, ...], y_steps: tuple[int, ...], dtype: torch.dtype,
    device: torch.device, taps: tuple[float, ...], c1: float, c2: float, unit: float, levels: int, rectify: bool,
    gradients: int,
) -> launches.Cut:  # fmt: skip
    """How means_and_gradients() launches a call."""
    dtype = torch.uint8 if dtype == torch.bool else dtype
    dtype = dtype if window.float32_suffices((taps,), c1, c2, unit) else torch.float64
    return launches.terms_call(
        shape, x_steps, y_steps, dtype, device, taps, c1, c2, unit, levels, rectify, gradients
    ).cut


def _narrow(scale_grads: Tensor) -> Tensor:
    """As float32, finite if it was: the backward pass may multiply it by 0."""
    limit = torch.finfo(torch.float32).max
    return scale_grads.clamp(-limit, limit).float()


def pool(terms: Tensor, pooling: Any, has_grad: bool) -> tuple[Tensor, Tensor | None]:
    """(value, dvalue_dterms): multiscale.pool() by a multiscale.Pooling, and its derivative, (N, C, levels)."""
    value = terms.new_empty(() if pooling.reduce_batch else terms.shape[:1], dtype=pooling.dtype)
    dvalue_dterms = terms.new_empty(terms.shape) if has_grad else None
    launch = launches.pool_launch(terms.shape, terms.device, pooling, has_grad)
    with _device_of(terms):
        launch(terms, value, terms if dvalue_dterms is None else dvalue_dterms)
    return value, dvalue_dterms


def gradient(
    upstream: Tensor, dvalue_dterms: Tensor | None, scale_grads: Tensor, height: int, width: int, levels: int,
    halo: int, unit: float, dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """The gradient with respect to an image, (N, C, H, W), within the largest number of `dtype` if it is finite.

    Parameters
    ----------
    upstream : Tensor
        With respect to the terms, (N, C, levels); or, with the dvalue_dterms of pool(), to the value, () or (N,).
    dvalue_dterms : Tensor or None
        The derivative of the value.
    scale_grads : Tensor, shape (N, C, pixels of all scales)
        The gradients that means_and_gradients() gave for this image.
    """
    n, channels, _ = scale_grads.shape
    scale_grads = scale_grads.contiguous()  # vmap may have moved dimensions
    out = scale_grads.new_empty((n, channels, height, width), dtype=dtype)
    has_dvalue = dvalue_dterms is not None
    steps = (*upstream.stride(), 0, 0, 0)[:3] if has_dvalue else upstream.stride()
    dtypes = upstream.dtype, scale_grads.dtype, dtype
    launch = launches.backward_launch(out.shape, steps, has_dvalue, dtypes, scale_grads.device, levels, halo, unit)
    with _device_of(scale_grads):
        launch(upstream, upstream if dvalue_dterms is None else dvalue_dterms, scale_grads, out)
    return out


def _device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _as_stored(image: Tensor) -> Tensor:
    image = image.detach().resolve_neg()
    return image.view(torch.uint8) if image.dtype == torch.bool else image
