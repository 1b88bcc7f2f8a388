"""Signals and volumes: value against NumPy and scikit-image, gradient against plain PyTorch in float64."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

import msssim
import reference.volumes
from reference import oracles

from .. import library
from . import rows

SECTION = "Signals and volumes"
DTYPES = ("float64", "float32")


class Case(NamedTuple):
    """Arrays of one shape, and the options of the call."""

    name: str
    shape: tuple[int, ...]
    weights: tuple[float, ...]
    win_size: int | tuple[int, ...] = 11
    sigma: float | tuple[float, ...] = 1.5


CASES = (
    Case("signal, one scale", (400,), (1.0,)),
    Case("signal, three scales", (401,), (0.3, 0.5, 0.2)),
    Case("volume, one scale", (24, 30, 27), (1.0,)),
    Case("volume, three scales, odd sizes", (45, 47, 49), (0.3, 0.5, 0.2)),
    Case("volume, anisotropic window", (24, 45, 47), (0.4, 0.6), (5, 11, 11), (0.6, 1.5, 1.5)),
)


def measure(cases: Iterable[Case], backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    """Yield the errors of the value and of the gradient."""
    for case in cases:
        random = np.random.default_rng(0)
        walk = np.cumsum(random.standard_normal(case.shape), -1)
        x = ((walk - walk.min()) / (walk.max() - walk.min())).astype(np.float32)
        y = (0.9 * x + 0.1 * random.random(case.shape)).astype(np.float32)
        window: dict[str, Any] = {"win_size": case.win_size, "sigma": case.sigma}
        cs, ssim = reference.volumes.msssim_terms(x, y, levels=len(case.weights), data_range=1.0, **window)
        expected = float(np.prod(np.append(cs[:-1], ssim[-1]) ** np.array(case.weights)))
        for dtype in DTYPES:
            for backend in backends:
                yield from _of_backend(case, (x, y), expected, dtype, backend, device)


def _of_backend(
    case: Case, pair: tuple[np.ndarray, np.ndarray], expected: float, dtype: str, backend: str, device: str
) -> Iterator[rows.Measurement]:
    common: dict[str, Any] = {
        "section": SECTION, "backend": backend, "device": device, "dtype": dtype, "dataset": "random walks",
        "pair": case.name,
    }  # fmt: skip
    x, y = (torch.from_numpy(image).to(device, getattr(torch, dtype)) for image in pair)
    found, refusal = library.attempt(backend, _value_and_gradient, case, x, y, backend)
    if refusal:
        yield rows.Measurement(**common, quantity=case.name, kind="value", **refusal)
        return
    value, gradient = found
    numbers = {"value": value, "expected": expected, "error": abs(value - expected)}
    yield rows.Measurement(**common, quantity=f"{case.name}: reference", kind="value", **numbers)
    if case.weights == (1.0,) and dtype == "float64":
        known = oracles.skimage_ssim_of_planes(*pair, 1.0)
        numbers = {"value": value, "expected": known, "error": abs(value - known)}
        yield rows.Measurement(**common, quantity=f"{case.name}: scikit-image", kind="value", **numbers)
    _, exact = _value_and_gradient(case, x.double(), y.double(), "torch")
    error = library.relative_error(gradient, exact)
    yield rows.Measurement(**common, quantity=f"{case.name}: gradient", kind="gradient", error=error)


def _value_and_gradient(case: Case, x: torch.Tensor, y: torch.Tensor, backend: str) -> tuple[float, torch.Tensor]:
    x = x.clone().requires_grad_()
    options: dict[str, Any] = {"win_size": case.win_size, "sigma": case.sigma, "backend": backend}
    index: Any = msssim.msssim
    value: torch.Tensor = index(x, y, data_range=1.0, weights=case.weights, spatial_dims=len(case.shape), **options)
    return value.item(), torch.autograd.grad(value, x)[0]
