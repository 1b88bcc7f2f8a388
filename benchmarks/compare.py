"""Show what got faster or slower between two runs: ``python -m benchmarks.compare OLD.json NEW.json``.

A time has changed if the interquartile ranges of the two runs do not overlap and the medians differ by more than 2 %. A
change of the peers' times in the same direction is attributed to the machine: a slowdown is a regression only if it
exceeds the threshold both absolutely and relative to the peers.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from validation.report import section

from . import rows

THRESHOLD = 0.10
_MIN_CHANGE, _MIN_CHANGE_BYTES = 0.02, 1 << 20
_TIMED = (rows.TIME, rows.THREADS, rows.NEW_PROCESS)
_MIN_SAMPLES = 3  # for quartiles
_MIN_PEERS = 3
FASTER, SLOWER, LESS, MORE, REGRESSION, LOST = "faster", "slower", "less", "more", "REGRESSION", "no longer measured"


class Change(NamedTuple):
    """A measurement that changed beyond the noise."""

    verdict: str
    name: str
    old: str
    new: str
    change: str


class Comparison(NamedTuple):
    """The changes between two runs."""

    changes: list[Change]
    drift: float | None
    """Median ratio of the peers' times, new to old; None if too few peers were timed."""
    compared: int
    """Number of measurements compared."""


def compare(old: pd.DataFrame, new: pd.DataFrame, threshold: float = THRESHOLD) -> Comparison:
    """Find all measurements that changed beyond the noise."""
    both = old.merge(new, on=list(rows.KEYS), suffixes=("_old", "_new"))
    valid = both[both.verdict_old.isin(rows.VALID) & both.verdict_new.isin(rows.VALID)]
    timed = valid[valid.kind.isin(_TIMED) & (valid.rounds_old >= _MIN_SAMPLES) & (valid.rounds_new >= _MIN_SAMPLES)]
    drift = _drift(timed)
    memory = valid[valid.kind == rows.MEMORY]
    lost = both[both.verdict_old.isin(rows.VALID) & both.verdict_new.isin((rows.WRONG, rows.REFUSED))]
    found = [
        *(_time_change(row, drift or 1.0, threshold) for row in timed.itertuples()),
        *(_memory_change(row, threshold) for row in memory.itertuples()),
        *(Change(LOST, _name(row), row.verdict_old, row.verdict_new, "") for row in lost.itertuples()),
    ]
    order = {REGRESSION: 0, LOST: 1}
    changes = sorted((each for each in found if each), key=lambda change: order.get(change.verdict, 2))
    return Comparison(changes, drift, len(timed) + len(memory))


def show(old: rows.Results, new: rows.Results, threshold: float = THRESHOLD) -> int:
    """Print the changes between two runs; return 1 if there is a regression, else 0."""
    for name in ("CPU", "packages", "threads"):
        if old.about.get(name) != new.about.get(name):
            print(f"{name} was {old.about.get(name)}, is {new.about.get(name)}")
    found, drift, compared = compare(old.table, new.table, threshold)
    if found:
        print(section.aligned(Change._fields, [list(change) for change in found]))
    regressions = sum(change.verdict == REGRESSION for change in found)
    peers = "too few peers to estimate drift" if drift is None else f"peers' times: {drift - 1:+.1%} (median)"
    print(
        f"{len(found)} of {compared} measurements changed beyond the noise, {regressions} of them regressions by more "
        f"than {threshold:.0%}; {peers}"
    )
    return int(regressions > 0)


def _drift(timed: pd.DataFrame) -> float | None:
    peers = timed[(timed.group_old == "peer") & timed.kind.isin((rows.TIME, rows.THREADS))]
    return float((peers.seconds_new / peers.seconds_old).median()) if len(peers) >= _MIN_PEERS else None


def _time_change(row: Any, drift: float, threshold: float) -> Change | None:
    factor = row.seconds_new / row.seconds_old
    apart = row.q1_new > row.q3_old or row.q3_new < row.q1_old
    if not apart or abs(factor - 1) <= _MIN_CHANGE:
        return None
    verdict = SLOWER if factor > 1 else FASTER
    if row.group_new == "ours" and min(factor, factor / drift) > 1 + threshold:
        verdict = REGRESSION
    old, new = (f"{seconds * 1e3:.4g} ms" for seconds in (row.seconds_old, row.seconds_new))
    return Change(verdict, _name(row), old, new, f"{factor - 1:+.1%}")


def _memory_change(row: Any, threshold: float) -> Change | None:
    old, new = row.peak_bytes_old, row.peak_bytes_new
    if abs(new - old) <= max(_MIN_CHANGE * old, _MIN_CHANGE_BYTES):
        return None
    factor = new / max(old, 1)
    verdict = REGRESSION if row.group_new == "ours" and factor > 1 + threshold else MORE if new > old else LESS
    return Change(verdict, _name(row), f"{old / 2**20:.1f} MiB", f"{new / 2**20:.1f} MiB", f"{factor - 1:+.1%}")


def _name(row: Any) -> str:
    size = "x".join(f"{side:.0f}" for side in (row.batch, row.channels, row.height, row.width))
    threads = f" on {row.threads:.0f} threads" if row.kind == rows.THREADS else ""
    return f"{row.kind}: {row.implementation}, {row.metric} {row.mode} {size} {row.dtype} {row.device}{threads}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two result files; return 1 if the newer one has a regression."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    parser.add_argument("--threshold", type=float, default=THRESHOLD, metavar="FRACTION")
    options = parser.parse_args(arguments)
    try:
        old, new = rows.load(options.old), rows.load(options.new)
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    return show(old, new, options.threshold)


if __name__ == "__main__":
    sys.exit(main())
