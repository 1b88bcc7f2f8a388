"""Is the value right? Against Wang's MATLAB code, wang.py, scikit-image, TensorFlow and closed forms."""

import math
from typing import NamedTuple

import numpy as np

from reference import golden, oracles, wang

from .. import library, tolerances
from . import rows

MATLAB, WANG, SKIMAGE, TENSORFLOW = "Wang's MATLAB code", "wang.py (NumPy)", "scikit-image", "TensorFlow"
CLOSED_FORM = "Closed form"
DTYPES = ("float64", "float32")


class Expectation(NamedTuple):
    """What an oracle says of a pair; `missing` is the reason why it says nothing."""

    section: str
    quantity: str
    value: object  # float, complex or array
    missing: str = ""


def measure(dataset, pairs, backends, device):
    """Yield a Measurement for each pair, oracle, quantity, backend and dtype."""
    for pair in pairs:
        expectations = list(expected(dataset, pair))
        for backend in backends:
            for dtype in DTYPES:
                yield from _compare(dataset, pair, expectations, backend, device, dtype)


def expected(dataset, pair):
    """Yield what every oracle that knows this dataset says of a pair."""
    if pair.expected is not None:
        known = {"ssim": library.SSIM, "msssim": library.PRODUCT, "msssim_wtd_sum": library.WTD_SUM}
        for name, value in pair.expected.items():
            yield Expectation(CLOSED_FORM, known[name], value)
        return
    if dataset == "golden":
        yield from _matlab(golden.values()[pair.name])
    yield from _wang(pair)
    yield from _others(pair)


def _matlab(figures):
    yield Expectation(MATLAB, library.SSIM, figures.ssim_index)
    yield Expectation(MATLAB, library.PRODUCT, figures.msssim_product)
    yield Expectation(MATLAB, library.WTD_SUM, figures.msssim_wtd_sum)
    yield Expectation(MATLAB, library.TERMS, np.array([*figures.cs[:4], *figures.ssim]))


def _wang(pair):
    """Each channel by itself, then the mean: the original takes one gray plane."""
    planes = [
        np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None] for image in (pair.reference, pair.distorted)
    ]
    functions = {
        library.SSIM: lambda x, y: wang.ssim_index(x, y, data_range=pair.data_range)[0],
        library.SSIM_REDUCED: lambda x, y: wang.ssim(x, y, data_range=pair.data_range),
        library.PRODUCT: lambda x, y: wang.msssim(x, y, data_range=pair.data_range),
        library.WTD_SUM: lambda x, y: wang.msssim(x, y, data_range=pair.data_range, method="wtd_sum"),
    }
    for quantity, function in functions.items():
        of_channels = [function(x, y) for x, y in zip(*planes, strict=True)]
        # A single complex channel makes the value of the image NaN, whatever imaginary parts would cancel.
        invalid = any(np.imag(one) != 0 for one in of_channels)
        yield Expectation(WANG, quantity, 1j if invalid else float(np.mean(np.real(of_channels))))


def _others(pair):
    # tf.image clips every mean at 0, which is what "relu" does; where none is negative it is Wang's value.
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


def _compare(dataset, pair, expectations, backend, device, dtype):
    x, y = library.tensors(pair, dtype, device)
    computed = {}
    for one in expectations:
        common = {
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
            # The original's value is no real number: the library's has to be NaN.
            common |= {"quantity": f"{one.quantity} is NaN where the original is complex", "kind": "count"}
            yield rows.Measurement(**common, error=float(not value.isnan().all()))
        else:
            yield rows.Measurement(**common, **_error(value.numpy().astype(np.float64), np.real(one.value)))


def _kind(expectation, dataset):
    """The budget: TensorFlow's is of the golden pairs, for on others its own rounding may be any number of times it."""
    if expectation.section != TENSORFLOW:
        return "value"
    return "tensorflow" if dataset == "golden" else tolerances.ORACLES_OWN


def _error(value, expected):
    error = float(np.max(np.abs(value - expected)))
    return {"error": error} if value.ndim else {"error": error, "value": float(value), "expected": float(expected)}
