"""Every error that bad input gets: it names the argument, what it must be and what it is."""

import numbers
import sys

import torch

from . import _dispatch, advice, backends, multiscale, window

REDUCTIONS = ("mean", "none")
SMALL = ("raise", "fewer")
DOWNSAMPLE = (None, "auto")

# Wide of any image, and narrow enough that float32 holds C1 and C2 in units of data_range².
_LEAST, _LARGEST, _LARGEST_K = 1e-50, 1e50, 1000
# So that float32 holds the gradient, which grows with the weight, through the smallest denominators.
_LARGEST_WEIGHT = 1e10
_MOST = sys.float_info.max  # by a name of its own: early versions of torch.compile do not look into `sys`
_POSITIVE = f"a positive number ({_LEAST:g} to {_LARGEST:g})"
_NOT_NEGATIVE = f"a number from 0 to {_LARGEST_K}"


def images(img1, img2):
    """That the two are real tensors of one shape and device, and of one dtype or floating point both."""
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
    if not 2 <= img1.dim() <= 4:
        raise ValueError(f"img1 must have shape (N, C, H, W), (C, H, W) or (H, W), got {tuple(img1.shape)}")
    if 0 in img1.shape:
        raise ValueError(f"img1 must have at least one pixel, got shape {tuple(img1.shape)}")
    if img1.dtype != img2.dtype:
        _dtypes(img1.dtype, img2.dtype)
    if img1.device != img2.device:
        raise ValueError(f"img1 and img2 must be on the same device, got {img1.device} and {img2.device}")


def _dtypes(dtype1, dtype2):
    """That two different dtypes can be compared: an integer and a floating-point image have different ranges."""
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
    raise TypeError(f"img1 and img2 must have one dtype or be floating point both, got {dtype1} and {dtype2}; {hint}")


def _advice_to_convert(image):
    """How to make a tensor of a NumPy array or a PIL image."""
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


def _advice_on_shapes(shape1, shape2):
    for name, last, first in (("img1", shape1, shape2), ("img2", shape2, shape1)):
        moved = (*last[:-3], *last[-1:], *last[-3:-1])
        if len(last) in advice.PERMUTE and moved == tuple(first) and last[-1] <= 4:
            return f"channels come before height and width: pass {name}.{advice.PERMUTE[len(last)]}"
    return "nothing is broadcast: expand() one to the shape of the other if that is meant"


def window_fits(win_size, shape, levels=1, small="raise"):
    """That the coarsest scale holds the window, by the rule of msssim.m: min(H, W) / 2^(levels - 1) ≥ win_size."""
    height, width = shape[-2:]
    if min(height, width) >= win_size * 2 ** (levels - 1):
        if win_size <= 4:  # no larger window fits in an axis of channels
            advice.about_layout(shape)
        return
    fitting = fitting_levels(win_size, height, width)
    levels = 1 if small == "fewer" else levels
    if advice.channels_last(shape):
        hint = f"channels come before height and width: pass img1.{advice.PERMUTE[len(shape)]}, and img2 alike"
    elif fitting:
        hint = f'pass small="fewer" to use the {fitting} scales that fit, as for training crops'
    else:
        hint = "pass a smaller win_size for smaller images"
        if levels > 1:
            hint += f', and small="fewer": one scale needs {win_size} pixels'
    raise ValueError(
        f"img1 must be at least {win_size * 2 ** (levels - 1)} pixels high and wide for "
        f"{f'{levels} scales with ' if levels > 1 else ''}win_size={win_size}, got {height} × {width}; {hint}"
    )


