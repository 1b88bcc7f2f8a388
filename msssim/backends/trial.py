"""One small pair by the kernels of a device and by plain PyTorch on the CPU in float64; see :mod:`.trust`."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .. import multiscale
from ..window import Constant, compute_dtype
from . import torch_backend
from .common import KernelModule

# The largest errors: of the terms and the value, and of a gradient relative to its largest entry. A test compares them
# with validation/tolerances.py. Narrow dtypes round the gradient once more.
BUDGETS: dict[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-11, 1e-6),
    torch.float32: (1e-5, 5e-5),
    torch.bfloat16: (1e-5, 2**-8 + 5e-5),
    torch.float16: (1e-5, 2**-11 + 5e-5),
    torch.uint8: (1e-5, 0.0),
    torch.bool: (1e-5, 0.0),
}


class CheckedKernels(KernelModule, Protocol):
    """The kernels of a device that is not exempt; ``triton/api.py`` documents them."""

    VERSION: str
    """The name and version of the compiler."""

    def cut_of_call(self, *call: Any) -> Any:
        """How a call is launched: hashable."""
        ...


class Kind(NamedTuple):
    """What a comparison holds for."""

    device: torch.device
    dtype: torch.dtype
    taps: tuple[float, ...]
    c1: float
    """One of three values, see typical()."""
    c2: float
    scales: bool
    """Whether there are several."""
    rectify: bool
    gradients: int
    dense: tuple[bool, bool]
    """Whether the pixels of a row are neighbours in memory, for each image."""
    cut: Any


def typical(constant: float, default: float) -> float:
    """A constant that has the same effect on the machine code: 0, too small for float32, or the default."""
    return 0.0 if constant == 0 else default if constant >= default / 4 else default / 100


def errors(kernels: CheckedKernels, kind: Kind, pooling: multiscale.Pooling) -> tuple[float, float]:
    """The largest error of value and terms, and of the gradients relative to their largest entries."""
    levels = 2 if kind.scales else 1
    pooling = pooling._replace(weights=(1 / levels,) * levels)
    unit = 128.0 if kind.dtype == torch.uint8 else 1.0
    params = kind.taps, kind.c1 * unit**2, kind.c2 * unit**2, unit
    x, y = _pair(kind, levels, unit)
    expected = _by_plain_pytorch(x, y, params, pooling, kind.gradients)
    found = _by_kernels(kernels, kind, x, y, params, pooling)
    values = [_largest(ours.cpu().double() - exact) for ours, exact in zip(found[:2], expected[:2], strict=True)]
    grads = [
        _largest(ours.cpu().double() - exact) / _largest(exact)
        for ours, exact in zip(found[2:], expected[2:], strict=True)
    ]
    return _worst(values), _worst(grads)


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max())


def _worst(errors: list[float]) -> float:
    """The largest error; NaN if one is NaN."""
    return max(errors, key=lambda error: (error != error, error), default=0.0)


def _pair(kind: Kind, levels: int, unit: float) -> tuple[Tensor, Tensor]:
    """Two planes with odd sides, on the CPU; the second is a negative with rectified covariances, which must cut it.

    Every covariance is far from zero, so that rounding decides no sign.
    """
    height = (len(kind.taps) * 2 ** (levels - 1) + 100) | 1
    width = height + 180  # so that any plan cuts the finest scale of a plane into several programs
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((2, 1, 2, height, width), generator=generator, dtype=torch.float64, device="cpu")
    rows, columns = torch.arange(height, device="cpu")[:, None], torch.arange(width, device="cpu")
    x = 0.5 + 0.2 * torch.sin(rows / 17) * torch.cos(columns / 23) + 0.25 * (noise[0] - 0.5)
    y = 0.8 * x + 0.08 + 0.04 * noise[1]
    if kind.rectify:
        y[:, 1] = 1 - y[:, 1]
    images = []
    for image, dense in zip((x, y), kind.dense, strict=True):
        values = image * unit if kind.dtype.is_floating_point else (image * unit).round()
        memory = torch.contiguous_format if dense else torch.channels_last
        images.append(values.to(kind.dtype).contiguous(memory_format=memory))
    return images[0], images[1]


_Params = tuple[tuple[float, ...], Constant, Constant, Constant]


def _by_plain_pytorch(
    x: Tensor, y: Tensor, params: _Params, pooling: multiscale.Pooling, gradients: int
) -> list[Tensor]:
    """[value, terms, gradient...] in float64 on the CPU."""
    images = [
        image.to(torch.float64, copy=True).requires_grad_(which < gradients) for which, image in enumerate((x, y))
    ]
    taps, c1, c2, unit = params
    names: Any = {"taps": (taps,) * 2, "c1": c1, "c2": c2, "unit": unit}
    with torch.enable_grad():
        exact = pooling._replace(dtype=torch.float64)
        results = multiscale.index(torch_backend.pyramid_means, images[0], images[1], exact, **names)
        grads = torch.autograd.grad(results[0].sum(), images[:gradients]) if gradients else ()
    return [each.detach() for each in (*results, *grads)]


def _by_kernels(
    kernels: CheckedKernels, kind: Kind, x: Tensor, y: Tensor, params: _Params, pooling: multiscale.Pooling
) -> list[Tensor]:
    """The same by the machine code for the kind, on its device.

    The gradient is multiplied by a power of two, about the number of pixels, so that float16 does not round it twice.
    """
    taps, c1, c2, unit = params
    x, y = x.to(kind.device), y.to(kind.device)
    levels, rectify = multiscale.terms_options(pooling)
    needs = kind.gradients > 0, kind.gradients > 1
    call: Any = (x, y, taps, c1, c2, unit, levels, rectify, *needs, kind.cut)
    terms, *scale_grads = kernels.means_and_gradients(*call)
    pooling = pooling._replace(dtype=compute_dtype(kind.dtype))
    value, dvalue_dterms = kernels.pool(terms, pooling, kind.gradients > 0)
    factor = 2.0 ** (x.numel().bit_length() - 1)
    upstream = torch.full_like(value, factor)
    size: Any = (*x.shape[-2:], levels, len(taps) - 1, unit, kind.dtype)
    grads = [
        kernels.gradient(upstream, dvalue_dterms, stored, *size).double() / factor
        for stored in scale_grads[: kind.gradients]
    ]
    return [value, terms, *grads]
