"""Images with a mask by a fused backend: in plain eager mode one autograd function, up to the value.

Under torch.compile and torch.func, and for tensors that are not plain ones, PyTorch computes them.
"""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from .. import _dispatch, multiscale
from ..window import KernelParams
from . import fused, ops, torch_backend
from .arguments import Extras, images_of, split_constants

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


def index(
    img1: Tensor, img2: Tensor, pooling: multiscale.Pooling, **params: "Unpack[KernelParams]"
) -> tuple[Tensor, Tensor, Tensor]:
    """(value, terms, has_index) as :func:`multiscale.masked_index`, by a fused kernel."""
    mask = _mask_of(params)
    plain = _dispatch.is_plain_eager() and fused.kernel_device(img1, img2, mask)
    if not plain or pooling.channels == "pooled" or type(params["unit"]) is not float:
        return multiscale.masked_index(masked_terms, img1, img2, pooling, **params)
    numbers = params["taps"][0], params["c1"], params["c2"], params["unit"]  # tensors under torch.compile only
    options = cast(ops.Options, (*numbers, *multiscale.terms_options(pooling)))
    needs = ops.grads_needed(img1, img2)
    if any(needs):
        # Autograd does not save an inference tensor, but it does save a copy.
        tensors = (each.clone() if each.is_inference() else each for each in (img1, img2, mask))
        value, terms, weights = _MaskedIndex.apply(*tensors, pooling, options, *needs)
    else:
        found, _, _, weights = ops.masked_kernels().means_and_gradients(img1, img2, mask, options, False, False)
        value, terms, _ = _pooled(found, weights, pooling, False)
    return value, terms, (weights > 0).all(-1)


def _mask_of(params: KernelParams) -> Tensor:
    mask = params.get("mask")
    assert mask is not None
    return mask


def _pooled(
    terms: Tensor, weights: Tensor, pooling: multiscale.Pooling, with_derivatives: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The value, the terms with NaN where there is no weight, and the derivatives of the value by the terms."""
    if (weights > 0).all():
        value, derivatives = ops.kernels("cpu").pool(terms, pooling, with_derivatives)
        return value, terms, derivatives
    with torch.enable_grad():
        leaf = terms.detach().requires_grad_(with_derivatives)
        value, shown, _ = multiscale.pool_masked(leaf, weights, pooling)
        # The value of an image depends on its own terms only.
        derivatives = torch.autograd.grad(value.sum(), leaf)[0] if with_derivatives else None
    return value.detach(), shown.detach(), derivatives


class _MaskedIndex(torch.autograd.Function):
    """From the images to the value, the terms and the sums of weights, with what the gradient needs saved."""

    @staticmethod
    def forward(
        ctx: Any, img1: Tensor, img2: Tensor, mask: Tensor, pooling: multiscale.Pooling, options: ops.Options,
        *needs: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        terms, *scale_grads, weights = ops.masked_kernels().means_and_gradients(img1, img2, mask, options, *needs)
        value, terms, dvalue_dterms = _pooled(terms, weights, pooling, True)
        ctx.save_for_backward(img1, img2, mask, weights, dvalue_dterms, *scale_grads)
        ctx.pooling, ctx.options = pooling, options
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(weights)
        return value, terms, weights

    @staticmethod
    def backward(
        ctx: Any, grad_value: Tensor | None, grad_terms: Tensor | None, _: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        img1, img2, mask, weights, dvalue_dterms, *scale_grads = ctx.saved_tensors
        if grad_value is None and grad_terms is None:
            return (None,) * 7
        if torch.is_grad_enabled():

            def index(x: Tensor, y: Tensor, **params: "Unpack[KernelParams]") -> tuple[Tensor, Tensor]:
                params["mask"] = mask
                return multiscale.masked_index(masked_terms, x, y, ctx.pooling, **params)[:2]

            gradients = fused.differentiable_gradients(ctx, index, img1, img2, grad_value, grad_terms)
        else:
            upstream: Any = grad_terms
            if grad_value is not None:
                through_value = grad_value.reshape(-1, 1, 1) * dvalue_dterms
                upstream = through_value if grad_terms is None else through_value + grad_terms
            extras: Extras = (None, mask, "valid", ())
            needs = ctx.needs_input_grad
            gradients = ops.gradients(needs, upstream, scale_grads, img1, img2, ctx.options, extras, weights)
        return *gradients, *(None,) * 5


def masked_terms(
    img1: Tensor, img2: Tensor, *, levels: int, rectify: bool, **params: "Unpack[KernelParams]"
) -> tuple[Tensor, Tensor]:
    """As :func:`torch_backend.masked_terms`, by a fused kernel in plain eager mode."""
    mask = _mask_of(params)
    plain = all(type(each) in (Tensor, torch.nn.Parameter) for each in (img1, img2, mask))
    if not (plain and _dispatch.is_plain_eager()) or _dispatch.in_forward_mode():
        return torch_backend.masked_terms(img1, img2, levels=levels, rectify=rectify, **params)
    given_unit = params["unit"]
    if isinstance(given_unit, Tensor) and given_unit.dim() > 0:
        each = images_of(img1, img2, params)
        found = [masked_terms(x, y, levels=levels, rectify=rectify, **own) for x, y, own in each]
        return torch.cat([terms for terms, _ in found]), torch.cat([weights for _, weights in found])
    c1, c2, unit, constants = split_constants(params["c1"], params["c2"], given_unit)
    extras: Extras = (constants, mask, "valid", ())
    needs = ops.grads_needed(img1, img2)
    # Autograd does not save an inference tensor, but it does save a copy.
    x, y = (image.clone() if any(needs) and image.is_inference() else image for image in (img1, img2))
    terms, *_, weights = ops.means(x, y, params["taps"][0], c1, c2, unit, levels, rectify, *needs, *extras)
    return terms, weights
