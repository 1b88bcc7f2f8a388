"""What the command prints: tables, JSON and CSV, and maps as pictures."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

TITLES = {"ssim": "SSIM", "msssim": "MS-SSIM"}
_WORST = 5


class Row(NamedTuple):
    """The values of a pair."""

    name: str
    reference: str
    distorted: str
    values: dict[str, float]
    """By metric."""
    scales: tuple[float, ...]
    """Mean cs of each scale, of the last mean l cs; empty unless requested."""


def decibels(index: float) -> float:
    """-10 log10(1 - index): infinite for identical images."""
    return math.inf if index >= 1 else -10 * math.log10(1 - index)


def mean(rows: Sequence[Row], metric: str) -> float:
    return math.fsum(row.values[metric] for row in rows) / len(rows) if rows else math.nan


def as_text(rows: Sequence[Row], metrics: Sequence[str], unit: str, folder: bool) -> str:
    """The values of one pair, or for folders the mean and the worst five."""
    if not folder:
        return "\n".join(_lines(row, metrics, unit) for row in rows)
    width = max((len(row.name) for row in rows), default=0)
    lines = []
    for metric in metrics:
        worst = sorted(rows, key=lambda row: _order(row.values[metric]))[:_WORST]
        lines += [
            f"{TITLES[metric]}{unit}",
            f"  {'mean of ' + str(len(rows)):<{max(width, 12)}}  {mean(rows, metric):.6f}",
            *(f"  {row.name:<{max(width, 12)}}  {row.values[metric]:.6f}" for row in worst),
        ]
        if metric == "msssim" and rows and rows[0].scales:
            lines += [_scales(name, values) for name, values in _mean_scales(rows)]
    return "\n".join(lines)


def _order(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _lines(row: Row, metrics: Sequence[str], unit: str) -> str:
    lines = [f"{TITLES[metric]}{unit} {row.values[metric]:.6f}" for metric in metrics]
    return "\n".join(lines + ([_scales("scales", row.scales)] if row.scales else []))


def _scales(name: str, values: Sequence[float]) -> str:
    return f"  {name}: " + " ".join(f"{value:.6f}" for value in values)


def _mean_scales(rows: Sequence[Row]) -> list[tuple[str, tuple[float, ...]]]:
    """The mean of each scale, for each number of scales."""
    found = []
    for levels in sorted({len(row.scales) for row in rows}):
        columns = zip(*(row.scales for row in rows if len(row.scales) == levels), strict=True)
        found.append((f"mean of {levels} scales", tuple(math.fsum(column) / len(column) for column in columns)))
    return found


def as_json(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """One object with the pairs and the mean; null for what is not finite, which JSON lacks."""
    pairs = [
        {"reference": row.reference, "distorted": row.distorted}
        | {metric: _finite(row.values[metric]) for metric in metrics}
        | ({"scales": [_finite(value) for value in row.scales]} if row.scales else {})
        for row in rows
    ]
    means = {metric: _finite(mean(rows, metric)) for metric in metrics}
    return json.dumps({"pairs": pairs, "mean": means}, indent=2)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_csv(rows: Sequence[Row], metrics: Sequence[str]) -> str:
    """A header and a line for each pair."""
    levels = max((len(row.scales) for row in rows), default=0)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["reference", "distorted", *metrics, *(f"scale_{level + 1}" for level in range(levels))])
    for row in rows:
        values = [row.values[metric] for metric in metrics]
        writer.writerow([row.reference, row.distorted, *values, *row.scales])
    return stream.getvalue().rstrip("\n")


def write_map(map: Tensor, title: str, path: pathlib.Path) -> None:
    """The SSIM map of one image, (C, H, W), averaged over channels, as a picture with a colour bar.

    Raises
    ------
    ModuleNotFoundError
        If Matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "--map needs Matplotlib: python -m pip install matplotlib", name=error.name
        ) from error
    values = map.mean(0).cpu().numpy()
    height, width = values.shape
    figure = Figure(figsize=(7, max(2.0, 0.6 + 5.6 * height / width)), dpi=max(100, width / 5.6), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(values, vmin=min(0.0, float(values.min())), vmax=1, cmap="viridis", interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title)
    figure.colorbar(shown, label="SSIM")
    figure.savefig(path)
