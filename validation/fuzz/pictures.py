"""Random pairs of images, signals and volumes by kind, and their distortions."""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
Rng = np.random.Generator


@functools.cache
def _photograph() -> Image:
    import skimage.data

    return skimage.data.camera() / 255.0


def _pair(rng: Rng, kind: str, height: int, width: int) -> tuple[Image, Image]:
    x = KINDS[kind](rng, height, width)
    y = _DISTORTIONS[rng.integers(len(_DISTORTIONS))](rng, kind, x)
    if kind == "signed":
        x, y = x - 0.5, y - 0.5
    return (x, y) if rng.random() < 0.5 else (y, x)


def pair_of_sides(rng: Rng, kind: str, sides: tuple[int, ...]) -> tuple[Image, Image]:
    """A signal is a row of an image; a slice of a volume the one before, one column further to the right."""
    if len(sides) == 2:
        return _pair(rng, kind, *sides)
    if len(sides) == 1:
        x, y = _pair(rng, kind, 12, sides[0])
        return x[6], y[6]
    depth, height, width = sides
    pair = _pair(rng, kind, height, width + depth - 1)
    x, y = (np.lib.stride_tricks.sliding_window_view(image, width, axis=1).transpose(1, 0, 2) for image in pair)
    return x, y


def _natural(rng: Rng, height: int, width: int) -> Image:
    image = _photograph()
    step = int(rng.integers(1, 4))
    top, left = (int(rng.integers(image.shape[k] - step * size)) for k, size in enumerate((height, width)))
    return image[top:, left:][: step * height : step, : step * width : step].copy()


def _smooth(rng: Rng, height: int, width: int) -> Image:
    rows, columns = np.arange(height)[:, None], np.arange(width)
    wave = np.sin(rows * rng.uniform(0, 1) + columns * rng.uniform(0, 1) + rng.uniform(0, 6))
    return np.clip(0.5 + 0.4 * wave + rng.choice([0, 0.02, 0.1]) * rng.standard_normal((height, width)), 0, 1)


def _noise(rng: Rng, height: int, width: int) -> Image:
    return rng.random((height, width))


def _level(rng: Rng) -> float:
    return float(rng.choice([0.0, 1.0, 0.5, rng.integers(256) / 255, rng.random()]))


def _flat(rng: Rng, height: int, width: int) -> Image:
    return np.full((height, width), _level(rng))


def _two_level(rng: Rng, height: int, width: int) -> Image:
    image = np.full((height, width), _level(rng))
    if rng.random() < 0.7:
        image[int(rng.integers(height)) * int(rng.integers(2)) :, int(rng.integers(width)) :] = _level(rng)
    else:
        size = int(rng.integers(1, 9))
        blocks = rng.random((-(-height // size), -(-width // size))) < rng.uniform(0.1, 0.9)
        image[np.kron(blocks, np.ones((size, size)))[:height, :width] > 0] = _level(rng)
    return image


def _text(rng: Rng, height: int, width: int) -> Image:
    """Draw lines of strokes, one or two pixels thick, on an even background."""
    image, ink = np.full((height, width), _level(rng)), _level(rng)
    for top in range(int(rng.integers(4)), height, int(rng.integers(7, 12))):
        for left in range(0, width, int(rng.integers(4, 7))):
            if rng.random() < 0.8:
                image[top : top + 6, left : left + int(rng.integers(1, 3))] = ink
                image[top + int(rng.integers(6)) : top + 6 : 6, left : left + 4] = ink
    return image


def _interface(rng: Rng, height: int, width: int) -> Image:
    """Draw overlapping filled rectangles."""
    image = np.full((height, width), _level(rng))
    for _ in range(int(rng.integers(1, 6))):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        image[top : top + int(rng.integers(1, height)), left : left + int(rng.integers(1, width))] = _level(rng)
    return image


def _letterbox(rng: Rng, height: int, width: int) -> Image:
    image = _PICTURES[rng.integers(len(_PICTURES))](rng, height, width)
    bar = int(rng.integers(1, max(2, height // 2)))
    image[:bar] = 0
    if rng.random() < 0.6:
        image[height - bar :] = 0
    return image.T[:height, :width].copy() if height == width and rng.random() < 0.5 else image


def _bright(rng: Rng, height: int, width: int) -> Image:
    """Make a few pixels many times brighter than the rest."""
    image = 0.2 * _smooth(rng, height, width)
    image[rng.random((height, width)) < 0.03] *= float(rng.choice([10, 100, 1000]))
    return image


def _any(rng: Rng, height: int, width: int) -> Image:
    return _PICTURES[rng.integers(len(_PICTURES))](rng, height, width)


_PICTURES = (_natural, _smooth, _noise, _two_level, _text, _interface)
KINDS: dict[str, Callable[[Rng, int, int], Image]] = {
    "natural": _natural, "smooth": _smooth, "noise": _noise, "flat": _flat, "two-level": _two_level, "text": _text,
    "interface": _interface, "letterbox": _letterbox, "signed": _any, "high dynamic range": _bright,
    "extreme": _any, "denormal": _any,
}  # fmt: skip


def _noisy(rng: Rng, kind: str, x: Image) -> Image:
    return x + float(rng.choice([1e-7, 1e-4, 0.01, 0.1])) * rng.standard_normal(x.shape)


def _shifted(rng: Rng, kind: str, x: Image) -> Image:
    return np.roll(x, (int(rng.integers(3)), int(rng.integers(3))), (0, 1))


def _contrast(rng: Rng, kind: str, x: Image) -> Image:
    return x * float(rng.choice([0.5, 0.9, 1 - 1e-6, 1.1]))


def _offset(rng: Rng, kind: str, x: Image) -> Image:
    return x + float(rng.choice([1e-7, 0.01, 0.3, -0.2]))


def _coarse(rng: Rng, kind: str, x: Image) -> Image:
    levels = int(rng.choice([1, 4, 16]))
    return np.rint(x * levels) / levels


def _inverted(rng: Rng, kind: str, x: Image) -> Image:
    return 1 - x


def _same(rng: Rng, kind: str, x: Image) -> Image:
    return x.copy()


def _unrelated(rng: Rng, kind: str, x: Image) -> Image:
    return KINDS[kind](rng, *x.shape)


def _recoloured(rng: Rng, kind: str, x: Image) -> Image:
    """Replace the levels of areas, like another theme of a user interface."""
    low = x < (x.min() + x.max()) / 2
    return np.where(low, _level(rng), _level(rng))


def _black(rng: Rng, kind: str, x: Image) -> Image:
    """Replace black by faint stripes."""
    y = x.copy()
    stripes = np.where(np.arange(x.shape[1]) % 2, 0.05, 0.1) * np.ones_like(x)
    return np.where(y == 0, stripes, y)


_DISTORTIONS = (_noisy, _noisy, _shifted, _contrast, _offset, _coarse, _inverted, _same, _unrelated, _unrelated,
                _recoloured, _recoloured, _black)  # fmt: skip
