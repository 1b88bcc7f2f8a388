"""The example maximizes in every mode, explains why it stops, and plots the images."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

skimage = pytest.importorskip("skimage", reason="the example uses images of scikit-image")

import msssim  # noqa: E402  (after the check that skips this file)

ROOT = Path(__file__).parents[2]


def load_example():
    """Load the example from its file, because another package `examples` may be on the path."""
    spec = importlib.util.spec_from_file_location("max_ssim", ROOT / "examples" / "max_ssim.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


max_ssim = load_example()
SMALL = ("--size", "176")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def camera():
    return max_ssim.load_target("camera", 176)


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function that runs the example: (exit code, stdout, stderr); it writes tmp_path / "plot.png"."""

    def _run(*options):
        code = max_ssim.main([*SMALL, *options, "--out", str(tmp_path / "plot.png")])
        return code, *capsys.readouterr()

    return _run


def read_plot(tmp_path):
    """Return the plot that `run` wrote."""
    return skimage.io.imread(tmp_path / "plot.png")


@pytest.mark.parametrize("mode", ["simple", "covariance"])
@pytest.mark.parametrize("start", ["noise", "negative"])
def test_reaches_the_goal(run, tmp_path, mode, start):
    code, out, err = run("--normalize", mode, "--start", start, "--lr", "0.05")
    assert code == 0
    index, objective = map(float, re.match(rf"MS-SSIM (0\.\d+), normalized by {mode} (0\.\d+), at step", out).groups())
    assert index >= 0.95
    assert objective >= index - 1e-4
    assert f"MS-SSIM ({mode})" in err, "the progress bar names the objective"
    assert read_plot(tmp_path).std() > 10


def test_goal_is_compared_with_the_index_without_normalization(camera):
    start = max_ssim.make_start("noise", camera, 0)
    outcome, frames = max_ssim.maximize(start, camera, metric="msssim", mode="simple", goal=0.6, lr=0.05)
    assert outcome is max_ssim.Outcome.GOAL_REACHED
    assert frames[-1].score == pytest.approx(msssim.msssim(frames[-1].image, camera).item(), abs=1e-7)
    assert 0.6 <= frames[-1].score < 0.7 < frames[-1].objective


@pytest.mark.parametrize("mode", [None, "relu"])
def test_objective_increases_where_no_scale_is_negative(camera, mode):
    start = max_ssim.make_start("distorted", camera, 0)
    outcome, frames = max_ssim.maximize(start, camera, metric="msssim", mode=mode, steps=8, goal=1.0)
    assert outcome is max_ssim.Outcome.OUT_OF_STEPS
    assert [frame.step for frame in frames] == [0, 4, 8]
    indices = [frame.objective for frame in frames]
    assert all(map(math.isfinite, indices))
    assert indices == sorted(indices)
    assert indices[-1] > indices[0] + 0.05


def test_ssim(run):
    code, out, _ = run("--metric", "ssim", "--goal", "0.8", "--lr", "0.05")
    assert code == 0
    assert re.match(r"SSIM 0\.[89]\d+, at step \d+ after", out)
    assert "normalized by" not in out, "there is one value"


def test_out_of_steps(run):
    code, out, err = run("--steps", "2")
    assert code == 1
    assert "at step 2 after" in out
    assert "The goal of 0.95 was not reached" in err


def test_zero_gradient_at_the_start_is_explained(run, tmp_path):
    code, out, err = run("--normalize", "relu", "--start", "negative")
    assert code == 3
    assert "undefined, normalized by relu 0.0000, at step 0 after" in out
    assert re.search(r"zero gradient: the mean cs of a scale is negative \(-0\.\d+ at scale 2; .* at scale 5\)", err)
    assert "--normalize covariance or --normalize simple" in err
    assert "--seed" not in err, "the negative is the same with every seed"
    assert read_plot(tmp_path).size


def test_zero_gradient_from_noise_suggests_another_seed(run, camera):
    noises = (max_ssim.make_start("noise", camera, seed) for seed in range(500))
    seed = next(seed for seed, noise in enumerate(noises) if msssim.msssim(noise, camera).isnan())
    code, _, err = run("--normalize", "relu", "--seed", str(seed))
    assert code == 3
    assert "another --seed" in err


def test_zero_gradient_of_one_channel_is_explained(camera):
    target = camera.expand(1, 3, -1, -1)
    start = max_ssim.make_start("distorted", target, 0)
    start[:, 1] = 1 - target[:, 1]
    outcome, frames = max_ssim.maximize(start, target, metric="msssim", mode="relu")
    assert outcome is max_ssim.Outcome.ZERO_GRADIENT
    assert frames[-1].step == 0
    assert frames[-1].objective > 0, "the other channels are not zero"
    assert "-0." in max_ssim.advice(outcome, target, frames[-1], "relu", "distorted")


