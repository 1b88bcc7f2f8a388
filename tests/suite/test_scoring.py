"""Scoring in several processes: the same bits in any arrangement, and a clear error if a process ends early."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import datasets
import msssim
from validation import harness
from validation.subjective import scoring

ROOT = Path(__file__).parents[2]
COUNT = 7


def make(number, made=None):
    """Return a pair of colour images, and record in a file that it was made."""
    if made:
        with open(made, "a") as file:
            file.write(f"{number}\n")
    random = np.random.default_rng(number)
    x = random.integers(0, 256, (180, 190, 3), dtype=np.uint8)
    y = np.clip(x + random.normal(scale=5 + 5 * number, size=x.shape), 0, 255).astype(np.uint8)
    return datasets.Pair(f"pair {number}", x, y, 255.0, "noise", score=float(number))


def pairs(made=None, **others):
    """Return pairs; `others` replaces the makers of some, by number."""
    makers = {f"pair {number}": functools.partial(make, number, made) for number in range(COUNT)}
    return datasets.Pairs({**makers, **{f"pair {number[1:]}": maker for number, maker in others.items()}})


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    raise KeyboardInterrupt


def broken():
    raise datasets.BrokenImage("pair 2: cannot be read as an image: truncated")


def small():
    return datasets.Pair("pair 3", *np.zeros((2, 100, 100), dtype=np.uint8), 255.0, "none")


def numbers(made):
    return [int(line) for line in made.read_text().split()]


@pytest.fixture
def run(tmp_path):
    """Return a function that scores pairs with the PyTorch backend and writes to tmp_path."""
    return functools.partial(scoring.score, file=tmp_path / "kept.jsonl", title="test", backend="torch")


def test_scores_equal_the_library_in_float64(run):
    rows = run(pairs())
    assert [row["pair"] for row in rows] == list(pairs().names)
    pair = make(4)
    x, y = (torch.from_numpy(scoring.gray(image)) for image in (pair.reference, pair.distorted))
    options = {"data_range": 255, "backend": "torch"}
    assert rows[4]["msssim"] == pytest.approx(msssim.msssim(x, y, **options).item(), abs=1e-14)
    assert rows[4]["msssim_wtd_sum"] == pytest.approx(
        msssim.msssim(x, y, method="wtd_sum", **options).item(), abs=1e-14
    )
    assert rows[4]["ssim"] == pytest.approx(msssim.ssim(x, y, downsample="auto", **options).item(), abs=1e-14)


def test_gray_is_rgb2gray():
    """MATLAB computes 0.2989 R + 0.5870 G + 0.1140 B and rounds half up."""
    colours = np.array([[[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 0, 0], [2, 0, 0]]], dtype=np.uint8)
    np.testing.assert_array_equal(scoring.gray(colours), [[255, 76, 150, 29, 0, 1]])
    plane = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert scoring.gray(plane).dtype == np.float64 and (scoring.gray(plane) == plane).all()


def test_workers_give_the_same_bits_in_the_same_order(run, tmp_path):
    alone = run(pairs())
    assert run(pairs(), file=tmp_path / "other.jsonl", workers=2) == alone


def test_broken_file_and_small_image_are_problems_but_do_not_stop_the_run(run):
    rows = run(pairs(_2=broken, _3=small))
    assert rows[2] == {"pair": "pair 2", "problem": "pair 2: cannot be read as an image: truncated"}
    assert "pair 3: img1 must be at least 176 pixels" in rows[3]["problem"]
    assert all("msssim" in row for row in rows[:2] + rows[4:])


def test_killed_worker_stops_the_run_with_a_clear_error(run):
    start = time.monotonic()
    with pytest.raises(
        scoring.Stopped, match=r"a worker process ended: .*\. The scores so far are kept in .*the same command resumes"
    ):
        run(pairs(_4=kill), workers=2)
    assert time.monotonic() - start < 30


def test_interrupted_run_is_resumed(run, tmp_path):
    whole = run(pairs(), file=tmp_path / "other.jsonl")
    first, second = tmp_path / "first", tmp_path / "second"
    with pytest.raises(KeyboardInterrupt):
        run(pairs(first, _4=interrupt))
    with open(tmp_path / "kept.jsonl", "a") as file:
        file.write('{"pair": "pair 6", "ms')  # an interruption during a write
    assert run(pairs(second)) == whole
    assert numbers(first) == [0, 1, 2, 3] and numbers(second) == [4, 5, 6]


def test_problems_are_tried_again(run, tmp_path):
    run(pairs(_2=broken))
    assert "msssim" in run(pairs(tmp_path / "made"))[2] and numbers(tmp_path / "made") == [2]


def test_scores_of_other_settings_or_pairs_are_discarded(run, tmp_path, capsys):
    run(pairs())
    run(datasets.Pairs({"pair 0": functools.partial(make, 0, tmp_path / "made")}))
    assert numbers(tmp_path / "made") == [0] and "scoring everything again" in capsys.readouterr().err


def test_selecting_some_pairs_makes_none(tmp_path):
    few = harness.some(pairs(tmp_path / "made"), 3)
    assert few.names == ("pair 1", "pair 3", "pair 5") and not (tmp_path / "made").exists()
    assert few[1].name == "pair 3" and harness.some(few, 3) is few and harness.some(few, None) is few


PROCESS = """
import json, sys
from tests.suite import test_scoring
from validation.subjective import scoring
try:
    with scoring.processes("cpu") as process:
        maker = {"_5": test_scoring.kill} if sys.argv[2] == "kill" else {}
        if sys.argv[2] == "differ" and process.rank:
            maker = {"_9": test_scoring.broken}
        rows = scoring.score(test_scoring.pairs(**maker), sys.argv[1], title="test", backend="torch",
                             process=process, workers=int(sys.argv[3]))
except scoring.Stopped as stopped:
    sys.exit(str(stopped))
print(json.dumps(rows))
"""


def start(file, what, workers=0):
    """Start two processes as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(2):
        environment = {
            **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        command = [sys.executable, "-c", PROCESS, str(file), what, str(workers)]
        yield subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )


def finish(processes):
    """Return (exit code, output, errors) of each process, and kill processes that are still running."""
    processes = list(processes)
    try:
        return [(done.returncode, *texts) for done in processes for texts in [done.communicate(timeout=120)]]
    finally:
        for process in processes:
            process.kill()
            process.wait()


needs_gloo = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available() and sys.platform == "linux"),
    reason="needs torch.distributed with gloo, on Linux",
)


@needs_gloo
@pytest.mark.parametrize("workers", [1, pytest.param(0, marks=pytest.mark.full)])
def test_two_processes_give_the_same_rows_and_bits(run, tmp_path, workers):
    alone = run(pairs())
    (code, first, errors), (other, second, _) = finish(start(tmp_path / "two.jsonl", "score", workers))
    assert (code, other) == (0, 0), errors
    assert json.loads(first) == alone and second.strip() == "null"


@needs_gloo
def test_killed_process_stops_the_others_with_a_clear_error(tmp_path):
    (code, _, errors), (killed, _, _) = finish(start(tmp_path / "two.jsonl", "kill"))
    assert killed == -signal.SIGKILL and code == 1
    assert "another process of this run ended" in errors and "the same command resumes" in errors


@needs_gloo
def test_processes_with_different_images_do_not_start(tmp_path):
    (code, _, _), (other, _, errors) = finish(start(tmp_path / "two.jsonl", "differ"))
    assert (code, other) == (1, 1) and "process 1 has other images" in errors
