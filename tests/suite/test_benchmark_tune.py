"""The search for launch constants, with times that a formula gives."""

import contextlib
import json
import math
import shutil

import pytest
import torch

from benchmarks import devices, tune
from benchmarks.cases import FORWARD_BACKWARD, Case
from msssim.backends.triton import constants as tables
from msssim.backends.triton.constants import DEFAULT, PATH, Constants

START = Constants()


def _measure(seconds):
    """A measure whose times of two calls are seconds(constants)."""
    return lambda candidates: {each: seconds(each) for each in candidates}


def test_the_search_finds_the_fastest_of_independent_constants():
    best = Constants(
        threads=(256,), max_registers=128, columns=1, resident_threads=512, fewest_rows=16, small_pixels=1 << 20
    )
    seen = []

    def seconds(constants):
        seen.append(constants)
        wrong = sum(mine != its for mine, its in zip(constants, best, strict=True))
        return [1e-3 * 1.2**wrong, 1e-4 * 1.2**wrong]

    found, trials = tune.search(START, _measure(seconds))
    assert found == best
    assert {trial.constants for trial in trials if trial.kept} > {best}
    assert set(seen) == {START} | {trial.constants for trial in trials}


def test_every_constant_is_varied():
    varied = {name for group in tune.GROUPS for change in group for name in change}
    assert varied == set(Constants._fields)
    for group in tune.GROUPS:
        for change in group:
            START._replace(**change)


@pytest.mark.parametrize(
    "times, kept",
    [
        ([0.9, 0.9], True),
        ([0.995, 0.995], False),  # too little to be sure
        ([0.5, 1.2], False),  # one call becomes much slower
        ([math.inf, 0.1], False),  # one does not work
    ],
)
def test_what_replaces_the_best(times, kept):
    other = START._replace(columns=1)
    found, (trial,) = tune.search(START, _measure(lambda each: times if each == other else [1, 1]), [[{"columns": 1}]])
    assert trial.kept == kept and found == (other if kept else START)
    text = tune.summary(START, found, [trial])
    assert "columns=1" in text and ("kept" in text) == kept


def test_no_group_begins_after_the_time():
    answers = iter([False, True])
    _, trials = tune.search(
        START, _measure(lambda each: [1.0]), [[{"columns": 1}], [{"fewest_rows": 16}]], lambda: next(answers)
    )
    assert [trial.change for trial in trials] == [{"columns": 1}]


def test_measuring_sorts_out_what_is_wrong_or_does_not_compile(monkeypatch, capsys):
    current = []

    @contextlib.contextmanager
    def using(constants):
        current.append(constants)
        yield
        current.pop()

    def call():
        if current[-1].max_registers == 96:
            raise RuntimeError("out of registers\nmore")
        wrong = 1e-3 * (current[-1].max_registers == 128)
        return torch.tensor(0.5), torch.ones(3) * (1 + wrong)

    def sample(call, count):
        call()
        return 1e-3 * current[-1].columns * count

    monkeypatch.setattr(tune, "_call", lambda case: call)
    monkeypatch.setattr(devices, "sampler", lambda device: sample)
    candidates = [
        START,
        *(START._replace(**change) for change in ({"columns": 1}, {"max_registers": 96}, {"max_registers": 128})),
    ]
    times = tune.measure_on("cpu", [Case("ssim", FORWARD_BACKWARD, (1, 1, 16, 16))], using)(candidates)
    (slow,), (fast,), (failed,), (wrong,) = (times[each] for each in candidates)
    assert (fast, slow) == pytest.approx((1e-3, 2e-3)) and failed == wrong == math.inf
    printed = capsys.readouterr().out
    assert "max_registers=96: RuntimeError: out of registers\n" in printed
    assert "max_registers=128: wrong by 0.0e+00 and 1.0e-03" in printed


def test_the_table_is_written_and_read_back(tmp_path, monkeypatch):
    path = tmp_path / "table.json"
    shutil.copy(PATH, path)
    assert tune.format_table(json.loads(PATH.read_text())) == PATH.read_text()
    measured = {90: START._replace(threads=(256,), max_registers=168), 86: START._replace(columns=1)}
    for capability, constants in measured.items():
        tune.write(path, capability, constants, "a GPU, today")
    assert list(json.loads(path.read_text())) == [DEFAULT, "86", "90"]
    monkeypatch.setattr(tables, "PATH", path)
    tables.table.cache_clear()
    try:
        for capability, constants in measured.items():
            assert tables.for_capability(capability) == constants
        assert tables.for_capability(89) == measured[86]  # the nearest earlier one of the same generation
        assert tables.for_capability(80) == tables.for_capability(100) == START
    finally:
        tables.table.cache_clear()


def test_the_defaults_of_the_table_are_those_of_the_code():
    assert tables.table()[DEFAULT] == START


def test_a_measured_entry_says_on_what():
    for key, entry in json.loads(PATH.read_text()).items():
        assert (key == DEFAULT) == (entry["measured"] is None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="tunes where there is a GPU")
def test_without_a_gpu_it_refuses(capsys):
    with pytest.raises(SystemExit) as stopped:
        tune.main(["--device", "cuda", "--dry-run"])
    assert stopped.value.code == 2 and "--device cuda: " in capsys.readouterr().err
    assert devices.unavailable_reason("cuda")
    with pytest.raises(SystemExit):
        tune.main(["--device", "cpu"])
    assert "--device cpu: the kernels run on a GPU" in capsys.readouterr().err
