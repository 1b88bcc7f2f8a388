"""What gets installed: the folder msssim, its licence, and a need of torch alone."""

import pathlib
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("build", reason="building a wheel needs the package build: python -m pip install build")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("no source tree beside the tests")
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that no build/ of an earlier day gets into the wheel and none is left behind.
    leave = shutil.ignore_patterns(".*", "build", "dist", "reports", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder / "source", ignore=leave)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), "source"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    (path,) = (folder / "dist").iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_holds_the_library_and_nothing_else(wheel):
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"msssim"}
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "msssim").rglob("*.py")} | {"msssim/py.typed"}
    assert {name for name in names if name.startswith("msssim/")} == expected


def test_metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Name"] == "msssim"
    needed = [each for each in metadata.get_all("Requires-Dist") if "extra ==" not in each]
    assert [each.split(">")[0] for each in needed] == ["torch"]
    assert metadata.get_all("Provides-Extra") == ["fast"]
    assert metadata["License-Expression"] == "MIT"
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())
