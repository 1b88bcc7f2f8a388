"""Write the speed picture of README.md and the speed table of docs/speed.md from result files of one machine.

python -m benchmarks.readme benchmarks/results/MACHINE/rows.json [MORE/rows.json ...]

replaces the text between the lines ``<!-- speed picture: begin -->`` and ``<!-- speed picture: end -->``, and between
the same lines with ``speed table``. The picture is written beside the first result file, once for light and once for
dark pages. The table has every float32 case that was timed with at least one peer, whether or not the library is
faster. With several files, each peer is taken from the run in which its ratio to the library's time was lowest.
"""

import argparse
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd

from validation.report.plots import GRID, INK, svg
from validation.report.section import markdown_table, rewrite

from . import plots, rows, tables
from .cases import FORWARD_BACKWARD
from .implementations import OURS, PEER, UNDER_COMPILE

PICTURE, TABLE = "speed picture", "speed table"
DOCUMENTS = (pathlib.Path("README.md"), pathlib.Path("docs/speed.md"))
PICTURES = ("speed-light.svg", "speed-dark.svg")
MAIN_PEER = "pytorch-msssim"  # the peer with its own column
_DARK = {INK: "#e6edf3", GRID: "#343c46", "#0072b2": "#56b4e9", "#56b4e9": "#9ad4f5"}
_KEYS = ["device", "metric", "mode", "batch", "channels", "height", "width"]
_HEAD = ("quantity", "images", "msssim, ms", f"{MAIN_PEER}, ms", "fastest peer, ms", "which")


class _Case(NamedTuple):
    """One line of the table."""

    quantity: str
    images: str


class _Time(NamedTuple):
    """The time of a peer beside the library."""

    ratio: float
    ours: float
    """Seconds of the library in the same run."""
    row: Any


def table(runs: Iterable[pd.DataFrame]) -> str:
    """Return the Markdown table: one line per case, with median times and their ratio to the library's."""
    lines: dict[_Case, dict[str, _Time]] = {}
    for found in runs:
        for case, times in _cases(found):
            lowest = lines.setdefault(case, {})
            for time in times:
                name = time.row.implementation
                if name not in lowest or time.ratio < lowest[name].ratio:
                    lowest[name] = time
    if not lines:
        raise ValueError("rows must have at least one case in which the library and a peer were timed, got none")
    shown: list[tuple[str, ...]] = []
    for case, lowest in lines.items():
        fastest = min(lowest.values(), key=lambda time: time.ratio)
        main_peer = _cell(lowest[MAIN_PEER].row) if MAIN_PEER in lowest else "–"
        ours = tables.milliseconds(fastest.ours)
        shown.append((*case, ours, main_peer, _cell(fastest.row), fastest.row.implementation))
    shown.sort(key=lambda line: line[0])
    return markdown_table(_HEAD, shown)


def _cases(found: pd.DataFrame) -> Iterator[tuple[_Case, list[_Time]]]:
    """Yield each case of a run with the times of the peers."""
    timed = found[(found.kind == rows.TIME) & (found.dtype == "float32") & found.seconds.notna() & found.ratio.notna()]
    for (device, metric, mode, *shape), group in timed.groupby(_KEYS, sort=False):
        peers = group[group.group == PEER]
        baseline = group[(group.group == OURS) & (group.ratio == 1)]
        if len(peers) and len(baseline):
            quantity = f"{tables.METRIC_NAMES[metric]}, {mode}" + ("" if device == "cpu" else f", {device}")
            ours = baseline.iloc[0].seconds
            times = [_Time(row.seconds / ours, ours, row) for row in peers.itertuples(index=False)]
            yield _Case(quantity, _shape(shape)), times


def _cell(row: Any) -> str:
    mark = " †" if row.verdict == rows.DIFFERS else ""
    return f"{tables.milliseconds(row.seconds)} ({tables.ratio(row.ratio)}){mark}"


