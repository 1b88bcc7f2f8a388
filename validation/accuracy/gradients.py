"""Gradients: against differences of Wang's MATLAB code, gradcheck, and plain PyTorch in float64."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck

import datasets
import msssim
from reference import golden

from .. import library
from . import rows

MATLAB, FLOAT64 = "Gradient: Wang's MATLAB code", "Gradient: plain PyTorch in float64"
NUMERICAL = "Gradient: numerical check"
_MATLAB_FIELDS = {library.PRODUCT: "msssim_product", library.WTD_SUM: "msssim_wtd_sum", library.SSIM: "ssim_index"}
_KINDS = {library.COVARIANCE: "gradient at kinks"}


def measure_against_matlab(
    pairs: Iterable[datasets.Pair], backends: Sequence[str], device: str
) -> Iterator[rows.Measurement]:
    """Measure the pairs for which differences of the original are stored."""
    for pair in pairs:
        for backend, dtype in itertools.product(backends, ("float64", "float32")):
            yield from _against_matlab(pair, backend, device, dtype)


def measure(pairs: Iterable[datasets.Pair], backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    """Measure golden pairs: every entry of both gradients, against plain PyTorch in float64."""
    for pair in pairs:
        yield from _against_float64(pair, backends, device)


def _against_matlab(pair: datasets.Pair, backend: str, device: str, dtype: str) -> Iterator[rows.Measurement]:
    """Compare with central differences of the original in the distorted image, at sampled pixels."""
    sampled = golden.gradients()[pair.name]
    at = torch.as_tensor(sampled.row).long(), torch.as_tensor(sampled.column).long()
    reference, distorted = library.tensors(pair, dtype, device)
    # SSIM is symmetric: with swapped images the same numbers are the gradient of the first argument.
    for quantity, swapped in itertools.product(_MATLAB_FIELDS, (False, True)):
        images = (distorted, reference) if swapped else (reference, distorted)
        name = f"{quantity}, {'img1' if swapped else 'img2'}"
        common = _common(MATLAB, backend, device, dtype, name, pair.name, "golden-gradients", "gradient")
        result, refusal = library.attempt(
            backend, library.gradients, quantity, *images, data_range=pair.data_range, backend=backend
        )
        if result is None:
            yield rows.Measurement(**common, **refusal)
            continue
        gradient = result[1 if swapped else 2].double()
        exact = torch.as_tensor(getattr(sampled, _MATLAB_FIELDS[quantity]), dtype=torch.float64)
        error = (gradient[at] - exact).abs().max() / gradient.abs().max()
        yield rows.Measurement(**common, error=float(error))


def _against_float64(pair: datasets.Pair, backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    identical = (pair.reference == pair.distorted).all()
    for quantity in (library.SSIM, library.PRODUCT, library.SIMPLE, library.COVARIANCE):
        exact = library.gradients(
            quantity, *library.tensors(pair, "float64", device), data_range=pair.data_range, backend="torch"
        )
        if exact[0].isnan():
            continue  # complex in the original; "simple" covers such pairs
        for backend in backends:
            for dtype in ("float64", "float32") if identical or backend != "torch" else ("float32",):
                name = f"{quantity}, identical images" if identical else quantity
                kind = "zero gradient" if identical else _KINDS.get(quantity, "gradient")
                common = _common(FLOAT64, backend, device, dtype, name, pair.name, "golden", kind)
                result, refusal = library.attempt(
                    backend, library.gradients, quantity, *library.tensors(pair, dtype, device),
                    data_range=pair.data_range, backend=backend,
                )  # fmt: skip
                if result is None:
                    yield rows.Measurement(**common, **refusal)
                elif identical:
                    entry = max(float(one.abs().max()) for one in result[1:])
                    scaled = entry * result[1].numel() * pair.data_range
                    yield rows.Measurement(**common, error=scaled)
                else:
                    error = max(map(library.relative_error, result[1:], exact[1:]))
                    yield rows.Measurement(**common, error=error)


def _common(
    section: str, backend: str, device: str, dtype: str, quantity: str, pair: str, dataset: str, kind: str
) -> dict[str, Any]:
    return {
        "section": section, "backend": backend, "device": device, "dtype": dtype, "quantity": quantity,
        "dataset": dataset, "pair": pair, "kind": kind,
    }  # fmt: skip


# One call for each option that changes the derivative: (name, function, options).
SMALL: Sequence[tuple[str, Callable[..., Any], dict[str, Any]]] = [("ssim()", msssim.ssim, {})] + [
    (f"normalize={mode!r}, {method}", msssim.msssim, {"weights": (0.4, 0.6), "normalize": mode, "method": method})
    for mode, method in itertools.product((None, "relu", "simple", "covariance"), ("product", "wtd_sum"))
]


def measure_numerically(
    calls: Iterable[tuple[str, Callable[..., Any], dict[str, Any]]], backends: Sequence[str], device: str
) -> Iterator[rows.Measurement]:
    """Measure by torch.autograd.gradcheck and gradgradcheck, on small images in float64."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.rand(2, 1, 2, 7, 6, generator=generator, dtype=torch.float64).to(device)
    y = 0.7 * x + 0.3 * noise
    for name, function, options in calls:
        for backend in backends:
            call = functools.partial(function, win_size=3, data_range=1.0, backend=backend, **options)
            yield from _check(
                call, (x, y), _common(NUMERICAL, backend, device, "float64", "", name, "noise, 2 × 7 × 6", "count")
            )


def _check(
    call: Callable[..., Any], images: Sequence[torch.Tensor], common: dict[str, Any]
) -> Iterator[rows.Measurement]:
    images = [image.clone().requires_grad_() for image in images]
    # The fast mode compares random projections; all second derivatives would take minutes.
    for quantity, check, mode in (
        ("first derivatives", gradcheck, {}),
        ("second derivatives", gradgradcheck, {"fast_mode": True}),
    ):
        common |= {"quantity": quantity}
        try:
            _, refusal = library.attempt(common["backend"], check, call, images, **mode)
            yield rows.Measurement(**common, **(refusal or {"error": 0.0}))
        except GradcheckError as error:
            yield rows.Measurement(**common, error=1.0, note=str(error).strip().splitlines()[0])
