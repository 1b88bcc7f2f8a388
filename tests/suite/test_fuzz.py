"""Random calls: they depend on the seed alone, and errors are found, shrunk and reported."""

import functools
import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from msssim.backends import torch_backend
from reference import longdouble
from validation import __main__ as command
from validation import fuzz
from validation.fuzz import check, draws, question, shrink

pytestmark = pytest.mark.skipif(not longdouble.available(), reason="long double has no more digits than float64 here")


def _equal(one, other):
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("x", "y", "mask"))
    return arrays and one._replace(x=0, y=0, mask=0) == other._replace(x=0, y=0, mask=0)


def test_a_call_depends_on_its_seed_and_number_alone():
    first = draws.draw(3, 8)
    draws.draw(3, 9)
    assert _equal(first, draws.draw(3, 8))
    assert not _equal(first, draws.draw(4, 8))


def test_every_kind_and_dtype_is_drawn_with_values_of_its_dtype():
    many = [draws.draw(0, index) for index in range(400)]
    assert {draw.kind for draw in many} == set(draws.KINDS)
    assert {draw.dtype for draw in many} == set(draws.DTYPES)
    assert {draw.axes for draw in many} == {1, 2, 3}
    for draw in many:
        for image in (draw.x, draw.y):
            assert np.isfinite(image).all()
            assert np.array_equal(torch.from_numpy(image).to(getattr(torch, draw.dtype)).double().numpy(), image)


def _pair(dtype="float64"):
    x = np.random.default_rng(0).random((1, 20, 24))
    options = longdouble.Options(weights=(0.5, 0.5), normalize="simple", win_size=5)
    return fuzz.Draw("noise", draws.round_to_dtype(x, dtype), draws.round_to_dtype(x**2, dtype), dtype, options)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_correct_call_is_within_its_budgets(dtype):
    (outcome,) = check.check([_pair(dtype)], "torch")
    assert outcome.failures == []
    assert outcome.counts["budgets checked"] == 1


@pytest.mark.parametrize("axes", [1, 3])
def test_a_signal_and_a_volume_are_within_their_budgets(axes):
    numbers = (number for number in itertools.count() if draws.batch(1, number)[0].axes == axes)
    outcomes = [
        outcome for number in itertools.islice(numbers, 3) for outcome in check.check(draws.batch(1, number), "torch")
    ]
    assert [outcome.failures for outcome in outcomes] == [[]] * len(outcomes)
    assert any(outcome.counts["budgets checked"] for outcome in outcomes)


def test_a_failing_volume_is_shrunk_and_printed(planted):
    x = np.random.default_rng(0).random((1, 7, 8, 9)) / 2
    options = longdouble.Options(weights=(1.0,), normalize="simple", win_size=3)
    draw = fuzz.Draw("noise", x, x**2, "float64", options)
    small = shrink.shrink(draw, lambda other: bool(fuzz.failures(other, "torch")), seconds=20)
    assert small.x.shape == (1, 3, 3, 3)
    namespace = {}
    exec(shrink.IMPORTS + shrink.as_test(small, "torch", "planted", "a note"), namespace)
    with pytest.raises(AssertionError):
        namespace["test_planted"]()


@pytest.fixture
def planted(monkeypatch):
    """A scale that is wrong by 1e-4 where the first image is dark."""
    right = torch_backend.pyramid_means

    @functools.wraps(right)
    def wrong(img1, img2, *args, **options):
        return right(img1, img2, *args, **options) - 1e-4 * (img1.double().mean() < 0.6)

    monkeypatch.setattr(torch_backend, "pyramid_means", wrong)


def test_a_planted_error_is_found_and_shrunk(planted):
    draw = _pair()
    assert "value" in {each.what for each in fuzz.failures(draw, "torch")}
    small = shrink.shrink(draw, lambda other: bool(fuzz.failures(other, "torch")), seconds=60)
    assert fuzz.failures(small, "torch")
    assert small.x.shape == (1, 3, 3)
    assert small.options.weights == (1.0,)
    assert len(np.unique(small.x)) == len(np.unique(small.y)) == 1


def test_the_printed_test_fails_as_the_call_does(planted):
    namespace = {}
    exec(shrink.IMPORTS + shrink.as_test(_pair(), "torch", "planted", "a note"), namespace)
    with pytest.raises(AssertionError):
        namespace["test_planted"]()


@pytest.mark.parametrize(
    "rows", [[[1.0, 1.0, 1.0, 1.0, 2.0]], [[0.5] * 6] * 3, [[0.1, 0.2], [0.3, 0.4]], [[1e-45, 3e38]] * 2]
)
def test_the_literal_is_the_array(rows):
    image = np.array([rows])
    assert np.array_equal(np.array(eval(shrink.literal(image))), image)


def test_command_finds_prints_and_reports_a_planted_error(planted, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(question, "SHRUNK", 1)
    monkeypatch.setattr(shrink, "SECONDS", 1.0)
    assert command.main(["--fuzz", "20", "--seed", "1", "--backend", "torch", "--out", str(tmp_path)]) == 1
    assert "def test_fuzz_torch_1_" in capsys.readouterr().out
    counts = pd.read_csv(tmp_path / "fuzz.csv")
    assert counts["calls"].sum() == 20
    assert counts["over budget"].sum() > 0


@pytest.mark.full
def test_number_of_processes_changes_nothing(tmp_path):
    for jobs in ("1", "2"):
        command.main(["--fuzz", "60", "--backend", "torch", "--jobs", jobs, "--out", str(tmp_path / jobs)])
    one, two = (pd.read_csv(tmp_path / jobs / "fuzz.csv") for jobs in ("1", "2"))
    assert one.equals(two)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_random_calls_are_within_their_budgets(backend):
    """Only with the window of 11 pixels and no mask for a backend that compiles code for each of them."""
    if backend == "numba":
        pytest.importorskip("numba")
    batches = (draws.batch(2026, number) for number in itertools.count())

    def of_few_kernels(draw):
        return draw.axes == 2 and draw.options.win_size == 11 and draw.mask is None

    usual = (batch for batch in batches if backend == "torch" or of_few_kernels(batch[0]))
    for batch in itertools.islice(usual, 20):
        for draw, outcome in zip(batch, check.check(batch, backend), strict=True):
            assert outcome.failures == [], shrink.as_test(draw, backend, "fuzz", "")
