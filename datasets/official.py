"""The lists of scores that the databases themselves come with, as rows like those of the IQA-Dataset collection."""

import csv
import math
from pathlib import Path
from typing import NamedTuple

from .pair import optional

# The kinds of distortion by their numbers in file names, called as in the collection.
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
# Release 2 of LIVE: for each kind how many images, the unmodified ones among them.
LIVE = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
# CSIQ: for each kind in the table of scores its folder, its name in file names, and that of the collection.
CSIQ = {
    "noise": ("AWGN", "AWGN", "AWGN"),
    "blur": ("blur", "BLUR", "GBLUR"),
    "contrast": ("contrast", "contrast", "Contrast Dist."),
    "fnoise": ("fnoise", "fnoise", "Pink_Noise"),
    "jpeg": ("jpeg", "JPEG", "JPEG"),
    "jpeg 2000": ("jpeg2000", "jpeg2000", "JP2K"),
}


class Row(NamedTuple):
    """A distorted image of a database, with the paths of the collection."""

    image: str
    distortion: str
    reference: str
    score: float


def has_list(name, folder):
    """Whether a folder has the database's own list of scores."""
    return name in _READERS and (Path(folder) / _READERS[name][0]).is_file()


def unlisted(name, folder):
    """The files that a database as released has in a folder of it beside those in its list, in lower case."""
    if name == "live" and str(folder) in LIVE:  # some are the references once more
        return {f"img{number}.bmp" for number in range(1, LIVE[str(folder)] + 1)}
    return set()


def read(name, folder, top):
    """(rows, lines that could not be read) of the database's own list; `top` is the first part of the rows' paths."""
    file, reader = _READERS[name]
    rows, problems = [], []
    for number, make in enumerate(reader(Path(folder) / file), 1):
        try:
            image, distortion, reference, value = make()
            rows.append(Row(f"{top}/{image}", distortion, f"{top}/{reference}", score(value)))
        except (ValueError, IndexError, KeyError, TypeError):
            problems.append(f"{file}, entry {number}: cannot be read")
    return rows, problems


def score(text):
    """A finite number, or ValueError."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"score: a number is wanted, {text!r} came")
    return value


def _tid(path):
    def make(line):
        value, image = line.split()
        number, kind, _ = image.split("_")
        return f"distorted_images/{image}", TID[int(kind) - 1], f"reference_images/{number}.bmp", value

    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.strip():
            yield lambda line=line: make(line)


def _kadid(path):
    def make(row):
        kind = int(row["dist_img"].split("_")[1])
        return f"images/{row['dist_img']}", KADID[kind - 1], f"images/{row['ref_img']}", row["dmos"]

    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            yield lambda row=row: make(row)


def _live(path):
    loadmat = optional("scipy.io", "scipy").loadmat
    scores, references = loadmat(path), loadmat(path.parent / "refnames_all.mat")["refnames_all"].ravel()
    values, unmodified = scores["dmos_new"].ravel(), scores["orgs"].ravel()
    index = 0
    for kind, count in LIVE.items():
        for number in range(1, count + 1):
            if not unmodified[index]:
                reference = str(references[index].item())
                row = (f"{kind}/img{number}.bmp", kind, f"refimgs/{reference}", values[index])
                yield lambda row=row: row
            index += 1


def _csiq(path):
    sheet = optional("openpyxl", "openpyxl").load_workbook(path, read_only=True, data_only=True)["all_by_image"]

    def make(image, kind, level, value):
        image = str(int(image)) if isinstance(image, float) else str(image)  # one of the images is called 1600
        folder, name, distortion = CSIQ[kind]
        return f"dst_imgs/{folder}/{image}.{name}.{int(level)}.png", distortion, f"src_imgs/{image}.png", value

    columns = None
    for cells in sheet.iter_rows(values_only=True):
        if columns is None and "dst_type" in cells:
            columns = [cells.index(head) for head in ("image", "dst_type", "dst_lev", "dmos")]
        elif columns and cells[columns[1]] is not None:
            yield lambda chosen=tuple(cells[i] for i in columns): make(*chosen)


_READERS = {
    "live": ("dmos_realigned.mat", _live),
    "tid2008": ("mos_with_names.txt", _tid),
    "tid2013": ("mos_with_names.txt", _tid),
    "csiq": ("csiq.DMOS.xlsx", _csiq),
    "kadid-10k": ("dmos.csv", _kadid),
}
