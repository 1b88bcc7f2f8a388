"""The error budgets: for each kind of measurement and dtype the largest error, and for some the largest median error.

Some backends have smaller budgets. Value errors are absolute; the index is 1 for identical images. Gradient errors are
relative to the largest entry of the gradient.
"""

import math
from typing import NamedTuple


class Budget(NamedTuple):
    """The largest errors; `median` is None if only the worst error is limited."""

    worst: float
    median: float | None = None


# The budget of the median needs at least this many pairs.
MEDIAN_FROM = 10

_FLOAT32_VALUE = Budget(1e-5, 2e-7)
# The error of tf.image, not ours: it computes in float32 without a shift of the mean.
_TENSORFLOW = Budget(1e-4, 5e-6)
_FLOAT32_GRADIENT = Budget(5e-5)

BUDGETS = {
    # Rounding of two orders of summation, over planes of up to 10^6 pixels.
    ("value", "float64"): Budget(1e-11),
    ("value", "float32"): _FLOAT32_VALUE,
    # Narrower dtypes are computed in float32, so they have its budget, for the values that they represent.
    ("value", "bfloat16"): _FLOAT32_VALUE,
    ("value", "float16"): _FLOAT32_VALUE,
    ("value", "uint8"): _FLOAT32_VALUE,
    ("tensorflow", "float64"): _TENSORFLOW,
    ("tensorflow", "float32"): _TENSORFLOW,
    # The error of the central differences of the original is about 2e-8.
    ("gradient", "float64"): Budget(1e-6),
    ("gradient", "float32"): _FLOAT32_GRADIENT,
    # max(σxy, 0) has a kink: a window within rounding of it may have a gradient or not.
    ("gradient at kinks", "float64"): Budget(1e-6),
    ("gradient at kinks", "float32"): Budget(5e-2, 5e-5),
    # The gradient is rounded once to the dtype of the image: half a unit in the last place in addition to float32's.
    ("rounded gradient", "bfloat16"): Budget(2**-8 + _FLOAT32_GRADIENT.worst),
    ("rounded gradient", "float16"): Budget(2**-11 + _FLOAT32_GRADIENT.worst),
    # The gradient of identical images is 0, so this is the largest entry times the number of pixels times data_range,
    # which is 5 to 200 for golden pairs that differ.
    ("zero gradient", "float64"): Budget(1e-11),
    ("zero gradient", "float32"): Budget(2e-3),
}

# Counts (of non-finite numbers, failed checks, wrong dtypes) must be 0 for every dtype.
COUNTS = ("count",)
# Reported without a limit: it is documented, or the error is the oracle's own.
DOCUMENTED, ORACLES_OWN = "documented", "oracle's own"
UNLIMITED = (DOCUMENTED, ORACLES_OWN)

# Smaller budgets of some backends. A fused kernel rounds less often than a chain of tensor operations.
BY_BACKEND = {
    "numba": {
        ("value", "float32"): Budget(3e-6, 1e-7),
        ("value", "bfloat16"): Budget(3e-6, 1e-7),
        ("value", "float16"): Budget(3e-6, 1e-7),
        ("value", "uint8"): Budget(3e-6, 1e-7),
        ("gradient", "float32"): Budget(2e-5),
    },
}


def budget(kind: str, dtype: str, backend: str) -> Budget:
    """Return the budget of a measurement; NaN for a kind that is only reported."""
    if kind in UNLIMITED:
        return Budget(math.nan)
    if kind in COUNTS:
        return Budget(0)
    key = (kind, dtype)
    return BY_BACKEND.get(backend, {}).get(key) or BUDGETS[key]


# The precision of published scores of images and of published statistics.
PRINTED_SCORE = 5e-7  # six decimals
FULL_SCORE = 1e-10  # every digit of a float64; the order of summation differs
FITTED_STATISTIC = 1e-3  # PLCC and RMSE depend on the end of a search for the curve
