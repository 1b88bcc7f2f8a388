"""The few rows that summarize the accuracy, for README.md, the top of the report, and papers."""

import math

import pandas as pd

from .. import library
from . import dtypes, gradients, values

KEYS = ("quantity", "against", "dtype", "pairs")
# Of the golden pairs: (name in the table, section, quantity, dtypes).
SHOWN = (
    ("MS-SSIM", values.MATLAB, library.PRODUCT, ("float64", "float32")),
    ("SSIM", values.MATLAB, library.SSIM, ("float64", "float32")),
    ("SSIM", values.SKIMAGE, library.SSIM, ("float64",)),
    ("MS-SSIM", values.TENSORFLOW, library.RELU, ("float64",)),
    ("gradient of MS-SSIM, relative", gradients.MATLAB, f"{library.PRODUCT}, img2", ("float64",)),
    ("gradient of MS-SSIM, relative", gradients.FLOAT64, library.PRODUCT, ("float32",)),
    ('the same, normalize="covariance"', gradients.FLOAT64, f"{library.PRODUCT}, covariance", ("float32",)),
    ("SSIM, uint8 images", dtypes.SECTION, f"{library.SSIM}, {dtypes.WHOLE}", ("uint8",)),
    ("SSIM, bfloat16 images", dtypes.SECTION, f"{library.SSIM}, {dtypes.UNIT}", ("bfloat16",)),
)
_AGAINST = {dtypes.SECTION: "float64 on the same values"}


def backends(rows: pd.DataFrame) -> list[str]:
    """Return the backends in these rows, plain PyTorch first."""
    return sorted(rows.backend.unique(), key=lambda name: (name != "torch", name))


def frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return for each backend the worst and median errors, and the budget; empty if nothing of it was measured."""
    lines = []
    for name, source, quantity, shown in SHOWN:
        dataset = "golden-gradients" if source == gradients.MATLAB else "golden"
        found = rows[(rows.section == source) & (rows.quantity == quantity) & (rows.dataset == dataset) & (rows.n > 0)]
        for dtype in shown:
            measured = found[found.dtype == dtype].set_index("backend")
            if len(measured):
                errors = [_errors(measured, backend) for backend in backends(rows)]
                against = _AGAINST.get(source, source.removeprefix("Gradient: "))
                pairs = int(measured.n.max())
                lines.append([name, against, dtype, pairs, *sum(errors, ()), measured.budget_worst.max()])
    heads = [f"{backend}: {which}" for backend in backends(rows) for which in ("worst", "median")]
    return pd.DataFrame(lines, columns=[*KEYS, *heads, "budget"])


def _errors(measured: pd.DataFrame, backend: str) -> tuple[float, float]:
    if backend not in measured.index:
        return math.nan, math.nan
    return float(measured.loc[backend, "worst"]), float(measured.loc[backend, "median"])
