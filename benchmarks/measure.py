"""Measure one case, or one case with several numbers of threads, and make rows of it."""

import functools
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from . import checks, devices, rows, timing
from .cases import FORWARD, Case, images
from .implementations import OURS, PEER, Call, Images, Implementation, baseline
from .presets import Preset

_Key = TypeVar("_Key", bound=Hashable)


def implementation_row(implementation: Implementation, preset: Preset, device: str) -> rows.Row:
    """Return the row that says whether an implementation takes part on a device, with version and description."""
    kind, verdict, note = torch.device(device).type, rows.OK, implementation.description
    if implementation.unavailable_reason:
        verdict, note = rows.MISSING, implementation.unavailable_reason
    elif implementation.devices is not None and kind not in implementation.devices:
        verdict, note = rows.REFUSED, f"runs on {', '.join(implementation.devices)} only"
    elif implementation.compiled and not _is_ever_compiled(implementation, preset, device):
        verdict, note = rows.LEFT_OUT, "not compiled in this preset"
    return rows.row(rows.IMPLEMENTATION, implementation, device=device, verdict=verdict, note=note)


def _is_ever_compiled(implementation: Implementation, preset: Preset, device: str) -> bool:
    return _may_compile(implementation, preset) and any(map(preset.compiles, preset.cases(device)))


def _may_compile(implementation: Implementation, preset: Preset) -> bool:
    """Return whether a preset allows the time to compile an implementation."""
    torch_backend = implementation.group == OURS and implementation.backend == "torch"
    return preset.compile_torch_backend or not torch_backend


class _Candidate(NamedTuple):
    """An implementation whose result was checked, and that may be timed."""

    implementation: Implementation
    call: Call
    fields: dict[str, Any]


class _SlowCall(NamedTuple):
    seconds: float
    n_values: int