def write_pictures(found: pd.DataFrame, folder: pathlib.Path) -> None:
    """Write speed-light.svg and speed-dark.svg."""
    part = found[(found.kind == rows.TIME) & (found.dtype == "float32") & found.seconds.notna()]
    part = part[(part.metric == "msssim") & (part["mode"] == FORWARD_BACKWARD) & (part.device == part.device.iloc[0])]
    text = svg(plots.bars(part), "speed")
    for name, picture in zip(PICTURES, (text, _darkened(text)), strict=True):
        (folder / name).write_text(picture, encoding="utf-8")


def _darkened(text: str) -> str:
    # All at once, because some colours are both old and new.
    return re.sub("|".join(_DARK), lambda found: _DARK[found[0]], text)


def regions(runs: Sequence[rows.Results], paths: Sequence[pathlib.Path], document: pathlib.Path) -> dict[str, str]:
    """Return the texts of a document by the name of their region; `paths` are the files of `runs`."""
    machines = {(run.about["CPU"], run.about["threads"]) for run in runs}
    if len(machines) > 1:
        raise ValueError(f"rows must be from one machine and one number of threads, got {sorted(machines)}")
    ((cpu, threads),) = machines
    where = f"{cpu}, {threads} threads"
    found = [run.table for run in runs]
    light, dark = (_link(path.parent / name, document) for path in paths[:1] for name in PICTURES)
    picture = (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="Time of MS-SSIM with its gradient, by implementation"></picture>\n\n'
        f"Median times on {where}, float32."
    )
    sources = ", ".join(f"[`{source}`]({source})" for source in (_link(path, document) for path in paths))
    which_run = "" if len(runs) == 1 else (
        " Each peer is from the run in which its ratio was lowest; msssim's time is from the run of the fastest peer."
    )  # fmt: skip
    return {
        PICTURE: picture,
        TABLE: f"{table(found)}\n\nMedian times on {where}.{which_run} In parentheses, the ratio to the library's time"
        " within rounds (below 1×, the peer is faster). –: the peer refuses the case, or is too slow for the benchmark."
        " †: its value differs from Wang's by more than our budgets allow, as the reports show. MS-SSIM of images below"
        f" 176 pixels has as many scales as fit. {_compiled(found)} From {sources}, with quartiles and errors there.",
    }


def _link(path: pathlib.Path, document: pathlib.Path) -> str:
    return os.path.relpath(path, document.parent).replace(os.sep, "/")


def _compiled(runs: Sequence[pd.DataFrame]) -> str:
    """Say where peers under torch.compile were timed; elsewhere the fastest peer is the fastest without it."""
    columns = ["implementation", "group", *_KEYS]
    timed = pd.concat([found[(found.kind == rows.TIME) & found.seconds.notna()][columns] for found in runs])
    timed = timed[(timed.group == PEER) & timed.implementation.str.endswith(UNDER_COMPILE)]
    where = []
    for metric, shapes in timed.groupby("metric", sort=False)[_KEYS[3:]]:
        sizes = map(_shape, shapes.drop_duplicates().itertuples(index=False))
        where.append(f"for {tables.METRIC_NAMES[metric]} at {', '.join(sizes)}")
    if not where:
        return "No peer was timed under torch.compile."
    return f"Peers under torch.compile were timed {'; '.join(where)}."


def _shape(sides: Iterable[float]) -> str:
    return " × ".join(f"{side:.0f}" for side in sides)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the regions; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=pathlib.Path, nargs="+", help="rows.json of a run")
    parser.add_argument(
        "--documents", type=pathlib.Path, nargs="+", default=DOCUMENTS, help="default: README.md docs/speed.md"
    )
    options = parser.parse_args(arguments)
    try:
        runs = [rows.load(path) for path in options.rows]
        rewrite({path: regions(runs, options.rows, path) for path in options.documents})
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    write_pictures(runs[0].table, options.rows[0].parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
