"""Run a benchmark plan: the tasks, their order, and how much time each may take."""

import functools
import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest import mock

import torch

from . import ceilings, measure, new_process, processes, rows
from .cases import FORWARD_BACKWARD, Case, matches
from .implementations import OURS, UNDER_COMPILE, Implementation
from .presets import Preset, first_call_case

COMPILE_SECONDS, PROCESS_SECONDS = 14.0, 5.0  # rough estimates, for the plan and the progress bar


class Plan(NamedTuple):
    """What to run."""

    preset: Preset
    devices: tuple[str, ...]
    implementations: tuple[Implementation, ...]
    patterns: tuple[str, ...] = ()
    """The patterns of --only."""
    threads: tuple[int, ...] = ()
    """Numbers of threads to compare."""


class Task(NamedTuple):
    """A part of the run."""

    name: str
    seconds: float
    """Estimated duration."""
    run: Callable[[float], list[rows.Row]]
    """``run(time_fraction)`` returns rows; below 1 it should take less than the planned time."""


class Measured(NamedTuple):
    """The result of a run."""

    rows: list[rows.Row]
    ceilings: list[ceilings.Ceilings]


Progress = Callable[[float], Callable[[Task], None]]


def run_plan(plan: Plan, progress: Progress = lambda total: lambda task: None) -> Measured:
    """Run a plan.

    Parameters
    ----------
    plan : Plan
    progress : callable
        ``progress(total_seconds)`` returns a function that is called with each task when it is done.
    """
    found = [
        measure.implementation_row(implementation, plan.preset, device)
        for device in plan.devices for implementation in plan.implementations
    ]  # fmt: skip
    measured: list[ceilings.Ceilings] = []
    bench = measure.Bench(plan.implementations, plan.preset)
    starts = processes.Processes(torch.get_num_threads(), bench.too_slow)
    tasks = [*_timing_tasks(plan, bench), *_process_tasks(plan, bench, starts)]
    if tasks:
        measure_ceilings = Task("ceilings", 3, functools.partial(_measure_ceilings, plan, measured))
        tasks = [measure_ceilings, *tasks, measure_ceilings]
    remaining = sum(task.seconds for task in tasks)
    done = progress(remaining)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers emit warnings about themselves
        # An empty cache folder for torch.compile, so that its first call compiles in every run.
        variable = "TORCHINDUCTOR_CACHE_DIR"
        with mock.patch.dict(os.environ, {variable: new_process.cache_variables(folder)[variable]}):
            for task in tasks:
                time_left = plan.preset.total_seconds - (time.monotonic() - start)
                found += task.run(min(1.0, max(0.1, time_left / max(remaining, 1e-9))))
                remaining -= task.seconds
                done(task)
    found += starts.all_rows()
    found += [*_first_compiled_calls(found)]
    return Measured(_with_floor(found, measured), measured)


def _timing_tasks(plan: Plan, bench: measure.Bench) -> Iterator[Task]:
    """Yield tasks that time in this process, small cases first, so that slow implementations skip large ones."""
    preset = plan.preset
    for device in plan.devices:
        for case in preset.cases(device):
            if matches(f"time {case.name}", plan.patterns):
                implementations = [*bench.implementations_for(case)]
                n_compiled = sum(one.compiled for one in implementations)
                seconds = preset.seconds + 0.1 * len(implementations) + COMPILE_SECONDS * n_compiled
                yield Task(f"time {case.name}", seconds, functools.partial(bench.time, case))
    if "cpu" in plan.devices and len(plan.threads) > 1:
        for shape in preset.scaling:
            case = Case("msssim", FORWARD_BACKWARD, shape)
            if matches(f"threads {case.name}", plan.patterns):
                run = functools.partial(_time_threads, bench, case, plan.threads)
                yield Task(f"threads {case.name}", 1.4 * preset.seconds, run)


def _process_tasks(plan: Plan, bench: measure.Bench, starts: processes.Processes) -> list[Task]:
    """Return tasks that start new processes, in random order, so that a slow phase affects all equally."""
    found = []
    for device in plan.devices:
        for metric, mode, shape in plan.preset.memory:
            case = Case(metric, mode, shape, "float32", device)
            for one in (one for one in bench.implementations_for(case) if not one.in_cuda_graph):
                name = f"memory {case.name} {one.name}"
                if matches(f"new process {name}", plan.patterns):
                    run = functools.partial(_in_process, starts.measure_memory, one, case)
                    found.append(Task(name, PROCESS_SECONDS, run))
        case = first_call_case(device)
        for one in bench.implementations_for(case) if plan.preset.first_call_ever else ():
            name = f"first call ever {case.name} {one.name}"
            ours = one.group == OURS and not (one.compiled or one.in_cuda_graph)
            if ours and matches(name, plan.patterns):
                run = functools.partial(_in_process, starts.measure_first_call_ever, one, case)
                found.append(Task(name, 2 * PROCESS_SECONDS, run))
    random.Random(0).shuffle(found)
    return found


def _time_threads(bench: measure.Bench, case: Case, counts: tuple[int, ...], time_fraction: float) -> list[rows.Row]:
    return bench.time_threads(case, counts, time_fraction * bench.preset.seconds)


def _in_process(
    start: Callable[[Implementation, Case], None], implementation: Implementation, case: Case, time_fraction: float
) -> list[rows.Row]:
    start(implementation, case)
    return []  # `Processes.all_rows` has the rows of all


def _measure_ceilings(plan: Plan, measured: list[ceilings.Ceilings], time_fraction: float) -> list[rows.Row]:
    for device in plan.devices:
        counts = {torch.get_num_threads(), *plan.threads} if device == "cpu" else {torch.get_num_threads()}
        measured += [ceilings.measure(device, count) for count in sorted(counts)]
    return []


def _first_compiled_calls(found: list[rows.Row]) -> Iterator[rows.Row]:
    """Yield rows of the first calls under torch.compile, which compiled with an empty cache."""
    for each in found:
        case = (each["kind"], each.get("metric"), each.get("mode"))
        compiled = each["implementation"].endswith(UNDER_COMPILE) and each["verdict"] in rows.VALID
        if compiled and case == (rows.TIME, "msssim", FORWARD_BACKWARD):
            keep = (*rows.KEYS, "group", "version", "verdict", "error", "budget", "first_seconds")
            first = {name: value for name, value in each.items() if name in keep}
            yield first | {"kind": rows.FIRST_EVER, "seconds": each["first_seconds"], "rounds": 1}


def _with_floor(found: list[rows.Row], measured: list[ceilings.Ceilings]) -> list[rows.Row]:
    """Add the lower bound of each time, from the highest ceilings measured before and after."""
    by_threads: dict[tuple[str, int], list[ceilings.Ceilings]] = {}
    for one in measured:
        by_threads.setdefault((one.device, one.threads), []).append(one)
    for each in found:
        if each["kind"] in (rows.TIME, rows.THREADS) and "seconds" in each:
            shape = tuple(each[name] for name in ("batch", "channels", "height", "width"))
            case = Case(each["metric"], each["mode"], shape, each["dtype"], each["device"])
            floor = ceilings.floor(case, ceilings.best(by_threads[each["device"], each["threads"]]))
            each |= {
                "floor_seconds": floor.seconds,
                "floor_fraction": floor.seconds / each["seconds"],
                "floor_bound": floor.bound,
            }
    return found
