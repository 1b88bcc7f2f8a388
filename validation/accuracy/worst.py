"""The pairs of images on which the library is furthest from the original, to be looked at."""

import torch

import msssim

from .. import library
from ..report import plots, section
from . import values

_SHOWN, _SIDE = 3, 320  # so many pairs; no image is shown larger
_CAPTION = (
    "From left to right: the reference, the distorted image, and the map of SSIM, whose scale ends at 0 although the"
    " map may go below. Images are shown at {side} pixels at most."
)


def figures(table, datasets):
    """A Figure for each of the pairs with the largest errors of SSIM and MS-SSIM in float32.

    `table` is that of measurements (see `rows.frame`), `datasets` holds the `datasets.Pairs` by name.
    """
    known = table.section.isin((values.MATLAB, values.WANG)) & table.quantity.isin((library.SSIM, library.PRODUCT))
    compared = table[known & (table.dtype == "float32") & (table.error > 0)]
    # The same pair counts once, by its worst quantity, oracle and backend.
    worst = compared.sort_values("error", ascending=False).drop_duplicates(["dataset", "pair"]).head(_SHOWN)
    return tuple(_figure(place, row, datasets[row.dataset]) for place, row in enumerate(worst.itertuples(), 1))


def _figure(place, row, pairs):
    pair = pairs[pairs.names.index(row.pair)]
    name = f"worst-{place}"
    found = (
        f"{row.quantity} of {row.pair} ({row.dataset}) is {row.value:.6f} in float32, backend {row.backend}, and"
        f" {section.number(row.error)} away from {row.section}; the budget is {section.number(row.budget_worst)}."
    )
    caption = f"Worst pair, number {place}. {found} {_CAPTION.format(side=_SIDE)}"
    return section.Figure(name, caption, plots.svg(_draw(pair), name))


def _draw(pair):
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


def _map(pair):
    """The mean over channels of the library's map."""
    x, y = library.tensors(pair, "float64", "cpu")
    with torch.no_grad():
        _, full = msssim.ssim(x, y, data_range=pair.data_range, full=True)
    return full.reshape(-1, *full.shape[-2:]).mean(0).numpy()


def _reduced(image):
    """A float image, averaged down until it is no larger than shown."""
    factor = -(-max(image.shape[:2]) // _SIDE)
    height, width = (side // factor * factor for side in image.shape[:2])
    blocks = image[:height, :width].reshape(height // factor, factor, width // factor, factor, *image.shape[2:])
    return blocks.mean((1, 3))
