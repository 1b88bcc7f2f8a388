"""Write the speed table and picture of README.md from result files of one machine.

python -m benchmarks.readme benchmarks/results/MACHINE/rows.json [MORE/rows.json ...]

replaces what stands between the lines ``<!-- speed: begin -->`` and ``<!-- speed: end -->``, and writes the picture
beside the first result file, once for light and once for dark pages. Every case is shown that a run timed in float32
with at least one peer, whoever was faster: of several runs, for each peer that in which it came nearest to the library.
"""

import argparse
import os
import pathlib
import sys

import pandas as pd

from validation.report.plots import GRID, INK, svg
from validation.report.section import between, markdown_table

from . import cases, contestants, plots, rows, tables

BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
ALWAYS = "pytorch-msssim"  # the peer that has a column of its own
_DARK = {INK: "#e6edf3", GRID: "#343c46", "#0072b2": "#56b4e9", "#56b4e9": "#9ad4f5"}
_LIGHT = {}
_KEYS = ["device", "metric", "mode", "batch", "channels", "height", "width"]
_NAMED = ["contestant", "group", *_KEYS]
_HEAD = ("quantity", "images", "msssim, ms", f"{ALWAYS}, ms", "fastest peer, ms", "which")


def table(*runs):
    """The Markdown table: a line for each case, times as medians, and how many times the library's they are."""
    lines = {}
    for found in runs:
        for key, ours, peers in _cases(found):
            nearest = lines.setdefault(key, {})
            for peer in peers:
                times = peer.seconds / ours
                if peer.contestant not in nearest or times < nearest[peer.contestant][0]:
                    nearest[peer.contestant] = times, ours, peer
    if not lines:
        raise ValueError("rows: a run that timed the library and peers is wanted, and these rows have none of them")
    shown = []
    for key, nearest in lines.items():
        _, ours, first = min(nearest.values(), key=lambda each: each[0])
        always = _beside(nearest[ALWAYS][2]) if ALWAYS in nearest else "–"
        shown.append((*key, tables.milliseconds(ours), always, _beside(first), first.contestant))
    return markdown_table(_HEAD, sorted(shown, key=lambda line: line[0]))


def _cases(found):
    """((quantity, images), seconds of the library, rows of the peers) of each case of a run."""
    timed = found[(found.kind == rows.TIME) & (found.dtype == "float32") & found.seconds.notna() & found.ratio.notna()]
    for (device, metric, mode, *shape), group in timed.groupby(_KEYS, sort=False):
        peers = group[group.group == contestants.PEER]
        ours = group[(group.group == contestants.OURS) & (group.ratio == 1)]
        if len(peers) and len(ours):
            quantity = f"{tables.NAMES[metric]}, {mode}" + ("" if device == "cpu" else f", {device}")
            yield (quantity, _shape(shape)), ours.iloc[0].seconds, peers.itertuples(index=False)


def _beside(row):
    mark = " †" if row.verdict == rows.DIFFERS else ""
    return f"{tables.milliseconds(row.seconds)} ({tables.ratio(row.ratio)}){mark}"


def pictures(found, folder):
    """Write speed-light.svg and speed-dark.svg; return their paths."""
    part = found[(found.kind == rows.TIME) & (found.dtype == "float32") & found.seconds.notna()]
    part = part[(part.metric == "msssim") & (part["mode"] == cases.BOTH) & (part.device == part.device.iloc[0])]
    text = svg(plots.bars(part), "speed")
    paths = []
    for name, colours in (("light", _LIGHT), ("dark", _DARK)):
        path = folder / f"speed-{name}.svg"
        path.write_text(_recoloured(text, colours), encoding="utf-8")
        paths.append(path)
    return paths


def _recoloured(text, colours):
    # By way of names that are no colours, or what one replacement made another would replace again.
    for i, old in enumerate(colours):
        text = text.replace(old, f"@{i}@")
    for i, new in enumerate(colours.values()):
        text = text.replace(f"@{i}@", new)
    return text


def region(runs, paths, readme):
    """What stands between the markers: `runs` are (table, about), `paths` where they come from."""
    made_on = {(about["CPU"], about["threads"]) for _, about in runs}
    if len(made_on) > 1:
        raise ValueError(f"rows: runs of one machine and number of threads are wanted, got {sorted(made_on)}")
    ((cpu, threads),) = made_on
    found = [one for one, _ in runs]
    shown = table(*found)  # before any picture is written
    light, dark = (_link(path, readme) for path in pictures(found[0], paths[0].parent))
    sources = ", ".join(f"[`{source}`]({source})" for source in (_link(path, readme) for path in paths))
    each = "in one run" if len(runs) == 1 else "each peer in the run in which it came nearest to the library"
    beside = "" if len(runs) == 1 else ", whose time is of the fastest peer's run"
    return (
        f"{shown}\n\n"
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="Time of MS-SSIM with its gradient, by implementation"></picture>\n\n'
        f"Medians on {cpu}, {threads} threads, {each}{beside}; in brackets, how many times the library's time, round by"
        " round (below 1×, the peer is faster); –, what it refuses or takes longer for than a run allows; †, its number"
        " is further from Wang's than a budget of ours allows, as the reports show. MS-SSIM of images below 176 pixels"
        " has as many scales as fit."
        f" {_compiled(found)} From {sources}, with noise and errors."
    )


def _link(path, readme):
    return os.path.relpath(path, readme.parent).replace(os.sep, "/")


def _compiled(runs):
    """Where peers under torch.compile took part: in other lines, the fastest peer is the fastest without it."""
    timed = pd.concat([found[(found.kind == rows.TIME) & found.seconds.notna()][_NAMED] for found in runs])
    timed = timed[(timed.group == contestants.PEER) & timed.contestant.str.endswith(contestants.UNDER_COMPILE)]
    said = [
        f"for {tables.NAMES[metric]} at {', '.join(map(_shape, shapes.drop_duplicates().itertuples(index=False)))}"
        for metric, shapes in timed.groupby("metric", sort=False)[_KEYS[3:]]
    ]
    return f"Peers under torch.compile were timed {'; '.join(said) or 'nowhere'}."


def _shape(sides):
    return " × ".join(f"{side:.0f}" for side in sides)


def main(arguments=None):
    """Rewrite the region; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=pathlib.Path, nargs="+", help="rows.json of a run")
    parser.add_argument("--readme", type=pathlib.Path, default=pathlib.Path("README.md"), help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        runs = [rows.load(path) for path in options.rows]
        text = options.readme.read_text(encoding="utf-8")
        between(text, BEGIN, END, "")  # before any picture is written
        text = between(text, BEGIN, END, region(runs, options.rows, options.readme))
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    options.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
