"""The results of the reference in long double for a call, and what rounding may do to them."""

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference import borders, longdouble, moments

from .draws import UNBOUNDED, Draw

# With constants of 0, a denominator below this fraction of its terms is mostly rounding error.
_MIN_DENOMINATOR = 1e-4
# Relative to the largest weight of a mask, less may be counted as no weight: its reciprocal could overflow.
_LEAST_WEIGHT = 2.0**-80


@dataclasses.dataclass(frozen=True)
class Expected:
    """The result of the reference; the same for every backend. What few calls need is computed on first access."""

    draw: Draw
    value: float
    """The mean over the planes that have an index; NaN if none has."""
    terms: NDArray[np.longdouble]
    """Of the planes that have an index."""
    gradients: tuple[NDArray[np.longdouble], ...]
    well_conditioned: bool
    """Whether no denominator is so small that rounding decides whether it is zero."""
    has_budget: bool
    """Whether the budgets apply; if not, the result only has to be finite."""
    index_is_certain: bool
    """Whether it is certain which planes have an index: none has a tiny weight in all its windows."""

    @property
    def planes(self) -> int:
        """The number of planes in the mean."""
        return len(self.terms)

    @functools.cached_property
    def slack(self) -> tuple[NDArray[np.longdouble], ...]:
        """The possible error of each gradient where rounding decides the sign of a clamped product."""
        exact = _reference(self.draw, rounding=unit_roundoff(self.draw))
        return exact.slack_x / self.planes, exact.slack_y / self.planes

    @functools.cached_property
    def rounded_once(self) -> tuple[float, NDArray[np.longdouble], NDArray[np.longdouble]]:
        """Value and gradients from moments, maps and means rounded once to the dtype of computation."""
        once = _reference(self.draw, round_once=np.float64 if self.draw.dtype == "float64" else np.float32)
        value = float(once.value[once.has_index].mean())
        return value, once.gradient_x / self.planes, once.gradient_y / self.planes

    @property
    def value_rounding(self) -> float:
        """The error of the value from that rounding, or from rounding means of entries up to 1.

        A mean far below 1 keeps few digits, and the power of a weight below 1 magnifies that.
        """
        with np.errstate(all="ignore"):
            dvalue_dterms = abs(longdouble.pool(self.terms, self.draw.options)[1]).sum() / self.planes
        # With a constant of 0 a denominator may be so much smaller than the squares it is made of.
        options = self.draw.options
        suffices = options.K1 and options.K2
        of_means = unit_roundoff(self.draw) * float(dvalue_dterms) / (1 if suffices else _MIN_DENOMINATOR)
        return max(abs(self.rounded_once[0] - self.value), of_means)


def unit_roundoff(draw: Draw) -> float:
    """Return the unit roundoff of the dtype of computation."""
    return 2.0**-53 if draw.dtype == "float64" else 2.0**-24


def _reference(draw: Draw, **options: Any) -> longdouble.Result:
    with np.errstate(all="ignore"):
        if draw.padding != "valid":
            return borders.ssim(draw.x, draw.y, draw.options, draw.padding, axes=draw.axes, **options)
        return longdouble.msssim(draw.x, draw.y, draw.options, mask=draw.mask, axes=draw.axes, **options)


def references(draws: list[Draw]) -> list[Expected]:
    """Value and gradients of the mean over the planes of each pair, in long double."""
    batch = draws[0]._replace(x=np.concatenate([d.x for d in draws]), y=np.concatenate([d.y for d in draws]))
    if draws[0].mask is not None:
        batch = batch._replace(mask=np.concatenate([np.broadcast_to(np.asarray(d.mask), d.x.shape) for d in draws]))
    exact, planes = _reference(batch), len(draws[0].x)
    expected = []
    for k, draw in enumerate(draws):
        own = slice(k * planes, (k + 1) * planes)
        used = exact.has_index[own]
        count = max(int(used.sum()), 1)
        gradients = exact.gradient_x[own] / count, exact.gradient_y[own] / count
        well_conditioned = _constants_suffice(draw)
        certain = _index_is_certain(draw, exact.weights[own])
        has_budget = well_conditioned and certain and draw.kind not in UNBOUNDED
        value = float(exact.value[own][used].mean()) if used.any() else np.nan
        expected.append(Expected(draw, value, exact.terms[own][used], gradients, well_conditioned, has_budget, certain))
    return expected


def _index_is_certain(draw: Draw, weights: NDArray[np.longdouble]) -> bool:
    if draw.mask is None:
        return True
    peaks = np.broadcast_to(draw.mask, draw.x.shape).max(tuple(range(1, draw.x.ndim)))[:, None]
    return bool(((weights == 0) | (weights > _LEAST_WEIGHT * peaks)).all())


def _constants_suffice(draw: Draw) -> bool:
    """Return whether no denominator depends on rounding, which is possible with a constant of 0."""
    options = draw.options
    if options.K1 and options.K2:
        return True
    x, y = (np.asarray(image, np.longdouble) / np.longdouble(options.data_range) for image in (draw.x, draw.y))
    weight = None
    if draw.mask is not None:
        weight = np.broadcast_to(np.asarray(draw.mask, np.longdouble), x.shape)
        x, y = (np.where(weight > 0, image, 0) for image in (x, y))
    if draw.padding != "valid":
        x, y = (borders.padded(image, draw.padding, options.win_size, draw.axes) for image in (x, y))
    scale, taps = moments.Scale(x, y, weight), moments.window(draw.axes, options.win_size, options.sigma)
    for level in range(len(options.weights)):
        scale = moments.halved(scale) if level else scale
        m = moments.moments(scale, taps)
        # Of the plane too: a narrow window gives bright pixels almost no weight, but has their rounding error.
        squares = moments.plane_mean(scale.x**2 + scale.y**2, scale.weight)
        squares = np.maximum(squares, moments.second_moment(scale, taps, about_zero=True).max())
        empty = m.weight == 0
        if not options.K2 and not (empty | (m.variances >= _MIN_DENOMINATOR * squares)).all():
            return False
        if not options.K1 and not (empty | (m.mu_x**2 + m.mu_y**2 >= _MIN_DENOMINATOR * squares)).all():
            return False
    return True
