"""Distortions in exact integer arithmetic, which give the same bits on every machine."""

from collections.abc import Callable

import numpy as np


def distort(image: np.ndarray, recipe: str) -> np.ndarray:
    """Distort a uint8 image (H, W) or (H, W, C), each channel separately, and clip to 0..255."""
    if image.ndim == 3:
        return np.stack([distort(channel, recipe) for channel in np.moveaxis(image, -1, 0)], axis=-1)
    return np.clip(RECIPES[recipe](image.astype(np.int64)), 0, 255).astype(np.uint8)


def _boxed(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, 1, mode="edge")
    blurred: np.ndarray = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).sum((-1, -2)) // 9
    return blurred


def _noisy(x: np.ndarray) -> np.ndarray:
    index = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    random = ((1103515245 * index + 12345) % 2**31) >> 16  # the example generator of the C standard
    return x + random % 51 - 25


def _blocky(x: np.ndarray) -> np.ndarray:
    out = x.copy()
    for i in range(0, x.shape[0], 8):
        for j in range(0, x.shape[1], 8):
            block = out[i : i + 8, j : j + 8]
            block[:] = block.sum() // block.size
    return out


def _salted(x: np.ndarray) -> np.ndarray:
    out = x.reshape(-1).copy()
    out[::37], out[::41] = 255, 0
    return out.reshape(x.shape)


RECIPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda x: x,
    "brighter": lambda x: x + 18,
    "flatter": lambda x: 128 + (x - 128) * 5 // 8,
    "quantised": lambda x: x // 32 * 32 + 16,
    "boxed": _boxed,
    "noisy": _noisy,
    "shifted": lambda x: np.roll(x, 2, axis=1),
    "blocky": _blocky,
    "salted": _salted,
    "negative": lambda x: 255 - x,
}
