"""What a part of the validation hands to the report: a Section of text, tables and figures."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

PASS, BROKEN = "pass", "broken"
_SIGN = {PASS: "✓", BROKEN: "✗"}
_NOTHING = MappingProxyType({})


class Table(NamedTuple):
    """A table; its columns are named as they are shown.

    The first sentence of the caption is the table's title. `formats` gives for a column a format such as ".4f", or a
    function of the cell; the other columns are formatted by type, errors in two digits. Columns of `prose` wrap on the
    page and are left out of report.tex. In a column named "verdict" each verdict gets its sign.
    """

    caption: str
    frame: pd.DataFrame
    formats: Mapping = _NOTHING
    prose: tuple = ()


class Figure(NamedTuple):
    """A picture: an <svg> element (see `plots.svg`) or a data URI. `name` is that of its file, unique in the report."""

    name: str
    caption: str
    image: str


class Section(NamedTuple):
    """One part of the report, and what it comes to.

    The first table sums the part up: the terminal prints it, and the report shows it before the figures. `text` has
    paragraphs separated by blank lines, with code in backticks. `data` gives the frames to be written beside the
    report, by file name, as CSV or JSON.
    """

    name: str
    title: str
    text: str
    tables: tuple = ()
    figures: tuple = ()
    verdict: str = ""  # PASS, BROKEN, or nothing where nothing was promised
    summary: str = ""  # one sentence
    data: Mapping = _NOTHING


def cells(table):
    """The rows of a table as they are shown: one list of texts for each."""
    formats = {"verdict": signed, **table.formats}
    columns = [_column(table.frame[name], formats.get(name)) for name in table.frame.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def signed(verdict):
    """A verdict with its sign, to be told apart without colours."""
    return f"{_SIGN.get(verdict, '·')} {verdict}" if verdict else ""


def number(value):
    """A short form: counts as they are, errors in two digits, nothing for nothing."""
    if pd.isna(value):
        return ""
    if math.isinf(value):
        return "not finite"
    return f"{value:g}" if value == int(value) else f"{value:.1e}".replace(".0e", "e")


def markdown_table(head, lines):
    """A Markdown table of texts."""
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *escaped))


def aligned(head, lines):
    """A table of texts for the terminal."""
    lines = [list(head), *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _column(column, form):
    if form is None:
        form = number if pd.api.types.is_float_dtype(column) else str
    elif isinstance(form, str):
        form = f"{{:{form}}}".format
    return ["" if pd.isna(cell) else form(cell) for cell in column]


def records(frame):
    """The rows as JSON takes them: None for NaN."""
    return [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def between(text, begin, end, new):
    """The text of a README with what stands between its two markers replaced."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"README: the markers {begin} and {end} are wanted, each once and in this order")
    return f"{before}{begin}\n{new}\n{end}{after}"
