"""The table of results: one row for each question and implementation, with a schema that `check` verifies.

A result file (JSON) is ``{"schema": 3, "about": {...}, "ceilings": [...], "columns": [...], "rows": [[...], ...]}``.
The CSV file has the same rows, after comment lines with the same information.
"""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from validation.report.section import records

if TYPE_CHECKING:
    from .cases import Case
    from .checks import CheckResult
    from .implementations import Implementation

SCHEMA = 3

Row = dict[str, Any]

TIME, THREADS, MEMORY = "time", "threads", "memory"
FIRST_EVER, NEW_PROCESS, IMPLEMENTATION = "first call ever", "new process", "implementation"
KINDS = (IMPLEMENTATION, TIME, THREADS, MEMORY, NEW_PROCESS, FIRST_EVER)

OK, DIFFERS = "ok", "differs"  # within the budget, or a peer outside it: these are timed
WRONG, REFUSED, MISSING, LEFT_OUT = "wrong", "refused", "missing", "left out"
VALID = (OK, DIFFERS)
VERDICTS = (*VALID, WRONG, REFUSED, MISSING, LEFT_OUT)


class Column(NamedTuple):
    """A column of the table. A text may be empty, a number may be missing."""

    type: type
    meaning: str


COLUMNS = {
    "kind": Column(str, "the question: one of KINDS"),
    "implementation": Column(str, "name of the implementation, with the suffix of a variant"),
    "group": Column(str, "ours or peer"),
    "version": Column(str, "version of its distribution"),
    "metric": Column(str, "ssim or msssim"),
    "mode": Column(str, "forward or forward+backward"),
    "batch": Column(float, "images per call"),
    "channels": Column(float, "channels of an image"),
    "height": Column(float, "height of an image"),
    "width": Column(float, "width of an image"),
    "dtype": Column(str, "dtype of the images"),
    "device": Column(str, "device of the images"),
    "threads": Column(float, "torch.get_num_threads()"),
    "verdict": Column(str, "one of VERDICTS; only ok and differs have measurements"),
    "error": Column(float, "absolute error of the value, compared with the oracle"),
    "budget": Column(float, "largest error that counts as agreement"),
    "gradient_error": Column(float, "largest error of the gradient, relative to its largest entry"),
    "gradient_budget": Column(float, "largest gradient error that counts as agreement"),
    "seconds": Column(float, "median time of a call or a start"),
    "q1": Column(float, "first quartile of the seconds"),
    "q3": Column(float, "third quartile of the seconds"),
    "rounds": Column(float, "number of samples"),
    "calls": Column(float, "calls per sample"),
    "ratio": Column(float, "median over rounds of this time / time of the library with backend=auto"),
    "ratio_q1": Column(float, "first quartile of the ratio"),
    "ratio_q3": Column(float, "third quartile of the ratio"),
    "ns_per_pixel": Column(float, "nanoseconds per value of one input"),
    "floor_seconds": Column(float, "lower bound of the time by the machine's ceilings"),
    "floor_fraction": Column(float, "floor_seconds / seconds; 1 is the lower bound"),
    "floor_bound": Column(str, "the ceiling that sets the lower bound: copy or multiply-add"),
    "peak_bytes": Column(float, "peak memory during a call, above the memory held before"),
    "peak_inputs": Column(float, "peak memory in units of one input"),
    "process_bytes": Column(float, "peak resident memory of the process"),
    "import_seconds": Column(float, "time to import the implementation, with torch already imported"),
    "first_seconds": Column(float, "time of the first call"),
    "note": Column(str, "why there is no measurement, or a remark"),
}

# The columns that identify a row, also in another file.
KEYS = (
    "kind", "implementation", "metric", "mode", "batch", "channels", "height", "width", "dtype", "device", "threads",
)  # fmt: skip
_MEASUREMENTS = ("seconds", "q1", "q3", "ratio", "ns_per_pixel", "floor_fraction", "peak_bytes")
_CASE = (*KEYS, "verdict", "error", "budget")
_TIMED = (*_CASE, "seconds", "q1", "q3", "rounds", "ns_per_pixel", "floor_seconds", "floor_fraction", "floor_bound")
_REQUIRED = {
    TIME: _TIMED,
    THREADS: _TIMED,
    MEMORY: (*_CASE, "peak_bytes", "peak_inputs"),
    NEW_PROCESS: (*_CASE, "seconds", "first_seconds", "rounds"),
    FIRST_EVER: (*_CASE, "seconds", "first_seconds", "rounds"),
    IMPLEMENTATION: ("implementation", "device", "verdict"),
}


