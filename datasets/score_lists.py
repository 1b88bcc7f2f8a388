"""Read the lists of subjective scores that the databases are published with, in the form of the IQA-Dataset lists."""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .pair import optional

# Distortion types by their number in file names, with the names that the IQA-Dataset lists use.
TID = (
    "AWGN", "Chroma_Noise", "Pink_Noise", "Masked_Noise", "High_Frequency_Noise", "Impluse_Noise", "Quantization_Noise",
    "GBLUR", "Denoising", "JPEG", "JP2K", "JPEG_Transmission_Error", "JP2K_Transmission_Error",
    "Non_Eccentricity_Pattern_Noise", "Block_Dist.", "Mean_Shift", "Contrast_Dist.", "Saturation_Dist.",
    "Multi._Gaussian Noise", "Comfort_Noise", "Multiply_Dist.", "Dithering", "Chroma_Aberrations", "Multiply_Dist.",
)  # fmt: skip
KADID = (
    "GBLUR", "Lens_Blur", "Motion_Blur", "Color_Diffusion", "Color_Shift", "Color_Quantization", "Saturation_Dist._HSV",
    "Saturation_Dist._Lab", "JP2K", "JPEG", "AWGN", "AWGN_YCbCr", "Impulse_Noise", "Multiplicative_Noise", "Denoising",
    "Brighten", "Darken", "Mean_Shift", "Jitter", "Non-eccentricity_patch", "Pixelate", "Quantization", "Color_Block",
    "High_Sharpen", "Contrast Dist.",
)  # fmt: skip
# LIVE, release 2: the number of images per distortion type, including copies of the reference images.
LIVE = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


class _CsiqNames(NamedTuple):
    folder: str
    file: str
    """The distortion type in file names."""
    distortion: str
    """The name in the IQA-Dataset list."""


CSIQ = {
    "noise": _CsiqNames("AWGN", "AWGN", "AWGN"),
    "blur": _CsiqNames("blur", "BLUR", "GBLUR"),
    "contrast": _CsiqNames("contrast", "contrast", "Contrast Dist."),
    "fnoise": _CsiqNames("fnoise", "fnoise", "Pink_Noise"),
    "jpeg": _CsiqNames("jpeg", "JPEG", "JPEG"),
    "jpeg 2000": _CsiqNames("jpeg2000", "jpeg2000", "JP2K"),
}


class Row(NamedTuple):
    """A distorted image of a database, with paths as in the IQA-Dataset lists."""

    image: str
    distortion: str
    reference: str
    score: float


class ScoreList(NamedTuple):
    """The rows of a score list, and one line for each entry that cannot be read."""

    rows: list[Row]
    problems: list[str]


def exists(name: str, folder: Path) -> bool:
    """Return whether a folder has the score list that the database is published with."""
    return name in _FORMATS and (folder / _FORMATS[name].file).is_file()


def unlisted_files(name: str, folder: Path) -> set[str]:
    """Return the lower-case names of images that a database has in a folder but not in its list."""
    if name == "live" and str(folder) in LIVE:  # these are copies of reference images
        return {f"img{number}.bmp" for number in range(1, LIVE[str(folder)] + 1)}
    return set()


def read(name: str, folder: Path, prefix: str) -> ScoreList:
    """Read the score list that a database is published with; `prefix` is the first part of the paths in the rows."""
    found = _FORMATS[name]
    rows: list[Row] = []
    problems: list[str] = []
    for number, entry in enumerate(found.entries(folder / found.file), 1):
        try:
            image, distortion, reference, value = found.parse(entry)
            rows.append(Row(f"{prefix}/{image}", distortion, f"{prefix}/{reference}", parse_score(value)))
        except (ValueError, IndexError, KeyError, TypeError):
            problems.append(f"{found.file}, entry {number}: cannot be read")
    return ScoreList(rows, problems)


def parse_score(text: Any) -> float:
    """Return a finite number, or raise ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"score must be a finite number, got {text!r}")
    return value


_Parsed = tuple[str, str, str, Any]  # image, distortion, reference, score


def _tid_entries(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return (line for line in text.splitlines() if line.strip())


def _parse_tid(line: str) -> _Parsed:
    value, image = line.split()
    number, kind, _ = image.split("_")
    return f"distorted_images/{image}", TID[int(kind) - 1], f"reference_images/{number}.bmp", value


def _kadid_entries(path: Path) -> Iterator[dict[str, str]]:
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        yield from csv.DictReader(file)


def _parse_kadid(row: dict[str, str]) -> _Parsed:
    kind = int(row["dist_img"].split("_")[1])
    return f"images/{row['dist_img']}", KADID[kind - 1], f"images/{row['ref_img']}", row["dmos"]


def _live_entries(path: Path) -> Iterator[_Parsed]:
    loadmat = optional("scipy.io", "scipy").loadmat
    scores, references = loadmat(path), loadmat(path.parent / "refnames_all.mat")["refnames_all"].ravel()
    dmos, is_reference = scores["dmos_new"].ravel(), scores["orgs"].ravel()
    images = [(kind, number) for kind, count in LIVE.items() for number in range(1, count + 1)]
    for index, (kind, number) in enumerate(images):
        if not is_reference[index]:
            yield f"{kind}/img{number}.bmp", kind, f"refimgs/{references[index].item()}", dmos[index]


def _parse_live(entry: _Parsed) -> _Parsed:
    return entry


def _csiq_entries(path: Path) -> Iterator[tuple[Any, ...]]:
    sheet = optional("openpyxl", "openpyxl").load_workbook(path, read_only=True, data_only=True)["all_by_image"]
    columns: list[int] = []
    for cells in sheet.iter_rows(values_only=True):
        if not columns and "dst_type" in cells:
            columns = [cells.index(head) for head in ("image", "dst_type", "dst_lev", "dmos")]
        elif columns and cells[columns[1]] is not None:
            yield tuple(cells[column] for column in columns)


def _parse_csiq(cells: tuple[Any, ...]) -> _Parsed:
    image, kind, level, value = cells
    image = str(int(image)) if isinstance(image, float) else str(image)  # one of the images is called 1600
    names = CSIQ[kind]
    file = f"dst_imgs/{names.folder}/{image}.{names.file}.{int(level)}.png"
    return file, names.distortion, f"src_imgs/{image}.png", value


class _Format(NamedTuple):
    """How a database publishes its scores."""

    file: str
    entries: Callable[[Path], Iterator[Any]]
    parse: Callable[[Any], _Parsed]
    """Applied to each entry by itself, so that one bad entry does not end the list."""


_FORMATS = {
    "live": _Format("dmos_realigned.mat", _live_entries, _parse_live),
    "tid2008": _Format("mos_with_names.txt", _tid_entries, _parse_tid),
    "tid2013": _Format("mos_with_names.txt", _tid_entries, _parse_tid),
    "csiq": _Format("csiq.DMOS.xlsx", _csiq_entries, _parse_csiq),
    "kadid-10k": _Format("dmos.csv", _kadid_entries, _parse_kadid),
}
