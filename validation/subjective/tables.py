"""The section of the report on the opinion of people, made of the scores of the databases."""

import math
import pathlib
from typing import NamedTuple

import numpy as np
import pandas as pd

from .. import tolerances
from ..report import plots
from ..report.section import BROKEN, PASS, Figure, Section, Table
from . import correlations

# The indices: title, column of our scores, column of MATLAB's.
INDICES = (
    ("MS-SSIM", "msssim", "msssim_matlab"),
    ("MS-SSIM, wtd_sum", "msssim_wtd_sum", None),
    ("SSIM", "ssim", "ssim_matlab"),
)
PUBLISHED = pd.read_csv(pathlib.Path(__file__).parent / "published.csv").set_index(["database", "index"])
_ALL = "all"
_TEXT = (
    "Images are scored as those who published figures did: one gray plane by MATLAB's rgb2gray, in whole levels of"
    ' 0..255; SSIM by the rule of ssim.m, which averages and skips pixels first (`downsample="auto"`). SROCC and KROCC'
    " compare the order of scores and opinions; PLCC and RMSE compare values, after the five-parameter logistic"
    " b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5 has been fitted.\n\n"
    "Where a database is here in part, so are its statistics. Those of few images say little, and their intervals no"
    " more: a sample of five images in perfect order is in that order however it is drawn. What holds even so is the"
    " difference from the score that Wang's MATLAB code gave for the same image."
    "\n\nPublished figures: Z. Wang and Q. Li, Information content weighting for perceptual image quality assessment,"
    " IEEE Transactions on Image Processing 20(5), 2011, Table I; those of TID2013 from Lin Zhang's page on"
    " full-reference metrics, which has the scores of MATLAB's code too."
)


class Database(NamedTuple):
    """What is known of a database."""

    name: str
    count: int
    table: pd.DataFrame
    """A row for each image of the whole database: pair, distortion, opinion, our scores and MATLAB's where known."""
    note: str
    problems: list
    lower: bool
    """Whether a lower opinion is better."""
    decimals: int | None
    """Of MATLAB's scores, or None where there are none."""


def made_of(databases, resamples):
    """The section, as a list of one."""
    agreement = pd.DataFrame([row for one in databases for row in _agreement(one, resamples)])
    deviations = pd.DataFrame([row for one in databases for row in _deviations(one)])
    reproduced = pd.DataFrame([row for one in databases for row in _reproduced(one)])
    problems = pd.DataFrame(
        [(one.name, problem) for one in databases for problem in one.problems], columns=["database", "problem"]
    )
    tables = [_overview(agreement)] if len(agreement) else []
    judged = [frame for frame in (deviations, reproduced) if len(frame)]
    if len(problems):
        tables.append(Table("Files that cannot be used. They were left out.", problems, prose=("problem",)))
    tables += _judged_tables(deviations, reproduced)
    if len(agreement) and (agreement.distortion != _ALL).any():
        tables.append(_by_type(agreement))
    pairs = pd.concat([one.table.assign(database=one.name) for one in databases], ignore_index=True)
    broken = sum(int((frame.verdict == BROKEN).sum()) for frame in judged)
    verdict = BROKEN if broken or len(problems) else PASS if judged else ""
    data = {
        "human.csv": agreement,
        "human.json": agreement,
        "human-matlab.csv": deviations,
        "human-statistics.csv": reproduced,
        "human-pairs.csv": pairs[pairs[[*_OURS]].notna().any(axis=1)],
    }
    figures = tuple(figure for one in databases if (figure := scatter(one)))
    summary = _sentence(databases, deviations, reproduced, len(problems))
    return [Section("human", "Does it agree with people?", _TEXT, tuple(tables), figures, verdict, summary, data)]


_OURS = tuple(ours for _, ours, _ in INDICES)


