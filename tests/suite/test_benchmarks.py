"""A tiny benchmark run: verdicts, rows and files; and the command line."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarking import CASE, IMPLEMENTATIONS, SLOW, TINY

from benchmarks import __main__ as command
from benchmarks import cases, ceilings, implementations, measure, rows
from benchmarks.presets import PRESETS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Return (exit code, folder, printed text) of a tiny run with implementations of every kind."""
    out = tmp_path_factory.mktemp("speed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "quick", TINY)
        patch.setattr(implementations, "all_implementations", lambda peers: IMPLEMENTATIONS)
        patch.setattr(ceilings, "_COPY_BYTES", 1 << 16)
        patch.setattr(ceilings, "_MATRIX_SIDE", {"cpu": 32})
        printed = []
        patch.setattr("builtins.print", lambda *parts, **_: printed.append(" ".join(map(str, parts))))
        arguments = ["--quick", "--device", "cpu", "nowhere", "--threads", "1", "2", "--out", str(out)]
        code = command.main(arguments)
    return code, out, "\n".join(printed)


@pytest.fixture(scope="module")
def table(result):
    return rows.load(result[1] / "rows.json")[0]


def row_of(table, name):
    keys = {"kind": rows.TIME, "implementation": name, "metric": CASE.metric, "mode": CASE.mode, "dtype": CASE.dtype}
    found = table[np.logical_and.reduce([table[key] == value for key, value in keys.items()])]
    return found[found.height == CASE.shape[2]].iloc[0]


def test_slow_implementation_is_reported_as_slow(table):
    slow, ours = row_of(table, "slow"), row_of(table, "msssim torch")
    assert slow.verdict == ours.verdict == rows.OK
    assert SLOW < slow.q1 <= slow.seconds <= slow.q3
    assert ours.ratio == 1
    assert slow.ratio > 2 and slow.ratio_q1 <= slow.ratio <= slow.ratio_q3


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_wrong_backend_is_not_timed_and_fails_the_run(result, table):
    code, _, printed = result
    assert code == 1
    for name, note in (("wrong", "outside"), ("nan", "not finite"), ("failing", "something else")):
        mine = table[(table.implementation == f"msssim {name}") & (table.kind == rows.TIME)]
        assert len(mine) == 6 and (mine.verdict == rows.WRONG).all() and mine.seconds.isna().all()
        assert mine.note.str.contains(note).all()
        assert f"WRONG: msssim {name}, SSIM forward" in printed
    assert row_of(table, "msssim wrong").error == pytest.approx(1e-3, rel=0.01)
    assert "Wrong results, which are not timed" in printed


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_deviating_peer_is_timed_with_its_error(table):
    row = row_of(table, "deviating")
    assert row.verdict == rows.DIFFERS and row.error == pytest.approx(1e-3, rel=0.01) and row.seconds > 0
    assert row.error > row.budget
    row = row_of(table, "nan")
    assert row.verdict == rows.WRONG and np.isnan(row.seconds)


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_unavailable_implementation_is_a_row_with_the_reason(table):
    missing = table[table.implementation == "missing"]
    assert list(missing.verdict) == [rows.MISSING] and "pip install missing" in missing.note.iloc[0]
    for name, verdict, note in (
        ("refusing", rows.REFUSED, "TypeError: too small"),
        ("msssim refusing", rows.REFUSED, "supports nothing"),
    ):
        row = row_of(table, name)
        assert row.verdict == verdict and note in row.note and "and more" not in row.note
    ssim_only = table[(table.implementation == "ssim only") & (table.kind == rows.TIME)]
    assert list(zip(ssim_only.metric, ssim_only["mode"], ssim_only.dtype, strict=True)) == [
        ("ssim", "forward", "float32")
    ]


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_unavailable_device_is_skipped_with_a_message(result):
    _, out, printed = result
    assert re.search(r"^skipped nowhere: .*nowhere", printed, re.MULTILINE)
    assert "nowhere" in json.loads((out / "rows.json").read_text())["about"]["skipped nowhere"]


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_every_time_has_its_lower_bound(table):
    timed = table[table.seconds.notna()]
    assert set(timed.kind) == {rows.TIME, rows.THREADS}
    assert np.allclose(timed.floor_fraction, timed.floor_seconds / timed.seconds)
    assert np.allclose(
        timed.ns_per_pixel * timed.batch * timed.channels * timed.height * timed.width, timed.seconds * 1e9
    )
    assert set(timed.floor_bound) <= {ceilings.COPY, ceilings.MULTIPLY_ADD}


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_threads_are_varied_and_restored(table):
    mine = table[(table.kind == rows.THREADS) & (table.implementation == "slow")]
    assert sorted(mine.threads) == [1, 2] and torch.get_num_threads() == 1


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_files_describe_the_machine(result):
    _, out, _ = result
    about = json.loads((out / "rows.json").read_text())["about"]
    assert {"command", "mode", "date", "CPU", "system", "packages", "threads", "load before", "load after"} <= set(
        about
    )
    for name in ("rows.csv", "report.md", "report.html"):
        text = (out / name).read_text(encoding="utf-8")
        for key in ("command", "CPU", "packages", "load before", "load after"):
            assert about[key].replace("'", "&#39;" if name.endswith("html") else "'") in text, (name, key)
    assert pd.read_csv(out / "rows.csv", comment="#").shape == rows.load(out / "rows.json")[0].shape


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_page_is_self_contained_and_has_figures(result):
    html = (result[1] / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", html)
    assert not re.findall(r"<(?:link|img|iframe)\b|<script[^>]+src|@import|url\((?!#)", html)
    assert "<h1>Speed of msssim</h1>" in html and html.count("<svg") >= 4
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', html)) <= set(ids)
    markdown = (result[1] / "report.md").read_text(encoding="utf-8")
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", markdown):
        assert (result[1] / path).stat().st_size > 1000


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_invalid_tables_are_refused(table):
    rows.check(table)
    timed = table.index[table.seconds.notna()][0]
    for change, message in (
        (lambda t: t.drop(columns="note"), "columns must be"),
        (lambda t: t.assign(kind="nothing"), "kind must be one of"),
        (lambda t: t.assign(verdict="fine"), "verdict must be one of"),
        (lambda t: t.assign(seconds="fast"), "seconds must have numbers"),
        (lambda t: t.assign(seconds=-1.0), "seconds must not have negative"),
        (lambda t: t.assign(verdict=rows.WRONG), "may have measurements"),
        (lambda t: t.assign(error=np.nan), "error: missing in a row"),
        (lambda t: t.assign(device=""), "device: missing in a row"),
        (lambda t: pd.concat([t, t.loc[[timed]]]), "two rows"),
    ):
        with pytest.raises(ValueError, match=message):
            rows.check(change(table.copy()))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
def test_cuda_graph_is_checked_and_timed():
    mode = PRESETS["quick"]._replace(seconds=0.1, rounds=(2, 3))
    bench = measure.Bench([implementations.by_name(name) for name in ("msssim triton", "msssim triton, graph")], mode)
    found = bench.time(cases.Case("msssim", cases.FORWARD_BACKWARD, (1, 3, 256, 256), device="cuda"))
    assert [row["verdict"] for row in found] == [rows.OK] * 2 and all(row["seconds"] > 0 for row in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "nobody"], "pytorch-msssim"),
        (["--threads", "0"], "argument --threads: "),
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--quick", "--full"], "not allowed with"),
        (["--threshold", "0.1"], "--threshold must be > 0"),
        (["--peers", "none", "pytorch-msssim"], "--peers must be either names or none"),
        (["--device", "nothing"], "none of nothing is available"),
        (["--only", "nothing", "--peers", "none", "--quick"], "nothing to measure matches nothing"),
        (["--out", "/dev/null/folder"], "--out: "),
    ],
)
def test_invalid_arguments_are_refused(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.full
def test_pytest_benchmark_cases_run():
    pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark: python -m pip install pytest-benchmark")
    arguments = ["-k", "1x3x64x64 and torch and ssim-forward-", "--benchmark-disable", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks/test_speed.py", *arguments],
        cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode and re.search(r"\b[1-9]\d* passed", done.stdout), done.stdout + done.stderr
