"""The report section on subjective scores: tables and scatter plots."""

import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .. import tolerances
from ..report import plots
from ..report.section import BROKEN, PASS, Figure, Section, Table
from . import correlations


class Index(NamedTuple):
    """An index that is compared with subjective scores."""

    title: str
    column: str
    """The column of this library's scores."""
    matlab_column: str | None
    """The column of the MATLAB scores."""


INDICES = (
    Index("MS-SSIM", "msssim", "msssim_matlab"),
    Index("MS-SSIM, wtd_sum", "msssim_wtd_sum", None),
    Index("SSIM", "ssim", "ssim_matlab"),
)
_COLUMNS = [index.column for index in INDICES]
PUBLISHED = pd.read_csv(pathlib.Path(__file__).parent / "published.csv").set_index(["database", "index"])
_ALL = "all"
_TITLE = "Does the index agree with subjective scores?"
_TEXT = (
    "Images are scored as in the published evaluations: one gray plane by MATLAB's rgb2gray in integer levels 0..255,"
    ' and SSIM with the downsampling of ssim.m (`downsample="auto"`). SROCC and KROCC compare the order of the index'
    " with the order of the subjective scores. PLCC and RMSE compare values after a fit of the five-parameter logistic"
    " b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5.\n\n"
    "If only some images of a database are available, the statistics are of those images. Statistics of few images are"
    " uncertain, and so are their intervals: five images in perfect order are in perfect order in every resample. The"
    " difference from the score of Wang's MATLAB code for the same image does not depend on the number of images."
    "\n\nPublished values: Z. Wang and Q. Li, Information content weighting for perceptual image quality assessment,"
    " IEEE Transactions on Image Processing 20(5), 2011, Table I; for TID2013 Lin Zhang's page on full-reference"
    " metrics, which also has the scores of the MATLAB code."
)


class Database(NamedTuple):
    """The scores of a database."""

    name: str
    n_images: int
    """The number of distorted images in the complete database."""
    table: pd.DataFrame
    """One row per image of the complete database: pair, distortion, mos, and the scores that are known."""
    note: str
    problems: list[str]
    lower_is_better: bool
    """Whether a lower subjective score means better quality."""
    decimals: int | None
    """The number of decimals of the MATLAB scores; None if there are none."""


def make_section(databases: Sequence[Database], resamples: int) -> Section:
    """Return the section of the report."""
    agreement = pd.DataFrame([row for database in databases for row in _agreement(database, resamples)])
    deviations = pd.DataFrame([row for database in databases for row in _deviations(database)])
    reproduced = pd.DataFrame([row for database in databases for row in _reproduced(database)])
    problems = pd.DataFrame(
        [(database.name, problem) for database in databases for problem in database.problems],
        columns=["database", "problem"],
    )
    tables = [_overview(agreement)] if len(agreement) else []
    if len(problems):
        tables.append(Table("Files that cannot be used. They were left out.", problems, prose=("problem",)))
    tables += _budget_tables(deviations, reproduced)
    if len(agreement) and (agreement.distortion != _ALL).any():
        tables.append(_by_distortion(agreement))
    pairs = pd.concat([database.table.assign(database=database.name) for database in databases], ignore_index=True)
    budgeted = [frame for frame in (deviations, reproduced) if len(frame)]
    broken = sum(int((frame.verdict == BROKEN).sum()) for frame in budgeted)
    verdict = BROKEN if broken or len(problems) else PASS if budgeted else ""
    data = {
        "subjective.csv": agreement,
        "subjective-matlab.csv": deviations,
        "subjective-statistics.csv": reproduced,
        "subjective-pairs.csv": pairs[pairs[_COLUMNS].notna().any(axis=1)],
    }
    figures = tuple(figure for database in databases if (figure := scatter(database)))
    summary = _summary(databases, deviations, reproduced, len(problems))
    return Section("subjective", _TITLE, _TEXT, tuple(tables), figures, verdict, summary, data)


def _agreement(database: Database, resamples: int) -> Iterator[dict[str, Any]]:
    """Yield the statistics with intervals of each index, over all images and by distortion."""
    for index in INDICES:
        scored = database.table[database.table[index.column].notna()]
        if scored.empty:
            continue
        for distortion, part in [(_ALL, scored), *scored.groupby("distortion", sort=False)]:
            found = correlations.agreement(part[index.column], part.mos, database.lower_is_better)
            intervals = correlations.intervals(part[index.column], part.mos, found, database.lower_is_better, resamples)
            row = {"database": database.name, "distortion": distortion, "index": index.title, "images": len(part)}
            same = database.table.distortion == distortion
            row["of"] = database.n_images if distortion == _ALL else int(same.sum())
            for name, interval in zip(correlations.STATISTICS, intervals, strict=True):
                value = getattr(found, name.lower())
                row |= {name: value, f"{name} low": interval.low, f"{name} high": interval.high}
            yield row


