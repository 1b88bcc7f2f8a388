"""Sums over the windows inside an image, in plain PyTorch, differentiable to any order."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _dispatch
from ..window import Taps

# Pixels that a thread filters at a time on a CPU: some arrays of so many float64 stay in its cache. Otherwise the
# additions, one for each tap, would read and write main memory.
_BLOCK = 1 << 16

_Form = Literal["mean", "sum"]


def gaussian(x: Tensor, taps: Taps) -> Tensor:
    """The windowed mean at every position inside the image ('valid'); the taps of each axis sum to 1.

    It is the middle pixel plus weighted differences, one axis at a time: the rounding error is then proportional to
    the differences inside the window.
    """
    filtered: Tensor = _dispatch.apply(_Filter, x, taps, "mean")
    return filtered


def correlate(x: Tensor, taps: Taps) -> Tensor:
    """The sum over each window inside the image, weighted by the taps."""
    filtered: Tensor = _dispatch.apply(_Filter, x, taps, "sum")
    return filtered


def padded(values: Tensor, taps: Taps) -> Tensor:
    """Zeros around the values of windows: as many as a window has pixels beside the first."""
    return F.pad(values, [len(tap) - 1 for tap in reversed(taps) for _ in range(2)])


class _Filter(torch.autograd.Function):
    """A separable filter.

    The adjoint of a symmetric filter is the filter on the padded image; autograd's own derivative of the slices would
    write as many padded images.
    """

    @staticmethod
    def forward(x: Tensor, taps: Taps, form: _Form) -> Tensor:
        if x.device.type == "cpu" and _dispatch.is_plain_eager():  # torch.compile cannot trace get_num_threads()
            block = _BLOCK * torch.get_num_threads()
            if x.numel() > block:
                return _in_blocks(x, taps, form, block)
        return _filtered(x, taps, form)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.taps, ctx.form = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _dispatch.apply(_Filter, padded(gradient, ctx.taps), ctx.taps, ctx.form), None, None

    @staticmethod
    def tangent(ctx: Any, image_tangent: Tensor, *_: None) -> Tensor:
        filtered: Tensor = _dispatch.apply(_Filter, image_tangent, ctx.taps, ctx.form)
        return filtered

    @staticmethod
    def vmap(info: Any, dims: Any, x: Tensor, taps: Taps, form: _Form) -> tuple[Tensor, int]:
        # The rule that PyTorch would generate treats each tap as an argument.
        return _dispatch.apply(_Filter, x.movedim(dims[0], 0), taps, form), 0


def _filtered(x: Tensor, taps: Taps, form: _Form) -> Tensor:
    along = _differences if form == "mean" else _sums
    for axis, tap in zip(range(-len(taps), 0), taps, strict=True):
        x = along(x, axis, tap)
    return x


def _differences(x: Tensor, axis: int, tap: tuple[float, ...]) -> Tensor:
    half = len(tap) // 2
    # The weight of the difference between pixels k and k + 1 from the middle: the sum of the taps beyond k.
    tails = [sum(tap[half + 1 + k :]) for k in range(half)]
    size = x.shape[axis] - 2 * half
    steps = x.diff(dim=axis)
    out = torch.zeros_like(x.narrow(axis, half, size))
    for k in reversed(range(half)):  # small weights first
        out.add_(steps.narrow(axis, half + k, size), alpha=tails[k])
        out.add_(steps.narrow(axis, half - 1 - k, size), alpha=-tails[k])
    return out.add_(x.narrow(axis, half, size))


def _sums(x: Tensor, axis: int, tap: tuple[float, ...]) -> Tensor:
    half = len(tap) // 2
    size = x.shape[axis] - 2 * half
    out = torch.zeros_like(x.narrow(axis, half, size))
    for k in range(half):  # small weights first
        out.add_(x.narrow(axis, k, size), alpha=tap[k])
        out.add_(x.narrow(axis, 2 * half - k, size), alpha=tap[k])
    return out.add_(x.narrow(axis, half, size), alpha=tap[half])


def _in_blocks(x: Tensor, taps: Taps, form: _Form, block: int) -> Tensor:
    """The same bits as of _filtered(), some planes or some rows of a plane at a time; rows lie along the first axis."""
    dims, size = len(taps), x.shape[-len(taps) :]
    inner = tuple(length - len(tap) + 1 for length, tap in zip(size, taps, strict=True))
    planes, per_plane, per_row = x.reshape(-1, *size), math.prod(size), math.prod(size[1:])
    out = x.new_empty(len(planes), *inner)
    if per_plane <= block:
        for some, target in zip(planes.split(block // per_plane), out.split(block // per_plane), strict=True):
            target.copy_(_filtered(some, taps, form))
    else:
        rows, more = max(1, block // per_row), len(taps[0]) - 1
        for plane, target in zip(planes, out, strict=True):
            for start in range(0, inner[0], rows):
                number = min(rows, inner[0] - start)
                target[start : start + number] = _filtered(plane[start : start + number + more], taps, form)
    return out.view(*x.shape[:-dims], *inner)
