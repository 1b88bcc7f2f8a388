"""Presets give the numbers of other tools: of the tools where they are installed, else of their formulas."""

import numpy as np
import pytest
import torch

import datasets
import msssim
from reference import tools

SIZES = [(177, 399), (191, 301), (257, 191), (512, 512)]  # the last one is halved by downsample="auto"


def _pairs():
    """A gray natural pair in 0..255 of each size, cut out of different images."""
    pairs = datasets.load("golden")
    for height, width in SIZES:
        for pair in pairs:
            x, y = (np.asarray(image)[:height, :width] for image in (pair.reference, pair.distorted))
            if x.shape == (height, width) and (x != y).any():
                yield x, y
                break


PAIRS = list(_pairs())
assert [x.shape for x, _ in PAIRS] == SIZES


def _ours(x, y, data_range, name):
    x, y = (torch.from_numpy(image.astype(np.float64)) for image in (x, y))
    return msssim.ssim(x, y, data_range=data_range, **msssim.presets[name]).item()


@pytest.mark.parametrize("name", msssim.presets)
def test_a_preset_gives_the_number_of_the_formula(name):
    for x, y in PAIRS:
        for scale in (1, 1 / 255):
            ours = _ours(x * scale, y * scale, 255 * scale, name)
            assert abs(ours - tools.FORMULAS[name](x * scale, y * scale, 255 * scale)) < 1e-9


@pytest.mark.parametrize("name", tools.TOOLS)
def test_a_preset_gives_the_number_of_the_tool(name):
    if not tools.is_installed(name):
        pytest.skip(f"{name} is not installed: its formula is tested alone")
    for x, y in PAIRS:
        if name == "tensorflow":  # in float32, which needs pixels near zero for variances without cancellation
            x, y = x - x.mean(), y - x.mean()
        tolerance = 2e-5 if name == "tensorflow" else 1e-6
        assert abs(_ours(x, y, 255, name) - tools.TOOLS[name][1](x, y, 255.0)) < tolerance


def test_presets_differ_where_the_tools_do():
    x, y = PAIRS[0]
    values = {name: _ours(x, y, 255, name) for name in msssim.presets}
    assert len({round(value, 6) for value in values.values()}) == 6
    assert values["scikit-image"] == values["fastmri"] and values["3dgs"] == values["fused-ssim"]


def test_presets_cannot_be_changed_and_have_no_range():
    assert not any("data_range" in preset for preset in msssim.presets.values())
    msssim.presets["3dgs"]["win_size"] = 3
    assert msssim.presets["3dgs"]["win_size"] == 11 and len(msssim.presets) == 11
    with pytest.raises(TypeError):
        msssim.presets["own"] = {}
    with pytest.raises(KeyError, match=r"preset must be one of 'scikit-image', .* got 'opencv'"):
        msssim.presets["opencv"]
    for name, options in msssim.presets.items():
        image = torch.rand(1, 1, 20, 20)
        assert msssim.SSIM(**options)(image, image) == pytest.approx(1), name