def _deviations(database: Database) -> Iterator[dict[str, Any]]:
    """Yield for each index the differences from the MATLAB scores, and whether they are within their precision."""
    for index in INDICES:
        if index.matlab_column is None or database.decimals is None:
            continue
        known = database.table.dropna(subset=[index.column, index.matlab_column])
        if known.empty:
            continue
        errors = (known[index.column] - known[index.matlab_column]).abs()
        budget = tolerances.PRINTED_SCORE if database.decimals <= 6 else tolerances.FULL_SCORE
        yield {
            "database": database.name,
            "index": index.title,
            "images": len(known),
            "worst": errors.max(),
            "median": errors.median(),
            "budget": budget,
            "verdict": PASS if errors.max() <= budget else BROKEN,
            "worst image": known.pair[errors.idxmax()],
        }


def _reproduced(database: Database) -> Iterator[dict[str, Any]]:
    """Yield for each index the statistics of the MATLAB scores of the complete database, and the published ones."""
    for index in INDICES:
        if (database.name, index.title) not in PUBLISHED.index or database.decimals is None:
            continue
        if database.table[index.matlab_column].isna().any():
            continue
        published = PUBLISHED.loc[(database.name, index.title)]
        mos = database.table.mos
        if not np.isnan(published.decimals):
            mos = mos.round(int(published.decimals))
        found = correlations.agreement(database.table[index.matlab_column], mos, database.lower_is_better)
        ranks_match = all(matches_print(getattr(found, name), published[name]) for name in ("srocc", "krocc"))
        fits_match = all(
            abs(getattr(found, name) - published[name]) <= tolerances.FITTED_STATISTIC for name in ("plcc", "rmse")
        )
        row = {"database": database.name, "index": index.title, "images": len(database.table)}
        for name in correlations.STATISTICS:
            row |= {name: getattr(found, name.lower()), f"{name} published": published[name.lower()]}
        remark = published.remark if isinstance(published.remark, str) else ""
        yield {**row, "verdict": PASS if ranks_match and fits_match else BROKEN, "remark": remark}


def matches_print(value: float, printed: float) -> bool:
    """Return whether a value has the four printed decimals, either rounded or truncated."""
    return printed in (round(value, 4), math.floor(value * 1e4) / 1e4)


def _overview(agreement: pd.DataFrame) -> Table:
    shown = _shown(agreement[agreement.distortion == _ALL])
    for name in correlations.STATISTICS:
        keys = zip(shown.database, shown["index"], strict=True)
        published = [PUBLISHED[name.lower()].get(key, np.nan) for key in keys]
        shown.insert(shown.columns.get_loc(name) + 1, f"{name} published", published)
    caption = (
        f"Agreement with subjective scores. Of the available images, with {correlations.CONFIDENCE:.0%} bootstrap"
        " intervals, beside the published values of the complete database."
    )
    formats = {f"{name} published": "g" for name in correlations.STATISTICS}
    return Table(caption, shown.drop(columns="distortion"), formats)


def _by_distortion(agreement: pd.DataFrame) -> Table:
    caption = (
        "Agreement by type of distortion. PLCC and RMSE are given for types with at least"
        f" {correlations.MIN_FOR_FIT} images; each type has its own curve."
    )
    return Table(caption, _shown(agreement[(agreement.distortion != _ALL) & agreement.SROCC.notna()]))


def _shown(agreement: pd.DataFrame) -> pd.DataFrame:
    shown = agreement[["database", "distortion", "index"]].copy()
    shown["images"] = [f"{row.images} of {row.of}" for row in agreement.itertuples()]
    for name in correlations.STATISTICS:
        columns = zip(agreement[name], agreement[f"{name} low"], agreement[f"{name} high"], strict=True)
        shown[name] = [
            "" if np.isnan(value) else f"{value:.4f} [{low:.3f}, {high:.3f}]" for value, low, high in columns
        ]
    return shown.reset_index(drop=True)


