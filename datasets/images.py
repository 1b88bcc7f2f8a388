"""Find image files without regard to case, and read them with one clear error for broken files."""

import functools
import os
from pathlib import Path

import numpy as np

from .pair import BrokenImage, optional

EXTENSIONS = (".png", ".bmp", ".jpg", ".jpeg", ".ppm", ".tif", ".tiff")


def read(path: Path, display_name: str, mode: str | None = None) -> np.ndarray:
    """Read an image as uint8: (H, W) for a gray file if `mode` is None, else (H, W, 3).

    Parameters
    ----------
    path : Path
        The file.
    display_name : str
        The name of the file in error messages.
    mode : str, optional
        A Pillow mode to convert to.

    Raises
    ------
    BrokenImage
        If Pillow cannot decode the file.
    """
    Image = optional("PIL.Image", "pillow")
    try:
        with Image.open(path) as image:
            image.load()
            return np.array(image.convert(mode or ("L" if image.mode in ("1", "L") else "RGB")))
    except Exception as error:  # Pillow's decoders raise many types of exception for a broken file
        raise BrokenImage(f"{display_name}: cannot be read as an image: {error or type(error).__name__}") from error


def find(folder: Path, relative: Path) -> Path | None:
    """Return the file with that relative path in a folder, ignoring case, or None."""
    path = folder / relative
    if path.is_file():
        return path
    path = _ignoring_case(folder, relative)
    return path if path.is_file() else None


def find_folder(folder: Path, relative: Path) -> Path | None:
    """Return the subfolder with that relative path, ignoring case, or None."""
    path = _ignoring_case(folder, relative)
    return path if path.is_dir() else None


def find_all(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())


def _ignoring_case(folder: Path, relative: Path) -> Path:
    path = folder
    for part in relative.parts:
        path = path / _names(path, path.stat().st_mtime_ns if path.is_dir() else 0).get(part.lower(), part)
    return path


@functools.lru_cache(maxsize=64)  # a database has a few folders with thousands of files
def _names(folder: Path, mtime_ns: int) -> dict[str, str]:
    """Return the names in a folder by their lower-case form. `mtime_ns` invalidates the cache after a change."""
    return {entry.name.lower(): entry.name for entry in os.scandir(folder)} if folder.is_dir() else {}
