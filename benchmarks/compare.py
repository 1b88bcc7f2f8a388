"""What got faster or slower between two runs, beyond the noise: ``python -m benchmarks.compare OLD.json NEW.json``.

A time changed where the middle halves of the two runs do not meet and the medians are more than 2 % apart. What the
peers' times did in the meantime is what the machine did: a loss is a regression where it passes the threshold both as
it is and relative to the peers.
"""

import argparse
import pathlib
import sys

from validation.report import section

from . import rows

THRESHOLD = 0.10
_LEAST, _LEAST_BYTES = 0.02, 1 << 20
_TIMED = (rows.TIME, rows.THREADS, rows.NEW_PROCESS)
_ENOUGH = 3  # samples that quartiles say something of
_PEERS_NEEDED = 3
_HEAD = ("verdict", "what", "old", "new", "change")
FASTER, SLOWER, LESS, MORE, REGRESSION, LOST = "faster", "slower", "less", "more", "REGRESSION", "no longer there"


def changes(old, new, threshold=THRESHOLD):
    """(rows of _HEAD for all that changed beyond the noise, the machine's own factor, how many were compared).

    The factor is None where too few times of peers tell.
    """
    both = old.merge(new, on=list(rows.KEYS), suffixes=("_old", "_new"))
    green = both[both.verdict_old.isin(rows.GREEN) & both.verdict_new.isin(rows.GREEN)]
    timed = green[green.kind.isin(_TIMED) & (green.rounds_old >= _ENOUGH) & (green.rounds_new >= _ENOUGH)]
    drift = _drift(timed)
    found = [_time(row, drift or 1.0, threshold) for row in timed.itertuples()]
    used = green[green.kind == rows.MEMORY]
    found += [_memory(row, threshold) for row in used.itertuples()]
    lost = both[both.verdict_old.isin(rows.GREEN) & both.verdict_new.isin((rows.WRONG, rows.REFUSED))]
    found += [(LOST, _name(row), row.verdict_old, row.verdict_new, "") for row in lost.itertuples()]
    order = {REGRESSION: 0, LOST: 1}
    return sorted(filter(None, found), key=lambda line: order.get(line[0], 2)), drift, len(timed) + len(used)


def show(old, new, threshold=THRESHOLD):
    """Print the changes between two (rows, about); return 1 if there is a regression, else 0."""
    (old_table, old_about), (new_table, new_about) = old, new
    for name in ("CPU", "packages", "threads"):
        if old_about.get(name) != new_about.get(name):
            print(f"{name} was {old_about.get(name)}, is {new_about.get(name)}")
    found, drift, compared = changes(old_table, new_table, threshold)
    if found:
        print(section.aligned(_HEAD, [list(line) for line in found]))
    lost = sum(line[0] == REGRESSION for line in found)
    print(
        f"{len(found)} of {compared} figures changed beyond the noise, {lost} of them a regression by more than "
        f"{threshold:.0%}; "
        + ("too few times of peers tell" if drift is None else f"the peers' times are {drift - 1:+.1%} (median)")
    )
    return int(lost > 0)


def _drift(timed):
    peers = timed[(timed.group_old == "peer") & timed.kind.isin((rows.TIME, rows.THREADS))]
    return float((peers.seconds_new / peers.seconds_old).median()) if len(peers) >= _PEERS_NEEDED else None


def _time(row, drift, threshold):
    factor = row.seconds_new / row.seconds_old
    apart = row.q1_new > row.q3_old or row.q3_new < row.q1_old
    if not apart or abs(factor - 1) <= _LEAST:
        return None
    verdict = SLOWER if factor > 1 else FASTER
    if row.group_new == "ours" and min(factor, factor / drift) > 1 + threshold:
        verdict = REGRESSION
    old, new = (f"{seconds * 1e3:.4g} ms" for seconds in (row.seconds_old, row.seconds_new))
    return verdict, _name(row), old, new, f"{factor - 1:+.1%}"


def _memory(row, threshold):
    old, new = row.peak_bytes_old, row.peak_bytes_new
    if abs(new - old) <= max(_LEAST * old, _LEAST_BYTES):
        return None
    factor = new / max(old, 1)
    verdict = REGRESSION if row.group_new == "ours" and factor > 1 + threshold else MORE if new > old else LESS
    return verdict, _name(row), f"{old / 2**20:.1f} MiB", f"{new / 2**20:.1f} MiB", f"{factor - 1:+.1%}"


def _name(row):
    size = "x".join(f"{side:.0f}" for side in (row.batch, row.channels, row.height, row.width))
    threads = f" on {row.threads:.0f} threads" if row.kind == rows.THREADS else ""
    return f"{row.kind}: {row.contestant}, {row.metric} {row.mode} {size} {row.dtype} {row.device}{threads}"


def main(arguments=None):
    """Compare two result files; return 1 if the newer one has a regression."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    parser.add_argument("--threshold", type=float, default=THRESHOLD, metavar="SHARE")
    options = parser.parse_args(arguments)
    try:
        old, new = rows.load(options.old), rows.load(options.new)
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    return show(old, new, options.threshold)


if __name__ == "__main__":
    sys.exit(main())
