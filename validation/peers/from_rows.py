"""The report on other implementations from its committed rows: the worst of each kind of image, without the pairs."""

import math
import pathlib

import pandas as pd

from reference.peers import PEERS

from ..report.section import Section, Table, number
from . import tables
from .cases import KINDS
from .measure import CLOSEST, COMPLEX, REFUSED


def sections(folder: pathlib.Path) -> list[Section]:
    """Return the section for peers_summary.csv, peers_gradients.csv and peers_sides.csv of a folder."""
    names = ("summary", "gradients", "sides")
    summary, gradients, sides = (pd.read_csv(folder / f"peers_{name}.csv") for name in names)
    summary["state"] = [_state(row.deviation, row.pairs, row.refused, row.complex) for row in summary.itertuples()]
    for column in ("state", "note"):
        gradients[column] = gradients[column].fillna("")
    closest = summary[(summary.settings == CLOSEST) & (summary.dtype != "float64")]
    shown = (
        Table(_CAPTION, tables.by_kind(closest, KINDS, _cell)),
        tables.with_defaults(summary, _cell),
        tables.gradient_errors(gradients),
        tables.smallest_sides(sides),
        _conventions(summary),
    )
    return [Section("peers", tables.TITLE, tables.TEXT, shown, (tables.heat_map(closest),))]


_CAPTION = (
    f"Largest deviation from Wang by kind of image, closest settings. {tables.KINDS_IN_WORDS}. Where a mean of cs is "
    "negative, the original's MS-SSIM is complex and there is no deviation."
)


def _state(deviation: float, pairs: int, refused: int, complex_: int) -> str:
    if not math.isnan(deviation):
        return ""
    return REFUSED if refused == pairs else COMPLEX if complex_ else ""


def _cell(rows: pd.DataFrame) -> str:
    """Return the largest deviation, and in words the pairs without one."""
    if rows.empty:
        return "–"
    parts = [number(rows.deviation.max())] if rows.deviation.notna().any() else []
    refused, pairs = int(rows.refused.sum()), int(rows.pairs.sum())
    if refused:
        parts.append("refuses" if refused == pairs else f"refuses {refused} of {pairs}")
    if rows["complex"].any():
        parts.append("complex")
    return "; ".join(parts) or "NaN"


def _conventions(summary: pd.DataFrame) -> Table:
    """Return for each peer what it does otherwise than Wang, and the largest residual of that explanation."""
    lines = []
    for name, rows in summary[summary.settings == CLOSEST].groupby("peer", sort=False):
        if name in PEERS:
            residuals = [rows.residual[rows.dtype == dtype].max() for dtype in ("float64", "float32")]
            lines.append((name, PEERS[str(name)].description, *residuals))
    columns = ["peer", "convention", "residual, float64", "residual, float32"]
    return Table(
        "Conventions. What each peer computes, and the largest difference from Wang's algorithm in float64 with these "
        "conventions, which is rounding error.",
        pd.DataFrame(lines, columns=columns), dict.fromkeys(columns[2:], number), prose=("convention",),
    )  # fmt: skip
