"""The report: rows.json, rows.csv, report.md and report.html, the last two of the Sections made here."""

import pathlib

from validation.report import write as pages
from validation.report.section import BROKEN, PASS, Section, aligned, cells

from . import cases, contestants, plots, rows, tables

TITLE = "Speed of msssim"

_METHOD = (
    "Before anything is timed its result is held against the oracle (`reference.wang`, NumPy in float64; gradients"
    " against plain PyTorch in float64). The library's own results must be within the validation's budgets, or they get"
    " no time and the run fails. What a peer computes differently is shown as its error beside its time.\n\n"
    "Every call is made before it is timed. The contestants take turns, in another order each round, and a round's"
    " sample is of as many calls as take about 4 ms, the device being waited for after every one; on CUDA calls follow"
    " each other, and the device's own events tell the time. All have the same share of the time, so the slow sit"
    " rounds out, evenly, down to a least count. Times are the median of the rounds, with their middle half. A ratio is"
    ' taken within each round, to what `backend="auto"` takes: 2× is twice the library\'s time, and less than 1× is'
    " faster than it."
)
_FLOOR = (
    "The floor is what this algorithm would need at the rates that this machine showed: the longer of reading every"
    " image and writing every gradient once at the copying bandwidth (on CUDA at every scale, and the gradients there"
    " once more: 8 bytes a pixel and scale in float32, 20 with a gradient), and 88 multiply-adds (154 with a gradient)"
    " for every window position of every scale, at the rate of a product of matrices in float32. 100 % is the floor;"
    " more than that means that the machine was slower while its rates were measured than while the case was."
)
_PROCESSES = (
    "Each peak is of one call in a new process, above what was held before the call; that process made one call of"
    " 256 × 256 pixels first (of the same size under torch.compile, which compiles for one size). On a CPU it is"
    " resident memory, elsewhere what PyTorch's allocator gave out. A cold start is importing the implementation,"
    " torch being there, and the first call, with what compilers left on disk; the first call ever is without it."
)


def write(folder, table, about, ceilings):
    """Write every file; return the path of report.html."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows.save(folder, table, about, ceilings)
    return pages.write(folder, sections(table, ceilings), about, title=TITLE, sentence=headline(table))


def terminal(table):
    """The times at a glance, what is wrong, and the headline."""
    shown = [tables.at_a_glance(table, device) for device in tables.devices(table)]
    parts = [f"{one.caption}\n{aligned(one.frame.columns, cells(one))}" for one in shown if len(one.frame)]
    wrong = table[table.verdict == rows.WRONG]
    parts += [f"WRONG: {row.contestant}, {tables.what(row)}: {row.note}" for row in wrong.itertuples()]
    return "\n\n".join([*parts, headline(table)])


def headline(table):
    """One sentence for the top: what is wrong, or how the library compares with the fastest peer of each case."""
    wrong = sorted(set(table[table.verdict == rows.WRONG].contestant))
    if wrong:
        return f"Wrong results, and so no times, of: {', '.join(wrong)}."
    fastest = tables.against_fastest(table).sort_values("ratio")
    if fastest.empty:
        return "No peer was timed beside the library."
    least, most = (
        f"{tables.ratio(row.ratio)} ({row.contestant}, {tables.what(row)})"
        for row in fastest.iloc[[0, -1]].itertuples()
    )
    lost = int((fastest.ratio < 1).sum())
    return (
        f"The fastest peer takes {tables.ratio(fastest.ratio.median())} the library's time in the median of"
        f" {len(fastest)} cases, {least} at the least and {most} at the most; it is faster than the library in {lost}."
        f" Peers under torch.compile were timed in {_compiled(table)} of these cases."
    )


def _compiled(table):
    """In how many cases a peer under torch.compile was timed."""
    timed = tables.timed_peers(table)
    return len(timed[timed.contestant.str.endswith(contestants.COMPILED)].drop_duplicates(tables.CASE))


def sections(table, ceilings):
    """The Sections of the report."""
    figures = plots.draw(table)
    found = [_who(table)]
    for device in tables.devices(table):
        mine = tuple(figure for part, figure in figures if part == f"time {device}")
        shown = (tables.at_a_glance(table, device), *tables.times(table, device))
        green = table[(table.device == device) & (table.verdict != rows.WRONG)]
        name, title = f"time-{device.replace(':', '-')}", f"Time on {device}"
        found.append(Section(name, title, _METHOD, shown, mine, summary=headline(green)))
    shown = tables.ceilings(ceilings), tables.threads(table), tables.batches(table)
    found.append(Section("scaling", "Ceilings, threads and batches", _FLOOR, _filled(shown)))
    shown = (
        tables.memory(table),
        tables.starts(table, rows.NEW_PROCESS, "Cold start"),
        tables.starts(table, rows.FIRST_EVER, "First call ever"),
    )
    mine = tuple(figure for part, figure in figures if part == "memory")
    found.append(
        Section("processes", "Memory and cold starts", _PROCESSES, _filled(shown), mine, summary=_least_memory(table))
    )
    return [section for section in found if section.tables]


def _who(table):
    checked = table[(table.group == contestants.OURS) & (table.error.notna() | (table.verdict == rows.WRONG))]
    wrong = int((checked.verdict == rows.WRONG).sum())
    return Section(
        "contestants", "Who takes part, and whose values are right", "",
        _filled((tables.who(table), tables.different(table))),
        verdict=BROKEN if wrong else PASS if len(checked) else "",
        summary=f"{len(checked)} results of the library were held against the oracle, {wrong} were wrong.",
    )  # fmt: skip


def _least_memory(table):
    """What the library and the most frugal peer need for MS-SSIM with its gradient, at the largest size."""
    part = table[(table.kind == rows.MEMORY) & (table.metric == "msssim") & (table["mode"] == cases.BOTH)]
    part = part[part.peak_inputs.notna()]
    part = part[part.height * part.width == (part.height * part.width).max()].sort_values("peak_inputs")
    least = [part[part.group == group].iloc[:1] for group in (contestants.OURS, contestants.PEER)]
    said = [f"{row.contestant} {row.peak_inputs:.1f}" for one in least for row in one.itertuples()]
    if not said:
        return ""
    what = tables.what(next(part.itertuples()))
    return (
        f"Peaks above the inputs for {what}, in input images, the lowest of ours and of the peers: {', '.join(said)}."
    )


def _filled(shown):
    return tuple(one for one in shown if len(one.frame))
