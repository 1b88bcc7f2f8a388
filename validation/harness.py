"""Code that all questions share: selection of pairs, progress bars, and threads."""

import concurrent.futures
import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from tqdm import tqdm

import datasets


def some(pairs: datasets.Pairs, limit: int | None) -> datasets.Pairs:
    """Return all pairs, or `limit` of them, evenly spaced so that every kind occurs. No pair is made.

    The first pairs of a dataset are the simplest, such as equal images; so each is from the middle of its interval.
    """
    total = len(pairs)
    if limit is None or limit >= total:
        return pairs
    chosen = [(2 * i + 1) * total // (2 * limit) for i in range(limit)]
    makers = {pairs.names[i]: functools.partial(pairs.__getitem__, i) for i in chosen}
    return datasets.Pairs(makers, pairs.note, pairs.problems)


def bar(title: str) -> dict[str, Any]:
    """Return the options of tqdm for a progress bar."""
    return {
        "desc": f"{title:<24}",
        "file": sys.stderr,
        "bar_format": "{desc}{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} {elapsed}",
    }


@contextlib.contextmanager
def single_threads() -> Iterator[int]:
    """Run each operation of PyTorch on one thread; yield the previous number, for measuring that many pairs at a time.

    One image is too small for several threads, and on a busy machine threads that wait for each other take ten times as
    long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def in_threads(
    threads: int,
    measure: Callable[[list[Any]], Iterable[Any]],
    pairs: Sequence[Any],
    title: str,
    unusable: Callable[[str], Any] | None = None,
) -> Iterator[Any]:
    """Yield the measurements of each pair, in order; `unusable(message)` is that of a pair with broken files."""

    def of_pair(index: int) -> list[Any]:  # by index, so that no pair is in memory longer than it is measured
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
