"""The tables of the report."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from validation.report.section import Table

from . import cases, rows
from .ceilings import Ceilings
from .implementations import PEER

METRIC_NAMES = {"ssim": "SSIM", "msssim": "MS-SSIM"}
# The columns that identify a case.
CASE = ["device", "metric", "mode", "batch", "channels", "height", "width", "dtype"]
_USUAL_SIZE = cases.size((1, 3, 512, 512))
_FORMATS = {"ns/value": ".3g", "of the floor": ".1%"}


def milliseconds(seconds: float) -> str:
    """Format a time in milliseconds with three digits."""
    value = seconds * 1e3
    return "" if pd.isna(value) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """Format a ratio as 123×, 12.3×, 1.23× or 0.82×."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}×" if value >= 100 else f"{value:.1f}×" if value >= 10 else f"{value:.2f}×"


def size(row: Any) -> str:
    """Format the shape of a row as 1x3x512x512."""
    return cases.size(f"{side:.0f}" for side in (row.batch, row.channels, row.height, row.width))


def case_name(row: Any) -> str:
    """Describe the case of a row."""
    return f"{METRIC_NAMES[row.metric]} {row.mode} {size(row)} {row.dtype} {row.device}"


def implementations(table: pd.DataFrame) -> Table:
    """List all implementations, with version and description, or why they were not measured."""
    part = table[table.kind == rows.IMPLEMENTATION]
    note = "convention, or why not measured"
    frame = part[["implementation", "version", "device", "verdict", "note"]].rename(columns={"note": note})
    caption = "Implementations. Each is called through its public API, with settings as close to Wang's as possible."
    return Table(caption, frame, prose=(note,))


def deviating_peers(table: pd.DataFrame) -> Table:
    """List the errors of peers outside the library's budgets."""
    part = table[table.verdict == rows.DIFFERS]
    groups = part.groupby(["implementation", "metric", "dtype"], sort=False)
    frame = groups.agg(
        cases=("error", "size"), worst=("error", "max"), median=("error", "median"), gradient=("gradient_error", "max")
    )
    frame["budget"] = groups.budget.max()
    frame = frame.reset_index().rename(columns={"gradient": "worst gradient error, relative"})
    return Table("What peers compute differently. Errors of the cases outside the library's budgets.", frame)


def at_a_glance(table: pd.DataFrame, device: str) -> Table:
    """Show the medians at the usual size or, if that was not measured, at the size with most rows."""
    part = table[(table.kind == rows.TIME) & (table.device == device) & (table.dtype == "float32")]
    part = part[part.seconds.notna()]
    if part.empty:
        return Table(f"Nothing was timed on {device}.", pd.DataFrame(columns=["implementation"]))
    sizes = pd.Series([size(row) for row in part.itertuples()], index=part.index)
    shown = _USUAL_SIZE if (sizes == _USUAL_SIZE).any() else sizes.value_counts().idxmax()
    part = part[sizes == shown]
    part = part.assign(
        case=[f"{METRIC_NAMES[row.metric]}, {row.mode}" for row in part.itertuples()],
        text=[f"{milliseconds(row.seconds)} ms ({ratio(row.ratio)})" for row in part.itertuples()],
    )
    frame = part.pivot(index="implementation", columns="case", values="text")
    frame = frame.reindex(index=part.implementation.drop_duplicates(), columns=part.case.drop_duplicates()).fillna("")
    caption = f"At a glance, {shown} float32 on {device}. Median time of a call, and its ratio to the library's time."
    return Table(caption, frame.rename_axis(columns=None).reset_index())


def times(table: pd.DataFrame, device: str) -> Iterator[Table]:
    """Yield a table with every row for each metric and mode."""
    part = table[(table.kind == rows.TIME) & (table.device == device)]
    for (metric, mode), group in part.groupby(["metric", "mode"], sort=False):
        caption = f"{METRIC_NAMES[metric]}, {mode}, on {device}. All sizes."
        yield Table(caption, _times(group), _FORMATS, prose=("note",))


def _times(part: pd.DataFrame) -> pd.DataFrame:
    ratio_quartiles = [
        "" if pd.isna(row.ratio) else f"{row.ratio_q1:.3g} to {row.ratio_q3:.3g}" for row in part.itertuples()
    ]
    frame = pd.DataFrame(
        {
            "size": [size(row) for row in part.itertuples()],
            "dtype": part.dtype,
            "implementation": part.implementation,
            "ms": [milliseconds(each) for each in part.seconds],
            "quartiles": [_quartiles(row, 1e3) for row in part.itertuples()],
            "ratio": [ratio(each) for each in part.ratio],
            "ratio quartiles": ratio_quartiles,
            "error": part.error,
            "gradient error": part.gradient_error,
            "ns/value": part.ns_per_pixel,
            "of the floor": part.floor_fraction,
            "set by": part.floor_bound,
            "verdict": part.verdict,
            "note": part.note,
        }
    )
    return _without_empty_columns(frame)


