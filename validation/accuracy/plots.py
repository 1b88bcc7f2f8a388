"""The plots of the accuracy report."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import library, tolerances
from ..report import section
from ..report.plots import INK, SERIES, new, svg
from . import dtypes, gradients, values

# Errors without a budget, or on another scale.
_NOT_DRAWN = (*tolerances.COUNTS, *tolerances.UNLIMITED, "zero gradient")
_EXACT = 1e-18  # errors of zero are drawn dtypes_in_line, because a logarithmic axis has no zero


def draw(table: pd.DataFrame) -> list[tuple[str, section.Figure]]:
    """Return (section of the report, figure) for each plot of the measurements (see `rows.frame`), by backend."""
    measured = table[table.missing == ""]
    several = measured.backend.nunique() > 1
    drawn = []
    for backend, part in measured.groupby("backend", sort=False):
        suffix, which = (f"-{backend}", f", backend {backend}") if several else ("", "")
        for name, title, sections, axis in (
            ("values", "Error of the value", _VALUES, "absolute error of the index (no unit; the index is at most 1)"),
            ("gradients", "Error of the gradient", _GRADIENTS, "relative to the gradient's largest entry (no unit)"),
            ("dtypes", "Error of narrow dtypes", (dtypes.SECTION,), "error: absolute of values, relative of gradients"),
        ):  # fmt: skip
            chosen = part[part.section.isin(sections) & ~part.kind.isin(_NOT_DRAWN)]
            if len(chosen):
                image = svg(strips(chosen, axis), name + suffix)
                drawn.append((name, section.Figure(name + suffix, f"{title}{which}. {_STRIPS}", image)))
        pairs = part[part.section.isin((values.MATLAB, values.WANG)) & part.value.notna()]
        if len(pairs):
            name, title = f"scatter{suffix}", f"Value against oracle{which}"
            drawn.append(("values", section.Figure(name, f"{title}. {_SCATTER}", svg(scatter(pairs), name))))
    return drawn


_VALUES = (values.MATLAB, values.WANG, values.SKIMAGE, values.TENSORFLOW, values.CLOSED_FORM)
_GRADIENTS = (gradients.MATLAB, gradients.FLOAT64)
_STRIPS = (
    "One mark for each image pair. The vertical line of the same colour is the budget, the hollow mark is the median."
    " Errors of exactly 0 are at the left edge. Errors without a budget are not drawn."
)
_SCATTER = (
    "Top: the library's value in float32 over the oracle's; marks should be on the line. Bottom: their distance from"
    " it; the dashed line is the budget of the largest error. Pairs whose value is complex are left out."
)


def strips(table: pd.DataFrame, axis: str) -> Figure:
    """Plot the errors of all images: a line for each quantity and oracle, a colour for each dtype."""
    lines = list(dict.fromkeys(zip(table.section, table.quantity, strict=True)))
    present = [dtype for dtype in SERIES if dtype in set(table.dtype)]
    figure, axes = new(0.42 * len(lines) + 1.5)
    for line, (source, quantity) in enumerate(lines):
        in_line = table[(table.section == source) & (table.quantity == quantity)]
        dtypes_in_line = [dtype for dtype in present if dtype in set(in_line.dtype)]
        for i, dtype in enumerate(dtypes_in_line):
            group = in_line[in_line.dtype == dtype]
            step = min(0.36, 0.84 / len(dtypes_in_line))
            _strip(axes, group, line + (i - (len(dtypes_in_line) - 1) / 2) * step, step, *SERIES[dtype])
    axes.set_xscale("log")
    left = max(_EXACT / 2, table.error.min() / 5)
    axes.set_xlim(left, max(1e-3, 3 * np.nanmax(table.budget_worst), 3 * _finite(table.error).max()))
    axes.set_xlabel(axis)
    axes.set_yticks(range(len(lines)), [_label(*line) for line in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    _legend(figure, [*present], budget=True)
    return figure


def _strip(axes: Axes, group: pd.DataFrame, middle: float, step: float, colour: str, marker: str) -> None:
    errors = np.maximum(_finite(group.error), _EXACT)
    jitter = (np.arange(len(errors)) * 0.618) % 1 - 0.5  # evenly distributed, and the same on every run
    axes.plot(errors, middle + jitter * step * 0.6, marker, color=colour, markersize=2.6, alpha=0.55, markeredgewidth=0)
    axes.plot(
        [np.median(errors)], [middle], marker, markerfacecolor="none", color=colour, markersize=7, markeredgewidth=1.4
    )
    budget = group.budget_worst.iloc[0]
    axes.plot([budget, budget], [middle - step * 0.47, middle + step * 0.47], color=colour, linewidth=2.2)


def scatter(table: pd.DataFrame) -> Figure:
    """Plot the library's value in float32 over the oracle's, and the error below."""
    table = table[table.dtype == "float32"]
    figure, (above, below) = new(6.4, nrows=2, sharex=True, height_ratios=(3, 2))
    kinds = {library.SSIM: SERIES["float64"], library.PRODUCT: SERIES["float32"], library.WTD_SUM: SERIES["bfloat16"]}
    for quantity, (colour, marker) in kinds.items():
        part = table[table.quantity == quantity]
        style = {"color": colour, "markersize": 3.5, "alpha": 0.6, "markeredgewidth": 0, "linestyle": "none"}
        above.plot(part.expected, part.value, marker, **style)
        below.plot(part.expected, np.maximum(part.error, 1e-10), marker, **style)
    low = min(0.0, float(table.expected.min()))
    above.plot([low, 1], [low, 1], color=INK, linewidth=0.8)
    below.axhline(table.budget_worst.max(), color=INK, linestyle="--", linewidth=1)
    below.set_yscale("log")
    above.set_ylabel("value of the library\n(float32, no unit)")
    below.set_ylabel("absolute error\n(no unit)")
    below.set_xlabel("value of Wang's MATLAB code or wang.py (float64, no unit)")
    handles = [Line2D([], [], color=c, marker=m, linestyle="none", label=name) for name, (c, m) in kinds.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def budgets(rows: pd.DataFrame) -> section.Figure:
    """Return the plot of the rows of a report: how much of its budget each error uses, by oracle and dtype."""
    judged = rows[(rows.budget_worst > 0) & rows.worst.notna()]
    lines = list(dict.fromkeys(judged.section))
    present = [dtype for dtype in SERIES if dtype in set(judged.dtype)]
    figure, axes = new(0.42 * len(lines) + 1.5)
    for line, source in enumerate(lines):
        for i, dtype in enumerate(present):
            group = judged[(judged.section == source) & (judged.dtype == dtype)]
            style = {"color": SERIES[dtype][0], "markersize": 4, "alpha": 0.6, "markeredgewidth": 0}
            height = line + (i - (len(present) - 1) / 2) * 0.8 / len(present)
            used = np.maximum(group.worst / group.budget_worst, _LEAST_USED)
            axes.plot(used, np.full(len(used), height), SERIES[dtype][1], **style)
    axes.axvline(1, color=INK, linewidth=1.2)
    axes.set_xscale("log")
    axes.set_xlabel("largest error / budget (no unit)")
    axes.set_yticks(range(len(lines)), lines, fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    _legend(figure, present, budget=False)
    caption = (
        "Largest errors in relation to their budgets. One mark for each row of the tables; the line is the budget."
        f" Smaller quotients than {_LEAST_USED:g} are at the left edge. Rows without a budget are not drawn."
    )
    return section.Figure("budgets", caption, svg(figure, "budgets"))


_LEAST_USED = 1e-6


def _legend(figure: Figure, present: Iterable[str], budget: bool) -> None:
    handles = [
        Line2D([], [], color=SERIES[dtype][0], marker=SERIES[dtype][1], linestyle="none", label=dtype)
        for dtype in present
    ]
    if budget:
        handles.append(
            Line2D([], [], color=INK, marker="|", markersize=11, markeredgewidth=2, linestyle="none", label="budget")
        )
        handles.append(
            Line2D(
                [], [], color=INK, marker="o", markerfacecolor="none", markersize=7, linestyle="none", label="median"
            )
        )
    figure.legend(
        handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9, labelcolor=INK
    )


def _finite(errors: pd.Series) -> pd.Series:
    """Replace errors that are not finite by 1, so that they are drawn at the right edge."""
    return errors.replace([math.inf], math.nan).fillna(1.0)


def _label(source: str, quantity: str) -> str:
    return quantity if source == dtypes.SECTION else f"{quantity}\n{source.removeprefix('Gradient: ')}"