def test_zero_gradient_of_another_cause_is_explained(camera):
    frame = max_ssim.Frame(7, 0.0, 0.0, camera)
    tiny, zero, nan = (torch.tensor([0.0, value]).reshape(1, 1, 1, 2) for value in (1e-30, 0.0, math.nan))
    assert max_ssim.outcome_at(frame, tiny, None, 0.95) is None
    assert max_ssim.outcome_at(frame, zero, None, 0.95) is max_ssim.Outcome.ZERO_GRADIENT
    assert max_ssim.outcome_at(frame, nan, None, 0.95) is max_ssim.Outcome.UNDEFINED
    message = max_ssim.advice(max_ssim.Outcome.ZERO_GRADIENT, camera, frame, None, "noise")
    assert message.startswith("The image at step 7 has zero gradient everywhere")


def test_undefined_objective_suggests_modes(run):
    code, out, err = run("--normalize", "none", "--start", "negative")
    assert code == 4
    assert out.startswith("MS-SSIM undefined, at step 0 after")
    for mode in ("covariance", "simple", "relu"):
        assert f"--normalize {mode}" in err


def test_seed_determines_the_result(run, tmp_path):
    options = ("--steps", "3", "--seed")
    first, second, other = (
        (run(*options, seed)[1].partition(" after ")[0], read_plot(tmp_path)) for seed in ("1", "1", "2")
    )
    assert first[0] == second[0] != other[0]
    assert (first[1] == second[1]).all()
    assert first[1].shape != other[1].shape or (first[1] != other[1]).any()


def test_frames_are_few():
    frames = []
    for step in range(301):
        max_ssim.add_frame(frames, max_ssim.Frame(step, 0.0, 0.0, None), last=step == 300)
    assert [frame.step for frame in frames] == [0, 4, 8, 16, 32, 64, 128, 300]
    assert frames.pop().step == 300
    max_ssim.add_frame(frames, max_ssim.Frame(140, 0.0, 0.0, None), last=True)
    assert [frame.step for frame in frames][-2:] == [64, 140], "128 is almost the same as 140"


@pytest.mark.parametrize("name", max_ssim.SKIMAGE_IMAGES)
def test_every_image_loads(name):
    target = max_ssim.load_target(name, 32)
    assert target.dtype == torch.float32
    assert target.shape[:2] in ((1, 1), (1, 3))
    assert min(target.shape[-2:]) == 32
    assert target.min() >= 0
    assert target.max() <= 1


def test_target_from_a_file(run, tmp_path):
    rows = torch.arange(120, dtype=torch.uint8)[:, None, None]
    rgba = (rows + 40 * torch.arange(3, dtype=torch.uint8)).expand(120, 200, 3)
    rgba = torch.cat([rgba, torch.full((120, 200, 1), 255, dtype=torch.uint8)], -1)
    rgba[:, 100:, 3] = 0
    path = tmp_path / "rgba.png"
    skimage.io.imsave(path, rgba.numpy(), check_contrast=False)
    target = max_ssim.load_target(str(path), 120)
    torch.testing.assert_close(target[0, :, :, :99], rgba[:, :99, :3].permute(2, 0, 1).float() / 255)
    assert (target[..., 101:] == 1).all(), "transparent pixels are white"
    assert run("--target", str(path), "--steps", "1", "--start", "distorted")[0] == 1
    height, width = read_plot(tmp_path).shape[:2]
    assert width > 2 * height, "two 5:3 images side by side"


def test_sixteen_bits_from_a_file(tmp_path):
    path = tmp_path / "gray16.png"
    skimage.io.imsave(path, (torch.arange(64 * 64).reshape(64, 64) * 16).numpy().astype("uint16"), check_contrast=False)
    target = max_ssim.load_target(str(path), 64)
    torch.testing.assert_close(target[0, 0], torch.arange(64 * 64).reshape(64, 64) * 16 / 65535)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "no-such-picture"), "must be a file or one of astronaut, .*, got 'no-such-picture'"),
        (("--target", __file__), "--target: "),
        (("--size", "175"), "--size must be >= 176 for msssim, got 175"),
        (("--metric", "ssim", "--normalize", "relu"), "--normalize cannot be used with --metric ssim"),
        (("--steps", "-1"), "--steps must be >= 0, got -1"),
        (("--lr", "0"), "--lr must be positive and finite, got 0"),
        (("--goal", "2"), "--goal must be between -1 and 1, got 2"),
        (("--device", "nowhere"), "--device: cannot use 'nowhere'"),
    ],
)
def test_wrong_usage(run, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        run(*options)
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("out", ["/dev/null/plot.png", "plot.txt", "plot"])
def test_unwritable_output_is_refused_before_the_run(capsys, out):
    with pytest.raises(SystemExit) as stopped:
        max_ssim.main([*SMALL, "--out", out])
    assert stopped.value.code == 2 and f"got {out}" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["skimage", "matplotlib.figure", "PIL", "tqdm"])
def test_missing_package_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"needs {package}: python -m pip install matplotlib scikit-image"):
        load_example()


def test_documented_command(tmp_path):
    out = tmp_path / "plot.png"
    command = [sys.executable, "-m", "examples.max_ssim", *SMALL, "--steps", "1", "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
