"""How well scores agree with opinions: SROCC, KROCC, and PLCC and RMSE after the five-parameter logistic."""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

STATISTICS = ("SROCC", "KROCC", "PLCC", "RMSE")
FEWEST = 10  # with five coefficients, a curve through fewer points says nothing
CONFIDENCE = 0.95

# Where the searches for the curve start: steepness, and centre, of scores brought to 0..1.
_STARTS = [(steepness, centre) for steepness in (4.0, 10.0, 30.0) for centre in (0.25, 0.5, 0.75, 1.0)]
# The centre stays this near to the scores: further out, the curve is an exponential whose coefficients grow without end
# while the error falls by 1e-4 of itself.
_MARGIN = 0.25
# A steeper curve is a step between two neighbouring images, which fits a small database best and says least.
_STEEPEST = 100.0


class Curve(NamedTuple):
    """b1 (1/2 - 1 / (1 + exp(b2 (x - b3)))) + b4 x + b5, by which a score becomes an opinion."""

    b1: float
    b2: float
    b3: float
    b4: float
    b5: float

    def __call__(self, x):
        """The opinion that the curve expects."""
        x = np.asarray(x)
        return self.b1 * (0.5 - special.expit(-self.b2 * (x - self.b3))) + self.b4 * x + self.b5


class Agreement(NamedTuple):
    """The four statistics, NaN where there are too few images for one, and the curve behind the last two, or None."""

    srocc: float
    krocc: float
    plcc: float
    rmse: float
    curve: Curve | None


def agreement(scores, opinions, lower_is_better=False):
    """The statistics of scores for which higher is better against opinions, positive where they agree."""
    x, y = np.asarray(scores, dtype=float), np.asarray(opinions, dtype=float)
    sign = -1.0 if lower_is_better else 1.0
    ranks = tuple(sign * one for one in _by_rank(x, y))
    if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(*ranks, np.nan, np.nan, None)
    curve = fit(x, y)
    return Agreement(*ranks, *_by_value(curve(x), y), curve)


def intervals(scores, opinions, found, lower_is_better=False, resamples=1000, seed=0):
    """(lowest, highest) of each statistic: percentiles over resampled pairs.

    Each resample has a curve of its own, but for its steepness and centre, which stay those of `found`, the Agreement
    of all pairs.
    """
    x, y = np.asarray(scores, dtype=float), np.asarray(opinions, dtype=float)
    random, sign = np.random.default_rng(seed), -1.0 if lower_is_better else 1.0
    columns = _columns(x, found.curve.b2, found.curve.b3) if found.curve else None
    drawn = np.full((resamples, len(STATISTICS)), np.nan)
    for row in drawn:
        chosen = random.integers(len(x), size=len(x))
        row[:2] = sign * np.array(_by_rank(x[chosen], y[chosen]))
        if found.curve:
            row[2:] = _by_value(_fitted(columns[chosen], y[chosen]), y[chosen])
    tail = (1 - CONFIDENCE) / 2
    return [
        tuple(np.quantile(values, (tail, 1 - tail))) if len(values := column[~np.isnan(column)]) else (np.nan, np.nan)
        for column in drawn.T
    ]


def fit(x, y):
    """The Curve of least squares: b1, b4 and b5 follow from b2 and b3, which are searched from several starts."""
    low, span = x.min(), np.ptp(x)
    u = (x - low) / span

    def residuals(shape):
        return _fitted(_columns(u, *shape), y) - y

    bounds = ([0.1, -_MARGIN], [np.inf, 1 + _MARGIN])
    found = [optimize.least_squares(residuals, start, bounds=bounds) for start in _STARTS]
    best = min(found, key=lambda one: (one.x[0] > _STEEPEST, one.cost))
    steepness, centre = best.x
    rise, slope, offset = np.linalg.lstsq(_columns(u, steepness, centre), y, rcond=None)[0]
    return Curve(rise, steepness / span, low + centre * span, slope / span, offset - slope * low / span)


def _columns(x, steepness, centre):
    return np.stack([0.5 - special.expit(-steepness * (x - centre)), x, np.ones_like(x)], axis=1)


def _fitted(columns, y):
    return columns @ np.linalg.lstsq(columns, y, rcond=None)[0]


def _by_rank(x, y):
    """(SROCC, KROCC) with their signs; NaN for fewer than three pairs or all the same values."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan, np.nan
    # The way of computing p-values, which are not used, is the one that costs least.
    return stats.spearmanr(x, y).statistic, stats.kendalltau(x, y, method="asymptotic").statistic


def _by_value(expected, y):
    """(PLCC, RMSE) of what a curve expects."""
    rmse = float(np.sqrt(np.mean((expected - y) ** 2)))
    if np.ptp(expected) == 0 or np.ptp(y) == 0:
        return np.nan, rmse
    return float(np.corrcoef(expected, y)[0, 1]), rmse
