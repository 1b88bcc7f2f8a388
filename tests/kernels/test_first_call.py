"""The first call of a kind: messages during compilation, forks during compilation, and warm_up()."""

import logging
import os
import pathlib
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

import msssim
from msssim.backends import forking

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")
import numba  # after it is known to be installed
from numba.core import event

from msssim.backends.numba import backward, functions, pooling, preparing, sweep

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def _run(code, **environment):
    root = pathlib.Path(msssim.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=300,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )  # fmt: skip


@NEEDS_FORK
def test_a_fork_while_another_thread_compiles(tmp_path):
    """As in iohub#416, where data loading workers that were forked beside running threads waited for a lock."""
    done = _run(
        """
import logging, os, signal, threading, time, torch, msssim
compiling = threading.Event()

class Watch(logging.Handler):
    def emit(self, record):
        if "preparing the kernel sweep" in record.getMessage():
            compiling.set()

logging.getLogger("msssim").addHandler(Watch())
logging.getLogger("msssim").setLevel("INFO")
x = torch.linspace(0, 1, 40 * 50).view(1, 1, 40, 50)
expected = msssim.ssim(x, x.square(), backend="torch")

def call():
    assert abs(msssim.ssim(x, x.square(), backend="numba") - expected) < 1e-6

thread = threading.Thread(target=call)
thread.start()
assert compiling.wait(200)
time.sleep(0.2)
child = os.fork()
if child == 0:
    signal.alarm(100)
    call()
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
thread.join()
call()
""",
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert not done.returncode, done.stderr


@NEEDS_FORK
def test_child_of_a_fork_that_timed_out_raises_an_error():
    done = _run("""
import os, signal, threading, torch, msssim
from msssim.backends import forking
forking.FORK_TIMEOUT = 0.1
x = torch.linspace(0, 1, 40 * 50).view(1, 1, 40, 50)
taken, finished = threading.Event(), threading.Event()

def compile():
    with forking.lock():
        taken.set()
        finished.wait()

thread = threading.Thread(target=compile)
thread.start()
taken.wait()
child = os.fork()
if child == 0:
    signal.alarm(100)
    try:
        msssim.ssim(x, x.square(), backend="numba")
    except RuntimeError as error:
        assert "msssim.warm_up() before the fork" in str(error)
        assert msssim.ssim(x, x.square()) == msssim.ssim(x, x.square(), backend="torch")
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
finished.set()
thread.join()
""")
    assert not done.returncode, done.stderr
    assert "the forked process cannot compile any" in done.stderr
    assert 'backend="auto" uses plain PyTorch' in done.stderr


def _kernel(cache_path, compile):
    """What prepare() uses of a kernel."""
    stats = types.SimpleNamespace(cache_path=cache_path, cache_hits={})
    return types.SimpleNamespace(__name__="sweep", stats=stats, compile=compile)


@pytest.mark.parametrize("path, expected", [("/a/folder", "cached in /a/folder"), (None, "Set NUMBA_CACHE_DIR")])
def test_long_compilation_logs_one_visible_line_with_the_cache_folder(path, expected, monkeypatch, caplog):
    """As requested in numba#5566: users think that a silent compilation hangs."""
    monkeypatch.setattr(preparing, "_NOTICE_AFTER", 0.05)
    monkeypatch.setattr(preparing, "_noticed", False)
    monkeypatch.setattr(preparing, "_ready_for", set())
    waited = []

    def compile(signature):
        for _ in range(1000):
            if caplog.records or waited:
                break
            preparing.time.sleep(0.01)
        waited.append(signature)

    with caplog.at_level(logging.WARNING, logger="msssim"):
        preparing.prepare(_kernel(path, compile), (1,), ())
        preparing.prepare(_kernel(path, compile), (2,), ())
    assert len(waited) == 2
    assert len(caplog.records) == 1 and expected in caplog.text and "msssim compiles its kernels" in caplog.text
    assert ("not cached" in caplog.text) == (path is None)


def test_short_compilation_logs_nothing_visible(monkeypatch, caplog):
    monkeypatch.setattr(preparing, "_noticed", False)
    monkeypatch.setattr(preparing, "_ready_for", set())
    with caplog.at_level(logging.WARNING, logger="msssim"):
        preparing.prepare(_kernel("/a/folder", lambda signature: None), (), ())
    assert not caplog.records


def test_no_compilation_after_warm_up(monkeypatch, pair):
    monkeypatch.setattr(preparing, "_ready_for", set())
    lines = msssim.warm_up([torch.float32, torch.uint8], backend="numba")
    assert [line.split(": ")[0] for line in lines] == [
        "float32, win_size=11, 0 gradients",
        "float32, win_size=11, 1 gradients",
        "uint8, win_size=11, 0 gradients",
    ]
    assert all(": numba, " in line for line in lines)

    def refuse():
        raise AssertionError("a kernel is compiled")

    monkeypatch.setattr(forking, "require_usable", refuse)
    x, y = pair(1, 3, 200, 190, dtype=torch.float32)
    msssim.ssim(x, y, backend="numba")
    msssim.msssim(x.requires_grad_(), y, normalize="covariance", backend="numba").backward()
    msssim.msssim((255 * x.detach()).byte(), (255 * y).byte(), backend="numba")
    # Two-level graphics, which are too inaccurate in float32: they are computed again in float64.
    x = torch.zeros(1, 1, 200, 190)
    x[..., 40:] = 1
    msssim.ssim(x, 0.5 * x + 0.4, backend="numba")
    msssim.msssim(x.requires_grad_(), 0.5 * x.detach() + 0.4, backend="numba", normalize="relu").backward()
    with pytest.raises(AssertionError, match="a kernel is compiled"):
        msssim.ssim(y, y, win_size=7, backend="numba")


def test_warm_up_rejects_other_numbers_of_gradients():
    with pytest.raises(ValueError, match="gradients must be 0, 1 or 2, got \\(3,\\)"):
        msssim.warm_up(gradients=[3])


def test_kernel_compiles_without_a_cache_folder():
    scope = {}
    exec("def successor(x):\n    return x + 1", scope)  # numba finds no folder for a function of no file
    assert functions.cached_njit(scope["successor"])(1) == 2


@pytest.mark.full
def test_cache_is_renewed_when_a_source_file_changes(tmp_path):
    shutil.copytree(
        pathlib.Path(msssim.__file__).parent, tmp_path / "msssim", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = "import logging, torch, msssim; logging.basicConfig(level=20); msssim.ssim(*torch.rand(2, 16, 16))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}

    def log_of_a_call():
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        assert not done.returncode, done.stderr
        return done.stderr

    assert "compiled, cached in" in log_of_a_call()
    assert "loaded from" in log_of_a_call()
    with (tmp_path / "msssim/backends/numba/filters.py").open("a") as file:
        file.write("# another version\n")
    assert "compiled, cached in" in log_of_a_call()


def test_compilation_is_logged(caplog, pair):
    x, y = pair(1, 1, 64, 64, dtype=torch.float32)
    preparing._ready_for.clear()
    with caplog.at_level("INFO", logger="msssim"):
        msssim.ssim(x, y, backend="numba")
    assert "preparing the kernel sweep" in caplog.text and "is ready after" in caplog.text


def test_numba_compiles_entry_points_only():
    """Each further function costs the first call tenths of a second."""
    array = np.zeros(1, np.int64), np.zeros(1, np.float32)
    taps = (np.float32(0.5),) * 2
    entries = (
        (sweep.sweep, (0, 1, array[1], array[0], None, array[1], taps, (0,), None)),
        (backward.pyramid_backward, (0, 1, array[0], None, array[1])),
        (pooling.pool, (array[0], np.zeros(1), 0.1)),
    )
    for kernel, arguments in entries:
        fresh = numba.njit(kernel.py_func)  # with no code on disk
        with event.install_recorder("numba:compile") as recorder:
            fresh.compile(tuple(numba.typeof(argument) for argument in arguments))
        assert {each.data["dispatcher"] for _, each in recorder.buffer} == {fresh}
