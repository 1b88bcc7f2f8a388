"""What is promised: the largest error, and where it says more, the largest median error.

Every measurement names its kind; kind and dtype, and for a few backends the backend, give the budget. Value errors are
absolute, of an index that is 1 for identical images. Gradient errors are relative to the gradient's largest entry.
"""

from typing import NamedTuple


class Budget(NamedTuple):
    """The errors that are allowed; `median` is None where only the worst one is limited."""

    worst: float
    median: float | None = None


# A median over a handful of pairs says nothing, so that budget holds from this many on.
MEDIAN_FROM = 10

_FLOAT32_VALUE = Budget(1e-5, 2e-7)
# tf.image computes in float32 without a shift, so this is its own error on the golden pairs, not ours.
_TENSORFLOW = Budget(1e-4, 5e-6)
_FLOAT32_GRADIENT = Budget(5e-5)

BUDGETS = {
    # Rounding of two different orders of summation, over planes of up to 10^6 pixels.
    ("value", "float64"): Budget(1e-11),
    ("value", "float32"): _FLOAT32_VALUE,
    # What is narrower than float32 is computed in float32, so that it has float32's budget, on the values it holds.
    ("value", "bfloat16"): _FLOAT32_VALUE,
    ("value", "float16"): _FLOAT32_VALUE,
    ("value", "uint8"): _FLOAT32_VALUE,
    ("tensorflow", "float64"): _TENSORFLOW,
    ("tensorflow", "float32"): _TENSORFLOW,
    # Central differences of the original in float64: their own error is about 2e-8.
    ("gradient", "float64"): Budget(1e-6),
    ("gradient", "float32"): _FLOAT32_GRADIENT,
    # max(σxy, 0) has a kink: a window within rounding of it is on either side, with a gradient or without.
    ("gradient at kinks", "float64"): Budget(1e-6),
    ("gradient at kinks", "float32"): Budget(5e-2, 5e-5),
    # The gradient is rounded once to the dtype of the image: half a unit in its last place, on top of float32's.
    ("rounded gradient", "bfloat16"): Budget(2**-8 + _FLOAT32_GRADIENT.worst),
    ("rounded gradient", "float16"): Budget(2**-11 + _FLOAT32_GRADIENT.worst),
    # Identical images have gradient 0, so nothing to be relative to: the largest entry times the number of pixels times
    # data_range, which is 5 to 200 for golden pairs that differ.
    ("zero gradient", "float64"): Budget(1e-11),
    ("zero gradient", "float32"): Budget(2e-3),
}

# Measured in counts (of non-finite numbers, of failed checks, of wrong dtypes), whatever the dtype: none is allowed.
COUNTS = ("count",)
# Reported without a limit: because the documentation says that it happens, or because the error is the oracle's own.
DOCUMENTED, ORACLES_OWN = "documented", "oracle's own"
UNLIMITED = (DOCUMENTED, ORACLES_OWN)

# Backends that are held to less. A fused kernel adds fewer rounding errors than a chain of tensor operations.
BY_BACKEND = {
    "numba": {
        ("value", "float32"): Budget(3e-6, 1e-7),
        ("value", "bfloat16"): Budget(3e-6, 1e-7),
        ("value", "float16"): Budget(3e-6, 1e-7),
        ("value", "uint8"): Budget(3e-6, 1e-7),
        ("gradient", "float32"): Budget(2e-5),
    },
}


def budget(kind, dtype, backend):
    """The budget of a measurement, or None for a kind that is only reported."""
    if kind in UNLIMITED:
        return None
    if kind in COUNTS:
        return Budget(0)
    key = (kind, dtype)
    return BY_BACKEND.get(backend, {}).get(key) or BUDGETS[key]


# Scores of single images, and statistics, that were published with so many digits.
PRINTED_SCORE = 5e-7  # six decimals
FULL_SCORE = 1e-10  # every digit of a float64; what is left is the order of summation
FITTED_STATISTIC = 1e-3  # PLCC and RMSE depend on where a search for the curve ended
