"""What every question shares when it measures: a choice of pairs, progress bars, and threads."""

import concurrent.futures
import contextlib
import functools
import sys

import torch
from tqdm import tqdm

import datasets


def some(pairs, limit):
    """All the pairs, or `limit` of them spread evenly, so that every kind occurs; none is made.

    Each is in the middle of its part: the first pairs of a dataset are the simplest, such as equal images.
    """
    total = len(pairs)
    if limit is None or limit >= total:
        return pairs
    chosen = [(2 * i + 1) * total // (2 * limit) for i in range(limit)]
    makers = {pairs.names[i]: functools.partial(pairs.__getitem__, i) for i in chosen}
    return datasets.Pairs(makers, pairs.note, pairs.problems)


def bar(title):
    """The look of every progress bar: options for tqdm."""
    return {
        "desc": f"{title:<24}",
        "file": sys.stderr,
        "bar_format": "{desc}{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} {elapsed}",
    }


@contextlib.contextmanager
def single_threads():
    """Each operation on one thread; gives how many there were, to measure so many pairs at a time instead.

    One image is too small to be shared among threads, and on a busy machine threads that wait for each other take ten
    times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def in_threads(threads, measure, pairs, title, unusable=None):
    """The measurements of each pair, in order; `unusable(message)` gives one for a pair whose files are broken."""

    def of_pair(index):  # by index, so that a pair is made when its turn comes and let go afterwards
        try:
            return list(measure([pairs[index]]))
        except datasets.BrokenImage as broken:
            if unusable is None:
                raise
            return [unusable(str(broken))]

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        done = pool.map(of_pair, range(len(pairs)))
        for measured in tqdm(done, total=len(pairs), **bar(title)):
            yield from measured
