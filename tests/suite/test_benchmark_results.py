"""Result files: reading, comparing, the headline, and the table in README.md."""

import pathlib
import re

import pytest
from benchmarking import CASE, make_implementation

import benchmarks
from benchmarks import __main__ as command
from benchmarks import (
    checks,
    compare,
    readme,
    report,
    rows,
    tables,
)  # fmt: skip
from benchmarks.implementations import OURS, PEER

RESULTS = pathlib.Path(benchmarks.__file__).parent / "results"
pytestmark = pytest.mark.usefixtures("one_thread")


def test_unknown_schema_is_refused(tmp_path):
    path = tmp_path / "rows.json"
    for text in ("[]", '{"schema": 2, "about": {}, "rows": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="schema must be 3"):
            rows.load(path)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/rows.json")), ids=lambda path: path.parent.name)
def test_stored_results_can_be_read_and_rendered(path, tmp_path, capsys):
    results = rows.load(path)
    assert (results.table.kind == rows.IMPLEMENTATION).sum() > 5
    assert "the library's time" in report.headline(results.table)
    rows.save(tmp_path, results.table, results.about, list(results.ceilings))
    copy = tmp_path / "rows.json"
    assert copy.read_bytes() == path.read_bytes()
    assert command.main(["--render", str(copy)]) == 0
    page = tmp_path / "report.html"
    assert capsys.readouterr().out.strip() == str(page)
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") >= 3 and results.about["packages"] in html
    assert copy.read_bytes() == path.read_bytes()


def measured(**changes):
    """Return rows of one case: the library, three peers, and a peak of memory."""
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
        checked = checks.CheckResult(changes.get("verdict", rows.OK), 0.0, 1e-5)
        fields = times | floor if checked.verdict in rows.VALID else {}
        found.append(rows.row(rows.TIME, make_implementation(name, group), CASE, checked, threads=1, **fields))
    peak = {"peak_bytes": changes.get("memory", 10) * 2**20, "peak_inputs": 1.0}
    found.append(
        rows.row(
            rows.MEMORY,
            make_implementation("msssim torch", OURS),
            CASE,
            checks.CheckResult(rows.OK, 0.0, 1e-5),
            threads=1,
            **peak,
        )
    )
    return rows.frame(found)


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({"msssim torch": 1.01}, []),  # within the noise
        ({"msssim torch": 1.05}, [compare.SLOWER]),  # beyond the noise, below the threshold
        ({"msssim torch": 0.5}, [compare.FASTER]),
        ({"msssim torch": 1.5}, [compare.REGRESSION]),
        ({"a": 1.5}, [compare.SLOWER]),  # a peer
        ({"msssim torch": 1.5, "a": 1.5, "b": 1.5, "c": 1.5}, [compare.SLOWER] * 4),  # the machine is slower
        ({"memory": 12}, [compare.REGRESSION]),
        ({"memory": 5}, [compare.LESS]),
        ({"memory": 10.5}, []),
        ({"verdict": rows.WRONG}, [compare.LOST] * 4),
    ],
)
def test_compare(changes, verdicts, capsys):
    old, new = (rows.Results(table, {"CPU": "x"}) for table in (measured(), measured(**changes)))
    assert [change.verdict for change in compare.compare(old.table, new.table).changes] == verdicts
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
    assert "too few peers to estimate drift" not in printed
    few = measured().query("implementation != 'a'")
    compare.show(rows.Results(few, {}), rows.Results(few, {}))
    assert "too few peers to estimate drift" in capsys.readouterr().out
    assert compare.main([str(new / "rows.json"), str(old / "rows.json")]) == 0


def _document(path, *names):
    regions = "".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n" for name in names)
    path.write_text(f"# Title\n\n{regions}after\n", encoding="utf-8")
    return path


