"""Variances in the Gaussian window, in plain PyTorch, differentiable to any order."""

from typing import Any

import torch
from torch import Tensor

from .. import _dispatch
from ..window import Taps
from .filters import gaussian, padded


def variances(x: Tensor, y: Tensor, mu_x: Tensor, mu_y: Tensor, taps: Taps) -> tuple[Tensor, Tensor, Tensor]:
    """The results of `_Variances`; in forward mode by PyTorch's own derivatives, which can be nested."""
    if not torch.compiler.is_compiling() and _dispatch.in_forward_mode():
        return _Variances.forward(x, y, mu_x, mu_y, taps)
    results: tuple[Tensor, Tensor, Tensor] = _dispatch.apply(_Variances, x, y, mu_x, mu_y, taps)
    return results


class _Variances(torch.autograd.Function):
    """The variances of s = x + y and d = x - y in each window, at least 0, and E[s²] + E[d²], which has no derivative.

    The derivative with respect to s is Σ 2 g b (s_i - μs) over the windows that hold pixel i; g is the window's weight
    of the pixel, b the upstream gradient. It is a difference of two sums that cancel in flat areas. In two-level
    graphics their rounding errors in float32 can exceed the gradient at edges, so the sums are float64.
    """

    @staticmethod
    def forward(x: Tensor, y: Tensor, mu_x: Tensor, mu_y: Tensor, taps: Taps) -> tuple[Tensor, Tensor, Tensor]:
        s, d, mu_s, mu_d = x + y, x - y, mu_x + mu_y, mu_x - mu_y
        squares_s, squares_d = gaussian(s * s, taps), gaussian(d * d, taps)
        squares = squares_s + squares_d
        sigma2_s, sigma2_d = squares_s - mu_s * mu_s, squares_d - mu_d * mu_d
        # torch.compile may differentiate this: rounding below zero must not cut off a gradient.
        sigma2_s = straight_through(sigma2_s, sigma2_s.detach().clamp(min=0))
        sigma2_d = straight_through(sigma2_d, sigma2_d.detach().clamp(min=0))
        return sigma2_s, sigma2_d, squares

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.taps = inputs
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(output[2])

    @staticmethod
    def backward(ctx: Any, b_s: Tensor, b_d: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        narrow = b_s.dtype == torch.float32
        if narrow and b_s.device.type != "mps":
            b_s, b_d = b_s.double(), b_d.double()
        x, y, mu_x, mu_y = ctx.saved_tensors
        gradients = _gradients_of_variances(b_s, b_d, x, y, mu_x, mu_y, ctx.taps, ctx.needs_input_grad)
        if narrow:
            gradients = [each if each is None else each.float() for each in gradients]
        return *gradients, None, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, *inputs: Any) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
        *tensors, taps = inputs
        x, y, mu_x, mu_y = (
            tensor.unsqueeze(0).expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, dims, strict=False)
        )
        return variances(x, y, mu_x, mu_y, taps), (0, 0, 0)


def _gradients_of_variances(
    b_s: Tensor, b_d: Tensor, x: Tensor, y: Tensor, mu_x: Tensor, mu_y: Tensor, taps: Taps,
    needs: tuple[bool, ...],
) -> list[Tensor | None]:  # fmt: skip
    """The gradients of x and y, or None, in the dtype of b_s and b_d."""

    def adjoint(values: Tensor) -> Tensor:
        return gaussian(padded(values, taps), taps)

    mu_b_s, mu_b_d = b_s * (mu_x + mu_y), b_d * (mu_x - mu_y)
    grad_s, grad_d = (x + y) * adjoint(b_s), (x - y) * adjoint(b_d)
    grad_x = 2 * (grad_s + grad_d - adjoint(mu_b_s + mu_b_d)) if needs[0] else None
    grad_y = 2 * (grad_s - grad_d - adjoint(mu_b_s - mu_b_d)) if needs[1] else None
    return [grad_x, grad_y]


def straight_through(value: Tensor, target: Tensor) -> Tensor:
    """`target` (detached) with the derivatives of `value`: rounding is corrected, and no gradient is cut off."""
    return value + (target - value.detach())
