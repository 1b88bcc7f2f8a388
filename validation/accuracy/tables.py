"""The sections of the report on accuracy, made from the table of measurements."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

import datasets

from ..report.section import BROKEN, PASS, Figure, Section, Table, number
from . import dtypes, gradients, options, plots, rows, short, stability, streams, values, volumes, worst

# The oracles and checks in the order of the report.
SECTIONS = {
    values.MATLAB: "The value, against Wang's ssim_index.m and msssim.m for the same pixels. Where a mean"
    " of cs is negative the original's product is complex, and the library's must be NaN (`normalize=None`).",
    values.WANG: "The value, against an independent NumPy implementation of the same papers in float64, averaged over"
    " the channels of colour images.",
    values.LONG_DOUBLE: "The value in the modes that the original does not have, against an independent NumPy"
    " implementation in long double, of images of up to 256 x 256 pixels.",
    values.SKIMAGE: "SSIM, against skimage.metrics.structural_similarity with Wang's settings, in float64.",
    values.TENSORFLOW: "The value, against tf.image.ssim and tf.image.ssim_multiscale, which compute in float32 and"
    ' clip negative means (`normalize="relu"`). The difference is TensorFlow\'s own rounding. In large flat, bright'
    " areas it grows without a bound, so only the golden pairs have a budget.",
    values.CLOSED_FORM: "The value, on generated images whose index has a closed form.",
    gradients.MATLAB: "The gradient, against central differences of Wang's MATLAB code at sampled pixels, for both"
    " arguments; relative to the largest entry of the whole gradient.",
    gradients.FLOAT64: "Every entry of both gradients, against plain PyTorch in float64; relative to the largest entry."
    " The gradient of identical images is 0; for them it is the largest entry × pixels × data_range.",
    gradients.NUMERICAL: "torch.autograd.gradcheck and gradgradcheck in float64: how many modes and methods fail.",
    options.MASKS: "Value and gradients with `mask`, against an independent NumPy implementation in long double, in"
    " plain PyTorch. The pixels under a weight of 0 are NaN.",
    options.INSTEAD: "How far other numbers are from SSIM with a mask of ones and zeros, in float64: a difference of"
    " definitions, not an error.",
    options.PADDING: "SSIM with `padding`, against wang.py of images padded by NumPy.",
    options.PRESETS: "SSIM with the options of `msssim.presets`, against the formulas of the tools in float64.",
    stability.SECTION: "The number of entries of value and gradients that are not finite, for flat, identical, black,"
    " anti-correlated, extreme and denormal images, K1 = K2 = 0 and mixtures, of 176 × 176 pixels. NaN is documented"
    " for the product with `normalize=None` only.",
    volumes.SECTION: "The value, against an independent NumPy implementation for any number of axes and against"
    " skimage.metrics.structural_similarity; the gradient, against plain PyTorch in float64.",
    streams.SECTION: "`msssim.stream` over blocks of rows of NumPy arrays: how many of the value and the terms differ"
    " in a bit from `msssim.msssim` in memory with the same backend, for several numbers of rows, and the error of the"
    " value against wang.py.",
    dtypes.SECTION: "bfloat16, float16 and uint8 images, against float64 images of the same values (0..255, and 0..1,"
    " which half precision rounds), and the dtypes of result and gradients.",
}  # fmt: skip

_IN_SHORT = (
    "The most important rows of the tables below. The golden pairs are those on which Wang's MATLAB code was run: gray"
    " images in 0..255, of even and odd sizes."
)

# The sections of the report: (name, title, text before the tables, oracles and checks).
_PARTS = (
    (
        "values", "Is the value right?",
        "The error is the absolute difference between library and oracle. Each row has a budget for the largest"
        " error, and for the median error.",
        (values.MATLAB, values.WANG, values.LONG_DOUBLE, values.SKIMAGE, values.TENSORFLOW, values.CLOSED_FORM),
    ),
    (
        "gradients", "Is the gradient right?",
        "Errors of the gradients of both images are relative to the largest entry of the whole gradient.",
        (gradients.MATLAB, gradients.FLOAT64, gradients.NUMERICAL),
    ),
    (
        "options", "Are masks, padding and presets right?",
        "Options that Wang's code does not have.",
        (options.MASKS, options.INSTEAD, options.PADDING, options.PRESETS),
    ),
    (
        "volumes", "Are signals and volumes right?",
        "Value errors are absolute, gradient errors relative to the largest entry.",
        (volumes.SECTION,),
    ),
    (
        "stream", "Does reading in blocks change a bit?",
        "`msssim.stream` has to give the bits of the same images in memory.",
        (streams.SECTION,),
    ),
    (
        "stability", "Are value and gradients finite?",
        "Value and both gradients must be finite for all finite images, in each mode of `normalize` that says so.",
        (stability.SECTION,),
    ),
    (
        "dtypes", "Are narrow dtypes accurate?",
        "Images of narrow dtypes are computed in float32: the only loss is the rounding of the images and gradients.",
        (dtypes.SECTION,),
    ),
)  # fmt: skip


def make_sections(table: pd.DataFrame, measured: Mapping[str, datasets.Pairs]) -> list[Section]:
    """Return the sections for a table of measurements (see `rows.frame`); `measured` has the datasets by name."""
    summary = rows.summarize(table)
    figures: dict[str, list[Figure]] = {name: [] for name, *_ in _PARTS}
    for name, figure in plots.draw(table):
        figures[name].append(figure)
    figures["values"] += worst.figures(table, measured)
    parts = sections_of_rows(summary, figures)
    data = {"rows.csv": summary, "pairs.csv": table}
    return [parts[0]._replace(data=data), *parts[1:]]


def sections_of_rows(summary: pd.DataFrame, figures: Mapping[str, Sequence[Figure]]) -> list[Section]:
    """Return the sections for the rows of a report (see `rows.summarize`), with the figures of each by name."""
    parts = [*_broken(summary), *_in_short(summary)]
    for name, title, text, oracles in _PARTS:
        part = summary[summary.section.isin(oracles)]
        if part.empty:
            continue
        found = {section: part[part.section == section] for section in oracles}
        found = {section: lines for section, lines in found.items() if len(lines)}
        tables = [_table(f"{section}. {SECTIONS[section]}", lines) for section, lines in found.items()]
        tables.insert(0, _overview(pd.concat(found.values())))
        drawn, verdict = tuple(figures.get(name, ())), _verdict(part)
        parts.append(Section(name, title, text, tuple(tables), drawn, verdict, headline(part)))
    return parts


def _broken(summary: pd.DataFrame) -> Iterator[Section]:
    """Yield a section of the broken budgets, if there are any."""
    broken = summary[summary.verdict == BROKEN]
    if len(broken):
        named = broken.assign(quantity=broken.section + ": " + broken.quantity)
        table = _table("Broken budgets. These rows of the sections below exceed their budget.", named)
        yield Section("broken", "Broken budgets", "", (table,), verdict=BROKEN, summary=headline(summary))


def _in_short(summary: pd.DataFrame) -> Iterator[Section]:
    """Yield a section of the most important rows, if the golden pairs were measured."""
    frame = short.frame(summary)
    if len(frame):
        caption = (
            "Accuracy over the golden pairs. Largest and median error; the budget is for the largest. Errors of values"
            " are absolute, those of gradients relative to the largest entry."
        )
        table = Table(caption, frame, {name: number for name in frame.columns if name not in short.KEYS})
        verdict, sentence = _verdict(summary), headline(summary)
        yield Section("accuracy", "Accuracy in short", _IN_SHORT, (table,), verdict=verdict, summary=sentence)


def headline(summary: pd.DataFrame) -> str:
    """Return a summary of the rows in one or two sentences."""
    judged = int(summary.verdict.isin((PASS, BROKEN)).sum())
    broken = int((summary.verdict == BROKEN).sum())
    sentence = f"{broken} of {judged} budgets are broken." if broken else f"All {judged} budgets are met."
    for verdict in (rows.SKIPPED, rows.REFUSED):
        count = int((summary.verdict == verdict).sum())
        if count:
            sentence += f" {count} rows were {verdict}."
    return sentence


def _verdict(summary: pd.DataFrame) -> str:
    found = set(summary.verdict)
    return BROKEN if BROKEN in found else PASS if PASS in found else ""


def _overview(summary: pd.DataFrame) -> Table:
    """Return for each oracle, backend and dtype the number of rows, the largest error / budget, and the verdict."""
    keys, lines = ["section", "backend", "dtype"], []
    for key, group in summary.groupby(keys, sort=False):
        quotient = (group.worst / group.budget_worst)[group.budget_worst > 0].max()
        broken = int((group.verdict == BROKEN).sum())
        lines.append((*key, len(group), broken, quotient, _verdict(group) or group.verdict.iloc[0]))
    names = ["against", "backend", "dtype", "rows", "broken", "error / budget", "verdict"]
    caption = (
        "Errors in relation to the budgets. For each oracle or check, backend and dtype: the number of rows, the number"
        " of broken budgets, and the largest quotient of error and budget."
    )
    return Table(caption, pd.DataFrame(lines, columns=names), {"error / budget": lambda quotient: f"{quotient:.2g}"})


def _table(caption: str, found: pd.DataFrame) -> Table:
    shown = found[
        ["quantity", "dataset", "dtype", "backend", "n", "worst", "budget_worst", "median", "budget_median", "verdict",
         "note"]
    ].rename(columns={"n": "pairs", "budget_worst": "budget", "budget_median": "median's budget"})  # fmt: skip
    errors = ("worst", "budget", "median", "median's budget")
    # Empty columns, such as the median's budget of counts, are left out.
    return Table(caption, shown.dropna(axis=1, how="all"), dict.fromkeys(errors, number), prose=("note",))
