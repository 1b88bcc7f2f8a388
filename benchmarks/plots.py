"""The pictures: time over size, bars of time and of memory, and error over speed."""

import itertools

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from validation.report.plots import INK, SERIES, new, svg
from validation.report.section import Figure

from . import cases, contestants, rows, tables

_BLUE, _RED, _GREEN, _PINK, _YELLOW = (
    SERIES[name][0] for name in ("float64", "float32", "bfloat16", "float16", "uint8")
)
_PURPLE, _GREY = "#9467bd", "#8c8c8c"  # legible on light and on dark
# One colour and marker for each implementation in every picture; Okabe and Ito's colours, no two with one marker.
STYLES = {
    "msssim numba": (_BLUE, "o"),
    "msssim triton": (_BLUE, "*"),
    "msssim torch": (_PURPLE, "<"),
    "pytorch-msssim": (_RED, "^"),
    "pytorch-msssim (original)": (_RED, "v"),
    "fused-ssim": (_RED, "*"),
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
_OTHER = (_GREY, ".")
EXACT = 1e-9  # where smaller errors are drawn: a logarithmic axis has no zero

_OVER_SIZE = (
    "Time for a million pixels over the pixels of one image of three channels or one, batch 1, float32, both axes"
    " logarithmic. A level line takes time in proportion to the pixels; what rises to the left is the cost of a call."
    " Dashed lines and hollow marks are torch.compile; the dotted line is the floor."
)
_BARS = "The median, with the middle half of the rounds as a line, and how many times the library's time it is."
_MEMORY = "Highest memory during a call, above what was held before, in units of one input."
_SWITCH = (
    "Time against error, forward alone, float32, both axes logarithmic: towards the lower left is faster and nearer to"
    " Wang's definition. The dashed line is the error that counts as agreement; errors below 1e-9 stand at the edge."
)


def draw(table):
    """(part of the report, Figure) of every picture that the rows have something for."""
    drawn = []
    timed = table[(table.kind == rows.TIME) & (table.dtype == "float32") & table.seconds.notna()]
    for (device, metric), part in timed.groupby(["device", "metric"], sort=False):
        end, where = f"{metric}-{device.replace(':', '-')}", f"{tables.NAMES[metric]} on {device}"
        singles = part[part.batch == 1]
        if (singles.height * singles.width).nunique() > 1:
            drawn.append((f"time {device}", _figure(f"size-{end}", f"Size, {where}. {_OVER_SIZE}", over_size(singles))))
        both = part[part["mode"] == cases.BOTH]
        if len(both):
            drawn.append(
                (f"time {device}", _figure(f"bars-{end}", f"Forward and backward, {where}. {_BARS}", bars(both)))
            )
        forward = _most_seen(part[part["mode"] == cases.FORWARD])
        if len(forward):
            title = f"Error and speed, {where}. {_SWITCH} {_size(forward)}."
            drawn.append((f"time {device}", _figure(f"switch-{end}", title, switch(forward))))
    peaks = table[(table.kind == rows.MEMORY) & table.peak_inputs.notna()]
    for (device, metric, mode), part in peaks.groupby(["device", "metric", "mode"], sort=False):
        part = _most_seen(part)
        name = f"memory-{metric}-{mode.replace('+', '-')}-{device.replace(':', '-')}"
        title = f"Memory, {tables.NAMES[metric]} {mode} on {device}. {_MEMORY} {_size(part)}, float32."
        drawn.append(("memory", _figure(name, title, memory(part))))
    return drawn


def over_size(part):
    """Time per megapixel over pixels, a panel for each pass, a line for each contestant."""
    modes = list(dict.fromkeys(part["mode"]))
    figure, axes = new(3.4 * len(modes), nrows=len(modes), sharex=True)
    axes = np.atleast_1d(axes)
    for one, mode in zip(axes, modes, strict=True):
        panel = part[part["mode"] == mode].assign(pixels=lambda rows: rows.height * rows.width)
        for name, group in panel.groupby("contestant", sort=False):
            line = group.sort_values(["pixels", "channels"]).drop_duplicates("pixels", keep="last")
            one.plot(line.pixels, line.ns_per_pixel, **_line(name))
        floor = panel.assign(floor=panel.ns_per_pixel * panel.floor_fraction).groupby("pixels").floor.min()
        one.plot(floor.index, floor, ":", color=INK, linewidth=1.2)
        one.set_xscale("log")
        one.set_yscale("log")
        one.set_ylabel(f"{mode}\nms for a million pixels")
        one.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks = sorted(set(panel.pixels))
        kept = [ticks[0], *(tick for last, tick in itertools.pairwise(ticks) if tick / last > 1.5)]
        one.set_xticks(kept, [f"{np.sqrt(tick):.0f}²" for tick in kept])
        one.xaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("pixels of an image, height × width, as the square of a side")
    _legend(figure, part)
    return figure


def bars(part):
    """Horizontal bars of time, at up to two sizes, the fastest on top."""
    panels = [group for _, group in part.groupby(["batch", "channels", "height", "width"], sort=False)]
    panels = sorted(panels, key=lambda group: -group.contestant.nunique())[:2]
    panels = sorted(panels, key=lambda group: group.iloc[0].batch * group.iloc[0].height * group.iloc[0].width)
    heights = [group.contestant.nunique() for group in panels]
    figure, axes = new(0.27 * sum(heights) + 1.0 * len(panels), nrows=len(panels), height_ratios=heights)
    for one, group in zip(np.atleast_1d(axes), panels, strict=True):
        group = group.sort_values("seconds")
        labels = [
            f"{tables.milliseconds(row.seconds)} ms" + (f" · {tables.ratio(row.ratio)}" if row.ratio > 0 else "")
            for row in group.itertuples()
        ]
        _bars(one, group, group.seconds * 1e3, labels, group[["seconds", "q3"]].max(axis=1) * 1e3)
        spread = np.abs(group[["q1", "q3"]].to_numpy().T - group.seconds.to_numpy()) * 1e3
        one.errorbar(
            group.seconds * 1e3, range(len(group)), xerr=spread, fmt="none", ecolor=INK, elinewidth=1.2, capsize=2
        )
        one.set_xlabel("ms, median of the rounds")
        one.set_title(_size(group), fontsize=10, loc="left")
    return figure


def memory(part):
    """Horizontal bars of peak memory, the smallest on top."""
    part = part.sort_values("peak_inputs")
    figure, axes = new(0.27 * len(part) + 1.0)
    _bars(axes, part, part.peak_inputs, [f"{value:.2f}" for value in part.peak_inputs], part.peak_inputs)
    axes.set_xlabel("highest memory above what was held before, in input images")
    return figure


def switch(part):
    """Error over time, a mark for each contestant."""
    figure, axes = new(4.6)
    for row in part.itertuples():
        style = _line(row.contestant) | {"markersize": 9, "linestyle": "none"}
        axes.plot([row.ns_per_pixel], [max(row.error, EXACT)], **style)
    axes.axhline(part.budget.max(), color=INK, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(EXACT / 2, max(0.02, 3 * part.error.max()))
    axes.set_xlabel("ms for a million pixels")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("absolute error of the index (no unit)")
    _legend(figure, part)
    return figure


def _bars(axes, part, widths, labels, ends):
    longest = 1.5 * max(widths)  # a middle half that reaches further is cut off
    for place, (name, width, label, end) in enumerate(zip(part.contestant, widths, labels, ends, strict=True)):
        colour, _ = _style(name)
        hollow = _is_compiled(name)
        axes.barh(
            place, width, height=0.72, color="none" if hollow else colour, edgecolor=colour, linewidth=1.4,
            hatch="////" if hollow else None,
        )  # fmt: skip
        at = min(end, longest)
        axes.annotate(label, (at, place), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(part)), part.contestant, fontsize=9)
    axes.set_ylim(len(part) - 0.4, -0.6)
    axes.set_xlim(0, 1.3 * min(longest, max(ends)))
    axes.grid(axis="y", visible=False)


def _line(name):
    colour, marker = _style(name)
    ours = name.startswith("msssim ")
    return {
        "color": colour, "marker": marker, "markersize": 6, "linewidth": 2.2 if ours else 1.1,
        "linestyle": "--" if _is_compiled(name) else "-", "zorder": 3 if ours else 2,
        "markerfacecolor": "none" if _is_compiled(name) else colour, "markeredgewidth": 1.3,
    }  # fmt: skip


def _legend(figure, part):
    """Beside the picture, in the order of the last values."""
    last = part.sort_values(["height", "channels"]).drop_duplicates("contestant", keep="last")
    names = last.sort_values("ns_per_pixel", ascending=False).contestant
    handles = [Line2D([], [], **_line(name), label=name) for name in names]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=8.5, labelcolor=INK)


def _style(name):
    return STYLES.get(contestants.without_way(name), _OTHER)


def _is_compiled(name):
    return name != contestants.without_way(name)


def _most_seen(part):
    """The rows at the size that most contestants have, of those the largest."""
    if part.empty:
        return part
    keys = ["batch", "channels", "height", "width"]
    counts = part.groupby(keys).contestant.nunique().reset_index()
    counts["pixels"] = counts[keys].prod(axis=1)
    best = counts.sort_values(["contestant", "pixels"]).iloc[-1]
    return part[(part[keys] == best[keys]).all(axis=1)]


def _size(part):
    return " × ".join(f"{side:.0f}" for side in part[["batch", "channels", "height", "width"]].iloc[0])


def _figure(name, caption, figure):
    return Figure(name, caption, svg(figure, name))
