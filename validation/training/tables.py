"""The section of the report and the tables of the documents, from the rows of all trainings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..report import section
from ..report.plots import INK, SERIES, new, svg
from . import losses, measure

TITLE = "Stability in real training"
TEXT = (
    f"The first {measure.STEPS} steps of short trainings by Adam. Three small networks start from several random "
    "initializations, half of them PyTorch's default and half He's, and see new crops of photographs at each step: a "
    "denoiser without a bound of its output, an autoencoder that ends in a sigmoid, and a generator of images from "
    "codes that ends in tanh. Under autocast the loss is called inside, with the images in bfloat16 as the network "
    'returns them. Crops of 176 pixels have five scales; crops of 64 pixels have three, with `small="fewer"`.\n\n'
    "Counted are trainings with a NaN or infinity in the loss or a gradient, which ends them; with a step at which all "
    "gradients are zero; with an image whose gradient is zero; and with a step whose gradient has more than "
    f"{measure.EXPLODING} times the median norm of that training. Progress is MS-SSIM of held-out images, with "
    '`normalize="covariance"` for every loss.\n\n'
    "kornia's MS_SSIMLoss includes an L1 term by default. The mean squared error is the control."
)
_COUNTS = ("NaN", "all gradients 0", "an image's gradient 0", "exploding", "no progress")
LARGEST, END = "largest gradient", "median MS-SSIM of the rest"
_CAPTION = (
    "Trainings by loss, crop and precision. The number of trainings in which it happened at least once; the largest "
    "norm of a gradient, in units of the median of its training; and MS-SSIM at the end of those without NaN."
)


def section_of_rows(rows: pd.DataFrame, skipped: Sequence[str] = ()) -> section.Section:
    """Return the section; the modes that promise finite gradients are broken by a single NaN."""
    promised = rows[rows.loss.isin([losses.own_name(mode) for mode in losses.MODES if mode is not None])]
    failed = int(promised.nan_step.notna().sum())
    verdict = section.BROKEN if failed else section.PASS if len(promised) else ""
    summary = f"{failed} of {len(promised)} trainings in the modes for training have a NaN"
    text = "\n\n".join((TEXT, *skipped))
    keys = ["loss", "crop", "precision"]
    formats = {LARGEST: ".1f", END: ".3f"}
    by_network = "Trainings by loss and network. Over both crops and precisions."
    tables = (
        section.Table(_CAPTION, counted(rows, keys), formats),
        section.Table(by_network, counted(rows, ["loss", "network"]), formats),
    )
    return section.Section("training", TITLE, text, tables, (_figure(rows),), verdict, summary)


def counted(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the counts for each combination of the keys, in the order of the rows."""
    found = rows[keys].copy()
    found["trainings"] = 1
    for name, happened in zip(_COUNTS, _events(rows), strict=True):
        found[name] = happened.astype(int)
    found = found.groupby(keys, sort=False).sum().reset_index()
    of_keys = rows.groupby(keys, sort=False)
    largest, ends = of_keys.largest_norm.max(), of_keys.end.median()
    return found.assign(**{LARGEST: largest.to_numpy(), END: ends.to_numpy()})


def _events(rows: pd.DataFrame) -> list[pd.Series]:
    return [
        rows.nan_step.notna(), rows.zero_steps > 0, rows.dead_images > 0, rows.exploding_steps > 0,
        ~(rows.end > rows.start),
    ]  # fmt: skip


# From bad to good; the first that applies to a training is drawn.
_OUTCOMES = {
    "NaN": "float32", "all gradients 0": "float16", "an image's gradient 0": "uint8", "exploding": "float64",
    "none of these": "bfloat16",
}  # fmt: skip


def _figure(rows: pd.DataFrame) -> section.Figure:
    """Plot the share of trainings by the worst that happened, a bar for each loss and precision."""
    lines = list(dict.fromkeys(zip(rows.loss, rows.precision, strict=True)))
    figure, axes = new(0.3 * len(lines) + 1.5)
    outcome = np.select(_events(rows)[:4], list(_OUTCOMES)[:4], default="none of these")
    left = np.zeros(len(lines))
    for name, colour in _OUTCOMES.items():
        shares = [np.mean(outcome[(rows.loss == loss) & (rows.precision == precision)] == name)
                  for loss, precision in lines]  # fmt: skip
        axes.barh(range(len(lines)), shares, left=left, color=SERIES[colour][0], label=name, height=0.7)
        left += shares
    axes.set_yticks(range(len(lines)), [f"{loss}, {precision}" for loss, precision in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of trainings (no unit)")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=len(_OUTCOMES), frameon=False, fontsize=8, labelcolor=INK)
    caption = "Outcomes of trainings. Of each training the first that applies, in the order of the legend."
    return section.Figure("training", caption, svg(figure, "training"))
