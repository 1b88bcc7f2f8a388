"""The report as one self-contained HTML page: light and dark, sortable, printable."""

import functools
import pathlib
import re

import jinja2
import markupsafe
import pandas as pd

from . import plots
from .section import BROKEN, cells, signed


def render(parts, about, title, headline, verdicts):
    """The page of `report.numbered` sections, of what they were made with, and of the verdicts that stand first."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"code": _code, "themed": _themed, "signed": signed}
    return environment.get_template("report.html").render(
        title=title,
        headline=headline,
        broken=any(section.verdict == BROKEN for section, _, _ in parts),
        about=about,
        verdicts=verdicts,
        parts=parts,
        rows=_rows,
        classes=_classes,
        colours={dtype: colour for dtype, (colour, _) in plots.SERIES.items()},
    )


def _classes(table):
    """For each column the class that its cells have."""
    return [
        "verdict" if name == "verdict" else "prose" if name in table.prose else
        "number" if pd.api.types.is_numeric_dtype(table.frame[name]) else "text"
        for name in table.frame.columns
    ]  # fmt: skip


def _rows(table):
    """For each row a list of (class, text, what to sort by or None)."""
    classes = _classes(table)
    for texts, values in zip(cells(table), table.frame.itertuples(index=False), strict=True):
        yield [
            (f"verdict {value}" if name == "verdict" else name, text, _key(value) if name == "number" else None)
            for name, text, value in zip(classes, texts, values, strict=True)
        ]


def _key(value):
    """A number as the page's script reads it."""
    return None if pd.isna(value) else f"{float(value)!r}".replace("inf", "Infinity")


def _code(text):
    """Markdown's `code` as HTML's, and powers of ten that no line ends in."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text)))
    return markupsafe.Markup(re.sub(r"\b\d[\d.]*e[-+]\d+", r'<span class="whole">\g<0></span>', marked))


def _themed(image):
    """The plot in the page's colours, which depend on light or dark."""
    replaced = {colour: f"var(--{dtype})" for dtype, (colour, _) in plots.SERIES.items()}
    replaced |= {plots.INK: "currentColor", plots.GRID: "var(--line)"}
    return markupsafe.Markup(functools.reduce(lambda text, pair: text.replace(*pair), replaced.items(), image))
