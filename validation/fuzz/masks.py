"""Random masks: areas, holes, weights, ones, nothing."""

from typing import Any

import numpy as np

from .pictures import Image, Rng

DTYPES = ("bool", "float32", "float64")
# What stands in the images under a weight of 0.
HIDDEN = (None, None, float("nan"), float("inf"), 1e30)
_FACTORS = (1.0, 1.0, 1.0, 255.0, 0.37, 1e-20, 1e20)


def draw(rng: Rng, dtype: str, planes: int, sides: tuple[int, ...], factor: float) -> Image:
    """Return a mask (planes, ...) of values that float32 represents; 0 and 1 for bool."""
    mask = np.stack([_PLANES[rng.choice(len(_PLANES), p=_PROBABILITIES)](rng, sides) for _ in range(planes)])
    if dtype == "bool":
        return (mask > 0).astype(np.float64)
    return (mask * factor).astype(np.float32).astype(np.float64)


def factor(rng: Rng) -> float:
    """Return a number by which all weights are multiplied."""
    return float(rng.choice(_FACTORS))


def _ones(rng: Rng, sides: tuple[int, ...]) -> Image:
    return np.ones(sides)


def _nothing(rng: Rng, sides: tuple[int, ...]) -> Image:
    return np.zeros(sides)


def _ellipse(rng: Rng, sides: tuple[int, ...]) -> Image:
    positions: Any = np.indices(sides)
    squares: Any = [
        ((position - rng.uniform(0, side)) / (side * rng.uniform(0.1, 0.8))) ** 2
        for position, side in zip(positions, sides, strict=True)
    ]
    inside: Image = (sum(squares) < 1).astype(np.float64)
    return inside if rng.random() < 0.7 else 1 - inside


def _box(rng: Rng, sides: tuple[int, ...]) -> Image:
    mask = np.zeros(sides)
    bounds = (sorted(rng.integers(0, side + 1, 2)) for side in sides)
    mask[tuple(slice(*bound) for bound in bounds)] = 1
    return mask if rng.random() < 0.5 else 1 - mask


def _holes(rng: Rng, sides: tuple[int, ...]) -> Image:
    return (rng.random(sides) >= rng.choice([0.003, 0.05, 0.3, 0.6])).astype(np.float64)


def _few_pixels(rng: Rng, sides: tuple[int, ...]) -> Image:
    return (rng.random(sides) < rng.choice([0.002, 0.02, 0.1])).astype(np.float64)


def _weights(rng: Rng, sides: tuple[int, ...]) -> Image:
    return rng.random(sides) * _holes(rng, sides)


def _steps(rng: Rng, sides: tuple[int, ...]) -> Image:
    return rng.choice([0.0, 0.25, 0.5, 1.0], sides)


def _bump(rng: Rng, sides: tuple[int, ...]) -> Image:
    """Weights that decrease from a place, as of a vignette."""
    width = rng.uniform(0.1, 1)
    positions: Any = np.indices(sides)
    squares: Any = [
        ((position - rng.uniform(0, side)) / (side * width)) ** 2
        for position, side in zip(positions, sides, strict=True)
    ]
    weights: Image = np.exp(-np.minimum(sum(squares), 40.0))
    return weights


_PLANES = (_ones, _nothing, _ellipse, _box, _holes, _few_pixels, _weights, _steps, _bump)
_PROBABILITIES = (0.06, 0.02, 0.2, 0.16, 0.18, 0.08, 0.14, 0.06, 0.1)
