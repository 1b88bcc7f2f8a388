"""Random calls: draw and check them in one or several processes, shrink the failing ones, and report."""

import argparse
import collections
import concurrent.futures
import functools
import multiprocessing
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
import torch
from tqdm import tqdm

from reference import longdouble

from .. import harness
from ..report.options import at_least, positive
from ..report.section import BROKEN, PASS, Section, Table
from . import check, draws, shrink
from .expected import references

# At most this many failures are shrunk, one of each kind; all are counted.
SHRUNK = 8
_CHUNK = 25 * draws.BATCH


class Found(NamedTuple):
    """A failing call: its number, the backend, and the measurements over their limit."""

    call: int
    backend: str
    failures: list[check.Failure]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this question."""
    parser.add_argument(
        "--fuzz", type=positive, metavar="N", help="compare N random calls with long double; the budgets apply"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="for --fuzz and --training (default: 0)")
    parser.add_argument("--jobs", type=positive, default=1, help="for --fuzz: number of processes (default: 1)")


def sections(options: argparse.Namespace, about: dict[str, str]) -> list[Section]:
    """Check the calls, print failures as tests, and return the section."""
    about["random calls"] = f"{options.fuzz} of seed {options.seed}"
    if not longdouble.available():
        text = "Skipped: long double has no more digits than float64 on this machine."
        return [Section("fuzz", "Random calls", text)]
    # The emulated GPU works in one process only, and takes about a second for a call.
    small = tuple(options.backend) == ("triton",) and options.device == "cpu"
    found, counts = _run(options, small)
    tests = _as_tests(found, options.seed, small)
    if tests:
        print(shrink.IMPORTS)
        print("\n\n".join(tests))
    return [_section(options, found, counts)]


def _run(options: argparse.Namespace, small: bool) -> tuple[list[Found], collections.Counter[tuple[str, str, str]]]:
    work = [range(start, min(start + _CHUNK, options.fuzz)) for start in range(0, options.fuzz, _CHUNK)]
    measure = functools.partial(_chunk, options.seed, tuple(options.backend), small)
    found: list[Found] = []
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    with tqdm(total=options.fuzz, **harness.bar("random calls")) as progress:

        def gather(results: Iterable[Any]) -> None:
            for indices, (some, counted) in zip(work, results, strict=True):
                found.extend(some)
                counts.update(counted)
                progress.update(len(indices))

        if options.jobs == 1 or small:
            with harness.single_threads():
                gather(map(measure, work))
        else:
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(
                options.jobs, context, initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                gather(pool.map(measure, work))
    return found, counts


def _chunk(
    seed: int, backends: tuple[str, ...], small: bool, indices: range
) -> tuple[list[Found], collections.Counter[tuple[str, str, str]]]:
    found: list[Found] = []
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for start in range(indices.start, indices.stop, draws.BATCH):
        batch = draws.batch(seed, start // draws.BATCH, small=small)[: indices.stop - start]
        expected = references(batch)
        for backend in backends:
            if not check.supports(backend, batch[0]):
                counts[(backend, batch[0].dtype, "not supported")] += len(batch)
                continue
            for index, outcome in enumerate(check.check(batch, backend, expected), start):
                key = backend, batch[0].dtype
                counts.update({(*key, verdict): n for verdict, n in outcome.counts.items()})
                counts[(*key, "calls")] += 1
                if outcome.failures:
                    found.append(Found(index, backend, outcome.failures))
                    counts[(*key, "over budget")] += 1
    return found, counts


def _as_tests(found: list[Found], seed: int, small: bool) -> list[str]:
    """Return a small test for the first failure of each backend and kind."""
    tests: list[str] = []
    seen = set()
    for one in found:
        kinds = {failure.what for failure in one.failures}
        draw = draws.draw(seed, one.call, small=small)
        key = one.backend, draw.dtype, frozenset(kinds)
        if key in seen or len(tests) == SHRUNK:
            continue
        seen.add(key)

        def fails(other: draws.Draw, backend: str = one.backend, kinds: set[str] = kinds) -> bool:
            return any(failure.what in kinds for failure in check.failures(other, backend))

        draw = shrink.shrink(draw, fails)
        remaining = check.failures(draw, one.backend)
        note = ", ".join(f"{each.what}: {each.error:.2g}, limit {each.limit:.2g}" for each in remaining)
        tests.append(shrink.as_test(draw, one.backend, f"fuzz_{one.backend}_{seed}_{one.call}", note))
    print(*(f"over budget: seed {seed}, call {f.call}, {f.backend}: {f.failures}" for f in found[:20]),
          sep="\n", file=sys.stderr)  # fmt: skip
    return tests


VERDICTS = (
    "calls", "over budget", "budgets checked", "finiteness only", "value is NaN", "no index", "mean of a scale at 0",
    "value limited by rounding", "gradient limited by rounding", "slack at kinks used",
    "gradients not checked", "not supported",
)  # fmt: skip


_TEXT = (
    "A tenth of the calls are of volumes, some of signals, an eighth have a mask, and some calls of SSIM a padding, "
    "which not all backends support; on an emulated GPU all calls are of small images without mask and padding. "
    "Pixels under a weight of 0, in some calls NaN or infinite, must change no bit and get no gradient, and the value "
    "is NaN if no plane has weight at each scale. "
    "Images far beyond their range, denormal images, and images whose denominators vanish with a constant of 0 "
    "are only checked for finite values of at most 1. A call is over budget if its error exceeds both the budget and "
    "four times that of rounding the central moments, the map and the means once to the dtype of computation. "
    "Gradients are not checked for a window of a single pixel, in which every variance is rounding."
)


def _section(
    options: argparse.Namespace, found: list[Found], counts: collections.Counter[tuple[str, str, str]]
) -> Section:
    lines = sorted({(backend, dtype) for backend, dtype, _ in counts})
    table = pd.DataFrame(
        [{"backend": b, "dtype": d} | {name: counts[b, d, name] for name in VERDICTS} for b, d in lines]
    )
    columns = ("index", "backend", "what", "error", "limit")
    over = pd.DataFrame([(f.call, f.backend, *each) for f in found for each in f.failures], columns=list(columns))
    text = f"{options.fuzz} random calls of seed {options.seed}, against the reference in long double. {_TEXT}"
    total = sum(n for key, n in counts.items() if key[2] == "calls")
    verdict = BROKEN if found else PASS
    summary = f"{len(found)} of {total} over budget"
    data = {"fuzz.csv": table, "fuzz-failures.csv": over}
    return Section("fuzz", "Random calls", text, (Table(_CAPTION, table),), (), verdict, summary, data)


_CAPTION = "Random calls by backend and dtype. The number of calls by what was checked, and the number over budget."


def section_of_counts(table: pd.DataFrame, name: str) -> Section:
    """Return the section of a run from its table alone."""
    total, over = int(table.calls.sum()), int(table["over budget"].sum())
    verdict, summary = BROKEN if over else PASS, f"{over} of {total} over budget"
    return Section(f"fuzz-{name}", f"Random calls: {name}", _TEXT, (Table(_CAPTION, table),), (), verdict, summary)
