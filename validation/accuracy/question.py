"""The library against every oracle: what is measured, in which order."""

import argparse
import functools
import sys
from collections.abc import Iterator, Mapping

from tqdm import tqdm

import datasets

from .. import harness
from ..report.section import Section
from . import dtypes, gradients, rows, stability, streams, tables, values, volumes
from . import options as options_of_calls

DEFAULT_DATASETS = ("golden", "colour", "synthetic", "graphics")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this question."""
    parser.add_argument(
        "--oracles",
        action="store_true",
        help="compare the library with every reference (default if no other question is given)",
    )
    parser.add_argument(
        "--dataset", nargs="+", choices=(*datasets.names(), "all"), metavar="NAME",
        help=f"for --oracles: any of {', '.join(datasets.names())}, or all (default: {' '.join(DEFAULT_DATASETS)})",
    )  # fmt: skip


def sections(options: argparse.Namespace, about: dict[str, str]) -> list[Section]:
    """Measure and return the sections; add what was measured to `about`."""
    names = options.dataset or DEFAULT_DATASETS
    loaded = _all(about) if "all" in names else {name: datasets.load(name) for name in names}
    pairs = {name: harness.some(every, options.limit) for name, every in loaded.items()}
    about["pairs"] = ", ".join(f"{len(pairs[name])} of {len(every)} {name}" for name, every in loaded.items())
    about.update({f"{name} pairs": every.note for name, every in loaded.items() if every.note})
    with harness.single_threads() as threads:
        table = rows.frame(_measure(pairs, options, threads))
    return tables.make_sections(table, loaded)


def _all(about: dict[str, str]) -> dict[str, datasets.Pairs]:
    """Return every available dataset; add the names of the others to `about`."""
    loaded, missing = {}, []
    for name in datasets.names():
        try:
            loaded[name] = datasets.load(name)
        except datasets.DatasetMissing:
            missing.append(name)
    if missing:
        about["not available"] = ", ".join(missing)
    return loaded


def _measure(
    pairs: Mapping[str, datasets.Pairs], options: argparse.Namespace, threads: int
) -> Iterator[rows.Measurement]:
    """Yield every measurement, with a progress bar for each section."""
    chosen, device = options.backend, options.device
    for name, few in pairs.items():
        yield from (_unusable(name, problem) for problem in few.problems)
        measure = functools.partial(values.measure, name, backends=chosen, device=device)
        yield from harness.in_threads(threads, measure, few, f"values, {name}", functools.partial(_unusable, name))
    unusable = functools.partial(_unusable, "golden")
    # The budgets of gradients and dtypes are for the golden pairs; the original's gradients are stored for four others.
    if {"golden", "golden-gradients"} & set(pairs):
        few = harness.some(datasets.load("golden-gradients"), options.limit)
        measure = functools.partial(gradients.measure_against_matlab, backends=chosen, device=device)
        yield from harness.in_threads(threads, measure, few, "gradients, MATLAB", unusable)
    if "golden" in pairs:
        for module, title in ((gradients, "gradients, float64"), (dtypes, "dtypes"), (options_of_calls, "options")):
            measure = functools.partial(module.measure, backends=chosen, device=device)
            yield from harness.in_threads(threads, measure, pairs["golden"], title, unusable)
    calls = tqdm(gradients.SMALL, **harness.bar("numerical derivatives"))
    yield from gradients.measure_numerically(calls, chosen, device)
    cases = volumes.CASES[: options.limit]
    yield from volumes.measure(tqdm(cases, **harness.bar("signals and volumes")), chosen, device)
    parts = streams.CASES[: options.limit]
    yield from streams.measure(tqdm(parts, **harness.bar("stream")), chosen, device)
    yield from stability.measure(tqdm(stability.work(options.limit), **harness.bar("stability")), chosen, device)


def _unusable(dataset: str, problem: str) -> rows.Measurement:
    tqdm.write(problem, file=sys.stderr)
    what = ("Files", "", "", "", "files that cannot be used", dataset, problem.partition(":")[0], "count")
    return rows.Measurement(*what, error=1.0, note=problem)
