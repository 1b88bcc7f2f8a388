"""Time calls in rounds: in each round every implementation is timed once, in random order.

A slow phase of the machine then affects all implementations equally, and ratios are taken within a round. All get the
same share of the time: slow implementations skip rounds, evenly spaced, so that the others can have more rounds.
"""

import contextlib
import gc
import random
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

SHORT = 0.02  # seconds; before a shorter call is timed, it is called once, while threads of the previous one go idle
SAMPLE = 0.004  # seconds of calls, about, in one sample

Sampler = Callable[[Callable[[], Any], int], float]
"""``sampler(call, count)`` returns the seconds of `count` calls."""
_Key = TypeVar("_Key", bound=Hashable)


class Quartiles(NamedTuple):
    """Median and quartiles."""

    median: float
    q1: float
    q3: float


class Entry(NamedTuple):
    """A call to time."""

    call: Callable[[], Any]
    prepare: Callable[[], None] | None = None
    """Called before, not timed."""
    seconds: float | None = None
    """The time of a call, if it is known."""


class Timed(NamedTuple):
    """Seconds per call, one sample for each round."""

    samples: tuple[float, ...]
    calls: int
    """Number of calls in a sample."""
    rounds: tuple[int, ...]
    """Numbers of the rounds."""

    @property
    def quartiles(self) -> Quartiles:
        """Median and quartiles of the seconds."""
        return quartiles(self.samples)


def quartiles(samples: Sequence[float] | np.ndarray) -> Quartiles:
    """Return median and quartiles."""
    q1, median, q3 = np.percentile(samples, (25, 50, 75))
    return Quartiles(float(median), float(q1), float(q3))


def ratios(timed: Timed, base: Timed) -> Quartiles:
    """Return median and quartiles of the ratio to `base` within rounds; to the nearest round where base skipped one."""
    nearest = np.abs(np.subtract.outer(timed.rounds, base.rounds)).argmin(axis=1)
    return quartiles(np.divide(timed.samples, np.take(base.samples, nearest)))


def sampler(synchronize: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> Sampler:
    """Return a sampler that synchronizes after every call, within the measured time."""

    def sample(call: Callable[[], Any], count: int) -> float:
        start = clock()
        for _ in range(count):
            call()
            synchronize()
        return clock() - start

    return sample


def estimate(call: Callable[[], Any], sample: Sampler) -> float:
    """Estimate the seconds of a warm call: the better of two, or one if it is long."""
    first = sample(call, 1)
    return first if first > SHORT * 10 else min(first, sample(call, 1))


def interleaved(
    entries: Mapping[_Key, Entry], *, seconds: float, rounds: tuple[int, int], sample: Sampler
) -> dict[_Key, Timed]:
    """Time every entry in rounds.

    Parameters
    ----------
    entries : mapping of name to Entry
        Each call has been made before, so that it is warm.
    seconds : float
        Total time, unless the minimum number of rounds takes longer.
    rounds : (int, int)
        Minimum and maximum number of rounds of an entry.
    sample : Sampler

    Returns
    -------
    dict of name to Timed
    """
    calls: dict[_Key, int] = {}
    n_rounds: dict[_Key, int] = {}
    warm_up: dict[_Key, bool] = {}
    minimum, maximum = rounds
    for name, entry in entries.items():
        _prepare(entry)
        one_call = max(entry.seconds or estimate(entry.call, sample), 1e-7)
        calls[name], warm_up[name] = max(1, round(SAMPLE / one_call)), one_call < SHORT
        cost = one_call * (calls[name] + warm_up[name])
        n_rounds[name] = int(min(maximum, max(minimum, seconds / len(entries) / cost)))
    total_rounds = max(n_rounds.values(), default=0)
    samples: dict[_Key, list[float]] = {name: [] for name in entries}
    timed_rounds: dict[_Key, list[int]] = {name: [] for name in entries}
    order, shuffle = list(entries), random.Random(0).shuffle
    with _no_garbage_collection():
        for turn in range(total_rounds):
            shuffle(order)
            for name in order:
                if (turn + 1) * n_rounds[name] // total_rounds == turn * n_rounds[name] // total_rounds:
                    continue
                _prepare(entries[name])
                if warm_up[name]:
                    sample(entries[name].call, 1)
                samples[name].append(sample(entries[name].call, calls[name]) / calls[name])
                timed_rounds[name].append(turn)
    return {name: Timed(tuple(samples[name]), calls[name], tuple(timed_rounds[name])) for name in entries}


def _prepare(entry: Entry) -> None:
    if entry.prepare:
        entry.prepare()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect garbage before timing, not during it."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