def _agreement(one, resamples):
    """For each index, of all images and of each kind of distortion: the statistics with their intervals."""
    for title, ours, _ in INDICES:
        scored = one.table[one.table[ours].notna()]
        if scored.empty:
            continue
        for distortion, part in [(_ALL, scored), *scored.groupby("distortion", sort=False)]:
            found = correlations.agreement(part[ours], part.opinion, one.lower)
            ranges = correlations.intervals(part[ours], part.opinion, found, one.lower, resamples)
            row = {"database": one.name, "distortion": distortion, "index": title, "images": len(part)}
            row["of"] = one.count if distortion == _ALL else int((one.table.distortion == distortion).sum())
            for name, value, (low, high) in zip(correlations.STATISTICS, found, ranges, strict=False):
                row |= {name: value, f"{name} low": low, f"{name} high": high}
            yield row


def _deviations(one):
    """For each index: how far our scores are from MATLAB's, and whether that is within the decimals they have."""
    for title, ours, matlab in INDICES:
        known = one.table[one.table[ours].notna() & one.table[matlab].notna()] if matlab else one.table[:0]
        if known.empty:
            continue
        errors = (known[ours] - known[matlab]).abs()
        budget = tolerances.PRINTED_SCORE if one.decimals <= 6 else tolerances.FULL_SCORE
        yield {
            "database": one.name,
            "index": title,
            "images": len(known),
            "worst": errors.max(),
            "median": errors.median(),
            "budget": budget,
            "verdict": PASS if errors.max() <= budget else BROKEN,
            "worst image": known.pair[errors.idxmax()],
        }


def _reproduced(one):
    """For each index: the statistics of MATLAB's scores of the whole database, and what was published of them."""
    for title, _, matlab in INDICES:
        if (one.name, title) not in PUBLISHED.index or one.decimals is None or one.table[matlab].isna().any():
            continue
        printed = PUBLISHED.loc[(one.name, title)]
        opinions = one.table.opinion
        if not np.isnan(printed.decimals):
            opinions = opinions.round(int(printed.decimals))
        found = correlations.agreement(one.table[matlab], opinions, one.lower)
        kept = all(in_print(getattr(found, name), printed[name]) for name in ("srocc", "krocc")) and all(
            abs(getattr(found, name) - printed[name]) <= tolerances.FITTED_STATISTIC for name in ("plcc", "rmse")
        )
        row = {"database": one.name, "index": title, "images": len(one.table)}
        for name in correlations.STATISTICS:
            row |= {name: getattr(found, name.lower()), f"{name} published": printed[name.lower()]}
        remark = printed.remark if isinstance(printed.remark, str) else ""
        yield {**row, "verdict": PASS if kept else BROKEN, "remark": remark}


def in_print(value, printed):
    """Whether a value has the four decimals that are printed, rounded or cut off."""
    return printed in (round(value, 4), math.floor(value * 1e4) / 1e4)


def _overview(agreement):
    shown = _shown(agreement[agreement.distortion == _ALL])
    for name in correlations.STATISTICS:
        place = shown.columns.get_loc(name) + 1
        keys = zip(shown.database, shown["index"], strict=True)
        printed = [PUBLISHED[name.lower()].get(key, np.nan) for key in keys]
        shown.insert(place, f"{name} published", printed)
    caption = (
        f"Agreement with people. Of the images that are here, with {correlations.CONFIDENCE:.0%} bootstrap intervals;"
        " beside it what was published of the whole database."
    )
    return Table(
        caption, shown.drop(columns="distortion"), {f"{name} published": "g" for name in correlations.STATISTICS}
    )


def _by_type(agreement):
    caption = (
        "Agreement by kind of distortion. PLCC and RMSE, with a curve for each kind, where there are"
        f" {correlations.FEWEST} images or more."
    )
    return Table(caption, _shown(agreement[(agreement.distortion != _ALL) & agreement.SROCC.notna()]))


def _shown(agreement):
    shown = agreement[["database", "distortion", "index"]].copy()
    shown["images"] = [f"{row.images} of {row.of}" for row in agreement.itertuples()]
    for name in correlations.STATISTICS:
        columns = zip(agreement[name], agreement[f"{name} low"], agreement[f"{name} high"], strict=True)
        shown[name] = [
            "" if np.isnan(value) else f"{value:.4f} [{low:.3f}, {high:.3f}]" for value, low, high in columns
        ]
    return shown.reset_index(drop=True)


