"""The table that comes out: one row for each question and contestant, with a schema that `check` holds it to.

A result file (JSON) is ``{"schema": 1, "about": {...}, "ceilings": [...], "rows": [...]}``; the CSV has the same rows
below lines that begin with ``#`` and say the same about them.
"""

import json

import pandas as pd

from validation.report.section import records

SCHEMA = 1

TIME, THREADS, MEMORY = "time", "threads", "memory"
FIRST_EVER, NEW_PROCESS, CONTESTANT = "first call ever", "new process", "contestant"
KINDS = (CONTESTANT, TIME, THREADS, MEMORY, NEW_PROCESS, FIRST_EVER)

OK, DIFFERS = "ok", "differs"  # green: within the budget, or a peer with its error beside its time
WRONG, REFUSED, MISSING, LEFT_OUT = "wrong", "refused", "missing", "left out"
GREEN = (OK, DIFFERS)
VERDICTS = (*GREEN, WRONG, REFUSED, MISSING, LEFT_OUT)

# Each column with its type and what it means. A text may be empty, a number may be missing.
COLUMNS = {
    "kind": (str, "what was asked: one of KINDS"),
    "contestant": (str, "who: an implementation and the way it is called"),
    "group": (str, "ours or peer"),
    "version": (str, "of its distribution"),
    "metric": (str, "ssim or msssim"),
    "mode": (str, "forward or forward+backward"),
    "batch": (float, "images in a call"),
    "channels": (float, "of an image"),
    "height": (float, "of an image"),
    "width": (float, "of an image"),
    "dtype": (str, "of the images"),
    "device": (str, "that they are on"),
    "threads": (float, "torch.get_num_threads()"),
    "verdict": (str, "one of VERDICTS; only OK and DIFFERS have figures"),
    "error": (float, "absolute error of the value against the oracle"),
    "budget": (float, "the error that counts as agreement"),
    "gradient_error": (float, "largest error of the gradient over its largest entry"),
    "gradient_budget": (float, "the error of the gradient that counts as agreement"),
    "seconds": (float, "median: of a call, or of a start"),
    "q1": (float, "first quartile of the seconds"),
    "q3": (float, "third quartile of the seconds"),
    "rounds": (float, "samples that the median is of"),
    "calls": (float, "calls in a sample"),
    "ratio": (float, "median over the rounds of this time over that of the library's backend=auto"),
    "ratio_q1": (float, "its first quartile"),
    "ratio_q3": (float, "its third quartile"),
    "ns_per_pixel": (float, "nanoseconds for each pixel, channel and image"),
    "floor_seconds": (float, "what the machine's ceilings allow at best"),
    "floor_fraction": (float, "floor_seconds over seconds: 1 is the floor"),
    "floor_bound": (str, "which ceiling sets the floor: copy or multiply-add"),
    "peak_bytes": (float, "highest memory during a call, above what was held before"),
    "peak_inputs": (float, "the same in units of one input image batch"),
    "process_bytes": (float, "highest resident memory of the process"),
    "import_seconds": (float, "of a start: importing the implementation, torch being there"),
    "first_seconds": (float, "the first call: of a case in a running process, or of a start"),
    "note": (str, "why there is no figure, or what to know about it"),
}

# What tells one row from another, also in another file.
KEYS = ("kind", "contestant", "metric", "mode", "batch", "channels", "height", "width", "dtype", "device", "threads")
_FIGURES = ("seconds", "q1", "q3", "ratio", "ns_per_pixel", "floor_fraction", "peak_bytes")
_CASE = (*KEYS, "verdict", "error", "budget")
_TIMED = (*_CASE, "seconds", "q1", "q3", "rounds", "ns_per_pixel", "floor_seconds", "floor_fraction", "floor_bound")
_NEEDED = {
    TIME: _TIMED,
    THREADS: _TIMED,
    MEMORY: (*_CASE, "peak_bytes", "peak_inputs"),
    NEW_PROCESS: (*_CASE, "seconds", "first_seconds", "rounds"),
    FIRST_EVER: (*_CASE, "seconds", "first_seconds", "rounds"),
    CONTESTANT: ("contestant", "device", "verdict"),
}


def row(kind, contestant, case=None, checked=None, **fields):
    """A row as a dict, of a contestant and, if given, a case and what checking its result said."""
    found = {"kind": kind, "contestant": contestant.name, "group": contestant.group, "version": contestant.version}
    if case is not None:
        found |= dict(zip(("batch", "channels", "height", "width"), case.shape, strict=True))
        found |= {"metric": case.metric, "mode": case.mode, "dtype": case.dtype, "device": case.device}
    if checked is not None:
        found |= checked._asdict()
    return found | fields


def frame(found):
    """The rows as a pandas DataFrame that keeps to the schema."""
    table = pd.DataFrame(list(found)).reindex(columns=list(COLUMNS))
    for name, (kind, _) in COLUMNS.items():
        table[name] = table[name].astype(object).fillna("").astype(str) if kind is str else table[name].astype(float)
    check(table)
    return table


def check(table):
    """Raise a ValueError that says what of the table does not keep to the schema."""
    if list(table.columns) != list(COLUMNS):
        raise ValueError(f"columns: {', '.join(COLUMNS)} are wanted, {', '.join(table.columns)} came")
    for name, (kind, _) in COLUMNS.items():
        if kind is float and not pd.api.types.is_float_dtype(table[name]):
            raise ValueError(f"{name}: numbers are wanted, {table[name].dtype} came")
        if kind is float and (table[name] < 0).any():
            raise ValueError(f"{name}: no number may be negative")
        if kind is str and not table[name].map(lambda value: isinstance(value, str)).all():
            raise ValueError(f"{name}: texts are wanted")
    for name, known in (("kind", KINDS), ("verdict", VERDICTS)):
        if unknown := set(table[name]) - set(known):
            raise ValueError(f"{name}: one of {', '.join(known)} is wanted, {', '.join(map(repr, unknown))} came")
    green = table.verdict.isin(GREEN)
    if table.loc[~green, list(_FIGURES)].notna().any(axis=None):
        raise ValueError("verdict: a row that is not green has a figure")
    for kind, names in _NEEDED.items():
        part = table[green & (table.kind == kind)][list(names)]
        bad = (part.isna() | (part == "")).any()
        if bad.any():
            raise ValueError(f"{', '.join(bad.index[bad])}: every green row of kind {kind!r} needs it")
    if table.duplicated(list(KEYS)).any():
        raise ValueError(f"two rows have the same {', '.join(KEYS)}")


def save(folder, table, about, ceilings):
    """Write rows.json and rows.csv."""
    content = {"schema": SCHEMA, "about": about, "ceilings": ceilings, "rows": records(table)}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "rows.json").write_text(text + "\n", encoding="utf-8")
    head = "".join(f"# {name}: {' '.join(str(text).split())}\n" for name, text in about.items())
    (folder / "rows.csv").write_text(head + table.to_csv(index=False), encoding="utf-8")


def load(path):
    """(rows as a DataFrame, about) of a result file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f"{path}: a result file of schema {SCHEMA} is wanted")
    return frame(content["rows"]), content["about"]
