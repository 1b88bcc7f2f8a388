"""What the private functions of PyTorch in msssim/_dispatch.py and msssim/backends/fused.py save.

python -m benchmarks.shortcuts            print a table
python -m benchmarks.shortcuts FILE       and write it as JSON, as benchmarks/results/shortcuts.json

Two things are measured. In plain eager mode the fused CPU backend bypasses the dispatcher; the same calls are timed
with that shortcut and through the operators. And ``import msssim`` does not import torch._dynamo, as it would with the
public ``torch.compiler.assume_constant_result()``; both imports are timed in new processes, after that of torch.
"""

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

import msssim
from msssim.backends import fused
from validation.report import machine

from . import timing

SHAPES = ((1, 1, 64, 64), (1, 3, 128, 128), (1, 3, 256, 256))
_SECONDS = 4.0  # for each pair of calls
_IMPORT = "import time, torch; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def calls() -> list[dict[str, Any]]:
    """Time calls with the shortcut and without; one record for each call."""
    return [_call(shape, gradient) for shape in SHAPES for gradient in (False, True)]


def _call(shape: tuple[int, ...], gradient: bool) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(shape, generator=generator) for _ in range(2))
    x.requires_grad_(gradient)

    def direct() -> None:
        value = msssim.ssim(x, y, backend="numba")
        if gradient:
            torch.autograd.grad(value, x)

    def dispatched() -> None:
        with mock.patch.object(fused, "kernel_device", _no_device):
            direct()

    times = _medians({"shortcut": direct, "dispatcher": dispatched})
    return {"call": f"ssim {'forward and backward' if gradient else 'forward'} {shape}", **times}


def _no_device(*_: torch.Tensor) -> None:
    """Take the place of the function that finds when the shortcut is allowed."""


def _medians(functions: dict[str, Callable[[], None]]) -> dict[str, float]:
    entries = {name: timing.Entry(function) for name, function in functions.items()}
    for function in functions.values():
        function()
    sample = timing.sampler(lambda: None)
    timed = timing.interleaved(entries, seconds=_SECONDS, rounds=(5, 1000), sample=sample)
    ratio = timing.ratios(timed["dispatcher"], timed["shortcut"])
    return {f"{name} seconds": timed[name].quartiles.median for name in entries} | {"ratio": ratio.median}


def imports(repeats: int = 5) -> dict[str, float]:
    """Return the median seconds of importing msssim, and torch._dynamo, after torch."""
    found: dict[str, list[float]] = {"msssim": [], "torch._dynamo": []}
    for _ in range(repeats):
        for module, seconds in found.items():
            command = [sys.executable, "-c", _IMPORT.format(module)]
            seconds.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return {module: timing.quartiles(seconds).median for module, seconds in found.items()}


def main(arguments: list[str]) -> None:
    """Measure, print, and write a file where one is named."""
    torch.set_num_threads(1)
    rows, seconds_by_module = calls(), imports()
    for row in rows:
        shortcut, dispatcher = row["shortcut seconds"] * 1e6, row["dispatcher seconds"] * 1e6
        print(f"{row['call']:46} {shortcut:8.0f} us  through the dispatcher {dispatcher:8.0f} us  ({row['ratio']:.2f})")
    for module, seconds in seconds_by_module.items():
        print(f"import {module:39} {seconds * 1e3:8.0f} ms")
    if arguments:
        result = {"machine": machine.describe("cpu"), "calls": rows, "imports": seconds_by_module}
        pathlib.Path(arguments[0]).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
