"""Every error that bad input gets: it names the argument, says what came and what is wanted."""

import numbers
import sys
import warnings

import torch

from . import _dispatch, backends, multiscale, window

REDUCTIONS = ("mean", "none")
SMALL = ("raise", "fewer")
DOWNSAMPLE = (None, "auto")

# Wide of any image, and narrow enough that float32 holds C1 and C2 in units of data_range².
_LEAST, _LARGEST, _LARGEST_K = 1e-50, 1e50, 1000
_MOST = sys.float_info.max  # by a name of its own: early versions of torch.compile do not look into `sys`
_POSITIVE = f"a positive number ({_LEAST:g} to {_LARGEST:g})"
_NOT_NEGATIVE = f"a number from 0 to {_LARGEST_K}"


def images(img1, img2):
    """That the two are tensors of one shape, dtype and device, of 2, 3 or 4 dimensions and with real values."""
    for name, image in (("img1", img1), ("img2", img2)):
        if not isinstance(image, torch.Tensor):
            raise TypeError(f"{name}: a torch.Tensor is wanted, {type(image).__module__}.{type(image).__name__} came")
        if image.layout != torch.strided or image.is_nested or image.is_quantized:
            kind = "quantized" if image.is_quantized else "nested" if image.is_nested else image.layout
            raise TypeError(f"{name}: a dense tensor is wanted, a tensor of {kind} came")
        if image.is_complex():
            raise TypeError(f"{name}: real values are wanted, {image.dtype} came; compare abs() or the two parts")
    if img1.shape != img2.shape:
        raise ValueError(
            f"img2: the shape of img1, {tuple(img1.shape)}, is wanted, {tuple(img2.shape)} came; "
            "nothing is broadcast: expand() one to the shape of the other if that is meant"
        )
    if not 2 <= img1.dim() <= 4:
        raise ValueError(f"img1: (N, C, H, W), (C, H, W) or (H, W) is wanted, shape {tuple(img1.shape)} came")
    if 0 in img1.shape:
        raise ValueError(f"img1: at least one pixel is wanted, shape {tuple(img1.shape)} came")
    if img1.dtype != img2.dtype:
        raise TypeError(f"img2: the dtype of img1, {img1.dtype}, is wanted, {img2.dtype} came")
    if img1.device != img2.device:
        raise ValueError(f"img2: the device of img1, {img1.device}, is wanted, {img2.device} came")


def window_fits(win_size, height, width, levels=1):
    """That the coarsest scale holds the window, by the rule of msssim.m: min(H, W) / 2^(levels - 1) ≥ win_size."""
    least = win_size * 2 ** (levels - 1)
    if min(height, width) < least:
        if levels > 1 and min(height, width) >= win_size:
            advice = f'small="fewer" uses the {fitting_levels(win_size, height, width)} scales that fit'
        elif width <= 4 and height >= least:  # as of an image file
            advice = "channels come before height and width: permute() puts them there"
        else:
            advice = "a smaller win_size fits smaller images"
        scales = f" at {levels} scales" if levels > 1 else ""
        raise ValueError(
            f"img1: height and width of at least {least} are wanted for a window of {win_size}{scales}, "
            f"{height} × {width} came; {advice}"
        )


