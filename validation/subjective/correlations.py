"""Agreement of an index with subjective scores: SROCC, KROCC, and PLCC and RMSE after a five-parameter logistic fit."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

STATISTICS = ("SROCC", "KROCC", "PLCC", "RMSE")
MIN_FOR_FIT = 10  # with five coefficients, a curve through fewer points is meaningless
CONFIDENCE = 0.95

# Start values of the fit: steepness and centre, for scores scaled to 0..1.
_STARTS = [(steepness, centre) for steepness in (4.0, 10.0, 30.0) for centre in (0.25, 0.5, 0.75, 1.0)]
# How far the centre may lie outside the scores. Further outside, the curve is an exponential whose coefficients grow
# without bound while the error decreases by a factor of 1e-4 only.
_MARGIN = 0.25
# A steeper curve is a step between two neighbouring images, which fits a small database best but is meaningless.
_MAX_STEEPNESS = 100.0


class Curve(NamedTuple):
    """The logistic b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5, which maps an index to a subjective score."""

    b1: float
    b2: float
    b3: float
    b4: float
    b5: float

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Return the predicted subjective scores."""
        x = np.asarray(x)
        predicted: np.ndarray = self.b1 * (0.5 - special.expit(-self.b2 * (x - self.b3))) + self.b4 * x + self.b5
        return predicted


class Agreement(NamedTuple):
    """The four statistics, NaN where there are too few images, and the curve behind PLCC and RMSE, or None."""

    srocc: float
    krocc: float
    plcc: float
    rmse: float
    curve: Curve | None


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def agreement(index: ArrayLike, mos: ArrayLike, lower_is_better: bool = False) -> Agreement:
    """Compare an index, for which higher is better, with subjective scores (MOS or DMOS).

    Parameters
    ----------
    index, mos : array-like of float
        The index and the subjective score of each image.
    lower_is_better : bool
        Whether a lower subjective score means better quality. SROCC and KROCC are positive if index and scores agree.
    """
    x, y = np.asarray(index, dtype=float), np.asarray(mos, dtype=float)
    sign = -1.0 if lower_is_better else 1.0
    srocc, krocc = _rank_correlations(x, y)
    if len(x) < MIN_FOR_FIT or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(sign * srocc, sign * krocc, np.nan, np.nan, None)
    curve = fit(x, y)
    return Agreement(sign * srocc, sign * krocc, *_fit_statistics(curve(x), y), curve)


def intervals(
    index: ArrayLike,
    mos: ArrayLike,
    found: Agreement,
    lower_is_better: bool = False,
    resamples: int = 1000,
) -> list[Interval]:
    """Return a bootstrap confidence interval of each statistic, from percentiles over resampled images.

    The curve is fitted to each resample, except for steepness and centre, which stay those of `found`, the agreement of
    all images.
    """
    x, y = np.asarray(index, dtype=float), np.asarray(mos, dtype=float)
    random, sign = np.random.default_rng(0), -1.0 if lower_is_better else 1.0
    design = _design_matrix(x, found.curve.b2, found.curve.b3) if found.curve else None
    samples = np.full((resamples, len(STATISTICS)), np.nan)
    for row in samples:
        chosen = random.integers(len(x), size=len(x))
        row[:2] = sign * np.array(_rank_correlations(x[chosen], y[chosen]))
        if design is not None:
            row[2:] = _fit_statistics(_least_squares(design[chosen], y[chosen]), y[chosen])
    return [_interval(column[~np.isnan(column)]) for column in samples.T]


def _interval(values: np.ndarray) -> Interval:
    if not len(values):
        return Interval(np.nan, np.nan)
    tail = (1 - CONFIDENCE) / 2
    return Interval(*np.quantile(values, (tail, 1 - tail)))


def fit(x: np.ndarray, y: np.ndarray) -> Curve:
    """Fit the curve by least squares: search b2 and b3 from several starts; b1, b4 and b5 follow linearly."""
    low, span = x.min(), np.ptp(x)
    u = (x - low) / span

    def residuals(parameters: np.ndarray) -> np.ndarray:
        return _least_squares(_design_matrix(u, *parameters), y) - y

    bounds = ([0.1, -_MARGIN], [np.inf, 1 + _MARGIN])
    found = [optimize.least_squares(residuals, start, bounds=bounds) for start in _STARTS]
    best = min(found, key=lambda one: (one.x[0] > _MAX_STEEPNESS, one.cost))
    steepness, centre = best.x
    rise, slope, offset = np.linalg.lstsq(_design_matrix(u, steepness, centre), y, rcond=None)[0]
    return Curve(rise, steepness / span, low + centre * span, slope / span, offset - slope * low / span)


def _design_matrix(x: np.ndarray, steepness: float, centre: float) -> np.ndarray:
    return np.stack([0.5 - special.expit(-steepness * (x - centre)), x, np.ones_like(x)], axis=1)


def _least_squares(design: np.ndarray, y: np.ndarray) -> np.ndarray:
    fitted: np.ndarray = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return fitted


def _rank_correlations(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return signed SROCC and KROCC; NaN for fewer than three images or for constant values."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    # "asymptotic" is the fastest method for the p-value, which is not used.
    return stats.spearmanr(x, y).statistic, stats.kendalltau(x, y, method="asymptotic").statistic


def _fit_statistics(predicted: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return PLCC and RMSE of predicted subjective scores."""
    rmse = float(np.sqrt(np.mean((predicted - y) ** 2)))
    if np.ptp(predicted) == 0 or np.ptp(y) == 0:
        return np.nan, rmse
    return float(np.corrcoef(predicted, y)[0, 1]), rmse
