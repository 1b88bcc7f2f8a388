"""The long-double reference: against Wang's algorithm, scikit-image, its own definition, and central differences."""

import itertools

import numpy as np
import pytest

from reference import longdouble, wang

pytestmark = pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64 here")
LD = np.longdouble


def _pair(*shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random(shape)
    return x, 0.5 * x + 0.5 * rng.random(shape)


@pytest.mark.parametrize("shape", [(44, 44), (47, 61)])
@pytest.mark.parametrize("method", ["product", "wtd_sum"])
def test_value_agrees_with_wang(shape, method):
    x, y = _pair(*shape)
    options = longdouble.Options(255.0, (0.3, 0.3, 0.4), None, method)
    found = longdouble.msssim(255 * x, 255 * y, options)
    expected = wang.msssim(255 * x, 255 * y, weights=options.weights, method=method)
    assert float(found.value[0]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_one_scale_agrees_with_scikit_image(axes):
    metrics = pytest.importorskip("skimage.metrics")
    x, y = _pair(*(15,) * axes)
    expected = metrics.structural_similarity(
        x, y, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    found = longdouble.msssim(x, y, longdouble.Options(weights=(1.0,)), axes=axes)
    assert float(found.value[0]) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("axes, size", [(1, (23,)), (2, (13, 14)), (3, (6, 7, 8))])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalize", [None, "relu", "simple", "covariance"])
@pytest.mark.parametrize("method", ["product", "wtd_sum"])
def test_gradients_by_central_differences(axes, size, masked, normalize, method):
    x, y = _pair(*size)
    mask = np.random.default_rng(1).random(size) * (np.random.default_rng(2).random(size) > 0.2) if masked else None
    options = longdouble.Options(2.0, (0.4, 0.6), normalize, method, win_size=3, sigma=0.8)
    found = longdouble.msssim(x, y, options, mask=mask, axes=axes)
    step = LD(1e-6)
    for which, position in itertools.product(
        (0, 1), [(0,) * axes, tuple(n // 2 for n in size), tuple(n - 1 for n in size)]
    ):
        images = [np.array(image, LD) for image in (x, y)]
        values = []
        for sign in (1, -1):
            images[which][position] += sign * step
            values.append(longdouble.msssim(*images, options, mask=mask, axes=axes).value[0])
            images[which][position] -= sign * step
        gradient = (found.gradient_x, found.gradient_y)[which][0]
        assert abs((values[0] - values[1]) / (2 * step) - gradient[position]) < 1e-9 * abs(gradient).max()


def test_masked_windows_by_a_direct_loop():
    x, y = _pair(9, 10)
    mask = np.random.default_rng(1).random((9, 10)) * (np.random.default_rng(2).random((9, 10)) > 0.4)
    taps = np.array(longdouble.window(2, 5, 1.5)[0], float)
    kernel = np.outer(taps, taps)
    total, weights = 0.0, 0.0
    for i, j in itertools.product(range(5), range(6)):
        m = kernel * mask[i : i + 5, j : j + 5]
        a, b = x[i : i + 5, j : j + 5], y[i : i + 5, j : j + 5]
        weight = m / m.sum()
        mu_x, mu_y = (weight * a).sum(), (weight * b).sum()
        cs = (2 * (weight * (a - mu_x) * (b - mu_y)).sum() + 9e-4) / (
            (weight * ((a - mu_x) ** 2 + (b - mu_y) ** 2)).sum() + 9e-4
        )
        total += m.sum() * cs * (2 * mu_x * mu_y + 1e-4) / (mu_x**2 + mu_y**2 + 1e-4)
        weights += m.sum()
    found = longdouble.msssim(x, y, longdouble.Options(weights=(1.0,), win_size=5), mask=mask)
    assert float(found.value[0]) == pytest.approx(total / weights, abs=1e-14)


def test_black_areas_keep_the_gradient_of_covariance():
    x = np.zeros((22, 40))
    x[:, 20:] = 1
    y = np.full_like(x, 0.05)
    y[:, ::2] = 0.1
    options = longdouble.Options(weights=(1.0,))
    plain, clamped = (longdouble.msssim(x, y, options._replace(normalize=mode)) for mode in (None, "covariance"))
    assert plain.value == clamped.value
    assert np.array_equal(plain.gradient_x, clamped.gradient_x) and np.array_equal(plain.gradient_y, clamped.gradient_y)


def test_zero_denominators_count_as_documented():
    flat, other = np.full((5, 5), 0.25), np.full((5, 5), 0.5)
    options = longdouble.Options(weights=(1.0,), win_size=5, K1=0.0, K2=0.0)
    assert float(longdouble.msssim(flat, other, options).value[0]) == pytest.approx(0.8, abs=1e-15)  # l alone
    assert float(longdouble.msssim(0 * flat, 0 * flat, options).value[0]) == 1


def test_rounding_once_is_of_the_order_of_float32():
    x, y = _pair(24, 30)
    exact, rounded = (
        longdouble.msssim(x, y, longdouble.Options(weights=(1.0,)), round_once=once) for once in (None, np.float32)
    )
    assert 0 < abs(exact.value - rounded.value)[0] < 2e-7
    assert 0 < abs(exact.gradient_x - rounded.gradient_x).max() < 2e-6 * abs(exact.gradient_x).max()


def test_slack_covers_windows_with_a_covariance_of_zero():
    x, _ = _pair(13, 15)
    y = np.full_like(x, 0.5)  # flat: every covariance is zero
    found = longdouble.msssim(x, y, longdouble.Options(weights=(1.0,), normalize="covariance"), rounding=2.0**-24)
    assert (found.slack_y > 0.1 * abs(found.gradient_y).max()).any()
    without = longdouble.msssim(x, y, longdouble.Options(weights=(1.0,)), rounding=2.0**-24)
    assert not without.slack_y.any()
