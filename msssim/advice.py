"""Warnings about calls that return a number, but probably not the one that the caller means.

Their texts hold no pixel values, so that Python's default filter shows each of them once for a line of code.
"""

import sys
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from . import _dispatch

# How to move channels from the last axis to where they belong, by the number of axes.
PERMUTE = {3: "permute(2, 0, 1)", 4: "permute(0, 3, 1, 2)"}

# The number of pixels to read, along a diagonal of the first plane: enough for gross errors, in microseconds.
_SAMPLES = 32

# A data_range of at least this is that of integer images: pixels within [-1, 1] contradict it.
_INTEGER_RANGE = 100

# If one image is in [0, 1], the other has a different range if it has no negative value and one above this.
_FAR_ABOVE_ONE = 16


def warn_if_out_of_range(
    img1: Tensor, img2: Tensor, data_range: float, given: bool, mask: Tensor | None = None, spatial_dims: int = 2
) -> None:
    """Warn if samples of the images clearly contradict data_range. On a CPU only: a GPU would have to synchronize.

    There is a warning if

    - both floating-point images span more than 1.5 data_range;
    - one floating-point image has all samples in [0, 1], not all of them 0 or 1, and the other no negative sample and
      one above 16;
    - data_range is at least 100, and both floating-point images have all samples in [-1, 1], not all of them integers;
    - an integer image spans more than 1.5 times a data_range that was given;
    - uint16 images without a data_range have all samples at or below 4095, and one above 16.

    A dark image in the right range meets none of these conditions but the last: pass data_range=65535 there.

    Parameters
    ----------
    img1, img2 : Tensor
        The images.
    data_range : float
        The range that the call uses.
    given : bool
        Whether the caller passed it; otherwise the dtype implies it.
    mask : Tensor, optional
        The weights of the pixels: those without weight are not sampled.
    """
    if img1.device.type != "cpu" or torch.compiler.is_compiling():
        return
    floating = img1.is_floating_point()
    if not floating and not given and img1.dtype != torch.uint16:
        return
    try:
        samples = _samples(img1, spatial_dims), _samples(img2, spatial_dims)
        if mask is not None:
            weights = _samples(mask, spatial_dims)
            samples = _with_weight(samples[0], weights), _with_weight(samples[1], weights)
            if not samples[0]:
                return
    except (RuntimeError, AssertionError):  # a tensor of torch.func.vmap, or a fake one: it has no values
        return
    check = _floating if floating else _integers if given else _uint16
    text = check(*samples, data_range)
    if text:
        _warn(f"data_range is {data_range:g}{'' if given else f', that of {img1.dtype}'}, but {text}")


def _floating(samples1: list[float], samples2: list[float], data_range: float) -> str | None:
    low1, high1, low2, high2 = min(samples1), max(samples1), min(samples2), max(samples2)
    limit = 1.5 * data_range
    if high1 - low1 > limit and high2 - low2 > limit:
        return (
            "the images span more than that; pass their own range, such as data_range=255, or 2 for images in [-1, 1]"
        )
    if high1 > _FAR_ABOVE_ONE or high2 > _FAR_ABOVE_ONE:
        name, small = ("img1", samples1) if high1 <= 1 else ("img2", samples2)
        if low1 >= 0 and low2 >= 0 and (high1 <= 1 or high2 <= 1) and not _all_integers(small):
            return f"{name} holds values in [0, 1] and the other image values far above 1; divide the other by 255"
    elif data_range >= _INTEGER_RANGE and low1 >= -1 and low2 >= -1 and high1 <= 1 and high2 <= 1:
        integers = _all_integers(samples1) and _all_integers(samples2)
        text = "the images hold values in [-1, 1]; pass data_range=1 for images in [0, 1], 2 for images in [-1, 1]"
        return None if integers else text
    return None


def _all_integers(samples: list[float]) -> bool:
    return all(value == int(value) for value in samples)


def _integers(samples1: list[float], samples2: list[float], data_range: float) -> str | None:
    if max(max(samples) - min(samples) for samples in (samples1, samples2)) > 1.5 * data_range:
        return "the integer images span more than that; leave it out for uint8 (255) and uint16 (65535)"
    return None


def _uint16(samples1: list[float], samples2: list[float], data_range: float) -> str | None:
    if _FAR_ABOVE_ONE < max(max(samples1), max(samples2)) <= 4095:
        return (
            "no sampled value is above 4095; pass data_range=4095 for 12-bit images, or data_range=65535 for dark "
            "16-bit images"
        )
    return None


def _samples(image: Tensor, spatial_dims: int) -> list[float]:
    lengths, strides = image.shape[-spatial_dims:], image.stride()[-spatial_dims:]
    count = min(_SAMPLES, *lengths)
    step = sum(length // count * stride for length, stride in zip(lengths, strides, strict=True))
    if image.requires_grad:
        image = image.detach()
    samples: list[float] = image.as_strided((count,), (step,), image.storage_offset()).tolist()
    return samples


def _with_weight(samples: list[float], weights: list[float]) -> list[float]:
    """The samples of the first plane whose pixels have weight."""
    return [sample for sample, weight in zip(samples, weights, strict=True) if weight > 0]


def warn_if_nan(value: Tensor, terms: Tensor) -> None:
    """Warn if MS-SSIM is NaN because of a negative term. In eager mode on a CPU only: nothing synchronizes there."""
    if value.device.type != "cpu" or not _dispatch.is_plain_eager():
        return
    # Only NaN differs from itself.
    if (value.item() == value.item()) if value.dim() == 0 else all(each == each for each in value.tolist()):
        return
    if (terms.detach() < 0).any():
        _warn(
            "MS-SSIM is NaN, and so is its gradient: the mean of cs is negative at a scale, and its power is not a "
            'real number. This is common early in training; pass normalize="covariance" for a loss'
        )


def warn_if_without_weight(has_index: Tensor) -> None:
    """Warn if a plane has no pixel with weight at some scale. In eager mode on a CPU only: nothing synchronizes."""
    if has_index.device.type == "cpu" and _dispatch.is_plain_eager() and not has_index.all():
        _warn(
            "the mask leaves a plane without weight at some scale: it has no index, the mean is over the others, and "
            "it is NaN if there is no other"
        )


def channels_last(shape: Sequence[int]) -> bool:
    """Whether the last axis is probably the channels: at most 4 long, and the two before it much longer."""
    return len(shape) in PERMUTE and shape[-1] <= 4 and min(shape[-3:-1]) >= 4 * shape[-1]


def warn_if_channels_last(shape: Sequence[int]) -> None:
    """Warn if the channels are probably last; only windows of at most 4 pixels fit such images."""
    if channels_last(shape) and not torch.compiler.is_compiling():
        _warn(
            f"img1 of shape {tuple(shape)} is {shape[-1]} pixels wide; if these are channels, they come before height "
            f"and width: pass img1.{PERMUTE[len(shape)]}, and img2 likewise"
        )


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=_caller_stacklevel())


def _caller_stacklevel() -> int:
    """The stacklevel of the first line outside this library and torch."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith((f"{__package__}.", "torch.")):
        frame, level = frame.f_back, level + 1
    return level
