"""The figures: time over size, bars of time and of memory, and error over time."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from validation.report.plots import INK, SERIES, new, svg
from validation.report.section import Figure

from . import rows, tables
from .cases import FORWARD, FORWARD_BACKWARD
from .implementations import base_name

_BLUE, _RED, _GREEN, _PINK, _YELLOW = (
    SERIES[name][0] for name in ("float64", "float32", "bfloat16", "float16", "uint8")
)
_PURPLE, _GREY = "#9467bd", "#8c8c8c"  # legible on light and dark backgrounds
# Each implementation has its own colour and marker in every figure; the colours are those of Okabe and Ito.
STYLES: dict[str, tuple[str, str]] = {
    "msssim numba": (_BLUE, "o"),
    "msssim triton": (_BLUE, "*"),
    "msssim torch": (_PURPLE, "<"),
    "pytorch-msssim": (_RED, "^"),
    "pytorch-msssim (original)": (_RED, "v"),
    "fused-ssim": (_RED, "*"),
    "fussim": (_RED, "p"),
    "torchmetrics": (_GREEN, "s"),
    "MONAI": (_GREEN, "X"),
    "piq": (_PINK, "D"),
    "pytorch-ignite": (_PINK, "P"),
    "piqa": (_YELLOW, "v"),
    "TensorFlow": (_YELLOW, "h"),
    "kornia": (_GREY, "p"),
    "pyiqa": (_GREY, "d"),
    "scikit-image": (INK, "s"),
    "OpenCV, five blurs": (INK, "^"),
    "OpenCV, cv2.quality": (INK, "D"),
}
_OTHER_STYLE = (_GREY, ".")
MIN_ERROR = 1e-9  # smaller errors are drawn here, because a logarithmic axis has no zero

_SIZE_CAPTION = (
    "Time per million values over the pixels of an image, batch 1, three channels or one, float32, logarithmic axes. A"
    " horizontal line is time proportional to the pixels; a rise to the left is call overhead. Dashed lines and hollow"
    " marks are torch.compile; the dotted line is the floor."
)
_BARS_CAPTION = "Median with quartiles as a line, and the ratio to the library's time."
_MEMORY_CAPTION = "Peak memory during a call, above the memory held before, in units of one input."
_ERROR_CAPTION = (
    "Time and error of the forward pass, float32, logarithmic axes: lower left is faster and closer to Wang's"
    " definition. The dashed line is the largest error that counts as agreement; errors below 1e-9 are at the edge."
)
_SHAPE = ["batch", "channels", "height", "width"]


def draw(table: pd.DataFrame) -> dict[str, tuple[Figure, ...]]:
    """Return the figures of each section of the report, by its name; figures without data are left out."""
    drawn: dict[str, tuple[Figure, ...]] = {}
    timed = table[(table.kind == rows.TIME) & (table.dtype == "float32") & table.seconds.notna()]
    for (device, metric), part in timed.groupby(["device", "metric"], sort=False):
        section = f"time-{device.replace(':', '-')}"
        drawn[section] = drawn.get(section, ()) + _time_figures(part, device, metric)
    peaks = table[(table.kind == rows.MEMORY) & table.peak_inputs.notna()]
    for (device, metric, mode), part in peaks.groupby(["device", "metric", "mode"], sort=False):
        part = _at_most_common_size(part)
        name = f"memory-{metric}-{mode.replace('+', '-')}-{device.replace(':', '-')}"
        title = f"Memory, {tables.METRIC_NAMES[metric]} {mode} on {device}. {_MEMORY_CAPTION} {_size(part)}, float32."
        drawn["memory"] = (*drawn.get("memory", ()), _figure(name, title, memory(part)))
    return drawn


def _time_figures(part: pd.DataFrame, device: str, metric: str) -> tuple[Figure, ...]:
    suffix, where = f"{metric}-{device.replace(':', '-')}", f"{tables.METRIC_NAMES[metric]} on {device}"
    found = []
    single = part[part.batch == 1]
    if (single.height * single.width).nunique() > 1:
        found.append(_figure(f"size-{suffix}", f"Size, {where}. {_SIZE_CAPTION}", over_size(single)))
    both = part[part["mode"] == FORWARD_BACKWARD]
    if len(both):
        found.append(_figure(f"bars-{suffix}", f"Forward and backward, {where}. {_BARS_CAPTION}", bars(both)))
    forward = _at_most_common_size(part[part["mode"] == FORWARD])
    if len(forward):
        caption = f"Error and time, {where}. {_ERROR_CAPTION} {_size(forward)}."
        found.append(_figure(f"switch-{suffix}", caption, error_over_time(forward)))
    return tuple(found)


def over_size(part: pd.DataFrame) -> Canvas:
    """Draw time per million values over pixels: a panel for each mode, a line for each implementation."""
    modes = list(dict.fromkeys(part["mode"]))
    figure, axes = new(3.4 * len(modes), nrows=len(modes), sharex=True)
    axes = np.atleast_1d(axes)
    for one, mode in zip(axes, modes, strict=True):
        panel = part[part["mode"] == mode].assign(pixels=lambda frame: frame.height * frame.width)
        for name, group in panel.groupby("implementation", sort=False):
            line = group.sort_values(["pixels", "channels"]).drop_duplicates("pixels", keep="last")
            one.plot(line.pixels, line.ns_per_pixel, **_line_style(name))
        floor = panel.assign(floor=panel.ns_per_pixel * panel.floor_fraction).groupby("pixels").floor.min()
        one.plot(floor.index, floor, ":", color=INK, linewidth=1.2)
        one.set_xscale("log")
        one.set_yscale("log")
        one.set_ylabel(f"{mode}\nms per million values")
        one.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks = sorted(set(panel.pixels))
        kept = [ticks[0], *(tick for last, tick in itertools.pairwise(ticks) if tick / last > 1.5)]
        one.set_xticks(kept, [f"{np.sqrt(tick):.0f}²" for tick in kept])
        one.xaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("pixels of an image, height × width, as the square of a side")
    _legend(figure, part)
    return figure


def bars(part: pd.DataFrame) -> Canvas:
    """Draw horizontal bars of time, at up to two sizes, the fastest on top."""
    panels = [group for _, group in part.groupby(_SHAPE, sort=False)]
    panels = sorted(panels, key=lambda group: -group.implementation.nunique())[:2]
    panels = sorted(panels, key=lambda group: group.iloc[0].batch * group.iloc[0].height * group.iloc[0].width)
    heights = [group.implementation.nunique() for group in panels]
    figure, axes = new(0.27 * sum(heights) + 1.0 * len(panels), nrows=len(panels), height_ratios=heights)
    for one, group in zip(np.atleast_1d(axes), panels, strict=True):
        group = group.sort_values("seconds")
        labels = [
            f"{tables.milliseconds(row.seconds)} ms" + (f" · {tables.ratio(row.ratio)}" if row.ratio > 0 else "")
            for row in group.itertuples()
        ]
        _bars(one, group, group.seconds * 1e3, labels, group[["seconds", "q3"]].max(axis=1) * 1e3)
        quartiles = np.abs(group[["q1", "q3"]].to_numpy().T - group.seconds.to_numpy()) * 1e3
        one.errorbar(
            group.seconds * 1e3, range(len(group)), xerr=quartiles, fmt="none", ecolor=INK, elinewidth=1.2, capsize=2
        )
        one.set_xlabel("ms, median over rounds")
        one.set_title(_size(group), fontsize=10, loc="left")
    return figure


def memory(part: pd.DataFrame) -> Canvas:
    """Draw horizontal bars of peak memory, the smallest on top."""
    part = part.sort_values("peak_inputs")
    figure, axes = new(0.27 * len(part) + 1.0)
    _bars(axes, part, part.peak_inputs, [f"{value:.2f}" for value in part.peak_inputs], part.peak_inputs)
    axes.set_xlabel("peak memory above the memory held before, in units of one input")
    return figure


def error_over_time(part: pd.DataFrame) -> Canvas:
    """Draw error over time, one mark per implementation."""
    figure, axes = new(4.6)
    for row in part.itertuples():
        style = _line_style(row.implementation) | {"markersize": 9, "linestyle": "none"}
        axes.plot([row.ns_per_pixel], [max(row.error, MIN_ERROR)], **style)
    axes.axhline(part.budget.max(), color=INK, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(MIN_ERROR / 2, max(0.02, 3 * part.error.max()))
    axes.set_xlabel("ms per million values")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("absolute error of the index (no unit)")
    _legend(figure, part)
    return figure


def _bars(axes: Axes, part: pd.DataFrame, widths: pd.Series, labels: Iterable[str], ends: pd.Series) -> None:
    longest = 1.5 * max(widths)  # longer quartile lines are cut off
    for position, (name, width, label, end) in enumerate(zip(part.implementation, widths, labels, ends, strict=True)):
        colour, _ = _style(name)
        hollow = _is_variant(name)
        axes.barh(
            position, width, height=0.72, color="none" if hollow else colour, edgecolor=colour, linewidth=1.4,
            hatch="////" if hollow else None,
        )  # fmt: skip
        at = min(end, longest)
        axes.annotate(label, (at, position), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(part)), part.implementation, fontsize=9)
    axes.set_ylim(len(part) - 0.4, -0.6)
    axes.set_xlim(0, 1.3 * min(longest, max(ends)))
    axes.grid(axis="y", visible=False)


def _line_style(name: str) -> dict[str, Any]:
    colour, marker = _style(name)
    ours = name.startswith("msssim ")
    return {
        "color": colour, "marker": marker, "markersize": 6, "linewidth": 2.2 if ours else 1.1,
        "linestyle": "--" if _is_variant(name) else "-", "zorder": 3 if ours else 2,
        "markerfacecolor": "none" if _is_variant(name) else colour, "markeredgewidth": 1.3,
    }  # fmt: skip


def _legend(figure: Canvas, part: pd.DataFrame) -> None:
    """Add a legend beside the axes, in the order of the last values."""
    last = part.sort_values(["height", "channels"]).drop_duplicates("implementation", keep="last")
    names = last.sort_values("ns_per_pixel", ascending=False).implementation
    handles = [Line2D([], [], **_line_style(name), label=name) for name in names]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8.5, labelcolor=INK)


def _style(name: str) -> tuple[str, str]:
    return STYLES.get(base_name(name), _OTHER_STYLE)


def _is_variant(name: str) -> bool:
    return name != base_name(name)


def _at_most_common_size(part: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the size that most implementations have; of several such sizes the largest."""
    if part.empty:
        return part
    counts = part.groupby(_SHAPE).implementation.nunique().reset_index()
    counts["pixels"] = counts[_SHAPE].prod(axis=1)
    best = counts.sort_values(["implementation", "pixels"]).iloc[-1]
    return part[(part[_SHAPE] == best[_SHAPE]).all(axis=1)]


def _size(part: pd.DataFrame) -> str:
    return " × ".join(f"{side:.0f}" for side in part[_SHAPE].iloc[0])


def _figure(name: str, caption: str, figure: Canvas) -> Figure:
    return Figure(name, caption, svg(figure, name))
