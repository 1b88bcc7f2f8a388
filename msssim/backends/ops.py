"""The contract of the fused backends with PyTorch, once for all: two operators, their shapes, derivatives and vmap.

``msssim::pyramid_means`` computes the terms. On request it also stores, for each scale, the gradient of the scale's
mean with respect to that scale's image. This does not depend on the upstream gradient, so ``msssim::pyramid_gradient``
only has to weight and add. The derivative of the latter is rarely needed; plain PyTorch computes it, to any order.

Under torch.compile C1, C2 and the unit may be scalar tensors, so that one graph serves every data_range, K1 and K2;
they also are tensors if data_range is one. They are then in the argument `constants`, of shape (3,) or (3, N). The
floats c1 and c2 only say which of them is zero.

The images have shape (N, C, ...) with one to three spatial axes. `taps` is the window of every axis, or the windows of
all axes one after the other, and `win_size` then has the length of each. `mask` has the shape of the images (it may be
expanded); with it `weights` is the sum of the weights of the windows for each plane and scale, otherwise it is empty.
"""

import functools
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from torch import Tensor

from .. import _dispatch, multiscale
from ..window import KernelParams, compute_dtype, flat_taps
from . import forking, torch_backend
from .arguments import NO_EXTRAS, Extras, images_of, kernel_params, split_constants
from .common import KernelModule, pyramid_shapes

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack

Options: TypeAlias = tuple[tuple[float, ...], float, float, float, int, bool]
"""taps, c1, c2, unit, levels, rectify."""
Grads: TypeAlias = list[Tensor | None]

_OPTIONS = "float[] taps, float c1, float c2, float unit, int levels, bool rectify"
_EXTRAS = "Tensor? constants=None, Tensor? mask=None, str padding='valid', int[] win_size=[]"
_MEANS, _GRADIENT = "msssim::pyramid_means", "msssim::pyramid_gradient"

torch.library.define(
    _MEANS,
    f"(Tensor img1, Tensor img2, {_OPTIONS}, bool need1, bool need2, {_EXTRAS})"
    " -> (Tensor terms, Tensor scale_grads1, Tensor scale_grads2, Tensor weights)",
)
torch.library.define(
    _GRADIENT,
    f"(Tensor upstream, Tensor scale_grads, Tensor img1, Tensor img2, {_OPTIONS}, int which, {_EXTRAS},"
    " Tensor? weights=None) -> Tensor",
)


def pyramid_means(
    img1: Tensor, img2: Tensor, *, levels: int, rectify: bool, **params: "Unpack[KernelParams]"
) -> Tensor:
    """As :func:`torch_backend.pyramid_means`, by a fused kernel."""
    # torch.compile cannot trace the operators' derivatives below a transform. In forward mode the derivative would be
    # that of the plain backend, which computes the value on the way.
    given_unit = params["unit"]
    of_images = isinstance(given_unit, Tensor) and given_unit.dim() > 0
    if (
        _dispatch.compiling_functorch_transform()
        or _dispatch.in_forward_mode()
        or (isinstance(given_unit, Tensor) and _dispatch.in_functorch_transform())  # which may map the constants
        or (of_images and not _dispatch.is_plain_eager())
    ):
        return torch_backend.pyramid_means(img1, img2, levels=levels, rectify=rectify, **params)
    if of_images:
        return _means_of_each_image(img1, img2, levels, rectify, params)
    c1, c2, unit, constants = split_constants(params["c1"], params["c2"], given_unit)
    taps, win_size = flat_taps(params["taps"])
    extras: Extras = (constants, params.get("mask"), params.get("padding", "valid"), win_size)
    needs = grads_needed(img1, img2)
    return means(img1, img2, taps, c1, c2, unit, levels, rectify, *needs, *extras)[0]


def _means_of_each_image(img1: Tensor, img2: Tensor, levels: int, rectify: bool, params: KernelParams) -> Tensor:
    """The terms of images with a data_range of their own, on a CPU: a call for each."""
    each = images_of(img1, img2, params)
    return torch.cat([pyramid_means(x, y, levels=levels, rectify=rectify, **own) for x, y, own in each])


def run_smallest_kernel(device: torch.device) -> None:
    """Pool one term, which raises an error if kernels cannot be compiled or launched."""
    term = torch.ones((1, 1, 1), dtype=torch.float64, device=device)
    kernels(device.type).pool(term, multiscale.Pooling((1.0,), None, "wtd_sum", True, torch.float32), False)


def grads_needed(img1: Tensor, img2: Tensor) -> tuple[bool, bool]:
    """Whether each gradient can be requested; otherwise it is not computed."""
    enabled = torch.is_grad_enabled()
    return enabled and img1.requires_grad, enabled and img2.requires_grad