def test_regions_of_the_documents(tmp_path):
    (tmp_path / "docs").mkdir()
    first, second = (
        _document(tmp_path / "README.md", readme.PICTURE),
        _document(tmp_path / "docs/speed.md", readme.TABLE),
    )
    folder = tmp_path / "benchmarks" / "results" / "machine"
    folder.mkdir(parents=True)
    found = measured(**{"msssim torch": 0.002, "a": 0.001, "b": 0.004}).assign(metric="msssim")
    found["ratio"] = found.seconds / 0.002
    rows.save(folder, found, {"CPU": "a machine", "threads": "1"}, [])
    for _ in range(2):  # writing twice changes nothing
        assert readme.main([str(folder / "rows.json"), "--documents", str(first), str(second)]) == 0
        for path in (first, second):
            text = path.read_text(encoding="utf-8")
            assert text.startswith("# Title\n\n<!-- speed ") and text.endswith(" end -->\nafter\n")
            assert "a machine" in text and "old" not in text
        # Cases in which a peer is faster are shown too.
        assert "| MS-SSIM, forward+backward | 1 × 1 × 48 × 40 | 2 | – | 1 (0.50×) | a |" in text
        assert "](../benchmarks/results/machine/rows.json)" in text
    names = re.findall(r'(?:srcset|src)="([^"]+)"', first.read_text(encoding="utf-8"))
    assert len(names) == 2
    dark, light = ((tmp_path / name).read_text(encoding="utf-8") for name in names)
    assert "<svg" in light and "#e6edf3" in dark and "#e6edf3" not in light


def test_each_peer_is_from_its_best_run(tmp_path, capsys):
    path, files = _document(tmp_path / "speed.md", readme.TABLE), []
    for number, (a, always) in enumerate(((0.006, 0.010), (0.004, 0.016), (0.008, 0.012))):
        found = measured(**{"msssim torch": 0.002, "a": a, "b": always}).assign(metric="msssim")
        found = found.replace({"implementation": {"b": readme.MAIN_PEER}})
        found["ratio"] = found.seconds / 0.002
        found.loc[found.implementation == "a", "verdict"] = rows.DIFFERS
        (tmp_path / str(number)).mkdir()
        rows.save(tmp_path / str(number), found, {"CPU": "a machine", "threads": "1"}, [])
        files.append(str(tmp_path / str(number) / "rows.json"))
    assert readme.main([*files, "--documents", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert text.count("| MS-SSIM, ") == 1 and "| 10 (5.00×) | 4 (2.00×) † | a |" in text
    assert text.count("rows.json`") == 3
    rows.save(tmp_path / "2", found, {"CPU": "another", "threads": "1"}, [])
    with pytest.raises(SystemExit):
        readme.main([*files, "--documents", str(path)])
    assert "must be from one machine" in capsys.readouterr().err


def test_document_without_markers_or_rows_without_peers_are_refused(tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text("no markers", encoding="utf-8")
    rows.save(tmp_path, measured(), {"CPU": "x", "threads": "1"}, [])
    with pytest.raises(SystemExit):
        readme.main([str(tmp_path / "rows.json"), "--documents", str(path)])
    assert "markers" in capsys.readouterr().err and path.read_text() == "no markers"
    assert not list(tmp_path.glob("*.svg"))
    with pytest.raises(ValueError, match="peer"):
        readme.table([measured().iloc[:1]])


def test_headline_counts_cases_with_a_faster_peer():
    found = measured(a=0.5, b=2.0, c=4.0)
    assert "0.50× (a, SSIM forward+backward" in report.headline(found)
    assert report.headline(found).endswith(
        "faster than the library in 1. Peers under torch.compile were timed in 0 of these cases."
    )
    compiled = found.replace({"implementation": {"a": "a, compiled", "b": "b, compiled"}})
    assert report.headline(compiled).endswith("in 1 of these cases.")
    assert report.headline(found.iloc[:1]) == "No peer was timed beside the library."
    summaries = {section.name: section.summary for section in report.sections(found.replace("ssim", "msssim"), [])}
    assert "faster than the library in 1" in summaries["time-cpu"]
    assert summaries["processes"].endswith(
        "1x1x48x40 float32 cpu, in units of one input, of the library and the peers: msssim torch 1.0."
    )
    assert tables.ratio(123.4) == "123×" and tables.ratio(12.34) == "12.3×" and tables.milliseconds(0.0012345) == "1.23"
