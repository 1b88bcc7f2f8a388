"""The fused CPU kernels in several processes and threads: data loaders, interrupts, errors, cache folders."""

import _thread
import concurrent.futures
import itertools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from marks import full
from torch.utils.data import DataLoader, Dataset

import msssim

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")
from msssim.backends.numba import threads as numba_threads  # needs numba

OPTIONS = dict(normalize="covariance", backend="numba")


def _images(number, height=200, width=230, dtype=torch.float32):
    generator = torch.Generator().manual_seed(number)
    x, y = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    return x.to(dtype), (0.6 * x + 0.4 * y).to(dtype)


def _values(pair):
    """SSIM, MS-SSIM and some of the gradient of a pair."""
    x, y = pair[0].detach().requires_grad_(), pair[1]
    value = msssim.msssim(x, y, **OPTIONS)
    value.backward()
    return torch.stack([msssim.ssim(x.detach(), y, backend="numba"), value.detach(), *x.grad[1, ::50, 70]])


class _Values(Dataset):
    """A dataset that computes a metric of its images in the workers of a data loader."""

    def __init__(self, threads, bad=None):
        self.threads, self.bad = threads, bad

    def __len__(self):
        return 6

    def __getitem__(self, number):
        if number == self.bad:
            return msssim.ssim(*_images(number, height=10), backend="numba")
        pair = _images(number)
        torch.set_num_threads(self.threads)
        try:
            return _values(pair)
        finally:
            torch.set_num_threads(1)  # as the loader has it: PyTorch's own threads do not survive a fork


def _loaded(method, *arguments):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    loader = DataLoader(_Values(*arguments), num_workers=2, multiprocessing_context=method, timeout=120, batch_size=2)
    return torch.cat(list(loader))


