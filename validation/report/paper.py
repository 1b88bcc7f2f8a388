"""The tables of the report for a paper: report.tex, which compiles as it is and has each table to be copied."""

import re

import pandas as pd

from .section import BROKEN, cells

_HEAD = r"""% {title}
% Compiles as it is; a table in another document needs longtable, booktabs and array.
\documentclass[a4paper]{{article}}
\usepackage[utf8]{{inputenc}}
\usepackage[margin=20mm]{{geometry}}
\usepackage{{array,booktabs,longtable}}
\setlength\tabcolsep{{3pt}}
\setlength\LTcapwidth{{\linewidth}}
\title{{{title}}}
\date{{{date}}}
\begin{{document}}
\maketitle
\noindent {headline}
\scriptsize
"""
# Parts of the line's width that a letter and the space between columns take; texts longer than so many letters wrap.
_LETTER, _GAP, _WRAPPED = 0.0088, 0.0125, 18
_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$",
    "|": "$|$", '"': "''", "–": "--", "—": "---", "…": r"\dots{}", "×": r"$\times$", "·": r"$\cdot$", "±": r"$\pm$",
    "²": "$^2$", "³": "$^3$", "°": r"$^\circ$",
    "σ": r"$\sigma$", "μ": r"$\mu$", "Π": r"$\Pi$", "Σ": r"$\Sigma$", "Δ": r"$\Delta$", "ρ": r"$\rho$", "τ": r"$\tau$",
    "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "→": r"$\to$", "∞": r"$\infty$", "−": r"$-$", "√": r"$\surd$",
    "✓": "", "✗": "", "’": "'", "\n": " ",
}  # fmt: skip


def render(parts, about, title, headline, verdicts):
    """The text of report.tex; for the arguments see `page.render`."""
    head = _HEAD.format(title=latex(title), date=latex(about.get("date", "")), headline=latex(headline))
    tables = [_table(verdicts, verdicts.caption, "verdicts")]
    for section, numbered, _ in parts:
        tables.append(f"\\section*{{{latex(section.title)}}}\n{latex(section.summary)}")
        tables += [_table(one.content, f"{one.title}. {one.rest}".strip(), one.id) for one in numbered]
    return "\n\n".join([head, *tables, "\\end{document}"]) + "\n"


def latex(text):
    """Plain text, with `code` in backticks, as LaTeX: nothing in it is a command any more."""
    parts = re.split(r"`([^`]+)`", str(text))
    escaped = ["".join(_SPECIAL.get(character, character) for character in part).strip("\n") for part in parts]
    # Every second part stood between backticks.
    text = "".join(rf"\texttt{{{part}}}" if place % 2 else part for place, part in enumerate(escaped))
    return re.sub(r"\b(\d(?:\.\d+)?)e([+-]\d+)\b", lambda found: rf"${found[1]}\cdot10^{{{int(found[2])}}}$", text)


def _table(table, caption, label):
    names = [name for name in table.frame.columns if name not in table.prose]
    kept = table._replace(frame=table.frame[names])
    texts = cells(kept)
    frame = pd.DataFrame([[_cell(text) for text in line] for line in texts], columns=_heads(names, texts))
    return frame.to_latex(
        index=False, longtable=True, escape=False, column_format=_columns(kept.frame, texts), caption=latex(caption),
        label=f"tab:{label}",
    ).rstrip()  # fmt: skip


def _cell(text):
    written = latex(text).strip()
    return rf"\textbf{{{written}}}" if text.endswith(f" {BROKEN}") else written


def _heads(names, texts):
    """The names of the columns, in several lines where they are longer than what stands below."""
    longest = [max(map(len, column)) for column in zip(*texts, strict=True)] or [0] * len(names)
    return [
        latex(name) if len(name) <= width else r"\shortstack{" + r"\\".join(latex(name).split()) + "}"
        for name, width in zip(names, longest, strict=True)
    ]


def _columns(frame, texts):
    """The kinds of the columns: numbers to the right, long texts wrapped in what room the others leave."""
    words = [max(name.split(), key=len) for name in frame.columns]
    longest = [max(map(len, column)) for column in zip(words, *texts, strict=True)]
    longest = dict(zip(frame.columns, longest, strict=True))
    wide = {
        name: length
        for name, length in longest.items()
        if length > _WRAPPED and not pd.api.types.is_numeric_dtype(frame[name])
    }
    left = 1 - sum(_LETTER * length for name, length in longest.items() if name not in wide) - _GAP * len(longest)
    kinds = []
    for name in frame.columns:
        if name in wide:
            width = max(0.06, min(_LETTER * wide[name], left * wide[name] / sum(wide.values())))
            kinds.append(rf">{{\raggedright\arraybackslash}}p{{{width:.3f}\linewidth}}")
        else:
            kinds.append("r" if pd.api.types.is_numeric_dtype(frame[name]) else "l")
    return "".join(kinds)
