"""The contract of every fused backend with PyTorch, written once: two operators, their shapes, derivatives and vmap.

What _dispatch autograd alone looks at is one function of autograd, from the images to the value: the kernels are called
without the dispatcher, and the value is theirs too. Small images take longer for what is around the kernels than in
them. All else, as torch.compile and torch.func, sees the operators.

``msssim::pyramid_means`` gives the terms and, where asked, keeps for each scale the gradient of its mean with respect
to its own image: that does not depend on what comes from above, so that ``msssim::pyramid_gradient`` has only to weigh
and add. A derivative of the latter, rarely wanted, is the plain backend's, which may be differentiated for ever.

Under torch.compile C1, C2 and the unit may be scalar tensors, so that one graph serves every data_range, K1 and K2.
They are then in the argument `constants`, and the floats c1 and c2 only say which of them is zero.
"""

import functools
import importlib

import torch

from .. import _dispatch, multiscale
from ..window import is_zero
from . import forking, torch_backend

_OPTIONS = "float[] taps, float c1, float c2, float unit, int levels, bool rectify"
_MEANS, _GRADIENT = "msssim::pyramid_means", "msssim::pyramid_gradient"

torch.library.define(
    _MEANS,
    f"(Tensor img1, Tensor img2, {_OPTIONS}, bool need1, bool need2, Tensor? constants=None)"
    " -> (Tensor, Tensor, Tensor)",
)
torch.library.define(
    _GRADIENT,
    f"(Tensor upstream, Tensor kept, Tensor img1, Tensor img2, {_OPTIONS}, int which, Tensor? constants=None)"
    " -> Tensor",
)


def index(img1, img2, pooling, *, taps, c1, c2, unit):
    """(value, terms) as :func:`multiscale.index`, by a fused kernel."""
    device = _dispatch.at_once() and _plain(img1, img2)
    if not device:
        return multiscale.index(pyramid_means, img1, img2, pooling, taps=taps, c1=c1, c2=c2, unit=unit)
    options = taps, c1, c2, unit, *multiscale.of_terms(pooling)
    need1, need2 = _needs(img1, img2)
    if need1 or need2:
        # Autograd keeps no tensor that was made in inference mode; its copy it does.
        images = (image.clone() if image.is_inference() else image for image in (img1, img2))
        return _Index.apply(*images, pooling, options, need1, need2)
    kernels = _kernels(device)
    terms = kernels.means(img1, img2, *options)
    return kernels.pool(terms, pooling, False)[0], terms


def pyramid_means(img1, img2, *, taps, c1, c2, unit, levels, rectify):
    """As :func:`torch_backend.pyramid_means`, by a fused kernel."""
    # torch.compile follows neither an operator's derivative there nor one like that of _Means; and in forward mode the
    # derivative would be the plain backend's, which comes upon the value on its way.
    if _dispatch.transformed_and_compiled() or _dispatch.forward_mode():
        return torch_backend.pyramid_means(
            img1, img2, taps=taps, c1=c1, c2=c2, unit=unit, levels=levels, rectify=rectify
        )
    c1, c2, unit, constants = _split(c1, c2, unit)
    return _means(img1, img2, taps, c1, c2, unit, levels, rectify, *_needs(img1, img2), constants)[0]


def _split(c1, c2, unit):
    """(c1, c2, unit, constants) as the operators take them."""
    if not isinstance(unit, torch.Tensor):
        return c1, c2, unit, None
    constants = torch.stack([c if isinstance(c, torch.Tensor) else torch.zeros_like(unit) for c in (c1, c2, unit)])
    return *(0.0 if is_zero(c) else 1.0 for c in (c1, c2)), 1.0, constants


def _joined(c1, c2, unit, constants):
    """(c1, c2, unit) again: what _split() was given."""
    if constants is None:
        return c1, c2, unit
    c1, c2 = (constants[i] if c else 0.0 for i, c in enumerate((c1, c2)))
    return c1, c2, constants[2]


def run_smallest_kernel(device):
    """Pool one term, for the error that comes of it where kernels cannot be compiled or launched."""
    term = torch.ones((1, 1, 1), dtype=torch.float64, device=device)
    _kernels(device.type).pool(term, multiscale.Pooling((1.0,), None, "wtd_sum", True, torch.float32), False)


def _needs(img1, img2):
    """Whether anybody can ask for the one gradient, and the other: else there is no work for it."""
    wanted = torch.is_grad_enabled()
    return wanted and img1.requires_grad, wanted and img2.requires_grad


