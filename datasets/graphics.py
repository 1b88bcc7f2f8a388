"""Pairs of graphics: the images in which rounding, clamping and borders show, made with NumPy alone.

Flat areas, black borders and two levels are common in user interfaces, scanned text and films, and rare in photographs.
No closed form is known; the oracles compute the expected values.
"""

import functools

import numpy as np

from .pair import Pair, Pairs
from .recipes import distort

# Rows of a 5 x 7 font, a bit for each pixel, the left one highest.
_FONT = {
    "M": (17, 27, 21, 21, 17, 17, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "a": (0, 0, 14, 1, 15, 17, 15),
    "e": (0, 0, 14, 17, 31, 16, 14),
    "o": (0, 0, 14, 17, 17, 17, 14),
    "t": (8, 8, 28, 8, 8, 9, 6),
    "x": (0, 0, 17, 10, 4, 10, 17),
    "1": (4, 12, 4, 4, 4, 4, 14),
    ".": (0, 0, 0, 0, 0, 12, 12),
    " ": (0,) * 7,
}
_TEXT = ("MSSIM text 1.", "a example.", "toast 1 Mote", "x.I.a.S 1o")


def graphics() -> Pairs:
    """Return all pairs."""
    return Pairs(
        {
            "letterbox-blocky": functools.partial(_letterbox, "letterbox-blocky", "blocky"),
            "letterbox-brighter": functools.partial(_letterbox, "letterbox-brighter", "brighter"),
            "black-half": functools.partial(_black_half, "black-half"),
            "two-level-edge": functools.partial(_edge, "two-level-edge", (0, 255), (108, 255), 40),
            "two-level-level": functools.partial(_edge, "two-level-level", (7, 255), (209, 209), 195),
            "text-black-on-white": functools.partial(_text, "text-black-on-white", (255, 0), "boxed"),
            "text-white-on-black": functools.partial(_text, "text-white-on-black", (0, 255), "shifted"),
            "text-low-contrast": functools.partial(_text, "text-low-contrast", (200, 208), "noisy"),
            "signed-waves": functools.partial(_signed, "signed-waves", 1.0),
            "signed-inverted": functools.partial(_signed, "signed-inverted", -0.5),
        }
    )


def _letterbox(name: str, recipe: str) -> Pair:
    """A film: black above and below a picture, which alone is distorted."""
    image = np.zeros((210, 256), np.uint8)
    image[33:177] = _picture(144, 256)
    distorted = image.copy()
    distorted[33:177] = distort(image[33:177], recipe)
    return Pair(name, image, distorted, 255.0, recipe)


def _black_half(name: str) -> Pair:
    """A masked rendering: exactly black on one side of one image, next to black in the other."""
    image = _picture(181, 200)
    image[:, 100:] = 0
    distorted = image // 2
    distorted[:, 100::2] = 1
    return Pair(name, image, distorted, 255.0, "darker")


def _edge(name: str, first: tuple[int, int], second: tuple[int, int], column: int) -> Pair:
    """Two flat areas side by side in each image."""
    reference, distorted = (np.full((256, 256), right, np.uint8) for _, right in (first, second))
    reference[:, :column], distorted[:, :column] = first[0], second[0]
    return Pair(name, reference, distorted, 255.0, "other levels")


def _text(name: str, levels: tuple[int, int], recipe: str) -> Pair:
    """Lines of text in two levels, as in a screenshot."""
    paper, ink = levels
    image = np.full((201, 234), paper, np.uint8)
    for number, top in enumerate(range(8, 190, 10)):
        line = _TEXT[number % len(_TEXT)] * 4
        for position, left in enumerate(range(6 + number, 222, 6)):
            bits = np.array(_FONT.get(line[position], _FONT["x"]))[:, None] >> np.arange(4, -1, -1) & 1
            image[top : top + 7, left : left + 5][bits == 1] = ink
    return Pair(name, image, distort(image, recipe), 255.0, recipe)


def _signed(name: str, factor: float) -> Pair:
    """Values of -1 to 1, as wavelet bands and normalized network inputs have: means of either sign."""
    image = _picture(187, 203) / 127.5 - 1
    return Pair(name, image, factor * np.roll(image, 3, axis=1), 2.0, "shifted and scaled")


def _picture(height: int, width: int) -> np.ndarray:
    """Smooth shapes and noise in integers, the same on every machine."""
    i, j = np.indices((height, width))
    shapes = (i * j // 37 + (i - j) ** 2 // 91) % 200
    noise = (1103515245 * (i * width + j) + 12345) % 2**31 >> 16
    return (shapes + noise % 56).astype(np.uint8)
