"""Pictures of the pairs with the largest errors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

import datasets
import msssim

from .. import library
from ..report import plots, section
from . import values

_SHOWN, _SIDE = 3, 320  # the number of pairs; the largest side of an image
_CAPTION = (
    "From left to right: the reference, the distorted image, and the SSIM map, whose negative values have the colour"
    " of 0. Images are reduced to at most {side} pixels."
)


def figures(table: pd.DataFrame, measured: Mapping[str, datasets.Pairs]) -> tuple[section.Figure, ...]:
    """Return a figure for each of the pairs with the largest errors of SSIM and MS-SSIM in float32.

    `table` has the measurements (see `rows.frame`), `measured` the datasets by name.
    """
    known = table.section.isin((values.MATLAB, values.WANG)) & table.quantity.isin((library.SSIM, library.PRODUCT))
    compared = table[known & (table.dtype == "float32") & (table.error > 0)]
    # A pair occurs once, with its worst quantity, oracle and backend.
    worst = compared.sort_values("error", ascending=False).drop_duplicates(["dataset", "pair"]).head(_SHOWN)
    return tuple(_figure(rank, row, measured[row.dataset]) for rank, row in enumerate(worst.itertuples(), 1))


def _figure(rank: int, row: Any, pairs: datasets.Pairs) -> section.Figure:
    pair = pairs[pairs.names.index(row.pair)]
    name = f"worst-{rank}"
    found = (
        f"{row.quantity} of {row.pair} ({row.dataset}) is {row.value:.6f} in float32, backend {row.backend}; it differs"
        f" by {section.number(row.error)} from {row.section}, and the budget is {section.number(row.budget_worst)}."
    )
    caption = f"Worst pair, number {rank}. {found} {_CAPTION.format(side=_SIDE)}"
    return section.Figure(name, caption, plots.svg(_draw(pair), name))


def _draw(pair: datasets.Pair) -> Figure:
    images = [_reduced(image / pair.data_range) for image in (pair.reference, pair.distorted)]
    quality = _reduced(_map(pair))
    height, width = quality.shape
    figure, axes = plots.new(7.2 / 3.4 * height / width + 0.45, ncols=3)
    for one, image, title in zip(axes, (*images, quality), ("reference", "distorted", "SSIM map"), strict=True):
        scale = {"cmap": "viridis" if title == "SSIM map" else "gray", "vmin": 0, "vmax": 1}
        drawn = one.imshow(image, interpolation="none", **scale)
        one.set_title(title, fontsize=9, color=plots.INK)
        one.set_axis_off()
    plots.colour_bar(figure, drawn, axes[-1], "SSIM (no unit)", extend="min")
    return figure


def _map(pair: datasets.Pair) -> np.ndarray:
    """Return the mean over channels of the SSIM map."""
    x, y = library.tensors(pair, "float64", "cpu")
    with torch.no_grad():
        _, full = msssim.ssim(x, y, data_range=pair.data_range, full=True)
    return full.reshape(-1, *full.shape[-2:]).mean(0).numpy()


def _reduced(image: np.ndarray) -> np.ndarray:
    """Average a float image down to the size that is shown."""
    factor = -(-max(image.shape[:2]) // _SIDE)
    height, width = (side // factor * factor for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // factor, factor, width // factor, factor, *image.shape[2:])
    return blocks.mean((1, 3))
