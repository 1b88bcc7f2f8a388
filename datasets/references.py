"""Sets of good images with distortions of our own, the kinds that image-quality databases are made of."""

import functools
import io
import zlib

import numpy as np

from . import images, registry
from .opinion import Inspection
from .pair import BrokenImage, Pair, Pairs, optional

SEED = 20031109

# For each distortion its setting at levels 1, 2 and 3.
LEVELS = {
    "jpeg": (75, 30, 10),  # quality
    "jpeg2000": (16, 48, 128),  # how many times smaller
    "webp": (75, 30, 5),  # quality
    "blur": (1.0, 2.0, 4.0),  # radius of the Gaussian in pixels
    "noise": (5.0, 15.0, 35.0),  # standard deviation in gray levels
    "contrast": (0.8, 0.5, 0.25),  # share of the contrast that is left
}


def load(name):
    """Every image that is there with every distortion at three levels; see :func:`datasets.load`."""
    files, misnamed = _files(name)
    if not files:
        folder = registry.root(name) / registry.entries()[name].folders[0]
        raise registry.missing(name, f"no images in {folder}")
    return Pairs(
        {
            f"{file.stem}-{distortion}-{level}": functools.partial(_pair, file, distortion, level)
            for file in files
            for distortion, settings in LEVELS.items()
            for level in range(1, len(settings) + 1)
        },
        note=f"{len(files)} of {registry.entries()[name].count} images",
        problems=misnamed,
    )


def inspect(name):
    """Open every image that is there."""
    files, problems = _files(name)
    for file in files:
        try:
            images.read(file, _shown(file))
        except BrokenImage as broken:
            problems.append(str(broken))
    return Inspection(len(files), problems)


def _files(name):
    """(the images of the first folder that has some, a line for each that is not called as it should be)."""
    entry, root = registry.entries()[name], registry.root(name)
    there = next((found for folder in entry.folders if (found := images.within(root / folder))), [])
    # macOS leaves files of its own, called ._name, in archives.
    there = [file for file in there if not file.name.startswith(".")]
    if not entry.names:
        return there, []
    known = {entry.names.format(number=number) for number in range(1, entry.count + 1)}
    wrong = [file for file in there if file.name.lower() not in known]
    calls = f"called {entry.names.format(number=1)} to {entry.names.format(number=entry.count)}"
    problems = [f"{_shown(file)}: the images of this set are {calls}: misnamed?" for file in wrong]
    return [file for file in there if file not in wrong], problems


def _shown(file):
    return f"{file.parent.name}/{file.name}"


def _pair(file, distortion, level):
    reference = _decoded(file)
    setting = LEVELS[distortion][level - 1]
    if distortion == "noise":
        seed = [SEED, zlib.crc32(file.stem.encode()), level]
        noise = np.random.default_rng(seed).normal(scale=setting, size=reference.shape)
        distorted = np.clip(np.rint(reference + noise), 0, 255).astype(np.uint8)
    else:
        distorted = _with_pillow(reference, distortion, setting)
    return Pair(f"{file.stem}-{distortion}-{level}", reference.copy(), distorted, 255.0, distortion, level)


@functools.lru_cache(maxsize=1)  # pairs come image by image
def _decoded(file):
    return images.read(file, _shown(file), "RGB")


def _with_pillow(reference, distortion, setting):
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
