"""The checks of all arguments. An error names the argument, what it must be and what it is."""

import numbers
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from . import _dispatch, advice, axes, backends, multiscale, window
from ._types import Downsample, MaskMode, Padding, Reduction, Small, Window
from .window import WindowOptions

REDUCTIONS: tuple[Reduction, ...] = ("mean", "none", "sum")
SMALL: tuple[Small, ...] = ("raise", "fewer")
DOWNSAMPLE: tuple[Downsample, ...] = (None, "auto")
WINDOWS: tuple[Window, ...] = ("gaussian", "uniform")
PADDING: tuple[Padding, ...] = ("valid", "zeros", "reflect", "replicate", "symmetric")
MASK_MODES: tuple[MaskMode, ...] = ("normalized", "inside")

Checked: TypeAlias = tuple[float | None, WindowOptions]
"""The data_range and other options, with Python's own numbers."""

_MIN_NUMBER, _MAX_NUMBER, _MAX_K = window.MIN_RANGE, window.MAX_RANGE, 1000
# The gradient grows with the weight; with this one float32 still holds it at the smallest denominators.
_MAX_WEIGHT = 1e10
_MAX_FLOAT = sys.float_info.max
POSITIVE = f"a positive number ({_MIN_NUMBER:g} to {_MAX_NUMBER:g})"
_NOT_NEGATIVE = f"a number from 0 to {_MAX_K}"


def images(img1: Tensor, img2: Tensor, spatial_dims: int = 2) -> None:
    """Check the layout, shape, device and dtype of the images."""
    for name, image in (("img1", img1), ("img2", img2)):
        if not isinstance(image, torch.Tensor):
            kind = f"{type(image).__module__}.{type(image).__name__}"
            raise TypeError(f"{name} must be a torch.Tensor, got {kind}{_advice_to_convert(image)}")
        if image.layout != torch.strided or image.is_nested or image.is_quantized:
            kind = "quantized" if image.is_quantized else "nested" if image.is_nested else image.layout
            raise TypeError(f"{name} must be a dense tensor, got one of layout {kind}")
        if image.is_complex():
            raise TypeError(f"{name} must have real values, got {image.dtype}; compare abs() or the two parts")
    if img1.shape != img2.shape:
        raise ValueError(
            f"img1 and img2 must have the same shape, got {tuple(img1.shape)} and {tuple(img2.shape)}; "
            + _advice_on_shapes(img1.shape, img2.shape)
        )
    axes.shape(img1.shape, spatial_dims)
    if 0 in img1.shape:
        raise ValueError(f"img1 must have at least one pixel, got shape {tuple(img1.shape)}")
    if img1.dtype != img2.dtype:
        different_dtypes(img1.dtype, img2.dtype)
    if img1.device != img2.device:
        raise ValueError(f"img1 and img2 must be on the same device, got {img1.device} and {img2.device}")


def different_dtypes(dtype1: torch.dtype, dtype2: torch.dtype) -> None:
    """Check two different dtypes: integer and floating-point images have different ranges."""
    if dtype1.is_floating_point and dtype2.is_floating_point:
        return
    hint = "convert one to the dtype and range of the other"
    if dtype1.is_floating_point or dtype2.is_floating_point:
        name, integer = ("img2", dtype2) if dtype1.is_floating_point else ("img1", dtype1)
        width = window.range_of_dtype(integer)
        if integer == torch.bool:
            hint = f"pass {name}.float()"
        elif width:
            hint = f"their ranges differ: pass {name} / {width:g} if the other image is in [0, 1]"
    raise TypeError(
        f"img1 and img2 must have the same dtype or both be floating point, got {dtype1} and {dtype2}; {hint}"
    )


def _advice_to_convert(image: Any) -> str:
    """How to make a tensor from a NumPy array or a PIL image."""
    module, shape = type(image).__module__.partition(".")[0], getattr(image, "shape", None)
    if module == "PIL":
        source, shape = "numpy.array(a)", (*image.size, len(image.getbands()))
        shape = shape if shape[-1] > 1 else shape[:2]
    elif module == "numpy" and isinstance(shape, tuple):
        source = "a"
    else:
        return ""
    permute = f".{advice.PERMUTE[len(shape)]}" if advice.channels_last(shape) else ""
    return f"; pass torch.from_numpy({source}){permute}"


