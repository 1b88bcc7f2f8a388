"""How a launch of the sweep is cut into programs, and how much memory it needs. README.md shows a tile."""

import functools
import heapq
import itertools
import math
import struct
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from .constants import Constants

Size: TypeAlias = tuple[int, int]

MIN_GROUP_POWER = 4  # log2 of the fewest threads of a group
# The scratch memory of a sweep is at most this part of one image, if any plan allows it.
SCRATCH_SHARE = 0.9


class Plan(NamedTuple):
    """How one launch of the sweep is cut."""

    threads: int
    """Threads of a program."""
    rows: int
    """Rows of a tile, without its halo."""
    lanes: int
    """log2 of the threads of a group, 4 bits for each scale."""
    programs: tuple[int, ...]
    """Programs of a plane, for each scale."""


def columns_of_a_thread(double: bool, halo: int, most: int) -> int:
    """`most` where the pending sums of two columns fit into the registers, or nearly, else 1."""
    return most if not double and halo <= 10 else 1


@functools.lru_cache(maxsize=64)
def pyramid_shapes(height: int, width: int, levels: int) -> tuple[Size, ...]:
    """(height, width) of every scale."""
    shapes = [(height, width)]
    for _ in range(levels - 1):
        height, width = (height + 1) // 2, (width + 1) // 2
        shapes.append((height, width))
    return tuple(shapes)


@functools.lru_cache(maxsize=64)
def kernel_weights(taps: tuple[float, ...], double: bool) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """(the taps of the kernels, what the rows and columns of each pending sum weigh, the sum of the taps).

    The taps are divided by the outermost one, unless the others become too large: each sum needs one operation less.
    """
    outermost = taps[0] if taps[0] > 2**-12 else 1.0
    taps = tuple(tap / outermost for tap in taps)
    if not double:
        taps = struct.unpack(f"{len(taps)}f", struct.pack(f"{len(taps)}f", *taps))
    tap_sum = math.fsum(taps)
    pending = tuple(tap_sum * math.fsum(taps[:count]) for count in range(len(taps) - 1, 0, -1))
    return taps, pending, tap_sum


@functools.lru_cache(maxsize=256)
def choose_plan(
    planes: int, shapes: tuple[Size, ...], halo: int, fields: int, columns: int, processors: int, memory: float,
    constants: Constants,
) -> Plan:  # fmt: skip
    """The fastest of some plans, or the one with the least scratch memory if all need more than `memory` numbers.

    The time of a program is taken to be the number of its rows.
    """
    tallest, lost = shapes[0][0], halo * (1 + bool(fields))
    fewest = constants.fewest_rows
    possible_rows = {*range(fewest, 128, 2), *(max(fewest, 2 * -(-tallest // (2 * part))) for part in range(1, 17))}
    best: tuple[tuple[float, float, int, int], Plan] | None = None
    for threads, rows in itertools.product(constants.threads, possible_rows):
        powers = [power for power in range(MIN_GROUP_POWER, threads.bit_length()) if columns << power > lost]
        chosen = [
            min((programs_per_plane(*shape, rows, threads, power, lost, columns), power) for power in powers)
            for shape in shapes
        ]
        lanes = sum(power << (4 * k) for k, (_, power) in enumerate(chosen))
        plan = Plan(threads, rows, lanes, tuple(programs for programs, _ in chosen))
        time = _time_of_plan(planes, shapes, plan, lost, columns, processors, constants)
        scratch = scratch_size(planes * sum(plan.programs), threads, columns, fields)
        cost = max(memory, scratch), time, threads, -rows
        if best is None or cost < best[0]:
            best = cost, plan
    assert best is not None
    return best[1]


def _time_of_plan(
    planes: int, shapes: tuple[Size, ...], plan: Plan, lost: int, columns: int, processors: int, constants: Constants
) -> float:
    lengths = []
    for k, ((height, width), programs) in enumerate(zip(shapes, plan.programs, strict=True)):
        power = plan.lanes >> (4 * k) & 15
        above = -(-height // plan.rows) - 1  # programs below each other; the last ones have the rows that are left
        whole = -(-above * -(-width // ((columns << power) - lost)) // (plan.threads >> power))
        left = height - above * plan.rows
        lengths += [(plan.rows + lost, planes * whole), (left + lost, planes * (programs - whole))]
    resident = constants.resident_threads
    time = _finish_time(lengths, max(1, resident // plan.threads) * processors)
    half_full = planes * sum(plan.programs) * plan.threads <= resident // 2 * processors
    return time * constants.half_full_time if half_full else time


def _finish_time(programs: Iterable[tuple[int, int]], places: int) -> float:
    """When the last of the (length, count) programs ends, if each starts in order as soon as a place is free."""
    free = [(0, places)]
    for length, count in programs:
        while count:
            start, some = heapq.heappop(free)
            if some > count:
                heapq.heappush(free, (start, some - count))
            heapq.heappush(free, (start + length, min(some, count)))
            count -= min(some, count)
    return max(free)[0]


def programs_per_plane(height: int, width: int, rows: int, threads: int, power: int, lost: int, columns: int) -> int:
    """As the function of this name in kernels/tiles.py."""
    groups = -(-width // ((columns << power) - lost)) * -(-height // rows)
    return -(-groups // (threads >> power))


def scratch_size(programs: int, threads: int, columns: int, fields: int) -> int:
    """How many numbers the lines of so many programs hold, and of one program more: some threads read beyond theirs."""
    # Lines of s, d, the derivatives and the pivots, in two places each. (Float64 has no pivots.)
    return (programs + 1) * 2 * (2 + fields + bool(fields)) * columns * threads


def farthest_offset(plan: Plan, height: int, width: int, halo: int, steps: tuple[int, ...]) -> int:
    """An upper bound of the distance, in elements, between a program's first row and any of its pixels."""
    rows = min(height, plan.rows * (plan.threads >> MIN_GROUP_POWER)) + plan.rows + 2 * halo + 4
    return rows * max(steps[2], steps[6], width) + (width + 2 * halo) * max(steps[3], steps[7])
