"""The sections of the report on the library against every oracle, made of the table of measurements."""

import pandas as pd

from ..report.section import BROKEN, PASS, Section, Table, number
from . import dtypes, gradients, plots, rows, short, stability, values, worst

# The oracles and checks in reading order, each with what it asks.
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

_IN_SHORT = (
    "The few rows to quote; every one is of a table further down. The golden pairs are those on which Wang's own MATLAB"
    " code was run: gray images of 0..255, of even and odd sizes."
)

# The parts of the report: (name, title, what is told before the tables, the oracles and checks in it).
_PARTS = (
    (
        "values", "Is the value right?",
        "Every pair of images is put to the library and to each oracle that knows it; the error is the absolute"
        " difference, and each row has a budget for the worst and for the median one.",
        (values.MATLAB, values.WANG, values.SKIMAGE, values.TENSORFLOW, values.CLOSED_FORM),
    ),
    (
        "gradients", "Is the gradient right?",
        "Gradients reach both images. Their errors are relative to the largest entry of the whole gradient.",
        (gradients.MATLAB, gradients.FLOAT64, gradients.NUMERICAL),
    ),
    (
        "stability", "Is there ever a NaN?",
        "Value and both gradients have to be finite for every finite input, in every mode of `normalize` that promises"
        " it.",
        (stability.SECTION,),
    ),
    (
        "dtypes", "Are narrow dtypes as exact as they can be?",
        "Narrow images are computed in float32, so that nothing is lost but what the dtype itself cannot hold.",
        (dtypes.SECTION,),
    ),
)  # fmt: skip


def made_of(table, datasets):
    """The sections of a table of measurements (see `rows.frame`): what is broken, the whole in short, each part.

    `datasets` holds the `datasets.Pairs` that were measured, by name.
    """
    summary = rows.summarize(table)
    figures = {name: [] for name, *_ in _PARTS}
    for name, figure in plots.draw(table):
        figures[name].append(figure)
    figures["values"] += worst.figures(table, datasets)
    parts = [*_broken(summary), *_in_short(summary)]
    for name, title, text, asked in _PARTS:
        part = summary[summary.section.isin(asked)]
        if part.empty:
            continue
        found = {section: part[part.section == section] for section in asked}
        found = {section: lines for section, lines in found.items() if len(lines)}
        tables = [_table(f"{section}. {SECTIONS[section]}", lines) for section, lines in found.items()]
        tables.insert(0, _overview(pd.concat(found.values())))
        parts.append(Section(name, title, text, tuple(tables), tuple(figures[name]), _verdict(part), headline(part)))
    data = {"rows.csv": summary, "pairs.csv": table}
    return [parts[0]._replace(data=data), *parts[1:]]


def _broken(summary):
    """A section of what is broken, if anything is."""
    broken = summary[summary.verdict == BROKEN]
    if len(broken):
        named = broken.assign(quantity=broken.section + ": " + broken.quantity)
        table = _table("Broken budgets. These rows of the parts below do not keep what is promised.", named)
        yield Section("broken", "Broken budgets", "", (table,), verdict=BROKEN, summary=headline(summary))


def _in_short(summary):
    """A section of the few rows that people quote, if the golden pairs were measured."""
    frame = short.frame(summary)
    if len(frame):
        caption = (
            "Accuracy over the golden pairs. The errors of the value are absolute, those of the gradient relative to"
            " its largest entry; each is the worst and the median over the pairs, and the budget is of the worst."
        )
        table = Table(caption, frame, {name: number for name in frame.columns if name not in short.KEYS})
        found = {"verdict": _verdict(summary), "summary": headline(summary)}
        yield Section("accuracy", "Accuracy in short", _IN_SHORT, (table,), **found)


def headline(summary):
    """What a table of rows comes to, in one or two sentences."""
    judged = int(summary.verdict.isin((PASS, BROKEN)).sum())
    broken = int((summary.verdict == BROKEN).sum())
    sentence = f"{broken} of {judged} budgets are broken." if broken else f"All {judged} budgets are kept."
    for verdict in (rows.SKIPPED, rows.REFUSED):
        count = int((summary.verdict == verdict).sum())
        if count:
            sentence += f" {count} rows were {verdict}."
    return sentence


def _verdict(summary):
    found = set(summary.verdict)
    return BROKEN if BROKEN in found else PASS if PASS in found else ""


def _overview(summary):
    """For each oracle, backend and dtype how many rows, how near the budgets, and the verdict."""
    keys, lines = ["section", "backend", "dtype"], []
    for key, group in summary.groupby(keys, sort=False):
        share = (group.worst / group.budget_worst)[group.budget_worst > 0].max()
        broken = int((group.verdict == BROKEN).sum())
        lines.append((*key, len(group), broken, share, _verdict(group) or group.verdict.iloc[0]))
    names = ["against", "backend", "dtype", "rows", "broken", "error / budget", "verdict"]
    caption = (
        "How near to the budgets. For each oracle or check, backend and dtype: how many rows there are, how many break"
        " their budget, and the largest share of a budget that an error takes up."
    )
    return Table(caption, pd.DataFrame(lines, columns=names), {"error / budget": lambda share: f"{share:.2g}"})


def _table(caption, found):
    shown = found[
        ["quantity", "dataset", "dtype", "backend", "n", "worst", "budget_worst", "median", "budget_median", "verdict",
         "note"]
    ].rename(columns={"n": "pairs", "budget_worst": "budget", "budget_median": "median's budget"})  # fmt: skip
    errors = ("worst", "budget", "median", "median's budget")
    # A column without a single entry, as the median's budget of counts, says nothing.
    return Table(caption, shown.dropna(axis=1, how="all"), dict.fromkeys(errors, number), prose=("note",))
