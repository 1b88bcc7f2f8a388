"""The oracles against each other: results of Wang's code, his algorithm in NumPy, scikit-image and TensorFlow."""

import csv
import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import datasets
from reference import golden, oracles, wang

GOLDEN, GRADIENTS = datasets.load("golden"), datasets.load("golden-gradients")
SOME = ("camera-512x512-brighter", "chelsea-299x451-noisy", "coffee-400x600-boxed")


@pytest.mark.parametrize("index", range(len(GOLDEN)), ids=GOLDEN.names)
def test_wang_in_numpy_agrees_with_matlab(index):
    pair, expected = GOLDEN[index], golden.values()[GOLDEN.names[index]]
    x, y = pair.reference, pair.distorted
    assert wang.ssim_index(x, y)[0] == pytest.approx(expected.ssim_index, rel=0, abs=1e-11)
    cs, ssim = wang.msssim_terms(x, y)
    np.testing.assert_allclose(cs, expected.cs, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ssim, expected.ssim, rtol=0, atol=1e-11)
    product = wang.msssim(x, y)
    assert isinstance(product, complex) == (expected.msssim_product.imag != 0)
    assert abs(product - expected.msssim_product) <= 1e-11
    assert wang.msssim(x, y, method="wtd_sum") == pytest.approx(expected.msssim_wtd_sum, rel=0, abs=1e-11)


def test_some_products_are_complex():
    assert sum(values.msssim_product.imag != 0 for values in golden.values().values()) > 1


@pytest.mark.parametrize("pair", GRADIENTS, ids=GRADIENTS.names)
def test_golden_gradients_are_central_differences_of_wang(pair):
    gradients = golden.gradients()[pair.name]
    assert {part.shape for part in gradients} == {(12,)}
    functions = {
        "msssim_product": wang.msssim,
        "msssim_wtd_sum": functools.partial(wang.msssim, method="wtd_sum"),
        "ssim_index": lambda x, y: wang.ssim_index(x, y)[0],
    }
    for key, function in functions.items():
        expected = getattr(gradients, key)
        sample = np.abs(expected).argmax()
        step = np.zeros(pair.distorted.shape)
        step[gradients.row[sample], gradients.column[sample]] = 0.01
        x, y = pair.reference, pair.distorted
        difference = (function(x, y + step) - function(x, y - step)) / 0.02
        assert difference == pytest.approx(expected[sample], rel=1e-5), key


def test_golden_tables_and_pairs_have_the_same_names():
    assert GOLDEN.names == tuple(golden.values())
    assert set(GRADIENTS.names) == set(golden.gradients())


@pytest.mark.parametrize("name", datasets.load("synthetic").names)
def test_wang_agrees_with_closed_forms(name):
    pairs = datasets.load("synthetic")
    pair = pairs[pairs.names.index(name)]
    images, options = (pair.reference, pair.distorted), {"data_range": pair.data_range}
    values = {
        "ssim": wang.ssim_index(*images, **options)[0],
        "msssim": wang.msssim(*images, **options),
        "msssim_wtd_sum": wang.msssim(*images, **options, method="wtd_sum"),
    }
    for key, value in pair.expected.items():
        assert values[key] == pytest.approx(value, rel=0, abs=1e-11), key
    assert isinstance(values["msssim"], complex) == ("msssim" not in pair.expected)


def test_whole_exponents_keep_a_negative_term_real():
    pair = next(pair for pair in datasets.load("synthetic") if pair.name == "checks-inverted")
    value = wang.msssim(pair.reference, pair.distorted, weights=(1, 2))
    cs, ssim = wang.msssim_terms(pair.reference, pair.distorted, levels=2)
    assert isinstance(value, float) and value == pytest.approx(cs[0] * ssim[1] ** 2) and value < 0


def test_zero_denominators():
    black, white = np.zeros((16, 16)), np.full((16, 16), 2.0)  # squares of 0 and 2 are exact: so are the zero variances
    taps = {"win_size": 3, "sigma": 1e9}  # three equal taps, but for rounding
    no_constants = {"K1": 0, "K2": 0, **taps}
    assert wang.ssim_index(black, black, **no_constants)[0] == 1  # no denominator
    assert wang.ssim_index(black, white, K1=0.01, K2=0, **taps)[0] == pytest.approx(2.55**2 / (4 + 2.55**2))  # l alone
    signs = np.where(np.indices((16, 16)).sum(0) % 2, 1.0, -1.0)
    cs, ssim = wang.msssim_terms(black, signs, levels=1, **no_constants)
    assert abs(cs[0]) < 1e-12 and abs(ssim[0]) < 1e-12  # no denominator is zero
    assert wang.msssim_terms(black, black, levels=1, **no_constants)[0] == 1


@pytest.mark.parametrize(
    "factor, expected",
    [
        (1, [0, 1, 2, 3, 4]),
        (2, [0.5, 2.5, 4]),  # the centre of two is the first; the last pixel is averaged with its own copy
        (3, [1 / 3, 3]),  # 0 0 1, 2 3 4
        (4, [(0 + 0 + 1 + 2) / 4, (3 + 4 + 4 + 3) / 4]),  # the centre of four is the second
    ],
)
def test_downsampling_by_hand(factor, expected):
    np.testing.assert_allclose(wang.downsample(np.tile(np.arange(5.0), (5, 1)), factor)[0], expected)
    np.testing.assert_allclose(wang.downsample(np.tile(np.arange(5.0), (5, 1)).T, factor)[:, 0], expected)


