"""The datasets that can be downloaded, read from registry.json, and the folder they are stored in (MSSSIM_DATA)."""

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

from .pair import DatasetMissing

VARIABLE = "MSSSIM_DATA"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A dataset that has to be downloaded; `registry.json` has one entry for each name."""

    name: str
    title: str
    kind: str
    """The module that loads it: "subjective" or "references"."""
    count: int
    """The number of images in the complete dataset: distorted images for "subjective", else reference images."""
    folders: tuple[str, ...]
    """Possible image folders, the usual one first; relative to iqa/ for "subjective", else to the data folder."""
    licence: str
    home: str
    layout: str
    by_hand: str
    """What to do when the download does not work."""
    files: tuple[dict[str, Any], ...]
    """Downloads: "url", "to" (a folder), optionally "hash", "unpack" for archives, "numbers" for a numbered series."""
    score: str = ""
    """The type of the subjective scores, and whether lower or higher is better."""
    file_pattern: str = ""
    """The format of the file names, with {number}, where it is known."""

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower subjective score means better quality."""
        return "lower is better" in self.score


@functools.cache
def entries() -> dict[str, Entry]:
    """Return every entry by name."""
    with open(Path(__file__).parent / "registry.json", encoding="utf-8") as file:
        table = json.load(file)
    return {name: Entry(name, **_with_tuples(fields)) for name, fields in table.items()}


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {key: tuple(fields[key]) for key in ("folders", "files")}


def data_folder(name: str) -> Path:
    """Return the folder for all datasets; `name` is the dataset that the error names if no folder is set."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise missing(name, f"{VARIABLE} is not set")
    return Path(folder)


def describe_variable() -> str:
    """Return a phrase that says what MSSSIM_DATA is set to."""
    return f"{VARIABLE} is {os.environ.get(VARIABLE) or 'not set'}"


def missing(name: str, reason: str) -> DatasetMissing:
    """Return the error for a dataset that is not available. It says where to get it and where to put it."""
    entry = entries()[name]
    return DatasetMissing(
        f"dataset {name!r} not found: {reason}. Set the environment variable {VARIABLE} to the folder for all datasets "
        f"and run `python -m datasets get {name}`; or download it by hand from {entry.home}: {entry.by_hand}"
    )
