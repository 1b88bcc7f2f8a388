"""The times of masks, padding, windows, volumes, signals and stream(): every group runs, and the file is complete."""

import json

import pytest

import msssim
from benchmarks import options


def test_quick_run_writes_every_group(tmp_path, monkeypatch):
    monkeypatch.setitem(options._SECONDS, True, 0.01)
    options.main([str(tmp_path / "options.json"), "--quick"])
    result = json.loads((tmp_path / "options.json").read_text())
    names = [group["group"] for group in result["groups"]]
    assert {name.split()[0] for name in names} == {"mask", "zeros", "uniform", "volumes", "signals", "stream", "memory"}
    memory = result["groups"].pop()
    assert all(call["peak inputs"] > 0 for call in memory["calls"])
    for group in result["groups"]:
        assert group["calls"][0]["ratio"] == 1 and all(call["seconds"] > 0 for call in group["calls"])
    stream = result["groups"][-1]["calls"]
    if "numba" in msssim.available_backends():
        assert stream[0]["value"] == stream[1]["value"]
    volumes = {call["call"]: call["value"] for call in result["groups"][names.index("volumes forward")]["calls"]}
    assert all(
        value == pytest.approx(volumes["msssim torch"], abs=1e-5) for name, value in volumes.items() if "mss" in name
    )
