"""Sets of undistorted images, to which the distortions typical of image-quality databases are applied here."""

import functools
import io
import zlib
from pathlib import Path

import numpy as np

from . import images, registry
from .pair import BrokenImage, Pair, Pairs, optional
from .subjective import Inspection

SEED = 20031109

# The setting of each distortion at levels 1, 2 and 3.
LEVELS: dict[str, tuple[float, float, float]] = {
    "jpeg": (75, 30, 10),  # quality
    "jpeg2000": (16, 48, 128),  # compression ratio
    "webp": (75, 30, 5),  # quality
    "blur": (1.0, 2.0, 4.0),  # Gaussian radius in pixels
    "noise": (5.0, 15.0, 35.0),  # standard deviation in gray levels
    "contrast": (0.8, 0.5, 0.25),  # remaining fraction of the contrast
}


def load(name: str) -> Pairs:
    """Load every available image with every distortion at three levels; see :func:`datasets.load`."""
    files, problems = _files(name)
    if not files:
        folder = registry.data_folder(name) / registry.entries()[name].folders[0]
        raise registry.missing(name, f"no images in {folder}")
    return Pairs(
        {
            f"{file.stem}-{distortion}-{level}": functools.partial(_pair, file, distortion, level)
            for file in files
            for distortion, settings in LEVELS.items()
            for level in range(1, len(settings) + 1)
        },
        note=f"{len(files)} of {registry.entries()[name].count} images",
        problems=problems,
    )


def inspect(name: str) -> Inspection:
    """Open every available image."""
    files, problems = _files(name)
    for file in files:
        try:
            images.read(file, _display_name(file))
        except BrokenImage as broken:
            problems.append(str(broken))
    return Inspection(len(files), problems)


def _files(name: str) -> tuple[list[Path], list[str]]:
    """Return the images of the first folder that has any, and one line for each file with an unexpected name."""
    entry, root = registry.entries()[name], registry.data_folder(name)
    found = next((found for folder in entry.folders if (found := images.find_all(root / folder))), [])
    found = [file for file in found if not file.name.startswith(".")]  # macOS adds files named ._name to archives
    if not entry.file_pattern:
        return found, []
    first, *_, last = expected = [entry.file_pattern.format(number=number) for number in range(1, entry.count + 1)]
    wrong = [file for file in found if file.name.lower() not in expected]
    problems = [f"{_display_name(file)}: misnamed? This dataset has {first} to {last}" for file in wrong]
    return [file for file in found if file not in wrong], problems


def _display_name(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _pair(file: Path, distortion: str, level: int) -> Pair:
    reference = _read_cached(file)
    setting = LEVELS[distortion][level - 1]
    if distortion == "noise":
        seed = [SEED, zlib.crc32(file.stem.encode()), level]
        noise = np.random.default_rng(seed).normal(scale=setting, size=reference.shape)
        distorted = np.clip(np.rint(reference + noise), 0, 255).astype(np.uint8)
    else:
        distorted = _distort_with_pillow(reference, distortion, setting)
    return Pair(f"{file.stem}-{distortion}-{level}", reference.copy(), distorted, 255.0, distortion, level)


@functools.lru_cache(maxsize=1)  # consecutive pairs have the same reference
def _read_cached(file: Path) -> np.ndarray:
    return images.read(file, _display_name(file), "RGB")


def _distort_with_pillow(reference: np.ndarray, distortion: str, setting: float) -> np.ndarray:
    Image = optional("PIL.Image", "pillow")
    image = Image.fromarray(reference)
    if distortion == "blur":
        return np.array(image.filter(optional("PIL.ImageFilter", "pillow").GaussianBlur(setting)))
    if distortion == "contrast":
        return np.array(optional("PIL.ImageEnhance", "pillow").Contrast(image).enhance(setting))
    options = {
        "jpeg": dict(format="JPEG", quality=setting),
        "jpeg2000": dict(format="JPEG2000", quality_mode="rates", quality_layers=[setting], irreversible=True),
        "webp": dict(format="WEBP", quality=setting),
    }[distortion]
    file = io.BytesIO()
    image.save(file, **options)
    with Image.open(file) as decoded:
        return np.array(decoded.convert("RGB"))
