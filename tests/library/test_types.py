"""What mypy and pyright tell a user: a right program passes, and each wrong call is an error on its line."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

RIGHT = """
import torch
from torch import Tensor, nn

from msssim import MSSSIM, SSIM, WEIGHTS, available_backends, luma, msssim, presets, ssim, warm_up
from msssim import MSSSIML1Loss, MSSSIMLoss, SSIMLoss, msssim_l1_loss, msssim_loss, ssim_loss

x, y = torch.rand(1, 3, 256, 256, requires_grad=True), torch.rand(1, 3, 256, 256)
value: Tensor = ssim(x, y, data_range=1, win_size=7)
value.backward()
msssim(x, y, normalize="covariance", weights=[0.5, 0.5], data_range=y.max()).backward()
full_value, ssim_map = ssim(x, y, full=True)
index, terms = msssim(x, y, scales=True, reduction="none", small="fewer", mask="finite", channels="pooled")
weighted, weighted_map, weights = ssim(x, y, full="weights", mask=x > 0, mask_mode="inside")
value, maps = msssim(x, y, full=True)
value, terms, maps, of_maps = msssim(x, y, scales=True, full="weights")
shapes: list[torch.Size] = [each.shape for each in (*maps, *of_maps, weights)]
ssim(x, y, window="uniform", sample_covariance=True, padding="zeros", data_range=y.amax((1, 2, 3))).backward()
print(index.mean(), terms.shape, full_value.item(), ssim_map.amin())
for flag in (True, False):
    either = ssim(x, y, full=flag)
    print(either[0] if isinstance(either, tuple) else either.item())
criterion: nn.Module = nn.Sequential()
metric = MSSSIM(normalize="relu", weights=WEIGHTS, backend="torch")
metric.eval().requires_grad_(False)
loss = 1 - metric(x, y) + SSIM(downsample="auto")(x, y, mask=x > 0, data_range=y.max())
loss.backward()
value = ssim(x, y, data_range=255.0, **presets["fastmri"]) + SSIM(**presets["3dgs"])(x, y)
names: tuple[str, ...] = available_backends()
lines: list[str] = warm_up(gradients=[0], backend="torch")
losses: list[Tensor] = [ssim_loss(x, y, reduction="sum"), msssim_loss(x, y, small="fewer"), msssim_l1_loss(x, y)]
mix: nn.Module = MSSSIML1Loss(alpha=0.5, normalize="relu", data_range=2.0)
both: Tensor = SSIMLoss(win_size=7)(x, y) + MSSSIMLoss(weights=(0.5, 0.5))(x, y)
gray: Tensor = luma(x, "bt709")
"""

WRONG = """
import torch
from msssim import MSSSIM, SSIM, MSSSIML1Loss, SSIMLoss, luma, msssim, ssim, ssim_loss, warm_up

x = torch.rand(1, 1, 200, 200)
ssim(x, x, reduction="avg")  # wrong
msssim(x, x, normalize="reluu")  # wrong
ssim("image.png", x)  # wrong
msssim(x, x, window_size=7)  # wrong
msssim(x, x, scales=True).backward()  # wrong
ssim(x, x, data_range="255")  # wrong
MSSSIM(weights="default")  # wrong
SSIM()("image.png", x)  # wrong
warm_up(backend="cuda")  # wrong
SSIM(window_size=7)  # wrong
SSIMLoss(full=True)  # wrong
MSSSIML1Loss(alpha="0.84")  # wrong
ssim_loss(x, x, normalize="relu")  # wrong
luma(x, "rec709")  # wrong
ssim(x, x, full="maps")  # wrong
msssim(x, x, padding="zeros")  # wrong
ssim(x, x, mask=[[1, 0]])  # wrong
ssim(x, x, full=True).backward()  # wrong
value, terms = msssim(x, x, scales=False), 0
value.backward()
"""

COMMANDS = {
    "mypy": ["mypy", "--config-file=", "--no-error-summary", "--hide-error-context"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.fixture(scope="module", params=COMMANDS)
def errors(request, tmp_path_factory):
    """The lines of each program that a type checker reports an error for."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: tox run -e types")
    folder = tmp_path_factory.mktemp("types")
    for name, text in (("right.py", RIGHT), ("wrong.py", WRONG)):
        (folder / name).write_text(text)
    # Beside the programs, as an installed package is not: errors inside of it would be reported too.
    (folder / "pyrightconfig.json").write_text(f'{{"extraPaths": ["{ROOT.as_posix()}"], "include": ["*.py"]}}')
    command = [sys.executable, "-m", *COMMANDS[request.param], *(["."] if request.param == "mypy" else [])]
    paths = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    }  # an inherited one may be relative to another folder
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=paths)
    assert done.returncode == 1, done.stdout + done.stderr  # 2 and more: the checker itself failed
    found = re.findall(r"(right|wrong)\.py:(\d+):.*error", done.stdout)
    return {name: {int(line) for other, line in found if other == name} for name in ("right", "wrong")}, done.stdout


def test_a_right_program_has_no_error(errors):
    found, output = errors
    assert not found["right"], output


def test_each_wrong_call_is_an_error(errors):
    found, output = errors
    assert found["wrong"] == {n for n, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}, output
