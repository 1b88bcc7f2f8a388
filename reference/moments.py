"""Windows in long double: central moments, their adjoints, and the step from one scale to the next."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.longdouble]
LD = np.longdouble
EPS = float(np.finfo(LD).eps)


class Scale(NamedTuple):
    """A pair at one scale, in units of the range; `weight` is None without a mask."""

    x: Array
    y: Array
    weight: Array | None


class Moments(NamedTuple):
    """The central moments of every window, and the sum of its weights."""

    mu_x: Array
    mu_y: Array
    variances: Array  # sigma_x^2 + sigma_y^2
    sigma_xy: Array
    weight: Array


def moments(scale: Scale, taps: Sequence[Array]) -> Moments:
    """Return the weighted central moments, one axis after the other by the law of total variance."""
    mu_x, mu_y = scale.x, scale.y
    weight = np.ones_like(mu_x) if scale.weight is None else scale.weight
    variances = sigma_xy = np.zeros_like(mu_x)
    for axis, tap in enumerate(taps, 1):
        view = functools.partial(sliding_window_view, window_shape=len(tap), axis=axis)
        normalized_weights = view(weight) * tap
        weight = normalized_weights.sum(-1)
        normalized_weights = normalized_weights / np.where(weight > 0, weight, 1)[..., None]
        off_x, mu_x = _from_mean(view(mu_x), normalized_weights)
        off_y, mu_y = _from_mean(view(mu_y), normalized_weights)
        variances = (normalized_weights * (view(variances) + off_x * off_x + off_y * off_y)).sum(-1)
        sigma_xy = (normalized_weights * (view(sigma_xy) + off_x * off_y)).sum(-1)
    return Moments(mu_x, mu_y, variances, sigma_xy, weight)


def _from_mean(values: Array, normalized_weights: Array) -> tuple[Array, Array]:
    """Return (the distances from the mean, the mean), exact if all values are equal."""
    middle = values[..., values.shape[-1] // 2, None]
    mean = middle + (normalized_weights * (values - middle)).sum(-1, keepdims=True)
    return values - mean, mean[..., 0]


def second_moment(scale: Scale, taps: Sequence[Array], *, about_zero: bool = False) -> Array:
    """Return E[x^2] + E[y^2] of each window, about zero or about the mean of each plane."""
    x, y = scale.x, scale.y
    if not about_zero:
        x, y = x - plane_mean(x, scale.weight), y - plane_mean(y, scale.weight)
    weight = np.ones_like(x) if scale.weight is None else scale.weight
    total = correlate(weight, taps)
    return correlate(weight * (x * x + y * y), taps) / np.where(total > 0, total, 1)


def plane_mean(values: Array, weight: Array | None) -> Array:
    """Return the weighted mean of each plane, with its axes kept; 0 of a plane without weight."""
    spatial = tuple(range(1, values.ndim))
    if weight is None:
        return values.mean(spatial, keepdims=True)
    total = weight.sum(spatial, keepdims=True)
    return (weight * values).sum(spatial, keepdims=True) / np.where(total > 0, total, 1)


def correlate(values: Array, taps: Sequence[Array]) -> Array:
    """Return the weighted sum at every position where the window is inside."""
    for axis, tap in enumerate(taps, 1):
        values = _along(values, _band(tap.tobytes(), values.shape[axis]), axis)
    return values


def adjoint(values: Array, taps: Sequence[Array]) -> Array:
    """Apply the adjoint of `correlate`: sum for each pixel over the windows that contain it."""
    for axis, tap in enumerate(taps, 1):
        values = _along(values, _band(tap.tobytes(), values.shape[axis] + len(tap) - 1).T, axis)
    return values


def _along(values: Array, matrix: Array, axis: int) -> Array:
    return np.moveaxis(np.tensordot(values, matrix, axes=(axis, 0)), -1, axis)


@functools.lru_cache(maxsize=256)
def _band(taps: bytes, size: int) -> Array:
    """Return the filter along an axis of `size` pixels as a matrix (pixels, windows)."""
    tap = np.frombuffer(taps, LD)
    matrix = np.zeros((size, size - len(tap) + 1), LD)
    for start in range(matrix.shape[1]):
        matrix[start : start + len(tap), start] = tap
    return matrix


def central(image: Array, mean: Array, values: Array, taps: Sequence[Array]) -> Array:
    """Sum over the windows of value * tap * (pixel - mean of the window)."""
    sums = adjoint(np.concatenate([values, values * mean]), taps)
    return image * sums[: len(image)] - sums[len(image) :]


def absolute(image: Array, mean: Array, values: Array, taps: Sequence[Array]) -> Array:
    """Do the same with absolute distances; `values` is not negative and mostly zero."""
    result = np.zeros_like(image)
    weights = functools.reduce(np.multiply.outer, taps)
    for position in np.argwhere(values):
        crop = (position[0], *(slice(start, start + len(tap)) for start, tap in zip(position[1:], taps, strict=True)))
        result[crop] += values[tuple(position)] * weights * np.abs(image[crop] - mean[tuple(position)])
    return result


@functools.lru_cache(maxsize=64)
def window(axes: int, win_size: int | tuple[int, ...], sigma: float | tuple[float, ...]) -> tuple[Array, ...]:
    """Return the Gaussian taps of each axis, with sum 1."""
    sizes = win_size if isinstance(win_size, tuple) else (win_size,) * axes
    sigmas = sigma if isinstance(sigma, tuple) else (sigma,) * axes
    taps = []
    for size, width in zip(sizes, sigmas, strict=True):
        tap = np.exp(-(((np.arange(size, dtype=LD) - size // 2) / LD(width)) ** 2) / 2)
        taps.append(tap / tap.sum())
    return tuple(taps)


def halved(scale: Scale) -> Scale:
    """Average 2 pixels along every axis; at the end of an odd side, the pixels that exist."""
    if scale.weight is None:
        count = _blocks(np.ones_like(scale.x))
        return Scale(_blocks(scale.x) / count, _blocks(scale.y) / count, None)
    total = _blocks(scale.weight)
    divisor = np.where(total > 0, total, 1)
    x, y = (_blocks(scale.weight * image) / divisor for image in (scale.x, scale.y))
    return Scale(x, y, total / _blocks(np.ones_like(scale.x)))


def _blocks(values: Array) -> Array:
    """Return the sums of 2 pixels along every axis."""
    for axis in range(1, values.ndim):
        odd = [(0, values.shape[axis] % 2 if k == axis else 0) for k in range(values.ndim)]
        values = np.pad(values, odd)
        first, second = (np.take(values, np.arange(k, values.shape[axis], 2), axis) for k in (0, 1))
        values = first + second
    return values


def upsample_gradient(gradient: Array, scale: Scale) -> Array:
    """Apply the adjoint of `halved`: distribute the gradient of each mean to its pixels."""
    weight = np.ones_like(scale.x) if scale.weight is None else scale.weight
    total = _blocks(weight)
    gradient = gradient / np.where(total > 0, total, 1)
    for axis in range(1, gradient.ndim):
        gradient = np.repeat(gradient, 2, axis)
    return weight * gradient[tuple(slice(size) for size in weight.shape)]
