"""What people would rather look at than read: each plot as SVG whose colours a web page can change."""

import io
import re

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind people, each dtype with a marker of its own too.
SERIES = {
    "float64": ("#0072b2", "o"),
    "float32": ("#d55e00", "^"),
    "bfloat16": ("#009e73", "s"),
    "float16": ("#cc79a7", "D"),
    "uint8": ("#e69f00", "v"),
}
INK, GRID = "#222222", "#d9d9d9"
_STYLE = {
    "svg.fonttype": "none", "font.size": 10, "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "font.family": "sans-serif", "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True,
}  # fmt: skip


def new(height, **kwargs):
    """(figure, axes) in the report's style, 7.2 inches wide; `kwargs` go to `Figure.subplots`."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, height), layout="constrained", facecolor="none")
        axes = figure.subplots(**kwargs)
    for one in np.atleast_1d(axes):
        one.set_facecolor("none")
    return figure, axes


def colour_bar(figure, drawn, axes, label, **kwargs):
    """A colour bar for what was drawn, in the report's style; `kwargs` go to `Figure.colorbar`."""
    with rc_context(_STYLE):
        bar = figure.colorbar(drawn, ax=axes, label=label, **kwargs)
    bar.solids.set_rasterized(True)  # one picture instead of 256 rectangles
    return bar


def svg(figure, name):
    """The figure as an <svg> element, without what only a file of its own needs.

    On the page INK, GRID and the colours of SERIES follow the reader's light or dark theme; what has to stay as it is,
    such as text on a coloured cell, takes other colours ("black", "white").
    """
    text = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": name}):  # the same ids on every run
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    # Ids of several plots meet in one page.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg[svg.index("<svg") :])
    return _compact(svg)


def _compact(svg):
    """A third of the size: positions in hundredths of a point, and one style for a run of equal marks."""
    svg = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", svg)  # equal pictures would have equal ids
    positions = r'\b(?:x|y|d|points|transform)="[^"]*"'
    svg = re.sub(positions, lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    return re.sub(r'(?:\s*<use [^>]*?style="([^"]*)"/>)(?:\s*<use [^>]*?style="\1"/>)+', _run_of_marks, svg)


def _run_of_marks(found):
    marks = re.sub(r'\s*(<use [^>]*?) style="[^"]*"/>', r"\1/>", found[0])
    return f'<g style="{found[1]}">{marks}</g>'
