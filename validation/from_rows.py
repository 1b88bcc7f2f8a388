"""Reports made from the rows that are committed, where neither report.json nor single measurements are.

The repository has the CSV files of a few runs. They have what the tables need; of the plots, only those that need no
measurement of a single pair are drawn.
"""

import pathlib
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from .accuracy import plots as accuracy_plots
from .accuracy import tables as accuracy
from .fuzz import question as fuzz
from .peers import from_rows as peers
from .peers import numbers
from .report import stored, write
from .report.section import Figure, Report, Section
from .subjective import tables as subjective
from .training import question as training
from .training import tables as training_tables


def folders(root: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders below `root` from which a report can be made."""
    return sorted(path for path in root.iterdir() if (path / stored.NAME).exists() or _parts(path))


def render(folder: pathlib.Path) -> pathlib.Path:
    """Make the documents of a folder from report.json, or else from its rows; return the path of report.html."""
    if (folder / stored.NAME).exists() or not _parts(folder):
        return write.render(folder)
    files, sections = zip(*((name, part) for name, make in _parts(folder) for part in make(folder)), strict=True)
    about = {"made from": ", ".join(dict.fromkeys(files)), "command": f"python -m validation --render {folder.name}"}
    title = f"Validation of msssim: {folder.name}"
    return write.documents(folder, Report(title, write.headline(sections), about, sections))


def _parts(folder: pathlib.Path) -> list[tuple[str, Callable[[pathlib.Path], Sequence[Section]]]]:
    """Return (file, function that makes sections of the folder) for what the folder has."""
    known = {
        "rows.csv": _accuracy,
        "peers_summary.csv": peers.sections,
        "seed-1.csv": lambda path: list(_random_calls(path)),
        "tools.csv": numbers.sections,
        "training-0.csv": lambda path: [training_tables.section_of_rows(training.load(path))],
        "subjective.csv": lambda path: [_subjective(path)],
    }
    return [(name, make) for name, make in known.items() if (folder / name).exists()]


def _accuracy(folder: pathlib.Path) -> list[Section]:
    rows = pd.read_csv(folder / "rows.csv", keep_default_na=False, na_values={name: [""] for name in _NUMBERS})
    figures: dict[str, list[Figure]] = {"values": [accuracy_plots.budgets(rows)]}
    return accuracy.sections_of_rows(rows, figures)


_NUMBERS = ("worst", "median", "budget_worst", "budget_median")


def _random_calls(folder: pathlib.Path) -> Iterator[Section]:
    for path in sorted(folder.glob("seed-*.csv")):
        yield fuzz.section_of_counts(pd.read_csv(path), path.stem)


def _subjective(folder: pathlib.Path) -> Section:
    names = ("subjective.csv", "subjective-matlab.csv", "subjective-statistics.csv")
    agreement, deviations, reproduced = (
        pd.read_csv(folder / name) if (folder / name).exists() else pd.DataFrame() for name in names
    )
    return subjective.section_of_rows(agreement, deviations, reproduced)
