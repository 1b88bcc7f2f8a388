"""Write every file of a report, and what the terminal prints."""

import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from . import page, paper, stored
from .section import BROKEN, Figure, Report, Section, Table, aligned, cells, markdown_table, signed


class Numbered(NamedTuple):
    """A table or figure with its number in the report."""

    id: str
    label: str
    title: str
    """The first sentence of the caption."""
    rest: str
    content: Any


class Part(NamedTuple):
    """A section with its numbered tables and figures."""

    section: Section
    tables: list[Numbered]
    figures: list[Numbered]


def write(
    folder: pathlib.Path,
    sections: Sequence[Section],
    about: Mapping[str, str],
    title: str = "Validation of msssim",
    sentence: str | None = None,
) -> pathlib.Path:
    """Write the report and the data of its sections to a folder; return the path of report.html.

    `sentence` is the headline; by default it says whether every budget is met.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in (item for section in sections for item in section.data.items()):
        frame.to_csv(folder / name, index=False)
    report = Report(title, sentence or headline(sections), about, sections)
    stored.save(folder, report)
    return documents(folder, report)


def render(folder: pathlib.Path) -> pathlib.Path:
    """Make report.html, report.md and report.tex of a folder again from report.json and plots/."""
    return documents(folder, stored.load(folder))


def documents(folder: pathlib.Path, report: Report) -> pathlib.Path:
    """Write report.html, report.md, report.tex and the pictures of a report; return the path of report.html."""
    stored.save_pictures(folder, report.sections)
    parts, summary = numbered(report.sections), verdicts(report.sections)
    (folder / "report.md").write_text(_markdown(report, parts, summary), encoding="utf-8")
    (folder / "report.tex").write_text(paper.render(report.title, parts, summary), encoding="utf-8")
    path = folder / "report.html"
    path.write_text(page.render(report, parts, summary), encoding="utf-8")
    return path


def terminal(sections: Sequence[Section]) -> str:
    """Return what the terminal shows: the first table and the summary of each section."""
    parts = []
    for section in sections:
        lines = [aligned(table.frame.columns, cells(table)) for table in section.tables[:1]]
        parts.append("\n".join([section.title, *lines, f"{signed(section.verdict)} {section.summary}".strip()]))
    return "\n\n".join([*parts, headline(sections)])


def broken(sections: Iterable[Section]) -> bool:
    """Return whether a section breaks a budget."""
    return any(section.verdict == BROKEN for section in sections)


def headline(sections: Iterable[Section]) -> str:
    """Return the sentence at the top of the report."""
    judged = [section for section in sections if section.verdict]
    wrong = [section.title for section in judged if section.verdict == BROKEN]
    if wrong:
        return f"Budgets are broken, see: {', '.join(wrong)}."
    if len(judged) > 1:
        return f"Every budget is met, in all {len(judged)} sections with budgets."
    return "Every budget is met." if judged else "No section has a budget."


def verdicts(sections: Iterable[Section]) -> Table:
    """Return the table at the top: the verdict and summary of each section."""
    frame = pd.DataFrame(
        [(section.title, section.verdict or "no budget", section.summary) for section in sections],
        columns=["section", "verdict", "result"],
    )
    return Table("Summary of verdicts.", frame)


def numbered(sections: Iterable[Section]) -> list[Part]:
    """Number the tables and figures throughout the report."""
    tables, figures = itertools.count(1), itertools.count(1)
    return [
        Part(
            section,
            [_number("Table", next(tables), table) for table in section.tables],
            [_number("Figure", next(figures), figure) for figure in section.figures],
        )
        for section in sections
    ]


def _number(kind: str, count: int, content: Table | Figure) -> Numbered:
    title, _, rest = content.caption.partition(". ")
    return Numbered(f"{kind.lower()}-{count}", f"{kind} {count}", title.rstrip("."), rest, content)


def _markdown(report: Report, parts: Iterable[Part], summary: Table) -> str:
    blocks = [f"# {report.title}", report.headline, _markdown_table(summary)]
    for section, tables, figures in parts:
        blocks += [f"## {section.title}", section.text]
        written = [f"{_caption(one)}\n\n{_markdown_table(one.content)}" for one in tables]
        blocks += [*written[:1], *map(_markdown_picture, figures), *written[1:]]
    blocks += ["## How it was made", markdown_table(("item", "value"), report.about.items())]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_picture(one: Numbered) -> str:
    image = f"![{one.title}](plots/{stored.file_name(one.content)})" if one.content.image else page.NO_PICTURE
    return f"{image}\n\n{_caption(one)}"


def _caption(one: Numbered) -> str:
    return f"**{one.label}. {one.title}.** {one.rest}".strip()


def _markdown_table(table: Table) -> str:
    return markdown_table(list(table.frame.columns), cells(table))
