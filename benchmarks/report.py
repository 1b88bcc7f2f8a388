"""The report: rows.json and rows.csv, and the files made from them."""

import pathlib
from collections.abc import Iterable

import pandas as pd

from validation.report import write as pages
from validation.report.section import BROKEN, PASS, Section, Table, aligned, cells

from . import plots, rows, tables
from .cases import FORWARD_BACKWARD
from .ceilings import Ceilings
from .implementations import COMPILED, OURS, PEER

TITLE = "Speed of msssim"

_METHOD = (
    "Every result is compared with the oracle before it is timed (`reference.wang`, NumPy in float64; gradients with"
    " plain PyTorch in float64). The library must be within the validation's budgets, or it is not timed and the run"
    " fails. Where a peer computes something else, its error is shown beside its time.\n\n"
    "Every call is warmed up. Implementations are timed in rounds, in another order each round. A sample has as many"
    " calls as take about 4 ms, with a device synchronization after each call; on CUDA the calls are queued and timed"
    " with CUDA events. All implementations get the same share of the time, so that slow ones skip rounds, evenly"
    " spaced, down to a minimum number. Times are medians over rounds, with quartiles. Ratios are taken within each"
    ' round, to the library with `backend="auto"`: 2× is twice the library\'s time, and below 1× is faster than it.'
)
_FLOOR = (
    "The floor is a lower bound on the time of this algorithm at the rates measured on this machine. It is the larger"
    " of two times: reading every image and writing every gradient once at the copy bandwidth (on CUDA at every scale,"
    " with the gradients once more: 8 bytes per pixel and scale in float32, 20 with a gradient), and 88 multiply-adds"
    " (154 with a gradient) per window position of every scale, at the rate of a float32 matrix product. 100 % is the"
    " floor; more than 100 % means that the machine was slower while its rates were measured."
)
_PROCESSES = (
    "Each peak is of one call in a new process, above the memory held before the call. The process first makes one call"
    " at 256 × 256 pixels (at the same size under torch.compile, which compiles for one size). On a CPU it is resident"
    " memory, elsewhere the memory that PyTorch's allocator hands out. A cold start is the import of the"
    " implementation, with torch already imported, and the first call, with code that compilers have cached on disk."
    " The first call ever is without this cache."
)


