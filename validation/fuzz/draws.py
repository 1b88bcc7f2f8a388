"""Random calls: images by kind, shapes, windows, constants, weights, modes and dtypes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reference.longdouble import Options
from reference.wang import WEIGHTS

Image = NDArray[np.float64]
Rng = np.random.Generator


class Draw(NamedTuple):
    """One call: two images of planes (P, H, W), whose values the dtype represents exactly."""

    kind: str
    x: Image
    y: Image
    dtype: str
    options: Options


class _Limits(NamedTuple):
    margin: int
    levels: tuple[float, ...]  # the probability of 1, 2, ... scales
    windows: tuple[int, ...]
    planes: int
    larger: float  # the probability of _LARGER


_USUAL = _Limits(26, (0.62, 0.24, 0.1, 0.04), (3, 5, 7, 9, 11), 3, 0.1)
# Backends compile code for each dtype and window. The narrow dtypes are computed in float32.
_FEW_WINDOWS = (5, 11)
# Added to the sides of larger images: smaller planes are computed in float64 by the kernels for CPUs.
_LARGER = 60
# The emulated GPU needs about a second for a call.
_SMALL = _Limits(10, (0.7, 0.3), (3,), 2, 0.0)
# Triton needs 10 to 60 seconds for a kernel, and compiles one for each dtype, window, mode and set of zero constants,
# so small pairs have few combinations. (win_size, sigma) and their probability:
_SMALL_WINDOWS = {(3, 1.5): 0.75, (3, 0.05): 0.1, (5, 1.5): 0.1, (11, 1.5): 0.05}

DTYPES = ("float32", "float64", "uint8", "bfloat16", "float16")
# Images far beyond their range, or too small for the digits of the dtype: the results only have to be finite.
UNBOUNDED = ("extreme", "denormal")
_LARGEST = {"float32": 3e38, "float64": 1e308, "float16": 6e4, "bfloat16": 3e38}


# The number of consecutive pairs that differ in their pixels only. They are computed as one batch, because most of the
# time of a call on a small image is overhead.
BATCH = 8


def draw(seed: int, index: int, *, small: bool = False) -> Draw:
    """The pair of this number: it depends on the seed and this number alone."""
    return batch(seed, index // BATCH, small=small)[index % BATCH]


def batch(seed: int, number: int, *, small: bool = False) -> list[Draw]:
    """Pairs of one shape, kind and dtype, with the same options."""
    rng = np.random.default_rng([seed, number])
    limits = _SMALL if small else _USUAL
    dtype = str(rng.choice(DTYPES, p=(0.4, 0.3, 0.1, 0.1, 0.1)))
    kinds: list[str] = [
        kind for kind in KINDS if dtype != "uint8" or kind not in ("signed", "high dynamic range", *UNBOUNDED)
    ]
    kind = str(rng.choice(kinds))
    options = _options(rng, limits if dtype in ("float32", "float64") else limits._replace(windows=_FEW_WINDOWS))
    if small:
        options = _with_few_kernels(rng, dtype, options)
    min_side = options.win_size * 2 ** (len(options.weights) - 1) + _LARGER * (rng.random() < limits.larger)
    margins = ([0, int(rng.integers(4)), int(rng.integers(limits.margin))] for _ in range(2))
    height, width = (min_side + int(rng.choice(margin)) for margin in margins)
    planes = 1 if rng.random() < 0.8 else int(rng.integers(2, limits.planes + 1))
    scale_x, scale_y, data_range = _ranges(rng, kind, dtype)
    options = options._replace(data_range=data_range)
    draws = []
    for _ in range(BATCH):
        pairs = [_pair(rng, kind, height, width) for _ in range(planes)]
        x, y = (np.stack(images) for images in zip(*pairs, strict=True))
        draws.append(Draw(kind, round_to_dtype(scale_x * x, dtype), round_to_dtype(scale_y * y, dtype), dtype, options))
    return draws


def round_to_dtype(image: Image, dtype: str) -> Image:
    """Return the values rounded to the dtype."""
    if dtype == "uint8":
        return np.clip(np.rint(image), 0, 255)
    largest = float(torch.finfo(getattr(torch, dtype)).max)
    return torch.from_numpy(np.clip(image, -largest, largest)).to(getattr(torch, dtype)).double().numpy()


def _options(rng: Rng, limits: _Limits) -> Options:
    levels = 1 + int(rng.choice(len(limits.levels), p=limits.levels))
    windows = [size for size in limits.windows if size * 2 ** (levels - 1) <= 44]
    win_size = int(rng.choice(windows))
    sigma = float(rng.choice([1.5, 1.5, 1.5, 0.5, 0.05, 3.0, 20.0, float(rng.uniform(0.3, 4))]))
    weights = (WEIGHTS[:levels], (1.0,) * levels, (1 / levels,) * levels, tuple(rng.uniform(0.05, 2, levels).tolist()))
    k1 = float(rng.choice([0.01, 0.01, 0.01, 0.001, 0.1, 0.0]))
    k2 = float(rng.choice([0.03, 0.03, 0.03, 0.003, 0.3, 0.0]))
    normalize = (None, "relu", "simple", "covariance", "covariance")[rng.integers(5)]
    method = ("product", "product", "wtd_sum")[rng.integers(3)]
    return Options(1.0, weights[rng.integers(4)], normalize, method, win_size, sigma, k1, k2)


def _with_few_kernels(rng: Rng, dtype: str, options: Options) -> Options:
    """The options with one of few windows; constants of zero only in float32 and float64 with the first window."""
    usual = dtype in ("float32", "float64")
    chosen = int(rng.choice(len(_SMALL_WINDOWS), p=list(_SMALL_WINDOWS.values()))) if usual else 0
    win_size, sigma = list(_SMALL_WINDOWS)[chosen]
    options = options._replace(win_size=win_size, sigma=sigma)
    if usual and not chosen:
        return options
    return options._replace(K1=options.K1 or 0.01, K2=options.K2 or 0.03)


def _ranges(rng: Rng, kind: str, dtype: str) -> tuple[float, float, float]:
    """(the factors of images drawn in 0..1, data_range)."""
    if dtype == "uint8":
        return 255.0, 255.0, 255.0
    if kind == "extreme":
        scale = float(rng.choice([1e3, 1e10, 1e19, 1e38, 1e155, 1e308]))
        scale = min(scale, _LARGEST[dtype])
        return scale, scale * (-1) ** int(rng.integers(2)), float(rng.choice([1.0, 255.0, min(scale, 1e50)]))
    if kind == "denormal":
        tiny = float(torch.finfo(getattr(torch, dtype)).smallest_normal) / 4
        return tiny, tiny, float(rng.choice([1.0, max(tiny, 1e-50)]))
    ranges = [1.0, 1.0, 255.0, 255.0, 2.0, 0.7, 1000.0]
    if dtype != "float16":
        ranges += [65535.0, 1e-3, 1e-20, 1e20]
    data_range = float(rng.choice(ranges))
    return data_range, data_range, data_range


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