class Bench:
    """Measures cases, and remembers which implementations are slow."""

    def __init__(self, implementations: Sequence[Implementation], preset: Preset) -> None:
        self.implementations, self.preset = implementations, preset
        self._max_call_seconds = preset.max_call_seconds
        self._slow_calls: dict[tuple[str, str, str, str], _SlowCall] = {}
        self._last_seconds: dict[str, float] = {}

    def implementations_for(self, case: Case) -> Iterator[Implementation]:
        """Yield the implementations to try on a case."""
        for one in self.implementations:
            if one.unavailable_reason or one.unsupported_reason(case) is not None:
                continue
            if not one.compiled or (self.preset.compiles(case) and _may_compile(one, self.preset)):
                yield one

    def time(self, case: Case, time_fraction: float = 1.0) -> list[rows.Row]:
        """Return the rows of one case: every value, and the time where the value is right.

        A `time_fraction` below 1, when time runs short, gives fewer rounds and skips slow implementations sooner.
        """
        self._max_call_seconds = time_fraction * self.preset.max_call_seconds
        candidates, found = self._check_all(self.implementations_for(case), case, rows.TIME)
        entries = {name: timing.Entry(one.call, None, self._last_seconds[name]) for name, one in candidates.items()}
        timed = self._timed(entries, case, time_fraction * self.preset.seconds)
        base = timed.get(baseline(self.implementations, case) or "")
        for name, one in candidates.items():
            times = _time_fields(timed[name], base, case)
            found.append(rows.row(rows.TIME, one.implementation, case, **one.fields, **times))
        return found

    def time_threads(self, case: Case, counts: Sequence[int], seconds: float) -> list[rows.Row]:
        """Return the rows of one case with several numbers of threads, timed in the same rounds."""
        self._max_call_seconds = self.preset.max_call_seconds
        eager = [one for one in self.implementations_for(case) if not one.compiled and one.differentiable]
        candidates, found = self._check_all(eager, case, rows.THREADS)
        entries = {
            (name, count): timing.Entry(one.call, functools.partial(torch.set_num_threads, count))
            for name, one in candidates.items()
            for count in counts
        }
        before = torch.get_num_threads()
        try:
            timed = self._timed(entries, case, seconds)
        finally:
            torch.set_num_threads(before)
        base_name = baseline(self.implementations, case) or ""
        for (name, count), times in timed.items():
            one = candidates[name]
            fields = {**one.fields, "threads": count, **_time_fields(times, timed.get((base_name, count)), case)}
            found.append(rows.row(rows.THREADS, one.implementation, case, **fields))
        return found

    def too_slow(self, implementation: Implementation, case: Case, factor: float) -> str | None:
        """Return why an implementation is skipped, judging by its time at a smaller size, or None.

        `factor` multiplies the preset's limit.
        """
        return self._expected_too_slow(implementation, case, factor * self.preset.max_call_seconds)

    def _expected_too_slow(self, implementation: Implementation, case: Case, limit: float) -> str | None:
        expected = 0.0
        for mode in {FORWARD, case.mode}:  # a call with gradient is at least as slow as one without
            known = self._slow_calls.get((implementation.name, case.metric, mode, case.device))
            if known:
                expected = max(expected, known.seconds * case.n_values / known.n_values)
        return _over_limit(expected, "would take about", limit)

    def _timed(self, entries: Mapping[_Key, timing.Entry], case: Case, seconds: float) -> dict[_Key, timing.Timed]:
        return timing.interleaved(
            entries, seconds=seconds, rounds=self.preset.rounds, sample=devices.sampler(case.device)
        )

    def _check_all(
        self, implementations: Iterable[Implementation], case: Case, kind: str
    ) -> tuple[dict[str, _Candidate], list[rows.Row]]:
        """Return what may be timed by name, and the rows of the others."""
        torch.compiler.reset()  # implementations and shapes share a recompilation limit, beyond which they run eagerly
        candidates, found, inputs = {}, [], images(case)
        for implementation in implementations:
            fields, call = self._try(implementation, case, inputs)
            fields["threads"] = torch.get_num_threads()
            if call is not None and fields["verdict"] in rows.VALID:
                candidates[implementation.name] = _Candidate(implementation, call, fields)
            else:
                found.append(rows.row(kind, implementation, case, **fields))
        return candidates, found

    def _try(self, implementation: Implementation, case: Case, inputs: Images) -> tuple[dict[str, Any], Call | None]:
        """Call once and check the result; return fields with a verdict, and the call."""
        note = self._expected_too_slow(implementation, case, self._max_call_seconds)
        if note:
            return {"verdict": rows.LEFT_OUT, "note": note}, None
        try:
            call = implementation.bind(case, inputs)
            start = time.perf_counter()
            result = call()
            devices.synchronize(case.device)
            first_seconds = time.perf_counter() - start
        except Exception as error:  # peers raise any type of exception for unsupported input
            line = (str(error).strip().splitlines() or [""])[0]
            return {"verdict": verdict_on(implementation, error), "note": f"{type(error).__name__}: {line}"[:300]}, None
        fields = {"first_seconds": first_seconds, **checks.check(implementation, case, result)._asdict()}
        del result
        seconds = self._estimate(implementation, call, first_seconds, case)
        self._last_seconds[implementation.name] = seconds
        # A shorter time may be call overhead, which does not grow with the image.
        if seconds > self.preset.max_call_seconds / 8:
            key = implementation.name, case.metric, case.mode, case.device
            self._slow_calls[key] = _SlowCall(seconds, case.n_values)
        note = _over_limit(seconds, "takes", self._max_call_seconds)
        if note and fields["verdict"] in rows.VALID:
            fields |= {"verdict": rows.LEFT_OUT, "note": note}
        return fields, call

    def _estimate(self, implementation: Implementation, call: Call, first_seconds: float, case: Case) -> float:
        """Estimate the seconds of a call; a first call that was far too slow and compiled nothing is not repeated."""
        compiles = implementation.compiled or implementation.group == OURS
        if not compiles and first_seconds >= 8 * self._max_call_seconds:
            return first_seconds
        sample = devices.sampler(case.device)
        seconds = timing.estimate(call, sample)
        if seconds > self._max_call_seconds and (compiles or seconds < 8 * self._max_call_seconds):
            seconds = timing.estimate(call, sample)
        return seconds


def _over_limit(seconds: float, verb: str, limit: float) -> str | None:
    if seconds <= limit:
        return None
    return f"a call {verb} {seconds:.1f} s; the limit is {limit:.2g} s"


def verdict_on(implementation: Implementation, error: Exception) -> str:
    """Return the verdict on an exception: peers may refuse input, and our backends with an error that says so."""
    if implementation.group == PEER or str(error).startswith("backend="):
        return rows.REFUSED
    return rows.WRONG


def _time_fields(timed: timing.Timed, base: timing.Timed | None, case: Case) -> dict[str, Any]:
    median, q1, q3 = timed.quartiles
    fields: dict[str, Any] = {
        "seconds": median,
        "q1": q1,
        "q3": q3,
        "rounds": len(timed.samples),
        "calls": timed.calls,
        "ns_per_pixel": median / case.n_values * 1e9,
    }
    if base is not None:
        ratio = timing.ratios(timed, base)
        fields |= {"ratio": ratio.median, "ratio_q1": ratio.q1, "ratio_q3": ratio.q3}
    return fields