def ceilings(measured: Sequence[Ceilings]) -> Table:
    """Show the machine's highest rates."""
    frame = pd.DataFrame([one._asdict() for one in measured], columns=Ceilings._fields)
    groups = frame.groupby(["device", "threads"], sort=False)

    def ranges(column: str) -> list[str]:
        limits = zip(groups[column].min(), groups[column].max(), strict=True)
        return [f"{low / 1e9:.1f} to {high / 1e9:.1f}" for low, high in limits]

    shown = pd.DataFrame(
        {"copied, GB/s": ranges("copy"), "multiply-adds, G/s": ranges("multiply_adds")},
        index=groups["copy"].min().index,
    )
    return Table("Ceilings of the machine. Measured before and after everything else.", shown.reset_index())


def threads(table: pd.DataFrame) -> Table:
    """Show the speed-up by threads."""
    part = table[(table.kind == rows.THREADS) & table.seconds.notna()]
    keys = ["implementation", "batch", "channels", "height", "width"]
    single = part[part.threads == 1].set_index(keys).seconds
    base = [single.get(tuple(row[key] for key in keys)) for _, row in part.iterrows()]
    speed_up = ["" if one is None else f"{one / each:.2f}×" for one, each in zip(base, part.seconds, strict=True)]
    frame = pd.DataFrame(
        {
            "size": [size(row) for row in part.itertuples()],
            "implementation": part.implementation,
            "threads": part.threads,
            "ms": [milliseconds(each) for each in part.seconds],
            "quartiles": [_quartiles(row, 1e3) for row in part.itertuples()],
            "speed-up": speed_up,
            "ratio": [ratio(each) for each in part.ratio],
            "of the floor": part.floor_fraction,
        }
    )
    return Table("Threads. MS-SSIM forward+backward, float32; speed-up over one thread.", frame, _FORMATS)


def batches(table: pd.DataFrame) -> Table:
    """Show the time by batch size."""
    part = table[(table.kind == rows.TIME) & (table.dtype == "float32") & table.seconds.notna()]
    part = part[(part.height == 256) & (part.width == 256)]
    caption = "Batches. Nanoseconds per value of one input, at 256 × 256, float32."
    if part.batch.nunique() < 2:
        return Table(caption, pd.DataFrame(columns=["implementation"]))
    frame = part.pivot(index=["device", "metric", "mode", "implementation"], columns="batch", values="ns_per_pixel")
    frame.columns = [f"batch {batch:.0f}" for batch in frame.columns]
    return Table(caption, frame.reset_index(), dict.fromkeys(frame.columns, ".3g"))


def memory(table: pd.DataFrame) -> Table:
    """Show peak memory."""
    part = table[table.kind == rows.MEMORY]
    frame = pd.DataFrame(
        {
            "case": [case_name(row) for row in part.itertuples()],
            "implementation": part.implementation,
            "peak, inputs": part.peak_inputs,
            "peak, MiB": part.peak_bytes / 2**20,
            "whole process, MiB": part.process_bytes / 2**20,
            "verdict": part.verdict,
            "note": part.note,
        }
    ).sort_values(["case", "peak, inputs"], kind="stable")
    formats = {"peak, inputs": ".2f", "peak, MiB": ".1f", "whole process, MiB": ".0f"}
    return Table(
        "Peak memory. Above the memory held before the call.", _without_empty_columns(frame), formats, ("note",)
    )


def starts(table: pd.DataFrame, kind: str, title: str) -> Table:
    """Show first calls in new processes."""
    part = table[table.kind == kind]
    frame = pd.DataFrame(
        {
            "case": [case_name(row) for row in part.itertuples()],
            "implementation": part.implementation,
            "seconds": part.seconds,
            "quartiles": [_quartiles(row, 1) if row.rounds > 2 else "" for row in part.itertuples()],
            "import": part.import_seconds,
            "first call": part.first_seconds,
            "processes": part.rounds,
            "verdict": part.verdict,
            "note": part.note,
        }
    ).sort_values(["case", "seconds"], kind="stable")
    formats = dict.fromkeys(("seconds", "import", "first call"), ".3g")
    return Table(f"{title}. Seconds.", _without_empty_columns(frame), formats, ("note",))


def _quartiles(row: Any, scale: float) -> str:
    if pd.isna(row.q1):
        return ""
    return f"{row.q1 * scale:.3g} to {row.q3 * scale:.3g}"


def _without_empty_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[[name for name in frame if (frame[name].notna() & (frame[name] != "")).any()]]


def devices(table: pd.DataFrame) -> list[str]:
    """Return the devices that anything was timed on."""
    return list(dict.fromkeys(table.device[table.kind == rows.TIME]))


def fastest_peers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the fastest peer for each case in which a peer and the library were timed."""
    part = timed_peers(table)
    return part.loc[part.groupby(CASE, sort=False).ratio.idxmin()]


def timed_peers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of peers for each case in which the library was timed too."""
    return table[(table.kind == rows.TIME) & (table.group == PEER) & table.ratio.notna()]