def _advice_on_shapes(shape1: torch.Size, shape2: torch.Size) -> str:
    for name, last, first in (("img1", shape1, shape2), ("img2", shape2, shape1)):
        moved = (*last[:-3], *last[-1:], *last[-3:-1])
        if len(last) in advice.PERMUTE and moved == tuple(first) and last[-1] <= 4:
            return f"channels come before height and width: pass {name}.{advice.PERMUTE[len(last)]}"
    return "images are not broadcast: expand() one to the shape of the other if that is what you mean"


def one_of(name: str, value: object, allowed: Sequence[object]) -> None:
    """Check that an option has one of its values."""
    # Only strings are compared by value: 1 == True, and the comparison with an array has no truth value.
    if not (value in allowed if isinstance(value, str) else any(value is each for each in allowed)):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def ssim_options(
    data_range: Any, win_size: Any, sigma: Any, K1: Any, K2: Any, window: Any, sample_covariance: Any, padding: Any,
    mask_mode: Any, downsample: Any, spatial_dims: Any, reduction: Any, backend: Any,
) -> Checked:  # fmt: skip
    """Check the options of ssim() that do not depend on the images; returns those of the window."""
    scalars = _scalars(data_range, win_size, sigma, K1, K2)
    checked = _ssim_values(*scalars, window, sample_covariance, padding, mask_mode, downsample, spatial_dims, reduction)
    _backend(backend)
    return checked


def msssim_options(
    data_range: Any, normalize: Any, weights: Any, method: Any, channels: Any, win_size: Any, sigma: Any, K1: Any,
    K2: Any, small: Any, spatial_dims: Any, reduction: Any, backend: Any,
) -> tuple[tuple[float, ...], Checked]:  # fmt: skip
    """Check the options of msssim() that do not depend on the images; returns the weights and those of the window."""
    types = tuple(map(type, weights)) if type(weights) is tuple else ()  # for the cache: (True,) == (1,)
    scalars = _scalars(data_range, win_size, sigma, K1, K2)
    checked = _msssim_values(*scalars, normalize, weights, types, method, channels, small, spatial_dims, reduction)
    _backend(backend)
    return checked


@_dispatch.cached_when_eager
def _ssim_values(
    data_range: Any, win_size: Any, sigma: Any, K1: Any, K2: Any, window: Any, sample_covariance: Any, padding: Any,
    mask_mode: Any, downsample: Any, spatial_dims: Any, reduction: Any,
) -> Checked:  # fmt: skip
    one_of("window", window, WINDOWS)
    spatial_dims = axes.number(spatial_dims)
    data_range, win_size, sigma, K1, K2 = _window(
        data_range, win_size, sigma, K1, K2, spatial_dims, optional_sigma=True
    )
    if window == "uniform" and sigma is not None:
        raise ValueError(f'sigma must be None with window="uniform", which has no standard deviation, got {sigma!r}')
    one_of("sample_covariance", sample_covariance, (True, False))
    one_of("padding", padding, PADDING)
    one_of("mask_mode", mask_mode, MASK_MODES)
    one_of("downsample", downsample, DOWNSAMPLE)
    one_of("reduction", reduction, REDUCTIONS)
    return data_range, WindowOptions(win_size, sigma, K1, K2, window, sample_covariance, padding, spatial_dims)


@_dispatch.cached_when_eager
def _msssim_values(
    data_range: Any, win_size: Any, sigma: Any, K1: Any, K2: Any, normalize: Any, weights: Any,
    types: tuple[type, ...], method: Any, channels: Any, small: Any, spatial_dims: Any, reduction: Any,
) -> tuple[tuple[float, ...], Checked]:  # fmt: skip
    spatial_dims = axes.number(spatial_dims)
    data_range, win_size, sigma, K1, K2 = _window(data_range, win_size, sigma, K1, K2, spatial_dims)
    one_of("normalize", normalize, (*multiscale.NORMALIZE, True, False))
    one_of("method", method, multiscale.METHODS)
    one_of("channels", channels, multiscale.CHANNELS)
    one_of("small", small, SMALL)
    one_of("reduction", reduction, REDUCTIONS)
    return _as_floats(weights), (data_range, WindowOptions(win_size, sigma, K1, K2, spatial_dims=spatial_dims))


def full(value: Any) -> None:
    """Check what is not False."""
    if isinstance(value, str) and value != "weights":
        raise ValueError(f"full must be False, True or 'weights', got {value!r}")


