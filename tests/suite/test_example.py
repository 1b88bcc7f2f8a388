"""The example climbs in every mode, says why where it cannot, and draws the way there."""

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

skimage = pytest.importorskip("skimage", reason="the example shows scikit-image's pictures")

import msssim  # noqa: E402  (after the check that skips this file)

ROOT = Path(__file__).parents[2]


def load_example():
    """The example as a module, from its file: another `examples` on the path is not taken for it."""
    spec = importlib.util.spec_from_file_location("max_ssim", ROOT / "examples" / "max_ssim.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


max_ssim = load_example()
SMALL = ("--size", "176")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Images this small gain nothing from a second thread, and on a busy machine would wait for it at every step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def camera():
    return max_ssim.load_target("camera", 176)


@pytest.fixture
def run(tmp_path, capsys):
    """Run the example: (exit code, standard output, standard error); the picture goes to tmp_path / "way.png"."""

    def _run(*options):
        code = max_ssim.main([*SMALL, *options, "--out", str(tmp_path / "way.png")])
        return code, *capsys.readouterr()

    return _run


def picture_of(tmp_path):
    """The picture that `run` wrote."""
    return skimage.io.imread(tmp_path / "way.png")


@pytest.mark.parametrize("mode", ["simple", "covariance"])
@pytest.mark.parametrize("start", ["noise", "negative"])
def test_reaches_the_goal(run, tmp_path, mode, start):
    code, out, err = run("--normalize", mode, "--start", start, "--lr", "0.05")
    assert code == 0
    true, climbed = map(float, re.match(rf"MS-SSIM (0\.\d+), climbed as {mode} (0\.\d+), at step", out).groups())
    assert true >= 0.95
    assert climbed >= true - 1e-4
    assert f"MS-SSIM ({mode})" in err, "the progress bar names what is climbed"
    assert picture_of(tmp_path).std() > 10


def test_the_goal_is_the_true_index(camera):
    start = max_ssim.make_start("noise", camera, 0)
    outcome, frames = max_ssim.climb(start, camera, metric="msssim", mode="simple", goal=0.6, lr=0.05)
    assert outcome is max_ssim.Outcome.REACHED
    assert frames[-1].true == pytest.approx(msssim.msssim(frames[-1].image, camera).item(), abs=1e-7)
    assert 0.6 <= frames[-1].true < 0.7 < frames[-1].climbed


@pytest.mark.parametrize("mode", [None, "relu"])
def test_climbs_where_no_scale_is_negative(camera, mode):
    start = max_ssim.make_start("distorted", camera, 0)
    outcome, frames = max_ssim.climb(start, camera, metric="msssim", mode=mode, steps=8, goal=1.0)
    assert outcome is max_ssim.Outcome.SPENT
    assert [frame.step for frame in frames] == [0, 4, 8]
    indices = [frame.climbed for frame in frames]
    assert all(map(math.isfinite, indices))
    assert indices == sorted(indices)
    assert indices[-1] > indices[0] + 0.05


def test_ssim(run):
    code, out, _ = run("--metric", "ssim", "--goal", "0.8", "--lr", "0.05")
    assert code == 0
    assert re.match(r"SSIM 0\.[89]\d+, at step \d+ after", out)
    assert "climbed as" not in out, "there is one number"


def test_steps_that_run_out(run):
    code, out, err = run("--steps", "2")
    assert code == 1
    assert "at step 2 after" in out
    assert "The goal of 0.95 was not reached" in err


def test_dead_start_is_said(run, tmp_path):
    code, out, err = run("--normalize", "relu", "--start", "negative")
    assert code == 3
    assert "undefined, climbed as relu 0.0000, at step 0 after" in out
    assert re.search(r"dead gradient: the mean cs of a scale is negative \(-0\.\d+ at scale 2; .* at scale 5\)", err)
    assert "--normalize covariance or --normalize simple" in err
    assert "--seed" not in err, "the negative is the same with every seed"
    assert picture_of(tmp_path).size


def test_dead_noise_suggests_another_seed(run, camera):
    noises = (max_ssim.make_start("noise", camera, seed) for seed in range(500))
    seed = next(seed for seed, noise in enumerate(noises) if msssim.msssim(noise, camera).isnan())
    code, _, err = run("--normalize", "relu", "--seed", str(seed))
    assert code == 3
    assert "another --seed" in err


def test_one_dead_channel_is_said(camera):
    target = camera.expand(1, 3, -1, -1)
    start = max_ssim.make_start("distorted", target, 0)
    start[:, 1] = 1 - target[:, 1]
    outcome, frames = max_ssim.climb(start, target, metric="msssim", mode="relu")
    assert outcome is max_ssim.Outcome.DEAD
    assert frames[-1].step == 0
    assert frames[-1].climbed > 0, "the other channels have an index"
    assert "-0." in max_ssim.advice(outcome, target, frames[-1], "relu", "distorted")


def test_a_dead_gradient_of_another_cause_is_said(camera):
    frame = max_ssim.Frame(7, 0.0, 0.0, camera)
    faint, none, nan = (torch.tensor([0.0, value]).reshape(1, 1, 1, 2) for value in (1e-30, 0.0, math.nan))
    assert max_ssim.judge(frame, faint, None, 0.95) is None
    assert max_ssim.judge(frame, none, None, 0.95) is max_ssim.Outcome.DEAD
    assert max_ssim.judge(frame, nan, None, 0.95) is max_ssim.Outcome.UNDEFINED
    said = max_ssim.advice(max_ssim.Outcome.DEAD, camera, frame, None, "noise")
    assert said.startswith("Step 7 has a gradient of zero everywhere")


def test_undefined_index_names_the_modes(run):
    code, out, err = run("--normalize", "none", "--start", "negative")
    assert code == 4
    assert out.startswith("MS-SSIM undefined, at step 0 after")
    for mode in ("covariance", "simple", "relu"):
        assert f"--normalize {mode}" in err


def test_seed_decides(run, tmp_path):
    options = ("--steps", "3", "--seed")
    first, second, other = (
        (run(*options, seed)[1].partition(" after ")[0], picture_of(tmp_path)) for seed in ("1", "1", "2")
    )
    assert first[0] == second[0] != other[0]
    assert (first[1] == second[1]).all()
    assert first[1].shape != other[1].shape or (first[1] != other[1]).any()


def test_stops_are_few():
    frames = []
    for step in range(301):
        max_ssim.keep(frames, max_ssim.Frame(step, 0.0, 0.0, None), last=step == 300)
    assert [frame.step for frame in frames] == [0, 4, 8, 16, 32, 64, 128, 300]
    assert frames.pop().step == 300
    max_ssim.keep(frames, max_ssim.Frame(140, 0.0, 0.0, None), last=True)
    assert [frame.step for frame in frames][-2:] == [64, 140], "128 is hardly another picture than 140"


@pytest.mark.parametrize("name", max_ssim.PICTURES)
def test_every_picture_loads(name):
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
    assert (target[..., 101:] == 1).all(), "what is transparent lies on white"
    assert run("--target", str(path), "--steps", "1", "--start", "distorted")[0] == 1
    height, width = picture_of(tmp_path).shape[:2]
    assert width > 2 * height, "two pictures of 5 : 3, side by side"


def test_sixteen_bits_from_a_file(tmp_path):
    path = tmp_path / "gray16.png"
    skimage.io.imsave(path, (torch.arange(64 * 64).reshape(64, 64) * 16).numpy().astype("uint16"), check_contrast=False)
    target = max_ssim.load_target(str(path), 64)
    torch.testing.assert_close(target[0, 0], torch.arange(64 * 64).reshape(64, 64) * 16 / 65535)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--target", "no-such-picture"), "neither a file nor one of astronaut, .*: 'no-such-picture'"),
        (("--target", __file__), "--target: "),
        (("--size", "175"), "--size: at least 176 is wanted for msssim"),
        (("--metric", "ssim", "--normalize", "relu"), "--normalize: an option of msssim"),
        (("--steps", "-1"), "--steps, --lr"),
        (("--device", "nowhere"), "--device: cannot use 'nowhere'"),
    ],
)
def test_wrong_usage(run, capsys, options, said):
    with pytest.raises(SystemExit) as stopped:
        run(*options)
    assert stopped.value.code == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize("out", ["/dev/null/way.png", "way.txt", "way"])
def test_a_picture_that_cannot_be_written_is_refused_before_the_climb(capsys, out):
    with pytest.raises(SystemExit) as stopped:
        max_ssim.main([*SMALL, "--out", out])
    assert stopped.value.code == 2 and f"{out} came" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["skimage", "matplotlib.figure", "PIL", "tqdm"])
def test_a_missing_package_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"needs {package}: python -m pip install matplotlib scikit-image"):
        load_example()


def test_command_of_the_documentation(tmp_path):
    out = tmp_path / "way.png"
    command = [sys.executable, "-m", "examples.max_ssim", *SMALL, "--steps", "1", "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
