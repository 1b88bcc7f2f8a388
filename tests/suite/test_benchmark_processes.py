"""Peak memory and cold starts in new processes."""

import os
import subprocess
import sys

import numpy as np
import pytest
from benchmarking import CASE, SHAPE, make_implementation

from benchmarks import (
    cases,
    checks,
    devices,
    implementations,
    new_process,
    processes,
    rows,
    run,
)  # fmt: skip
from benchmarks.implementations import OURS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.skipif(sys.platform != "linux", reason="peak resident memory can be reset on Linux only")
def test_peak_memory_of_a_call():
    above, process = devices.peak_of(lambda: np.ones(1 << 23).sum(), "cpu")  # 64 MiB, gone when the call is over
    assert 0.95 < above / 2**26 < 1.3 and process > above
    assert devices.peak_of(lambda: None, "cpu")[0] < 2**23


@pytest.mark.skipif(sys.platform != "linux", reason="peak resident memory can be reset on Linux only")
def test_new_process_measures_start_and_memory():
    case = cases.Case("msssim", cases.FORWARD_BACKWARD, (1, 1, 256, 256))
    found = processes.Processes(1, lambda *_: None)
    found.measure_memory(implementations.by_name("msssim torch"), case)
    memory, start = rows.frame(found.all_rows()).itertuples()
    assert (memory.kind, start.kind) == (rows.MEMORY, rows.NEW_PROCESS)
    assert memory.verdict == start.verdict == rows.OK
    assert memory.peak_inputs > 2 and memory.process_bytes > 2**26
    assert 0 < start.first_seconds <= start.seconds < 60 and start.height == cases.START_SHAPE[2]


def test_failing_process_is_a_row_with_the_reason(monkeypatch):
    def fail(*args, **kwargs):
        raise subprocess.CalledProcessError(1, "python", stderr="Traceback\nMemoryError: no more\n")

    monkeypatch.setattr(subprocess, "run", fail)
    found = processes.Processes(1, lambda *_: None)
    found.measure_memory(make_implementation("x"), CASE)
    found.measure_first_call_ever(make_implementation("x", OURS), CASE)
    table = rows.frame(found.all_rows())
    assert list(table.verdict) == [rows.REFUSED] * 2 and (table.note == "MemoryError: no more").all()


def test_empty_cache_applies_to_every_compiler(monkeypatch):
    seen = {}

    def record(command, env, **kwargs):
        seen.update(env)
        return subprocess.CompletedProcess(command, 0, stdout='noise\n{"value": 1.0}\n')

    monkeypatch.setattr(subprocess, "run", record)
    assert new_process.run("x", CASE, threads=1, empty_cache=True) == {"value": 1.0}
    assert {"NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"} <= set(seen)
    assert seen["NUMBA_CACHE_DIR"] != os.environ.get("NUMBA_CACHE_DIR")


def test_first_compiled_call_of_a_run_is_a_first_call_ever():
    case = cases.Case("msssim", cases.FORWARD_BACKWARD, SHAPE)
    done = rows.row(
        rows.TIME,
        make_implementation("x" + implementations.COMPILED),
        case,
        checks.CheckResult(rows.OK, 0.0, 1.0),
        threads=1,
    )
    (first,) = run._first_compiled_calls([done | {"first_seconds": 5.0, "seconds": 0.1}])
    assert (first["kind"], first["seconds"], first["implementation"]) == (rows.FIRST_EVER, 5.0, "x, compiled")
    rows.frame([first])
