"""Compare one call with the budgets: value, both gradients and, in plain PyTorch, the map."""

import collections
import dataclasses
import functools
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import msssim
from reference import longdouble, moments

from .. import tolerances
from .draws import UNBOUNDED, Draw

# A mean this close to 0, in units of the rounding error, may have either sign.
_MEAN_AT_ZERO = 256
# With constants of 0, a denominator below this fraction of its terms is mostly rounding error.
_MIN_DENOMINATOR = 1e-4


class Failure(NamedTuple):
    """A measurement over its limit."""

    what: str
    error: float
    limit: float


class Outcome(NamedTuple):
    """The failures of a call, and the number of verdicts of each kind."""

    failures: list[Failure]
    counts: collections.Counter[str]


@dataclasses.dataclass(frozen=True)
class Expected:
    """The result of the reference; the same for every backend. What few calls need is computed on first access."""

    draw: Draw
    value: float
    terms: NDArray[np.longdouble]
    gradients: tuple[NDArray[np.longdouble], ...]
    well_conditioned: bool
    """Whether no denominator is so small that rounding decides whether it is zero."""
    has_budget: bool
    """Whether the budgets apply; if not, the result only has to be finite."""

    @functools.cached_property
    def slack(self) -> tuple[NDArray[np.longdouble], ...]:
        """The possible error of each gradient where rounding decides the sign of a clamped product."""
        exact = _reference(self.draw, rounding=_rounding(self.draw))
        return exact.slack_x / len(self.draw.x), exact.slack_y / len(self.draw.x)

    @functools.cached_property
    def rounded_once(self) -> tuple[float, NDArray[np.longdouble], NDArray[np.longdouble]]:
        """Value and gradients from moments, maps and means rounded once to the dtype of computation."""
        once = _reference(self.draw, round_once=np.float64 if self.draw.dtype == "float64" else np.float32)
        return float(once.value.mean()), once.gradient_x / len(self.draw.x), once.gradient_y / len(self.draw.x)

    @property
    def value_rounding(self) -> float:
        """The error of the value from that rounding, or from rounding means of entries up to 1.

        A mean far below 1 keeps few digits, and the power of a weight below 1 magnifies that.
        """
        with np.errstate(all="ignore"):
            dvalue_dterms = abs(longdouble.pool(self.terms, self.draw.options)[1]).sum() / len(self.draw.x)
        # With a constant of 0 a denominator may be so much smaller than the squares it is made of.
        options = self.draw.options
        of_means = _rounding(self.draw) * float(dvalue_dterms) / (1 if options.K1 and options.K2 else _MIN_DENOMINATOR)
        return max(abs(self.rounded_once[0] - self.value), of_means)


def _rounding(draw: Draw) -> float:
    """Return the unit roundoff of the dtype of computation."""
    return 2.0**-53 if draw.dtype == "float64" else 2.0**-24


def _reference(draw: Draw, **options: Any) -> longdouble.Result:
    with np.errstate(all="ignore"):
        return longdouble.msssim(draw.x, draw.y, draw.options, axes=draw.axes, **options)


class Computed(NamedTuple):
    """The results of a backend for a pair."""

    value: float
    without_gradient: float
    """The value of a call without gradients."""
    gradients: list[NDArray[np.longdouble]]
    """Empty for integers."""


def failures(draw: Draw, backend: str) -> list[Failure]:
    """Return the measurements of this backend that are over budget."""
    return check([draw], backend)[0].failures


def supports(backend: str, draw: Draw) -> bool:
    """Whether the backend computes signals, images or volumes, whichever they are."""
    return draw.axes in {"numba": (2, 3), "triton": (2,)}.get(backend, (1, 2, 3))


def check(draws: list[Draw], backend: str, expected: list[Expected] | None = None) -> list[Outcome]:
    """Compute pairs that share their options as one batch, and compare each with the reference."""
    expected = expected or references(draws)
    results = _compute(draws, backend, expected)
    return [_compare(*one, backend) for one in zip(draws, expected, results, strict=True)]


