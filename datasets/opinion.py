"""Databases of images that people scored, by the lists of the IQA-Dataset collection or by their own.

`iqa/<DB>.txt` is a CSV `dis_img_path,dis_type,ref_img_path,score` with a row for each distorted image of the whole
database. Where only some of the images are there, those make the pairs.
"""

import csv
import functools
from pathlib import Path
from typing import NamedTuple

from . import images, official, registry
from .pair import BrokenImage, Pair, Pairs

FOLDER = "iqa"
MATLAB_COLUMNS = ("dis_img_path", "msssim_matlab", "ssim_matlab")
_HEAD = ["dis_img_path", "dis_type", "ref_img_path", "score"]


class Matlab(NamedTuple):
    """What Wang's MATLAB code gave for the images of a database."""

    scores: dict
    """For each distorted image (msssim.m by the product, ssim.m with automatic downsampling)."""
    decimals: int
    """With how many decimals they are given."""


class Inspection(NamedTuple):
    """What is there of a dataset, and what is wrong with it, a line each."""

    found: int
    problems: list


def load(name):
    """The pairs whose files are there, with their scores; see :func:`datasets.load`."""
    entry, base = registry.entries()[name], registry.root(name) / FOLDER
    rows, problems = listed(name)
    there = {row.image: (row, *files) for row in rows if all(files := _files(entry, base, row))}
    if not there:
        why = f"its list is in {base}, but none of its {entry.count} distorted images is" if rows else problems[0]
        raise registry.missing(name, why)
    return Pairs(
        {image: functools.partial(_pair, *found) for image, found in there.items()},
        note=f"{len(there)} of {entry.count} distorted images",
        problems=[*problems, *_misnamed(entry, base, rows)],
    )


def listed(name):
    """(a row for each image of the whole database, what could not be read of the list), images there or not."""
    entry, base = registry.entries()[name], registry.root(name) / FOLDER
    collection = base / f"{entry.folders[0]}.txt"
    if collection.is_file():
        return _collection(collection)
    for folder in entry.folders:
        found = images.find_folder(base, folder)
        if found and official.has_list(name, found):
            return official.read(name, found, entry.folders[0])
    raise registry.missing(name, f"no {collection.name} in {base}, nor a list of its own in {base / entry.folders[0]}")


def matlab_file(name):
    """What the file of MATLAB's scores for a database is called."""
    return f"{registry.entries()[name].folders[0]}_matlab_scores.csv"


def matlab(name):
    """What Wang's MATLAB code gave for each image of a database, where its file of that is there, or None."""
    path = registry.root(name) / FOLDER / matlab_file(name)
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        table = [tuple(row[column] for column in MATLAB_COLUMNS) for row in csv.DictReader(file)]
    decimals = max(len(text.partition(".")[2]) for row in table for text in row[1:])
    return Matlab({image: (float(msssim), float(ssim)) for image, msssim, ssim in table}, decimals)


def inspect(name):
    """Open every image that is there."""
    entry, base = registry.entries()[name], registry.root(name) / FOLDER
    rows, problems = listed(name)
    found = 0
    for row in rows:
        files = _files(entry, base, row)
        if not all(files):
            continue
        found += 1
        try:
            _pair(row, *files)
        except BrokenImage as broken:
            problems.append(str(broken))
    return Inspection(found, list(dict.fromkeys([*problems, *_misnamed(entry, base, rows)])))


def _collection(path):
    rows, problems = [], []
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        if head != _HEAD:
            return [], [f"{path.name}: the head {','.join(_HEAD)} is wanted, {','.join(head)} came"]
        for fields in reader:
            try:
                image, distortion, reference, score = fields
                rows.append(official.Row(image, distortion, reference, official.score(score)))
            except ValueError:
                problems.append(f"{path.name}, line {reader.line_num}: cannot be read: {','.join(fields)}")
    return rows, problems


def _files(entry, base, row):
    """(reference, distorted) as paths, None for what is not there."""
    for folder in entry.folders:
        found = [images.find(base, Path(folder, *Path(file).parts[1:])) for file in (row.reference, row.image)]
        if all(found):
            return found
    return None, None


def _pair(row, reference, distorted):
    x, y = _decoded(reference, row.reference).copy(), images.read(distorted, row.image)
    if x.shape != y.shape:
        raise BrokenImage(f"{row.image}: of shape {y.shape}, but its reference {row.reference} is of shape {x.shape}")
    return Pair(row.image, x, y, 255.0, row.distortion, score=row.score)


@functools.lru_cache(maxsize=1)  # pairs come reference by reference, or nearly so
def _decoded(path, shown):
    return images.read(path, shown)


def _misnamed(entry, base, rows):
    """A line for each image that no list names, in folders where listed ones are missing."""
    folders = {}
    for row in rows:
        for file in (row.image, row.reference):
            path = Path(*Path(file).parts[1:])
            folders.setdefault(path.parent, set()).add(path.name.lower())
    for top in entry.folders:
        for folder, names in folders.items():
            here = images.find_folder(base, Path(top) / folder)
            files = (
                [path for path in sorted(here.iterdir()) if path.suffix.lower() in images.EXTENSIONS] if here else []
            )
            lacking = len(names) - sum(path.name.lower() in names for path in files)
            known = names | official.unlisted(entry.name, folder)
            unlisted = [path for path in files if path.name.lower() not in known]
            if lacking > 0:
                for path in unlisted:
                    shown = path.relative_to(base).as_posix()
                    yield f"{shown}: not in the list, and {lacking} that are in it are missing: misnamed?"
