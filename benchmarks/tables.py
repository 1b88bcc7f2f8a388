"""The rows as tables to read: what is long is shortened, what says nothing is left away."""

import pandas as pd

from validation.report.section import Table

from . import cases, contestants, rows

NAMES = {"ssim": "SSIM", "msssim": "MS-SSIM"}
CASE = ["device", "metric", "mode", "batch", "channels", "height", "width", "dtype"]  # what tells one from another
_USUAL = cases.size((1, 3, 512, 512))


def milliseconds(seconds):
    """Three digits of a time, in milliseconds."""
    value = seconds * 1e3
    return "" if pd.isna(value) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value):
    """123×, 12.3×, 1.23× or 0.82×."""
    if pd.isna(value):
        return ""
    return f"{value:.0f}×" if value >= 100 else f"{value:.1f}×" if value >= 10 else f"{value:.2f}×"


def size(row):
    """1x3x512x512."""
    return cases.size(f"{side:.0f}" for side in (row.batch, row.channels, row.height, row.width))


def what(row):
    """The case of a row."""
    return f"{NAMES[row.metric]} {row.mode} {size(row)} {row.dtype} {row.device}"


def who(table):
    """Everyone, with version and convention or the reason why not."""
    part = table[table.kind == rows.CONTESTANT]
    note = "convention, or why it takes no part"
    names = {"contestant": "contestant", "version": "version", "device": "device", "verdict": "verdict", "note": note}
    frame = part[list(names)].rename(columns=names)
    caption = "Who takes part. Each through its public API, as close to Wang's settings as that goes."
    return Table(caption, frame, prose=(note,))


def different(table):
    """The errors of the peers that compute something else."""
    part = table[table.verdict == rows.DIFFERS]
    groups = part.groupby(["contestant", "metric", "dtype"], sort=False)
    frame = groups.agg(
        cases=("error", "size"), worst=("error", "max"), median=("error", "median"), gradient=("gradient_error", "max")
    )
    frame["budget"] = groups.budget.max()
    frame = frame.reset_index().rename(columns={"gradient": "worst of the gradient, relative"})
    return Table("What peers compute differently. Errors of the cases that are outside the library's budget.", frame)


def at_a_glance(table, device):
    """The medians at the usual size or, where that was not measured, at the one that has most."""
    part = table[(table.kind == rows.TIME) & (table.device == device) & (table.dtype == "float32")]
    part = part[part.seconds.notna()]
    if part.empty:
        return Table(f"Nothing was timed on {device}.", pd.DataFrame(columns=["contestant"]))
    sizes = pd.Series([size(row) for row in part.itertuples()], index=part.index)
    shown = _USUAL if (sizes == _USUAL).any() else sizes.value_counts().idxmax()
    part = part[sizes == shown]
    part = part.assign(
        case=[f"{NAMES[row.metric]}, {row.mode}" for row in part.itertuples()],
        text=[f"{milliseconds(row.seconds)} ms ({ratio(row.ratio)})" for row in part.itertuples()],
    )
    frame = part.pivot(index="contestant", columns="case", values="text")
    frame = frame.reindex(index=part.contestant.drop_duplicates(), columns=part.case.drop_duplicates()).fillna("")
    caption = f"At a glance, {shown} float32 on {device}. The median of a call, and how many times the library's it is."
    return Table(caption, frame.rename_axis(columns=None).reset_index())


def times(table, device):
    """For each metric and pass, every row."""
    part = table[(table.kind == rows.TIME) & (table.device == device)]
    for (metric, mode), group in part.groupby(["metric", "mode"], sort=False):
        yield Table(f"{NAMES[metric]}, {mode}, on {device}. Every size.", _times(group), _FORMATS, prose=("note",))


_FORMATS = {"ns/pixel": ".3g", "of the floor": ".1%"}


def _times(part):
    frame = pd.DataFrame(
        {
            "size": [size(row) for row in part.itertuples()],
            "dtype": part.dtype,
            "contestant": part.contestant,
            "ms": [milliseconds(each) for each in part.seconds],
            "middle half": [_half(row, 1e3) for row in part.itertuples()],
            "ratio": [ratio(each) for each in part.ratio],
            "its middle half": [
                "" if pd.isna(row.ratio) else f"{row.ratio_q1:.3g} to {row.ratio_q3:.3g}" for row in part.itertuples()
            ],
            "error": part.error,
            "gradient error": part.gradient_error,
            "ns/pixel": part.ns_per_pixel,
            "of the floor": part.floor_fraction,
            "set by": part.floor_bound,
            "verdict": part.verdict,
            "note": part.note,
        }
    )
    return _without_empty(frame)


