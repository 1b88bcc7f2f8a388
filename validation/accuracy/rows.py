"""One measurement for each image, and the table made of them: a row, a budget and a verdict for each question."""

import math
from typing import NamedTuple

import pandas as pd

from .. import tolerances
from ..library import REFUSED as REFUSED
from ..report.section import BROKEN, PASS

SKIPPED = "skipped"
# Verdicts of what has no budget.
DOCUMENTED, NO_BUDGET = "as documented", "no budget"
COLUMNS = (
    "section", "backend", "device", "dtype", "quantity", "dataset", "n", "worst", "median",
    "budget_worst", "budget_median", "verdict", "note",
)  # fmt: skip
_KEYS = list(COLUMNS[:6])


class Measurement(NamedTuple):
    """The error of one quantity on one image pair, or the reason why there is none."""

    section: str
    backend: str
    device: str
    dtype: str
    quantity: str
    dataset: str
    pair: str
    kind: str  # of budget
    error: float = math.nan
    value: float = math.nan  # of the library, where one number says it
    expected: float = math.nan  # of the oracle
    missing: str = ""  # SKIPPED or REFUSED
    note: str = ""


def frame(measurements):
    """The measurements as a pandas DataFrame, each with its budget."""
    table = pd.DataFrame(list(measurements), columns=list(Measurement._fields))
    found = [
        tolerances.budget(row.kind, row.dtype, row.backend) if not row.missing else None for row in table.itertuples()
    ]
    table["budget_worst"] = [math.nan if one is None else one.worst for one in found]
    table["budget_median"] = [math.nan if one is None or one.median is None else one.median for one in found]
    return table


def summarize(table):
    """The rows of the report: one for each question, over the pairs of a dataset, with its verdict."""
    rows = [_row(dict(zip(_KEYS, key, strict=True)), group) for key, group in table.groupby(_KEYS, sort=False)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(keys, group):
    measured = group[group.missing == ""]
    if measured.empty:
        first = group.iloc[0]
        return {**keys, "n": 0, "verdict": first.missing, "note": first.note}
    # An error that is not a number is the worst there is; as infinity it sorts, compares and breaks the budget.
    errors = measured.error.fillna(math.inf)
    row = {**keys, "n": len(errors), "worst": errors.max(), "median": errors.median()}
    first = measured.iloc[0]
    row["budget_worst"] = first.budget_worst
    if len(errors) >= tolerances.MEDIAN_FROM:
        row["budget_median"] = first.budget_median
    row["verdict"] = _verdict(row, first.kind)
    row["note"] = _note(measured, errors, group)
    return row


def _verdict(row, kind):
    if math.isnan(row["budget_worst"]):
        return DOCUMENTED if kind == tolerances.DOCUMENTED else NO_BUDGET
    median = row.get("budget_median", math.nan)
    kept = row["worst"] <= row["budget_worst"] and (math.isnan(median) or row["median"] <= median)
    return PASS if kept else BROKEN


def _note(measured, errors, group):
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
