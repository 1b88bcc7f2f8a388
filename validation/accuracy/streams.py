"""stream(): the bits of the same call in memory, and the value against NumPy."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

import msssim
from msssim.backends import INSTALL
from reference import wang

from . import rows

SECTION = "Stream"
DTYPES = ("uint8", "float32")
# Rows read at a time: fewer than a window has, a number that divides nothing, all at once. None is the default.
ROWS = (5, 67, 1000, None)


class Case(NamedTuple):
    """Arrays of one shape; `graphics` has two levels, which are read a second time and computed in float64."""

    name: str
    shape: tuple[int, ...]
    channels_last: bool = False
    graphics: bool = False


CASES = (
    Case("(H, W)", (211, 243)),
    Case("(C, H, W)", (3, 180, 191)),
    Case("(H, W, C), channels_last", (197, 182, 3), channels_last=True),
    Case("(H, W), two levels", (203, 186), graphics=True),
)


def measure(cases: Iterable[Case], backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    """Yield the number of results that differ from those in memory, and the error of the value.

    Only for a CPU, and the kernels of Numba, which `stream` needs. Without them the rows say why they are missing.
    """
    if device != "cpu" or tuple(backends) == ("triton",):
        return
    for case in cases:
        for dtype in DTYPES:
            yield from _of_case(case, dtype, _reason(backends))


def _reason(backends: Sequence[str]) -> str:
    """Why nothing can be measured, or an empty string."""
    if "numba" in backends:
        return ""
    if "numba" in msssim.available_backends():
        return "stream() is computed by the backend numba, which --backend leaves out"
    return f"stream() needs Numba: {INSTALL['numba']}"


def _of_case(case: Case, dtype: str, reason: str) -> Iterator[rows.Measurement]:
    common: dict[str, Any] = {
        "section": SECTION, "backend": "numba", "device": "cpu", "dtype": dtype, "dataset": "random walks",
        "pair": case.name,
    }  # fmt: skip
    same: dict[str, Any] = {"quantity": f"{case.name}: bits of memory", "kind": "count"}
    right: dict[str, Any] = {"quantity": f"{case.name}: reference", "kind": "value"}
    if reason:
        for kind in (same, right):
            yield rows.Measurement(**common, **kind, missing=rows.SKIPPED, note=reason)
        return
    pair, data_range = arrays(case, dtype)
    planes = [np.ascontiguousarray(np.moveaxis(image, -1, 0) if case.channels_last else image) for image in pair]
    tensors = (torch.from_numpy(image) for image in planes)
    options: dict[str, Any] = {"data_range": data_range, "normalize": "covariance"}
    in_memory = torch.cat([each.flatten() for each in msssim.msssim(*tensors, scales=True, backend="numba", **options)])
    for number in ROWS:
        found = msssim.stream(
            *pair, scales=True, rows=number, channels_last=case.channels_last, progress=False, **options
        )
        streamed = torch.cat([each.flatten() for each in found])
        yield rows.Measurement(**common, **same, error=_different(streamed, in_memory), value=streamed[0].item())
    value = msssim.stream(*pair, channels_last=case.channels_last, data_range=data_range).item()
    expected = _reference(planes, data_range)
    numbers: dict[str, Any] = {"value": value, "expected": expected, "error": abs(value - expected)}
    yield rows.Measurement(**common, **right, **numbers)


def _different(one: torch.Tensor, other: torch.Tensor) -> float:
    """The number of entries whose bits differ."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return float(max(one.numel(), other.numel()))
    return float((one.view(torch.uint8) != other.view(torch.uint8)).view(len(one), -1).any(1).sum())


def _reference(planes: Sequence[np.ndarray], data_range: float) -> float:
    """The mean over the channels of MS-SSIM of Wang's algorithm, in float64."""
    x, y = (image.reshape(-1, *image.shape[-2:]).astype(np.float64) for image in planes)
    terms: Any = [wang.msssim(*pair, data_range=data_range) for pair in zip(x, y, strict=True)]
    return float(np.mean(terms))


def arrays(case: Case, dtype: str) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """Return (the pair, data_range)."""
    random = np.random.default_rng(0)
    walk = np.cumsum(random.standard_normal(case.shape), 1 if case.channels_last else -1)
    x = (walk - walk.min()) / (walk.max() - walk.min())
    if case.graphics:
        x = (x > 0.5).astype(np.float64)
        y = np.where(x > 0, 1.0, 0.4)
    else:
        y = 0.9 * x + 0.1 * random.random(case.shape)
    if dtype == "uint8":
        return (np.rint(255 * x).astype(np.uint8), np.rint(255 * y).astype(np.uint8)), 255.0
    return (x.astype(dtype), y.astype(dtype)), 1.0
