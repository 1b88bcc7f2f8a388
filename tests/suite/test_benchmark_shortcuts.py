"""What is measured of the private functions of PyTorch: the shortcut is taken in one call and not in the other."""

import json

import pytest
import torch

import msssim
from benchmarks import shortcuts
from msssim.backends import fused

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")


def test_both_ways_are_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shortcuts, "SHAPES", ((1, 1, 16, 16),))
    monkeypatch.setattr(shortcuts, "_SECONDS", 0.01)
    monkeypatch.setattr(shortcuts, "imports", lambda: {"msssim": 0.1, "torch._dynamo": 1.0})
    taken = []
    find_device = fused.kernel_device
    monkeypatch.setattr(fused, "kernel_device", lambda *tensors: taken.append(tensors) or find_device(*tensors))
    threads = torch.get_num_threads()
    shortcuts.main([str(tmp_path / "shortcuts.json")])
    torch.set_num_threads(threads)
    result = json.loads((tmp_path / "shortcuts.json").read_text())
    assert [row["call"] for row in result["calls"]] == [
        "ssim forward (1, 1, 16, 16)",
        "ssim forward and backward (1, 1, 16, 16)",
    ]
    assert taken and all(row["shortcut seconds"] > 0 and row["ratio"] > 0 for row in result["calls"])
    assert "through the dispatcher" in capsys.readouterr().out


@pytest.mark.parametrize("with_shortcut", [True, False])
def test_without_a_device_the_operators_compute(monkeypatch, with_shortcut):
    if not with_shortcut:
        monkeypatch.setattr(fused, "kernel_device", shortcuts._no_device)
    calls = []
    operator = fused.ops.pyramid_means
    monkeypatch.setattr(
        fused.ops, "pyramid_means", lambda *args, **options: calls.append(1) or operator(*args, **options)
    )
    x = torch.rand(1, 1, 16, 16)
    assert msssim.ssim(x, x, backend="numba") == 1
    assert len(calls) == (0 if with_shortcut else 1)
