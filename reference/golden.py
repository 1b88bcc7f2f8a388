"""Values that Wang's MATLAB code returned for the pairs of ``datasets.load("golden")``.

They are from the unmodified ssim_index.m, msssim.m and ssim_index_new.m in GNU Octave 7.3 with the image package 2.14.
Gradients are finite differences of the same programs, with respect to the second (distorted) image.
"""

import csv
import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "golden"


class GoldenValues(NamedTuple):
    """Values of one pair. A negative mean cs makes the product complex."""

    ssim_index: float
    msssim_product: complex
    msssim_wtd_sum: float
    cs: tuple[float, ...]
    """Mean cs of each of the five scales, finest first."""
    ssim: tuple[float, ...]
    """Mean SSIM of each of the five scales, finest first."""


class GoldenGradients(NamedTuple):
    """Derivatives with respect to the second image, at the pixels (row[i], column[i])."""

    row: np.ndarray
    column: np.ndarray
    msssim_product: np.ndarray
    msssim_wtd_sum: np.ndarray
    ssim_index: np.ndarray


@functools.cache
def values() -> dict[str, GoldenValues]:
    """Return the values by pair name, image-HEIGHTxWIDTH-recipe, for example "camera-512x512-brighter"."""
    return {
        _name(row): GoldenValues(
            float(row["ssim_index"]),
            complex(row["msssim_product"].replace("i", "j")),
            float(row["msssim_wtd_sum"]),
            tuple(float(row[f"cs{scale}"]) for scale in range(1, 6)),
            tuple(float(row[f"ssim{scale}"]) for scale in range(1, 6)),
        )
        for row in _rows("wang_octave.csv")
    }


@functools.cache
def gradients() -> dict[str, GoldenGradients]:
    """Return the derivatives at some pixels of some pairs, by pair name as in :func:`values`."""

    def column(rows: list[dict[str, str]], key: str, dtype: Any) -> np.ndarray:
        return np.array([row[key] for row in rows]).astype(dtype)

    pairs = {name: list(rows) for name, rows in itertools.groupby(_rows("wang_octave_gradients.csv"), _name)}
    return {
        name: GoldenGradients(
            column(rows, "row", np.int64),
            column(rows, "column", np.int64),
            column(rows, "d_msssim_product", np.float64),
            column(rows, "d_msssim_wtd_sum", np.float64),
            column(rows, "d_ssim_index", np.float64),
        )
        for name, rows in pairs.items()
    }


def _name(row: dict[str, str]) -> str:
    return f"{row['image']}-{row['height']}x{row['width']}-{row['recipe']}"


def _rows(file: str) -> list[dict[str, str]]:
    with open(FOLDER / file, newline="") as table:
        return list(csv.DictReader(table))