def test_gray():
    image = np.array([[[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert wang.rgb2gray(image).tolist() == [[255, 76, 150, 29]]
    assert wang.rgb2gray(image[..., 0]).tolist() == image[..., 0].tolist()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wang.msssim(np.zeros((175, 300)), np.zeros((175, 300))), "at least 176 pixels"),
        (lambda: wang.ssim_index(np.zeros((20, 20)), np.zeros((20, 21))), r"\(20, 20\) and \(20, 21\)"),
        (lambda: wang.ssim_index(np.zeros((20, 20, 3)), np.zeros((20, 20, 3))), r"planes \(H, W\)"),
        (lambda: wang.msssim(np.zeros((176, 176)), np.zeros((176, 176)), method="sum"), "'wtd_sum', got 'sum'"),
    ],
)
def test_wang_refuses_invalid_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", SOME)
def test_scikit_image_agrees_with_wang(name):
    pair = GOLDEN[GOLDEN.names.index(name)]
    value = oracles.skimage_ssim(pair.reference, pair.distorted, pair.data_range)
    assert value == pytest.approx(golden.values()[name].ssim_index, rel=0, abs=1e-11)


@pytest.mark.parametrize("name", SOME)
def test_tensorflow_agrees_with_wang_in_float32(name):
    _tensorflow_or_skip()
    pair, expected = GOLDEN[GOLDEN.names.index(name)], golden.values()[name]
    images = pair.reference, pair.distorted, pair.data_range
    assert oracles.tf_ssim(*images) == pytest.approx(expected.ssim_index, rel=0, abs=1e-4)
    assert oracles.tf_msssim(*images) == pytest.approx(expected.msssim_product.real, rel=0, abs=1e-4)


def test_oracles_take_the_mean_over_channels():
    colours = datasets.load("colour")
    pair = colours[colours.names.index("chelsea-noisy")]
    channels = [(pair.reference[..., c], pair.distorted[..., c]) for c in range(3)]
    ssim = np.mean([wang.ssim_index(x, y)[0] for x, y in channels])
    images = pair.reference, pair.distorted, pair.data_range
    assert oracles.skimage_ssim(*images) == pytest.approx(ssim, rel=0, abs=1e-11)
    _tensorflow_or_skip()
    assert oracles.tf_ssim(*images) == pytest.approx(ssim, rel=0, abs=1e-4)
    assert oracles.tf_msssim(*images) == pytest.approx(
        np.mean([wang.msssim(x, y) for x, y in channels]), rel=0, abs=1e-4
    )


@pytest.mark.parametrize(
    "oracle, module, package",
    [
        ("skimage_ssim", "skimage.metrics", "scikit-image"),
        ("tf_ssim", "tensorflow", "tensorflow-cpu"),
        ("tf_msssim", "tensorflow", "tensorflow-cpu"),
    ],
)
def test_error_for_a_missing_package_names_it(monkeypatch, oracle, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"python -m pip install {package}"):
        oracles.ORACLES[oracle](np.zeros((20, 20)), np.zeros((20, 20)), 1.0)


def test_import_loads_numpy_only():
    code = (
        "import sys, reference.golden, reference.oracles, reference.wang; reference.golden.values();"
        "print(*{'msssim', 'torch', 'datasets', 'skimage', 'tensorflow', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert done.stdout.split() == []


@pytest.mark.full
def test_tensorflow_starts_without_messages():
    _tensorflow_or_skip()
    code = "import numpy as np; from reference.oracles import tf_ssim; x = np.ones((20, 20)); print(tf_ssim(x, x, 1.0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    assert (done.stdout, done.stderr) == ("1.0\n", "")


@pytest.mark.parametrize("database, count, tolerance", [("TID2013", 6, 1e-10), ("LIVE", 8, 5.1e-7)])
def test_published_scores_of_databases(database, count, tolerance):
    """Lin Zhang's files give what Wang's MATLAB code returned: all digits for TID2013, six decimals for LIVE."""
    image = pytest.importorskip("PIL.Image")
    root = Path(os.environ.get("MSSSIM_DATA") or pytest.skip("MSSSIM_DATA is not set")) / "iqa"
    if not (root / f"{database}_matlab_scores.csv").is_file():
        pytest.skip(f"no {database} in MSSSIM_DATA")
    with open(root / f"{database}.txt", newline="") as table, open(root / f"{database}_matlab_scores.csv") as scores:
        rows = [{**row, **score} for row, score in zip(csv.DictReader(table), csv.DictReader(scores), strict=True)]
    available = [
        row for row in rows if (root / row["dis_img_path"]).is_file() and (root / row["ref_img_path"]).is_file()
    ]
    if not available:
        pytest.skip(f"no images of {database} in MSSSIM_DATA")
    for row in available[:: max(1, len(available) // count)]:
        x, y = (wang.rgb2gray(np.array(image.open(root / row[key]))) for key in ("ref_img_path", "dis_img_path"))
        name = row["dis_img_path"]
        assert wang.ssim(x, y) == pytest.approx(float(row["ssim_matlab"]), rel=0, abs=tolerance), name
        assert wang.msssim(x, y) == pytest.approx(float(row["msssim_matlab"]), rel=0, abs=tolerance), name


def _root():
    return Path(wang.__file__).parent.parent


def _tensorflow_or_skip():
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed: python -m pip install tensorflow-cpu")