def _as_floats(weights: Any) -> tuple[float, ...]:
    """The weights as a tuple of floats, from a tuple, list, array or tensor."""
    if getattr(weights, "requires_grad", False):
        raise ValueError("weights must be numbers without a gradient, got requires_grad=True")
    values = weights.tolist() if hasattr(weights, "tolist") else weights
    if not (
        isinstance(values, (tuple, list))
        and values
        and all(_is_number(each) and 0 < each <= _MAX_WEIGHT for each in values)
    ):
        raise ValueError(
            f"weights must be one positive number for each scale, at most {_MAX_WEIGHT:g}, got {weights!r}"
        )
    return tuple(float(each) for each in values)


def _backend(name: Any) -> None:
    if name == "auto":
        return
    one_of("backend", name, ("auto", *backends.BACKENDS))
    command = backends.missing(name)
    if command:
        raise ImportError(f'backend="{name}" needs a package that is not installed: {command}')


def _window(
    data_range: Any, win_size: Any, sigma: Any, K1: Any, K2: Any, spatial_dims: int, optional_sigma: bool = False
) -> tuple[Any, Any, Any, Any, Any]:
    """The five options as Python's own numbers; those of NumPy could overflow later."""
    if data_range is not None:
        data_range = _between("data_range", data_range, _MIN_NUMBER, _MAX_NUMBER, POSITIVE + " or None")
    if sigma is not None or not optional_sigma:
        described = POSITIVE + " or None" if optional_sigma else POSITIVE
        sigmas = axes.of_each("sigma", sigma, spatial_dims, "a positive number")
        found = [_between("sigma", each, _MIN_NUMBER, _MAX_NUMBER, described, sigma) for each in sigmas or (sigma,)]
        sigma = found[0] if sigmas is None else tuple(found)
    sizes = axes.of_each("win_size", win_size, spatial_dims, "an odd integer >= 3")
    size = _odd(win_size, win_size) if sizes is None else tuple(_odd(each, win_size) for each in sizes)
    K1, K2 = (_between(name, value, 0, _MAX_K, _NOT_NEGATIVE) for name, value in (("K1", K1), ("K2", K2)))
    return data_range, size, sigma, K1, K2


def _odd(win_size: Any, given: Any) -> int:
    if not isinstance(win_size, numbers.Integral) or win_size < 3 or win_size % 2 == 0:
        raise ValueError(f"win_size must be an odd integer >= 3, got {given!r}")
    size: Any = win_size
    return size if type(size) is int else int(size)


def _between(name: str, value: Any, minimum: float, maximum: float, description: str, given: Any = None) -> Any:
    number = value if type(value) in (float, int) or not _is_number(value) else float(value)
    if not (_is_number(number) and minimum <= number <= maximum):
        shown = value if given is None else given
        raise ValueError(f"{name} must be {description}, got {shown!r}{_advice_on_range(name, value)}")
    return number


def _advice_on_range(name: str, value: Any) -> str:
    """The number to pass instead of a data_range of (minimum, maximum)."""
    pair = name == "data_range" and isinstance(value, (tuple, list)) and len(value) == 2
    return f"; pass its width, {value[1] - value[0]:g}" if pair and all(map(_is_number, value)) else ""


def _scalars(data_range: Any, win_size: Any, sigma: Any, K1: Any, K2: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The five options without tensors and arrays, which may change later and so cannot be cached."""
    values = data_range, win_size, sigma, K1, K2
    for value in values:
        if type(value) not in (float, int) and hasattr(value, "item"):
            names = "data_range", "win_size", "sigma", "K1", "K2"
            return tuple(_scalar(*each) for each in zip(names, values, strict=True))
    return values


def _scalar(name: str, value: Any) -> Any:
    """The number in a tensor or array of one element; other values unchanged."""
    if not hasattr(value, "item"):
        return value
    elements = value.numel() if isinstance(value, Tensor) else getattr(value, "size", 1)
    if elements > 1 and name in ("win_size", "sigma") and hasattr(value, "tolist"):
        return tuple(value.tolist())
    if elements != 1:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise ValueError(f"{name} must be one number, got a {kind} of shape {tuple(value.shape)}")
    return (value.detach() if isinstance(value, Tensor) else value).item()


def _is_number(value: Any) -> bool:
    # The concrete types first: isinstance() with an abstract class takes ten times as long.
    if type(value) not in (float, int):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        value = float(value)
    finite: bool = abs(value) <= _MAX_FLOAT  # bool() of a symbol stops torch.compile of PyTorch 2.6
    return finite
