"""The list of faults: each can still be planted, and its verdict is right."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def mutants(monkeypatch):
    """Return the module that `python -m tests.mutants` runs."""
    monkeypatch.syspath_prepend(str(ROOT))
    from tests.mutants import __main__

    return __main__


@pytest.mark.full  # a change to a kernel need not wait for the list
def test_every_fault_can_be_planted(mutants):
    problems = [problem for fault in mutants.FAULTS if (problem := mutants.cannot_be_planted(fault))]
    assert not problems, "\n".join(problems)
    names = [fault.name for fault in mutants.FAULTS]
    assert len(set(names)) == len(names) >= 60


def test_every_fault_was_found(mutants):
    """By the stored results. Run a new fault: `tox run -e mutants -- NAME --out tests/mutants/results.json`."""
    stored = json.loads(mutants.RESULTS.read_text(encoding="utf-8"))["faults"]
    verdicts = {entry["name"]: entry["verdict"] for entry in stored}
    assert verdicts == {fault.name: mutants.HARMLESS if fault.harmless else mutants.KILLED for fault in mutants.FAULTS}


def test_a_fault_that_cannot_be_planted_says_why(mutants, tmp_path):
    (tmp_path / "code.py").write_text("a = 1\nb = 1\n")
    (tmp_path / "test_code.py").write_text("def test_it():\n    pass\n")
    fault = mutants.Fault("plain-x", "code.py", "a = 1", "a = 2", ("test_code.py::test_it[1]",), "a is 2")
    assert mutants.cannot_be_planted(fault, tmp_path) is None
    for change, message in (
        (dict(old="c"), "exactly once in code.py, found 0 times: 'c'"),
        (dict(old="= 1"), "found 2 times"),
        (dict(new="a = 1"), "are the same"),
        (dict(tests=("test_code.py::test_that",)), "there is no test test_code.py::test_that"),
    ):
        assert message in mutants.cannot_be_planted(fault._replace(**change), tmp_path)


def test_verdicts(mutants, tmp_path, monkeypatch):
    (tmp_path / "code.py").write_text("a = 1\nb = 1\nc = 1\nd = 1\n")

    def run(tree, tests, backend, limit):
        values = dict(line.split(" = ") for line in (tree / "code.py").read_text().splitlines())
        if values["a"] != "1":
            return 1, "FAILED test_code.py::test_a - AssertionError: a"
        if values["c"] != "1":
            return 1, "FAILED test_code.py::test_c - NameError: c"
        return (None, "") if values["d"] != "1" else (0, "1 passed")

    monkeypatch.setattr(mutants, "_copy", lambda tree: tmp_path)
    monkeypatch.setattr(mutants, "_pytest", run)
    faults = [
        mutants.Fault(f"plain-{name}", "code.py", f"{name} = 1", f"{name} = 2", ("test_code.py",), "", harmless)
        for name, harmless in (("a", ""), ("b", ""), ("b", "nobody reads b"), ("c", ""), ("d", ""), ("a", "harmless"))
    ]
    outcomes = mutants._plant_all(faults)
    assert [outcome.verdict for outcome in outcomes] == [
        mutants.KILLED, mutants.SURVIVED, mutants.HARMLESS, mutants.INVALID, mutants.TIMED_OUT, mutants.INVALID
    ]  # fmt: skip
    assert outcomes[0][2:4] == ("test_code.py::test_a", "AssertionError: a")
    assert (tmp_path / "code.py").read_text() == "a = 1\nb = 1\nc = 1\nd = 1\n"
