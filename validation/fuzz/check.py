"""Compare one call with the budgets: value, both gradients and, in plain PyTorch, the map.

With a mask also that what lies under a weight of 0 changes no bit and gets no gradient.
"""

import collections
import functools
import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import msssim
from reference import moments

from .. import tolerances
from . import calls
from .draws import Draw
from .expected import Expected, references, unit_roundoff

# A mean this close to 0, in units of the rounding error, may have either sign.
_MEAN_AT_ZERO = 256


class Failure(NamedTuple):
    """A measurement over its limit."""

    what: str
    error: float
    limit: float


class Outcome(NamedTuple):
    """The failures of a call, and the number of verdicts of each kind."""

    failures: list[Failure]
    counts: collections.Counter[str]


class Computed(NamedTuple):
    """The results of a backend for a pair."""

    value: float
    without_gradient: float
    """The value of a call without gradients."""
    gradients: list[NDArray[np.longdouble]]
    """Empty for integers."""
    visible: float
    """`without_gradient` of images that have their own pixels under a weight of 0."""


def failures(draw: Draw, backend: str) -> list[Failure]:
    """Return the measurements of this backend that are over budget."""
    return check([draw], backend)[0].failures


def supports(backend: str, draw: Draw) -> bool:
    """Whether the backend computes the call."""
    if draw.mask is not None:
        return backend == "torch" or (backend == "numba" and draw.axes == 2)
    if draw.padding != "valid" and backend == "triton":
        return False
    return draw.axes in {"numba": (2, 3), "triton": (2,)}.get(backend, (1, 2, 3))


def check(draws: list[Draw], backend: str, expected: list[Expected] | None = None) -> list[Outcome]:
    """Compute pairs that share their options as one batch, and compare each with the reference."""
    expected = expected or references(draws)
    results = _compute(draws, backend, expected)
    return [_compare(*one, backend) for one in zip(draws, expected, results, strict=True)]


def _compare(draw: Draw, expected: Expected, computed: Computed, backend: str) -> Outcome:
    found: list[Failure] = []
    counts: collections.Counter[str] = collections.Counter()
    value, without_gradient, gradients, _ = computed
    if draw.mask is not None:
        found += _hidden(draw, computed)
    if not expected.planes and expected.index_is_certain:
        counts["no index"] += 1
        return Outcome(found + _without_index(computed), counts)
    found += _in_range(draw, expected, value, gradients) + _in_range(draw, expected, without_gradient, [])
    if draw.options == draw.options._replace(weights=(1.0,), normalize=None, method="wtd_sum") and backend == "torch":
        found += _map(draw)
    if not expected.has_budget:
        counts["finiteness only"] += 1
        return Outcome(found, counts)
    rounding = unit_roundoff(draw)
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


def _one_pixel(draw: Draw) -> bool:
    """Whether the window is practically one pixel: every variance, and its derivative, is then rounding error."""
    return float((moments.window(1, draw.options.win_size, draw.options.sigma)[0] ** 2).sum()) > 0.99


def _clamped(draw: Draw) -> bool:
    return draw.options.method == "product" or draw.options.normalize == "relu"


def _compute(draws: list[Draw], backend: str, expected: list[Expected]) -> list[Computed]:
    dtype = getattr(torch, draws[0].dtype)
    x, y = (torch.from_numpy(np.stack(images)).to(dtype) for images in ([d.x for d in draws], [d.y for d in draws]))
    call = functools.partial(calls.function(draws[0]), **calls.options(draws), reduction="none", backend=backend)
    scales = torch.tensor([_upstream(one) for one in expected], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        visible = without_gradient = call(x, y)
        if draws[0].hidden is not None:
            x, y = calls.with_hidden(draws, x, y)
            without_gradient = call(x, y)
        if not x.is_floating_point():
            numbers = zip(without_gradient.tolist(), visible.tolist(), strict=True)
            return [Computed(value, value, [], own) for value, own in numbers]
        x.requires_grad_()
        y.requires_grad_()
        values = call(x, y)
    gradients = torch.autograd.grad(values, (x, y), scales.to(values.dtype))
    to_x, to_y = (
        (each.double() / scales.view(-1, *(1,) * (x.dim() - 1))).numpy().astype(np.longdouble) for each in gradients
    )
    scalars = zip(*(each.tolist() for each in (values, without_gradient, visible)), strict=True)
    return [Computed(value, alone, [to_x[k], to_y[k]], own) for k, (value, alone, own) in enumerate(scalars)]


def _hidden(draw: Draw, computed: Computed) -> list[Failure]:
    """Return what reaches the value from under a weight of 0, or the gradient there."""
    found = []
    if draw.hidden is not None and repr(computed.visible) != repr(computed.without_gradient):
        found.append(Failure("hidden pixels change a bit", abs(computed.visible - computed.without_gradient), 0.0))
    hidden = np.broadcast_to(np.asarray(draw.mask) == 0, draw.x.shape)
    count = sum(int((each[hidden] != 0).sum()) for each in computed.gradients)
    return [*found, Failure("gradient of hidden pixels", float(count), 0.0)] if count else found


def _without_index(computed: Computed) -> list[Failure]:
    found = []
    if not (math.isnan(computed.value) and math.isnan(computed.without_gradient)):
        found.append(Failure("a number without an index", math.inf, 0.0))
    count = sum(int((each != 0).sum()) for each in computed.gradients)
    return [*found, Failure("gradient without an index", float(count), 0.0)] if count else found


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
    if not expected.index_is_certain:
        return found
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
    options = calls.options([draw], of_ssim=True)
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
    pixels = calls.pixels(draw)
    in_units = size * pixels * draw.options.data_range
    precision = "float64" if draw.dtype == "float64" else "float32"
    zero = tolerances.budget("zero gradient", precision, backend).worst
    for k, name in enumerate(("gradient to img1", "gradient to img2")):
        difference = abs(found[k] - expected.gradients[k])
        error = float(difference.max())
        largest = float(abs(expected.gradients[k]).max())
        if in_units <= zero:
            unit, limit = 1 / (pixels * draw.options.data_range), zero
        else:
            # The gradient of one image may be zero, so the error is relative to the larger gradient.
            unit = largest if largest > 1e-3 * size else size
            limit = tolerances.budget("rounded gradient" if narrow else "gradient", draw.dtype, backend).worst
        if precision == "float64":
            # For nearly equal images the budget is at least the one for identical images.
            limit = max(limit, zero / (pixels * draw.options.data_range) / unit) if unit else limit
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
