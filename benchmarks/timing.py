"""How long calls take: in rounds, the contestants one after the other and in another order each time.

What slows the machine for a while then slows all of them alike, and a ratio is taken within each round. All have the
same share of the time: those that are slow sit rounds out, evenly, lest the others have as few rounds as they.
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
    """Seconds a call, one for each round that was taken part in."""

    samples: tuple
    calls: int
    """In a sample."""
    rounds: tuple
    """The numbers of the rounds."""

    @property
    def spread(self):
        """Of the seconds."""
        return spread(self.samples)


def spread(samples):
    """Median and quartiles."""
    q1, median, q3 = np.percentile(samples, (25, 50, 75))
    return Spread(float(median), float(q1), float(q3))


def ratios(timed, base):
    """The Spread of timed over base, round by round; where base sat a round out, over its nearest one."""
    nearest = np.abs(np.subtract.outer(timed.rounds, base.rounds)).argmin(axis=1)
    return spread(np.divide(timed.samples, np.take(base.samples, nearest)))


def sampler(synchronize, clock=time.perf_counter):
    """What times so many calls, (call, count) to seconds; the device is waited for inside the clock, after each."""

    def sample(call, count):
        start = clock()
        for _ in range(count):
            call()
            synchronize()
        return clock() - start

    return sample


def estimate(call, sample):
    """Seconds of a call that has been made before: the better of two, or one where it is long."""
    first = sample(call, 1)
    return first if first > SHORT * 10 else min(first, sample(call, 1))


def interleaved(entries, *, seconds, rounds, sample, seed=0):
    """Time every entry of a dict in rounds.

    Parameters
    ----------
    entries : dict of str to Entry
        Each call has been made before, and so is warm.
    seconds : float
        How long all of it may take, unless the least number of rounds takes longer.
    rounds : (int, int)
        How many an entry takes part in at least and at most.
    sample : callable
        (call, count) to the seconds that so many calls take.
    seed : int
        Of the order within the rounds.

    Returns
    -------
    dict of str to Timed
    """
    counts, leads, numbers = {}, {}, {}
    least, most = rounds
    for name, entry in entries.items():
        _prepare(entry)
        one = max(entry.seconds or estimate(entry.call, sample), 1e-7)
        counts[name], leads[name] = max(1, round(SAMPLE / one)), one < SHORT
        cost = one * (counts[name] + leads[name])
        numbers[name] = int(min(most, max(least, seconds / len(entries) / cost)))
    every = max(numbers.values(), default=0)
    samples, played = {name: [] for name in entries}, {name: [] for name in entries}
    order, shuffle = list(entries), random.Random(seed).shuffle
    with _no_collection():
        for turn in range(every):
            shuffle(order)
            for name in order:
                if (turn + 1) * numbers[name] // every == turn * numbers[name] // every:
                    continue
                _prepare(entries[name])
                if leads[name]:
                    sample(entries[name].call, 1)
                total = sample(entries[name].call, counts[name])
                samples[name].append(total / counts[name])
                played[name].append(turn)
    return {name: Timed(tuple(samples[name]), counts[name], tuple(played[name])) for name in entries}


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
