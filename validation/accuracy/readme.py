"""Write the accuracy tables of README.md and docs/accuracy.md from the rows of a validation report.

python -m validation.accuracy.readme validation/reports/MACHINE/rows.csv

replaces the text between the lines ``<!-- accuracy: begin -->`` and ``<!-- accuracy: end -->`` by the complete table,
and between the same lines with ``accuracy in short`` by the rows that matter most. The run must have measured the
golden pairs.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import pandas as pd

from ..report import section
from . import short

FULL, IN_SHORT = "accuracy", "accuracy in short"
DOCUMENTS = (pathlib.Path("README.md"), pathlib.Path("docs/accuracy.md"))
# What the short table shows: one row of each kind, float32 where both dtypes are measured.
_MAIN_ROWS = {
    ("MS-SSIM", "Wang's MATLAB code", "float64"), ("MS-SSIM", "Wang's MATLAB code", "float32"),
    ("SSIM", "Wang's MATLAB code", "float32"), ("gradient of MS-SSIM, relative", "Wang's MATLAB code", "float64"),
    ("gradient of MS-SSIM, relative", "plain PyTorch in float64", "float32"),
}  # fmt: skip


def tables(rows: pd.DataFrame) -> dict[str, str]:
    """Return the Markdown tables by the name of their region."""
    found = _merged(rows)
    main = [key in _MAIN_ROWS for key in zip(found.quantity, found.against, found.dtype, strict=True)]
    return {
        FULL: section.markdown_table(found.columns, found.itertuples(index=False)),
        IN_SHORT: section.markdown_table(found.columns, found[main].itertuples(index=False)),
    }


def _merged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return for each backend one column with the worst and the median error."""
    table = short.frame(rows)
    if table.empty:
        raise ValueError("rows must include the golden pairs, got none")
    merged = table[list(short.KEYS)].copy()
    for backend in short.backends(rows):
        errors = zip(table[f"{backend}: worst"], table[f"{backend}: median"], strict=True)
        merged[f"{backend}: worst (median)"] = [_errors(*both) for both in errors]
    merged["budget"] = table.budget.map(section.number)
    return merged


def _errors(worst: float, median: float) -> str:
    return "" if pd.isna(worst) else f"{section.number(worst)} ({section.number(median)})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the tables; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m validation.accuracy.readme", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("rows", type=pathlib.Path, help="rows.csv of a report")
    parser.add_argument("documents", type=pathlib.Path, nargs="*", default=DOCUMENTS, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        section.rewrite(dict.fromkeys(options.documents, tables(pd.read_csv(options.rows))))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
