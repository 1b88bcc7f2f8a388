"""Finiteness: value and both gradients in every mode of `normalize`, on images that could cause NaN."""

import functools
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

import msssim

from .. import library, tolerances
from . import rows

SECTION = "Stability"
DTYPES = ("float32", "float64", "float16", "bfloat16")
MODES = (None, "relu", "simple", "covariance")
SIDE = 176  # the smallest for five scales
_Case = tuple[torch.Tensor, torch.Tensor, dict[str, Any]]
_EXTREME = {"float32": 1e38, "float64": 1e300, "float16": 6e4, "bfloat16": 1e38}


@functools.cache
def cases(dtype: str) -> dict[str, _Case]:
    """Return by name (first image, second image, options of the call)."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    left = torch.arange(SIDE).expand(1, SIDE, SIDE) < SIDE // 2
    black, white = torch.zeros_like(one), torch.ones_like(one)
    limits = torch.finfo(getattr(torch, dtype))
    extreme, largest, denormal = _EXTREME[dtype], limits.max, limits.smallest_normal / 4
    no_constants = {"K1": 0.0, "K2": 0.0}
    pairs: dict[str, _Case] = {
        "identical": (one, one, {}),
        "anti-correlated": (one, 1 - one, {}),
        "anti-correlated around zero": (one - 0.5, 0.5 - one, {}),
        "independent noise": (one, other, {}),
        "flat, equal": (white / 2, white / 2, {}),
        "flat, different": (white / 3, white / 2, {}),
        "flat against noise": (white / 2, one, {}),
        "black, both": (black, black, {}),
        "black against white": (black, white, {}),
        "black against noise": (black, one, {}),
        "half flat": (torch.where(left, white / 2, one), torch.where(left, white / 2, other), {}),
        "half black, half anti-correlated": (torch.where(left, black, one), torch.where(left, black, 1 - one), {}),
        "one pixel": (_one_pixel(black), black, {}),
        "extreme": (one * extreme, other * extreme, {}),
        "extreme, both signs": (one * extreme, -other * extreme, {}),
        "extreme, range as large": (one * extreme, other * extreme, {"data_range": min(extreme, 1e50)}),
        "extreme against black": (one * extreme, black, {}),
        "extreme pixel": (_one_pixel(one, extreme), other, {}),
        "half extreme": (torch.where(left, one * extreme, one), torch.where(left, one * extreme, other), {}),
        "largest number, flat": (white * largest, white * largest, {}),
        "largest number against its negative": (white * largest, -white * largest, {}),
        "largest numbers": ((one * 2 - 1) * largest, (other * 2 - 1) * largest, {}),
        "denormal": (one * denormal, other * denormal, {}),
        "denormal against black": (one * denormal, black, {}),
        "denormal against extreme": (one * denormal, other * extreme, {}),
        "tiny range": (one, other, {"data_range": 1e-50}),
        "huge range": (one, other, {"data_range": 1e50}),
        "tiny, in its range": (one * 1e-37, other * 1e-37, {"data_range": 1e-37}),
        "flat areas side by side": (torch.where(left, 0.9, black), torch.where(left, 0.7, white / 8), {}),
    }
    zeroed = (
        "identical", "anti-correlated", "flat, equal", "flat, different", "flat against noise", "black, both",
        "black against white", "black against noise", "half black, half anti-correlated", "half flat", "one pixel",
        "extreme", "extreme against black", "largest numbers", "denormal", "denormal against black",
        "tiny, in its range", "flat areas side by side",
    )  # fmt: skip
    for name in zeroed:
        x, y, options = pairs[name]
        pairs[f"K1 = K2 = 0: {name}"] = x, y, options | no_constants
    return pairs


def _one_pixel(image: torch.Tensor, value: float = 1.0) -> torch.Tensor:
    image = image.clone()
    image[0, SIDE // 2, SIDE // 2] = value
    return image


def work(limit: int | None = None) -> list[tuple[str, str]]:
    """Return (dtype, name of a case) of all cases, or of the first `limit` for each dtype."""
    return [(dtype, name) for dtype in DTYPES for name in itertools.islice(cases(dtype), limit)]


def measure(work: Iterable[tuple[str, str]], backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    """Count for each case, mode and dtype the entries of value and gradients that are not finite."""
    for dtype, name in work:
        x, y, options = cases(dtype)[name]
        images = [image.to(getattr(torch, dtype)).to(device) for image in (x, y)]
        for backend in backends:
            yield from _in_every_mode(name, images, {"data_range": 1.0, "backend": backend, **options}, dtype, device)


def _in_every_mode(
    name: str, images: Sequence[torch.Tensor], options: dict[str, Any], dtype: str, device: str
) -> Iterator[rows.Measurement]:
    backend = options["backend"]
    common = {
        "section": SECTION, "backend": backend, "device": device, "dtype": dtype,
        "dataset": "provoking images", "pair": name,
    }  # fmt: skip
    calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {"ssim()": (msssim.ssim, {})}
    for mode, method in itertools.product(MODES, ("product", "wtd_sum")):
        calls[f"normalize={mode!r}, {method}"] = msssim.msssim, {"normalize": mode, "method": method}
    for quantity, (function, more) in calls.items():
        count, refusal = library.attempt(backend, _not_finite, function, images, {**options, **more})
        # Only the power of a negative mean is documented to be NaN; the weighted sum must be finite.
        documented = more == {"normalize": None, "method": "product"}
        kind = tolerances.DOCUMENTED if documented else "count"
        yield rows.Measurement(**common, quantity=quantity, kind=kind, **(refusal or {"error": float(count)}))
        if documented and not refusal:
            unexplained = count > 0 and not _negative_mean(images, options)
            named = f"{quantity}: NaN without a negative mean"
            yield rows.Measurement(**common, quantity=named, kind="count", error=float(unexplained))


def _not_finite(function: Callable[..., Any], images: Iterable[torch.Tensor], options: dict[str, Any]) -> int:
    x, y = (image.clone().requires_grad_() for image in images)
    value = _without_range_warning(function, x, y, **options)
    value.backward()
    assert x.grad is not None and y.grad is not None
    return sum(int((~one.isfinite()).sum()) for one in (value.detach(), x.grad, y.grad))


def _negative_mean(images: Sequence[torch.Tensor], options: dict[str, Any]) -> bool:
    # With gradients, as the value that is judged: without them the arithmetic of plain PyTorch may be float32.
    x, y = (image.clone().requires_grad_() for image in images)
    return bool((_without_range_warning(msssim.msssim, x, y, scales=True, **options)[1] < 0).any())


def _without_range_warning(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        # These images exceed their range on purpose.
        warnings.filterwarnings("ignore", message="data_range:", category=UserWarning)
        return function(*args, **kwargs)
