"""The style of the plots, and their conversion to SVG whose colours a web page can change."""

import io
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

# The colours of Okabe and Ito, which colour-blind people can distinguish; each dtype also has its own marker.
SERIES = {
    "float64": ("#0072b2", "o"),
    "float32": ("#d55e00", "^"),
    "bfloat16": ("#009e73", "s"),
    "float16": ("#cc79a7", "D"),
    "uint8": ("#e69f00", "v"),
}
INK, GRID = "#222222", "#d9d9d9"
_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.size": 10, "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
    "font.family": "sans-serif", "axes.grid": True, "grid.color": GRID, "axes.axisbelow": True,
}  # fmt: skip


def new(height: float, **kwargs: Any) -> tuple[Figure, Any]:
    """Return (figure, axes) in the report's style, 7.2 inches wide; `kwargs` are passed to `Figure.subplots`."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, height), layout="constrained", facecolor="none")
        axes = figure.subplots(**kwargs)
    for one in np.atleast_1d(axes):
        one.set_facecolor("none")
    return figure, axes


def colour_bar(figure: Figure, drawn: ScalarMappable, axes: Axes, label: str, **kwargs: Any) -> Colorbar:
    """Add a colour bar in the report's style; `kwargs` are passed to `Figure.colorbar`."""
    with rc_context(_STYLE):
        bar = figure.colorbar(drawn, ax=axes, label=label, **kwargs)
    if bar.solids:
        bar.solids.set_rasterized(True)  # one picture instead of 256 rectangles
    return bar


def svg(figure: Figure, name: str) -> str:
    """Return the figure as an <svg> element; `name` makes its ids unique in a page with several plots.

    On the page INK, GRID and the colours of SERIES depend on the light or dark theme. What must not change, such as
    text on a coloured cell, needs another colour ("black", "white").
    """
    text = io.StringIO()
    with rc_context({**_STYLE, "svg.hashsalt": name}):  # ids that are referred to depend on the salt
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    for prefix, uri in _NAMESPACES.items():
        ElementTree.register_namespace(prefix, uri)
    root = ElementTree.fromstring(text.getvalue())
    for element in root.iter():
        # Groups have the same ids in every plot, and equal images have equal ids; nothing refers to them.
        if element.tag.rpartition("}")[2] in ("g", "image"):
            element.attrib.pop("id", None)
    return ElementTree.tostring(root, encoding="unicode") + "\n"
