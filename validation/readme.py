"""Write the accuracy table of README.md from the rows of a validation report.

python -m validation.readme reports/validation/rows.json [README.md]

replaces what stands between the lines ``<!-- accuracy: begin -->`` and ``<!-- accuracy: end -->``; both lines stay, and
the rest of the file is untouched. The rows must be those of a run that measured the golden pairs.
"""

import argparse
import pathlib
import sys

import pandas as pd

from . import dtypes, gradients, library, report, values

BEGIN, END = "<!-- accuracy: begin -->", "<!-- accuracy: end -->"

# What the table shows, of the golden pairs: (name in the table, section, quantity, dtypes).
SHOWN = (
    ("MS-SSIM", values.MATLAB, library.PRODUCT, ("float64", "float32")),
    ("SSIM", values.MATLAB, library.SSIM, ("float64", "float32")),
    ("SSIM", values.SKIMAGE, library.SSIM, ("float64",)),
    ("MS-SSIM", values.TENSORFLOW, library.RELU, ("float64",)),
    ("gradient of MS-SSIM, relative", gradients.MATLAB, f"{library.PRODUCT}, img2", ("float64",)),
    ("gradient of MS-SSIM, relative", gradients.FLOAT64, library.PRODUCT, ("float32",)),
    ("SSIM, uint8 images", dtypes.SECTION, f"{library.SSIM}, {dtypes.WHOLE}", ("uint8",)),
    ("SSIM, bfloat16 images", dtypes.SECTION, f"{library.SSIM}, {dtypes.UNIT}", ("bfloat16",)),
)
_AGAINST = {dtypes.SECTION: "float64 on the same values"}


def table(rows):
    """The Markdown table made of the report's rows: for each backend the worst error, and the median one behind it."""
    backends = sorted(rows.backend.unique(), key=lambda name: (name != "torch", name))  # the plain one first
    lines = []
    for name, section, quantity, wanted in SHOWN:
        dataset = "golden-gradients" if section == gradients.MATLAB else "golden"
        found = rows[(rows.section == section) & (rows.quantity == quantity) & (rows.dataset == dataset) & (rows.n > 0)]
        for dtype in wanted:
            measured = found[found.dtype == dtype].set_index("backend")
            if measured.empty:
                continue
            against = _AGAINST.get(section, section.removeprefix("Gradient: "))
            errors = [_errors(measured.loc[one]) if one in measured.index else "" for one in backends]
            lines.append([name, against, dtype, *errors, report.number(measured.budget_worst.max())])
    if not lines:
        raise ValueError("rows: a run that measured the golden pairs is wanted, and these rows have none of them")
    heads = [f"{backend}: worst (median)" for backend in backends]
    return report.markdown_table(["quantity", "against", "dtype", *heads, "budget"], lines)


def _errors(row):
    return f"{report.number(row.worst)} ({report.number(row['median'])})"


def rewrite(text, new):
    """The text of a README with the region between the two markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README: the markers {BEGIN} and {END} are wanted, each once and in this order")
    return f"{before}{BEGIN}\n{new}\n{END}{after}"


def main(arguments=None):
    """Rewrite the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.readme", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=pathlib.Path, help="rows.json of a report")
    parser.add_argument("readme", type=pathlib.Path, nargs="?", default=pathlib.Path("README.md"))
    options = parser.parse_args(arguments)
    try:
        rows = pd.read_json(options.rows, orient="records", precise_float=True)
        text = rewrite(options.readme.read_text(encoding="utf-8"), table(rows))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
