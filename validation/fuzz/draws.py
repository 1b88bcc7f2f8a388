"""Random calls: images, signals and volumes by kind, shapes, windows, constants, weights, modes, dtypes and masks."""

from typing import NamedTuple

import numpy as np
import torch

from reference.borders import least_side
from reference.longdouble import Options
from reference.wang import WEIGHTS

from . import masks
from .pictures import KINDS, Image, Rng, pair_of_sides


def _largest(win_size: int | tuple[int, ...]) -> int:
    return win_size if isinstance(win_size, int) else max(win_size)


class Draw(NamedTuple):
    """One call: two images of planes (P, H, W), or (P, L), or (P, D, H, W), of values that the dtype represents."""

    kind: str
    x: Image
    y: Image
    dtype: str
    options: Options
    mask: Image | None = None
    """The weights of the pixels, (1 or P, ...)."""
    mask_dtype: str = "bool"
    hidden: float | None = None
    """What the call has in both images where the weight is 0; None for the pixels themselves."""
    padding: str = "valid"
    """Another one is a call of ssim, which has one scale and no modes."""

    @property
    def axes(self) -> int:
        """The number of axes of a plane."""
        return self.x.ndim - 1

    @property
    def min_side(self) -> int:
        """The smallest side that the call supports."""
        return least_side(self.padding, _largest(self.options.win_size)) * 2 ** (len(self.options.weights) - 1)


class _Limits(NamedTuple):
    margin: int
    levels: tuple[float, ...]  # the probability of 1, 2, ... scales
    windows: tuple[int, ...]
    planes: int


# Signals and volumes: the probability of 1, 2 and 3 axes, of volumes that are not small, and their sides. The fused
# kernel computes small volumes in float64.
_AXES = (0.07, 0.81, 0.12)
_LARGE_VOLUMES, _LARGE_SIDES = 0.1, (8, 64, 68)
_VOLUMES = _Limits(7, (0.75, 0.25), (3, 5, 7), 2)

# The probability of a mask, and of a padding.
_MASKS, _PADDINGS = 0.12, 0.06
_PADDING = ("zeros", "zeros", "reflect", "replicate", "symmetric")

_USUAL = _Limits(26, (0.62, 0.24, 0.1, 0.04), (3, 5, 7, 9, 11), 3)
# Backends compile code for each dtype and window. The narrow dtypes are computed in float32.
_FEW_WINDOWS = (5, 11)
# The emulated GPU needs about a second for a call.
_SMALL = _Limits(10, (0.7, 0.3), (3,), 2)
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
    # By numbers of their own: calls without a mask and padding are those that they were before there were volumes,
    # masks and padding.
    of_axes, of_masks = (np.random.default_rng([seed, number, own]) for own in (3, 4))
    masked, padding = (False, "valid") if small else _feature(of_masks)
    axes = 2 if small else 1 + int(of_axes.choice(3, p=_AXES))
    limits = _SMALL if small else _VOLUMES if axes == 3 else _USUAL
    dtype = str(rng.choice(DTYPES, p=(0.4, 0.3, 0.1, 0.1, 0.1)))
    kinds: list[str] = [
        kind for kind in KINDS if dtype != "uint8" or kind not in ("signed", "high dynamic range", *UNBOUNDED)
    ]
    kind = str(rng.choice(kinds))
    options = _options(rng, limits if dtype in ("float32", "float64") else limits._replace(windows=_FEW_WINDOWS))
    if masked or padding != "valid":
        options = _with_one_of_few_windows(options, padding)
    if small:
        options = _with_few_kernels(rng, dtype, options)
    min_side = options.win_size * 2 ** (len(options.weights) - 1)
    margins = ([0, int(rng.integers(4)), int(rng.integers(limits.margin))] for _ in range(2))
    height, width = (min_side + int(rng.choice(margin)) for margin in margins)
    sides = _sides(of_axes, axes, (height, width), min_side, limits.margin)
    planes = 1 if rng.random() < 0.8 else int(rng.integers(2, limits.planes + 1))
    scale_x, scale_y, data_range = _ranges(rng, kind, dtype)
    options = options._replace(data_range=data_range)
    draws = []
    for _ in range(BATCH):
        pairs = [pair_of_sides(rng, kind, sides) for _ in range(planes)]
        x, y = (np.stack(images) for images in zip(*pairs, strict=True))
        draws.append(Draw(kind, round_to_dtype(scale_x * x, dtype), round_to_dtype(scale_y * y, dtype), dtype, options))
    if masked:
        return _with_masks(of_masks, draws)
    return draws if padding == "valid" else _with_padding(of_masks, draws, padding)


def _feature(rng: Rng) -> tuple[bool, str]:
    """(whether there is a mask, the padding)."""
    number = rng.random()
    padding = str(rng.choice(_PADDING))
    return number < _MASKS, padding if _MASKS <= number < _MASKS + _PADDINGS else "valid"


def _with_one_of_few_windows(options: Options, padding: str) -> Options:
    options = options._replace(win_size=max(size for size in (5, 11) if size <= max(5, _largest(options.win_size))))
    if padding == "valid":
        return options
    return options._replace(weights=(1.0,), normalize=None, method="wtd_sum")


def _with_masks(rng: Rng, draws: list[Draw]) -> list[Draw]:
    """The same pairs with one mask for all of them, with one for each pair, or with one for each plane."""
    dtype, factor = str(rng.choice(masks.DTYPES)), masks.factor(rng)
    shared, planes = rng.random() < 0.3, 1 if rng.random() < 0.6 else len(draws[0].x)
    hidden = masks.HIDDEN[rng.integers(len(masks.HIDDEN))] if draws[0].dtype != "uint8" else None
    sides = draws[0].x.shape[1:]
    every = [masks.draw(rng, dtype, 1 if shared else planes, sides, factor) for _ in range(1 if shared else len(draws))]
    return [
        draw._replace(mask=every[0 if shared else k], mask_dtype=dtype, hidden=hidden) for k, draw in enumerate(draws)
    ]


def _with_padding(rng: Rng, draws: list[Draw], padding: str) -> list[Draw]:
    """The same pairs with padding, some of them cut, since images may be smaller than the window."""
    least = least_side(padding, _largest(draws[0].options.win_size))
    cut = tuple(
        slice(int(rng.integers(least, side + 1)) if rng.random() < 0.2 else side) for side in draws[0].x.shape[1:]
    )
    own = (slice(None), *cut)
    return [draw._replace(x=draw.x[own], y=draw.y[own], padding=padding) for draw in draws]


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


def _sides(rng: Rng, axes: int, sides: tuple[int, int], min_side: int, margin: int) -> tuple[int, ...]:
    """The sides of a signal, an image or a volume, from those of an image."""
    if axes != 3:
        return sides[2 - axes :]
    if min_side <= min(_LARGE_SIDES) and rng.random() < _LARGE_VOLUMES:
        return _LARGE_SIDES
    return min_side + int(rng.integers(margin)), *sides
