"""Agreement with subjective scores: score the image-quality databases, and compare with Wang's MATLAB code.

Under torchrun each process scores a part of the pairs, and the first process writes the report.
"""

import argparse
import pathlib
import sys
from typing import Any

import pandas as pd

import datasets
from datasets import registry, subjective

from .. import harness
from ..report.options import at_least
from ..report.section import Section
from . import scoring, tables

RESAMPLES = 1000
DATABASES = tuple(name for name, entry in registry.entries().items() if entry.kind == "subjective")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this question."""
    parser.add_argument(
        "--subjective", "--human", dest="subjective", nargs="*", type=str.lower, choices=DATABASES, metavar="DB",
        help=f"agreement with subjective scores: any of {', '.join(DATABASES)} (default: those available); uses the"
        " fastest backend, unless --backend names exactly one",
    )  # fmt: skip
    parser.add_argument(
        "--workers",
        type=at_least(0),
        help="for --subjective: number of worker processes (default: score in this process)",
    )
    parser.add_argument(
        "--resamples",
        type=at_least(1),
        help=f"for --subjective: bootstrap resamples for intervals (default: {RESAMPLES})",
    )


def sections(options: argparse.Namespace, about: dict[str, str]) -> list[Section]:
    """Score and return the sections; add what was scored to `about`."""
    names = list(dict.fromkeys(options.subjective)) or _available()
    backend = options.backend[0] if len(options.backend) == 1 else "auto"
    about["backend for subjective scores"] = "the fastest that supports the images" if backend == "auto" else backend
    found: list[tables.Database] = []
    files: list[pathlib.Path] = []
    try:
        with scoring.processes(options.device) as process:
            for name in names:
                files.append(options.out / "scores" / f"{name}.jsonl")
                settings = {"process": process, "backend": backend, "workers": options.workers or 0}
                found.append(_database(name, bool(options.subjective), files[-1], options.limit, settings))
    except scoring.Stopped as stopped:
        sys.exit(f"python -m validation --subjective: {stopped}")
    except KeyboardInterrupt:
        sys.exit(f"python -m validation --subjective: interrupted; the same command resumes from {files[-1]}")
    if process.rank:
        sys.exit()  # the first process has the rows of all
    for database in found:
        about[f"{database.name} images"] = database.note
        for problem in database.problems:
            print(problem, file=sys.stderr)
    made = tables.make_section(found, options.resamples or RESAMPLES)
    for file in files:
        file.unlink(missing_ok=True)
    return [made]


def _available() -> list[str]:
    """Return the databases whose score list is available."""
    names = []
    for name in DATABASES:
        try:
            subjective.score_list(name)
            names.append(name)
        except datasets.DatasetMissing:
            pass
    if not names:
        raise datasets.DatasetMissing(
            f"no database with subjective scores found. Put one of {', '.join(DATABASES)} in the folder that the "
            f"environment variable {registry.VARIABLE} names; {registry.describe_variable()}. "
            "`python -m datasets get NAME` downloads one, or says how to download it by hand"
        )
    return names


def _database(
    name: str, requested: bool, file: pathlib.Path, limit: int | None, settings: dict[str, Any]
) -> tables.Database:
    """Collect subjective scores, MATLAB's scores, and this library's scores of the available images."""
    entry = registry.entries()[name]
    rows, problems = subjective.score_list(name)
    matlab = subjective.matlab_scores(name)
    try:
        pairs = datasets.load(name)
    except datasets.DatasetMissing:
        if requested and not matlab:  # nothing can be reported about this database
            raise
        pairs = datasets.Pairs({}, f"0 of {entry.count} distorted images", problems)
    scores = scoring.score(harness.some(pairs, limit), file, title=f"scores, {name}", **settings) if pairs else None
    table = pd.DataFrame(
        [(row.image, row.distortion, row.score) for row in rows], columns=["pair", "distortion", "mos"]
    )
    columns = ["pair", *scoring.QUANTITIES, "problem"]
    table = table.merge(pd.DataFrame(scores or [], columns=columns), how="left", on="pair")
    known = matlab.scores if matlab else {}
    for key in ("msssim", "ssim"):
        table[f"{key}_matlab"] = [getattr(known[pair], key) if pair in known else float("nan") for pair in table.pair]
    return tables.Database(
        name, entry.count, table, pairs.note, [*pairs.problems, *table.problem.dropna()], entry.lower_is_better,
        matlab.decimals if matlab else None,
    )  # fmt: skip
