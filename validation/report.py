"""The report: Markdown, one self-contained HTML page, and the rows as CSV and JSON."""

import math
import pathlib
import re

import jinja2
import markupsafe
import pandas as pd

from . import dtypes, gradients, plots, rows, stability, values

# The sections in reading order, each with what it asks.
SECTIONS = {
    values.MATLAB: "The value, against what Wang's ssim_index.m and msssim.m returned for the same pixels. Where a mean"
    " of cs is negative the original's product is complex, and the library's has to be NaN (`normalize=None`).",
    values.WANG: "The value, against an independent NumPy implementation of the same papers in float64, each channel of"
    " a colour image by itself.",
    values.SKIMAGE: "SSIM, against skimage.metrics.structural_similarity with Wang's settings, in float64.",
    values.TENSORFLOW: "The value, against tf.image.ssim and tf.image.ssim_multiscale, which compute in float32 and"
    ' clip negative means (`normalize="relu"`). The difference is TensorFlow\'s own rounding. In large flat, bright'
    " areas it grows without a bound that could be promised, so the budget is of the golden pairs alone.",
    values.CLOSED_FORM: "The value, on made images whose index can be written down.",
    gradients.MATLAB: "The gradient, against central differences of Wang's MATLAB code at sampled pixels, for both"
    " arguments; relative to the largest entry of the whole gradient.",
    gradients.FLOAT64: "Every entry of both gradients, against plain PyTorch in float64; relative to the largest entry."
    " Identical images have gradient 0, so theirs is the largest entry × pixels × data_range.",
    gradients.NUMERICAL: "torch.autograd.gradcheck and gradgradcheck in float64: how many modes and methods fail.",
    stability.SECTION: "How many numbers of the value and both gradients are not finite: flat, identical, black,"
    " anti-correlated, extreme and denormal images, K1 = K2 = 0 and mixtures, of 176 × 176 pixels. NaN is documented"
    " for `normalize=None` and the product alone.",
    dtypes.SECTION: "bfloat16, float16 and uint8 images, against float64 on the very same values (0..255, and 0..1"
    " where half precision has to round), and the dtypes of result and gradients.",
}  # fmt: skip

_HEAD = ("quantity", "dataset", "dtype", "backend", "pairs", "worst", "median", "budget", "verdict", "note")
_SIGN = {
    rows.PASS: "✓",
    rows.BROKEN: "✗",
    rows.DOCUMENTED: "·",
    rows.NO_BUDGET: "·",
    rows.SKIPPED: "–",
    rows.REFUSED: "–",
}


def write(folder, summary, table, about, drawn):
    """Write report.html, report.md, plots/, rows.csv, rows.json and pairs.csv; return the path of report.html."""
    folder = pathlib.Path(folder)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    summary.to_csv(folder / "rows.csv", index=False)
    summary.to_json(folder / "rows.json", orient="records", indent=1, double_precision=15, force_ascii=False)
    table.to_csv(folder / "pairs.csv", index=False)
    for plot in drawn:
        (folder / "plots" / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
    (folder / "report.md").write_text(_markdown(summary, about, drawn), encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_html(summary, about, drawn), encoding="utf-8")
    return page


def terminal(summary):
    """A short table: for each section, backend and dtype how many rows, how near the budgets, and the verdict."""
    keys = ["section", "backend", "dtype"]
    lines = [("section", "backend", "dtype", "rows", "error / budget", "verdict")]
    for key, group in summary.groupby(keys, sort=False):
        share = (group.worst / group.budget_worst)[group.budget_worst > 0].max()
        broken = int((group.verdict == rows.BROKEN).sum())
        judged = group.verdict.isin((rows.PASS, rows.BROKEN)).any()
        verdict = f"{broken} BROKEN" if broken else rows.PASS if judged else group.verdict.iloc[0]
        lines.append((*key, str(len(group)), "" if math.isnan(share) else f"{share:.2g}", verdict))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def headline(summary):
    """One sentence for the top of the report."""
    judged = int(summary.verdict.isin((rows.PASS, rows.BROKEN)).sum())
    broken = int((summary.verdict == rows.BROKEN).sum())
    sentence = f"{broken} of {judged} budgets are broken." if broken else f"All {judged} budgets are kept."
    for verdict in (rows.SKIPPED, rows.REFUSED):
        count = int((summary.verdict == verdict).sum())
        if count:
            sentence += f" {count} rows were {verdict}."
    return sentence


def number(value):
    """A short form: counts as they are, errors in two digits, nothing for nothing."""
    if pd.isna(value):
        return ""
    if math.isinf(value):
        return "not finite"
    return f"{value:g}" if value == int(value) else f"{value:.1e}".replace(".0e", "e")


def cells(row):
    """The cells of a row, as text, under _HEAD."""
    limits = [number(row.budget_worst)] + ([f"median {number(row.budget_median)}"] if row.budget_median > 0 else [])
    budget = ", ".join(limit for limit in limits if limit)
    return (
        row.quantity, row.dataset, row.dtype, row.backend, str(row.n), number(row.worst), number(row.median), budget,
        f"{_SIGN[row.verdict]} {row.verdict}", row.note if isinstance(row.note, str) else "",
    )  # fmt: skip


def markdown_table(head, lines):
    """A Markdown table of texts."""
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *escaped))


def _sections(summary):
    """(name, question, rows) of each section that was measured, and first of all what is broken."""
    broken = summary[summary.verdict == rows.BROKEN]
    if len(broken):
        named = broken.assign(quantity=broken.section + ": " + broken.quantity)
        yield "Broken budgets", "From every section.", named
    for section, question in SECTIONS.items():
        found = summary[summary.section == section]
        if len(found):
            yield section, question, found


def _markdown(summary, about, drawn):
    tables = [
        f"## {name}\n\n{question}\n\n" + markdown_table(_HEAD, map(cells, found.itertuples()))
        for name, question, found in _sections(summary)
    ]
    first = int((summary.verdict == rows.BROKEN).any())  # what is broken goes before the plots
    pictures = [f"## {plot.title}\n\n![{plot.title}](plots/{plot.name}.svg)\n\n{plot.caption}" for plot in drawn]
    head = ["# Validation of msssim", headline(summary), markdown_table(("made", "by"), about.items())]
    return "\n\n".join([*head, *tables[:first], *pictures, *tables[first:]]) + "\n"


def _html(summary, about, drawn):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["code"] = _code
    return environment.get_template("template.html").render(
        headline=headline(summary),
        broken=bool((summary.verdict == rows.BROKEN).any()),
        about=about,
        plots=[(plot.title, plot.caption, _themed(plot.svg)) for plot in drawn],
        head=_HEAD,
        sections=[
            (name, question, [(row.verdict, cells(row)) for row in found.itertuples()])
            for name, question, found in _sections(summary)
        ],
        colours={f"{dtype}": colour for dtype, (colour, _) in plots.SERIES.items()},
    )


def _code(text):
    """Markdown's `code` as HTML's."""
    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(markupsafe.escape(text))))


def _themed(svg):
    """The plot in the page's colours, which depend on light or dark."""
    for dtype, (colour, _) in plots.SERIES.items():
        svg = svg.replace(colour, f"var(--{dtype})")
    return svg.replace(plots.INK, "currentColor").replace(plots.GRID, "var(--line)")