def ceilings(measured):
    """What the machine does at best."""
    frame = pd.DataFrame(measured, columns=["device", "threads", "copy", "multiply_adds"])
    frame = frame.groupby(["device", "threads"], sort=False).agg(["min", "max"])
    shown = pd.DataFrame(
        {
            "copied, GB/s": [f"{row[0] / 1e9:.1f} to {row[1] / 1e9:.1f}" for row in frame["copy"].to_numpy()],
            "multiply-adds, G/s": [
                f"{row[0] / 1e9:.1f} to {row[1] / 1e9:.1f}" for row in frame["multiply_adds"].to_numpy()
            ],
        },
        index=frame.index,
    )
    return Table("The machine's ceilings. Measured before the rest and after it.", shown.reset_index())


def threads(table):
    """What more threads bring."""
    part = table[(table.kind == rows.THREADS) & table.seconds.notna()]
    keys = ["contestant", "batch", "channels", "height", "width"]
    alone = part[part.threads == 1].set_index(keys).seconds
    base = [alone.get(tuple(row[key] for key in keys)) for _, row in part.iterrows()]
    frame = pd.DataFrame(
        {
            "size": [size(row) for row in part.itertuples()],
            "contestant": part.contestant,
            "threads": part.threads,
            "ms": [milliseconds(each) for each in part.seconds],
            "middle half": [_half(row, 1e3) for row in part.itertuples()],
            "speed-up": [
                "" if one is None else f"{one / each:.2f}×" for one, each in zip(base, part.seconds, strict=True)
            ],
            "ratio": [ratio(each) for each in part.ratio],
            "of the floor": part.floor_fraction,
        }
    )
    return Table("Threads. MS-SSIM forward+backward, float32; the speed-up is over one thread.", frame, _FORMATS)


def batches(table):
    """What larger batches bring."""
    part = table[(table.kind == rows.TIME) & (table.dtype == "float32") & table.seconds.notna()]
    part = part[(part.height == 256) & (part.width == 256)]
    caption = "Batches. Nanoseconds for each pixel, channel and image, at 256 × 256, float32."
    if part.batch.nunique() < 2:
        return Table(caption, pd.DataFrame(columns=["contestant"]))
    frame = part.pivot(index=["device", "metric", "mode", "contestant"], columns="batch", values="ns_per_pixel")
    frame.columns = [f"batch {batch:.0f}" for batch in frame.columns]
    return Table(caption, frame.reset_index(), {name: ".3g" for name in frame.columns})


def memory(table):
    """Peaks of memory."""
    part = table[table.kind == rows.MEMORY]
    frame = pd.DataFrame(
        {
            "case": [what(row) for row in part.itertuples()],
            "contestant": part.contestant,
            "peak, inputs": part.peak_inputs,
            "peak, MiB": part.peak_bytes / 2**20,
            "whole process, MiB": part.process_bytes / 2**20,
            "verdict": part.verdict,
            "note": part.note,
        }
    ).sort_values(["case", "peak, inputs"], kind="stable")
    formats = {"peak, inputs": ".2f", "peak, MiB": ".1f", "whole process, MiB": ".0f"}
    return Table("Peak of memory. Above what was held before the call.", _without_empty(frame), formats, ("note",))


def starts(table, kind, caption):
    """First calls in new processes."""
    part = table[table.kind == kind]
    frame = pd.DataFrame(
        {
            "case": [what(row) for row in part.itertuples()],
            "contestant": part.contestant,
            "seconds": part.seconds,
            "middle half": [_half(row, 1) if row.rounds > 2 else "" for row in part.itertuples()],
            "importing it": part.import_seconds,
            "first call": part.first_seconds,
            "processes": part.rounds,
            "verdict": part.verdict,
            "note": part.note,
        }
    ).sort_values(["case", "seconds"], kind="stable")
    formats = dict.fromkeys(("seconds", "importing it", "first call"), ".3g")
    return Table(f"{caption}. Seconds.", _without_empty(frame), formats, ("note",))


def _half(row, scale):
    if pd.isna(row.q1):
        return ""
    return f"{row.q1 * scale:.3g} to {row.q3 * scale:.3g}"


def _without_empty(frame):
    return frame[[name for name in frame if (frame[name].notna() & (frame[name] != "")).any()]]


def devices(table):
    """Those that anything was timed on."""
    return list(dict.fromkeys(table.device[table.kind == rows.TIME]))


def against_fastest(table):
    """Of each case in which a peer was timed beside the library, the row of the fastest peer."""
    part = timed_peers(table)
    return part.loc[part.groupby(CASE, sort=False).ratio.idxmin()]


def timed_peers(table):
    """Of each case the rows of all peers that were timed beside the library."""
    return table[(table.kind == rows.TIME) & (table.group == contestants.PEER) & table.ratio.notna()]
