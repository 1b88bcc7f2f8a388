"""Peers are called correctly, and deviate from Wang as their conventions say."""

import dataclasses
import importlib
import math
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import datasets
from reference import wang
from reference.peers import PEERS

CASES = [(name, metric) for name, peer in PEERS.items() for metric in peer.metrics]


@pytest.fixture(scope="module")
def planes():
    """Return two correlated planes of 0..255 with even sides at every scale."""
    pairs = datasets.load("golden")
    pair = pairs[pairs.names.index("immunohistochemistry-176x176-flatter")]
    return pair.reference.astype(np.float64), pair.distorted.astype(np.float64)


def peer_or_skip(name):
    reason = PEERS[name].unavailable_reason()
    if reason:
        pytest.skip(reason)
    return PEERS[name]


def tensors(planes, dtype=torch.float32):
    return tuple(torch.from_numpy(plane)[None, None].to(dtype) for plane in planes)


def test_every_peer_is_described():
    for name, peer in PEERS.items():
        assert peer.name == name and peer.description and "\n" not in peer.description
        assert set(peer.metrics) <= {"ssim", "msssim"} and {"float32"} <= set(peer.dtypes)
        assert bool(peer.install) == bool(peer.package) == bool(peer.module)


def test_packages_are_imported_on_first_use():
    modules = sorted({peer.module.partition(".")[0] for peer in PEERS.values() if peer.module} | {"torch"})
    code = f"import sys, reference.peers; print(*[name for name in {modules} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_missing_peer_error_has_the_install_command():
    peer = dataclasses.replace(PEERS["piqa"], module="no_such_module")
    assert (
        "No module named 'no_such_module'" in peer.unavailable_reason()
        and "python -m pip install piqa" in peer.unavailable_reason()
    )
    with pytest.raises(ImportError, match="python -m pip install piqa"):
        peer.function("ssim")


