"""Measure the launch constants of the GPU kernels on this machine's GPU, and write them into the library's table.

python -m benchmarks.tune --device cuda             a few minutes, most of them for compiling
python -m benchmarks.tune --device cuda --seconds 120 --dry-run

One group of constants after the other is varied: threads of a program, columns of a thread, maximal registers, rows,
and the size up to which all scales are one launch. A candidate replaces the best so far if its times are lower on
average, and no call becomes much slower. Each must give the same value and gradient, within the error budgets.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import pathlib
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

import msssim
from msssim.backends.triton.constants import PATH, Constants, for_capability
from validation import tolerances
from validation.report.options import positive

from . import devices, timing
from .cases import FORWARD_BACKWARD, Case, images, size

MARGIN = 0.99  # a candidate must take at most this part of the time of the best so far, by the geometric mean
WORST = 1.05  # and no single call more than this part
ROUNDS = 7
_SAMPLE_SECONDS = 0.02

WORK = tuple(
    Case(metric, FORWARD_BACKWARD, shape)
    for metric, shape in (
        ("msssim", (1, 3, 512, 512)),
        ("msssim", (4, 3, 512, 512)),
        ("msssim", (1, 3, 1080, 1920)),
        ("msssim", (8, 3, 1080, 1920)),
        ("ssim", (5, 5, 1080, 1920)),
    )
)

Change = Mapping[str, Any]
# What the compiler makes of the sweep comes first, since the best plan depends on it: with fewer registers, a
# multiprocessor runs more threads at once.
GROUPS: tuple[tuple[Change, ...], ...] = (
    (
        *({"max_registers": most, "resident_threads": threads} for most, threads in ((0, 256), (168, 384), (128, 512))),
        *({"columns": 1, "max_registers": most, "resident_threads": threads}
          for most, threads in ((0, 256), (0, 384), (128, 512), (96, 640))),
    ),
    ({"threads": (128,)}, {"threads": (256,)}, {"threads": (128, 256)}),
    tuple({"resident_threads": threads} for threads in (128, 256, 384, 512, 640)),
    tuple({"fewest_rows": rows} for rows in (8, 16, 32)),
    tuple({"half_full_time": part} for part in (0.5, 0.6, 0.7, 0.85, 1.0)),
    tuple({"small_pixels": 1 << power} for power in range(19, 25)),
)  # fmt: skip

Times = Mapping[Constants, Sequence[float]]
"""The seconds of each call; infinite where the constants do not work."""
Measure = Callable[[Sequence[Constants]], Times]


class Trial(NamedTuple):
    """A candidate, and its time relative to the best before it."""

    constants: Constants
    change: Change
    ratio: float
    """The geometric mean over all calls; infinite if it does not work or a result is wrong."""
    worst: float
    """The largest ratio."""
    kept: bool


def search(
    start: Constants, measure: Measure, groups: Sequence[Sequence[Change]] = GROUPS,
    time_is_up: Callable[[], bool] = lambda: False,
) -> tuple[Constants, list[Trial]]:  # fmt: skip
    """Return the best constants that were found, and all candidates.

    Parameters
    ----------
    start : Constants
    measure : callable
        ``measure(candidates)`` returns the times of each, measured in turns; the first is the best so far.
    groups : sequence of sequences of changes
    time_is_up : callable
        Asked before each group; the search ends where it returns True.
    """
    best, trials = start, []
    for group in groups:
        if time_is_up():
            break
        changes = {best._replace(**change): change for change in group}
        changes.pop(best, None)
        times = measure([best, *changes])
        ratios = {each: _ratios(times[each], times[best]) for each in changes}
        means = {each: _geometric_mean(ratio) for each, ratio in ratios.items()}
        good = [each for each in changes if means[each] <= MARGIN and max(ratios[each]) <= WORST]
        winner = min(good, key=means.__getitem__, default=best)
        for each, change in changes.items():
            trials.append(Trial(each, change, means[each], max(ratios[each]), each == winner))
        best = winner
    return best, trials


def _ratios(times: Sequence[float], base: Sequence[float]) -> list[float]:
    return [mine / its for mine, its in zip(times, base, strict=True)]


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values))) if all(map(math.isfinite, values)) else math.inf


def measure_on(device: str, work: Sequence[Case] = WORK, using: Any = None) -> Measure:
    """Return the function that measures candidates on a device, each call in rounds and in random order.

    `using` is the context manager of the kernels that sets the constants.
    """
    if using is None:
        from msssim.backends.triton import launches

        using = launches.using
    cases = [case._replace(device=device) for case in work]
    sample = devices.sampler(device)

    def measure(candidates: Sequence[Constants]) -> Times:
        times: dict[Constants, list[float]] = {each: [] for each in candidates}
        for case in cases:
            call = _call(case)
            right = [each for each in candidates if _is_right(call, using, each, candidates[0])]
            for each in candidates:
                times[each].append(math.inf)
            for each, seconds in _medians(call, using, right, sample).items():
                times[each][-1] = seconds
        return times

    return measure


def _call(case: Case) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
    x, y = images(case)
    x.requires_grad_()
    index = getattr(msssim, case.metric)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        value = index(x, y, data_range=case.data_range, backend="triton")
        return value.detach(), torch.autograd.grad(value, x)[0]

    return call


def _is_right(call: Callable[[], Any], using: Any, candidate: Constants, trusted: Constants) -> bool:
    """Compile, and compare with the result of the constants that are used now."""
    with using(trusted):
        value, gradient = call()
    try:
        with using(candidate):
            again, slope = call()
    except Exception as error:  # the compiler refuses some combinations, with errors of any type
        print(f"{_difference(candidate, trusted)}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
        return False
    value_budget, gradient_budget = (tolerances.budget(kind, "float32", "triton") for kind in ("value", "gradient"))
    value_error = float((again - value).abs())
    gradient_error = float((slope - gradient).abs().max() / gradient.abs().max())
    if value_error <= value_budget.worst and gradient_error <= gradient_budget.worst:
        return True
    print(f"{_difference(candidate, trusted)}: wrong by {value_error:.1e} and {gradient_error:.1e}")
    return False


def _medians(
    call: Callable[[], Any], using: Any, candidates: Sequence[Constants], sample: timing.Sampler
) -> dict[Constants, float]:
    found: dict[Constants, list[float]] = {each: [] for each in candidates}
    order = random.Random(0)
    count = 1
    for _ in range(ROUNDS):
        for each in order.sample(list(candidates), len(candidates)):
            with using(each):
                call()  # prepares the launches
                seconds = sample(call, count) / count
            found[each].append(seconds)
            count = max(1, min(100, int(_SAMPLE_SECONDS / max(seconds, 1e-9))))
    return {each: statistics.median(samples) for each, samples in found.items()}


def _difference(constants: Constants, base: Constants) -> str:
    pairs = zip(constants._fields, constants, base, strict=True)
    return ", ".join(f"{name}={value}" for name, value, other in pairs if value != other) or "the same"


def format_table(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the text of launch_constants.json."""
    text = json.dumps(table, indent=2)
    return re.sub(r"\[\s+([^\]]*?)\s+\]", lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text) + "\n"


