"""Benchmark cases, presets, implementations, and the check of results."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from benchmarking import CASE, IMPLEMENTATIONS, TINY, make_implementation

import msssim
from benchmarks import cases, checks, implementations, measure, plots, rows, run, tables
from benchmarks.implementations import OURS, Result
from benchmarks.presets import PRESETS
from reference.peers import PEERS

pytestmark = pytest.mark.usefixtures("one_thread")


def test_wrong_gradient_alone_is_wrong():
    images = cases.images(CASE)
    value, gradient = implementations.by_name("msssim torch").bind(CASE, images)()
    ours, peer = make_implementation("ours", OURS), make_implementation("peer")
    assert checks.check(ours, CASE, Result(value, gradient)).verdict == rows.OK
    for bad in (gradient * 1.001, -gradient, gradient.roll(1, -1)):
        found = checks.check(ours, CASE, Result(value, bad))
        assert found.verdict == rows.WRONG and "gradient" in found.note and found.gradient_error > found.gradient_budget
        assert checks.check(peer, CASE, Result(value, bad)).verdict == rows.DIFFERS
    gradient[0, 0, 3, 3] = float("nan")
    assert checks.check(peer, CASE, Result(value, gradient)).verdict == rows.WRONG


def test_fitting_levels_and_equal_images_in_every_dtype():
    levels = {11: 1, 21: 1, 22: 2, 44: 3, 175: 4, 176: 5, 4096: 5}
    assert {side: cases.fitting_levels((1, 1, side, 500)) for side in levels} == levels
    float32 = [image.double() for image in cases.images(CASE)]
    bfloat16 = [image.double() for image in cases.images(CASE._replace(dtype="bfloat16"))]
    uint8 = [image.double() / 256 for image in cases.images(CASE._replace(dtype="uint8"))]
    for first, *others in zip(float32, bfloat16, uint8, strict=True):
        assert all(torch.equal(first, other) for other in others) and 0 <= first.min() < first.max() < 1


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_rows_have_a_place_for_every_case(preset, device):
    found = [*preset.cases(device), *(cases.Case(*work) for work in preset.memory)]
    for case in found:
        assert cases.size(case.shape) == tables.size(SimpleNamespace(**rows.row(rows.TIME, IMPLEMENTATIONS[0], case)))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_every_metric_and_mode(preset):
    found = PRESETS[preset].cases("cpu")
    assert {(case.metric, case.mode) for case in found} == {
        (metric, mode) for metric in cases.METRICS for mode in cases.MODES
    }
    assert len({case.name for case in found}) == len(found)
    assert "uint8" in {case.dtype for case in found}
    assert all(shape in PRESETS[preset].shapes["msssim"] for shape in PRESETS[preset].compiled)
    assert {case.shape for case in found if PRESETS[preset].compiles(case)} == set(PRESETS[preset].compiled)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_on_cuda_have_large_images(preset):
    found = PRESETS[preset].cases("cuda")
    for metric in cases.METRICS:
        assert f"{metric} forward+backward 8x3x1080x1920 float32 cuda" in {case.name for case in found}
    compiled = [case.shape for case in found if PRESETS[preset].compiles(case)]
    assert {(1, 3, 512, 512), (8, 3, 1080, 1920)} <= set(compiled)
    assert {case.mode for case in found if PRESETS[preset].compiles(case)} >= {cases.FORWARD_BACKWARD}


@pytest.fixture
def few_pixels(monkeypatch):
    """Make batches repeat their images after two small ones."""
    monkeypatch.setattr(cases, "_DISTINCT_VALUES", 2 * 24 * 20)
    for cached in (cases.arrays, checks._expected_values, checks.expected_gradient):
        cached.cache_clear()
    yield
    for cached in (cases.arrays, checks._expected_values, checks.expected_gradient):
        cached.cache_clear()


def test_large_batch_repeats_its_images(few_pixels):
    case = cases.Case("ssim", cases.FORWARD_BACKWARD, (6, 1, 24, 20))
    assert cases.n_distinct(case.shape) == 2 and cases.n_distinct((3, 1, 24, 20)) == 1
    x, y = cases.images(case)
    assert torch.equal(x[:2], x[2:4]) and torch.equal(y[:2], y[4:]) and not torch.equal(x[0], x[1])
    x = x.double().requires_grad_()
    value = msssim.ssim(x, y.double(), backend="torch")
    assert abs(value.item() - checks.expected_value(case)) < 1e-12
    torch.testing.assert_close(
        torch.autograd.grad(value, x)[0], checks.expected_gradient("ssim", case.shape, "float32")
    )


def test_variants_are_found_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = [one.name for one in implementations.all_implementations(["pytorch-msssim"], check=False)]
    assert names[-4:] == [f"pytorch-msssim{way}" for way in ("", ", compiled", ", reduce-overhead", ", graph")]
    assert "msssim triton, graph" in names
    for name in names:
        found = implementations.by_name(name)
        assert found.name == name and found.compiled == name.endswith(("compiled", "reduce-overhead"))
        if name.endswith(("graph", "reduce-overhead")):
            assert (
                found.unsupported_reason(CASE) == "runs on cuda"
                and found.unsupported_reason(CASE._replace(device="cuda")) is None
            )


def test_peers_with_zero_padding_are_timed_with_it_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = [one.name for one in implementations.all_implementations(["fussim", "fused-ssim"], check=False)]
    assert names[-4:] == [f"{peer}{way}" for peer in ("fussim", "fused-ssim") for way in ("", ", zero padding")]
    built = {}

    def build(metric, data_range, weights, defaults):
        built["defaults"] = defaults
        return lambda x, y: x

    monkeypatch.setitem(
        implementations.PEERS,
        "fussim",
        dataclasses.replace(PEERS["fussim"], build=build, module="", min_version="", devices=("cpu",)),
    )
    for name, defaults in (("fussim", False), ("fussim, zero padding", True)):
        found = implementations.by_name(name)
        found.build("ssim", 1.0)
        assert found.name == name and built["defaults"] is defaults
    for preset in PRESETS.values():
        assert cases.Case("ssim", cases.FORWARD_BACKWARD, (5, 5, 1080, 1920), device="cuda") in preset.cases("cuda")


def test_only_matches_names():
    name = f"time {CASE.name}"
    assert name == "time ssim forward+backward 1x1x48x40 float32 cpu"
    assert all(cases.matches(name, patterns) for patterns in ((), ("48x40",), ("nothing", "SSIM*float32")))
    assert not cases.matches(name, ("msssim", "64x"))
    bench = measure.Bench(IMPLEMENTATIONS, TINY)
    plan = run.Plan(TINY, ("cpu",), IMPLEMENTATIONS, ("time*uint8",), (1, 2))
    assert [task.name for task in run._timing_tasks(plan, bench)] == [
        f"time {metric} forward 1x1x48x40 uint8 cpu" for metric in cases.METRICS
    ]
    assert not run._process_tasks(plan, bench, None)


def test_all_implementations_have_version_and_description():
    everyone = implementations.all_implementations(["pytorch-msssim", "pytorch-msssim (original)"])
    names = [one.name for one in everyone]
    assert names[-3:] == ["pytorch-msssim", "pytorch-msssim, compiled", "pytorch-msssim (original)"]
    assert {"msssim torch", "msssim torch, compiled", "msssim numba"} <= set(names)
    assert all(one.description and (one.version or one.unavailable_reason) for one in everyone)
    assert implementations.baseline(everyone, CASE) == f"msssim {msssim.available_backends()[0]}"
    assert implementations.baseline(everyone, CASE._replace(device="mps")) == "msssim torch"
    assert set(plots.STYLES) >= {name for name in names if not name.endswith(implementations.COMPILED)}
