"""The Kodak images with distortions of our own, the kinds that image-quality databases are made of."""

import functools
import io
import os
from pathlib import Path

import numpy as np

from .pair import DatasetMissing, Pair, Pairs, optional

COUNT = 24
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


def kodak():
    """Every image that is there with every distortion at three levels."""
    files = _files()
    return Pairs(
        {
            f"{file.stem}-{distortion}-{level}": functools.partial(_pair, file, distortion, level)
            for file in files
            for distortion, settings in LEVELS.items()
            for level in range(1, len(settings) + 1)
        },
        note=f"{len(files)} of {COUNT} images",
    )


def _files():
    root = os.environ.get("MSSSIM_DATA")
    folder = Path(root or "MSSSIM_DATA") / "kodak"
    files = [folder / f"kodim{number:02}.png" for number in range(1, COUNT + 1)]
    there = [file for file in files if file.is_file()]
    if not there:
        why = f"no kodim01.png to kodim{COUNT}.png in {folder}" if root else "MSSSIM_DATA is not set"
        raise DatasetMissing(
            f"dataset 'kodak' is missing: {why}. Get the Kodak Lossless True Color Image Suite from "
            f"https://r0k.us/graphics/kodak/, put kodim01.png to kodim{COUNT}.png (or some of them) into a folder "
            "named kodak, and set the environment variable MSSSIM_DATA to the folder that holds it"
        )
    return there


def _pair(file, distortion, level):
    reference = _decoded(file)
    setting = LEVELS[distortion][level - 1]
    if distortion == "noise":
        seed = [SEED, int(file.stem[-2:]), level]
        noise = np.random.default_rng(seed).normal(scale=setting, size=reference.shape)
        distorted = np.clip(np.rint(reference + noise), 0, 255).astype(np.uint8)
    else:
        distorted = _with_pillow(reference, distortion, setting)
    return Pair(f"{file.stem}-{distortion}-{level}", reference.copy(), distorted, 255.0, distortion, level)


@functools.lru_cache(maxsize=1)  # pairs come image by image
def _decoded(file):
    with optional("PIL.Image", "pillow").open(file) as image:
        return np.array(image.convert("RGB"))


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
