"""The contract of every fused backend with PyTorch, written once: two operators, their shapes, derivatives and vmap.

``msssim::pyramid_means`` gives the terms and, where asked, keeps for each scale the gradient of its mean with respect
to its own image: that does not depend on what comes from above, so that ``msssim::pyramid_gradient`` has only to weigh
and add. A derivative of the latter, rarely wanted, is the plain backend's, which may be differentiated for ever.
"""

import functools

import torch

from .. import eager
from . import torch_backend

_OPTIONS = "float[] taps, float c1, float c2, float unit, int levels, bool rectify"
_MEANS, _GRADIENT = "msssim::pyramid_means", "msssim::pyramid_gradient"

torch.library.define(
    _MEANS, f"(Tensor img1, Tensor img2, {_OPTIONS}, bool need1, bool need2) -> (Tensor, Tensor, Tensor)"
)
torch.library.define(
    _GRADIENT, f"(Tensor upstream, Tensor kept, Tensor img1, Tensor img2, {_OPTIONS}, int which) -> Tensor"
)


def pyramid_means(img1, img2, *, taps, c1, c2, unit, levels, rectify):
    """As :func:`torch_backend.pyramid_means`, by a fused kernel; no work for gradients that nobody can ask for."""
    wanted = torch.is_grad_enabled()
    need1, need2 = wanted and img1.requires_grad, wanted and img2.requires_grad
    if not (need1 or need2) and eager.at_once() and _plain(img1, img2) == "cpu":
        return _numba().means(img1, img2, taps, c1, c2, unit, levels, rectify)
    return _means(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2)[0]


@functools.cache
def _numba():
    from . import numba_backend

    return numba_backend


@functools.cache
def _triton():
    from . import triton_backend

    return triton_backend


