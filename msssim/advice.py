"""Warnings about calls that compute a number, and probably not the one that is meant.

Their texts hold no pixel values, so that Python's default filter shows each of them once for a line of code.
"""

import sys
import warnings

import torch

from . import _dispatch

# How to move the last axis to where channels are, by the number of axes.
PERMUTE = {3: "permute(2, 0, 1)", 4: "permute(0, 3, 1, 2)"}

# Pixels of an image that are looked at, along a diagonal of its first plane: enough for gross errors, and microseconds.
_SAMPLES = 32

# A data_range from here on is that of integers, and pixels within [-1, 1] are not.
_RANGE_OF_INTEGERS = 100

# Where one image is in [0, 1], the other has another range if it has no negative values and one above this.
_FAR_ABOVE_ONE = 16


def about_range(img1, img2, data_range, given):
    """Warn where samples of the images plainly contradict data_range. Only on a CPU: a GPU would have to wait.

    A warning is given where

    - both floating-point images span more than 1.5 data_range;
    - one floating-point image has all samples in [0, 1], not all of them 0 or 1, and the other no negative sample and
      one above 16;
    - data_range is at least 100, and both floating-point images have all samples in [-1, 1], not all of them integers;
    - an integer image spans more than 1.5 times a data_range that was given;
    - uint16 images without a data_range have all samples at or below 4095, and one above 16.

    A dark image in the right range meets none of the conditions, with the exception of the last: there data_range=65535
    says that it is meant.

    Parameters
    ----------
    img1, img2 : Tensor
        The images.
    data_range : float
        The range that is used.
    given : bool
        Whether it was passed, not implied by the dtype.
    """
    if img1.device.type != "cpu" or torch.compiler.is_compiling():
        return
    floating = img1.is_floating_point()
    if not floating and not given and img1.dtype != torch.uint16:
        return
    try:
        samples = _samples(img1), _samples(img2)
    except (RuntimeError, AssertionError):  # of torch.func.vmap, or fake: it has no values to look at
        return
    check = _floating if floating else _integers if given else _uint16
    text = check(*samples, data_range)
    if text:
        _warn(f"data_range is {data_range:g}{'' if given else f', that of {img1.dtype}'}, but {text}")


def _floating(samples1, samples2, data_range):
    low1, high1, low2, high2 = min(samples1), max(samples1), min(samples2), max(samples2)
    most = 1.5 * data_range
    if high1 - low1 > most and high2 - low2 > most:
        return (
            "the images span more than that; pass the range they have, such as data_range=255, or 2 for images in "
            "[-1, 1]"
        )
    if high1 > _FAR_ABOVE_ONE or high2 > _FAR_ABOVE_ONE:
        name, small = ("img1", samples1) if high1 <= 1 else ("img2", samples2)
        if low1 >= 0 and low2 >= 0 and (high1 <= 1 or high2 <= 1) and not _whole(small):
            return f"{name} holds values in [0, 1] and the other image values far above; divide that one, as by 255"
    elif data_range >= _RANGE_OF_INTEGERS and low1 >= -1 and low2 >= -1 and high1 <= 1 and high2 <= 1:
        whole = _whole(samples1) and _whole(samples2)
        text = "the images hold values in [-1, 1]; pass data_range=1 for images in [0, 1], 2 for images in [-1, 1]"
        return None if whole else text
    return None


def _whole(samples):
    return all(value == int(value) for value in samples)


def _integers(samples1, samples2, data_range):
    if max(max(samples) - min(samples) for samples in (samples1, samples2)) > 1.5 * data_range:
        return "the integer images span more than that; leave it out for uint8 (255) and uint16 (65535)"
    return None


def _uint16(samples1, samples2, data_range):
    if _FAR_ABOVE_ONE < max(max(samples1), max(samples2)) <= 4095:
        return (
            "no sampled value is above 4095; pass data_range=4095 for 12-bit images, or data_range=65535 if they are "
            "only dark"
        )
    return None


def _samples(image):
    height, width = image.shape[-2:]
    down, right = image.stride()[-2:]
    count = min(_SAMPLES, height, width)
    step = height // count * down + width // count * right
    if image.requires_grad:
        image = image.detach()
    return image.as_strided((count,), (step,), image.storage_offset()).tolist()


def about_nan(value, terms):
    """Warn where MS-SSIM is NaN because of a negative scale. Only on a CPU in eager mode: nothing waits there."""
    if value.device.type != "cpu" or not _dispatch.at_once():
        return
    # NaN alone differs from itself.
    if (value.item() == value.item()) if value.dim() == 0 else all(each == each for each in value.tolist()):
        return
    if (terms.detach() < 0).any():
        _warn(
            "MS-SSIM is NaN, and its gradient too: the mean of cs is negative at a scale, and its power is no real "
            'number. This is common early in training; pass normalize="covariance" for a loss'
        )


def channels_last(shape):
    """Whether the last axis looks like that of channels: at most 4 long, and the two before it much longer."""
    return len(shape) in PERMUTE and shape[-1] <= 4 and min(shape[-3:-1]) >= 4 * shape[-1]


def about_layout(shape):
    """Warn where images seem to have their channels last, and the window fits all the same."""
    if channels_last(shape) and not torch.compiler.is_compiling():
        _warn(
            f"img1 of shape {tuple(shape)} is {shape[-1]} pixels wide; if these are channels, they come before height "
            f"and width: pass img1.{PERMUTE[len(shape)]}, and img2 alike"
        )


def _warn(text):
    warnings.warn(text, UserWarning, stacklevel=_level_of_caller())


def _level_of_caller():
    """The stacklevel of the first line outside the library and torch, whose frames a module is called through."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith((f"{__package__}.", "torch.")):
        frame, level = frame.f_back, level + 1
    return level