def _judged_tables(deviations, reproduced):
    if len(deviations):
        caption = (
            "Difference from MATLAB's score of the same image. Six published decimals are met when the difference is"
            f" at most {tolerances.PRINTED_SCORE:g}; scores published in full, {tolerances.FULL_SCORE:g}."
        )
        yield Table(caption, deviations, {"worst": ".2e", "median": ".2e", "budget": "g"}, prose=("worst image",))
    if len(reproduced):
        caption = (
            "The statistics themselves. Of the scores of Wang's MATLAB code for whole databases, images here or not:"
            " SROCC and KROCC have to be those in print, rounded or cut off after the last digit, PLCC and RMSE to"
            f" within {tolerances.FITTED_STATISTIC:g}."
        )
        formats = dict.fromkeys(correlations.STATISTICS, ".4f")
        formats |= {f"{name} published": "g" for name in correlations.STATISTICS}
        yield Table(caption, reproduced, formats, prose=("remark",))


def _sentence(databases, deviations, reproduced, problems):
    parts = [f"{sum(int(one.table['msssim'].notna().sum()) for one in databases)} images of {len(databases)} databases"]
    if len(deviations):
        worst = ", ".join(
            f"{group.worst.max():.2e} where they have {'six decimals' if budget == tolerances.PRINTED_SCORE else 'all'}"
            for budget, group in deviations.groupby("budget", sort=False)
        )
        parts.append(f"differences from MATLAB's scores are at most {worst}")
    if len(reproduced):
        kept = int((reproduced.verdict == PASS).sum())
        parts.append(f"{kept} of {len(reproduced)} published sets of statistics are reproduced")
    if problems:
        parts.append(f"{problems} files cannot be used")
    return "; ".join(parts) + "."


def scatter(one):
    """Scores against opinions with the fitted curve, a panel for each index, or None where no score is known."""
    panels = [index for index in INDICES if _points(one, index)]
    if not panels:
        return None
    figure, axes = plots.new(3.4, ncols=len(panels), sharey=True)
    axes, whole = np.atleast_1d(axes), False
    for axis, index in zip(axes, panels, strict=True):
        for column, colour, size, layer in _points(one, index):
            known = one.table[one.table[column].notna()]
            style = {"s": size, "color": colour, "alpha": 0.5, "linewidths": 0, "rasterized": len(known) > 1000}
            axis.scatter(known[column], known.opinion, zorder=layer, **style)
            whole |= column.endswith("_matlab")
        column = _points(one, index)[0][0]
        known = one.table[one.table[column].notna()]
        curve = correlations.agreement(known[column], known.opinion, one.lower).curve
        if curve:
            x = np.linspace(known[column].min(), known[column].max(), 200)
            axis.plot(x, curve(x), color=plots.INK, linewidth=1.4, zorder=4)
        axis.set_xlabel(index[0])
    axes[0].set_ylabel(f"opinion ({'lower' if one.lower else 'higher'} is better)")
    ours = f" A mark for each of {one.note}." if one.table[[*_OURS]].notna().any(axis=None) else ""
    curves = " The curve is the fitted five-parameter logistic."
    if whole:
        curves += " The small marks, and the curves of their panels, are of MATLAB's scores for the whole database."
    caption = f"Score against opinion, {one.name}.{ours}{curves}"
    name = f"human-{one.name}"
    return Figure(name, caption, plots.svg(figure, name))


def _points(one, index):
    """(column, colour, size, layer) of what to draw, first what the curve is fitted to."""
    _, ours, matlab = index
    partly = int(one.table[ours].notna().sum()) < len(one.table)
    drawn = []
    if matlab and partly and one.table[matlab].notna().any():
        drawn.append((matlab, plots.SERIES["uint8"][0], 5, 2))
    if one.table[ours].notna().any():
        drawn.append((ours, plots.SERIES["float64"][0], 16, 3))
    return drawn
