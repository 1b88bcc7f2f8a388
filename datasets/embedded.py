"""Pairs generated from images in the scikit-image wheel, without a download."""

import csv
import functools
import hashlib
from pathlib import Path

import numpy as np

from .pair import Pair, Pairs, optional
from .recipes import distort

COLOUR_IMAGES = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "colorwheel")
COLOUR_RECIPES = ("brighter", "flatter", "quantised", "boxed", "noisy", "shifted", "blocky", "salted")


def golden() -> Pairs:
    """Return the pairs of ``reference.golden.values()``, with the same names."""
    return _gray_pairs("golden_pairs.csv")


def golden_gradients() -> Pairs:
    """Return the pairs of ``reference.golden.gradients()``, with the same names."""
    return _gray_pairs("golden_gradient_pairs.csv")


def colour() -> Pairs:
    """Return every colour image with every recipe of moderate strength."""
    return Pairs(
        {
            f"{image}-{recipe}": functools.partial(_colour, image, recipe)
            for image in COLOUR_IMAGES
            for recipe in COLOUR_RECIPES
        }
    )


def _gray_pairs(file: str) -> Pairs:
    with open(Path(__file__).parent / file, newline="") as table:
        return Pairs({_gray_name(row): functools.partial(_gray, row) for row in csv.DictReader(table)})


def _gray_name(row: dict[str, str]) -> str:
    return f"{row['image']}-{row['height']}x{row['width']}-{row['recipe']}"


def _gray(row: dict[str, str]) -> Pair:
    image = _image(row["image"])
    plane = image[..., 1] if image.ndim == 3 else image  # the green channel as gray, in integers
    reference = plane[: int(row["height"]), : int(row["width"])].copy()
    distorted = distort(reference, row["recipe"])
    name = _gray_name(row)
    for part, array in (("reference", reference), ("distorted", distorted)):
        found = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        if found != row[f"{part}_sha256"]:
            raise ValueError(
                f"the {part} image of {name} is not the one that Wang's code was run on: its SHA-256 must begin with "
                f"{row[f'{part}_sha256']}, got {found}. This version of scikit-image may have another image."
            )
    return Pair(name, reference, distorted, 255.0, row["recipe"])


def _colour(image: str, recipe: str) -> Pair:
    reference = _image(image)[..., :3].copy()
    return Pair(f"{image}-{recipe}", reference, distort(reference, recipe), 255.0, recipe)


@functools.lru_cache(maxsize=1)  # consecutive pairs have the same image
def _image(name: str) -> np.ndarray:
    image = getattr(optional("skimage.data", "scikit-image"), name)()
    return np.asarray(image)