def write(path: pathlib.Path, capability: int, constants: Constants, measured: str) -> None:
    """Add or replace the entry of a compute capability; `measured` says on what."""
    table = json.loads(path.read_text(encoding="utf-8"))
    table[str(capability)] = {**constants._asdict(), "threads": list(constants.threads), "measured": measured}
    default, *rest = sorted(table, key=lambda key: -1 if key == "default" else int(key))
    path.write_text(format_table({key: table[key] for key in (default, *rest)}), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print every candidate, and write the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="a CUDA device (default: cuda)")
    parser.add_argument("--seconds", type=positive, default=600, help="begin no group after this time (default: 600)")
    parser.add_argument("--out", type=pathlib.Path, default=PATH, help="the table (default: the library's)")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    reason = devices.unavailable_reason(options.device)
    if reason is None and torch.device(options.device).type != "cuda":
        reason = "the kernels run on a GPU"
    if reason is None and "triton" not in msssim.available_backends():
        reason = "backend triton is not in msssim.available_backends()"
    if reason:
        parser.error(f"--device {options.device}: {reason}")
    major, minor = torch.cuda.get_device_capability(options.device)
    capability = 10 * major + minor
    start, deadline = for_capability(capability), time.monotonic() + options.seconds
    best, trials = search(start, measure_on(options.device), time_is_up=lambda: time.monotonic() > deadline)
    print(summary(start, best, trials))
    if not options.dry_run:
        name = torch.cuda.get_device_name(options.device)
        versions = f"torch {torch.__version__}, triton {importlib.metadata.version('triton')}"
        write(options.out, capability, best, f"{name}, {versions}, {datetime.date.today().isoformat()}")
        print(f"{options.out}: sm_{capability}")
    return 0


def summary(start: Constants, best: Constants, trials: Sequence[Trial]) -> str:
    """Return the candidates as lines, and what changed."""
    lines = [f"calls: {', '.join(f'{case.metric} {size(case.shape)}' for case in WORK)}", "  time  worst"]
    for trial in trials:
        change = ", ".join(f"{name}={value}" for name, value in trial.change.items())
        lines.append(f"{trial.ratio:6.3f} {trial.worst:6.3f}  {change}{'  <- kept' if trial.kept else ''}")
    return "\n".join([*lines, f"changed: {_difference(best, start)}"])


if __name__ == "__main__":
    sys.exit(main())
