"""Compare every result with the oracle before it is timed, so that no speed is reported for a wrong value."""

import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

import msssim
from reference import volumes, wang
from validation import tolerances

from . import rows
from .cases import FORWARD_BACKWARD, Case, Shape, arrays, fitting_levels, images, n_distinct
from .implementations import PEER, Implementation, Result


class CheckResult(NamedTuple):
    """The errors of a result, and the verdict."""

    verdict: str
    error: float = math.nan
    budget: float = math.nan
    gradient_error: float = math.nan
    gradient_budget: float = math.nan
    note: str = ""


def check(implementation: Implementation, case: Case, result: Result) -> CheckResult:
    """Compare value and gradient with the oracle.

    The value is compared with `reference.wang`, NumPy in float64. The gradient is compared, relative to its largest
    entry, with plain PyTorch in float64, which `python -m validation` compares with Wang's MATLAB code. This library is
    wrong outside its budgets. A peer outside them is timed, with its error in the report; it is wrong only if the
    result is not finite.
    """
    error = abs(result.number() - expected_value(case))
    found = CheckResult("", error, value_budget(implementation, case))
    within = [error <= found.budget]
    finite = [math.isfinite(error)]
    if result.gradient is not None:
        exact = expected_gradient(case.metric, case.shape, case.dtype)
        difference = (result.gradient.detach().cpu().double() - exact).abs().max()
        gradient_error = float(difference / exact.abs().max())
        found = found._replace(gradient_error=gradient_error, gradient_budget=gradient_budget(case))
        within.append(gradient_error <= found.gradient_budget)
        finite.append(math.isfinite(gradient_error))
    if not all(finite):
        return found._replace(verdict=rows.WRONG, note="not finite")
    if all(within):
        return found._replace(verdict=rows.OK)
    if implementation.group == PEER:
        return found._replace(verdict=rows.DIFFERS)
    which = "gradient" if within[0] else "value"
    return found._replace(verdict=rows.WRONG, note=f"the {which} is outside its budget")


def value_budget(implementation: Implementation, case: Case) -> float:
    """Return the largest error of the value that counts as agreement, as in the validation."""
    return tolerances.budget("value", case.dtype, implementation.backend).worst


def gradient_budget(case: Case) -> float:
    """Return the largest error of the gradient, relative to its largest entry, that counts as agreement."""
    kind = "rounded gradient" if case.dtype in ("bfloat16", "float16") else "gradient"
    return tolerances.budget(kind, case.dtype, "torch").worst


def expected_value(case: Case) -> float:
    """Return the oracle's value, the mean over all planes."""
    return _expected_values(case.shape, case.dtype == "uint8")[case.metric]


@functools.lru_cache(maxsize=64)
def _expected_values(shape: Shape, integers: bool) -> Mapping[str, float]:
    levels = fitting_levels(shape)
    weights = np.array(wang.WEIGHTS[:levels])
    if levels < len(wang.WEIGHTS):  # as the library does with small="fewer"
        weights = weights / weights.sum()
    count = n_distinct(shape)
    x_planes, y_planes = (image[:count].reshape(-1, *shape[2:]) for image in arrays(shape, integers))
    reference = wang if len(shape) == 4 else volumes
    values: dict[str, list[float]] = {"ssim": [], "msssim": []}
    for x, y in zip(x_planes, y_planes, strict=True):
        cs, ssim = reference.msssim_terms(x, y, levels=levels, data_range=255.0 if integers else 1.0)
        values["ssim"].append(ssim[0])
        values["msssim"].append(np.prod(np.append(cs[:-1], ssim[-1]) ** weights))
    return {metric: float(np.mean(each)) for metric, each in values.items()}


@functools.lru_cache(maxsize=1)
def expected_gradient(metric: str, shape: Shape, dtype: str) -> torch.Tensor:
    """Return the gradient to the first image from plain PyTorch in float64 on a CPU."""
    case = Case(metric, FORWARD_BACKWARD, shape, dtype)
    count = n_distinct(shape)
    x, y = (image[:count].double() for image in images(case))
    x.requires_grad_()
    options: dict[str, Any] = {"small": "fewer"} if metric == "msssim" else {}
    options["spatial_dims"] = case.spatial_dims
    value = getattr(msssim, metric)(x, y, data_range=case.data_range, backend="torch", **options)
    repeats = shape[0] // count
    return torch.autograd.grad(value, x)[0].repeat(repeats, *(1,) * (len(shape) - 1)) / repeats
