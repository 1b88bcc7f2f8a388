"""From options to rows: which pieces of work there are, in which order, and how much time each may take."""

import functools
import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import torch

from . import cases, ceilings, contestants, fresh, measure, processes, rows

COMPILING, PROCESS = 14.0, 5.0  # seconds, roughly, for the progress bar and the plan of time


class Plan(NamedTuple):
    """What is wanted."""

    mode: cases.Mode
    devices: tuple
    contestants: tuple
    patterns: tuple = ()
    """Of --only."""
    threads: tuple = ()
    """Numbers of threads for the scaling."""


class Work(NamedTuple):
    """A piece of work: its name, about how many seconds it takes, and what does it and gives rows."""

    name: str
    weight: float
    do: Callable


def go(plan, progress=lambda total: lambda work: None):
    """(rows as dicts, Ceilings as measured) of a plan.

    Parameters
    ----------
    plan : Plan
        What is wanted.
    progress : callable
        Takes the sum of weights and gives what is called with each Work once it is done.
    """
    found = [
        measure.contestant_row(contestant, plan.mode, device)
        for device in plan.devices for contestant in plan.contestants
    ]  # fmt: skip
    measured = []
    bench = measure.Bench(plan.contestants, plan.mode)
    starts = processes.Processes(torch.get_num_threads(), bench.too_slow)
    work = [*_timings(plan, bench), *_starts(plan, bench, starts)]
    ask = functools.partial(_ceilings, plan, measured)
    work = [Work("ceilings", 3, ask), *work, Work("ceilings", 3, ask)] if work else []
    done = progress(sum(each.weight for each in work))
    start, left = time.monotonic(), sum(each.weight for each in work)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers have much to say about their own affairs
        # A folder of its own for what torch.compile makes: its first call is then the first ever, on every run.
        with mock.patch.dict(os.environ, {"TORCHINDUCTOR_CACHE_DIR": fresh.caches(folder)["TORCHINDUCTOR_CACHE_DIR"]}):
            for each in work:
                time_left = plan.mode.total - (time.monotonic() - start)
                found += each.do(min(1.0, max(0.1, time_left / max(left, 1e-9))))
                left -= each.weight
                done(each)
    found += starts.rows()
    found += [*_first_compiled(found)]
    return _with_floor(found, measured), measured


def _timings(plan, bench):
    """What is timed in this process, the small cases first: what is slow there is not tried on large ones."""
    mode = plan.mode
    for device in plan.devices:
        for case in cases.cases(mode, device):
            if cases.chosen(f"time {case.name}", plan.patterns):
                taking = [*bench.taking_part(case)]
                weight = mode.seconds + 0.1 * len(taking) + COMPILING * sum(one.compiled for one in taking)
                yield Work(f"time {case.name}", weight, functools.partial(_time, bench, case))
    if "cpu" in plan.devices and len(plan.threads) > 1:
        for shape in mode.scaling:
            case = cases.Case("msssim", cases.BOTH, shape)
            if cases.chosen(f"threads {case.name}", plan.patterns):
                do = functools.partial(_threads, bench, case, plan.threads)
                yield Work(f"threads {case.name}", 1.4 * mode.seconds, do)


def _starts(plan, bench, starts):
    """New processes, shuffled so that a slow minute hits all alike."""
    mode, found = plan.mode, []
    for device in plan.devices:
        for metric, step, shape in mode.memory:
            case = cases.Case(metric, step, shape, "float32", device)
            for one in (one for one in bench.taking_part(case) if not one.captured):
                name = f"memory {case.name} {one.name}"
                if cases.chosen(f"new process {name}", plan.patterns):
                    found.append(Work(name, PROCESS, functools.partial(_process, starts.memory, one, case)))
        case = cases.Case("msssim", cases.BOTH, cases.START, "float32", device)
        for one in bench.taking_part(case) if mode.first_ever else ():
            name = f"first call ever {case.name} {one.name}"
            ours = one.group == contestants.OURS and not (one.compiled or one.captured)
            if ours and cases.chosen(name, plan.patterns):
                found.append(Work(name, 2 * PROCESS, functools.partial(_process, starts.first_ever, one, case)))
    random.Random(0).shuffle(found)
    return found


def _time(bench, case, share):
    return bench.time(case, share)


def _threads(bench, case, counts, share):
    return bench.threads(case, counts, share * bench.mode.seconds)


def _process(ask, contestant, case, share):
    ask(contestant, case)
    return []


def _ceilings(plan, measured, share):
    for device in plan.devices:
        counts = {torch.get_num_threads(), *plan.threads} if device == "cpu" else {torch.get_num_threads()}
        measured += [ceilings.measure(device, count) for count in sorted(counts)]
    return []


def _first_compiled(found):
    """What was compiled in this run was compiled for the first time ever."""
    for each in found:
        case = (each["kind"], each.get("metric"), each.get("mode"))
        compiled = each["contestant"].endswith(contestants.UNDER_COMPILE) and each["verdict"] in rows.GREEN
        if compiled and case == (rows.TIME, "msssim", cases.BOTH):
            keep = (*rows.KEYS, "group", "version", "verdict", "error", "budget", "first_seconds")
            first = {name: value for name, value in each.items() if name in keep}
            yield first | {"kind": rows.FIRST_EVER, "seconds": each["first_seconds"], "rounds": 1}


def _with_floor(found, measured):
    """The rows with the floor of each time: of what was measured before and after, the higher ceilings."""
    highest = {
        key: ceilings.best([each for each in measured if (each.device, each.threads) == key])
        for key in {(each.device, each.threads) for each in measured}
    }
    for each in found:
        if each["kind"] in (rows.TIME, rows.THREADS) and "seconds" in each:
            shape = tuple(each[name] for name in ("batch", "channels", "height", "width"))
            case = cases.Case(each["metric"], each["mode"], shape, each["dtype"], each["device"])
            seconds, bound = ceilings.floor(case, highest[each["device"], each["threads"]])
            each |= {"floor_seconds": seconds, "floor_fraction": seconds / each["seconds"], "floor_bound": bound}
    return found
