"""Image files: found whatever the case of their names, and read with one clear error for what is broken."""

import functools
import os
from pathlib import Path

import numpy as np

from .pair import BrokenImage, optional

EXTENSIONS = (".png", ".bmp", ".jpg", ".jpeg", ".ppm", ".tif", ".tiff")


def read(path, shown, mode=None):
    """An image as uint8: (H, W) if the file holds gray and no mode is asked for, else (H, W, 3).

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        How errors call it.
    mode : str, optional
        A mode of Pillow to convert to.
    """
    Image = optional("PIL.Image", "pillow")
    try:
        with Image.open(path) as image:
            image.load()
            return np.array(image.convert(mode or ("L" if image.mode in ("1", "L") else "RGB")))
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything
        raise BrokenImage(f"{shown}: cannot be read as an image: {error or type(error).__name__}") from error


def find(folder, relative):
    """The file of that relative name in a folder, upper and lower case being the same, or None."""
    path = Path(folder) / relative
    if path.is_file():
        return path
    path = _any_case(folder, relative)
    return path if path.is_file() else None


def find_folder(folder, relative):
    """The same of a folder."""
    path = _any_case(folder, relative)
    return path if path.is_dir() else None


def within(folder):
    """The image files in a folder and those below it, sorted."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())


def _any_case(folder, relative):
    path = Path(folder)
    for part in Path(relative).parts:
        path = path / _names(path, path.stat().st_mtime_ns if path.is_dir() else 0).get(part.lower(), part)
    return path


@functools.lru_cache(maxsize=64)  # a database has a few folders with thousands of files
def _names(folder, changed):
    return {entry.name.lower(): entry.name for entry in os.scandir(folder)} if folder.is_dir() else {}