_MODULES = {"cpu": ".numba.api", "cuda": ".triton.api"}


@functools.cache
def _kernels(device):
    forking.require_usable()
    with forking.lock():
        return importlib.import_module(_MODULES[device], __package__)


def _plain(*tensors):
    """The type of the device if the dispatcher would only call its kernel, else None."""
    device = tensors[0].device.type
    for tensor in tensors:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.device.type != device:
            return None
        if torch._C._functorch.is_legacy_batchedtensor(tensor):  # of autograd.grad(is_grads_batched=True)
            return None
    return device if device in _MODULES else None


class _Index(torch.autograd.Function):
    """From images to value and terms; kept are the gradients of each scale, and how the value grows with the terms."""

    @staticmethod
    def forward(ctx, img1, img2, pooling, options, need1, need2):
        kernels = _kernels(img1.device.type)
        terms, *kept = kernels.means_and_gradients(img1, img2, *options, need1, need2)
        value, slopes = kernels.pool(terms, pooling, True)
        ctx.save_for_backward(img1, img2, slopes, *kept)
        ctx.pooling, ctx.options = pooling, options
        ctx.set_materialize_grads(False)
        return value, terms

    @staticmethod
    def backward(ctx, of_value, of_terms):
        img1, img2, slopes, *kept = ctx.saved_tensors
        if of_value is None and of_terms is None:
            gradients = None, None
        elif torch.is_grad_enabled():
            gradients = _gradients_to_differentiate(ctx, img1, img2, of_value, of_terms)
        elif of_terms is None and _dispatch.at_once() and (device := _plain(of_value, img1)):
            gradients = [
                _gradient_by(device, of_value, slopes, kept[which], img1, ctx.options) if needed else None
                for which, needed in enumerate(ctx.needs_input_grad[:2])
            ]
        else:
            of_value = 0 if of_value is None else of_value.reshape(-1, 1, 1) * slopes
            of_terms = of_value if of_terms is None else of_value + of_terms
            gradients = _gradients(ctx.needs_input_grad, of_terms, kept, img1, img2, ctx.options)
        return *gradients, *(None,) * 4


def _gradients_to_differentiate(ctx, img1, img2, *upstream):
    """The gradients by way of the operators, for somebody will ask for theirs."""
    # One image may have been made from the other; what is asked for are the gradients of this function alone.
    images = img1.view_as(img1), img2.view_as(img2)
    taps, c1, c2, unit, _, _ = ctx.options
    made = multiscale.index(pyramid_means, *images, ctx.pooling, taps=taps, c1=c1, c2=c2, unit=unit)
    asked = [pair for pair in zip(made, upstream, strict=True) if pair[1] is not None]
    wanted = [image for image, needed in zip(images, ctx.needs_input_grad, strict=False) if needed]
    outputs, upstream = zip(*asked, strict=True)
    found = iter(torch.autograd.grad(outputs, wanted, upstream, create_graph=True))
    return [next(found) if needed else None for needed in ctx.needs_input_grad[:2]]


def _gradients(needs, of_terms, kept, img1, img2, options, constants=None):
    return [
        _gradient(of_terms, kept[which], img1, img2, *options, which, constants) if needs[which] else None
        for which in range(2)
    ]


def _means_by(device, img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2, constants=None):
    if constants is not None:
        c1, c2, unit = constants.tolist()
    return _kernels(device).means_and_gradients(img1, img2, tuple(taps), c1, c2, unit, levels, rectify, need1, need2)


def _gradient_by(device, upstream, slopes, kept, image, options):
    taps, _, _, unit, levels, _ = options
    size, halo = image.shape[-2:], len(taps) - 1
    return _kernels(device).gradient(upstream, slopes, kept, *size, levels, halo, unit, image.dtype)


def _gradient_of_operator(
    device, upstream, kept, img1, img2, taps, c1, c2, unit, levels, rectify, which, constants=None
):
    unit = unit if constants is None else constants[2].item()
    return _gradient_by(device, upstream, None, kept, img1, (taps, c1, c2, unit, levels, rectify))


for _device in _MODULES:
    torch.library.impl(_MEANS, _device, functools.partial(_means_by, _device))
    torch.library.impl(_GRADIENT, _device, functools.partial(_gradient_of_operator, _device))