def test_peer_that_fails_on_import_is_unavailable():
    def load(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    assert "torchvision::nms" in dataclasses.replace(PEERS["piq"], load=load).unavailable_reason()


def test_module_from_another_package_is_detected():
    peer = dataclasses.replace(PEERS["OpenCV, cv2.quality"], module="math")
    assert "this math is from another package" in peer.unavailable_reason()
    incomplete = dataclasses.replace(peer, load=lambda name: types.SimpleNamespace(quality=types.SimpleNamespace()))
    assert "another package" in incomplete.unavailable_reason()
    complete = types.SimpleNamespace(quality=types.SimpleNamespace(QualitySSIM_compute=len))
    assert dataclasses.replace(peer, load=lambda name: complete).unavailable_reason() is None


def test_too_old_version_is_refused():
    def peer(version):
        module = types.SimpleNamespace(__version__=version)
        return dataclasses.replace(PEERS["kornia"], package="not installed", load=lambda name: module)

    assert "needs not installed >= 0.9, got 0.8.2: python -m pip install" in peer("0.8.2").unavailable_reason()
    assert "got unknown" in peer("unknown").unavailable_reason()
    assert all(peer(version).unavailable_reason() is None for version in ("0.9.0", "0.9rc1", "0.10.1"))


def test_unsupported_metric_and_weights_are_refused():
    peer = PEERS["pytorch-msssim (original)"]
    with pytest.raises(ValueError, match=r"metric must be one of ssim, msssim for .*, got 'psnr'"):
        peer.function("psnr")
    with pytest.raises(ValueError, match=r"weights must be None for msssim of"):
        peer.function("msssim", weights=(0.5, 0.5))


@pytest.mark.parametrize("name, metric", CASES)
@pytest.mark.full_where(name="kornia")
@pytest.mark.full_where(name="TensorFlow")
def test_batch_mean_and_gradient(name, metric, planes):
    peer = peer_or_skip(name)
    function = peer.function(metric, data_range=255)
    x, y = tensors(planes)
    one = function(x.requires_grad_(), y)
    many = function(torch.cat([x, y]).detach(), torch.cat([y, y]))
    if peer.differentiable:
        assert one.shape == () and one.dtype.is_floating_point
        one.backward()
        assert x.grad.isfinite().all() and x.grad.any()
        one = one.detach()
    else:
        assert type(one) is float
    # The mean of this pair and of an identical pair; the original formula averages before taking powers.
    assert float(many) == pytest.approx((float(one) + 1) / 2, abs=5e-3 if "original" in name else 1e-5)


# Peers that agree with Wang on even sides, with the tolerance in float32.
TOLERANCES = {
    ("pytorch-msssim", "ssim"): 1e-5,
    ("pytorch-msssim", "msssim"): 1e-5,
    ("pytorch-msssim (original)", "ssim"): 1e-5,
    ("piq", "ssim"): 1e-5,
    ("piq", "msssim"): 1e-5,
    ("piqa", "ssim"): 1e-5,
    ("piqa", "msssim"): 1e-5,
    ("kornia", "ssim"): 1e-5,
    ("MONAI", "ssim"): 1e-5,
    ("MONAI", "msssim"): 1e-5,
    ("fused-ssim", "ssim"): 1e-5,
    ("fussim", "ssim"): 1e-5,
    ("pyiqa", "ssim"): 1e-6,  # no window here has a negative cs, where its ReLU would matter
    ("pyiqa", "msssim"): 1e-6,
    ("scikit-image", "ssim"): 1e-6,
    ("OpenCV, five blurs", "ssim"): 1e-5,
    ("TensorFlow", "ssim"): 1e-5,
    ("TensorFlow", "msssim"): 1e-5,
}


@pytest.mark.parametrize("name, metric", CASES)
@pytest.mark.full_where(name="kornia")
def test_agrees_with_wang_on_even_sides_or_clearly_differs(name, metric, planes):
    function = peer_or_skip(name).function(metric, data_range=255)
    expected = wang.ssim_index(*planes)[0] if metric == "ssim" else wang.msssim(*planes)
    error = abs(float(function(*tensors(planes))) - expected)
    if (name, metric) in TOLERANCES:
        assert error < TOLERANCES[name, metric]
    else:
        assert error > 3e-5, "this peer agrees with Wang: add it to TOLERANCES"


@pytest.mark.parametrize("name", [name for name, peer in PEERS.items() if peer.takes_weights])
def test_weights_reach_the_peer(name, planes):
    weights = (0.2, 0.3, 0.5)
    images = tuple(np.tile(plane, (2, 2)) for plane in planes)  # some peers require the size of five scales
    function = peer_or_skip(name).function("msssim", data_range=255, weights=weights)
    assert float(function(*tensors(images))) == pytest.approx(wang.msssim(*images, weights=weights), abs=5e-4)


def test_original_multiplies_the_last_scale_in_four_times(planes):
    cs, ssim = wang.msssim_terms(*planes)
    weights = wang.WEIGHTS
    expected = math.prod(cs[:4] ** weights[:4]) * ssim[4] ** (4 * weights[4])
    for options in ({"data_range": 255}, {"defaults": True}):  # the range guessed from these images is 255 too
        function = PEERS["pytorch-msssim (original)"].function("msssim", **options)
        assert float(function(*tensors(planes, torch.float64))) == pytest.approx(expected, abs=1e-12)


def test_original_guesses_the_range():
    function = PEERS["pytorch-msssim (original)"].function("ssim", data_range=255, defaults=True)
    x, y = (torch.full((1, 1, 16, 16), value, dtype=torch.float64) for value in (100, 110))

    def luminance(data_range):
        c1 = (0.01 * data_range) ** 2
        return (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)

    assert float(function(x, y)) == pytest.approx(
        luminance(1), abs=1e-6
    )  # dark images in 0..255 count as images in 0..1
    assert float(function(x + 100, y + 100)) > luminance(255)
    assert float(function(x - 101, y - 101)) == pytest.approx((2 * -1 * 9 + 4e-4) / (1 + 81 + 4e-4), abs=1e-6)


def test_torchmetrics_by_default_guesses_the_range(planes):
    peer = peer_or_skip("torchmetrics")
    x, y = tensors(planes, torch.float64)
    given, guessed = (peer.function("ssim", data_range=255, defaults=defaults) for defaults in (False, True))
    value_range = float(max(x.max() - x.min(), y.max() - y.min()))
    assert value_range != 255 and float(guessed(x, y)) != pytest.approx(float(given(x, y)), abs=1e-6)
    assert float(guessed(x, y)) == pytest.approx(float(peer.function("ssim", data_range=value_range)(x, y)), abs=1e-12)


def _migration_table():
    """Return the table of equivalent calls in docs/switching.md: (theirs, ours)."""
    text = (Path(datasets.__file__).parents[1] / "docs/switching.md").read_text(encoding="utf-8")
    table = text.partition("| instead of | write |\n|---|---|\n")[2].partition("\n\n")[0]
    found = re.findall(r"^\| `(.+)` \| `(.+)` \|$", table, re.MULTILINE)
    assert len(found) > 5
    return found


@pytest.mark.filterwarnings("ignore")  # warnings of the peers
@pytest.mark.parametrize(("theirs", "ours"), _migration_table())
def test_migration_table_gives_the_same_number(theirs, ours, pair):
    module = theirs.partition("(")[0].rpartition(".")[0]
    try:
        importlib.import_module(module)
    except Exception as error:  # a package with missing dependencies can raise any type of exception
        pytest.skip(f"{module}: {error}")
    x, y = pair(2, 3, 512, 528, dtype=torch.float32)
    names = {root: importlib.import_module(root) for root in ("msssim", module.partition(".")[0])}
    names |= {"x": x, "y": y, "a": x[0].numpy(), "b": y[0].numpy()}
    expected, found = (torch.as_tensor(eval(code, names)) for code in (theirs, ours))
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=1e-5)