def _means_on_cpu(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    return _numba().means_and_gradients(img1, img2, tuple(taps), c1, c2, unit, levels, rectify, need1, need2)


def _means_on_gpu(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    return _triton().means_and_gradients(img1, img2, tuple(taps), c1, c2, unit, levels, rectify, need1, need2)


@torch.library.register_fake(_MEANS)
def _means_fake(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    batch, channels, height, width = img1.shape
    pixels = 0
    for _ in range(levels):
        pixels = pixels + height * width
        height, width = (height + 1) // 2, (width + 1) // 2
    dtype = _dtype_kept(img1.dtype)
    kept = (img1.new_empty((batch, channels, pixels if need else 0), dtype=dtype) for need in (need1, need2))
    return img1.new_empty((batch, channels, levels), dtype=torch.float64), *kept


def _gradient_on_cpu(upstream, kept, img1, img2, taps, c1, c2, unit, levels, rectify, which):
    return _numba().gradient(upstream, kept, *img1.shape[-2:], levels, len(taps) - 1, img1.dtype)


def _gradient_on_gpu(upstream, kept, img1, img2, taps, c1, c2, unit, levels, rectify, which):
    return _triton().gradient(upstream, kept, *img1.shape[-2:], levels, len(taps) - 1, img1.dtype)


@torch.library.register_fake(_GRADIENT)
def _gradient_fake(upstream, kept, img1, img2, taps, c1, c2, unit, levels, rectify, which):
    return img1.new_empty(img1.shape)


def _dtype_kept(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _means_context(ctx, inputs, output):
    img1, img2, *options, _, _ = inputs
    ctx.save_for_backward(img1, img2, *output[1:])
    ctx.options = options
    ctx.set_materialize_grads(False)


def _means_backward(ctx, upstream, *unused):
    img1, img2, *kept = ctx.saved_tensors
    gradients = [None, None]
    for which, needed in enumerate(ctx.needs_input_grad[:2]):
        if needed and upstream is not None:
            if kept[which].shape[-1] == 0:  # the operator was told that nobody would ask
                kept[which] = _means(img1, img2, *ctx.options, which == 0, which == 1)[1 + which]
            gradients[which] = _gradient(upstream, kept[which].detach(), img1, img2, *ctx.options, which)
    return *gradients, *(None,) * 8


def _gradient_context(ctx, inputs, output):
    upstream, _, img1, img2, *options, which = inputs
    ctx.save_for_backward(upstream, img1, img2)
    ctx.options, ctx.which = options, which


def _gradient_backward(ctx, direction):
    names = ("taps", "c1", "c2", "unit", "levels", "rectify")
    options = dict(zip(names, ctx.options, strict=True))

    def gradient(upstream, img1, img2):
        _, pull = torch.func.vjp(lambda x, y: torch_backend.pyramid_means(x, y, **options), img1, img2)
        return pull(upstream)[ctx.which]

    upstream, img1, img2 = torch.func.vjp(gradient, *ctx.saved_tensors)[1](direction)
    return upstream, None, img1, img2, *(None,) * 7


_KERNELS = {"cpu": (_means_on_cpu, _gradient_on_cpu), "cuda": (_means_on_gpu, _gradient_on_gpu)}
for _device, _kernels in _KERNELS.items():
    torch.library.impl(_MEANS, _device, _kernels[0])
    torch.library.impl(_GRADIENT, _device, _kernels[1])
torch.library.register_autograd(_MEANS, _means_backward, setup_context=_means_context)
torch.library.register_autograd(_GRADIENT, _gradient_backward, setup_context=_gradient_context)


def _flattened(size, dims, tensors):
    """The tensors with the mapped dimension made part of the first."""
    return [
        (t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)
        for t, dim in zip(tensors, dims, strict=True)
    ]


class _Means(torch.autograd.Function):
    """The operator under torch.func, whose transforms do not reach what register_autograd() knows.

    And to eager autograd: what register_autograd() makes of it looks through the schema at every call.
    """

    @staticmethod
    def forward(*arguments):
        return _means_alone(*arguments)

    setup_context = staticmethod(_means_context)
    backward = staticmethod(_means_backward)

    @staticmethod
    def vmap(info, dims, img1, img2, *options):
        images = _flattened(info.batch_size, dims[:2], (img1, img2))
        *options, need1, need2 = options
        outputs = _means(*images, *options, need1 or images[0].requires_grad, need2 or images[1].requires_grad)
        return tuple(output.unflatten(0, (info.batch_size, -1)) for output in outputs), (0, 0, 0)


class _Gradient(torch.autograd.Function):
    """The other operator under torch.func."""

    @staticmethod
    def forward(*arguments):
        return _gradient_alone(*arguments)

    setup_context = staticmethod(_gradient_context)
    backward = staticmethod(_gradient_backward)

    @staticmethod
    def vmap(info, dims, upstream, kept, img1, img2, *options):
        tensors = _flattened(info.batch_size, dims[:4], (upstream, kept, img1, img2))
        return _gradient(*tensors, *options).unflatten(0, (info.batch_size, -1)), 0


def _means(*arguments):
    img1, img2 = arguments[:2]
    wanted = torch.is_grad_enabled() and (img1.requires_grad or img2.requires_grad)
    return eager.apply(_Means, *arguments) if _by_function(wanted) else _means_alone(*arguments)


def _gradient(*arguments):
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in arguments[:4])
    return eager.apply(_Gradient, *arguments) if _by_function(wanted) else _gradient_alone(*arguments)


def _by_function(wanted):
    """Whether an autograd.Function is to differentiate or transform a call, rather than the operator itself."""
    return eager.transformed() or (wanted and eager.at_once())


def _means_alone(*arguments):
    device = eager.at_once() and _plain(*arguments[:2])
    return (_KERNELS[device][0] if device else torch.ops.msssim.pyramid_means)(*arguments)


def _gradient_alone(*arguments):
    device = eager.at_once() and _plain(*arguments[:4])
    return (_KERNELS[device][1] if device else torch.ops.msssim.pyramid_gradient)(*arguments)


def _plain(*tensors):
    """The type of the device if the dispatcher would only call its kernel, else None.

    At 64 × 64 the dispatcher takes longer for that than all checks do.
    """
    device = tensors[0].device.type
    for tensor in tensors:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.device.type != device:
            return None
    return device if device in _KERNELS else None