def _compare(draw: Draw, expected: Expected, computed: Computed, backend: str) -> Outcome:
    found: list[Failure] = []
    counts: collections.Counter[str] = collections.Counter()
    value, without_gradient, gradients = computed
    found += _in_range(draw, expected, value, gradients) + _in_range(draw, expected, without_gradient, [])
    if draw.options == draw.options._replace(weights=(1.0,), normalize=None, method="wtd_sum") and backend == "torch":
        found += _map(draw)
    if not expected.has_budget:
        counts["finiteness only"] += 1
        return Outcome(found, counts)
    rounding = _rounding(draw)
    if np.isnan(expected.value):
        # If the sign of a mean is rounding error, a number is as correct as NaN.
        if expected.terms.min() < -_MEAN_AT_ZERO * rounding and not (
            math.isnan(value) and math.isnan(without_gradient)
        ):
            found.append(Failure("a number where the value is NaN", math.inf, 0.0))
        counts["value is NaN"] += 1
        return Outcome(found, counts)
    if (abs(expected.terms) < _MEAN_AT_ZERO * rounding).any() and _clamped(draw):
        counts["mean of a scale at 0"] += 1
        return Outcome(found, counts)
    for what, result in (("value", value), ("value without gradient", without_gradient)):
        limit = tolerances.budget("value", draw.dtype, backend).worst
        error = abs(result - expected.value)
        if not error <= limit:
            limit = _rounding_limit(limit, expected.value_rounding, error, counts, "value")
        if not error <= limit:
            found.append(Failure(what, error, limit))
    if _one_pixel(draw):
        counts["gradients not checked"] += 1
    elif gradients:
        found += _gradients(draw, backend, expected, gradients, counts)
    counts["budgets checked"] += 1
    return Outcome(found, counts)


def references(draws: list[Draw]) -> list[Expected]:
    """Value and gradients of the mean over the planes of each pair, in long double."""
    batch = draws[0]._replace(x=np.concatenate([d.x for d in draws]), y=np.concatenate([d.y for d in draws]))
    exact, planes = _reference(batch), len(draws[0].x)
    expected = []
    for k, draw in enumerate(draws):
        own = slice(k * planes, (k + 1) * planes)
        gradients = exact.gradient_x[own] / planes, exact.gradient_y[own] / planes
        well_conditioned = _constants_suffice(draw)
        has_budget = well_conditioned and draw.kind not in UNBOUNDED
        value = float(exact.value[own].mean())
        expected.append(Expected(draw, value, exact.terms[own], gradients, well_conditioned, has_budget))
    return expected


def _constants_suffice(draw: Draw) -> bool:
    """Return whether no denominator depends on rounding, which is possible with a constant of 0."""
    options = draw.options
    if options.K1 and options.K2:
        return True
    x, y = (np.asarray(image, np.longdouble) / np.longdouble(options.data_range) for image in (draw.x, draw.y))
    scale, taps = moments.Scale(x, y, None), moments.window(draw.axes, options.win_size, options.sigma)
    for level in range(len(options.weights)):
        scale = moments.halved(scale) if level else scale
        m = moments.moments(scale, taps)
        # Of the plane too: a narrow window gives bright pixels almost no weight, but has their rounding error.
        squares = (scale.x**2 + scale.y**2).mean(tuple(range(1, draw.x.ndim)), keepdims=True)
        squares = np.maximum(squares, moments.second_moment(scale, taps, about_zero=True).max())
        if not options.K2 and not (m.variances >= _MIN_DENOMINATOR * squares).all():
            return False
        if not options.K1 and not (m.mu_x**2 + m.mu_y**2 >= _MIN_DENOMINATOR * squares).all():
            return False
    return True


def _one_pixel(draw: Draw) -> bool:
    """Whether the window is practically one pixel: every variance, and its derivative, is then rounding error."""
    return float((moments.window(1, draw.options.win_size, draw.options.sigma)[0] ** 2).sum()) > 0.99


def _clamped(draw: Draw) -> bool:
    return draw.options.method == "product" or draw.options.normalize == "relu"


