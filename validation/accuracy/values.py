"""Values: against Wang's MATLAB code, wang.py, long double, scikit-image, TensorFlow and closed forms."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import datasets
from reference import golden, longdouble, oracles, wang

from .. import library, tolerances
from . import rows

MATLAB, WANG, SKIMAGE, TENSORFLOW = "Wang's MATLAB code", "wang.py (NumPy)", "scikit-image", "TensorFlow"
CLOSED_FORM, LONG_DOUBLE = "Closed form", "longdouble.py (NumPy)"
# Larger planes are not compared: the time of this oracle grows faster than the number of pixels.
_LONG_DOUBLE_PIXELS = 256 * 256
DTYPES = ("float64", "float32")


class Expectation(NamedTuple):
    """The value of an oracle for a pair."""

    section: str
    quantity: str
    value: Any
    """A float, a complex number or an array."""
    missing: str = ""
    """Why the oracle could not be used."""


def measure(
    dataset: str, pairs: Iterable[datasets.Pair], backends: Sequence[str], device: str
) -> Iterator[rows.Measurement]:
    """Yield a measurement for each pair, oracle, quantity, backend and dtype."""
    for pair in pairs:
        expectations = list(expected(dataset, pair))
        for backend in backends:
            for dtype in DTYPES:
                yield from _compare(dataset, pair, expectations, backend, device, dtype)


def expected(dataset: str, pair: datasets.Pair) -> Iterator[Expectation]:
    """Yield the values of all oracles for a pair."""
    if pair.expected is not None:
        known = {"ssim": library.SSIM, "msssim": library.PRODUCT, "msssim_wtd_sum": library.WTD_SUM}
        for name, value in pair.expected.items():
            yield Expectation(CLOSED_FORM, known[name], value)
        return
    if dataset == "golden":
        yield from _matlab(golden.values()[pair.name])
    yield from _wang(pair)
    yield from _long_double(pair)
    yield from _others(pair)


def _matlab(figures: golden.GoldenValues) -> Iterator[Expectation]:
    yield Expectation(MATLAB, library.SSIM, figures.ssim_index)
    yield Expectation(MATLAB, library.PRODUCT, figures.msssim_product)
    yield Expectation(MATLAB, library.WTD_SUM, figures.msssim_wtd_sum)
    yield Expectation(MATLAB, library.TERMS, np.array([*figures.cs[:4], *figures.ssim]))


def _wang(pair: datasets.Pair) -> Iterator[Expectation]:
    """Average over the channels: the original takes one gray plane."""
    images = library.planes(pair.reference), library.planes(pair.distorted)
    functions = {
        library.SSIM: lambda x, y: wang.ssim_index(x, y, data_range=pair.data_range)[0],
        library.SSIM_REDUCED: lambda x, y: wang.ssim(x, y, data_range=pair.data_range),
        library.PRODUCT: lambda x, y: wang.msssim(x, y, data_range=pair.data_range),
        library.WTD_SUM: lambda x, y: wang.msssim(x, y, data_range=pair.data_range, method="wtd_sum"),
    }
    for quantity, function in functions.items():
        of_channels = [function(x, y) for x, y in zip(*images, strict=True)]
        # One complex channel makes the value of the image NaN, even if the imaginary parts would cancel.
        invalid = any(np.imag(one) != 0 for one in of_channels)
        yield Expectation(WANG, quantity, 1j if invalid else float(np.mean(np.real(of_channels))))


def _long_double(pair: datasets.Pair) -> Iterator[Expectation]:
    """Yield the values of the modes that the original does not have, of images that are not large."""
    x, y = library.planes(pair.reference), library.planes(pair.distorted)
    if not longdouble.available() or x[0].size > _LONG_DOUBLE_PIXELS:
        return
    for quantity, mode in ((library.COVARIANCE, "covariance"), (library.RELU, "relu"), (library.SIMPLE, "simple")):
        options = longdouble.Options(data_range=pair.data_range, normalize=mode)
        yield Expectation(LONG_DOUBLE, quantity, float(longdouble.msssim(x, y, options).value.mean()))


def _others(pair: datasets.Pair) -> Iterator[Expectation]:
    # tf.image clips each mean at 0, like "relu". If none is negative it is Wang's value.
    table = (
        (SKIMAGE, library.SSIM, oracles.skimage_ssim),
        (TENSORFLOW, library.SSIM, oracles.tf_ssim),
        (TENSORFLOW, library.RELU, oracles.tf_msssim),
    )
    for section, quantity, function in table:
        try:
            yield Expectation(section, quantity, function(pair.reference, pair.distorted, pair.data_range))
        except ImportError as error:
            yield Expectation(section, quantity, math.nan, missing=str(error).splitlines()[0])


def _compare(
    dataset: str, pair: datasets.Pair, expectations: Iterable[Expectation], backend: str, device: str, dtype: str
) -> Iterator[rows.Measurement]:
    x, y = library.tensors(pair, dtype, device)
    computed: dict[str, tuple[Any, dict[str, Any]]] = {}
    for one in expectations:
        common: dict[str, Any] = {
            "section": one.section, "backend": backend, "device": device, "dtype": dtype,
            "quantity": one.quantity, "dataset": dataset, "pair": pair.name,
            "kind": _kind(one, dataset),
        }  # fmt: skip
        if one.missing:
            yield rows.Measurement(**common, missing=rows.SKIPPED, note=one.missing)
            continue
        if one.quantity not in computed:
            computed[one.quantity] = library.attempt(
                backend, library.value, one.quantity, x, y, data_range=pair.data_range, backend=backend
            )
        value, refusal = computed[one.quantity]
        if value is None:
            yield rows.Measurement(**common, **refusal)
        elif np.any(np.imag(one.value) != 0):
            # The value of the original is complex: the library's must be NaN.
            common |= {"quantity": f"{one.quantity} is NaN where the original is complex", "kind": "count"}
            yield rows.Measurement(**common, error=float(not value.isnan().all()))
        else:
            yield rows.Measurement(**common, **_error(value.numpy().astype(np.float64), np.real(one.value)))


def _kind(expectation: Expectation, dataset: str) -> str:
    """Return the kind of budget; TensorFlow, whose rounding error is unbounded, has one for the golden pairs only."""
    if expectation.section != TENSORFLOW:
        return "value"
    return "tensorflow" if dataset == "golden" else tolerances.ORACLES_OWN


def _error(value: np.ndarray, expected: Any) -> dict[str, Any]:
    error = float(np.max(np.abs(value - expected)))
    return {"error": error} if value.ndim else {"error": error, "value": float(value), "expected": float(expected)}
