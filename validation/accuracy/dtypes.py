"""Narrow dtypes: bfloat16, float16 and uint8 images against float64 images of the same values."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

import datasets

from .. import library
from . import rows

SECTION = "Narrow dtypes"
WHOLE, UNIT = "0..255", "0..1"
_DTYPES = {WHOLE: ("bfloat16", "float16", "uint8"), UNIT: ("bfloat16", "float16")}
# The initial scale of torch.amp.GradScaler. Without it most entries, about 1 / pixels, would underflow in float16.
UPSTREAM = 2.0**16


def measure(pairs: Iterable[datasets.Pair], backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    """Measure golden pairs: 0..255 in every dtype, and 0..1, where half precision rounds the images."""
    for pair in pairs:
        planes = library.tensors(pair, "float64", device)
        identical = torch.equal(*planes)
        for values, dtypes in _DTYPES.items():
            unit, data_range = (1.0, pair.data_range) if values == WHOLE else (pair.data_range, 1.0)
            for quantity in (library.SSIM, library.SIMPLE):
                wide: list[torch.Tensor] | None = None
                for dtype in dtypes:
                    images = [(plane / unit).to(getattr(torch, dtype)) for plane in planes]
                    before, wide = wide, [image.double() for image in images]
                    if before is None or not all(map(torch.equal, before, wide)):  # every dtype represents 0..255
                        options: dict[str, Any] = {"data_range": data_range, "backend": "torch", "upstream": UPSTREAM}
                        exact = library.gradients(quantity, *wide, **options)
                    common: dict[str, Any] = {"device": device, "dtype": dtype, "dataset": "golden", "pair": pair.name}
                    for backend in backends:
                        common |= {"section": SECTION, "backend": backend, "quantity": f"{quantity}, {values}"}
                        yield from _compare(quantity, images, data_range, exact, identical, common)


def _compare(
    quantity: str,
    images: list[torch.Tensor],
    data_range: float,
    exact: Sequence[torch.Tensor],
    identical: bool,
    common: dict[str, Any],
) -> Iterator[rows.Measurement]:
    backend, name = common["backend"], common["quantity"]
    options = {"data_range": data_range, "backend": backend}
    if images[0].is_floating_point():
        result, refusal = library.attempt(
            backend, library.gradients, quantity, *images, **options, upstream=UPSTREAM
        )  # fmt: skip
    else:
        result, refusal = library.attempt(backend, lambda: [library.value(quantity, *images, **options)])
    if result is None:
        yield rows.Measurement(**common, kind="value", **refusal)
        return
    value, *gradients = result
    expected = float(exact[0])
    error = abs(float(value) - expected)
    yield rows.Measurement(**common, kind="value", error=error, value=float(value), expected=expected)
    if gradients and not identical:  # whose gradient is 0, so that a relative error is undefined
        error = max(map(library.relative_error, gradients, exact[1:]))
        yield rows.Measurement(**common | {"quantity": f"{name}, gradient"}, kind="rounded gradient", error=error)
    wrong = (value.dtype != torch.float32) + sum(one.dtype != images[0].dtype for one in gradients)
    named = f"{name}: wrong dtypes of result or gradients"
    yield rows.Measurement(**common | {"quantity": named}, kind="count", error=float(wrong))
