"""What can be downloaded, from where and under which licence, and where it lies: registry.json, and MSSSIM_DATA."""

import dataclasses
import functools
import json
import os
from pathlib import Path

from .pair import DatasetMissing

VARIABLE = "MSSSIM_DATA"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A dataset that has to be fetched; `registry.json` has one for each name."""

    name: str
    title: str
    kind: str
    """The module that loads it: "opinion" or "references"."""
    count: int
    """How many distorted images, or for reference images how many, the whole of it has."""
    folders: tuple
    """Where the images may lie: below iqa/ for databases of opinion, else below the root; the usual one first."""
    licence: str
    home: str
    layout: str
    by_hand: str
    files: tuple
    """What to download: url, to (a folder), and where known hash; `unpack` for archives, `numbers` for a series."""
    score: str = ""
    """What the opinion scores are."""
    names: str = ""
    """How the files are called, with {number}, where that is known."""


@functools.cache
def entries():
    """Every entry, by name."""
    with open(Path(__file__).parent / "registry.json", encoding="utf-8") as file:
        table = json.load(file)
    lists = ("folders", "files")
    return {
        name: Entry(name=name, **{key: tuple(value) if key in lists else value for key, value in fields.items()})
        for name, fields in table.items()
    }


def root(name):
    """The cache folder; `name` is the dataset to name in the error where there is none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise missing(name, f"{VARIABLE} is not set")
    return Path(folder)


def setting():
    """What the variable is set to, for people."""
    return f"{VARIABLE} is {os.environ.get(VARIABLE) or 'not set'}"


def missing(name, why):
    """The error for a dataset that is not there; says from where, and where to put it."""
    entry = entries()[name]
    return DatasetMissing(
        f"dataset {name!r} is missing: {why}. Set the environment variable {VARIABLE} to the folder for all datasets "
        f"and run `python -m datasets get {name}`; or by hand, from {entry.home}: {entry.by_hand}"
    )
