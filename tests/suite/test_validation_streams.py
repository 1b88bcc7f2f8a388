"""The rows of stream(): they meet their budgets, notice other bits, and say why they are missing."""

import pytest
import torch

import msssim
from validation.accuracy import rows, streams, tables


def measured(cases=streams.CASES, backends=("torch", "numba"), device="cpu"):
    return rows.summarize(rows.frame(streams.measure(cases, backends, device)))


def test_every_row_meets_its_budget_and_is_in_the_report():
    pytest.importorskip("numba")
    table = measured()
    assert set(table.verdict) == {rows.PASS} and set(table.dtype) == set(streams.DTYPES)
    assert len(table) == 2 * len(streams.CASES) * len(streams.DTYPES)
    same = table[table.quantity.str.endswith("bits of memory")]
    assert (same.n == len(streams.ROWS)).all() and (same.budget_worst == 0).all()
    named = {section.name: section for section in tables.sections_of_rows(table, {})}
    assert named["stream"].verdict == rows.PASS


def test_a_value_that_depends_on_the_blocks_breaks_the_budget(monkeypatch):
    pytest.importorskip("numba")
    right = msssim.stream

    def wrong(*images, rows=None, **options):
        result = right(*images, rows=rows, **options)
        return (torch.nextafter(result[0], torch.tensor(0.0)), *result[1:]) if rows == 67 else result

    monkeypatch.setattr(msssim, "stream", wrong)
    table = measured(streams.CASES[:1])
    broken = table[table.verdict == rows.BROKEN]
    assert list(broken.quantity) == ["(H, W): bits of memory"] * 2 and list(broken.worst) == [1, 1]


def test_a_value_that_differs_from_the_reference_breaks_the_budget(monkeypatch):
    pytest.importorskip("numba")
    for name in ("stream", "msssim"):  # the same error in memory: the bits agree
        monkeypatch.setattr(msssim, name, _changed(getattr(msssim, name)))
    table = measured(streams.CASES[:1])
    assert list(table[table.verdict == rows.BROKEN].quantity) == ["(H, W): reference"] * 2


def _changed(right):
    def wrong(*images, **options):
        result = right(*images, **options)
        return (result[0] - 1e-5, *result[1:]) if isinstance(result, tuple) else result - 1e-5

    return wrong


@pytest.mark.parametrize(
    "available, reason", [(("torch",), "needs Numba: python -m pip install"), (("numba", "torch"), "leaves out")]
)
def test_without_numba_the_rows_are_skipped_with_the_reason(monkeypatch, available, reason):
    monkeypatch.setattr(msssim, "available_backends", lambda: available)
    table = measured(backends=("torch",))
    assert len(table) and (table.verdict == rows.SKIPPED).all() and (table.n == 0).all()
    assert table.note.str.contains(reason).all()


def test_other_devices_have_no_rows():
    assert measured(device="cuda").empty and measured(backends=("triton",)).empty
