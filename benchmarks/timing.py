"""How long calls take: in rounds, every contestant once a round and in another order each time.

What slows the machine for a while then slows all of them alike, and a ratio is taken within each round.
"""

import contextlib
import gc
import random
import time
from typing import NamedTuple

import numpy as np

SHORT = 0.02  # seconds; a call below this is led in by another, while the last contestant's threads go to sleep
SAMPLE = 0.004  # a sample is of as many calls as take about this long


class Spread(NamedTuple):
    """The middle half of a number of samples."""

    median: float
    q1: float
    q3: float


class Entry(NamedTuple):
    """What is timed, and what is done before, outside the clock."""

    call: object
    prepare: object = None
    seconds: float | None = None
    """Of a call, where that is known already."""


class Timed(NamedTuple):
    """Seconds a call, one for each round."""

    samples: tuple
    calls: int

    @property
    def spread(self):
        """Of the seconds."""
        return spread(self.samples)


def spread(samples):
    """Median and quartiles."""
    q1, median, q3 = np.percentile(samples, (25, 50, 75))
    return Spread(float(median), float(q1), float(q3))


def ratios(timed, base):
    """The Spread of timed over base, round by round."""
    return spread(np.divide(timed.samples, base.samples))


def estimate(call, synchronize, clock=time.perf_counter):
    """Seconds of a call that has been made before: the better of two, or one where it is long."""
    first = _sample(call, 1, synchronize, clock)
    return first if first > SHORT * 10 else min(first, _sample(call, 1, synchronize, clock))


def interleaved(entries, *, seconds, rounds, synchronize, clock=time.perf_counter, seed=0):
    """Time every entry of a dict in rounds.

    Parameters
    ----------
    entries : dict of str to Entry
        Each call has been made before, and so is warm.
    seconds : float
        How long all of it may take, unless the least number of rounds takes longer.
    rounds : (int, int)
        How many there are at least and at most.
    synchronize : callable
        Waits for the device; inside the clock, after every call.
    clock : callable
        Gives seconds.
    seed : int
        Of the order within the rounds.

    Returns
    -------
    dict of str to Timed
    """
    counts, leads, cost = {}, {}, 0.0
    for name, entry in entries.items():
        _prepare(entry)
        one = max(entry.seconds or estimate(entry.call, synchronize, clock), 1e-7)
        counts[name], leads[name] = max(1, round(SAMPLE / one)), one < SHORT
        cost += one * (counts[name] + leads[name])
    least, most = rounds
    number = int(min(most, max(least, seconds / max(cost, 1e-9))))
    samples = {name: [] for name in entries}
    order, shuffle = list(entries), random.Random(seed).shuffle
    with _no_collection():
        for _ in range(number):
            shuffle(order)
            for name in order:
                _prepare(entries[name])
                if leads[name]:
                    _sample(entries[name].call, 1, synchronize, clock)
                total = _sample(entries[name].call, counts[name], synchronize, clock)
                samples[name].append(total / counts[name])
    return {name: Timed(tuple(each), counts[name]) for name, each in samples.items()}


def _prepare(entry):
    if entry.prepare:
        entry.prepare()


@contextlib.contextmanager
def _no_collection():
    """Python's garbage is collected before, not within."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _sample(call, count, synchronize, clock):
    start = clock()
    for _ in range(count):
        call()
        synchronize()
    return clock() - start
