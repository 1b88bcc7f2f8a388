"""Measurements of single images, and the rows of the report made from them, with budget and verdict."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from .. import tolerances
from ..library import REFUSED as REFUSED
from ..report.section import BROKEN, PASS

SKIPPED = "skipped"
# Verdicts of rows without a budget.
DOCUMENTED, NO_BUDGET = "as documented", "no budget"
COLUMNS = (
    "section", "backend", "device", "dtype", "quantity", "dataset", "n", "worst", "median",
    "budget_worst", "budget_median", "verdict", "note",
)  # fmt: skip
_KEYS = list(COLUMNS[:6])


class Measurement(NamedTuple):
    """The error of one quantity on one image pair, or the reason why it was not measured."""

    section: str
    backend: str
    device: str
    dtype: str
    quantity: str
    dataset: str
    pair: str
    kind: str
    """The kind of budget, see `tolerances`."""
    error: float = math.nan
    value: float = math.nan
    """The value of the library, if it is one number."""
    expected: float = math.nan
    """The value of the oracle."""
    missing: str = ""
    """SKIPPED, REFUSED or ""."""
    note: str = ""


def frame(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """Return the measurements as a DataFrame, with their budgets."""
    table = pd.DataFrame(list(measurements), columns=list(Measurement._fields))
    unknown = tolerances.Budget(math.nan)
    found = [
        unknown if row.missing else tolerances.budget(row.kind, row.dtype, row.backend) for row in table.itertuples()
    ]
    table["budget_worst"] = [budget.worst for budget in found]
    table["budget_median"] = [math.nan if budget.median is None else budget.median for budget in found]
    return table


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the report: one for each quantity over the pairs of a dataset, with its verdict."""
    rows = [_row(dict(zip(_KEYS, key, strict=True)), group) for key, group in table.groupby(_KEYS, sort=False)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(keys: dict[str, Any], group: pd.DataFrame) -> dict[str, Any]:
    measured = group[group.missing == ""]
    if measured.empty:
        first = group.iloc[0]
        return {**keys, "n": 0, "verdict": first.missing, "note": first.note}
    # An error of NaN counts as infinite, so that it is the worst one and breaks the budget.
    errors = measured.error.fillna(math.inf)
    row = {**keys, "n": len(errors), "worst": errors.max(), "median": errors.median()}
    first = measured.iloc[0]
    row["budget_worst"] = first.budget_worst
    if len(errors) >= tolerances.MEDIAN_FROM:
        row["budget_median"] = first.budget_median
    row["verdict"] = _verdict(row, first.kind)
    row["note"] = _note(measured, errors, group)
    return row


def _verdict(row: dict[str, Any], kind: str) -> str:
    if math.isnan(row["budget_worst"]):
        return DOCUMENTED if kind == tolerances.DOCUMENTED else NO_BUDGET
    median = row.get("budget_median", math.nan)
    within = row["worst"] <= row["budget_worst"] and (math.isnan(median) or row["median"] <= median)
    return PASS if within else BROKEN


def _note(measured: pd.DataFrame, errors: pd.Series, group: pd.DataFrame) -> str:
    parts = []
    if measured.kind.iloc[0] in (*tolerances.COUNTS, tolerances.DOCUMENTED):
        bad = measured[errors > 0]
        if len(bad):
            names = ", ".join(dict.fromkeys(bad.pair)) if len(bad) <= 4 else f"among them {bad.pair.iloc[0]}"
            parts.append(f"{len(bad)} of {len(measured)}: {names}")
    elif errors.max() > 0:
        parts.append(f"worst: {measured.pair.loc[errors.idxmax()]}")
    refused = int((group.missing != "").sum())
    if refused:
        parts.append(f"{refused} more {group.missing[group.missing != ''].iloc[0]}")
    parts.extend(dict.fromkeys(note for note in measured.note if note))
    return "; ".join(parts)
