"""Volumes by the fused backend of CPUs: in plain eager mode one autograd function, otherwise plain PyTorch."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from .. import _dispatch, multiscale
from ..window import KernelParams
from . import ops, torch_backend

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


def index(
    img1: Tensor, img2: Tensor, pooling: multiscale.Pooling, **params: "Unpack[KernelParams]"
) -> tuple[Tensor, Tensor]:
    """(value, terms) as :func:`multiscale.index`, by a fused kernel.

    Under torch.compile and torch.func, and for tensors that are not plain ones, PyTorch computes them: there is no
    operator for volumes.
    """
    if not (_dispatch.is_plain_eager() and all(type(each) in (Tensor, torch.nn.Parameter) for each in (img1, img2))):
        return multiscale.index(torch_backend.pyramid_means, img1, img2, pooling, **params)
    levels, rectify = multiscale.terms_options(pooling)
    numbers = params["taps"][0], params["c1"], params["c2"], params["unit"]
    options = cast(ops.Options, (*numbers, levels, rectify))
    need1, need2 = ops.grads_needed(img1, img2)
    if need1 or need2:
        # Autograd does not save an inference tensor, but it does save a copy.
        images = (image.clone() if image.is_inference() else image for image in (img1, img2))
        terms = _Terms.apply(*images, options, need1, need2)
    else:
        terms = _kernels().means_and_gradients(img1, img2, options, False, False)[0]
    return multiscale.pool(terms, pooling), terms


def _kernels() -> Any:
    ops.kernels("cpu")
    from .numba import volumes

    return volumes


class _Terms(torch.autograd.Function):
    """From the volumes to the terms, with the gradients of each scale saved."""

    @staticmethod
    def forward(ctx: Any, img1: Tensor, img2: Tensor, options: ops.Options, need1: bool, need2: bool) -> Tensor:
        terms, first, second = _kernels().means_and_gradients(img1, img2, options, need1, need2)
        ctx.save_for_backward(img1, img2)
        # backward() turns these into its result in place: another copy would be as large as a volume.
        ctx.options, ctx.scale_grads = options, (first, second)
        return cast(Tensor, terms)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        img1, img2 = ctx.saved_tensors
        needs = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # it may be differentiated again
            return *_differentiable(img1, img2, ctx.options, upstream, needs), None, None, None
        given, ctx.scale_grads = ctx.scale_grads, None
        if given is None:  # used up by a backward() before this one, with retain_graph
            given = _kernels().means_and_gradients(img1, img2, ctx.options, *needs)[1:]
        taps, _, _, unit, _, _ = ctx.options
        gradients: list[Tensor | None] = []
        for needed, scale_grads in zip(needs, given, strict=True):
            found = None
            if needed:
                found = _kernels().gradient(upstream, scale_grads, len(taps) - 1, unit, img1.dtype)
            gradients.append(found)
        return *gradients, None, None, None


def _differentiable(
    img1: Tensor, img2: Tensor, options: ops.Options, upstream: Tensor, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients by plain PyTorch, which can be differentiated again."""
    taps, c1, c2, unit, levels, rectify = options
    # One volume may depend on the other; only the gradients of this function are requested.
    images = img1.view_as(img1), img2.view_as(img2)
    terms = torch_backend.pyramid_means(
        *images, levels=levels, rectify=rectify, taps=(taps,) * 3, c1=c1, c2=c2, unit=unit
    )
    inputs = [image for image, need in zip(images, needs, strict=False) if need]
    found = iter(torch.autograd.grad(terms, inputs, upstream, create_graph=True))
    return [next(found) if need else None for need in needs[:2]]
