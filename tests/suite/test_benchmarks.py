"""The benchmarks themselves: what is slow comes out slow, what is wrong gets no time, and files hold what they say."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import msssim
from benchmarks import __main__ as command
from benchmarks import (  # fmt: skip
    cases,
    ceilings,
    checks,
    compare,
    contestants,
    devices,
    fresh,
    measure,
    plots,
    processes,
    readme,
    report,
    rows,
    run,
    tables,
    timing,
)
from benchmarks.contestants import OURS, PEER, Contestant

SHAPE = (1, 1, 48, 40)
TINY = cases.MODES["quick"]._replace(
    shapes={"ssim": (SHAPE,), "msssim": ((2, 1, 64, 56),)}, narrow=(("uint8", SHAPE),), memory=(), scaling=(SHAPE,),
    seconds=0.01, rounds=(3, 3),
)  # fmt: skip
CASE = cases.Case("ssim", cases.BOTH, SHAPE)
SLOW = 0.02


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small images gain nothing by threads, and on a busy machine they lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(name, group=PEER, wrong_by=0.0, pause=0.0, error=None, **fields):
    """A contestant that is plain PyTorch, made wrong, slow or unwilling."""

    def make(metric, data_range):
        function = contestants.find("msssim torch").make(metric, data_range)

        def call(x, y):
            if error is not None:
                raise error
            time.sleep(pause)
            return function(x, y) + wrong_by

        return call

    return Contestant(name=name, group=group, make=make, **fields)


EVERYONE = (
    made("msssim torch", OURS),
    made("msssim wrong", OURS, wrong_by=1e-3),
    made("msssim not a number", OURS, wrong_by=float("nan")),
    made("msssim unwilling", OURS, error=ValueError("backend: covers nothing")),
    made("msssim failing", OURS, error=RuntimeError("something else")),
    made("slow", pause=SLOW),
    made("other convention", wrong_by=1e-3),
    made("not a number", wrong_by=float("nan")),
    made("refusing", error=TypeError("too small\nand more")),
    made("missing", obstacle="missing needs missing: python -m pip install missing"),
    made("of SSIM alone", metrics=("ssim",), differentiable=False, dtypes=("float32",)),
)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """(exit code, folder, printed) of a tiny run with contestants of every kind."""
    out = tmp_path_factory.mktemp("speed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cases.MODES, "quick", TINY)
        patch.setattr(contestants, "everyone", lambda peers: EVERYONE)
        patch.setattr(ceilings, "_COPIED", 1 << 16)
        patch.setattr(ceilings, "_SIDE", {"cpu": 32})
        printed = []
        patch.setattr("builtins.print", lambda *parts, **_: printed.append(" ".join(map(str, parts))))
        arguments = ["--quick", "--device", "cpu", "nowhere", "--threads", "1", "2", "--out", str(out)]
        code = command.main(arguments)
    return code, out, "\n".join(printed)


@pytest.fixture(scope="module")
def table(result):
    return rows.load(result[1] / "rows.json")[0]


def row_of(table, name, kind=rows.TIME, case=CASE):
    keys = {"kind": kind, "contestant": name, "metric": case.metric, "mode": case.mode, "dtype": case.dtype}
    found = table[np.logical_and.reduce([table[key] == value for key, value in keys.items()])]
    return found[found.height == case.shape[2]].iloc[0]


def test_a_slow_contestant_is_reported_as_slow(table):
    slow, ours = row_of(table, "slow"), row_of(table, "msssim torch")
    assert slow.verdict == ours.verdict == rows.OK
    assert SLOW < slow.q1 <= slow.seconds <= slow.q3
    assert ours.ratio == 1
    assert slow.ratio > 2 and slow.ratio_q1 <= slow.ratio <= slow.ratio_q3


def test_a_wrong_backend_gets_no_time_and_fails_the_run(result, table):
    code, _, printed = result
    assert code == 1
    for name, note in (("wrong", "outside"), ("not a number", "no finite"), ("failing", "something else")):
        mine = table[(table.contestant == f"msssim {name}") & (table.kind == rows.TIME)]
        assert len(mine) == 6 and (mine.verdict == rows.WRONG).all() and mine.seconds.isna().all()
        assert mine.note.str.contains(note).all()
        assert f"WRONG: msssim {name}, SSIM forward" in printed
    assert row_of(table, "msssim wrong").error == pytest.approx(1e-3, rel=0.01)
    assert "Wrong results, and so no times" in printed


def test_a_wrong_gradient_alone_is_wrong():
    images = cases.images(CASE)
    value, gradient = contestants.find("msssim torch").call(CASE, images)()
    ours, peer = made("ours", OURS), made("peer")
    assert checks.check(ours, CASE, (value, gradient)).verdict == rows.OK
    for bad in (gradient * 1.001, -gradient, gradient.roll(1, -1)):
        found = checks.check(ours, CASE, (value, bad))
        assert found.verdict == rows.WRONG and "gradient" in found.note and found.gradient_error > found.gradient_budget
        assert checks.check(peer, CASE, (value, bad)).verdict == rows.DIFFERS
    gradient[0, 0, 3, 3] = float("nan")
    assert checks.check(peer, CASE, (value, gradient)).verdict == rows.WRONG


def test_what_a_peer_computes_differently_stands_beside_its_time(table):
    row = row_of(table, "other convention")
    assert row.verdict == rows.DIFFERS and row.error == pytest.approx(1e-3, rel=0.01) and row.seconds > 0
    assert row.error > row.budget
    row = row_of(table, "not a number")
    assert row.verdict == rows.WRONG and np.isnan(row.seconds)


def test_who_cannot_take_part_is_a_row_that_says_why(table):
    missing = table[table.contestant == "missing"]
    assert list(missing.verdict) == [rows.MISSING] and "pip install missing" in missing.note.iloc[0]
    for name, verdict, note in (
        ("refusing", rows.REFUSED, "TypeError: too small"),
        ("msssim unwilling", rows.REFUSED, "covers"),
    ):
        row = row_of(table, name)
        assert row.verdict == verdict and note in row.note and "and more" not in row.note
    alone = table[(table.contestant == "of SSIM alone") & (table.kind == rows.TIME)]
    assert list(zip(alone.metric, alone["mode"], alone.dtype, strict=True)) == [("ssim", "forward", "float32")]


def test_a_device_that_is_not_there_is_skipped_with_a_line(result):
    _, out, printed = result
    assert re.search(r"^skipped nowhere: .*nowhere", printed, re.MULTILINE)
    assert "nowhere" in json.loads((out / "rows.json").read_text())["about"]["skipped nowhere"]


def test_every_row_says_how_near_the_floor_it_is(table):
    timed = table[table.seconds.notna()]
    assert set(timed.kind) == {rows.TIME, rows.THREADS}
    assert np.allclose(timed.floor_fraction, timed.floor_seconds / timed.seconds)
    assert np.allclose(
        timed.ns_per_pixel * timed.batch * timed.channels * timed.height * timed.width, timed.seconds * 1e9
    )
    assert set(timed.floor_bound) <= {ceilings.COPY, ceilings.MULTIPLY}


def test_threads_are_varied_and_put_back(table):
    mine = table[(table.kind == rows.THREADS) & (table.contestant == "slow")]
    assert sorted(mine.threads) == [1, 2] and torch.get_num_threads() == 1


def test_floor_of_known_ceilings():
    machine = ceilings.Ceilings("cpu", 1, copy=1e10, multiply_adds=1e9)
    one = cases.Case("ssim", cases.FORWARD, (2, 3, 11, 20))
    assert ceilings.floor(one, machine)[1] == ceilings.MULTIPLY
    assert ceilings.floor(one, machine)[0] == pytest.approx(2 * 3 * 10 * 88 / 1e9)
    both = one._replace(mode=cases.BOTH)
    assert ceilings.floor(both, machine)[0] == pytest.approx(2 * 3 * 10 * 154 / 1e9)
    seconds, bound = ceilings.floor(both._replace(dtype="uint8"), machine._replace(multiply_adds=1e15))
    assert bound == ceilings.COPY and seconds == pytest.approx(2 * 3 * 11 * 20 * 3 / 1e10)
    fast = machine._replace(device="cuda", multiply_adds=1e15)
    assert ceilings.floor(both._replace(device="cuda"), fast)[0] == pytest.approx(2 * 3 * 11 * 20 * 20 / 1e10)
    assert ceilings.floor(one._replace(device="cuda"), fast)[0] == pytest.approx(2 * 3 * 11 * 20 * 8 / 1e10)
    pyramid = cases.Case("msssim", cases.FORWARD, (1, 1, 23, 45))  # 23 x 45, then 12 x 23
    assert ceilings.floor(pyramid, machine)[0] == pytest.approx((13 * 35 + 2 * 13) * 88 / 1e9)


def test_ceilings_are_measured_with_the_threads_asked_for():
    found = ceilings.measure("cpu", 1)
    assert found.threads == 1 and found.copy > 1e8 and found.multiply_adds > 1e8
    best = ceilings.best([found, found._replace(copy=2 * found.copy, multiply_adds=1.0)])
    assert best.copy == 2 * found.copy and best.multiply_adds == found.multiply_adds


class Clock:
    """Time that passes only when a call says so."""

    def __init__(self):
        self.now, self.order, self.pace = 0.0, [], 1.0

    def call(self, name, seconds):
        def pass_time():
            self.now += seconds * self.pace
            self.order.append(name)

        return timing.Entry(pass_time)

    def time(self, entries, rounds):
        return timing.interleaved(entries, seconds=0, rounds=rounds, sample=self.sampler())

    def sampler(self, synchronize=lambda: None):
        return timing.sampler(synchronize, lambda: self.now)


def test_contestants_take_turns_in_changing_order():
    clock = Clock()
    names = ["a", "b", "c"]
    timed = clock.time({name: clock.call(name, 0.1) for name in names}, (8, 8))
    rounds = [tuple(clock.order[i : i + 3]) for i in range(len(clock.order) - 24, len(clock.order), 3)]
    assert all(sorted(each) == names for each in rounds) and len(set(rounds)) > 2
    assert timed["a"].samples == pytest.approx((0.1,) * 8)


def test_drift_hits_all_alike():
    clock = Clock()
    first, second = clock.call("first", 0.1), clock.call("second", 0.2)

    def slowing():
        first.call()
        clock.pace *= 1.05

    timed = clock.time({"first": timing.Entry(slowing), "second": second}, (20, 20))
    assert timed["first"].samples[-1] > 2 * timed["first"].samples[0]
    assert timing.ratios(timed["second"], timed["first"]).median == pytest.approx(2, rel=0.06)


def test_samples_of_short_calls_hold_many_and_are_led_in():
    clock = Clock()
    timed = clock.time({"short": clock.call("short", 1e-3), "long": clock.call("long", 0.5)}, (3, 3))
    assert (timed["short"].calls, timed["long"].calls) == (4, 1)
    assert timed["short"].samples == pytest.approx((1e-3,) * 3)
    assert clock.order.count("short") == 2 + 3 * (1 + 4) and clock.order.count("long") == 1 + 3


def test_the_device_is_waited_for_inside_the_clock():
    clock = Clock()

    def synchronize():
        clock.now += 1

    timed = timing.interleaved(
        {"queued": timing.Entry(lambda: None)}, seconds=0, rounds=(3, 3), sample=clock.sampler(synchronize)
    )
    assert timed["queued"].samples == (1, 1, 1)


def test_spread_and_ratios():
    assert timing.spread([4, 1, 2, 3, 5]) == (3, 2, 4)
    two, one = timing.Timed((2.0, 4.0, 60.0), 1, (0, 1, 2)), timing.Timed((1.0, 2.0, 30.0), 1, (0, 1, 2))
    assert timing.ratios(two, one) == (2, 2, 2)
    assert timing.ratios(two._replace(samples=(3.0, 90.0), rounds=(0, 3)), one) == (3, 3, 3)


def test_a_slow_contestant_leaves_the_others_their_rounds():
    clock = Clock()
    entries = {"fast": clock.call("fast", 0.1), "slow": clock.call("slow", 3.0)}
    timed = timing.interleaved(entries, seconds=8, rounds=(4, 100), sample=clock.sampler())
    assert timed["fast"].rounds == tuple(range(40)) and timed["slow"].rounds == (9, 19, 29, 39)
    assert len(timed["slow"].samples) == 4
    assert timing.ratios(timed["slow"], timed["fast"]).median == pytest.approx(30)


def test_what_was_slow_on_small_images_is_left_out_of_large_ones():
    mode = TINY._replace(limit=SLOW / 3)
    bench = measure.Bench((made("slow", pause=SLOW),), mode)
    small, large = CASE._replace(mode=cases.FORWARD), CASE._replace(mode=cases.FORWARD, shape=(1, 1, 480, 400))
    for case, note in ((small, "takes 0.0 s"), (large, "would take about")):
        (row,) = bench.time(case)
        assert row["verdict"] == rows.LEFT_OUT and note in row["note"] and "seconds" not in row
    assert bench.too_slow(bench.everyone[0], large, patience=1000) is None


def test_when_time_is_short_what_is_slow_is_left_out_sooner():
    bench = measure.Bench((made("slow", pause=SLOW),), TINY._replace(limit=10 * SLOW))
    verdicts = [bench.time(CASE._replace(mode=cases.FORWARD), share)[0]["verdict"] for share in (1.0, 0.01)]
    assert verdicts == [rows.OK, rows.LEFT_OUT]


def test_a_case_knows_its_size_and_images_hold_the_same_values_in_every_dtype():
    assert [cases.fitting_levels((1, 1, side, 500)) for side in (11, 21, 22, 44, 175, 176, 4096)] == [
        1,
        1,
        2,
        3,
        4,
        5,
        5,
    ]
    wide = [image.double() for image in cases.images(CASE)]
    narrow = [image.double() for image in cases.images(CASE._replace(dtype="bfloat16"))]
    whole = [image.double() / 256 for image in cases.images(CASE._replace(dtype="uint8"))]
    for first, *others in zip(wide, narrow, whole, strict=True):
        assert all(torch.equal(first, other) for other in others) and 0 <= first.min() < first.max() < 1


@pytest.mark.parametrize("mode", cases.MODES)
def test_modes_ask_for_every_metric_and_pass(mode):
    found = cases.cases(cases.MODES[mode], "cpu")
    assert {(case.metric, case.mode) for case in found} == {(m, p) for m in cases.METRICS for p in cases.PASSES}
    assert len({case.name for case in found}) == len(found)
    assert "uint8" in {case.dtype for case in found}
    assert all(shape in cases.MODES[mode].shapes["msssim"] for shape in cases.MODES[mode].compiled)
    assert {case.shape for case in found if cases.MODES[mode].compiles(case)} == set(cases.MODES[mode].compiled)


@pytest.mark.parametrize("mode", cases.MODES)
def test_on_cuda_there_are_images_that_fill_a_gpu(mode):
    found = cases.cases(cases.MODES[mode], "cuda")
    for metric in cases.METRICS:
        assert f"{metric} forward+backward 8x3x1080x1920 float32 cuda" in {case.name for case in found}
    compiled = [case.shape for case in found if cases.MODES[mode].compiles(case)]
    assert {(1, 3, 512, 512), (8, 3, 1080, 1920)} <= set(compiled)
    assert {case.mode for case in found if cases.MODES[mode].compiles(case)} >= {cases.BOTH}


@pytest.fixture
def few_pixels(monkeypatch):
    """Batches repeat their images after two of the smallest."""
    monkeypatch.setattr(cases, "_DISTINCT", 2 * 24 * 20)
    for remembered in (cases.arrays, checks._expected, checks.expected_gradient):
        remembered.cache_clear()
    yield
    for remembered in (cases.arrays, checks._expected, checks.expected_gradient):
        remembered.cache_clear()


def test_a_large_batch_repeats_its_images_and_the_oracle_knows(few_pixels):
    case = cases.Case("ssim", cases.BOTH, (6, 1, 24, 20))
    assert cases.distinct(case.shape) == 2 and cases.distinct((3, 1, 24, 20)) == 1
    x, y = cases.images(case)
    assert torch.equal(x[:2], x[2:4]) and torch.equal(y[:2], y[4:]) and not torch.equal(x[0], x[1])
    x = x.double().requires_grad_()
    value = msssim.ssim(x, y.double(), backend="torch")
    assert abs(value.item() - checks.expected(case)) < 1e-12
    torch.testing.assert_close(
        torch.autograd.grad(value, x)[0], checks.expected_gradient("ssim", case.shape, "float32")
    )


def test_ways_of_calling_are_told_from_the_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    names = [one.name for one in contestants.everyone(["pytorch-msssim"], look=False)]
    assert names[-4:] == [f"pytorch-msssim{way}" for way in ("", ", compiled", ", reduce-overhead", ", graph")]
    assert "msssim triton, graph" in names
    for name in names:
        found = contestants.find(name)
        assert found.name == name and found.compiled == name.endswith(("compiled", "reduce-overhead"))
        if name.endswith(("graph", "reduce-overhead")):
            assert found.gap(CASE) == "runs on cuda" and found.gap(CASE._replace(device="cuda")) is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
def test_a_call_in_a_graph_is_checked_and_timed_by_events():
    mode = cases.MODES["quick"]._replace(seconds=0.1, rounds=(2, 3))
    bench = measure.Bench([contestants.find(name) for name in ("msssim triton", "msssim triton, graph")], mode)
    found = bench.time(cases.Case("msssim", cases.BOTH, (1, 3, 256, 256), device="cuda"))
    assert [row["verdict"] for row in found] == [rows.OK] * 2 and all(row["seconds"] > 0 for row in found)


def test_only_looks_at_names():
    name = f"time {CASE.name}"
    assert name == "time ssim forward+backward 1x1x48x40 float32 cpu"
    assert all(cases.chosen(name, patterns) for patterns in ((), ("48x40",), ("nothing", "SSIM*float32")))
    assert not cases.chosen(name, ("msssim", "64x"))
    bench = measure.Bench(EVERYONE, TINY)
    plan = run.Plan(TINY, ("cpu",), EVERYONE, ("time*uint8",), (1, 2))
    assert [work.name for work in run._timings(plan, bench)] == [
        f"time {metric} forward 1x1x48x40 uint8 cpu" for metric in cases.METRICS
    ]
    assert not run._starts(plan, bench, None)


def test_peers_are_contestants_with_versions_and_conventions():
    everyone = contestants.everyone(["pytorch-msssim", "pytorch-msssim (original)"])
    names = [one.name for one in everyone]
    assert names[-3:] == ["pytorch-msssim", "pytorch-msssim, compiled", "pytorch-msssim (original)"]
    assert {"msssim torch", "msssim torch, compiled", "msssim numba"} <= set(names)
    assert all(one.convention and (one.version or one.obstacle) for one in everyone)
    assert contestants.baseline(everyone, CASE) == f"msssim {msssim.available_backends()[0]}"
    assert contestants.baseline(everyone, CASE._replace(device="mps")) == "msssim torch"
    assert set(plots.STYLES) >= {name for name in names if not name.endswith(contestants.COMPILED)}


def test_files_say_on_what_they_were_made(result):
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


def test_the_page_is_self_contained_and_has_the_plots(result):
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


def test_schema_refuses_what_does_not_keep_to_it(table):
    rows.check(table)
    timed = table.index[table.seconds.notna()][0]
    for change, message in (
        (lambda t: t.drop(columns="note"), "columns"),
        (lambda t: t.assign(kind="nothing"), "kind: one of"),
        (lambda t: t.assign(verdict="fine"), "verdict: one of"),
        (lambda t: t.assign(seconds="fast"), "seconds: numbers"),
        (lambda t: t.assign(seconds=-1.0), "negative"),
        (lambda t: t.assign(verdict=rows.WRONG), "not green has a figure"),
        (lambda t: t.assign(error=np.nan), "error: every green row"),
        (lambda t: t.assign(device=""), "device: every green row"),
        (lambda t: pd.concat([t, t.loc[[timed]]]), "two rows"),
    ):
        with pytest.raises(ValueError, match=message):
            rows.check(change(table.copy()))


def test_a_file_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "rows.json"
    for text in ("[]", '{"schema": 0, "about": {}, "rows": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="schema"):
            rows.load(path)


def measured(**changes):
    """Four rows of one case in a file of their own: the library's, three peers', and a peak of memory."""
    found = []
    for name, group in (("msssim torch", OURS), ("a", PEER), ("b", PEER), ("c", PEER)):
        seconds = changes.get(name, 1.0)
        times = {"seconds": seconds, "q1": 0.98 * seconds, "q3": 1.02 * seconds, "rounds": 9, "calls": 1}
        floor = {
            "ns_per_pixel": 1.0,
            "floor_seconds": 0.1,
            "floor_fraction": 0.1,
            "floor_bound": "copy",
            "ratio": seconds,
        }
        checked = checks.Checked(changes.get("verdict", rows.OK), 0.0, 1e-5)
        fields = times | floor if checked.verdict in rows.GREEN else {}
        found.append(rows.row(rows.TIME, made(name, group), CASE, checked, threads=1, **fields))
    peak = {"peak_bytes": changes.get("memory", 10) * 2**20, "peak_inputs": 1.0}
    found.append(
        rows.row(rows.MEMORY, made("msssim torch", OURS), CASE, checks.Checked(rows.OK, 0.0, 1e-5), threads=1, **peak)
    )
    return rows.frame(found)


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({"msssim torch": 1.01}, []),  # within the noise
        ({"msssim torch": 1.05}, [compare.SLOWER]),  # beyond it, below the threshold
        ({"msssim torch": 0.5}, [compare.FASTER]),
        ({"msssim torch": 1.5}, [compare.REGRESSION]),
        ({"a": 1.5}, [compare.SLOWER]),  # not ours to mend
        ({"msssim torch": 1.5, "a": 1.5, "b": 1.5, "c": 1.5}, [compare.SLOWER] * 4),  # the machine
        ({"memory": 12}, [compare.REGRESSION]),
        ({"memory": 5}, [compare.LESS]),
        ({"memory": 10.5}, []),
        ({"verdict": rows.WRONG}, [compare.LOST] * 4),
    ],
)
def test_compare(changes, verdicts, capsys):
    old, new = (measured(), {"CPU": "x"}), (measured(**changes), {"CPU": "x"})
    assert [line[0] for line in compare.changes(old[0], new[0])[0]] == verdicts
    assert compare.show(old, new) == int(compare.REGRESSION in verdicts)
    assert compare.show(old, new, threshold=10) == 0
    assert f"{len(verdicts)} of " in capsys.readouterr().out


def test_compare_two_files(tmp_path, capsys):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, factor, cpu in ((old, 1.0, "x"), (new, 2.0, "y")):
        folder.mkdir()
        rows.save(folder, measured(**{"msssim torch": factor}), {"CPU": cpu, "threads": "1"}, [])
    assert compare.main([str(old / "rows.json"), str(new / "rows.json")]) == 1
    printed = capsys.readouterr().out
    assert "CPU was x, is y" in printed and "REGRESSION" in printed and "+100.0%" in printed
    assert "too few times of peers tell" not in printed
    few = measured().query("contestant != 'a'")
    compare.show((few, {}), (few, {}))
    assert "too few times of peers tell" in capsys.readouterr().out
    assert compare.main([str(new / "rows.json"), str(old / "rows.json")]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory can be reset on Linux alone")
def test_peak_of_memory_is_that_of_the_call():
    above, process = devices.peak_of(lambda: np.ones(1 << 23).sum(), "cpu")  # 64 MiB, gone when the call is over
    assert 0.95 < above / 2**26 < 1.3 and process > above
    assert devices.peak_of(lambda: None, "cpu")[0] < 2**23


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory can be reset on Linux alone")
def test_a_new_process_measures_start_and_memory():
    case = cases.Case("msssim", cases.BOTH, (1, 1, 256, 256))
    found = processes.Processes(1, lambda *_: None)
    found.memory(contestants.find("msssim torch"), case)
    memory, start = rows.frame(found.rows()).itertuples()
    assert (memory.kind, start.kind) == (rows.MEMORY, rows.NEW_PROCESS)
    assert memory.verdict == start.verdict == rows.OK
    assert memory.peak_inputs > 2 and memory.process_bytes > 2**26
    assert 0 < start.first_seconds <= start.seconds < 60 and start.height == cases.START[2]


def test_a_process_that_fails_is_a_row_that_says_why(monkeypatch):
    def fail(*args, **kwargs):
        raise subprocess.CalledProcessError(1, "python", stderr="Traceback\nMemoryError: no more\n")

    monkeypatch.setattr(subprocess, "run", fail)
    found = processes.Processes(1, lambda *_: None)
    found.memory(made("x"), CASE)
    found.first_ever(made("x", OURS), CASE)
    table = rows.frame(found.rows())
    assert list(table.verdict) == [rows.REFUSED] * 2 and (table.note == "MemoryError: no more").all()


def test_empty_caches_are_asked_for_by_every_compiler(monkeypatch):
    seen = {}

    def record(command, env, **kwargs):
        seen.update(env)
        return subprocess.CompletedProcess(command, 0, stdout='noise\n{"value": 1.0}\n')

    monkeypatch.setattr(subprocess, "run", record)
    assert fresh.ask("x", CASE, threads=1, empty=True) == {"value": 1.0}
    assert {"NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"} <= set(seen)
    assert seen["NUMBA_CACHE_DIR"] != os.environ.get("NUMBA_CACHE_DIR")


def test_what_was_compiled_in_the_run_is_a_first_call_ever():
    case = cases.Case("msssim", cases.BOTH, SHAPE)
    done = rows.row(rows.TIME, made("x" + contestants.COMPILED), case, checks.Checked(rows.OK, 0.0, 1.0), threads=1)
    (first,) = run._first_compiled([done | {"first_seconds": 5.0, "seconds": 0.1}])
    assert (first["kind"], first["seconds"], first["contestant"]) == (rows.FIRST_EVER, 5.0, "x, compiled")
    rows.frame([first])


def test_readme_region(tmp_path):
    path, text = tmp_path / "README.md", f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    path.write_text(text, encoding="utf-8")
    folder = tmp_path / "benchmarks" / "results" / "machine"
    folder.mkdir(parents=True)
    found = measured(**{"msssim torch": 0.002, "a": 0.001, "b": 0.004}).assign(metric="msssim")
    found["ratio"] = found.seconds / 0.002
    rows.save(folder, found, {"CPU": "a machine", "threads": "1"}, [])
    for _ in range(2):  # writing it again changes nothing
        assert readme.main([str(folder / "rows.json"), "--readme", str(path)]) == 0
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# Title\n\n{readme.BEGIN}\n| quantity |") and text.endswith(f"\n{readme.END}\nafter\n")
        assert "| MS-SSIM, forward+backward | 1 × 1 × 48 × 40 | 2 | – | 1 (0.50×) | a |" in text  # lost, and shown
        assert "a machine" in text and "old" not in text
    for name in re.findall(r'(?:srcset|src)="([^"]+)"', text):
        assert "<svg" in (tmp_path / name).read_text(encoding="utf-8")
    assert (
        "#e6edf3" in (folder / "speed-dark.svg").read_text()
        and "#e6edf3" not in (folder / "speed-light.svg").read_text()
    )


def test_of_several_runs_the_readme_shows_where_a_peer_came_nearest(tmp_path, capsys):
    path, files = tmp_path / "README.md", []
    path.write_text(f"{readme.BEGIN}\n{readme.END}\n", encoding="utf-8")
    for number, (a, always) in enumerate(((0.006, 0.010), (0.004, 0.016), (0.008, 0.012))):
        found = measured(**{"msssim torch": 0.002, "a": a, "b": always}).assign(metric="msssim")
        found = found.replace({"contestant": {"b": readme.ALWAYS}})
        found["ratio"] = found.seconds / 0.002
        found.loc[found.contestant == "a", "verdict"] = rows.DIFFERS
        (tmp_path / str(number)).mkdir()
        rows.save(tmp_path / str(number), found, {"CPU": "a machine", "threads": "1"}, [])
        files.append(str(tmp_path / str(number) / "rows.json"))
    assert readme.main([*files, "--readme", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert text.count("| MS-SSIM, ") == 1 and "| 10 (5.00×) | 4 (2.00×) † | a |" in text
    assert text.count("rows.json`") == 3
    rows.save(tmp_path / "2", found, {"CPU": "another", "threads": "1"}, [])
    with pytest.raises(SystemExit):
        readme.main([*files, "--readme", str(path)])
    assert "one machine" in capsys.readouterr().err


def test_readme_without_markers_or_peers_is_refused(tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text("no markers", encoding="utf-8")
    rows.save(tmp_path, measured(), {"CPU": "x", "threads": "1"}, [])
    with pytest.raises(SystemExit):
        readme.main([str(tmp_path / "rows.json"), "--readme", str(path)])
    assert "markers" in capsys.readouterr().err and path.read_text() == "no markers"
    assert not list(tmp_path.glob("*.svg"))
    with pytest.raises(ValueError, match="peers"):
        readme.table(measured().iloc[:1])


def test_headline_counts_what_was_lost():
    found = measured(a=0.5, b=2.0, c=4.0)
    assert "0.50× (a, SSIM forward+backward" in report.headline(found)
    assert report.headline(found).endswith(
        "faster than the library in 1. Peers under torch.compile were timed in 0 of these cases."
    )
    compiled = found.replace({"contestant": {"a": "a, compiled", "b": "b, compiled"}})
    assert report.headline(compiled).endswith("in 1 of these cases.")
    assert report.headline(found.iloc[:1]) == "No peer was timed beside the library."
    summaries = {section.name: section.summary for section in report.sections(found.replace("ssim", "msssim"), [])}
    assert "faster than the library in 1" in summaries["time-cpu"]
    assert summaries["processes"].endswith(
        "1x1x48x40 float32 cpu, in input images, the lowest of ours and of the peers: msssim torch 1.0."
    )
    assert tables.ratio(123.4) == "123×" and tables.ratio(12.34) == "12.3×" and tables.milliseconds(0.0012345) == "1.23"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "nobody"], "pytorch-msssim"),
        (["--threads", "0"], "at least 1"),
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--quick", "--full"], "not allowed with"),
        (["--threshold", "0.1"], "--threshold: "),
        (["--peers", "none", "pytorch-msssim"], "--peers: none, or names"),
        (["--device", "nothing"], "none of nothing is there"),
        (["--only", "nothing", "--peers", "none", "--quick"], "nothing that can be measured has nothing in its name"),
        (["--out", "/dev/null/folder"], "--out: "),
    ],
)
def test_bad_arguments_are_refused_with_what_is_possible(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_pytest_benchmark_cases_run():
    pytest.importorskip("pytest_benchmark", reason="needs pytest-benchmark: python -m pip install pytest-benchmark")
    arguments = ["-k", "1x3x64x64 and torch and ssim-forward-", "--benchmark-disable", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks/test_speed.py", *arguments],
        cwd=Path(__file__).parents[2], capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode and re.search(r"\b[1-9]\d* passed", done.stdout), done.stdout + done.stderr
