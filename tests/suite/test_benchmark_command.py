"""The time of the command on folders: what is measured, and the table of the document."""

import json
import pathlib
import shutil

import pytest

from benchmarks import command

pytest.importorskip("PIL", reason="needs Pillow")
pytest.importorskip("skimage", reason="the files are photographs of scikit-image")

NAMES = ("decoding", "index", "command")
ROOT = pathlib.Path(__file__).parents[2]


def test_decoding_and_index_are_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "WIDTH", 200)
    monkeypatch.setattr(command, "HEIGHT", 180)
    monkeypatch.setattr(command, "_in_new_process", lambda folder, cores: command.measure(folder))
    document = tmp_path / "command.md"
    document.write_text("<!-- command time: begin -->\n<!-- command time: end -->\n")
    arguments = ["--pairs", "7", "--result", str(tmp_path / "command.json"), "--document", str(document)]
    assert command.main(arguments) == 0
    result = json.loads((tmp_path / "command.json").read_text())
    for part in result["measured"]:
        assert sum(part["pairs"]) == 7 and [run["images"] for run in part["runs"]] == ["colour", "--gray"]
        for run in part["runs"]:
            for decoding, index, command_ in zip(*(run[f"{name} seconds"] for name in NAMES), strict=True):
                assert 0 < index < command_ and decoding > 0
    assert capsys.readouterr().out.strip() in document.read_text()


def test_share_of_the_index():
    run = {
        "images": "colour", "decoding seconds": [0.6, 0.5, 9.0], "index seconds": [0.2, 0.2, 0.3],
        "command seconds": [0.8, 0.6, 9.0],
    }  # fmt: skip
    result = {"measured": [{"pairs": [20, 20, 20], "cores": 2, "runs": [run, {**run, "decoding seconds": [1, 1, 1]}]}]}
    lines = command.table(result).splitlines()
    assert lines[2] == "| colour | 2 | 30.0 | 10.0 | 40.0 | 17% |"
    assert lines[3].endswith("| 0% |")


def test_table_of_the_document_is_that_of_the_committed_file(tmp_path):
    copy = shutil.copy(ROOT / command.DOCUMENT, tmp_path)
    assert command.main(["--from-file", "--document", str(copy)]) == 0
    assert pathlib.Path(copy).read_text(encoding="utf-8") == (ROOT / command.DOCUMENT).read_text(encoding="utf-8")


def test_the_committed_file_has_one_core_and_two():
    measured = json.loads(command.RESULT.read_text(encoding="utf-8"))["measured"]
    assert {part["cores"] for part in measured} >= {1, 2}
    assert all(sum(part["pairs"]) == command.PAIRS for part in measured)
