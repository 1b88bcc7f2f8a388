"""Image-quality databases with subjective scores, read from the IQA-Dataset lists or the lists they are published with.

`iqa/<DB>.txt` is a CSV file `dis_img_path,dis_type,ref_img_path,score` with one row for each distorted image of the
complete database. If only some of the images are available, the pairs are those whose files exist.
"""

import csv
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import images, registry, score_lists
from .pair import BrokenImage, Pair, Pairs

FOLDER = "iqa"
MATLAB_COLUMNS = ("dis_img_path", "msssim_matlab", "ssim_matlab")
_HEAD = ["dis_img_path", "dis_type", "ref_img_path", "score"]


class MatlabScore(NamedTuple):
    """Wang's MATLAB code on one image: msssim.m (product), and ssim.m with automatic downsampling."""

    msssim: float
    ssim: float


class MatlabScores(NamedTuple):
    """Wang's MATLAB code on a database."""

    scores: dict[str, MatlabScore]
    """By path of the distorted image."""
    decimals: int
    """The number of decimals in the file."""


class Inspection(NamedTuple):
    """The number of images found in a dataset, and one line for each problem."""

    found: int
    problems: list[str]


class _Files(NamedTuple):
    reference: Path
    distorted: Path


def load(name: str) -> Pairs:
    """Load the pairs whose files exist, with their scores; see :func:`datasets.load`."""
    entry, base = registry.entries()[name], registry.data_folder(name) / FOLDER
    rows, problems = score_list(name)
    found = {row.image: (row, files) for row in rows if (files := _find_files(entry, base, row))}
    if not found:
        reason = f"its list is in {base}, but none of its {entry.count} distorted images" if rows else problems[0]
        raise registry.missing(name, reason)
    return Pairs(
        {image: functools.partial(_pair, row, files) for image, (row, files) in found.items()},
        note=f"{len(found)} of {entry.count} distorted images",
        problems=[*problems, *_misnamed(entry, base, rows)],
    )


def score_list(name: str) -> score_lists.ScoreList:
    """Return one row for each image of the complete database, available or not."""
    entry, base = registry.entries()[name], registry.data_folder(name) / FOLDER
    iqa_dataset_list = base / f"{entry.folders[0]}.txt"
    if iqa_dataset_list.is_file():
        return _read_iqa_dataset_list(iqa_dataset_list)
    for folder in entry.folders:
        found = images.find_folder(base, Path(folder))
        if found and score_lists.exists(name, found):
            return score_lists.read(name, found, entry.folders[0])
    folder = str(base / entry.folders[0])
    raise registry.missing(name, f"no {iqa_dataset_list.name} in {base}, and no published score list in {folder}")


def matlab_file(name: str) -> str:
    """Return the file name of the MATLAB scores of a database."""
    return f"{registry.entries()[name].folders[0]}_matlab_scores.csv"


def matlab_scores(name: str) -> MatlabScores | None:
    """Return the scores that Wang's MATLAB code gives on a database, or None if the file does not exist."""
    path = registry.data_folder(name) / FOLDER / matlab_file(name)
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        table = [tuple(row[column] for column in MATLAB_COLUMNS) for row in csv.DictReader(file)]
    decimals = max(len(text.partition(".")[2]) for row in table for text in row[1:])
    return MatlabScores({image: MatlabScore(float(msssim), float(ssim)) for image, msssim, ssim in table}, decimals)


def inspect(name: str) -> Inspection:
    """Open every available image."""
    entry, base = registry.entries()[name], registry.data_folder(name) / FOLDER
    rows, problems = score_list(name)
    problems = list(problems)
    found = 0
    for row in rows:
        files = _find_files(entry, base, row)
        if files is None:
            continue
        found += 1
        try:
            _pair(row, files)
        except BrokenImage as broken:
            problems.append(str(broken))
    # A broken reference has the same message for each of its distorted images.
    return Inspection(found, list(dict.fromkeys([*problems, *_misnamed(entry, base, rows)])))


def _read_iqa_dataset_list(path: Path) -> score_lists.ScoreList:
    rows: list[score_lists.Row] = []
    problems: list[str] = []
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.reader(file)
        head = next(reader, [])
        if head != _HEAD:
            return score_lists.ScoreList(
                [], [f"{path.name}: the header must be {','.join(_HEAD)}, got {','.join(head)}"]
            )
        for fields in reader:
            try:
                image, distortion, reference, score = fields
                rows.append(score_lists.Row(image, distortion, reference, score_lists.parse_score(score)))
            except ValueError:
                problems.append(f"{path.name}, line {reader.line_num}: cannot be read: {','.join(fields)}")
    return score_lists.ScoreList(rows, problems)


def _find_files(entry: registry.Entry, base: Path, row: score_lists.Row) -> _Files | None:
    """Return the two files of a row, or None if one of them does not exist."""
    reference_path, distorted_path = (Path(*Path(file).parts[1:]) for file in (row.reference, row.image))
    for folder in entry.folders:
        reference = images.find(base, folder / reference_path)
        distorted = images.find(base, folder / distorted_path)
        if reference and distorted:
            return _Files(reference, distorted)
    return None


def _pair(row: score_lists.Row, files: _Files) -> Pair:
    x = _read_cached(files.reference, row.reference).copy()
    y = images.read(files.distorted, row.image)
    if x.shape != y.shape:
        raise BrokenImage(f"{row.image}: has shape {y.shape}, but its reference {row.reference} has shape {x.shape}")
    return Pair(row.image, x, y, 255.0, row.distortion, score=row.score)


@functools.lru_cache(maxsize=1)  # consecutive pairs mostly have the same reference
def _read_cached(path: Path, display_name: str) -> np.ndarray:
    return images.read(path, display_name)


def _misnamed(entry: registry.Entry, base: Path, rows: list[score_lists.Row]) -> Iterator[str]:
    """Yield a line for each image that is not in the list, in folders where listed images are missing."""
    listed: dict[Path, set[str]] = {}
    for row in rows:
        for file in (row.image, row.reference):
            path = Path(*Path(file).parts[1:])
            listed.setdefault(path.parent, set()).add(path.name.lower())
    for top in entry.folders:
        for folder, names in listed.items():
            found = images.find_folder(base, Path(top) / folder)
            files = sorted(found.iterdir()) if found else []
            files = [path for path in files if path.suffix.lower() in images.EXTENSIONS]
            missing = len(names) - sum(path.name.lower() in names for path in files)
            if missing <= 0:
                continue
            known = names | score_lists.unlisted_files(entry.name, folder)
            for path in files:
                if path.name.lower() not in known:
                    display_name = path.relative_to(base).as_posix()
                    yield f"{display_name}: misnamed? It is not in the list, and {missing} listed images are missing"
