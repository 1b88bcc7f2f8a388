"""The tables of the report for a paper: report.tex, with tables to copy or to include."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from .section import Table, cells, is_numeric

_HEAD = r"""% {title}
% Include it with \input, or copy tables from it. They need the packages booktabs and longtable, and, because the text
% is Unicode, LuaLaTeX or XeLaTeX.
"""


def render(title: str, parts: Iterable[Any], verdicts: Table) -> str:
    """Return the text of report.tex; for the arguments see `page.render`."""
    blocks = [_HEAD.format(title=title), _table(verdicts, verdicts.caption, "verdicts")]
    for section, tables, _ in parts:
        blocks.append(f"% {section.title}")
        blocks += [_table(one.content, f"{one.title}. {one.rest}", one.id) for one in tables]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table, caption: str, label: str) -> str:
    """Return a longtable; its caption is a comment, because a paper has its own."""
    names = [name for name in table.frame.columns if name not in table.prose]
    shown = table._replace(frame=table.frame[names], formats={**table.formats, "verdict": str})
    frame = pd.DataFrame(cells(shown), columns=names)
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    columns = "".join("r" if is_numeric(shown.frame[name]) else "l" for name in names)
    latex: str = style.to_latex(environment="longtable", hrules=True, column_format=columns, label=f"tab:{label}")
    return f"% {' '.join(caption.split())}\n{latex.rstrip()}"
