"""The NumPy version of the fused CPU kernel against Wang's algorithm: values, and gradients by central differences."""

import numpy as np
import pytest

from reference import blocked_sweep, wang

C1, C2 = 0.01**2, 0.03**2
TAPS = wang.gaussian_taps(11, 1.5)


def _pair(shape):
    rng = np.random.default_rng(0)
    x = rng.random(shape)
    return x, 0.7 * x + 0.3 * rng.random(shape)


@pytest.mark.parametrize("shape", [(11, 11), (12, 129), (16, 64), (27, 75), (33, 150), (61, 130)])
def test_values_are_those_of_wang(shape):
    x, y = _pair(shape)
    cs, ssim = wang.msssim_terms(x, y, levels=1, data_range=1)
    for luminance, expected in ((False, cs[0]), (True, ssim[0])):
        value, _ = blocked_sweep.sweep(x, y, TAPS, C1, C2, luminance)
        assert value == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("luminance", [False, True])
def test_gradient_by_central_differences(luminance):
    x, y = _pair((29, 75))
    _, gradient = blocked_sweep.sweep(x, y, TAPS, C1, C2, luminance)
    windows = (29 - 10) * (75 - 10)

    def value(image):
        return wang.msssim_terms(image, y, levels=1, data_range=1)[int(luminance)][0] * windows

    # Corners, both sides of the border between two strips and between two blocks, and the lagging columns at the right.
    for row, column in [(0, 0), (15, 10), (16, 63), (17, 64), (28, 74), (5, 70), (16, 55)]:
        step = np.zeros_like(x)
        step[row, column] = 1e-5
        expected = (value(x + step) - value(x - step)) / 2e-5
        assert gradient[row, column] == pytest.approx(expected, abs=1e-6 * np.abs(gradient).max())
