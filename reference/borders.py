"""SSIM with pixels around the images in long double: the images are padded, and the gradients folded back."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import longdouble
from .moments import LD, Array

# The name of each padding in numpy.pad().
NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "symmetric": "symmetric"}


def least_side(padding: str, win_size: int) -> int:
    """Return the smallest side of an image that can be padded for a window."""
    radius = win_size // 2
    return {"valid": win_size, "reflect": radius + 1, "symmetric": radius}.get(padding, 1)


def ssim(
    x: ArrayLike, y: ArrayLike, options: longdouble.Options, padding: str, *, axes: int = 2, **rounding: Any
) -> longdouble.Result:
    """Compute SSIM of padded planes with the gradients of the planes.

    Parameters
    ----------
    x, y : array_like, shape (P, H, W), or with as many last axes as `axes` says
        The planes.
    options : longdouble.Options
        The options of the call, with one weight.
    padding : {"zeros", "reflect", "replicate", "symmetric"}
        What is around the planes, as far as the radius of the window.
    axes : int, default 2
        The number of axes of a plane.
    rounding
        As `rounding` and `round_once` of :func:`reference.longdouble.msssim`.
    """
    if len(options.weights) != 1:
        raise ValueError(f"weights must be one number with padding, got {len(options.weights)} numbers")
    planes = [np.asarray(image, LD) for image in (x, y)]
    wide_x, wide_y = (padded(plane, padding, options.win_size, axes) for plane in planes)
    result = longdouble.msssim(wide_x, wide_y, options, axes=axes, **rounding)
    sides = planes[0].shape[-axes:]
    sources = _sources(sides, padding, options.win_size)
    names = ("gradient_x", "gradient_y", "slack_x", "slack_y")
    return result._replace(**{name: _folded(getattr(result, name), sources, sides) for name in names})


def padded(planes: Array, padding: str, win_size: int | tuple[int, ...], axes: int) -> Array:
    """Return planes with as many pixels around them as the window has on each side of its centre."""
    sources = _sources(planes.shape[-axes:], padding, win_size)
    for axis, source in enumerate(sources, planes.ndim - axes):
        zero = np.zeros_like(np.take(planes, [0], axis))
        planes = np.take(np.concatenate([planes, zero], axis), source, axis)
    return planes


def _sources(sides: tuple[int, ...], padding: str, win_size: int | tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Return for each position along each padded axis the pixel that it repeats, or the side for a zero."""
    sizes = win_size if isinstance(win_size, tuple) else (win_size,) * len(sides)
    mode: Any = NUMPY_MODES[padding]
    return [
        np.pad(np.arange(side), size // 2, mode=mode, **({"constant_values": side} if padding == "zeros" else {}))
        for side, size in zip(sides, sizes, strict=True)
    ]


def _folded(gradient: Array, sources: list[NDArray[np.int64]], sides: tuple[int, ...]) -> Array:
    """Apply the adjoint of `padded`: sum for each pixel over the positions that repeat it."""
    for axis, (source, side) in enumerate(zip(sources, sides, strict=True), 1):
        moved = np.moveaxis(gradient, axis, 0)
        sums = np.zeros((side + 1, *moved.shape[1:]), LD)
        np.add.at(sums, source, moved)
        gradient = np.moveaxis(sums[:side], 0, axis)
    return gradient