def _compute(draws: list[Draw], backend: str, expected: list[Expected]) -> list[Computed]:
    dtype = getattr(torch, draws[0].dtype)
    x, y = (torch.from_numpy(np.stack(images)).to(dtype) for images in ([d.x for d in draws], [d.y for d in draws]))
    options: dict[str, Any] = {"spatial_dims": draws[0].axes, "backend": backend, **draws[0].options._asdict()}
    call = functools.partial(msssim.msssim, x, y, reduction="none", **options)
    scales = torch.tensor([_upstream(one) for one in expected], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without_gradient = call()
        if not x.is_floating_point():
            return [Computed(value, value, []) for value in without_gradient.tolist()]
        x.requires_grad_()
        y.requires_grad_()
        values = call()
    gradients = torch.autograd.grad(values, (x, y), scales.to(values.dtype))
    to_x, to_y = (
        (each.double() / scales.view(-1, *(1,) * (x.dim() - 1))).numpy().astype(np.longdouble) for each in gradients
    )
    return [
        Computed(*scalars, [to_x[k], to_y[k]])
        for k, scalars in enumerate(zip(values.tolist(), without_gradient.tolist(), strict=True))
    ]


def _upstream(expected: Expected) -> float:
    """The upstream gradient; for float16 a power of two with which the gradients of the images do not underflow."""
    size = max(float(abs(gradient).max()) for gradient in expected.gradients)
    if not expected.has_budget or expected.draw.dtype != "float16" or not 0 < size < math.inf:
        return 1.0
    return float(2.0 ** -min(24, max(-24, round(math.log2(size)))))


def _in_range(draw: Draw, expected: Expected, value: float, gradients: list[NDArray[np.longdouble]]) -> list[Failure]:
    found = []
    if value > 1:
        found.append(Failure("value above 1", value - 1, 0.0))
    nan_documented = draw.options.normalize is None and draw.options.method == "product"
    if nan_documented and (not expected.well_conditioned or (expected.terms < 1e-3).any()):
        return found
    count = (not math.isfinite(value)) + sum(int((~np.isfinite(each)).sum()) for each in gradients)
    if count:
        found.append(Failure("not finite", float(count), 0.0))
    return found


def _map(draw: Draw) -> list[Failure]:
    """Return whether an entry of the map of one scale is above 1."""
    x, y = (torch.from_numpy(image).to(getattr(torch, draw.dtype))[None] for image in (draw.x, draw.y))
    options: dict[str, Any] = {**draw.options._asdict(), "spatial_dims": draw.axes}
    del options["weights"], options["normalize"], options["method"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value, entries = msssim.ssim(x, y, full=True, backend="torch", **options)
    worst = max(float(entries.max()), float(value)) - 1
    return [Failure("map above 1", worst, 0.0)] if worst > 0 else []


def _gradients(
    draw: Draw,
    backend: str,
    expected: Expected,
    found: list[NDArray[np.longdouble]],
    counts: collections.Counter[str],
) -> list[Failure]:
    over = []
    narrow = draw.dtype in ("bfloat16", "float16")
    size = max(float(abs(each).max()) for each in expected.gradients)
    in_units = size * draw.x.size * draw.options.data_range
    precision = "float64" if draw.dtype == "float64" else "float32"
    zero = tolerances.budget("zero gradient", precision, backend).worst
    for k, name in enumerate(("gradient to img1", "gradient to img2")):
        difference = abs(found[k] - expected.gradients[k])
        error = float(difference.max())
        largest = float(abs(expected.gradients[k]).max())
        if in_units <= zero:
            unit, limit = 1 / (draw.x.size * draw.options.data_range), zero
        else:
            # The gradient of one image may be zero, so the error is relative to the larger gradient.
            unit = largest if largest > 1e-3 * size else size
            limit = tolerances.budget("rounded gradient" if narrow else "gradient", draw.dtype, backend).worst
        if precision == "float64":
            # For nearly equal images the budget is at least the one for identical images.
            limit = max(limit, zero / (draw.x.size * draw.options.data_range) / unit) if unit else limit
        if not error <= limit * unit:
            error = float(np.maximum(difference - expected.slack[k], 0).max())
            counts["slack at kinks used"] += error <= limit * unit
        if not error <= limit * unit:
            # The reference that is rounded once has to be on the same side of the kinks.
            unavoidable = float(abs(expected.rounded_once[1 + k] - expected.gradients[k]).max())
            extra = limit * unit if narrow else 0.0
            limit = _rounding_limit(limit * unit, unavoidable + extra / 4, error, counts, "gradient") / unit
        if not error <= limit * unit:
            over.append(Failure(name, error / unit, limit))
    return over


def _rounding_limit(
    limit: float, unavoidable: float, error: float, counts: collections.Counter[str], what: str
) -> float:
    """The limit, or four times the unavoidable rounding error if that is larger; count where it decides."""
    if 4 * unavoidable > limit and error <= 4 * unavoidable:
        counts[f"{what} limited by rounding"] += 1
    return max(limit, 4 * unavoidable)
