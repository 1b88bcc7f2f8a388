"""What a report is made of: sections of text, tables and figures."""

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

PASS, BROKEN = "pass", "broken"
_SIGN = {PASS: "✓", BROKEN: "✗"}
_EMPTY: Mapping[str, Any] = MappingProxyType({})

Format = str | Callable[[Any], str]


class Table(NamedTuple):
    """A table; its columns have the names that the report shows."""

    caption: str
    """The first sentence is the title of the table."""
    frame: pd.DataFrame
    formats: Mapping[str, Format] = _EMPTY
    """By column, a format such as ".4f" or a function of the cell. Other columns are formatted by type."""
    prose: Sequence[str] = ()
    """Columns of text, which wrap on the page and are left out of report.tex."""


class Figure(NamedTuple):
    """A picture."""

    name: str
    """The name of its file, without suffix; unique in the report."""
    caption: str
    """The first sentence is the title of the figure."""
    image: str
    """An <svg> element (see `plots.svg`), a data URI, or "" if the picture is not available."""


class Section(NamedTuple):
    """One part of the report, and its outcome."""

    name: str
    title: str
    text: str
    """Paragraphs separated by blank lines, with code in backticks."""
    tables: Sequence[Table] = ()
    """The first table is the summary: the terminal prints it, and the report shows it before the figures."""
    figures: Sequence[Figure] = ()
    verdict: str = ""
    """PASS, BROKEN, or "" if there is no budget."""
    summary: str = ""
    """One sentence."""
    data: Mapping[str, pd.DataFrame] = _EMPTY
    """By file name, the frames to write beside the report as CSV."""


class Report(NamedTuple):
    """A report: everything that its HTML, Markdown and LaTeX files show."""

    title: str
    headline: str
    """The sentence at the top."""
    about: Mapping[str, str]
    """How the report was made: command, machine, versions."""
    sections: Sequence[Section]


def cells(table: Table) -> list[list[str]]:
    """Return the rows of a table as text."""
    formats = {"verdict": signed, **table.formats}
    columns = [_column(table.frame[name], formats.get(name)) for name in table.frame.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(column: pd.Series, form: Format | None) -> list[str]:
    if form is None:
        form = number if pd.api.types.is_float_dtype(column) else str
    elif isinstance(form, str):
        form = f"{{:{form}}}".format
    return ["" if pd.isna(cell) else form(cell) for cell in column]


def signed(verdict: str) -> str:
    """Return a verdict with a sign, so that it does not depend on colour."""
    return f"{_SIGN.get(verdict, '·')} {verdict}" if verdict else ""


def number(value: float) -> str:
    """Format a number: counts in full, errors with two digits, NaN as an empty string."""
    if pd.isna(value):
        return ""
    if math.isinf(value):
        return "not finite"
    return f"{value:g}" if value == int(value) else f"{value:.1e}".replace(".0e", "e")


def is_numeric(column: pd.Series) -> bool:
    """Return whether a column has numbers."""
    return bool(pd.api.types.is_numeric_dtype(column))


def for_sorting(value: float) -> float:
    """Round a number to the nine digits by which tables are sorted."""
    return float(f"{float(value):.9g}")


def markdown_table(head: Iterable[str], lines: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    head = list(head)
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *escaped))


def aligned(head: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table for the terminal."""
    texts = [list(head), *lines]
    widths = [max(len(line[i]) for line in texts) for i in range(len(texts[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in texts
    )


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows for JSON, with None for NaN."""
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def rewrite(regions: Mapping[pathlib.Path, Mapping[str, str]]) -> None:
    """Replace the regions of documents, of all or of none."""
    texts = {path: fill_regions(path.read_text(encoding="utf-8"), new) for path, new in regions.items()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")


def fill_regions(text: str, regions: Mapping[str, str]) -> str:
    """Return a document with the text between its markers replaced.

    The region of a name is between the lines ``<!-- name: begin -->`` and ``<!-- name: end -->``. The document must
    have at least one of the regions.
    """
    found = 0
    for name, new in regions.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, has_begin, rest = text.partition(begin)
        _, has_end, after = rest.partition(end)
        if has_begin and has_end:
            text = f"{before}{begin}\n{new}\n{end}{after}"
            found += 1
        elif begin in text or end in text:
            raise ValueError(f"the document must have both {begin} and {end}, in this order")
    if not found:
        names = ", ".join(f"<!-- {name}: begin -->" for name in regions)
        raise ValueError(f"the document must have at least one of the markers {names}")
    return text