def row(
    kind: str,
    implementation: "Implementation",
    case: "Case | None" = None,
    checked: "CheckResult | None" = None,
    **fields: Any,
) -> Row:
    """Return a row of an implementation, with the case and the result of its check if they are given."""
    found: Row = {
        "kind": kind,
        "implementation": implementation.name,
        "group": implementation.group,
        "version": implementation.version,
    }
    if case is not None:
        found |= dict(zip(("batch", "channels", "height", "width"), case.shape, strict=True))
        found |= {"metric": case.metric, "mode": case.mode, "dtype": case.dtype, "device": case.device}
    if checked is not None:
        found |= checked._asdict()
    return found | fields


def frame(found: Iterable[Row]) -> pd.DataFrame:
    """Return the rows as a DataFrame that follows the schema."""
    table = pd.DataFrame(list(found)).reindex(columns=list(COLUMNS))
    for name, column in COLUMNS.items():
        if column.type is str:
            table[name] = table[name].astype(object).fillna("").astype(str)
        else:
            table[name] = table[name].astype(float)
    check(table)
    return table


def check(table: pd.DataFrame) -> None:
    """Raise a ValueError if the table does not follow the schema."""
    if list(table.columns) != list(COLUMNS):
        raise ValueError(f"columns must be {', '.join(COLUMNS)}, got {', '.join(table.columns)}")
    for name, column in COLUMNS.items():
        if column.type is float and not pd.api.types.is_float_dtype(table[name]):
            raise ValueError(f"{name} must have numbers, got {table[name].dtype}")
        if column.type is float and (table[name] < 0).any():
            raise ValueError(f"{name} must not have negative numbers")
        if column.type is str and not table[name].map(lambda value: isinstance(value, str)).all():
            raise ValueError(f"{name} must have strings")
    for name, known in (("kind", KINDS), ("verdict", VERDICTS)):
        if unknown := set(table[name]) - set(known):
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {', '.join(map(repr, unknown))}")
    valid = table.verdict.isin(VALID)
    if table.loc[~valid, list(_MEASUREMENTS)].notna().any(axis=None):
        raise ValueError(f"only rows with verdict {' or '.join(VALID)} may have measurements")
    for kind, names in _REQUIRED.items():
        part = table[valid & (table.kind == kind)][list(names)]
        bad = (part.isna() | (part == "")).any()
        if bad.any():
            raise ValueError(f"{', '.join(bad.index[bad])}: missing in a row of kind {kind!r}")
    if table.duplicated(list(KEYS)).any():
        raise ValueError(f"two rows have the same {', '.join(KEYS)}")


def save(folder: pathlib.Path, table: pd.DataFrame, about: dict[str, str], ceilings: list[dict[str, Any]]) -> None:
    """Write rows.json and rows.csv."""
    (folder / "rows.json").write_text(_json(table, about, ceilings), encoding="utf-8")
    head = "".join(f"# {name}: {' '.join(str(text).split())}\n" for name, text in about.items())
    (folder / "rows.csv").write_text(head + table.to_csv(index=False), encoding="utf-8")


def _json(table: pd.DataFrame, about: dict[str, str], ceilings: list[dict[str, Any]]) -> str:
    """Return JSON with one row per line, without the names of columns in it, and with seven digits: files are small."""
    found = [[_rounded(value) for value in each.values()] for each in records(table)]
    lines = ",\n".join(json.dumps(each, ensure_ascii=False, allow_nan=False) for each in found)
    content = {"schema": SCHEMA, "about": about, "ceilings": ceilings, "columns": list(table.columns), "rows": []}
    head = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)
    return head.replace('"rows": []', f'"rows": [\n{lines}\n]') + "\n"


def _rounded(value: str | float | None) -> str | float | None:
    if value is None or isinstance(value, str):
        return value
    return int(value) if float(value).is_integer() else float(f"{value:.7g}")


class Results(NamedTuple):
    """The content of a result file."""

    table: pd.DataFrame
    about: dict[str, str]
    ceilings: Sequence[dict[str, Any]] = ()


def load(path: pathlib.Path) -> Results:
    """Read a result file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path}: schema must be {SCHEMA}, got {schema}; run the benchmark again")
    found = [dict(zip(content["columns"], each, strict=True)) for each in content["rows"]]
    return Results(frame(found), content["about"], content.get("ceilings", ()))
