"""The emulated conventions of peers reproduce their values, and the report shows the causes of differences."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

import datasets
from reference import golden, wang
from reference.peers import CAUSES, PEERS, WANG, Convention, Emulation
from validation import __main__ as command
from validation.peers import question, tables
from validation.peers.measure import CLOSEST, COMPLEX, DEFAULTS, REFUSED, Gradient, Measurements, Side, Value
from validation.report import section

CASES = [
    (name, metric, defaults)
    for name, peer in PEERS.items()
    for metric in peer.metrics
    for defaults in ((False, True) if metric in peer.default_conventions else (False,))
]
# Odd and even sides, three channels, negative covariance; only the largest is downsampled by piq's defaults.
PAIRS = ("grass-257x191-flatter", "immunohistochemistry-176x176-negative", "colour", "large")


@pytest.fixture(scope="module")
def pairs():
    """Return (img1, img2) of shape (C, H, W) in 0..255 by name."""
    found, gray, colour = {}, datasets.load("golden"), datasets.load("colour")
    for name in PAIRS[:2]:
        pair = gray[gray.names.index(name)]
        found[name] = pair.reference[None], pair.distorted[None]
    pair = colour[colour.names.index("chelsea-shifted")]
    found["colour"] = tuple(np.moveaxis(image, -1, 0)[:, :179, :193] for image in (pair.reference, pair.distorted))
    generator = np.random.default_rng(0)
    large = generator.integers(0, 256, (1, 400, 390))
    found["large"] = large, (large + generator.integers(0, 256, large.shape)) // 2
    return {name: tuple(image.astype(np.float64) for image in images) for name, images in found.items()}


@pytest.fixture(scope="module")
def emulations(pairs):
    return {name: Emulation(*images, 255.0) for name, images in pairs.items()}


def peer_or_skip(name):
    reason = PEERS[name].unavailable_reason()
    if reason:
        pytest.skip(reason)
    return PEERS[name]


def tensors(images, dtype):
    return tuple(torch.from_numpy(np.ascontiguousarray(image))[None].to(dtype) for image in images)


def test_emulation_without_differences_agrees_with_wang(pairs, emulations):
    for name in PAIRS[:2]:
        figures = golden.values()[name]
        assert emulations[name].value("ssim") == pytest.approx(figures.ssim_index, abs=1e-12)
        assert emulations[name].value("msssim") == pytest.approx(figures.msssim_product, abs=1e-12)
    planes = list(zip(*pairs["colour"], strict=True))
    assert emulations["colour"].value("ssim") == pytest.approx(np.mean([wang.ssim_index(*one)[0] for one in planes]))
    assert emulations["colour"].value("msssim") == pytest.approx(np.mean([wang.msssim(*one) for one in planes]))


def test_every_decision_of_a_peer_is_described():
    for peer in PEERS.values():
        for convention in (*peer.conventions.values(), *peer.default_conventions.values()):
            assert set(convention.differences().items()) <= set(CAUSES)
    assert not WANG.differences()
    assert Convention(downsampling="last dropped", relu="means").without("downsampling") == Convention(relu="means")


@pytest.mark.parametrize("name, metric, defaults", CASES)
@pytest.mark.full_where(name="TensorFlow")
@pytest.mark.full_where(name="kornia")
def test_convention_reproduces_the_value_of_a_peer(name, metric, defaults, pairs, emulations):
    """Within the rounding error of a window in float32, or of arithmetic in float32."""
    peer = peer_or_skip(name)
    dtype = torch.float64 if "float64" in peer.dtypes else torch.float32
    convention = peer.convention(metric, defaults)
    function = peer.function(metric, data_range=255, defaults=defaults)
    needed = set(convention.differences().items())
    for pair, images in pairs.items():
        if pair == "large" and ("downsample_first", True) not in needed:
            continue
        emulated = emulations[pair].value(metric, convention)
        if isinstance(emulated, complex):
            assert math.isnan(function(*tensors(images, dtype)))
        else:
            assert float(function(*tensors(images, dtype))) == pytest.approx(emulated, abs=4e-5)
        needed -= {
            (field, decision)
            for field, decision in needed
            if abs(emulations[pair].value(metric, convention.without(field)) - emulated) > 1e-4
            or (field == "channels" and pair == "colour")  # a small effect, tested separately below
        }
    assert not needed - {("data_range", "255 or 1")}, "a decision has no effect on any pair"


def test_averaging_channels_first_changes_the_value():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (2, 176, 176)).astype(np.float64)
    y = np.stack([x[0], generator.integers(0, 256, (176, 176)) / 4 + x[1] / 2])
    emulation = Emulation(x, y, 255.0)
    convention = Convention(channels="averaged", downsampling="last dropped", relu="means")
    difference = abs(emulation.value("msssim", convention) - emulation.value("msssim", convention.without("channels")))
    assert difference > 1e-4
    value = peer_or_skip("MONAI").function("msssim", data_range=255)(*tensors((x, y), torch.float32))
    assert float(value) == pytest.approx(emulation.value("msssim", convention), abs=1e-5)


@pytest.mark.parametrize(
    "name, metric", [(name, metric) for name, metric, defaults in CASES if PEERS[name].differentiable and not defaults]
)
@pytest.mark.full_where(name="kornia")
def test_gradient_of_a_peer_matches_its_convention(name, metric, pairs):
    """Compare the directional derivative with central differences of the emulation."""
    peer = peer_or_skip(name)
    reference, distorted = pairs["grass-257x191-flatter"]
    direction = np.random.default_rng(1).standard_normal(distorted.shape)
    direction[:, 8:-8, 8:-8] *= 0.2  # emphasizes the borders
    dtype = torch.float64 if "float64" in peer.dtypes else torch.float32
    x, y = tensors((distorted, reference), dtype)
    peer.function(metric, data_range=255)(x.requires_grad_(), y).backward()
    step, convention = 1e-3, peer.convention(metric)
    after, before = (
        Emulation(distorted + sign * step * direction, reference, 255.0).value(metric, convention) for sign in (1, -1)
    )
    along = float((x.grad[0].double() * torch.from_numpy(direction)).sum())
    assert along == pytest.approx((after - before) / (2 * step), rel=2e-3)


def test_constant_images_have_no_range_to_guess():
    emulation = Emulation(np.zeros((1, 16, 16)), np.zeros((1, 16, 16)), 255.0)
    assert emulation.value("ssim") == 1.0
    assert math.isnan(emulation.value("ssim", Convention(data_range="max - min")))
    assert math.isnan(emulation.value("msssim"))  # no window fits the second scale


@pytest.fixture(scope="module")
def report():
    """Return the section of a tiny run."""
    arguments = ["--peers", "pytorch-msssim (original)", "scikit-image", "--backend", "torch", "--limit", "1"]
    about = {}
    threads = torch.get_num_threads()
    (found,) = question.sections(command._parser().parse_args(arguments), about)
    assert torch.get_num_threads() == threads
    assert not PEERS["scikit-image"].unavailable_reason() and "scikit-image" in about["peers"]
    return found


def test_run_covers_every_kind_of_image(report):
    assert report.verdict == section.PASS, report.summary
    deviations = report.tables[0].frame
    assert list(deviations.columns) == ["peer", "index", *tables.KINDS]
    assert set(deviations.peer) == {"msssim, torch", "pytorch-msssim (original)", "scikit-image"}
    assert len(report.data["peers.csv"]) > 30 and len(report.data["peers_gradients.csv"]) > 10
    summary = report.data["peers_summary.csv"]
    original = summary[(summary.peer == "pytorch-msssim (original)") & (summary.metric == "msssim")]
    assert original[original.kind == "odd"].deviation.max() > 1e-3
    assert original[original.dtype == "float64"].residual.max() < 1e-7
    assert report.figures[0].image.startswith("<svg")


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_report_shows_causes_with_their_effects(report):
    causes = report.tables[1].frame.set_index(["peer", "index", "settings"]).causes
    assert "last scale multiplied in four times" in causes["pytorch-msssim (original)", "MS-SSIM", CLOSEST]
    assert "sample covariance" in causes["scikit-image", "SSIM", DEFAULTS]
    assert causes["scikit-image", "SSIM", CLOSEST] == "none" == causes["msssim, torch", "MS-SSIM", CLOSEST]


def make_section(values=(), gradients=(), sides=(), unavailable=None):
    """Return the section of given rows, for this library's backend "torch" and two peers."""
    own = [question.backend_peer("torch")]
    shown = [dataclasses.replace(PEERS[name], package="") for name in ("piq", "piqa")]  # whether installed or not
    first = [Value("msssim, torch", "msssim", CLOSEST, "even", "a", "float32", 0.9, 0.9, 0.0, 0.0, {})]
    measured = Measurements([*first, *values], list(gradients), list(sides))
    return tables.make_section(own, shown, unavailable or {}, measured)


