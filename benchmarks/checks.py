"""No speed without a green value: every result is held against the oracle before it may be timed."""

import functools
import math
from typing import NamedTuple

import numpy as np
import torch

import msssim
from reference import wang
from validation import tolerances

from . import cases, contestants, rows


class Checked(NamedTuple):
    """What came of it."""

    verdict: str
    error: float = math.nan
    budget: float = math.nan
    gradient_error: float = math.nan
    gradient_budget: float = math.nan
    note: str = ""


def check(contestant, case, result):
    """Hold (value, gradient or None) against the oracle.

    The value against `reference.wang`, NumPy in float64. The gradient, entry by entry and relative to its largest,
    against plain PyTorch in float64, which `python -m validation` holds against Wang's MATLAB code. The library is
    wrong when it is outside its budget; a peer that computes something else is timed with its error beside it, and is
    wrong only where it gives no number.
    """
    value, gradient = result
    error = abs(float(value) - expected(case))
    found = {"error": error, "budget": budget(contestant, case)}
    errors = [(error, found["budget"])]
    if gradient is not None:
        exact = expected_gradient(case.metric, case.shape, case.dtype)
        difference = (gradient.detach().cpu().double() - exact).abs().max()
        found["gradient_error"] = float(difference / exact.abs().max())
        found["gradient_budget"] = gradient_budget(case)
        errors.append((found["gradient_error"], found["gradient_budget"]))
    if not all(math.isfinite(error) for error, _ in errors):
        return Checked(rows.WRONG, **found, note="gives no finite number")
    if all(error <= limit for error, limit in errors):
        return Checked(rows.OK, **found)
    if contestant.group == contestants.PEER:
        return Checked(rows.DIFFERS, **found)
    which = "value" if error > found["budget"] else "gradient"
    return Checked(rows.WRONG, **found, note=f"the {which} is outside its budget")


def budget(contestant, case):
    """The largest error of the value that counts as agreement: the validation's."""
    return tolerances.budget("value", case.dtype, contestant.backend).worst


def gradient_budget(case):
    """The same for the gradient, relative to its largest entry."""
    kind = "rounded gradient" if case.dtype in ("bfloat16", "float16") else "gradient"
    return tolerances.budget(kind, case.dtype, "torch").worst


def expected(case):
    """The oracle's value: the mean over the planes."""
    return _expected(case.shape, case.dtype == "uint8")[case.metric]


@functools.lru_cache(maxsize=64)
def _expected(shape, whole):
    levels = cases.fitting_levels(shape)
    weights = np.array(wang.WEIGHTS[:levels])
    if levels < len(wang.WEIGHTS):  # as the library's small="fewer"
        weights = weights / weights.sum()
    count = cases.distinct(shape)
    planes = (image[:count].reshape(-1, *shape[-2:]) for image in cases.arrays(shape, whole))
    values = {"ssim": [], "msssim": []}
    for x, y in zip(*planes, strict=True):
        cs, ssim = wang.msssim_terms(x, y, levels=levels, data_range=255.0 if whole else 1.0)
        values["ssim"].append(ssim[0])
        values["msssim"].append(np.prod(np.append(cs[:-1], ssim[-1]) ** weights))
    return {metric: float(np.mean(each)) for metric, each in values.items()}


@functools.lru_cache(maxsize=1)
def expected_gradient(metric, shape, dtype):
    """The gradient to the first image by plain PyTorch in float64, on a CPU."""
    case = cases.Case(metric, cases.BOTH, shape, dtype)
    count = cases.distinct(shape)
    x, y = (image[:count].double() for image in cases.images(case))
    x.requires_grad_()
    options = {"small": "fewer"} if metric == "msssim" else {}
    value = getattr(msssim, metric)(x, y, data_range=case.data_range, backend="torch", **options)
    again = shape[0] // count
    return torch.autograd.grad(value, x)[0].repeat(again, 1, 1, 1) / again
