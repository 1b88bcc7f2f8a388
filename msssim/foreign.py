"""Errors for keywords of other packages, which name the option of this one."""

from collections.abc import Mapping
from typing import NoReturn

_DATA_RANGE = "pass data_range, the width of the range: 255 for images in 0..255, 2 for images in -1..1"
_WIN_SIZE = "pass win_size"
_WINDOW = "pass win_size and sigma: the window is a Gaussian"
_CONSTANTS = "pass K1 and K2"
_NOTHING = "leave it out: it follows from the shape of the images"
_NORMALIZE = 'pass normalize="relu" to msssim()'

# What to write instead of an option that other packages have.
INSTEAD = {
    "size_average": 'leave it out for one value, or pass reduction="none" for one value for each image',
    "window_size": _WIN_SIZE,
    "kernel_size": _WIN_SIZE,
    "filter_size": _WIN_SIZE,
    "window": _WINDOW,
    "win": _WINDOW,
    "kernel": _WINDOW,
    "win_sigma": "pass sigma",
    "kernel_sigma": "pass sigma",
    "filter_sigma": "pass sigma",
    "betas": "pass weights, one for each scale, to msssim()",
    "power_factors": "pass weights, one for each scale, to msssim()",
    "scale_weights": "pass weights, one for each scale, to msssim()",
    "val_range": _DATA_RANGE,
    "max_val": _DATA_RANGE,
    "value_range": _DATA_RANGE,
    "L": _DATA_RANGE,
    "channel": _NOTHING,
    "n_channels": _NOTHING,
    "channel_axis": "leave it out: channels come before height and width",
    "spatial_dims": _NOTHING,
    "K": _CONSTANTS,
    "k1": "pass K1",
    "k2": "pass K2",
    "nonnegative_ssim": _NORMALIZE,
    "non_negative": _NORMALIZE,
}


def refuse(function: str, keywords: Mapping[str, object]) -> NoReturn:
    """Raise the TypeError for keywords that a function does not have.

    Parameters
    ----------
    function : str
        Its name.
    keywords : mapping
        The unknown keywords and their values, at least one.

    Raises
    ------
    TypeError
        Always.
    """
    name = next(iter(keywords))
    hint = f"; {INSTEAD[name]}" if name in INSTEAD else ""
    raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
