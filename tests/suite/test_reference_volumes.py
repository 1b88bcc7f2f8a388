"""The NumPy reference for any number of axes: with two it is Wang's, with three it agrees with long double."""

import numpy as np
import pytest

from reference import longdouble, oracles, volumes, wang


def pair(*shape):
    random = np.random.default_rng(0)
    x = random.random(shape)
    return x, 0.6 * x + 0.4 * random.random(shape)


@pytest.mark.parametrize("shape", [(44, 44), (47, 51)])
def test_two_axes_are_wangs(shape):
    for found, expected in zip(
        volumes.msssim_terms(*pair(*shape), levels=3, data_range=1.0),
        wang.msssim_terms(*pair(*shape), levels=3, data_range=1.0),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64 here")
@pytest.mark.parametrize("shape", [(45,), (13, 14, 15), (12, 15, 12)])
def test_the_value_is_that_of_long_double(shape):
    weights = (0.5, 0.3, 0.2)
    window = {"win_size": (3, 3, 3)[: len(shape)], "sigma": (0.8, 1.0, 1.5)[: len(shape)]}
    expected = longdouble.msssim(*pair(*shape), longdouble.Options(weights=weights, **window), axes=len(shape))
    found = volumes.msssim(*pair(*shape), weights=weights, data_range=1.0, **window)
    assert found == pytest.approx(float(expected.value[0]), abs=1e-13)


@pytest.mark.parametrize("shape", [(30,), (12, 14, 13)])
def test_one_scale_is_scikit_images(shape):
    pytest.importorskip("skimage")
    expected = oracles.skimage_ssim_of_planes(*pair(*shape), 1.0)
    assert volumes.msssim(*pair(*shape), weights=(1.0,), data_range=1.0) == pytest.approx(expected, abs=1e-13)
