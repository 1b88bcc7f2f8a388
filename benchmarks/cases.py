"""A benchmark case (metric, mode, shape, dtype and device), and its images."""

import fnmatch
import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch

Shape = tuple[int, ...]

METRICS = ("ssim", "msssim")
FORWARD, FORWARD_BACKWARD = "forward", "forward+backward"
MODES = (FORWARD, FORWARD_BACKWARD)
MAX_LEVELS, WIN_SIZE = 5, 11
START_SHAPE = (1, 3, 256, 256)  # of the first call in a new process
_DISTINCT_VALUES = 1 << 24  # a larger batch repeats its first images


class Case(NamedTuple):
    """What is measured."""

    metric: str
    mode: str
    """FORWARD without a gradient, or FORWARD_BACKWARD with the gradient to the first image."""
    shape: Shape
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The name that --only matches."""
        return f"{self.metric} {self.mode} {size(self.shape)} {self.dtype} {self.device}"

    @property
    def n_values(self) -> int:
        """Number of values in one input, over the whole batch and all channels."""
        return int(np.prod(self.shape))

    @property
    def input_bytes(self) -> int:
        """Memory of one input."""
        return self.n_values * torch.empty(0, dtype=getattr(torch, self.dtype)).element_size()

    @property
    def data_range(self) -> float:
        """255 for integers, else 1."""
        return 255.0 if self.dtype == "uint8" else 1.0

    @property
    def spatial_dims(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.shape) - 2

    @property
    def levels(self) -> int:
        """The number of scales: 1 for SSIM; for MS-SSIM five, or as many as fit a smaller image."""
        return 1 if self.metric == "ssim" else fitting_levels(self.shape)

    @property
    def device_type(self) -> str:
        """The device without its index."""
        return torch.device(self.device).type


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether any pattern occurs in a name, with ``*`` for any text; True without patterns."""
    return not patterns or any(fnmatch.fnmatch(name.lower(), f"*{pattern.lower()}*") for pattern in patterns)


def size(shape: Iterable[object]) -> str:
    """Format a shape as 1x3x512x512."""
    return "x".join(map(str, shape))


def fitting_levels(shape: Shape) -> int:
    """Return how many scales, at most five, fit the shorter side."""
    side, levels = min(shape[2:]), 1
    while levels < MAX_LEVELS and side >= WIN_SIZE * 2**levels:
        levels += 1
    return levels


def n_distinct(shape: Shape) -> int:
    """Return how many images of a batch are distinct; the batch repeats them a whole number of times."""
    most = min(shape[0], max(1, _DISTINCT_VALUES // int(np.prod(shape[1:]))))
    return next(count for count in range(most, 0, -1) if shape[0] % count == 0)


@functools.lru_cache(maxsize=2)
def arrays(shape: Shape, integers: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the two images as arrays: integers in 0..255, or multiples of 1/256 in [0, 1), exact in bfloat16 too.

    The image is a pattern with fine detail, and in its lower third a flat bright area, where float32 rounding errors
    are largest. A large batch repeats its first images, to limit the time of the oracle.
    """
    full_shape, shape = shape, (n_distinct(shape), *shape[1:])
    random = np.random.default_rng(0)
    height, width = shape[-2:]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    pattern = 120 + 70 * np.sin(rows / 17) * np.cos(columns / 23) + 30 * np.sin(columns * rows / (40 * width))
    pattern = pattern + random.integers(-20, 21, shape, dtype=np.int16)
    pattern[..., 2 * height // 3 :, : width // 2] = 230
    changed = 0.9 * pattern + 12
    changed[..., : height // 2, :] += random.integers(-12, 13, (*shape[:-2], height // 2, width), dtype=np.int16)
    x, y = (np.resize(np.clip(np.floor(image), 0, 255).astype(np.uint8), full_shape) for image in (pattern, changed))
    if integers:
        return x, y
    return np.divide(x, 256, dtype=np.float32), np.divide(y, 256, dtype=np.float32)


def images(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two images of a case on its device."""
    x, y = arrays(case.shape, case.dtype == "uint8")
    dtype = getattr(torch, case.dtype)
    return torch.from_numpy(x).to(case.device, dtype), torch.from_numpy(y).to(case.device, dtype)
