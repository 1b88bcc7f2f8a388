"""Show what a profile of NVIDIA Nsight Compute says about the GPU kernels, one line for each launch.

ncu --set full --csv --page raw --log-file profile.csv -k "regex:sweep|downsample|backward" python ...
python -m benchmarks.profile profile.csv

The columns answer which limit binds a kernel:

issue        cycles in which a scheduler issued an instruction, in percent: near 100, instructions bind it
occupancy    warps that were resident, in percent of the most that a multiprocessor can have, and what limits them
stalls       the most frequent reasons why a warp waited, in cycles for each instruction that it issued
L1           global loads that hit the L1 cache, in percent. The sweep loads each pixel once or twice, which misses
             once; all its other loads are of the line
memory       bytes a second to and from memory, in percent of the most possible
"""

import argparse
import csv
import io
import pathlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_STALL = re.compile(r"smsp__average_warps?_issue_stalled_(\w+?)(?:_per_issue_active|_per_warp_active)?\.(?:ratio|pct)")
_LIMITS = {
    name: f"launch__occupancy_limit_{name}" for name in ("registers", "shared_mem", "warps", "blocks", "barriers")
}
_N_STALLS = 3
# Units of the raw page, relative to the base unit.
_UNITS = {
    "ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3, "s": 1.0, "second": 1.0,
}  # fmt: skip


class Launch(NamedTuple):
    """What a profile says about a launch; NaN for a metric that it lacks."""

    kernel: str
    blocks: float
    threads: float
    """Threads of a block."""
    seconds: float
    registers: float
    """Of a thread."""
    issue: float
    """Percent of cycles in which a scheduler issued an instruction."""
    occupancy: float
    """Percent of the most warps, achieved."""
    possible_occupancy: float
    """Percent of the most warps, as far as registers and shared memory allow."""
    limit: str
    """What limits the occupancy."""
    stalls: tuple[tuple[str, float], ...]
    """The most frequent reasons, and cycles for each instruction."""
    l1_hits: float
    """Percent of the sectors of global loads."""
    l2_hits: float
    memory: float
    """Percent of the memory's throughput."""


def launches(text: str) -> list[Launch]:
    """Read the raw page of ``ncu --csv``, with or without the lines that ncu prints before it.

    Raises
    ------
    ValueError
        If there is no table with a column "Kernel Name".
    """
    lines = text.splitlines(keepends=True)
    start = next((at for at, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        raise ValueError('the profile must have a table that begins with "ID": pass --csv --page raw to ncu')
    rows = list(csv.DictReader(io.StringIO("".join(lines[start:]))))
    if not rows or "Kernel Name" not in rows[0]:
        raise ValueError('the profile must have a column "Kernel Name" and a line of units')
    units, *found = rows
    return [_launch(row, units) for row in found]


def _launch(row: Mapping[str, str], units: Mapping[str, str]) -> Launch:
    def number(*names: str) -> float:
        """The first of these metrics that the profile has."""
        return next((value for name in names if (value := _number(row.get(name))) == value), float("nan"))

    loads = "l1tex__t_sectors_pipe_lsu_mem_global_op_ld"
    hits = 100 * number(f"{loads}_lookup_hit.sum") / (number(f"{loads}.sum") or float("nan"))
    seconds = number("gpu__time_duration.sum") * _UNITS.get(units.get("gpu__time_duration.sum", "ns"), 1e-9)
    limits = {name: number(metric) for name, metric in _LIMITS.items()}
    known = {name: blocks for name, blocks in limits.items() if blocks == blocks}
    active, elapsed = "avg.pct_of_peak_sustained_active", "avg.pct_of_peak_sustained_elapsed"
    return Launch(
        kernel=row["Kernel Name"],
        blocks=number("launch__grid_size"),
        threads=number("launch__block_size"),
        seconds=seconds,
        registers=number("launch__registers_per_thread"),
        issue=number(f"smsp__issue_active.{active}", f"sm__inst_issued.{active}"),
        occupancy=number(f"sm__warps_active.{active}"),
        possible_occupancy=number("sm__maximum_warps_per_active_cycle_pct"),
        limit=min(known, key=known.__getitem__, default="?"),
        stalls=tuple(_stalls(row))[:_N_STALLS],
        l1_hits=hits if hits == hits else number("l1tex__t_sector_hit_rate.pct"),
        l2_hits=number("lts__t_sector_hit_rate.pct"),
        memory=number(f"gpu__dram_throughput.{elapsed}", f"dram__throughput.{elapsed}"),
    )  # fmt: skip


def _stalls(row: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    """Yield the reasons for which warps waited, the most frequent first; not that another warp was chosen."""
    found: dict[str, float] = {}
    for name, value in row.items():
        match = _STALL.fullmatch(name or "")
        if match and match[1] != "selected" and not match[1].endswith("not_issued"):
            found.setdefault(match[1], _number(value))
    known = {reason: cycles for reason, cycles in found.items() if cycles == cycles}
    yield from sorted(known.items(), key=lambda each: -each[1])


def _number(text: str | None) -> float:
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return float("nan")


def table(found: Sequence[Launch]) -> str:
    """Return one line for each launch."""
    header = (
        f"{'kernel':<18}{'blocks':>8}{'threads':>8}{'µs':>9}{'registers':>10}{'issue':>7}{'occupancy':>16}"
        f"{'L1':>6}{'L2':>6}{'memory':>8}  stalls"
    )
    lines = [header]
    for each in found:
        occupancy = f"{each.occupancy:.0f}/{each.possible_occupancy:.0f} {each.limit[:9]}"
        stalls = ", ".join(f"{reason} {cycles:.2f}" for reason, cycles in each.stalls)
        lines.append(
            f"{each.kernel[:17]:<18}{each.blocks:>8.0f}{each.threads:>8.0f}{1e6 * each.seconds:>9.1f}"
            f"{each.registers:>10.0f}{each.issue:>7.0f}{occupancy:>16}{each.l1_hits:>6.0f}{each.l2_hits:>6.0f}"
            f"{each.memory:>8.0f}  {stalls}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a profile; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", type=pathlib.Path, help="what ncu --csv --page raw wrote")
    options = parser.parse_args(arguments)
    try:
        found = launches(options.profile.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"{options.profile}: {error}")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
