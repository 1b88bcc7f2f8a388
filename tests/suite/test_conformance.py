"""Why other implementations differ: their conventions, emulated, give their numbers; and the report says so."""

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
from validation.peers.measure import CLOSEST, COMPLEX, DEFAULTS, REFUSED, Gradient, Side, Value
from validation.report import section

CASES = [
    (name, metric, defaults)
    for name, peer in PEERS.items()
    for metric in peer.metrics
    for defaults in ((False, True) if metric in peer.by_default else (False,))
]
# Odd and even sides, three channels, anti-correlation; the largest alone is reduced out of the box by piq.
PAIRS = ("grass-257x191-flatter", "immunohistochemistry-176x176-negative", "colour", "large")


@pytest.fixture(scope="module")
def pairs():
    """By name (img1, img2) of shape (C, H, W) in 0..255."""
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


def usable(name):
    obstacle = PEERS[name].obstacle()
    if obstacle:
        pytest.skip(obstacle)
    return PEERS[name]


def tensors(images, dtype):
    return tuple(torch.from_numpy(np.ascontiguousarray(image))[None].to(dtype) for image in images)


def test_the_emulation_of_wang_is_wang(pairs, emulations):
    for name in PAIRS[:2]:
        figures = golden.values()[name]
        assert emulations[name].value("ssim") == pytest.approx(figures.ssim_index, abs=1e-12)
        assert emulations[name].value("msssim") == pytest.approx(figures.msssim_product, abs=1e-12)
    planes = list(zip(*pairs["colour"], strict=True))
    assert emulations["colour"].value("ssim") == pytest.approx(np.mean([wang.ssim_index(*one)[0] for one in planes]))
    assert emulations["colour"].value("msssim") == pytest.approx(np.mean([wang.msssim(*one) for one in planes]))


def test_every_decision_of_a_peer_has_its_words():
    for peer in PEERS.values():
        for convention in (*peer.conventions.values(), *peer.by_default.values()):
            assert set(convention.differences().items()) <= set(CAUSES)
    assert not WANG.differences()
    assert Convention(halving="dropped", rectified="means").without("halving") == Convention(rectified="means")


@pytest.mark.parametrize("name, metric, defaults", CASES)
def test_the_convention_of_a_peer_gives_its_number(name, metric, defaults, pairs, emulations):
    """To the rounding of its own arithmetic: of a window in float32, or of float32 altogether."""
    peer = usable(name)
    dtype = torch.float64 if "float64" in peer.dtypes else torch.float32
    convention = peer.decisions(metric, defaults)
    function = peer.function(metric, data_range=255, defaults=defaults)
    needed = set(convention.differences().items())
    for pair, images in pairs.items():
        if pair == "large" and ("reduced", True) not in needed:
            continue
        emulated = emulations[pair].value(metric, convention)
        if isinstance(emulated, complex):
            assert math.isnan(function(*tensors(images, dtype)))
        else:
            assert float(function(*tensors(images, dtype))) == pytest.approx(emulated, abs=4e-5)
        needed -= {
            one
            for one in needed
            if abs(emulations[pair].value(metric, convention.without(one[0])) - emulated) > 1e-4
            or (one[0] == "channels" and pair == "colour")  # a small one: below, by itself
        }
    assert not {one for one in needed if one != ("data_range", "255 or 1")}, "makes no difference on any pair"


def test_averaging_the_channels_first_is_another_number():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (2, 176, 176)).astype(np.float64)
    y = np.stack([x[0], generator.integers(0, 256, (176, 176)) / 4 + x[1] / 2])
    emulation = Emulation(x, y, 255.0)
    convention = Convention(channels="averaged", halving="dropped", rectified="means")
    difference = abs(emulation.value("msssim", convention) - emulation.value("msssim", convention.without("channels")))
    assert difference > 1e-4
    value = usable("MONAI").function("msssim", data_range=255)(*tensors((x, y), torch.float32))
    assert float(value) == pytest.approx(emulation.value("msssim", convention), abs=1e-5)


@pytest.mark.parametrize(
    "name, metric", [(name, metric) for name, metric, defaults in CASES if PEERS[name].differentiable and not defaults]
)
def test_the_gradient_of_a_peer_is_that_of_its_convention(name, metric, pairs):
    """Along a direction, against central differences of the emulation."""
    peer = usable(name)
    reference, distorted = pairs["grass-257x191-flatter"]
    direction = np.random.default_rng(1).standard_normal(distorted.shape)
    direction[:, 8:-8, 8:-8] *= 0.2  # borders count
    dtype = torch.float64 if "float64" in peer.dtypes else torch.float32
    x, y = tensors((distorted, reference), dtype)
    peer.function(metric, data_range=255)(x.requires_grad_(), y).backward()
    step, convention = 1e-3, peer.decisions(metric)
    after, before = (
        Emulation(distorted + sign * step * direction, reference, 255.0).value(metric, convention) for sign in (1, -1)
    )
    along = float((x.grad[0].double() * torch.from_numpy(direction)).sum())
    assert along == pytest.approx((after - before) / (2 * step), rel=2e-3)


def test_flat_images_have_no_range_to_guess():
    emulation = Emulation(np.zeros((1, 16, 16)), np.zeros((1, 16, 16)), 255.0)
    assert emulation.value("ssim") == 1.0
    assert math.isnan(emulation.value("ssim", Convention(data_range="spread")))
    assert math.isnan(emulation.value("msssim"))  # no window fits the second scale