def fitting_levels(win_size, height, width):
    """How many scales hold the window (0 when not even the first does)."""
    return max(0, (min(height, width) // win_size).bit_length())


def one_of(name, value, allowed):
    """That an option has one of its values."""
    # 1 == True and 0 == False, and an array has no truth: only a string is compared by value.
    if not (value in allowed if isinstance(value, str) else any(value is each for each in allowed)):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def ssim_options(data_range, win_size, sigma, K1, K2, downsample, reduction, backend):
    """The options of ssim(), whatever the images; gives the first five, as numbers of Python's."""
    numbers = _ssim_values(*_scalars(data_range, win_size, sigma, K1, K2), downsample, reduction)
    _backend(backend)
    return numbers


def msssim_options(data_range, normalize, weights, method, win_size, sigma, K1, K2, small, reduction, backend):
    """The options of msssim(), whatever the images; gives the weights, and the numbers that ssim_options() gives."""
    kinds = tuple(map(type, weights)) if type(weights) is tuple else ()  # True is no weight, and equal to one that is
    scalars = _scalars(data_range, win_size, sigma, K1, K2)
    known = _msssim_values(*scalars, normalize, weights, kinds, method, small, reduction)
    _backend(backend)
    return known


@_dispatch.remembered
def _ssim_values(data_range, win_size, sigma, K1, K2, downsample, reduction):
    numbers = _window(data_range, win_size, sigma, K1, K2)
    one_of("downsample", downsample, DOWNSAMPLE)
    one_of("reduction", reduction, REDUCTIONS)
    return numbers


@_dispatch.remembered
def _msssim_values(data_range, win_size, sigma, K1, K2, normalize, weights, kinds, method, small, reduction):
    numbers = _window(data_range, win_size, sigma, K1, K2)
    one_of("normalize", normalize, (*multiscale.NORMALIZE, True, False))
    one_of("method", method, multiscale.METHODS)
    one_of("small", small, SMALL)
    one_of("reduction", reduction, REDUCTIONS)
    return _weights_known(weights), numbers


def _weights_known(weights):
    """The weights as a tuple of floats, from a tuple, a list, an array or a tensor."""
    if getattr(weights, "requires_grad", False):
        raise ValueError("weights must be numbers, since no gradient reaches them, got requires_grad=True")
    values = weights.tolist() if hasattr(weights, "tolist") else weights
    if not (
        isinstance(values, (tuple, list))
        and values
        and all(_number(each) and 0 < each <= _LARGEST_WEIGHT for each in values)
    ):
        raise ValueError(
            f"weights must be one positive number for each scale, at most {_LARGEST_WEIGHT:g}, got {weights!r}"
        )
    return tuple(float(each) for each in values)


def range_known(data_range, dtype):
    """The data_range to use: the one given, or the one that the dtype implies."""
    data_range = window.range_of_dtype(dtype) if data_range is None else data_range
    if data_range is None:
        raise ValueError(f"data_range must be given for images of {dtype}, whose range is not a convention, got None")
    return float(data_range)


def _backend(name):
    if name == "auto":
        return
    one_of("backend", name, ("auto", *backends.BACKENDS))
    command = backends.missing(name)
    if command:
        raise ImportError(f'backend="{name}" needs a package that is missing: {command}')


def _window(data_range, win_size, sigma, K1, K2):
    """The five as numbers of Python's: those of NumPy overflow and wrap around where these do not."""
    if data_range is not None:
        data_range = _between("data_range", data_range, _LEAST, _LARGEST, _POSITIVE + " or None")
    sigma = _between("sigma", sigma, _LEAST, _LARGEST, _POSITIVE)
    if not isinstance(win_size, numbers.Integral) or win_size < 3 or win_size % 2 == 0:
        raise ValueError(f"win_size must be an odd integer >= 3, got {win_size!r}")
    K1, K2 = (_between(name, value, 0, _LARGEST_K, _NOT_NEGATIVE) for name, value in (("K1", K1), ("K2", K2)))
    return data_range, win_size if type(win_size) is int else int(win_size), sigma, K1, K2


def _between(name, value, least, most, wanted):
    number = value if type(value) in (float, int) or not _number(value) else float(value)
    if not (_number(number) and least <= number <= most):
        raise ValueError(f"{name} must be {wanted}, got {value!r}{_advice_on_range(name, value)}")
    return number


def _advice_on_range(name, value):
    """The width to pass where data_range is given as (least, largest), as in scikit-image and others."""
    pair = name == "data_range" and isinstance(value, (tuple, list)) and len(value) == 2
    return f"; pass its width, {value[1] - value[0]:g}" if pair and all(map(_number, value)) else ""


def _scalars(data_range, win_size, sigma, K1, K2):
    """The five without tensors and arrays, before they reach a cache: these may change under the same name."""
    values = data_range, win_size, sigma, K1, K2
    for value in values:
        if type(value) not in (float, int) and hasattr(value, "item"):
            names = "data_range", "win_size", "sigma", "K1", "K2"
            return [_scalar(*each) for each in zip(names, values, strict=True)]
    return values


def _scalar(name, value):
    """The number in a tensor or array of one element, without its gradient; whatever else as it is."""
    if not hasattr(value, "item"):
        return value
    elements = value.numel() if isinstance(value, torch.Tensor) else getattr(value, "size", 1)
    if elements != 1:
        kind = f"{type(value).__module__}.{type(value).__name__}"
        raise ValueError(f"{name} must be one number, got a {kind} of {elements}")
    return (value.detach() if isinstance(value, torch.Tensor) else value).item()


def _number(value):
    # The types first: an abstract class takes ten times as long to ask.
    if type(value) not in (float, int):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        value = float(value)
    return abs(value) <= _MOST
