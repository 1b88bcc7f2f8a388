"""SSIM and MS-SSIM with both gradients in NumPy's long double: the reference for rounding errors.

Every moment is central: the variance of a window is the weighted mean of squared distances from its own mean, so that
nothing cancels. It covers signals, images and volumes (one to three axes), weights of pixels (masks), every mode and
method. It cannot be used where ``np.longdouble`` has no more digits than float64 (Windows, some Arm machines), see
`available()`.

References
----------
.. [1] Z. Wang, E. P. Simoncelli, A. C. Bovik, "Multiscale structural similarity for image quality assessment",
   37th Asilomar Conference on Signals, Systems and Computers, 2003. :doi:`10.1109/ACSSC.2003.1292216`
.. [2] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993.
   :doi:`10.1109/CVPR.1993.341081`
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .moments import (
    EPS,
    LD,
    Array,
    Moments,
    Scale,
    absolute,
    adjoint,
    central,
    halved,
    moments,
    plane_mean,
    second_moment,
    upsample_gradient,
    window,
)
from .wang import WEIGHTS

# Below this x the derivative of x^w is the one at this x, as in the library: at 0 it would be infinite.
POW_EPS = 1e-16


class Options(NamedTuple):
    """The options of a call; `win_size` and `sigma` are numbers, or one for each axis."""

    data_range: float = 1.0
    weights: tuple[float, ...] = WEIGHTS
    normalize: str | None = None
    method: str = "product"
    win_size: int | tuple[int, ...] = 11
    sigma: float | tuple[float, ...] = 1.5
    K1: float = 0.01
    K2: float = 0.03


DEFAULTS = Options()


class Result(NamedTuple):
    """The index of each plane with its gradients: NaN and zero for a plane without weight at some scale.

    ``slack_x`` and ``slack_y`` bound the change of the gradient at each pixel if windows whose covariance or product of
    means is zero up to rounding are on the other side of the clamp of "covariance".
    """

    value: Array  # (P,)
    terms: Array  # (P, levels): mean cs of each scale but the last, mean l cs of the last
    gradient_x: Array  # (P, ...), of each plane's own value
    gradient_y: Array
    slack_x: Array
    slack_y: Array
    weights: Array  # (P, levels): the sum of the weights of all windows

    @property
    def has_index(self) -> NDArray[np.bool_]:
        """Whether a plane has weight at every scale, shape (P,)."""
        return np.asarray((self.weights > 0).all(-1))


def available() -> bool:
    """Return whether long double has more digits than float64 on this machine."""
    return EPS < 1e-18


def msssim(
    x: ArrayLike,
    y: ArrayLike,
    options: Options = DEFAULTS,
    *,
    mask: ArrayLike | None = None,
    axes: int = 2,
    rounding: float | None = None,
    round_once: type[np.floating[Any]] | None = None,
) -> Result:
    """Compute MS-SSIM of planes; with one weight it is SSIM.

    Parameters
    ----------
    x, y : array_like, shape (..., H, W), or with as many last axes as `axes` says
        The planes; the leading axes are flattened.
    options : Options
        The options of the call.
    mask : array_like, optional
        The weight of each pixel, broadcast to the shape of `x`, at least 0.
    axes : int, default 2
        The number of axes of a plane.
    rounding : float, optional
        The unit roundoff of the tested implementation. Relative to the second moments of the window, a product this
        close to zero may have either sign. It determines the slack, which is 0 by default.
    round_once : {np.float32, np.float64}, optional
        Round the central moments, the maps and the means to this dtype, once each: the rounding error of every
        implementation that stores them in this dtype.
    """
    x, y = (np.asarray(image, LD) for image in (x, y))
    of_images, shape = x.shape, (-1, *x.shape[x.ndim - axes :])
    # In units of the range: nothing overflows or underflows then, and C1 and C2 are K1 and K2 squared.
    x, y = (image.reshape(shape) / LD(options.data_range) for image in (x, y))
    weight = None if mask is None else np.broadcast_to(np.asarray(mask, LD), of_images).reshape(shape)
    if weight is not None:
        x, y = (np.where(weight > 0, image, 0) for image in (x, y))
    levels = len(options.weights)
    scales = [Scale(x, y, weight)]
    for _ in range(levels - 1):
        scales.append(halved(scales[-1]))
    maps = [
        _map(scale, options, last=level == levels - 1, rounding=rounding, round_once=round_once)
        for level, scale in enumerate(scales)
    ]
    terms = np.stack([one.mean for one in maps], -1)
    weights = np.stack([one.weight for one in maps], -1)
    value, dvalue_dterms = pool(terms, options)
    without_index = ~(weights > 0).all(-1)
    value[without_index], dvalue_dterms[without_index] = np.nan, 0
    if round_once is not None:
        value = _rounded(value, round_once)
    gradients = [np.zeros_like(each) for each in (x, y, x, y)]
    for level in reversed(range(levels)):
        scale, one = scales[level], maps[level]
        weight_of_scale = dvalue_dterms[:, level].reshape((-1,) + (1,) * axes)
        own = [weight_of_scale * each for each in one.gradients] + [abs(weight_of_scale) * each for each in one.slack]
        if level == levels - 1:
            gradients = own
        else:
            gradients = [
                upsample_gradient(coarser, scale) + finer for coarser, finer in zip(gradients, own, strict=True)
            ]
    unit = LD(options.data_range)
    gradients = [each / unit for each in gradients]
    if round_once is not None:
        gradients = [_rounded(each * unit, round_once) / unit for each in gradients[:2]] + gradients[2:]
    return Result(value, terms, gradients[0], gradients[1], gradients[2], gradients[3], weights)


def pool(terms: Array, options: Options) -> tuple[Array, Array]:
    """Return (value, its derivative in each term) from terms (P, levels)."""
    weights = np.asarray(options.weights, LD)
    factor = np.ones_like(terms)
    if options.normalize == "simple":
        terms, factor = (terms + 1) / 2, factor / 2
    if options.normalize in ("relu", "simple"):
        factor = np.where(terms <= 0, 0, factor)
        terms = np.maximum(terms, 0)
    if options.method == "wtd_sum":
        weights = weights / weights.sum()
        return (terms * weights).sum(-1), factor * weights
    with np.errstate(invalid="ignore"):
        value = np.prod(terms**weights, -1)
    nonzero = np.where(np.abs(terms) < POW_EPS, LD(POW_EPS), terms)
    return value, factor * weights * value[:, None] / nonzero


class Map(NamedTuple):
    """The mean of a map, and the gradients of the mean."""

    mean: Array
    gradients: tuple[Array, Array]
    slack: tuple[Array, Array]
    weight: Array


def _map(
    scale: Scale, options: Options, *, last: bool, rounding: float | None, round_once: type[np.floating[Any]] | None
) -> Map:
    axes = scale.x.ndim - 1
    taps = window(axes, options.win_size, options.sigma)
    m = moments(scale, taps)
    exact = m
    if round_once is not None:
        mu_x, mu_y, variances, sigma_xy = (_rounded(each, round_once) for each in m[:4])
        m = Moments(mu_x, mu_y, variances, sigma_xy, m.weight)
    values, derivatives, unsure = _similarity(m, exact, scale, taps, options, last=last, rounding=rounding)
    if round_once is not None:
        values = _rounded(values, round_once)
    spatial = tuple(range(1, axes + 1))
    total = m.weight.sum(spatial, keepdims=True)
    normalized_weight = m.weight / np.where(total > 0, total, 1)
    mean = (values * normalized_weight).sum(spatial)
    per_window = np.where(m.weight > 0, normalized_weight / np.where(m.weight > 0, m.weight, 1), 0)
    pixel = LD(1) if scale.weight is None else scale.weight
    gradients, slacks = [], []
    for own, other, mu, mu_other, by_mu, unsure_mu in (
        (scale.x, scale.y, exact.mu_x, exact.mu_y, derivatives.mu_x, unsure.mu_x),
        (scale.y, scale.x, exact.mu_y, exact.mu_x, derivatives.mu_y, unsure.mu_y),
    ):
        gradients.append(
            pixel
            * (
                adjoint(by_mu * per_window, taps)
                + 2 * central(own, mu, derivatives.variances * per_window, taps)
                + central(other, mu_other, derivatives.sigma_xy * per_window, taps)
            )
        )
        bound = np.zeros_like(own)
        if rounding is not None:
            bound = adjoint(unsure_mu * per_window, taps)
            bound = bound + absolute(other, mu_other, unsure.sigma_xy * per_window, taps)
        slacks.append(pixel * bound)
    return Map(mean, (gradients[0], gradients[1]), (slacks[0], slacks[1]), total.reshape(-1))


def _similarity(
    m: Moments,
    exact: Moments,
    scale: Scale,
    taps: Sequence[Array],
    options: Options,
    *,
    last: bool,
    rounding: float | None,
) -> tuple[Array, Moments, Moments]:
    """Return the map of cs, or of l cs at the last scale, its derivatives in the moments, and their slack."""
    c1, c2 = LD(options.K1) ** 2, LD(options.K2) ** 2
    clamp = options.normalize == "covariance"
    zero, one = np.zeros_like(m.mu_x), np.ones_like(m.mu_x)
    sigma, denominator = m.sigma_xy, m.variances + c2
    keep = one
    near: NDArray[Any] = zero
    if clamp:
        keep = (exact.sigma_xy >= -16 * EPS * exact.variances).astype(LD)
        if rounding is not None:
            near = np.abs(exact.sigma_xy) <= 32 * rounding * second_moment(scale, taps)
        sigma = np.maximum(sigma, 0)
    flat = denominator == 0
    denominator = np.where(flat, 1, denominator)
    cs = np.where(flat, 1, (2 * sigma + c2) / denominator)
    by_sigma = np.where(flat, 0, 2 / denominator)
    by_variances = np.where(flat, 0, -cs / denominator)
    derivatives = Moments(zero, zero, by_variances, by_sigma * keep, m.weight)
    unsure = Moments(zero, zero, zero, np.where(near, by_sigma, 0), m.weight)
    if not last:
        return cs, derivatives, unsure
    product, energy = m.mu_x * m.mu_y, m.mu_x**2 + m.mu_y**2 + c1
    keep = one
    near = zero
    if clamp:
        sizes = np.sqrt(second_moment(scale, taps, about_zero=True))
        keep = (product >= -64 * EPS * sizes * np.maximum(np.abs(m.mu_x), np.abs(m.mu_y))).astype(LD)
        if rounding is not None:
            # An implementation may subtract a constant near the mean of the plane, and then knows a mean less well.
            sizes = sizes + sum(abs(plane_mean(image, scale.weight)) for image in (scale.x, scale.y))
            near = np.abs(product) <= 32 * rounding * sizes * np.maximum(np.abs(m.mu_x), np.abs(m.mu_y))
        product = np.maximum(product, 0)
    black = energy == 0
    energy = np.where(black, 1, energy)
    luminance = np.where(black, 1, (2 * product + c1) / energy)
    cs = np.where(black, 1, cs)
    not_black = np.where(black, 0, 1)
    factor = not_black * cs / energy
    derivatives = Moments(
        factor * (2 * m.mu_y * keep - 2 * m.mu_x * luminance),
        factor * (2 * m.mu_x * keep - 2 * m.mu_y * luminance),
        not_black * luminance * derivatives.variances,
        not_black * luminance * derivatives.sigma_xy,
        m.weight,
    )
    unsure = Moments(
        np.where(near, np.abs(2 * factor * m.mu_y), 0),
        np.where(near, np.abs(2 * factor * m.mu_x), 0),
        zero,
        np.abs(luminance) * unsure.sigma_xy,
        m.weight,
    )
    return luminance * cs, derivatives, unsure


def _rounded(values: Array, dtype: type[np.floating[Any]]) -> Array:
    """Round once to the digits of the dtype, without its limits of magnitude."""
    mantissa, exponent = np.frexp(values)
    with np.errstate(invalid="ignore"):
        return np.ldexp(mantissa.astype(dtype).astype(LD), exponent)