@torch.library.register_fake(_MEANS)
def _means_fake(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2, constants=None):
    batch, channels, height, width = img1.shape
    pixels = 0
    for _ in range(levels):
        pixels = pixels + height * width
        height, width = (height + 1) // 2, (width + 1) // 2
    dtype = _dtype_kept(img1.dtype)
    kept = (img1.new_empty((batch, channels, pixels if need else 0), dtype=dtype) for need in (need1, need2))
    return img1.new_empty((batch, channels, levels), dtype=torch.float64), *kept


@torch.library.register_fake(_GRADIENT)
def _gradient_fake(upstream, kept, img1, img2, taps, c1, c2, unit, levels, rectify, which, constants=None):
    return img1.new_empty(img1.shape)


def _dtype_kept(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _means_context(ctx, inputs, output):
    img1, img2, *options, _, _, constants = inputs
    ctx.save_for_backward(img1, img2, *output[1:], constants)
    ctx.options = options
    ctx.set_materialize_grads(False)


def _means_backward(ctx, upstream, *unused):
    img1, img2, *kept, constants = ctx.saved_tensors
    gradients = [None, None]
    if upstream is not None:
        for which, needed in enumerate(ctx.needs_input_grad[:2]):
            if needed and kept[which].shape[-1] == 0:  # the operator was told that nobody would ask
                needs = which == 0, which == 1
                kept[which] = _means(img1, img2, *ctx.options, *needs, constants)[1 + which]
        kept = [each.detach() for each in kept]
        gradients = _gradients(ctx.needs_input_grad, upstream, kept, img1, img2, ctx.options, constants)
    return *gradients, *(None,) * 9


def _gradient_context(ctx, inputs, output):
    upstream, _, img1, img2, *options, which, constants = inputs
    ctx.save_for_backward(upstream, img1, img2, constants)
    ctx.options, ctx.which = options, which


def _gradient_backward(ctx, direction):
    *tensors, constants = ctx.saved_tensors
    taps, *sizes, levels, rectify = ctx.options
    c1, c2, unit = _joined(*sizes, constants)
    options = dict(taps=taps, c1=c1, c2=c2, unit=unit, levels=levels, rectify=rectify)

    def gradient(upstream, img1, img2):
        _, pull = torch.func.vjp(lambda x, y: torch_backend.pyramid_means(x, y, **options), img1, img2)
        return pull(upstream)[ctx.which]

    upstream, img1, img2 = torch.func.vjp(gradient, *tensors)[1](direction)
    return upstream, None, img1, img2, *(None,) * 8


torch.library.register_autograd(_MEANS, _means_backward, setup_context=_means_context)
torch.library.register_autograd(_GRADIENT, _gradient_backward, setup_context=_gradient_context)


def _flattened(size, dims, tensors):
    """The tensors with the mapped dimension made part of the first."""
    return [
        (t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)
        for t, dim in zip(tensors, dims, strict=True)
    ]


class _Means(torch.autograd.Function):
    """The operator under torch.func, whose transforms do not reach what register_autograd() knows."""

    @staticmethod
    def forward(*arguments):
        return torch.ops.msssim.pyramid_means(*arguments)

    setup_context = staticmethod(_means_context)
    backward = staticmethod(_means_backward)

    @staticmethod
    def vmap(info, dims, img1, img2, *options):
        images = _flattened(info.batch_size, dims[:2], (img1, img2))
        *options, need1, need2, constants = options
        needs = need1 or images[0].requires_grad, need2 or images[1].requires_grad
        outputs = _means(*images, *options, *needs, constants)
        return tuple(output.unflatten(0, (info.batch_size, -1)) for output in outputs), (0, 0, 0)


class _Gradient(torch.autograd.Function):
    """The other operator under torch.func."""

    @staticmethod
    def forward(*arguments):
        return torch.ops.msssim.pyramid_gradient(*arguments)

    setup_context = staticmethod(_gradient_context)
    backward = staticmethod(_gradient_backward)

    @staticmethod
    def vmap(info, dims, upstream, kept, img1, img2, *options):
        tensors = _flattened(info.batch_size, dims[:4], (upstream, kept, img1, img2))
        return _gradient(*tensors, *options).unflatten(0, (info.batch_size, -1)), 0


def _means(*arguments):
    return (_Means.apply if _dispatch.transformed() else torch.ops.msssim.pyramid_means)(*arguments)


def _gradient(*arguments):
    return (_Gradient.apply if _dispatch.transformed() else torch.ops.msssim.pyramid_gradient)(*arguments)
