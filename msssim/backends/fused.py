"""A shortcut for the fused backends: in plain eager mode one autograd function calls the kernels, up to the value.

It bypasses the dispatcher, which would take longer than the kernels do for small images. In every other case, such as
torch.compile or torch.func, the operators of :mod:`.ops` compute the terms.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from .. import _dispatch, multiscale
from ..window import KernelParams
from . import ops
from .arguments import Extras

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


def index(
    img1: Tensor, img2: Tensor, pooling: multiscale.Pooling, **params: "Unpack[KernelParams]"
) -> tuple[Tensor, Tensor]:
    """(value, terms) as :func:`multiscale.index`, by a fused kernel."""
    device = kernel_device(img1, img2) if _dispatch.is_plain_eager() else None
    if not device or pooling.channels == "pooled" or type(params["unit"]) is not float:
        return multiscale.index(ops.pyramid_means, img1, img2, pooling, **params)
    numbers = params["taps"][0], params["c1"], params["c2"], params["unit"]  # tensors under torch.compile only
    options = cast(ops.Options, (*numbers, *multiscale.terms_options(pooling)))
    border = ops.border_of(options[0], params["padding"]) if "padding" in params else ()
    need1, need2 = ops.grads_needed(img1, img2)
    if need1 or need2:
        # Autograd does not save an inference tensor, but it does save a copy.
        images = (image.clone() if image.is_inference() else image for image in (img1, img2))
        return _FusedIndex.apply(*images, pooling, options, border, need1, need2)  # type: ignore[no-any-return]
    kernels = ops.kernels(device)
    terms = kernels.means(img1, img2, *options, *border)
    return kernels.pool(terms, pooling, False)[0], terms


def kernel_device(*tensors: Tensor) -> str | None:
    """The type of the device if the dispatcher would only call its kernel, else None."""
    device = tensors[0].device.type
    for tensor in tensors:
        if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.device.type != device:
            return None
        if is_legacy_batchedtensor(tensor):  # of autograd.grad(is_grads_batched=True)
            return None
    return device if device in ops.MODULES else None


class _FusedIndex(torch.autograd.Function):
    """From the images to the value and the terms, with the gradients of each scale and d value / d terms saved."""

    @staticmethod
    def forward(
        ctx: Any, img1: Tensor, img2: Tensor, pooling: multiscale.Pooling, options: ops.Options,
        border: tuple[int, ...], *needs: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        kernels = ops.kernels(img1.device.type)
        terms, *scale_grads = kernels.means_and_gradients(img1, img2, *options, *needs, *border)
        value, dvalue_dterms = kernels.pool(terms, pooling, True)
        ctx.save_for_backward(img1, img2, dvalue_dterms, *scale_grads)
        ctx.pooling, ctx.options, ctx.border = pooling, options, border
        ctx.set_materialize_grads(False)
        return value, terms

    @staticmethod
    def backward(ctx: Any, grad_value: Tensor | None, grad_terms: Tensor | None) -> tuple[Tensor | None, ...]:
        img1, img2, dvalue_dterms, *scale_grads = ctx.saved_tensors
        gradients: ops.Grads = [None, None]
        if grad_value is None and grad_terms is None:
            return (None,) * 7
        if torch.is_grad_enabled():

            def index(x: Tensor, y: Tensor, **params: "Unpack[KernelParams]") -> tuple[Tensor, Tensor]:
                if ctx.border:
                    params["padding"] = "zeros"
                return multiscale.index(ops.pyramid_means, x, y, ctx.pooling, **params)

            gradients = differentiable_gradients(ctx, index, img1, img2, grad_value, grad_terms)
        elif (
            grad_value is not None
            and grad_terms is None
            and _dispatch.is_plain_eager()
            and (device := kernel_device(grad_value, img1))
        ):
            for which, need in enumerate(ctx.needs_input_grad[:2]):
                if need:
                    grads = dvalue_dterms, scale_grads[which]
                    gradients[which] = ops.call_gradient(device, grad_value, *grads, img1, ctx.options, ctx.border)
        else:
            upstream: Any = grad_terms
            if grad_value is not None:
                through_value = grad_value.reshape(-1, 1, 1) * dvalue_dterms
                upstream = through_value if grad_terms is None else through_value + grad_terms
            extras: Extras = (None, None, "zeros" if ctx.border else "valid", ())
            gradients = ops.gradients(ctx.needs_input_grad, upstream, scale_grads, img1, img2, ctx.options, extras)
        return *gradients, *(None,) * 5


def differentiable_gradients(
    ctx: Any, index: Callable[..., tuple[Tensor, Tensor]], img1: Tensor, img2: Tensor, *grad_outputs: Tensor | None
) -> ops.Grads:
    """The gradients by way of the operators, which can be differentiated again: `index` calls them."""
    # One image may depend on the other; only the gradients of this function are requested.
    images = img1.view_as(img1), img2.view_as(img2)
    taps, c1, c2, unit, _, _ = ctx.options
    outputs = index(*images, taps=(taps,) * 2, c1=c1, c2=c2, unit=unit)
    pairs = [pair for pair in zip(outputs, grad_outputs, strict=True) if pair[1] is not None]
    inputs = [image for image, need in zip(images, ctx.needs_input_grad, strict=False) if need]
    used_outputs, upstream = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(used_outputs, inputs, upstream, create_graph=True))
    return [next(found) if need else None for need in ctx.needs_input_grad[:2]]
