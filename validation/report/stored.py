"""A report as data: report.json, from which the HTML, Markdown and LaTeX files can be made again.

Pictures are not part of it. They are read from the folder plots/ beside it; what is missing there is left out.
"""

import base64
import json
import math
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from .section import Figure, Report, Section, Table, cells, for_sorting, is_numeric, number

NAME = "report.json"


def save(folder: pathlib.Path, report: Report) -> None:
    """Write report.json and the pictures in plots/."""
    save_pictures(folder, report.sections)
    content = {**report._asdict(), "about": dict(report.about), "sections": list(map(_section, report.sections))}
    (folder / NAME).write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def save_pictures(folder: pathlib.Path, sections: Iterable[Section]) -> None:
    """Write the pictures of a report to plots/."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for figure in (figure for section in sections for figure in section.figures):
        if figure.image:
            (folder / "plots" / file_name(figure)).write_bytes(_bytes(figure))


def load(folder: pathlib.Path) -> Report:
    """Read report.json and the pictures in plots/."""
    content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    sections = []
    for stored in content["sections"]:
        tables = tuple(map(_load_table, stored["tables"]))
        figures = tuple(_load_figure(folder / "plots", figure) for figure in stored["figures"])
        sections.append(Section(**{**stored, "tables": tables, "figures": figures}))
    return Report(content["title"], content["headline"], content["about"], sections)


def file_name(figure: Figure) -> str:
    """Return the name of a picture's file in plots/."""
    kind = re.match(r"data:image/(\w+)", figure.image)
    return f"{figure.name}.{kind[1] if kind else 'svg'}"


def _bytes(figure: Figure) -> bytes:
    if figure.image.startswith("data:"):
        return base64.b64decode(figure.image.partition(",")[2])
    return figure.image.encode()


def _section(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "text": section.text,
        "tables": list(map(_table, section.tables)),
        "figures": [{"name": figure.name, "caption": figure.caption} for figure in section.figures],
        "verdict": section.verdict,
        "summary": section.summary,
    }


def _table(table: Table) -> dict[str, Any]:
    """Return the columns; of numbers the values, and their texts only if the default format gives others."""
    plain = table._replace(formats={**table.formats, "verdict": str})  # the sign of a verdict is not stored
    texts = list(map(list, zip(*cells(plain), strict=True))) or [[] for _ in table.frame.columns]
    columns = []
    for name, column in zip(table.frame.columns, texts, strict=True):
        stored: dict[str, Any] = {"name": name}
        if is_numeric(table.frame[name]):
            stored["numbers"] = list(map(_number, table.frame[name]))
        if "numbers" not in stored or column != list(map(number, map(_value, stored["numbers"]))):
            stored["texts"] = column
        columns.append(stored)
    return {"caption": table.caption, "prose": list(table.prose), "columns": columns}


def _number(value: Any) -> float | str | None:
    """Return a number as JSON can hold it."""
    if pd.isna(value):
        return None
    value = for_sorting(value)
    return str(value) if math.isinf(value) else int(value) if value.is_integer() else value


def _value(stored: float | str | None) -> float:
    return math.nan if stored is None else float(stored)


def _load_table(stored: dict[str, Any]) -> Table:
    frame, formats = {}, {}
    for column in stored["columns"]:
        name, texts = column["name"], column.get("texts")
        if "numbers" not in column:
            frame[name] = pd.Series(texts, dtype=object)
            continue
        frame[name] = pd.Series(list(map(_value, column["numbers"])), dtype=float)
        formats[name] = dict(zip(frame[name], texts, strict=True)).__getitem__ if texts else number
    return Table(stored["caption"], pd.DataFrame(frame), formats, tuple(stored["prose"]))


def _load_figure(folder: pathlib.Path, stored: dict[str, str]) -> Figure:
    for path in sorted(folder.glob(f"{stored['name']}.*")):
        image = path.read_bytes()
        kind = path.suffix.removeprefix(".")
        text = image.decode() if kind == "svg" else f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
        return Figure(**stored, image=text)
    return Figure(**stored, image="")