def row(**fields):
    return Value("piq", "msssim", CLOSEST, "odd", "b", "float32", effects={})._replace(**fields)


def cell(values, kind="odd"):
    return make_section(values).tables[0].frame.set_index("peer").loc["piq", kind]


def test_cells_without_deviation_say_why():
    assert cell([row(value=0.5, wang=0.4, deviation=0.1), row(value=0.5, wang=0.5, deviation=0.0)]) == "1e-01"
    assert cell([row(state=REFUSED)]) == "refuses"
    assert cell([row(state=REFUSED), row(value=0.5, wang=0.5, deviation=0.0)]) == "0; refuses 1 of 2"
    assert cell([row(state=COMPLEX, value=0.0)]) == "0 for complex"
    assert cell([row(state=COMPLEX)]) == "NaN for complex"
    assert cell([row(wang=0.5)]) == "NaN"
    assert cell([row(value=0.5)]) == "a number for none"
    assert cell([row()], kind="even") == "–"


def test_missing_peer_is_a_row_with_the_reason():
    reason = "piq needs piq (No module named 'torchvision'): python -m pip install piq"
    found = make_section(unavailable={"piq": reason})
    frame = found.tables[-1].frame.set_index("peer")
    assert frame.loc["piq", "not measured because"] == reason and frame.loc["piq", "version"] == "–"
    assert "1 could not be imported" in found.summary


