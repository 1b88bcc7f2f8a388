"""The library against every oracle: what is measured, in which order."""

import concurrent.futures
import contextlib
import functools
import sys

import torch
from tqdm import tqdm

import datasets

from . import accuracy_sections, dtypes, gradients, rows, stability, values

DEFAULT_DATASETS = ("golden", "colour", "synthetic")


def arguments(parser):
    """Add the options of this question."""
    parser.add_argument(
        "--oracles", action="store_true", help="the library against every oracle; asked when nothing else is"
    )
    parser.add_argument(
        "--dataset", nargs="+", choices=(*datasets.names(), "all"), metavar="NAME",
        help=f"for --oracles: any of {', '.join(datasets.names())}, or all (default: {' '.join(DEFAULT_DATASETS)})",
    )  # fmt: skip


def sections(options, about):
    """Measure and return the sections; `about` gets the lines that say of what they are made."""
    names = options.dataset or DEFAULT_DATASETS
    loaded = _all(about) if "all" in names else {name: datasets.load(name) for name in names}
    pairs = {name: some(every, options.limit) for name, every in loaded.items()}
    about["pairs"] = ", ".join(f"{len(pairs[name])} of {len(every)} {name}" for name, every in loaded.items())
    about.update({f"{name} pairs": every.note for name, every in loaded.items() if every.note})
    with single_threads() as threads:
        table = rows.frame(_measure(pairs, options, threads))
    return accuracy_sections.made_of(table, loaded)


def _all(about):
    """Every dataset that is here; `about` gets the names of the others."""
    loaded, missing = {}, []
    for name in datasets.names():
        try:
            loaded[name] = datasets.load(name)
        except datasets.DatasetMissing:
            missing.append(name)
    if missing:
        about["not here"] = ", ".join(missing)
    return loaded


def some(pairs, limit):
    """All the pairs, or `limit` of them spread evenly, so that every kind occurs; none is made."""
    total = len(pairs)
    if limit is None or limit >= total:
        return pairs
    chosen = [i * total // limit for i in range(limit)]
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


def _measure(pairs, options, threads):
    """Every Measurement, with a progress bar for each section."""
    chosen, device = options.backend, options.device
    for name, few in pairs.items():
        yield from (_unusable(name, problem) for problem in few.problems)
        measure = functools.partial(values.measure, name, backends=chosen, device=device)
        yield from in_threads(threads, measure, few, f"values, {name}", name)
    # Gradients and dtypes are budgeted over the golden pairs; the original's gradients are of four others.
    if {"golden", "golden-gradients"} & set(pairs):
        few = some(datasets.load("golden-gradients"), options.limit)
        measure = functools.partial(gradients.measure_against_matlab, backends=chosen, device=device)
        yield from in_threads(threads, measure, few, "gradients, MATLAB")
    if "golden" in pairs:
        for module, title in ((gradients, "gradients, float64"), (dtypes, "dtypes")):
            measure = functools.partial(module.measure, backends=chosen, device=device)
            yield from in_threads(threads, measure, pairs["golden"], title)
    calls = tqdm(gradients.SMALL, **bar("numerical derivatives"))
    yield from gradients.measure_numerically(calls, chosen, device)
    yield from stability.measure(tqdm(stability.work(options.limit), **bar("stability")), chosen, device)


def in_threads(threads, measure, pairs, title, dataset="golden"):
    """The Measurements of each pair, in order; a pair whose files are broken is one too."""

    def of_pair(index):  # by index, so that a pair is made when its turn comes and let go afterwards
        try:
            return list(measure([pairs[index]]))
        except datasets.BrokenImage as broken:
            return [_unusable(dataset, str(broken))]

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        done = pool.map(of_pair, range(len(pairs)))
        for measured in tqdm(done, total=len(pairs), **bar(title)):
            yield from measured


def _unusable(dataset, problem):
    tqdm.write(problem, file=sys.stderr)
    what = ("Files", "", "", "", "files that cannot be used", dataset, problem.partition(":")[0], "count")
    return rows.Measurement(*what, error=1.0, note=problem)
