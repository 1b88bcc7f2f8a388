"""Write the accuracy table of README.md from the rows of a validation report.

python -m validation.accuracy.readme reports/validation/rows.csv [README.md]

replaces the text between the lines ``<!-- accuracy: begin -->`` and ``<!-- accuracy: end -->``. The run must have
measured the golden pairs.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import pandas as pd

from ..report import section
from . import short

BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"


def table(rows: pd.DataFrame) -> str:
    """Return the Markdown table: for each backend the worst and the median error."""
    table = short.frame(rows)
    if table.empty:
        raise ValueError("rows must include the golden pairs, got none")
    merged = table[list(short.KEYS)].copy()
    for backend in short.backends(rows):
        errors = zip(table[f"{backend}: worst"], table[f"{backend}: median"], strict=True)
        merged[f"{backend}: worst (median)"] = [_errors(*both) for both in errors]
    merged["budget"] = table.budget.map(section.number)
    return section.markdown_table(list(merged.columns), merged.itertuples(index=False))


def _errors(worst: float, median: float) -> str:
    return "" if pd.isna(worst) else f"{section.number(worst)} ({section.number(median)})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m validation.accuracy.readme", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("rows", type=pathlib.Path, help="rows.csv of a report")
    parser.add_argument("readme", type=pathlib.Path, nargs="?", default=pathlib.Path("README.md"))
    options = parser.parse_args(arguments)
    try:
        rows = pd.read_csv(options.rows)
        text = section.between(options.readme.read_text(encoding="utf-8"), BEGIN, END, table(rows))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
