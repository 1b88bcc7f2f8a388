"""Write the tables of modes in README.md and docs/training.md from the rows of trainings.

python -m validation.training.readme validation/reports/training

replaces the text between the lines ``<!-- modes: begin -->`` and ``<!-- modes: end -->`` by the modes of this library,
and between the same lines with ``losses`` by all losses.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import pandas as pd

from ..report import section
from . import losses, question, tables

MODES, ALL = "modes", "losses"
DOCUMENTS = (pathlib.Path("README.md"), pathlib.Path("docs/training.md"))
_MEANING: dict[str | None, tuple[str, str]] = {
    None: ("`None` (default)", "the published MS-SSIM"),
    "covariance": ("`\"covariance\"`", "negative covariances count as 0; equal to the default if there are none"),
    "simple": ("`\"simple\"`", "(x + 1) / 2 of each scale: another number"),
    "relu": ("`\"relu\"`", "max(x, 0) of each scale"),
}  # fmt: skip
_SHOWN = ("NaN", "all gradients 0", "an image's gradient 0", "exploding")


def regions(rows: pd.DataFrame) -> dict[str, str]:
    """Return the Markdown tables by the name of their region."""
    by_loss = tables.counted(rows, ["loss"]).set_index("loss")
    modes = []
    for mode, meaning in _MEANING.items():
        line = by_loss.loc[losses.own_name(mode)]
        modes.append((*meaning, *(int(line[name]) for name in _SHOWN), f"{line[tables.END]:.2f}"))
    trainings = int(by_loss.trainings[losses.own_name(None)])
    heads = ("`normalize`", "what it computes", f"NaN, of {trainings} trainings", *_SHOWN[1:], "MS-SSIM")
    complete = tables.counted(rows, ["loss", "precision"])
    for name, form in ((tables.LARGEST, "{:.1f}"), (tables.END, "{:.3f}")):
        complete[name] = complete[name].map(form.format).replace("nan", "–")
    return {
        MODES: section.markdown_table(heads, modes),
        ALL: section.markdown_table(complete.columns, complete.itertuples(index=False)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the tables; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m validation.training.readme", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("folder", type=pathlib.Path, help="folder with the rows of a report")
    parser.add_argument("documents", type=pathlib.Path, nargs="*", default=DOCUMENTS, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        section.rewrite(dict.fromkeys(options.documents, regions(question.load(options.folder))))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
