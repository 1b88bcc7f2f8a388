"""Measure the library against every oracle and write a report; exit with 1 when a budget is broken.

python -m validation                          golden, colour and synthetic pairs, on the CPU, every backend
python -m validation --dataset kodak          the Kodak images, found through MSSSIM_DATA
python -m validation --backend torch --device cuda
"""

import argparse
import concurrent.futures
import contextlib
import functools
import pathlib
import shlex
import sys
import time

import torch
from tqdm import tqdm

import datasets
import msssim

from . import dtypes, gradients, machine, plots, report, rows, stability, values

DEFAULT_DATASETS = ("golden", "colour", "synthetic")


def main(arguments=None):
    """Run the validation and return the exit code: 0, or 1 when a budget is broken."""
    parser = _parser()
    options = parser.parse_args(arguments)
    names = datasets.names() if "all" in options.dataset else tuple(dict.fromkeys(options.dataset))
    start = time.monotonic()
    try:
        loaded = {name: datasets.load(name) for name in names}
        torch.empty(0, device=options.device)
    except (datasets.DatasetMissing, RuntimeError, AssertionError) as error:
        parser.error(str(error))

    pairs = {name: _some(some, options.limit) for name, some in loaded.items()}
    with _single_threads() as threads:
        table = rows.frame(_measure(pairs, options, threads))
    summary = rows.summarize(table)
    about = {
        "command": shlex.join(["python", "-m", "validation", *(sys.argv[1:] if arguments is None else arguments)]),
        **machine.describe(options.device),
        "device": options.device,
        "pairs": ", ".join(f"{len(chosen)} of {total} {name}" for name, (chosen, total) in pairs.items()),
        **{f"{name} pairs": some.note for name, some in loaded.items() if some.note},
        "took": f"{time.monotonic() - start:.0f} s",
    }
    if options.limit is not None:
        about["limit"] = f"{options.limit} pairs of each dataset and {options.limit} provoking images: not a full run"
    path = report.write(options.out, summary, table, about, plots.draw(table))
    print(report.terminal(summary))
    print(path)
    return int((summary.verdict == rows.BROKEN).any())


def _parser():
    parser = argparse.ArgumentParser(prog="python -m validation", description=__doc__.partition("\n")[0])
    available = msssim.available_backends()
    parser.add_argument(
        "--dataset", nargs="+", default=DEFAULT_DATASETS, choices=(*datasets.names(), "all"), metavar="NAME",
        help=f"any of {', '.join(datasets.names())}, or all (default: {' '.join(DEFAULT_DATASETS)})",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    parser.add_argument(
        "--backend", nargs="+", default=available, choices=available, metavar="NAME",
        help=f"any of {', '.join(available)} (default: every one)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("reports/validation"), help="folder to write to"
    )
    parser.add_argument("--limit", type=_positive, help="only so many pairs of each dataset; the report says so")
    return parser


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is wanted, {text} came")
    return number


def _some(pairs, limit):
    """(the pairs to measure, how many there are): all of them, or `limit` spread evenly, so that every kind occurs."""
    total = len(pairs)
    if limit is None or limit >= total:
        return pairs, total
    return [pairs[i * total // limit] for i in range(limit)], total


@contextlib.contextmanager
def _single_threads():
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
    for name, (some, _) in pairs.items():
        measure = functools.partial(values.measure, name, backends=chosen, device=device)
        yield from _in_threads(threads, measure, some, f"values, {name}")
    # Gradients and dtypes are budgeted over the golden pairs; the original's gradients are of four others.
    if {"golden", "golden-gradients"} & set(pairs):
        few, _ = _some(datasets.load("golden-gradients"), options.limit)
        measure = functools.partial(gradients.measure_against_matlab, backends=chosen, device=device)
        yield from _in_threads(threads, measure, few, "gradients, MATLAB")
    if "golden" in pairs:
        for module, title in ((gradients, "gradients, float64"), (dtypes, "dtypes")):
            measure = functools.partial(module.measure, backends=chosen, device=device)
            yield from _in_threads(threads, measure, pairs["golden"][0], title)
    calls = tqdm(gradients.SMALL, **_bar("numerical derivatives"))
    yield from gradients.measure_numerically(calls, chosen, device)
    yield from stability.measure(tqdm(stability.work(options.limit), **_bar("stability")), chosen, device)


def _in_threads(threads, measure, pairs, title):
    """The Measurements of each pair, in order."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        # By index, so that a pair is made when its turn comes and let go afterwards.
        done = pool.map(lambda index: list(measure([pairs[index]])), range(len(pairs)))
        for measured in tqdm(done, total=len(pairs), **_bar(title)):
            yield from measured


def _bar(title):
    return {
        "desc": f"{title:<24}",
        "file": sys.stderr,
        "bar_format": "{desc}{percentage:3.0f}% {bar} {n_fmt}/{total_fmt} {elapsed}",
    }


if __name__ == "__main__":
    sys.exit(main())
