"""The contract of the fused backends with PyTorch, once for all: two operators, their shapes, derivatives and vmap.

``msssim::pyramid_means`` computes the terms. On request it also stores, for each scale, the gradient of the scale's
mean with respect to that scale's image. This does not depend on the upstream gradient, so ``msssim::pyramid_gradient``
only has to weight and add. The derivative of the latter is rarely needed; plain PyTorch computes it, to any order.

Under torch.compile C1, C2 and the unit may be scalar tensors, so that one graph serves every data_range, K1 and K2.
They are then in the argument `constants`, and the floats c1 and c2 only say which of them is zero.
"""

import functools
import importlib
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from torch import Tensor

from .. import _dispatch, multiscale
from ..window import Constant, KernelParams, compute_dtype, is_zero
from . import forking, torch_backend
from .common import KernelModule, pyramid_shapes

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack

Options: TypeAlias = tuple[tuple[float, ...], float, float, float, int, bool]
"""taps, c1, c2, unit, levels, rectify."""
Grads: TypeAlias = list[Tensor | None]

_OPTIONS = "float[] taps, float c1, float c2, float unit, int levels, bool rectify"
_MEANS, _GRADIENT = "msssim::pyramid_means", "msssim::pyramid_gradient"

torch.library.define(
    _MEANS,
    f"(Tensor img1, Tensor img2, {_OPTIONS}, bool need1, bool need2, Tensor? constants=None)"
    " -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    _GRADIENT,
    f"(Tensor upstream, Tensor scale_grads, Tensor img1, Tensor img2, {_OPTIONS}, int which, Tensor? constants=None)"
    " -> Tensor",
)


def pyramid_means(
    img1: Tensor, img2: Tensor, *, levels: int, rectify: bool, **params: "Unpack[KernelParams]"
) -> Tensor:
    """As :func:`torch_backend.pyramid_means`, by a fused kernel."""
    # torch.compile cannot trace the operators' derivatives below a transform. In forward mode the derivative would be
    # that of the plain backend, which computes the value on the way.
    if _dispatch.compiling_functorch_transform() or _dispatch.in_forward_mode():
        return torch_backend.pyramid_means(img1, img2, levels=levels, rectify=rectify, **params)
    c1, c2, unit, constants = _split_constants(params["c1"], params["c2"], params["unit"])
    needs = grads_needed(img1, img2)
    return _means(img1, img2, params["taps"], c1, c2, unit, levels, rectify, *needs, constants)[0]


def _split_constants(c1: Constant, c2: Constant, unit: Constant) -> tuple[float, float, float, Tensor | None]:
    """(c1, c2, unit, constants) as the operators take them."""
    if not isinstance(unit, Tensor):
        return cast(float, c1), cast(float, c2), unit, None
    constants = torch.stack([c if isinstance(c, Tensor) else torch.zeros_like(unit) for c in (c1, c2, unit)])
    return 0.0 if is_zero(c1) else 1.0, 0.0 if is_zero(c2) else 1.0, 1.0, constants


def _join_constants(c1: float, c2: float, unit: float, constants: Tensor | None) -> tuple[Constant, Constant, Constant]:
    """The arguments of _split_constants()."""
    if constants is None:
        return c1, c2, unit
    return constants[0] if c1 else 0.0, constants[1] if c2 else 0.0, constants[2]


def run_smallest_kernel(device: torch.device) -> None:
    """Pool one term, which raises an error if kernels cannot be compiled or launched."""
    term = torch.ones((1, 1, 1), dtype=torch.float64, device=device)
    kernels(device.type).pool(term, multiscale.Pooling((1.0,), None, "wtd_sum", True, torch.float32), False)


def grads_needed(img1: Tensor, img2: Tensor) -> tuple[bool, bool]:
    """Whether each gradient can be requested; otherwise it is not computed."""
    enabled = torch.is_grad_enabled()
    return enabled and img1.requires_grad, enabled and img2.requires_grad


MODULES = {"cpu": ".numba.api", "cuda": ".triton.api"}


@functools.cache
def kernels(device: str) -> KernelModule:
    forking.require_usable()
    with forking.lock():
        return cast(KernelModule, importlib.import_module(MODULES[device], __package__))


def gradients(
    needs: tuple[bool, ...], upstream: Tensor, scale_grads: list[Tensor], img1: Tensor, img2: Tensor, options: Any,
    constants: Tensor | None = None,
) -> Grads:  # fmt: skip
    return [
        _gradient(upstream, scale_grads[which], img1, img2, *options, which, constants) if needs[which] else None
        for which in range(2)
    ]


