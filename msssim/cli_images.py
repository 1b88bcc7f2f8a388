"""Reading image files for the command, 8 and 16 bits, and finding the pairs in two folders."""

import pathlib
from typing import Any, NamedTuple

import torch
from torch import Tensor

try:
    import numpy as np
    from PIL import Image, ImageOps
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the command msssim needs {error.name}: python -m pip install numpy pillow", name=error.name
    ) from error

ALPHA = ("refuse", "ignore", "composite")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".ppm", ".pgm")

_BITS_PER_SAMPLE, _ORIENTATION = 258, 274  # tags of TIFF; the second also of EXIF
_SIXTEEN_BITS = {"I;16", "I;16B", "I;16L", "I;16N"}
_EIGHT_BITS = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBX": "RGB",
               "RGBA": "RGBA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}  # fmt: skip


class Pair(NamedTuple):
    """Two files to compare."""

    name: str
    reference: pathlib.Path
    distorted: pathlib.Path


class PairError(Exception):
    """Why a pair cannot be compared, in one line."""


def pairs(
    reference: pathlib.Path, distorted: pathlib.Path, suffixes: tuple[str, ...] = SUFFIXES
) -> tuple[list[Pair], list[str]]:
    """The pairs of two files, or of two folders by name, and a line for each name without a partner.

    Files have a partner of the same name, or of the same stem if only the extension differs. In folders, files with
    other suffixes are left out.

    Raises
    ------
    PairError
        If one is no file and no folder, or one is a file and the other a folder.
    """
    for path in (reference, distorted):
        if not path.exists():
            raise PairError(f"{path}: there is no such file or folder")
    if reference.is_dir() != distorted.is_dir():
        raise PairError(f"{reference} and {distorted} must be two files or two folders")
    if not reference.is_dir():
        return [Pair(distorted.name, reference, distorted)], []
    references, others = _files(reference, suffixes), _files(distorted, suffixes)
    found, problems = [], []
    for name, path in references.items():
        same_stem = [other for other in others.values() if other.stem == path.stem]
        partners = [others[name]] if name in others else same_stem
        if len(partners) == 1:
            found.append(Pair(name, path, partners[0]))
        elif partners:
            problems.append(f"{path}: has several partners: {', '.join(str(each) for each in partners)}")
        else:
            problems.append(f"{path}: has no partner in {distorted}")
    used = {pair.distorted for pair in found}
    stems = {path.stem for path in references.values()}
    problems += [f"{path}: has no partner in {reference}" for path in others.values() if path.stem not in stems]
    problems += [
        f"{path}: its partner in {reference} is compared with another file"
        for path in others.values()
        if path.stem in stems and path not in used and any(path.stem == each.stem for each in used)
    ]
    return found, problems


def _files(folder: pathlib.Path, suffixes: tuple[str, ...]) -> dict[str, pathlib.Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file())
    return {path.name: path for path in files if not path.name.startswith(".")}


def read(path: pathlib.Path, alpha: str = "refuse") -> Tensor:
    """Read an image as (1, H, W) or (3, H, W), in uint8, or uint16 for files of 16 bits.

    EXIF orientation is applied. Palettes become RGB; so does CMYK, by Pillow's formula without colour profiles. An
    alpha channel is an error, ignored, or used to composite the image over white.

    Raises
    ------
    PairError
        If it cannot be read.
    """
    try:
        pixels = _decode(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise PairError(f"{path}: cannot be read: {' '.join(str(problem).split())}") from problem
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[-1] in (2, 4):
        if alpha == "refuse":
            raise PairError(f"{path}: has an alpha channel; pass --alpha ignore or --alpha composite")
        pixels = _without_alpha(pixels, composite=alpha == "composite")
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))


def _decode(path: pathlib.Path) -> Any:
    with Image.open(path) as file:
        if file.mode not in _SIXTEEN_BITS and _bits(file, path) == 16:
            return _oriented(_decode_by_opencv(path), file)
        image = ImageOps.exif_transpose(file)
        if image.mode in _SIXTEEN_BITS:
            return np.asarray(image).astype(np.uint16)
        mode = _EIGHT_BITS.get(image.mode)
        if mode is None:
            raise ValueError(f"pixels of mode {image.mode} have no known range; convert the file to 8 or 16 bits")
        if "transparency" in image.info and mode in ("L", "RGB"):
            mode = "RGBA"
        return np.asarray(image if image.mode == mode else image.convert(mode))


def _bits(file: Any, path: pathlib.Path) -> int:
    """The bits of a sample in the file; Pillow silently reduces those of colour files to 8."""
    if file.format == "PNG":
        with path.open("rb") as stream:
            return stream.read(25)[24]  # of the header, which is the first chunk
    if file.format == "TIFF":
        bits = file.tag_v2.get(_BITS_PER_SAMPLE, 1)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _decode_by_opencv(path: pathlib.Path) -> Any:
    try:
        import cv2
    except ModuleNotFoundError:
        raise ValueError("colour files of 16 bits need OpenCV: python -m pip install opencv-python-headless") from None
    # From memory, because imread() does not support Unicode names on Windows. ANYCOLOR would drop the alpha channel.
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("OpenCV cannot decode it with 16 bits")
    if pixels.ndim == 2:
        return pixels
    order = [2, 1, 0, 3][: pixels.shape[-1]]
    return pixels[..., order]


def _oriented(pixels: Any, file: Any) -> Any:
    """Pixels of OpenCV as they are meant to be seen; it applies the orientation of TIFF itself."""
    orientation = file.getexif().get(_ORIENTATION, 1) if file.format == "PNG" else 1
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _without_alpha(pixels: Any, *, composite: bool) -> Any:
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    if not composite:
        return colours
    peak = np.iinfo(pixels.dtype).max
    opacity = alpha / peak
    return np.floor(colours * opacity + peak * (1 - opacity) + 0.5).astype(pixels.dtype)
