"""Does the index agree with people? Every pair of the databases of opinion, and what Wang's MATLAB code gave for it.

Under torchrun each process scores its share, and the first one writes the report.
"""

import sys

import pandas as pd

import datasets
from datasets import registry, subjective

from .. import harness
from ..report.options import whole
from . import scoring, tables

RESAMPLES = 1000
DATABASES = tuple(name for name, entry in registry.entries().items() if entry.kind == "subjective")


def arguments(parser):
    """Add the options of this question."""
    parser.add_argument(
        "--human", nargs="*", type=str.lower, choices=DATABASES, metavar="DB",
        help=f"the index against the opinion of people: any of {', '.join(DATABASES)} (default: those that are here);"
        " by the fastest backend, unless --backend names a single one",
    )  # fmt: skip
    parser.add_argument(
        "--workers",
        type=whole(0),
        help="for --human: processes that score beside each other (default: none)",
    )
    parser.add_argument(
        "--resamples", type=whole(1), help=f"for --human: of the bootstrap intervals (default: {RESAMPLES})"
    )


def sections(options, about):
    """Score and return the sections; `about` gets the lines that say of what they are made."""
    names = list(dict.fromkeys(options.human)) or _here()
    backend = options.backend[0] if len(options.backend) == 1 else "auto"
    about["backend for human opinion"] = "the fastest that covers the images" if backend == "auto" else backend
    found, files = [], []
    try:
        with scoring.processes(options.device) as (rank, count, device):
            for name in names:
                files.append(options.out / "scores" / f"{name}.jsonl")
                common = {
                    "device": device,
                    "backend": backend,
                    "workers": options.workers or 0,
                    "rank": rank,
                    "count": count,
                }
                found.append(_database(name, bool(options.human), files[-1], options.limit, common))
    except scoring.Stopped as stopped:
        sys.exit(f"python -m validation --human: {stopped}")
    except KeyboardInterrupt:
        sys.exit(f"python -m validation --human: interrupted; the same command goes on from {files[-1]}")
    if rank:
        sys.exit()  # the first process has the rows of all
    for one in found:
        about[f"{one.name} images"] = one.note
        for problem in one.problems:
            print(problem, file=sys.stderr)
    made = tables.made_of(found, options.resamples or RESAMPLES)
    for file in files:
        file.unlink(missing_ok=True)
    return made


def _here():
    """The databases whose list of opinions is here."""
    names = []
    for name in DATABASES:
        try:
            subjective.score_list(name)
            names.append(name)
        except datasets.DatasetMissing:
            pass
    if not names:
        raise datasets.DatasetMissing(
            f"none of the databases with the opinion of people is here: one of {', '.join(DATABASES)} is wanted in the "
            f"folder that the environment variable {registry.VARIABLE} names, and {registry.describe_variable()}. "
            "`python -m datasets get NAME` downloads one, or says how it is had by hand"
        )
    return names


def _database(name, named, file, limit, common):
    """Everything that is known of a database: opinions, MATLAB's scores, and ours of the images that are there."""
    rows, problems = subjective.score_list(name)
    matlab = subjective.matlab_scores(name)
    try:
        pairs = datasets.load(name)
    except datasets.DatasetMissing:
        if named and not matlab:  # then nothing can be said of what was asked for
            raise
        pairs = datasets.Pairs({}, f"0 of {registry.entries()[name].count} distorted images", problems)
    scored = len(pairs) and scoring.score(harness.some(pairs, limit), file, title=f"human opinion, {name}", **common)
    table = pd.DataFrame(
        [(row.image, row.distortion, row.score) for row in rows], columns=["pair", "distortion", "opinion"]
    )
    columns = ["pair", *scoring.QUANTITIES, "problem"]
    table = table.merge(pd.DataFrame(scored or [], columns=columns), how="left", on="pair")
    for place, key in enumerate(("msssim", "ssim")):
        known = matlab.scores if matlab else {}
        table[f"{key}_matlab"] = [known[pair][place] if pair in known else float("nan") for pair in table.pair]
    lower = registry.entries()[name].lower_is_better
    broken = [*pairs.problems, *table.problem.dropna()]
    return tables.Database(
        name, registry.entries()[name].count, table, pairs.note, broken, lower, matlab.decimals if matlab else None
    )