MODULES = {"cpu": ".numba.api", "cuda": ".triton.api"}
# The devices whose kernels take images with a border of zeros.
WITH_ZEROS = ("cpu",)


def border_of(taps: Sequence[float], padding: str) -> tuple[int, ...]:
    """What kernels take in addition for a padding: the rows and columns of zeros around images, or nothing."""
    return (len(taps) // 2,) if padding == "zeros" else ()


@functools.cache
def kernels(device: str) -> KernelModule:
    forking.require_usable()
    with forking.lock():
        return cast(KernelModule, importlib.import_module(MODULES[device], __package__))


def masked_kernels() -> Any:
    """The module with the kernels for masks, which only the backend for CPUs has."""
    kernels("cpu")
    from .numba import masks

    return masks


def gradients(
    needs: tuple[bool, ...], upstream: Tensor, scale_grads: list[Tensor], img1: Tensor, img2: Tensor, options: Any,
    extras: Extras = NO_EXTRAS, weights: Tensor | None = None,
) -> Grads:  # fmt: skip
    return [
        _gradient(upstream, scale_grads[which], img1, img2, *options, which, *extras, weights) if needs[which] else None
        for which in range(2)
    ]


def _means_impl(
    device: str, img1: Tensor, img2: Tensor, taps: list[float], c1: float, c2: float, unit: float, levels: int,
    rectify: bool, need1: bool, need2: bool, constants: Tensor | None = None, mask: Tensor | None = None,
    padding: str = "valid", win_size: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    fused = (padding == "valid" or (padding == "zeros" and device in WITH_ZEROS)) and (mask is None or device == "cpu")
    if not fused or win_size or (constants is not None and constants.dim() > 1):
        raise NotImplementedError("no fused kernel has such masks, padding, windows by axis or constants by image")
    if constants is not None:
        c1, c2, unit = constants.tolist()
    options = tuple(taps), c1, c2, unit, levels, rectify
    if mask is not None:
        return masked_kernels().means_and_gradients(img1, img2, mask, options, need1, need2)  # type: ignore[no-any-return]
    border = border_of(options[0], padding)
    return *kernels(device).means_and_gradients(img1, img2, *options, need1, need2, *border), _no_weights(img1)


def _no_weights(img1: Tensor) -> Tensor:
    return img1.new_empty((0,), dtype=torch.float64)


def call_gradient(
    device: str, upstream: Tensor, dvalue_dterms: Tensor | None, scale_grads: Tensor, image: Tensor, options: Options,
    border: tuple[int, ...] = (),
) -> Tensor:  # fmt: skip
    taps, _, _, unit, levels, _ = options
    height, width = image.shape[-2:]
    halo = 0 if border else len(taps) - 1
    return kernels(device).gradient(
        upstream, dvalue_dterms, scale_grads, height, width, levels, halo, unit, image.dtype
    )


def _gradient_impl(
    device: str, upstream: Tensor, scale_grads: Tensor, img1: Tensor, img2: Tensor, taps: Any, c1: float, c2: float,
    unit: float, levels: int, rectify: bool, which: int, constants: Tensor | None = None, mask: Tensor | None = None,
    padding: str = "valid", win_size: Sequence[int] = (), weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    unit = unit if constants is None else constants[2].item()
    if mask is not None:
        given = upstream, scale_grads, mask, weights, *img1.shape[2:], len(taps) - 1, unit, img1.dtype
        return masked_kernels().gradient(*given)  # type: ignore[no-any-return]
    options, border = (taps, c1, c2, unit, levels, rectify), border_of(taps, padding)
    return call_gradient(device, upstream, None, scale_grads, img1, options, border)


for _device in MODULES:
    torch.library.impl(_MEANS, _device, functools.partial(_means_impl, _device))
    torch.library.impl(_GRADIENT, _device, functools.partial(_gradient_impl, _device))


@torch.library.register_fake(_MEANS)  # type: ignore[untyped-decorator]
def _means_fake(
    img1: Tensor, img2: Tensor, taps: list[float], c1: float, c2: float, unit: float, levels: int, rectify: bool,
    need1: bool, need2: bool, constants: Tensor | None = None, mask: Tensor | None = None, padding: str = "valid",
    win_size: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    batch, channels, height, width = img1.shape
    # Not cached: under torch.compile the sizes may be symbols.
    pixels = sum(rows * columns for rows, columns in pyramid_shapes.__wrapped__(height, width, levels))
    dtype = compute_dtype(img1.dtype)
    first, second = (img1.new_empty((batch, channels, pixels if need else 0), dtype=dtype) for need in (need1, need2))
    terms = img1.new_empty((batch, channels, levels), dtype=torch.float64)
    return terms, first, second, _no_weights(img1) if mask is None else torch.empty_like(terms)


@torch.library.register_fake(_GRADIENT)  # type: ignore[untyped-decorator]
def _gradient_fake(upstream: Tensor, scale_grads: Tensor, img1: Tensor, *options: Any, **extras: Any) -> Tensor:
    return img1.new_empty(img1.shape)


def _means_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    img1, img2, *options, _, _, constants, mask, padding, win_size = inputs
    ctx.save_for_backward(img1, img2, *output[1:], constants, mask)
    ctx.options, ctx.layout = options, (padding, win_size)
    ctx.set_materialize_grads(False)


def _means_backward(ctx: Any, upstream: Tensor | None, *unused: Tensor | None) -> tuple[Tensor | None, ...]:
    img1, img2, *scale_grads, weights, constants, mask = ctx.saved_tensors
    extras: Extras = (constants, mask, *ctx.layout)
    grads: Grads = [None, None]
    if upstream is not None:
        for which, needed in enumerate(ctx.needs_input_grad[:2]):
            if needed and scale_grads[which].shape[-1] == 0:  # the call said that it would not be needed
                needs = which == 0, which == 1
                scale_grads[which] = means(img1, img2, *ctx.options, *needs, *extras)[1 + which]
        scale_grads = [each.detach() for each in scale_grads]
        totals = None if mask is None else weights
        grads = gradients(ctx.needs_input_grad, upstream, scale_grads, img1, img2, ctx.options, extras, totals)
    return *grads, *(None,) * 12


def _gradient_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    upstream, _, img1, img2, *options, which, constants, mask, padding, win_size, _ = inputs
    ctx.save_for_backward(upstream, img1, img2, constants, mask)
    ctx.options, ctx.layout, ctx.which = options, (padding, win_size), which


def _gradient_backward(ctx: Any, *directions: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, constants, mask = ctx.saved_tensors
    *_, levels, rectify = ctx.options
    params = kernel_params(tensors[1], ctx.options, (constants, mask, *ctx.layout))

    def gradient(upstream: Tensor, img1: Tensor, img2: Tensor) -> Tensor:
        means = functools.partial(torch_backend.pyramid_means, levels=levels, rectify=rectify, **params)
        pulled: tuple[Tensor, Tensor] = torch.func.vjp(means, img1, img2)[1](upstream)
        return pulled[ctx.which]

    upstream, img1, img2 = torch.func.vjp(gradient, *tensors)[1](*directions)
    return upstream, None, img1, img2, *(None,) * 12


torch.library.register_autograd(_MEANS, _means_backward, setup_context=_means_context)
torch.library.register_autograd(_GRADIENT, _gradient_backward, setup_context=_gradient_context)


def _flattened(size: int, dims: tuple[int | None, ...], tensors: tuple[Tensor, ...]) -> list[Tensor]:
    """The tensors with the mapped dimension merged into the first."""
    return [
        (t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)
        for t, dim in zip(tensors, dims, strict=True)
    ]


class _Means(torch.autograd.Function):
    """The operator under torch.func, whose transforms do not use what register_autograd() registers."""

    @staticmethod
    def forward(*args: Any) -> Any:
        return torch.ops.msssim.pyramid_means(*args)

    setup_context = staticmethod(_means_context)
    backward = staticmethod(_means_backward)

    @staticmethod
    def vmap(info: Any, dims: Any, img1: Tensor, img2: Tensor, *options: Any) -> tuple[tuple[Tensor, ...], Any]:
        images = _flattened(info.batch_size, dims[:2], (img1, img2))
        params, (need1, need2), extras = options[:6], options[6:8], options[8:]
        needs = need1 or images[0].requires_grad, need2 or images[1].requires_grad
        *outputs, weights = means(*images, *params, *needs, *extras)
        return (*(output.unflatten(0, (info.batch_size, -1)) for output in outputs), weights), (0, 0, 0, None)


class _Gradient(torch.autograd.Function):
    """The other operator under torch.func."""

    @staticmethod
    def forward(*args: Any) -> Any:
        return torch.ops.msssim.pyramid_gradient(*args)

    setup_context = staticmethod(_gradient_context)
    backward = staticmethod(_gradient_backward)

    @staticmethod
    def vmap(info: Any, dims: Any, *args: Any) -> tuple[Tensor, int]:
        tensors = _flattened(info.batch_size, dims[:4], args[:4])
        return _gradient(*tensors, *args[4:]).unflatten(0, (info.batch_size, -1)), 0


def means(*args: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    operator = _Means.apply if _dispatch.in_functorch_transform() else torch.ops.msssim.pyramid_means
    return operator(*args)  # type: ignore[no-any-return]


def _gradient(*args: Any) -> Tensor:
    operator = _Gradient.apply if _dispatch.in_functorch_transform() else torch.ops.msssim.pyramid_gradient
    return operator(*args)  # type: ignore[no-any-return]
