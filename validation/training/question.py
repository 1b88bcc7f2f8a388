"""The first steps of trainings with every loss: how many have NaN, zero or exploding gradients."""

import argparse
import functools
import itertools
import pathlib
import warnings
from collections.abc import Iterator, Sequence

import pandas as pd

from reference.peers import PEERS

from .. import harness
from ..report.options import positive
from ..report.section import Section
from . import losses, measure, networks, tables

_INITIALIZATIONS = 6


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this question."""
    parser.add_argument(
        "--training", nargs="?", const=_INITIALIZATIONS, type=positive, metavar="N",
        help=f"start short trainings with every loss and count NaN, zero and exploding gradients; N initializations "
        f"for each (default: {_INITIALIZATIONS}), from --seed on; --limit also limits their steps",
    )  # fmt: skip


def sections(options: argparse.Namespace, about: dict[str, str]) -> list[Section]:
    """Train, and return the section; add what was measured to `about`."""
    every = losses.candidates(options.backend[0] if len(options.backend) == 1 else "auto")
    reasons = {one.package: reason for one in every if (reason := losses.unavailable(one))}
    chosen = [one for one in every if one.package not in reasons]
    packages = dict.fromkeys(one.package for one in chosen if one.package)
    about["losses of"] = ", ".join(f"{name} {PEERS[name].version()}" for name in packages) or "msssim only"
    setups = list(_setups(chosen, options))
    with harness.single_threads() as threads, warnings.catch_warnings():
        # The output of a network without a bound exceeds the data range, and packages warn about other things.
        warnings.simplefilter("ignore")
        measured = harness.in_threads(threads, measure.measure, setups, "trainings")
        rows = pd.DataFrame(measured, columns=measure.Training._fields)
    rows = as_stored(rows)
    made = tables.section_of_rows(rows, [f"Skipped: {reason}" for reason in reasons.values()])
    return [made._replace(data={f"{PREFIX}{options.seed}.csv": rows})]


def _setups(chosen: Sequence[losses.Candidate], options: argparse.Namespace) -> Iterator[measure.Setup]:
    count, steps = (min(number, options.limit or number) for number in (options.training, measure.STEPS))
    seeds = range(options.seed, options.seed + count)
    for candidate in chosen:
        of_all = itertools.product(candidate.crops, measure.PRECISIONS, networks.NETWORKS, seeds)
        yield from (measure.Setup(candidate, *each, steps, options.device) for each in of_all)


PREFIX = "training-"  # of the file of rows; its first seed follows


def as_stored(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with as many digits as are stored, so that tables made from them later are the same."""
    digits = functools.partial("{:.4g}".format)
    return rows.assign(**{
        name: [float(digits(value)) for value in rows[name]] for name in ("largest_norm", "start", "end")
    })  # fmt: skip


def load(folder: pathlib.Path) -> pd.DataFrame:
    """Return the rows of all seeds in a folder, in the order of one run."""
    parts = [pd.read_csv(path) for path in sorted(folder.glob(f"{PREFIX}*.csv"))]
    return pd.concat(parts).sort_values(["seed"], kind="stable").reset_index(drop=True)
