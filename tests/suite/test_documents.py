"""The documents: their links exist, README.md is short, and versions agree."""

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("msssim/**/*.md")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_exist(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"""\]\(([^)\s]+)\)|\b(?:src|srcset)="([^"]+)\"""", text)
    for link in (first or second for first, second in links):
        if not re.match("[a-z]+:", link):
            name, _, heading = link.partition("#")
            target = path.parent / name if name else path
            assert target.exists(), link
            if heading:
                assert heading in _anchors(target), link


def _anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_named_in_the_documents_exist():
    for path in (ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")):
        for name in re.findall(r"`([\w./]+\.(?:py|json|toml|cff|yml))(?::[^`]*)?`", path.read_text(encoding="utf-8")):
            if "NAME" not in name and "/" in name:
                folders = (ROOT, ROOT / "msssim/backends", ROOT / "reference/peers", path.parent)
                assert any((folder / name).exists() for folder in folders), f"{path.name}: {name}"


def test_every_code_block_runs_or_says_what_it_needs():
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        lines = path.read_text(encoding="utf-8").splitlines()
        fences = [number for number, line in enumerate(lines) if line.startswith("```")]
        for opening, closing in zip(fences[::2], fences[1::2], strict=True):
            language, above = lines[opening].removeprefix("```"), next(filter(None, reversed(lines[:opening])), "")
            runs = any(line.startswith(">>> ") for line in lines[opening + 1 : closing])  # doctest looks for these
            if language in ("python", "pycon"):
                assert runs or re.match("<!-- needs .+ -->", above), f"{path.name}:{opening + 1}"
            else:
                assert not runs and re.fullmatch(r"shell|text|\{.+", language), f"{path.name}:{opening + 1}"


def test_modules_and_options_of_commands_in_the_documents_exist():
    for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for name, rest in re.findall(r"python -m ([\w.]+)([^`|#\n]*)", path.read_text(encoding="utf-8")):
            folder = ROOT / name.replace(".", "/")
            if (ROOT / name.partition(".")[0]).is_dir():
                files = [folder.with_suffix(".py")] if folder.with_suffix(".py").exists() else [*folder.rglob("*.py")]
                source = "".join(file.read_text(encoding="utf-8") for file in files)
                missing = [option for option in re.findall(r"(?<= )--[a-z-]+", rest) if f'"{option}"' not in source]
                assert files and not missing, (path.name, name, missing)


def test_the_site_has_every_public_name():
    import msssim

    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^(?:   |\.\. py:data:: )msssim\.(\w+)$", text, re.MULTILINE))
    assert shown == set(msssim.__all__)
    assert {path.stem for path in ROOT.glob("msssim/compat/[a-z]*.py")} == set(
        re.findall(r"^   msssim\.compat\.(\w+)$", text, re.MULTILINE)
    )


def test_the_walk_of_a_call_names_functions_that_exist():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    steps = re.findall(r"`(msssim/[\w/]+\.py): (?:(\w+)\.)?(\w+)\(\)`", text)
    assert len(steps) >= 6
    for name, owner, function in steps:
        source = (ROOT / name).read_text(encoding="utf-8")
        assert f"def {function}(" in source and (not owner or f"class {owner}" in source), (name, function)


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_version_of_ruff_is_the_same_everywhere():
    found = {
        version
        for name in ("tox.ini", ".pre-commit-config.yaml")
        for version in re.findall(r"\bruff==([\d.]+)", (ROOT / name).read_text(encoding="utf-8"))
    }
    assert len(found) == 1


@pytest.fixture(scope="module")
def check_release():
    spec = importlib.util.spec_from_file_location("check_release", ROOT / ".github" / "check_release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_release_is_checked(check_release, tmp_path):
    files = {
        "msssim/__init__.py": '__version__ = "1.2.3"\n',
        "CHANGELOG.md": "## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n",
        "CITATION.cff": "version: 1.2.3\n",
    }
    (tmp_path / "msssim").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert check_release.problems("v1.2.3", tmp_path) == []
    assert len(check_release.problems("v1.2.4", tmp_path)) == 3
    assert "tag" in check_release.problems("1.2.3", tmp_path)[0]


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/**/*.yml")), ids=lambda path: path.name)
def test_yaml_files_can_be_parsed(path):
    yaml = pytest.importorskip("yaml", reason="needs the package pyyaml")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))