def fitting_levels(win_size, height, width):
    """How many scales hold the window (0 when not even the first does)."""
    return max(0, (min(height, width) // win_size).bit_length())


def one_of(name, value, allowed):
    """That an option has one of its values."""
    # 1 == True and 0 == False, and an array has no truth: only a string is compared by value.
    if not (value in allowed if isinstance(value, str) else any(value is each for each in allowed)):
        raise ValueError(f"{name}: one of {', '.join(map(repr, allowed))} is wanted, {value!r} came")


def ssim_options(data_range, win_size, sigma, K1, K2, downsample, reduction, backend):
    """The options of ssim(), whatever the images; gives the first five, as numbers of Python's."""
    numbers = _ssim_values(data_range, win_size, sigma, K1, K2, downsample, reduction)
    _backend(backend)
    return numbers


def msssim_options(data_range, normalize, weights, method, win_size, sigma, K1, K2, small, reduction, backend):
    """The options of msssim(), whatever the images; gives the weights, and the numbers that ssim_options() gives."""
    kinds = tuple(map(type, weights)) if type(weights) is tuple else ()  # True is no weight, and equal to one that is
    known = _msssim_values(data_range, normalize, weights, kinds, method, win_size, sigma, K1, K2, small, reduction)
    _backend(backend)
    return known


@_dispatch.remembered
def _ssim_values(data_range, win_size, sigma, K1, K2, downsample, reduction):
    numbers = _window(data_range, win_size, sigma, K1, K2)
    one_of("downsample", downsample, DOWNSAMPLE)
    one_of("reduction", reduction, REDUCTIONS)
    return numbers


@_dispatch.remembered
def _msssim_values(data_range, normalize, weights, kinds, method, win_size, sigma, K1, K2, small, reduction):
    numbers = _window(data_range, win_size, sigma, K1, K2)
    one_of("normalize", normalize, (*multiscale.NORMALIZE, True, False))
    one_of("method", method, multiscale.METHODS)
    one_of("small", small, SMALL)
    one_of("reduction", reduction, REDUCTIONS)
    return _weights_known(weights), numbers


def _weights_known(weights):
    """The weights as a tuple of floats, from a tuple, a list, an array or a tensor."""
    if getattr(weights, "requires_grad", False):
        raise ValueError("weights: numbers are wanted, for no gradient reaches them; requires_grad=True came")
    values = weights.tolist() if hasattr(weights, "tolist") else weights
    if not (isinstance(values, (tuple, list)) and values and all(_number(each) and each > 0 for each in values)) or (
        not sum(map(float, values)) < float("inf")
    ):
        raise ValueError(f"weights: one positive number for each scale is wanted, {weights!r} came")
    return tuple(float(each) for each in values)


def range_known(data_range, dtype):
    """The data_range to use: the one given, or the one that the dtype implies."""
    data_range = window.range_of_dtype(dtype) if data_range is None else data_range
    if data_range is None:
        raise ValueError(f"data_range: needed for images of {dtype}, whose range is not a convention; None came")
    return float(data_range)


def range_plausible(img1, img2, data_range):
    """One warning when both images plainly exceed data_range, the classic being 0..255 in floats with a range of 1.

    At most 64 pixels of the first plane are looked at, and on a CPU alone: elsewhere a look would make the device wait.
    """
    if img1.device.type != "cpu" or not img1.is_floating_point() or torch.compiler.is_compiling():
        return
    try:
        # Most pairs are cleared by a look at the first: the second is not looked at then.
        spread = _sampled_spread(img1)
        if spread > 1.5 * data_range:
            spread = min(spread, _sampled_spread(img2))
    except (RuntimeError, AssertionError):  # of torch.func.vmap, or fake: it has no values to look at
        return
    if spread > 1.5 * data_range:
        warnings.warn(
            f"data_range: the images hold values at least {spread:.4g} apart, but data_range is {data_range:g}"
            " (floating-point images: 1 unless given); pass the range they have, such as data_range=255,"
            " or 2 for images in [-1, 1]",
            UserWarning,
            stacklevel=_level_of_caller(),
        )


def _level_of_caller():
    """The stacklevel of the first line outside the library and torch, whose frames a module is called through."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith((f"{__package__}.", "torch.")):
        frame, level = frame.f_back, level + 1
    return level


def _sampled_spread(image):
    sizes, strides = [], []
    for size, stride in zip(image.shape[-2:], image.stride()[-2:], strict=True):
        step = -(-size // 8)
        sizes.append(-(-size // step))
        strides.append(step * stride)
    rows = image.detach().as_strided(sizes, strides, image.storage_offset()).tolist()
    return max(map(max, rows)) - min(map(min, rows))


def _backend(name):
    if name == "auto":
        return
    one_of("backend", name, ("auto", *backends.BACKENDS))
    command = backends.missing(name)
    if command:
        raise ImportError(f"backend: {name!r} needs a package that is missing: {command}")


def _window(data_range, win_size, sigma, K1, K2):
    """The five as numbers of Python's: those of NumPy overflow and wrap around where these do not."""
    if data_range is not None:
        data_range = _between("data_range", data_range, _LEAST, _LARGEST, _POSITIVE + " or None")
    sigma = _between("sigma", sigma, _LEAST, _LARGEST, _POSITIVE)
    if not isinstance(win_size, numbers.Integral) or win_size < 3 or win_size % 2 == 0:
        raise ValueError(f"win_size: an odd integer of at least 3 is wanted, {win_size!r} came")
    K1, K2 = (_between(name, value, 0, _LARGEST_K, _NOT_NEGATIVE) for name, value in (("K1", K1), ("K2", K2)))
    return data_range, win_size if type(win_size) is int else int(win_size), sigma, K1, K2


def _between(name, value, least, most, wanted):
    number = value if type(value) in (float, int) or not _number(value) else float(value)
    if not (_number(number) and least <= number <= most):
        raise ValueError(f"{name}: {wanted} is wanted, {value!r} came")
    return number


def _number(value):
    # The types first: an abstract class takes ten times as long to ask.
    if type(value) not in (float, int):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        value = float(value)
    return abs(value) <= _MOST
