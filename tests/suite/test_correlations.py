"""Agreement statistics: by hand, on known curves, and on MATLAB scores up to the published digits."""

import os

import numpy as np
import pytest

import datasets
from datasets import subjective
from validation.subjective import correlations, tables


def test_rank_correlations_of_four_pairs_by_hand():
    """One swap of neighbours among four: 1 - 6 · 2 / 60 and (5 - 1) / 6. Ties are handled as in Kendall's tau-b."""
    found = correlations.agreement([0.1, 0.2, 0.3, 0.4], [1, 3, 2, 4])
    assert found.srocc == pytest.approx(0.8) and found.krocc == pytest.approx(4 / 6)
    assert np.isnan([found.plcc, found.rmse]).all() and found.curve is None
    assert correlations.agreement([1, 2, 3], [5, 5, 6]).krocc == pytest.approx(2 / np.sqrt(3 * 2))


def test_lower_scores_may_be_better():
    x, y = np.linspace(0.2, 1, 20), np.linspace(90, 10, 20)
    for agree, found in ((1, correlations.agreement(x, y, True)), (-1, correlations.agreement(x, y))):
        assert (found.srocc, found.krocc) == pytest.approx((agree, agree))
        assert found.plcc == pytest.approx(1) and found.rmse == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("curve", [(-40, 30, 0.85, 5, 40), (3, 12, 0.6, -1, 4), (0.8, 60, 0.95, -0.1, 0.5)])
def test_known_curve_is_found(curve):
    x = np.random.default_rng(1).uniform(0.3, 1, 300)
    y = correlations.Curve(*curve)(x)
    found = correlations.agreement(x, y)
    assert found.plcc == pytest.approx(1, abs=1e-8) and found.rmse < 1e-5 * np.ptp(y)
    grid = np.linspace(0.3, 1, 50)
    np.testing.assert_allclose(found.curve(grid), correlations.Curve(*curve)(grid), atol=1e-4 * np.ptp(y))


def test_curve_has_no_step_between_two_images():
    """Without a limit on its steepness, the best curve has a step between two of these images."""
    x = np.concatenate([np.linspace(0.90, 0.94, 12), np.linspace(0.95, 0.99, 12)])
    y = np.where(np.arange(24) < 3, 1.0, 2.0) + np.sin(np.arange(24)) / 10
    curve = correlations.agreement(x, y).curve
    assert curve.b2 * np.ptp(x) <= correlations._MAX_STEEPNESS


def test_intervals_contain_the_value_and_narrow_with_more_images():
    random = np.random.default_rng(2)
    widths = []
    for count in (40, 640):
        x = random.uniform(0.3, 1, count)
        y = correlations.Curve(-40, 20, 0.8, 5, 40)(x) + random.normal(scale=5, size=count)
        found = correlations.agreement(x, y, True)
        ranges = correlations.intervals(x, y, found, True, resamples=200)
        assert all(low < value < high for value, (low, high) in zip(found, ranges, strict=False))
        assert ranges == correlations.intervals(x, y, found, True, resamples=200)
        widths.append([high - low for low, high in ranges])
    assert (np.array(widths[1]) < np.array(widths[0]) / 2).all()


def test_too_few_images_give_nan():
    for x, y in (([], []), ([0.5], [1]), ([0.5, 0.6], [1, 2]), ([0.5] * 12, range(12)), (range(12), [3] * 12)):
        found = correlations.agreement(x, y)
        assert np.isnan(found[:4]).all() and found.curve is None
        if len(x):
            assert np.isnan(correlations.intervals(x, y, found, resamples=5)).all()


def test_four_decimals_are_rounded_or_truncated():
    assert tables.matches_print(0.804453, 0.8044) and tables.matches_print(0.804453, 0.8045)
    assert not tables.matches_print(0.80444, 0.8045) and not tables.matches_print(0.80456, 0.8044)


@pytest.mark.parametrize(("database", "index"), list(tables.PUBLISHED.index))
def test_published_statistics_of_matlab_scores(database, index):
    if not os.environ.get("MSSSIM_DATA"):
        pytest.skip("MSSSIM_DATA is not set")
    try:
        rows, matlab = subjective.score_list(database)[0], subjective.matlab_scores(database)
    except datasets.DatasetMissing as missing:
        pytest.skip(str(missing))
    if matlab is None:
        pytest.skip(f"no MATLAB scores of {database} available")
    printed = tables.PUBLISHED.loc[(database, index)]
    scores = [matlab.scores[row.image][("MS-SSIM", "SSIM").index(index)] for row in rows]
    mos = np.array([row.score for row in rows])
    if not np.isnan(printed.decimals):
        mos = mos.round(int(printed.decimals))
    found = correlations.agreement(scores, mos, database in ("live", "csiq", "a57"))
    assert tables.matches_print(found.srocc, printed.srocc) and tables.matches_print(found.krocc, printed.krocc)
    assert found.plcc == pytest.approx(printed.plcc, abs=1e-3) and found.rmse == pytest.approx(printed.rmse, abs=1e-3)
