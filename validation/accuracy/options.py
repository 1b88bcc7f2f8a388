"""Masks, padding and presets: the options that Wang's code does not have, against NumPy."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

import datasets
import msssim
from reference import borders, longdouble, tools, wang

from .. import library, tolerances
from . import rows

MASKS, INSTEAD, PADDING, PRESETS = "Masks", "Instead of masks", "Padding", "Presets"
DTYPES = ("float64", "float32")
WITH_MASKS = ("torch", "numba")
_SIDE = 176  # the smallest for five scales


def masks() -> dict[str, np.ndarray]:
    """Return masks by name: an area, a third of all pixels missing, and weights."""
    generator, shape = np.random.default_rng(0), (_SIDE, _SIDE)
    row, column = np.indices(shape)
    return {
        "a disc": (row - _SIDE / 2) ** 2 + (column - _SIDE / 2) ** 2 < (_SIDE / 3) ** 2,
        "a third of the pixels missing": generator.random(shape) > 1 / 3,
        "weights": generator.random(shape) * (generator.random(shape) > 0.2),
    }


def measure(pairs: Iterable[datasets.Pair], backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    """Yield the errors on gray pairs; masks by the backends that have them, "inside" by plain PyTorch only."""
    for pair in pairs:
        if "torch" in backends:
            yield from _instead(pair, device)
        with_masks = [backend for backend in backends if backend in WITH_MASKS]
        if with_masks and longdouble.available():
            yield from _masks(pair, with_masks, device)
        for dtype in DTYPES:
            for backend in backends:
                yield from _windows(pair, backend, device, dtype)


def _masks(pair: datasets.Pair, backends: Sequence[str], device: str) -> Iterator[rows.Measurement]:
    place = slice(_SIDE), slice(_SIDE)
    x, y = pair.reference[place], pair.distorted[place]
    for name, mask in masks().items():
        for index, weights in (("SSIM", (1.0,)), ("MS-SSIM", msssim.WEIGHTS)):
            options: dict[str, Any] = {"data_range": pair.data_range, "weights": weights}
            options["normalize"] = None if index == "SSIM" else "simple"  # without a kink
            exact = longdouble.msssim(x, y, longdouble.Options(**options), mask=mask)
            for backend, dtype in itertools.product(backends, DTYPES):
                images = [library.tensor(image, dtype, device).requires_grad_() for image in (x, y)]
                hidden = torch.from_numpy(mask == 0).to(device)
                x_hidden, y_hidden = (image.masked_fill(hidden, torch.nan) for image in images)
                options["backend"] = backend
                value = msssim.msssim(x_hidden, y_hidden, mask=torch.from_numpy(mask).to(device), **options)
                common = (MASKS, backend, device, dtype), ("golden", pair.name)
                error = {"error": abs(value.item() - float(exact.value[0])), "value": value.item()}
                yield rows.Measurement(*common[0], f"{index}, {name}", *common[1], "value", **error)
                if (x == y).all():
                    continue  # its gradient is zero
                for found, expected in zip(torch.autograd.grad(value, images), exact[2:4], strict=True):
                    of_plane = torch.from_numpy(expected[0].astype(np.float64))
                    error = {"error": library.relative_error(found.cpu(), of_plane)}
                    yield rows.Measurement(*common[0], f"gradient of {index}, {name}", *common[1], "gradient", **error)


def _instead(pair: datasets.Pair, device: str) -> Iterator[rows.Measurement]:
    """Yield how far the numbers that people compute instead are from SSIM with a mask; hidden pixels are 0."""
    place = slice(_SIDE), slice(_SIDE)
    arrays = pair.reference[place].astype(np.float64), pair.distorted[place].astype(np.float64)
    x, y = (library.tensor(image, "float64", device) for image in arrays)
    options: dict[str, Any] = {"data_range": pair.data_range, "backend": "torch"}
    for name, weights in masks().items():
        used = weights > 0
        mask = torch.from_numpy(used).to(device)
        normalized = msssim.ssim(x, y, mask=mask, **options).item()
        black = x * mask, y * mask
        map = msssim.ssim(*black, padding="reflect", full=True, **options)[1]
        numbers = {
            "both images times the mask": msssim.ssim(*black, **options).item(),
            "the map's mean over the mask": map[mask].mean().item(),
            "partial convolution (DyCheck)": _partial_convolution(*arrays, used, pair.data_range),
        }
        if name == "a disc":
            numbers["windows inside"] = msssim.ssim(x, y, mask=mask, mask_mode="inside", **options).item()
        for what, number in numbers.items():
            yield rows.Measurement(
                INSTEAD, "torch", device, "float64", f"{what}, {name}", "golden", pair.name, tolerances.DOCUMENTED,
                error=abs(number - normalized), value=normalized, expected=number,
            )  # fmt: skip


def _partial_convolution(x: np.ndarray, y: np.ndarray, used: np.ndarray, data_range: float) -> float:
    """SSIM of DyCheck: each axis is filtered and divided by the number of pixels used, and all windows count alike."""
    taps = wang.gaussian_taps(11, 1.5)

    def mean(plane: np.ndarray) -> np.ndarray:
        count = used
        for axis in (1, 0):
            windows = sliding_window_view(count, len(taps), axis=axis).sum(-1)
            plane = sliding_window_view(plane * count, len(taps), axis=axis) @ taps
            plane = np.where(windows > 0, plane * len(taps) / np.maximum(windows, 1), 0)
            count = windows > 0
        return plane

    mu_x, mu_y = mean(x), mean(y)
    var_x, var_y = np.maximum(mean(x * x) - mu_x**2, 0), np.maximum(mean(y * y) - mu_y**2, 0)
    bound = np.sqrt(var_x * var_y)
    covariance = np.clip(mean(x * y) - mu_x * mu_y, -bound, bound)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    above = (2 * mu_x * mu_y + c1) * (2 * covariance + c2)
    return float((above / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))).mean())


def _windows(pair: datasets.Pair, backend: str, device: str, dtype: str) -> Iterator[rows.Measurement]:
    """Yield the errors of padding, against padded images, and of presets, against the formulas of the tools."""
    x, y = library.tensors(pair, dtype, device)
    calls: list[tuple[str, str, dict[str, Any], float]] = []
    for padding, mode in borders.NUMPY_MODES.items():
        kind: Any = mode
        padded = (np.pad(image.astype(np.float64), 5, mode=kind) for image in (pair.reference, pair.distorted))
        expected = wang.ssim_index(*padded, data_range=pair.data_range)[0]
        calls.append((PADDING, padding, {"padding": padding}, expected))
    for name, preset in msssim.presets.items():
        expected = tools.FORMULAS[name](pair.reference, pair.distorted, pair.data_range)
        calls.append((PRESETS, name, dict(preset), expected))
    for section, quantity, options, expected in calls:
        if section == PRESETS and quantity == "piq" and min(x.shape) >= 384:
            continue  # its downsampling is another one at odd sides
        common = (section, backend, device, dtype, quantity, "golden", pair.name, "value")
        value, refusal = library.attempt(
            backend, msssim.ssim, x, y, data_range=pair.data_range, backend=backend, **options
        )
        if value is None:
            yield rows.Measurement(*common, **refusal)
        else:
            yield rows.Measurement(*common, error=abs(value.item() - expected), value=value.item(), expected=expected)
