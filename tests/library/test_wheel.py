"""What is published: the wheel has the folder msssim, its licence and one dependency; the sdist can build it."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder with the sdist and the wheel that was built from it."""
    pytest.importorskip("build", reason="building a wheel needs the package build: python -m pip install build")
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("no source tree beside the tests")
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that no build/ of an earlier day gets into the wheel and none is left behind.
    leave = shutil.ignore_patterns(".*", "build", "dist", "reports", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, folder / "source", ignore=leave)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), "source"]
    environment = {**os.environ, "GITHUB_REPOSITORY": "owner/msssim", "GITHUB_REF_NAME": "v9.9.9"}
    environment.pop("GITHUB_SERVER_URL", None)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_the_library_only(wheel):
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"msssim"}
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "msssim").rglob("*.py")}
    expected |= {"msssim/py.typed", "msssim/backends/triton/launch_constants.json"}
    assert {name for name in names if name.startswith("msssim/")} == expected


def test_metadata(wheel, metadata):
    assert metadata["Name"] == "msssim"
    needed = [each for each in metadata.get_all("Requires-Dist") if "extra ==" not in each]
    assert [each.split(">")[0] for each in needed] == ["torch"]
    assert metadata.get_all("Provides-Extra") == ["fast", "metrics", "cli"]
    assert metadata["License-Expression"] == "MIT"
    assert any(name.endswith("/licenses/LICENSE") for name in wheel.namelist())


def test_links_of_the_long_description_are_absolute(metadata):
    text = metadata.get_payload()
    links = re.findall(r"""\]\(([^)]+)\)|\b(?:src|srcset)="([^"]+)\"""", text)
    links = [link or picture for link, picture in links]
    assert len(links) > 5 and all(re.match("https?:|#", link) for link in links), links
    assert "https://github.com/owner/msssim/blob/v9.9.9/CHANGELOG.md" in links
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL"))
    assert urls["Source"] == "https://github.com/owner/msssim"


def test_sdist_has_the_changelog_and_the_citation(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "SECURITY.md", "msssim/py.typed"} <= names
    assert not any(name.startswith(("tests", "validation", "datasets")) for name in names)