def _budget_tables(deviations: pd.DataFrame, reproduced: pd.DataFrame) -> Iterator[Table]:
    if len(deviations):
        caption = (
            "Difference from the MATLAB score of the same image. The budget is"
            f" {tolerances.PRINTED_SCORE:g} for scores with six decimals, and {tolerances.FULL_SCORE:g} for scores in"
            " full precision."
        )
        yield Table(caption, deviations, {"worst": ".2e", "median": ".2e", "budget": "g"}, prose=("worst image",))
    if len(reproduced):
        caption = (
            "Reproduction of published statistics. From the scores of Wang's MATLAB code for complete databases. SROCC"
            " and KROCC must match the printed digits, rounded or truncated; PLCC and RMSE must match within"
            f" {tolerances.FITTED_STATISTIC:g}."
        )
        formats = dict.fromkeys(correlations.STATISTICS, ".4f")
        formats |= {f"{name} published": "g" for name in correlations.STATISTICS}
        yield Table(caption, reproduced, formats, prose=("remark",))


def _summary(databases: Sequence[Database], deviations: pd.DataFrame, reproduced: pd.DataFrame, problems: int) -> str:
    scored = sum(int(database.table["msssim"].notna().sum()) for database in databases)
    parts = [f"{scored} images of {len(databases)} databases"]
    if len(deviations):
        worst = ", ".join(
            f"{group.worst.max():.2e} for scores "
            + ("with six decimals" if budget == tolerances.PRINTED_SCORE else "in full precision")
            for budget, group in deviations.groupby("budget", sort=False)
        )
        parts.append(f"largest difference from the MATLAB scores: {worst}")
    if len(reproduced):
        matching = int((reproduced.verdict == PASS).sum())
        parts.append(f"{matching} of {len(reproduced)} published sets of statistics are reproduced")
    if problems:
        parts.append(f"{problems} files cannot be used")
    return "; ".join(parts) + "."


def section_of_rows(agreement: pd.DataFrame, deviations: pd.DataFrame, reproduced: pd.DataFrame) -> Section:
    """Return the section for the tables of an earlier run, without the images' scores."""
    shown = [_overview(agreement), *_budget_tables(deviations, reproduced)]
    if (agreement.distortion != _ALL).any():
        shown.append(_by_distortion(agreement))
    verdicts = {verdict for frame in (deviations, reproduced) if len(frame) for verdict in frame.verdict}
    verdict = BROKEN if BROKEN in verdicts else PASS if verdicts else ""
    return Section("subjective", _TITLE, _TEXT, tuple(shown), (), verdict)


class _Points(NamedTuple):
    """Points of a scatter plot."""

    column: str
    colour: str
    size: float
    zorder: int


def scatter(database: Database) -> Figure | None:
    """Plot subjective scores over each index with the fitted curve; None if no score is known."""
    panels = [index for index in INDICES if _points(database, index)]
    if not panels:
        return None
    figure, axes = plots.new(3.4, ncols=len(panels), sharey=True)
    axes = np.atleast_1d(axes)
    matlab = False
    for axis, index in zip(axes, panels, strict=True):
        points = _points(database, index)
        for one in points:
            known = database.table[database.table[one.column].notna()]
            style = {"s": one.size, "color": one.colour, "alpha": 0.5, "linewidths": 0, "rasterized": len(known) > 1000}
            axis.scatter(known[one.column], known.mos, zorder=one.zorder, **style)
            matlab |= one.column == index.matlab_column
        scores = database.table[points[0].column]
        curve = correlations.agreement(
            scores.dropna(), database.table.mos[scores.notna()], database.lower_is_better
        ).curve
        if curve:
            x = np.linspace(scores.min(), scores.max(), 200)
            axis.plot(x, curve(x), color=plots.INK, linewidth=1.4, zorder=4)
        axis.set_xlabel(index.title)
    axes[0].set_ylabel(f"subjective score ({'lower' if database.lower_is_better else 'higher'} is better)")
    ours = f" One mark per image, {database.note}." if database.table[_COLUMNS].notna().any(axis=None) else ""
    curves = " The curve is the fitted five-parameter logistic."
    if matlab:
        curves += " Small marks, and the curves of their panels, are MATLAB scores of the complete database."
    name = f"subjective-{database.name}"
    caption = f"Index and subjective score, {database.name}.{ours}{curves}"
    return Figure(name, caption, plots.svg(figure, name))


def _points(database: Database, index: Index) -> list[_Points]:
    """Return what to draw; the curve is fitted to the first."""
    scored = database.table[index.column].notna()
    drawn = []
    if index.matlab_column and not scored.all() and database.table[index.matlab_column].notna().any():
        drawn.append(_Points(index.matlab_column, plots.SERIES["uint8"][0], 5, 2))
    if scored.any():
        drawn.append(_Points(index.column, plots.SERIES["float64"][0], 16, 3))
    return drawn
