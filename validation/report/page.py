"""The report as one self-contained HTML page: light and dark, sortable, printable."""

import functools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
import markupsafe
import pandas as pd

from . import plots
from .section import BROKEN, Report, Table, cells, for_sorting, is_numeric, signed

NO_PICTURE = "The picture is not stored with the data of this report; the command at the end makes it."


def render(report: Report, parts: Sequence[Any], verdicts: Table) -> str:
    """Return the page; `parts` are the numbered sections (see `write.numbered`), `verdicts` is the table at the top."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"code": _code, "themed": themed, "signed": signed}
    return environment.get_template("report.html").render(
        title=report.title,
        headline=report.headline,
        broken=any(section.verdict == BROKEN for section in report.sections),
        judged=any(section.verdict for section in report.sections),
        about=report.about,
        verdicts=verdicts,
        parts=parts,
        rows=_rows,
        classes=_classes,
        no_picture=NO_PICTURE,
        colours={dtype: colour for dtype, (colour, _) in plots.SERIES.items()},
    )


def _classes(table: Table) -> list[str]:
    """Return the CSS class of each column."""
    return [
        "verdict" if name == "verdict" else "prose" if name in table.prose else
        "number" if is_numeric(table.frame[name]) else "text"
        for name in table.frame.columns
    ]  # fmt: skip


def _rows(table: Table) -> Iterator[list[tuple[str, str, str | None]]]:
    """Yield for each row a list of (class, text, sort key or None)."""
    classes = _classes(table)
    for texts, values in zip(cells(table), table.frame.itertuples(index=False), strict=True):
        yield [
            (f"verdict {value}" if name == "verdict" else name, text, _key(value) if name == "number" else None)
            for name, text, value in zip(classes, texts, values, strict=True)
        ]


def _key(value: float) -> str | None:
    """Return a number in the syntax of JavaScript, with the digits of `section.for_sorting`."""
    return None if pd.isna(value) else f"{for_sorting(value)!r}".replace("inf", "Infinity")


def _code(text: object) -> markupsafe.Markup:
    """Convert Markdown's `code` to HTML, and keep numbers such as 1e-5 in one line."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text)))
    return markupsafe.Markup(re.sub(r"\b\d[\d.]*e[-+]\d+", r'<span class="whole">\g<0></span>', marked))


def themed(image: str) -> markupsafe.Markup:
    """Replace the colours of a plot by those of the page, which depend on the light or dark theme."""
    replaced = {colour: f"var(--{dtype})" for dtype, (colour, _) in plots.SERIES.items()}
    replaced |= {plots.INK: "currentColor", plots.GRID: "var(--line)"}
    return markupsafe.Markup(functools.reduce(lambda text, pair: text.replace(*pair), replaced.items(), image))