def _means_impl(
    device: str, img1: Tensor, img2: Tensor, taps: list[float], c1: float, c2: float, unit: float, levels: int,
    rectify: bool, need1: bool, need2: bool, constants: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    if constants is not None:
        c1, c2, unit = constants.tolist()
    return kernels(device).means_and_gradients(img1, img2, tuple(taps), c1, c2, unit, levels, rectify, need1, need2)


def call_gradient(
    device: str, upstream: Tensor, dvalue_dterms: Tensor | None, scale_grads: Tensor, image: Tensor, options: Options
) -> Tensor:
    taps, _, _, unit, levels, _ = options
    height, width = image.shape[-2:]
    halo = len(taps) - 1
    return kernels(device).gradient(
        upstream, dvalue_dterms, scale_grads, height, width, levels, halo, unit, image.dtype
    )


def _gradient_impl(
    device: str, upstream: Tensor, scale_grads: Tensor, img1: Tensor, img2: Tensor, taps: Any, c1: float, c2: float,
    unit: float, levels: int, rectify: bool, which: int, constants: Tensor | None = None,
) -> Tensor:  # fmt: skip
    unit = unit if constants is None else constants[2].item()
    return call_gradient(device, upstream, None, scale_grads, img1, (taps, c1, c2, unit, levels, rectify))


for _device in MODULES:
    torch.library.impl(_MEANS, _device, functools.partial(_means_impl, _device))
    torch.library.impl(_GRADIENT, _device, functools.partial(_gradient_impl, _device))


@torch.library.register_fake(_MEANS)  # type: ignore[untyped-decorator]
def _means_fake(
    img1: Tensor, img2: Tensor, taps: list[float], c1: float, c2: float, unit: float, levels: int, rectify: bool,
    need1: bool, need2: bool, constants: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    batch, channels, height, width = img1.shape
    # Not cached: under torch.compile the sizes may be symbols.
    pixels = sum(rows * columns for rows, columns in pyramid_shapes.__wrapped__(height, width, levels))
    dtype = compute_dtype(img1.dtype)
    first, second = (img1.new_empty((batch, channels, pixels if need else 0), dtype=dtype) for need in (need1, need2))
    return img1.new_empty((batch, channels, levels), dtype=torch.float64), first, second


@torch.library.register_fake(_GRADIENT)  # type: ignore[untyped-decorator]
def _gradient_fake(upstream: Tensor, scale_grads: Tensor, img1: Tensor, *options: Any, **constants: Any) -> Tensor:
    return img1.new_empty(img1.shape)


def _means_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    img1, img2, *options, _, _, constants = inputs
    ctx.save_for_backward(img1, img2, *output[1:], constants)
    ctx.options = options
    ctx.set_materialize_grads(False)


def _means_backward(ctx: Any, upstream: Tensor | None, *unused: Tensor | None) -> tuple[Tensor | None, ...]:
    img1, img2, *scale_grads, constants = ctx.saved_tensors
    grads: Grads = [None, None]
    if upstream is not None:
        for which, needed in enumerate(ctx.needs_input_grad[:2]):
            if needed and scale_grads[which].shape[-1] == 0:  # the call said that it would not be needed
                needs = which == 0, which == 1
                scale_grads[which] = _means(img1, img2, *ctx.options, *needs, constants)[1 + which]
        scale_grads = [each.detach() for each in scale_grads]
        grads = gradients(ctx.needs_input_grad, upstream, scale_grads, img1, img2, ctx.options, constants)
    return *grads, *(None,) * 9


def _gradient_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    upstream, _, img1, img2, *options, which, constants = inputs
    ctx.save_for_backward(upstream, img1, img2, constants)
    ctx.options, ctx.which = options, which


def _gradient_backward(ctx: Any, *directions: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, constants = ctx.saved_tensors
    taps, c1, c2, unit, levels, rectify = ctx.options
    c1, c2, unit = _join_constants(c1, c2, unit, constants)

    def gradient(upstream: Tensor, img1: Tensor, img2: Tensor) -> Tensor:
        params: KernelParams = {"taps": taps, "c1": c1, "c2": c2, "unit": unit}
        means = functools.partial(torch_backend.pyramid_means, levels=levels, rectify=rectify, **params)
        pulled: tuple[Tensor, Tensor] = torch.func.vjp(means, img1, img2)[1](upstream)
        return pulled[ctx.which]

    upstream, img1, img2 = torch.func.vjp(gradient, *tensors)[1](*directions)
    return upstream, None, img1, img2, *(None,) * 8


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
        *params, need1, need2, constants = options
        needs = need1 or images[0].requires_grad, need2 or images[1].requires_grad
        outputs = _means(*images, *params, *needs, constants)
        return tuple(output.unflatten(0, (info.batch_size, -1)) for output in outputs), (0, 0, 0)


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


def _means(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    operator = _Means.apply if _dispatch.in_functorch_transform() else torch.ops.msssim.pyramid_means
    return operator(*args)  # type: ignore[no-any-return]


def _gradient(*args: Any) -> Tensor:
    operator = _Gradient.apply if _dispatch.in_functorch_transform() else torch.ops.msssim.pyramid_gradient
    return operator(*args)  # type: ignore[no-any-return]