def write(folder: pathlib.Path, table: pd.DataFrame, about: dict[str, str], ceilings: list[Ceilings]) -> pathlib.Path:
    """Write every file; return the path of report.html."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.save(folder, table, about, [each._asdict() for each in ceilings])
    return _write_pages(folder, table, about, ceilings)


def render(path: pathlib.Path) -> pathlib.Path:
    """Make every other file from a rows.json, beside it; return the path of report.html."""
    found = rows.load(path)
    return _write_pages(path.parent, found.table, found.about, [Ceilings(**each) for each in found.ceilings])


def _write_pages(
    folder: pathlib.Path, table: pd.DataFrame, about: dict[str, str], ceilings: list[Ceilings]
) -> pathlib.Path:
    return pages.write(folder, sections(table, ceilings), about, title=TITLE, sentence=headline(table))


def terminal(table: pd.DataFrame) -> str:
    """Return what the terminal shows: the times at a glance, wrong results, and the headline."""
    shown = [tables.at_a_glance(table, device) for device in tables.devices(table)]
    parts = [f"{one.caption}\n{aligned(one.frame.columns, cells(one))}" for one in shown if len(one.frame)]
    wrong = table[table.verdict == rows.WRONG]
    parts += [f"WRONG: {row.implementation}, {tables.case_name(row)}: {row.note}" for row in wrong.itertuples()]
    return "\n\n".join([*parts, headline(table)])


def headline(table: pd.DataFrame) -> str:
    """Return one sentence: what is wrong, or how the library compares with the fastest peer of each case."""
    wrong = sorted(set(table[table.verdict == rows.WRONG].implementation))
    if wrong:
        return f"Wrong results, which are not timed: {', '.join(wrong)}."
    fastest = tables.fastest_peers(table).sort_values("ratio")
    if fastest.empty:
        return "No peer was timed beside the library."
    lowest, highest = (
        f"{tables.ratio(row.ratio)} ({row.implementation}, {tables.case_name(row)})"
        for row in fastest.iloc[[0, -1]].itertuples()
    )
    slower = int((fastest.ratio < 1).sum())
    return (
        f"The fastest peer takes {tables.ratio(fastest.ratio.median())} the library's time in the median of"
        f" {len(fastest)} cases, {lowest} at minimum and {highest} at maximum; it is faster than the library"
        f" in {slower}. Peers under torch.compile were timed in {_count_compiled(table)} of these cases."
    )


def _count_compiled(table: pd.DataFrame) -> int:
    """Return in how many cases a peer under torch.compile was timed."""
    timed = tables.timed_peers(table)
    return len(timed[timed.implementation.str.endswith(COMPILED)].drop_duplicates(tables.CASE))


def sections(table: pd.DataFrame, ceilings: list[Ceilings]) -> list[Section]:
    """Return the sections of the report."""
    drawn = plots.draw(table)
    found = [_implementations(table)]
    for device in tables.devices(table):
        shown = (tables.at_a_glance(table, device), *tables.times(table, device))
        valid = table[(table.device == device) & (table.verdict != rows.WRONG)]
        name, title = f"time-{device.replace(':', '-')}", f"Time on {device}"
        found.append(Section(name, title, _METHOD, shown, drawn.get(name, ()), summary=headline(valid)))
    scaling = tables.ceilings(ceilings), tables.threads(table), tables.batches(table)
    found.append(Section("scaling", "Ceilings, threads and batches", _FLOOR, _not_empty(scaling)))
    starts = (
        tables.memory(table),
        tables.starts(table, rows.NEW_PROCESS, "Cold start"),
        tables.starts(table, rows.FIRST_EVER, "First call ever"),
    )
    found.append(
        Section(
            "processes", "Memory and cold starts", _PROCESSES, _not_empty(starts), drawn.get("memory", ()),
            summary=_lowest_memory(table),
        )
    )  # fmt: skip
    return [section for section in found if section.tables]


def _implementations(table: pd.DataFrame) -> Section:
    checked = table[(table.group == OURS) & (table.error.notna() | (table.verdict == rows.WRONG))]
    wrong = int((checked.verdict == rows.WRONG).sum())
    return Section(
        "implementations", "Implementations, and whether their values are right", "",
        _not_empty((tables.implementations(table), tables.deviating_peers(table))),
        verdict=BROKEN if wrong else PASS if len(checked) else "",
        summary=f"{len(checked)} results of the library were compared with the oracle, {wrong} were wrong.",
    )  # fmt: skip


def _lowest_memory(table: pd.DataFrame) -> str:
    """Compare the library with the peer of lowest peak memory, for MS-SSIM with gradient at the largest size."""
    part = table[(table.kind == rows.MEMORY) & (table.metric == "msssim") & (table["mode"] == FORWARD_BACKWARD)]
    part = part[part.peak_inputs.notna()]
    part = part[part.height * part.width == (part.height * part.width).max()].sort_values("peak_inputs")
    lowest = [row for group in (OURS, PEER) for row in part[part.group == group].iloc[:1].itertuples()]
    if not lowest:
        return ""
    peaks = ", ".join(f"{row.implementation} {row.peak_inputs:.1f}" for row in lowest)
    case = tables.case_name(lowest[0])
    return (
        f"Lowest peak memory above the inputs for {case}, in units of one input, of the library and the peers: {peaks}."
    )


def _not_empty(shown: Iterable[Table]) -> tuple[Table, ...]:
    return tuple(one for one in shown if len(one.frame))
