"""The validation suite: its files, its verdicts, and that it notices a wrong result of the library."""

import math

import pandas as pd
import pytest
import torch
from marks import full

import datasets
import msssim
from msssim.backends import torch_backend, trial
from msssim.backends.common import FUSED_DTYPES
from reference import oracles
from validation import __main__ as command
from validation import library, tolerances
from validation.accuracy import gradients, readme, rows, stability, tables, values

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def without_tensorflow():
    """As on a machine without TensorFlow, whose import alone takes longer than everything else here."""

    def missing(*_):
        raise ImportError("this oracle needs tensorflow-cpu: python -m pip install tensorflow-cpu")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracles, "tf_ssim", missing)
        patch.setattr(oracles, "tf_msssim", missing)
        yield


@pytest.fixture(scope="module", autouse=True)
def few_numerical_derivatives():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradients, "SMALL", gradients.SMALL[1:3])
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(exit code, folder) of a tiny run."""
    out = tmp_path_factory.mktemp("report")
    arguments = ["--dataset", "golden", "synthetic", "--backend", "torch", "--limit", "2", "--out", str(out)]
    return command.main(arguments), out


def test_budgets_are_met_and_every_file_is_written(run):
    code, out = run
    assert code == 0
    for name in (
        "report.html",
        "report.md",
        "report.tex",
        "rows.csv",
        "report.json",
        "pairs.csv",
        "plots/values.svg",
        "plots/worst-1.svg",
    ):
        assert (out / name).stat().st_size > 500, name


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_rows_follow_the_schema_in_every_section(run):
    table = pd.read_csv(run[1] / "rows.csv", keep_default_na=True)
    assert tuple(table.columns) == rows.COLUMNS
    assert set(table.section) == set(tables.SECTIONS)
    assert set(table.verdict) <= {rows.PASS, rows.SKIPPED, rows.DOCUMENTED}
    judged = table[table.verdict == rows.PASS]
    assert (judged.worst <= judged.budget_worst).all()
    assert (judged["median"] <= judged.worst).all()


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_a_missing_oracle_is_skipped_with_the_reason(run):
    table = pd.read_csv(run[1] / "rows.csv")
    tensorflow = table[table.section == values.TENSORFLOW]
    assert len(tensorflow) and (tensorflow.verdict == rows.SKIPPED).all() and (tensorflow.n == 0).all()
    assert tensorflow.note.str.contains("pip install tensorflow-cpu").all()


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_the_report_names_its_limit_and_machine(run):
    for name in ("report.md", "report.html"):
        text = (run[1] / name).read_text(encoding="utf-8")
        for part in (
            "not a full run",
            f"2 of {len(datasets.load('golden'))} golden",
            torch.__version__.partition("+")[0],
            "UTC",
        ):
            assert part in text, (name, part)


@pytest.mark.full
def test_kernels_on_an_emulated_gpu(tmp_path, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(stability, "work", lambda limit: [])
    monkeypatch.setattr(gradients, "SMALL", [])
    assert command.main(["--device", "sm_90", "--dataset", "synthetic", "--limit", "1", "--out", str(tmp_path)]) == 0
    table = pd.read_csv(tmp_path / "rows.csv")
    assert set(table.backend.dropna()) == {"triton"} and (table.verdict == rows.PASS).any()
    assert "the PTX of the kernels for sm_90, executed on the CPU" in (tmp_path / "report.md").read_text(
        encoding="utf-8"
    )
    assert "triton" not in msssim.available_backends() or torch.cuda.is_available()


@pytest.mark.full
def test_a_fault_breaks_a_budget_with_one_pair_of_each_kind(tmp_path, monkeypatch):
    """Pooling that drops the last odd column: the one golden pair of this run has a scale of 75 columns."""
    monkeypatch.setattr(stability, "work", lambda limit: [])
    monkeypatch.setattr(gradients, "SMALL", [])
    command_line = ["--dataset", "golden", "--backend", "torch", "--limit", "1", "--out", str(tmp_path)]
    assert command.main(command_line) == 0
    monkeypatch.setattr(torch_backend, "_halve", lambda x: torch.nn.functional.avg_pool2d(x, 2))
    assert command.main(command_line) == 1


@pytest.mark.parametrize("wrong_by", [1e-3, *full(math.nan)])
def test_a_wrong_backend_breaks_a_budget(tmp_path, monkeypatch, capsys, wrong_by):
    right = torch_backend.pyramid_means
    monkeypatch.setattr(torch_backend, "pyramid_means", lambda *args, **kwargs: right(*args, **kwargs) + wrong_by)
    code = command.main(["--dataset", "synthetic", "--backend", "torch", "--limit", "1", "--out", str(tmp_path)])
    assert code == 1
    printed = capsys.readouterr().out
    assert "✗ broken" in printed and printed.splitlines()[-1] == str(tmp_path / "report.html")
    assert "budgets are broken" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "nothing"], "kodak"),
        (["--backend", "nothing"], "torch"),
        (["--limit", "0"], "must be an integer >= 1, got 0"),
        (["--dataset", "kodak"], "MSSSIM_DATA"),
        (["--device", "nothing"], "nothing"),
        (["--device", "cuda:99"], "--device: "),
        (["--out", "/dev/null/folder"], "--out: "),
        (["--workers", "-1"], "must be an integer >= 0, got -1"),
        (["--workers", "2"], "--workers needs --subjective"),
        (["--resamples", "9", "--peers"], "--resamples needs --subjective"),
        (["--dataset", "golden", "--subjective"], "--dataset needs --oracles"),
        (["--device", "sm_90", "--backend", "torch"], "does not allow --backend"),
        (["--device", "sm_90", "--subjective"], "does not allow --subjective"),
    ],
)
def test_invalid_arguments_are_refused_with_the_valid_values(arguments, message, monkeypatch, capsys):
    monkeypatch.delenv("MSSSIM_DATA", raising=False)
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def _measurement(error=0.0, **fields):
    base = {
        "section": values.MATLAB, "backend": "torch", "device": "cpu", "dtype": "float32", "quantity": library.SSIM,
        "dataset": "golden", "pair": "a", "kind": "value", "error": error,
    }  # fmt: skip
    return rows.Measurement(**{**base, **fields})


def _verdicts(*measurements):
    return list(rows.summarize(rows.frame(measurements)).verdict)


def test_verdicts():
    assert _verdicts(_measurement(1e-5)) == [rows.PASS]
    assert _verdicts(_measurement(1.1e-5)) == [rows.BROKEN]
    assert _verdicts(_measurement(0.0), _measurement(math.nan)) == [rows.BROKEN]
    assert _verdicts(*[_measurement(1e-6)] * tolerances.MEDIAN_FROM) == [rows.BROKEN]  # the median's budget
    assert _verdicts(*[_measurement(1e-6)] * (tolerances.MEDIAN_FROM - 1)) == [rows.PASS]
    assert _verdicts(_measurement(1.0, kind="count")) == [rows.BROKEN]
    assert _verdicts(_measurement(1.0, kind=tolerances.DOCUMENTED)) == [rows.DOCUMENTED]
    assert _verdicts(_measurement(1.0, kind=tolerances.ORACLES_OWN)) == [rows.NO_BUDGET]
    assert _verdicts(_measurement(missing=rows.REFUSED, note="why")) == [rows.REFUSED]


def test_a_fused_backend_has_smaller_budgets():
    fused, plain = (tolerances.budget("value", "float32", backend) for backend in ("numba", "torch"))
    assert fused.worst < plain.worst and fused.median < plain.median
    assert tolerances.budget("value", "float64", "numba") == tolerances.budget("value", "float64", "torch")
    assert _verdicts(_measurement(5e-6, backend="numba"), _measurement(5e-6)) == [rows.BROKEN, rows.PASS]


def test_an_unsupported_call_is_a_row_and_other_errors_are_raised():
    def refuse():
        raise NotImplementedError("backend='fused' has no second derivatives; use 'torch'")

    def fail():
        raise RuntimeError("something else")

    result, fields = library.attempt("fused", refuse)
    assert result is None and fields["missing"] == rows.REFUSED and "second derivatives" in fields["note"]
    for backend, function in (("fused", fail), ("torch", refuse)):
        with pytest.raises((RuntimeError, NotImplementedError)):
            library.attempt(backend, function)


def test_provoking_images_are_finite_and_cause_nan_by_default():
    for dtype in stability.DTYPES:
        for name, (x, y, _) in stability.cases(dtype).items():
            for image in (x, y):
                assert image.to(getattr(torch, dtype)).isfinite().all(), (dtype, name)
    x, y, options = stability.cases("float32")["anti-correlated"]
    measured = stability._in_every_mode(
        "", (x, y), {"data_range": 1.0, "backend": "torch", **options}, "float32", "cpu"
    )
    assert {one.quantity for one in measured if one.error > 0} == {"normalize=None, product"}


def _document(path, *names):
    regions = "".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n" for name in names)
    path.write_text(f"# Title\n\n{regions}after\n", encoding="utf-8")
    return path


@pytest.mark.full  # one test by default: each process makes the fixture again
def test_accuracy_tables_of_the_documents(run, tmp_path):
    full, in_short = _document(tmp_path / "a.md", readme.FULL), _document(tmp_path / "b.md", readme.IN_SHORT)
    for _ in range(2):  # writing them again changes nothing
        assert readme.main([str(run[1] / "rows.csv"), str(full), str(in_short)]) == 0
        for path in (full, in_short):
            text = path.read_text(encoding="utf-8")
            assert (
                text.startswith("# Title\n\n<!-- accuracy") and text.endswith("end -->\nafter\n") and "old" not in text
            )
            assert "| quantity | against | dtype | pairs | torch: worst" in text
            assert "| MS-SSIM | Wang's MATLAB code | float32 |" in text
    lines = [path.read_text(encoding="utf-8").splitlines() for path in (full, in_short)]
    assert set(lines[1][3:-2]) < set(lines[0]) and len(lines[0]) >= len(lines[1]) + 4


def test_accuracy_table_has_a_column_for_each_backend():
    measurements = [_measurement(1e-7, backend=backend) for backend in ("torch", "numba")]
    head, _, line = readme.tables(rows.summarize(rows.frame(measurements)))[readme.FULL].splitlines()
    assert head.split(" | ")[4:6] == ["torch: worst (median)", "numba: worst (median)"]
    assert line.split(" | ")[4:6] == ["1e-07 (1e-07)"] * 2


@pytest.mark.parametrize(
    "text, message", [("no markers", "at least one of"), ("<!-- accuracy: end --> <!-- accuracy: begin -->", "both")]
)
@pytest.mark.full  # one test by default: each process makes the fixture again
def test_document_without_markers_is_refused(run, tmp_path, capsys, text, message):
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit):
        readme.main([str(run[1] / "rows.csv"), str(path)])
    assert message in capsys.readouterr().err and path.read_text() == text


def test_rows_without_golden_pairs_are_refused():
    with pytest.raises(ValueError, match="golden"):
        readme.tables(rows.summarize(rows.frame([_measurement(dataset="colour")])))


def test_the_library_compares_its_kernels_by_the_same_budgets():
    names = {dtype: str(dtype).removeprefix("torch.") for dtype in trial.BUDGETS}
    for dtype, (value, gradient) in trial.BUDGETS.items():
        name = names[dtype] if dtype != torch.bool else "uint8"
        assert value == tolerances.budget("value", name, "triton").worst
        if dtype.is_floating_point:
            kind = "gradient" if dtype in (torch.float32, torch.float64) else "rounded gradient"
            assert gradient == tolerances.budget(kind, name, "triton").worst
    assert set(trial.BUDGETS) == set(FUSED_DTYPES)