def test_wrong_value_or_gradient_of_this_library_breaks_the_budget():
    assert make_section().verdict == section.PASS
    ours = row(peer="msssim, torch", value=0.9001, wang=0.9, deviation=1e-4)
    assert make_section([ours]).verdict == section.BROKEN
    assert make_section([ours._replace(value=math.nan, deviation=math.nan)]).verdict == section.BROKEN
    assert make_section([ours._replace(state=REFUSED, wang=math.nan, deviation=math.nan)]).verdict == section.PASS
    gradient = Gradient("msssim, torch", "msssim", "odd", "b", 1e-3)
    assert make_section(gradients=[gradient]).verdict == section.BROKEN
    assert make_section(gradients=[gradient._replace(deviation=1e-5)]).verdict == section.PASS


def test_agreeing_peers_and_smallest_sides():
    piqa = row(peer="piqa", value=0.5, wang=0.5, deviation=1e-6)
    found = make_section(
        [piqa, row(value=0.6, wang=0.5, deviation=0.1)], sides=[Side("piqa", 3, 41.0), Side("piqa", 5, 161)]
    )
    assert "Of 2 others with MS-SSIM, 1 (piqa)" in found.summary
    (sides,) = (table.frame for table in found.tables if "3 scales" in table.frame)
    assert sides.set_index("peer").loc["Wang", "6 scales"] == 352 and pd.isna(sides.iloc[1]["6 scales"])
    assert sides.set_index("peer").loc["piqa", "3 scales"] == 41
