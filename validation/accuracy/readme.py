"""Write the accuracy table of README.md from the rows of a validation report.

python -m validation.accuracy.readme reports/validation/rows.json [README.md]

replaces what stands between the lines ``<!-- accuracy: begin -->`` and ``<!-- accuracy: end -->``; both lines stay, and
the rest of the file is untouched. The rows must be those of a run that measured the golden pairs.
"""

import argparse
import pathlib
import sys

import pandas as pd

from ..report import section
from . import short

BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"


def table(rows):
    """The Markdown table made of the report's rows: for each backend the worst error, and the median one behind it."""
    table = short.frame(rows)
    if table.empty:
        raise ValueError("rows: a run that measured the golden pairs is wanted, and these rows have none of them")
    merged = table[list(short.KEYS)].copy()
    for backend in short.backends(rows):
        errors = zip(table[f"{backend}: worst"], table[f"{backend}: median"], strict=True)
        merged[f"{backend}: worst (median)"] = [_errors(*both) for both in errors]
    merged["budget"] = table.budget.map(section.number)
    return section.markdown_table(list(merged.columns), merged.itertuples(index=False))


def _errors(worst, median):
    return "" if pd.isna(worst) else f"{section.number(worst)} ({section.number(median)})"


def main(arguments=None):
    """Rewrite the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m validation.accuracy.readme", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("rows", type=pathlib.Path, help="rows.json of a report")
    parser.add_argument("readme", type=pathlib.Path, nargs="?", default=pathlib.Path("README.md"))
    options = parser.parse_args(arguments)
    try:
        rows = pd.read_json(options.rows, orient="records", precise_float=True)
        text = section.between(options.readme.read_text(encoding="utf-8"), BEGIN, END, table(rows))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
