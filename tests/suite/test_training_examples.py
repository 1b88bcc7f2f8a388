"""The training examples lower their losses; accumulation and two processes give the plain run's curve."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch
from marks import compiling

pytest.importorskip("skimage", reason="the examples use images of scikit-image")

ROOT = pathlib.Path(__file__).parents[2]


def load_example(name):
    """Load an example from its file, because another package `examples` may be on the path."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gaussian_splatting_loss, train_denoiser = load_example("gaussian_splatting_loss"), load_example("train_denoiser")
SMALL = ("--steps", "8", "--crop", "48", "--batch", "4", "--evaluate", "4")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def photographs_of_scikit_image(monkeypatch):
    monkeypatch.delenv("MSSSIM_DATA", raising=False)
    monkeypatch.setattr(train_denoiser, "loss_costs", lambda options: {"msssim, numba": 0.001})


@pytest.fixture(scope="module")
def plain():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MSSSIM_DATA", raising=False)
        patch.setattr(train_denoiser, "loss_costs", lambda options: {})
        return train_denoiser.main([*SMALL, "--losses", "mix"])["mix"]


def test_every_loss_and_the_picture(tmp_path, capsys):
    plotted = tmp_path / "denoiser.png"
    results = train_denoiser.main([*SMALL, "--out", str(plotted)])
    assert list(results) == ["L2", "L1", "MS-SSIM", "mix"]
    for result in results.values():
        assert result.points[-1].psnr > result.points[0].psnr + 0.05
        assert [each.step for each in result.points] == [0, 4, 8]
        assert result.points[0] == results["L2"].points[0]  # the same start
    assert plotted.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 6 and "MS-SSIM with its gradient, msssim, numba: 1.0 ms of a step" in out[-1]


def test_accumulation_gives_the_plain_curve(plain):
    accumulated = train_denoiser.main([*SMALL, "--losses", "mix", "--accumulate", "4"])["mix"]
    assert accumulated.losses == pytest.approx(plain.losses, rel=1e-4)


def test_bfloat16_ends_near_the_plain_run(plain):
    narrow = train_denoiser.main([*SMALL, "--losses", "mix", "--amp", "bf16"])["mix"]
    assert narrow.losses != plain.losses
    assert narrow.losses[-1] == pytest.approx(plain.losses[-1], rel=0.02)


@pytest.mark.full
@compiling
def test_compiled_ends_near_the_plain_run(plain):
    compiled = train_denoiser.main([*SMALL, "--losses", "mix", "--compile"])["mix"]
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-3)


@pytest.mark.full
def test_two_processes_give_the_plain_curve(plain, tmp_path):
    options = [*SMALL, "--losses", "mix", "--accumulate", "2", "--json", str(tmp_path / "curves.json")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | {"MSSSIM_DATA": str(tmp_path)}
    done = subprocess.run(
        [*command, "-m", "examples.train_denoiser", *options], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    curves = json.loads((tmp_path / "curves.json").read_text())["mix"]
    assert curves["losses"] == pytest.approx(plain.losses, rel=1e-4)
    assert done.stdout.count("PSNR") == 1


def test_batch_that_cannot_be_divided(capsys):
    with pytest.raises(SystemExit):
        train_denoiser.parse(["--batch", "4", "--accumulate", "3"])
    assert "--batch must be a multiple of 3, got 4" in capsys.readouterr().err


def test_costs_of_the_loss(monkeypatch):
    monkeypatch.undo()
    options = train_denoiser.parse(["--batch", "1"])
    costs = train_denoiser.loss_costs(options, repeats=1)
    assert "msssim, torch" in costs and all(seconds > 0 for seconds in costs.values())


def test_splatting_loss_and_fit(tmp_path, capsys):
    x, y = torch.rand(2, 1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    l1 = (x - y).abs().mean()
    ssim = gaussian_splatting_loss.fused_ssim(x, y)
    torch.testing.assert_close(gaussian_splatting_loss.splatting_loss(x, y), 0.8 * l1 + 0.2 * (1 - ssim))
    options = ["--count", "60", "--side", "40", "--steps", "30", "--out", str(tmp_path / "splats.png")]
    assert gaussian_splatting_loss.main(options) == 0
    assert (tmp_path / "splats.png").read_bytes().startswith(b"\x89PNG")
    first, last = (float(word) for word in capsys.readouterr().out.split() if word.startswith("0."))
    assert last < 0.8 * first


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # Lightning uses what PyTorch deprecates
def test_lightning_module(tmp_path):
    pytest.importorskip("lightning", reason="needs lightning: python -m pip install lightning")
    options = {"accelerator": "cpu", "enable_progress_bar": False, "default_root_dir": tmp_path}
    before, after = load_example("lightning_module").train(epochs=1, **options)
    assert before.keys() == {"ssim", "msssim"} and all(after[name] > before[name] for name in before)
