"""The report, made of Sections: every file of it, and what the terminal prints."""

import base64
import itertools
import json
import math
import pathlib
import re
from typing import NamedTuple

import pandas as pd

from . import page, paper
from .section import BROKEN, Table, aligned, cells, markdown_table, records, signed


class Numbered(NamedTuple):
    """A table or figure with its place among all those of the report: `title` is the caption's first sentence."""

    id: str
    label: str
    title: str
    rest: str
    content: object


def write(folder, sections, about, title="Validation of msssim", sentence=None):
    """Write report.html, .md and .tex, plots/ and the sections' data to the folder; return the path of report.html.

    `sentence` stands at the top; without it, whether every budget is kept.
    """
    sentence = sentence or headline(sections)
    folder = pathlib.Path(folder)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for name, frame in (item for section in sections for item in section.data.items()):
        if name.endswith(".csv"):
            frame.to_csv(folder / name, index=False)
        else:
            (folder / name).write_text(_json(frame), encoding="utf-8")
    for figure in (figure for section in sections for figure in section.figures):
        (folder / "plots" / _file(figure)).write_bytes(_bytes(figure))
    parts = numbered(sections)
    (folder / "report.md").write_text(_markdown(parts, about, title, sentence), encoding="utf-8")
    told = parts, about, title, sentence, verdicts(sections)
    (folder / "report.tex").write_text(paper.render(*told), encoding="utf-8")
    path = folder / "report.html"
    path.write_text(page.render(*told), encoding="utf-8")
    return path


def _json(frame):
    """The rows with every digit, which pandas' own to_json() cuts at the 15th after the point."""
    return json.dumps(records(frame.replace([math.inf, -math.inf], math.nan)), indent=1, ensure_ascii=False)


def terminal(sections):
    """What came out: of each section the table that sums it up, and its sentence."""
    parts = []
    for section in sections:
        table = section.tables[:1]
        lines = [aligned(one.frame.columns, cells(one)) for one in table]
        parts.append("\n".join([section.title, *lines, f"{signed(section.verdict)} {section.summary}".strip()]))
    return "\n\n".join([*parts, headline(sections)])


def broken(sections):
    """Whether any section breaks a budget."""
    return any(section.verdict == BROKEN for section in sections)


def headline(sections):
    """One sentence for the top of the report."""
    judged = [section for section in sections if section.verdict]
    wrong = [section.title for section in judged if section.verdict == BROKEN]
    if wrong:
        return f"Budgets are broken, see: {', '.join(wrong)}."
    if len(judged) > 1:
        return f"Every budget is kept, in all {len(judged)} parts that have one."
    return "Every budget is kept." if judged else "No part has a budget."


def verdicts(sections):
    """The table at the top: what was asked and what came out."""
    frame = pd.DataFrame(
        [(section.title, section.verdict or "no budget", section.summary) for section in sections],
        columns=["part", "verdict", "what came out"],
    )
    return Table("Summary of verdicts. What was asked, and what came out.", frame)


def numbered(sections):
    """(section, its Numbered tables, its Numbered figures) of each, counted through the report."""
    tables, figures = itertools.count(1), itertools.count(1)
    return [
        (
            section,
            [_number("Table", next(tables), table) for table in section.tables],
            [_number("Figure", next(figures), figure) for figure in section.figures],
        )
        for section in sections
    ]


def _number(kind, count, content):
    title, _, rest = content.caption.partition(". ")
    return Numbered(f"{kind.lower()}-{count}", f"{kind} {count}", title.rstrip("."), rest, content)


def _file(figure):
    kind = re.match(r"data:image/(\w+)", figure.image)
    return f"{figure.name}.{kind[1] if kind else 'svg'}"


def _bytes(figure):
    if figure.image.startswith("data:"):
        return base64.b64decode(figure.image.partition(",")[2])
    return figure.image.encode()


def _markdown(parts, about, title, sentence):
    sections = [section for section, _, _ in parts]
    blocks = [f"# {title}", sentence, _markdown_of(verdicts(sections))]
    for section, tables, figures in parts:
        blocks += [f"## {section.title}", section.text]
        pictures = [f"![{one.title}](plots/{_file(one.content)})\n\n{_caption(one)}" for one in figures]
        written = [f"{_caption(one)}\n\n{_markdown_of(one.content)}" for one in tables]
        blocks += [*written[:1], *pictures, *written[1:]]
    blocks += ["## How it was made", markdown_table(("made", "by"), about.items())]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _caption(one):
    return f"**{one.label}. {one.title}.** {one.rest}".strip()


def _markdown_of(table):
    return markdown_table(list(table.frame.columns), cells(table))