@pytest.fixture(scope="module")
def report():
    """The Section of a tiny run."""
    arguments = ["--peers", "pytorch-msssim (original)", "scikit-image", "--backend", "torch", "--limit", "1"]
    about = {}
    threads = torch.get_num_threads()
    (found,) = question.sections(command._parser().parse_args(arguments), about)
    assert torch.get_num_threads() == threads
    assert not PEERS["scikit-image"].obstacle() and "scikit-image" in about["peers"]
    return found


def test_a_run_compares_everything_on_every_kind_of_image(report):
    assert report.verdict == section.PASS, report.summary
    deviations = report.tables[0].frame
    assert list(deviations.columns) == ["peer", "index", *tables.KINDS]
    assert set(deviations.peer) == {"msssim, torch", "pytorch-msssim (original)", "scikit-image"}
    assert len(report.data["peers.csv"]) > 30 and len(report.data["peers_gradients.csv"]) > 10
    summary = report.data["peers.json"]
    original = summary[(summary.peer == "pytorch-msssim (original)") & (summary.metric == "msssim")]
    assert original[original.kind == "odd"].deviation.max() > 1e-3
    assert original[original.dtype == "float64"].left.max() < 1e-7
    assert report.figures[0].image.startswith("<svg")


def test_the_report_names_the_causes_with_what_each_is_worth(report):
    causes = report.tables[1].frame.set_index(["peer", "index", "settings"]).causes
    assert "last scale multiplied in four times" in causes["pytorch-msssim (original)", "MS-SSIM", CLOSEST]
    assert "sample covariance" in causes["scikit-image", "SSIM", DEFAULTS]
    assert causes["scikit-image", "SSIM", CLOSEST] == "none" == causes["msssim, torch", "MS-SSIM", CLOSEST]


def made_of(values=(), gradients=(), sides=(), obstacles=None):
    """The Section of rows made by hand, of this library's backend "torch" and some others."""
    own = [question.ours("torch")]
    shown = [dataclasses.replace(PEERS[name], package="") for name in ("piq", "piqa")]  # installed or not
    first = [Value("msssim, torch", "msssim", CLOSEST, "even", "a", "float32", 0.9, 0.9, 0.0, 0.0, {})]
    return tables.made_of(own, shown, obstacles or {}, [*first, *values], gradients, [], sides)


def row(**fields):
    return Value("piq", "msssim", CLOSEST, "odd", "b", "float32", effects={})._replace(**fields)


def cell(values, kind="odd"):
    return made_of(values).tables[0].frame.set_index("peer").loc["piq", kind]


def test_what_has_no_deviation_is_said_in_words():
    assert cell([row(value=0.5, wang=0.4, deviation=0.1), row(value=0.5, wang=0.5, deviation=0.0)]) == "1e-01"
    assert cell([row(state=REFUSED)]) == "refuses"
    assert cell([row(state=REFUSED), row(value=0.5, wang=0.5, deviation=0.0)]) == "0; refuses 1 of 2"
    assert cell([row(state=COMPLEX, value=0.0)]) == "0 for complex"
    assert cell([row(state=COMPLEX)]) == "NaN for complex"
    assert cell([row(wang=0.5)]) == "NaN"
    assert cell([row(value=0.5)]) == "a number for none"
    assert cell([row()], kind="even") == "–"


def test_a_missing_peer_is_a_row_that_says_why():
    reason = "piq needs piq (No module named 'torchvision'): python -m pip install piq"
    found = made_of(obstacles={"piq": reason})
    frame = found.tables[-1].frame.set_index("peer")
    assert frame.loc["piq", "not measured because"] == reason and frame.loc["piq", "version"] == "–"
    assert "1 could not be imported" in found.summary


def test_a_wrong_value_or_gradient_of_ours_breaks_the_budget():
    assert made_of().verdict == section.PASS
    ours = row(peer="msssim, torch", value=0.9001, wang=0.9, deviation=1e-4)
    assert made_of([ours]).verdict == section.BROKEN
    assert made_of([ours._replace(value=math.nan, deviation=math.nan)]).verdict == section.BROKEN
    assert made_of([ours._replace(state=REFUSED, wang=math.nan, deviation=math.nan)]).verdict == section.PASS
    slope = Gradient("msssim, torch", "msssim", "odd", "b", 1e-3)
    assert made_of(gradients=[slope]).verdict == section.BROKEN
    assert made_of(gradients=[slope._replace(deviation=1e-5)]).verdict == section.PASS


def test_who_is_alike_and_from_which_side_on():
    piqa = row(peer="piqa", value=0.5, wang=0.5, deviation=1e-6)
    found = made_of(
        [piqa, row(value=0.6, wang=0.5, deviation=0.1)], sides=[Side("piqa", 3, 41.0), Side("piqa", 5, 161)]
    )
    assert "Of 2 others with MS-SSIM, 1 (piqa)" in found.summary
    (sides,) = (table.frame for table in found.tables if "3 scales" in table.frame)
    assert sides.set_index("peer").loc["Wang", "6 scales"] == 352 and pd.isna(sides.iloc[1]["6 scales"])
    assert sides.set_index("peer").loc["piqa", "3 scales"] == 41