METHODS = pytest.mark.parametrize(
    "method",
    [
        pytest.param("fork", marks=pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")),  # it is the point
        "spawn",
    ],
)


@METHODS
@pytest.mark.parametrize("threads", [2, *full(1)])
def test_in_the_workers_of_a_data_loader_after_use_in_the_parent(method, threads):
    expected = torch.stack([_values(_images(number)) for number in range(6)])
    assert torch.equal(_loaded(method, threads), expected)
    assert torch.equal(_values(_images(0)), expected[0])


@METHODS
@pytest.mark.full_where(method="spawn")
def test_error_in_a_data_loader_worker_reaches_the_parent(method):
    expected = _values(_images(0))
    with pytest.raises(ValueError, match="img1 must be at least 11"):
        _loaded(method, 1, 3)
    assert torch.equal(_values(_images(0)), expected)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def interrupts():
    """Python's handler of SIGINT, also in a process that was started without it, as a shell does in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("milliseconds", [10, *full(1, 35)])
def test_backend_works_after_an_interrupt(milliseconds, two_threads, interrupts):
    expected = _values(_images(0))
    x, y = _images(1, 720, 1280)
    x.requires_grad_()
    timer = threading.Timer(milliseconds / 1000, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        for _ in range(1000):  # far longer than the timer waits: it always ends a call
            torch.autograd.grad(msssim.msssim(x, y, **OPTIONS), x)
    timer.join()
    for _ in range(3):
        assert torch.equal(_values(_images(0)), expected)


def test_error_in_a_helping_thread_is_logged_and_changes_no_result(monkeypatch, two_threads, caplog):
    expected = _values(_images(0))
    failed = threading.Event()

    def fail(*_):
        failed.set()
        raise MemoryError("no memory in the helper")

    monkeypatch.setattr(numba_threads, "_team", lambda: 0)
    monkeypatch.setattr(numba_threads, "_help", fail)
    assert torch.equal(_values(_images(0)), expected)
    assert failed.wait(60)
    for _ in range(600):  # the line is written after the error was raised
        if "no memory in the helper" in caplog.text:
            break
        time.sleep(0.1)
    assert "a worker thread failed" in caplog.text and "no memory in the helper" in caplog.text
    monkeypatch.undo()
    assert torch.equal(_values(_images(0)), expected)


def test_eight_threads_with_calls_of_different_kinds_at_once(two_threads):
    kinds = list(itertools.product((200, 181), (torch.float32, torch.float64), (True, False)))

    def call(kind):
        height, dtype, gradient = kind
        x, y = _images(height, height, dtype=dtype)
        x.requires_grad_(gradient)
        value = msssim.msssim(x, y, **OPTIONS)
        return (value.detach(), *(torch.autograd.grad(value, x) if gradient else ()))

    expected = {kind: call(kind) for kind in kinds}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for kind, results in zip(kinds * 6, pool.map(call, kinds * 6), strict=True):
            assert all(map(torch.equal, results, expected[kind])), kind


def test_errors_in_some_threads_do_not_affect_others():
    expected = _values(_images(0))

    def call(number):
        return _values(_images(0)) if number % 3 else msssim.ssim(*_images(0, height=10), backend="numba")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call, number) for number in range(24)]
    for number, future in enumerate(calls):
        if number % 3:
            assert torch.equal(future.result(), expected)
        else:
            assert isinstance(future.exception(), ValueError)


def _run(code, **environment):
    root = pathlib.Path(msssim.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=root, timeout=200,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert not done.returncode, done.stderr
    return done


@pytest.mark.skipif(not pathlib.Path("/proc/self/task").exists(), reason="threads are counted as Linux lists them")
@pytest.mark.parametrize(
    "team", ["", *full("numba_threads._team = lambda: 0")], ids=["PyTorch's team", "threads of Python's"]
)
def test_the_number_of_threads_is_pytorchs(team):
    code = f"""
import os, torch, msssim
from msssim.backends.numba import threads as numba_threads
{team}
torch.set_num_threads(1)
x = torch.linspace(0, 1, 3 * 400 * 400).view(1, 3, 400, 400)
y = x.flip(-1)
for number in (1, 1, 2, 2):
    torch.set_num_threads(number)
    before = len(os.listdir("/proc/self/task"))
    msssim.msssim(x, y, normalize="covariance", backend="numba")
    print(len(os.listdir("/proc/self/task")) - before)
"""
    assert _run(code).stdout.split()[1:] == ["0", "1", "0"]  # imports of the first call may start some of their own


def test_a_process_may_end_while_a_thread_still_works():
    _run("""
import functools, torch
from msssim.backends.numba import threads as numba_threads
work = functools.partial(torch.mm, torch.ones(2000, 2000), torch.ones(2000, 2000))
for _ in range(10):
    numba_threads._helpers.ask(work, 1)
""")


CALL = """
import logging
from numba.core import caching
logging.basicConfig(level="WARNING")

{}

import torch, msssim
x = torch.linspace(0, 1, 40 * 50).view(1, 1, 40, 50)
fused, plain = (msssim.ssim(x, x.square(), win_size=3, backend=name) for name in ("numba", "torch"))
torch.testing.assert_close(fused, plain, rtol=0, atol=1e-6)
"""


@pytest.mark.full
def test_result_is_right_without_a_writable_cache_folder():
    """As on a read-only file system; permissions would not stop root."""
    done = _run(
        CALL.format("""
logging.getLogger("msssim").setLevel("INFO")

def refuse(self):
    raise OSError(30, "Read-only file system")

caching._CacheLocator.ensure_cache_path = refuse
""")
    )
    assert "compiled, not cached" in done.stderr and "Set NUMBA_CACHE_DIR" in done.stderr
    assert "cached in" not in done.stderr


@pytest.mark.full
def test_full_disk_while_caching_is_logged(tmp_path):
    done = _run(
        CALL.format("""
def fill(self, *arguments):
    raise OSError(28, "No space left on device")

caching.IndexDataCacheFile.save = fill
"""),
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert "compiled code is not cached" in done.stderr and "No space left on device" in done.stderr


@pytest.mark.full
def test_cache_folder_that_cannot_be_created_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    _run(CALL.format(""), NUMBA_CACHE_DIR=str(tmp_path / "file" / "folder"))


@pytest.mark.parametrize("win_size", [5, *full(3, 7, 15, 17, 19, 25, 31)])  # code of its own is made for each
def test_every_odd_window_in_value_and_gradient(win_size):
    x, y = _images(win_size, 70, 83, torch.float64)
    results = []
    for backend in ("numba", "torch"):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        value = msssim.msssim(
            a, b, win_size=win_size, sigma=win_size / 6, weights=(0.4, 0.6), normalize="covariance", backend=backend
        )
        results.append((value.detach(), *torch.autograd.grad(value, (a, b))))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-14)
