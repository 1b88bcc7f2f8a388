"""Start new processes one at a time, and make rows of peak memory and cold starts."""

from collections.abc import Callable, Sequence
from typing import Any

from . import checks, new_process, rows, timing
from .cases import START_SHAPE, Case
from .implementations import Implementation, Result

# A process makes a call once, so that slower calls are acceptable than those that are repeated.
MAX_CALL_FACTOR = 2

TooSlow = Callable[[Implementation, Case, float], str | None]


class Processes:
    """Starts processes and collects their results.

    Parameters
    ----------
    threads : int
        Number of threads in each process.
    too_slow : callable
        ``too_slow(implementation, case, factor)`` returns why an implementation is skipped, or None.
    """

    def __init__(self, threads: int, too_slow: TooSlow) -> None:
        self._threads, self._too_slow = threads, too_slow
        self._starts: dict[tuple[str, Case], tuple[Implementation, list[dict[str, Any]]]] = {}
        self._rows: list[rows.Row] = []

    def measure_memory(self, implementation: Implementation, case: Case) -> None:
        """Start one process for the peak memory of one case."""
        note = self._too_slow(implementation, case, MAX_CALL_FACTOR)
        if note:
            self._add(implementation, case, {"verdict": rows.LEFT_OUT, "note": note})
            return
        # torch.compile compiles for one shape, so the first call has the shape of the second.
        start = case if implementation.compiled else case._replace(shape=START_SHAPE)
        found = new_process.run(implementation.name, start, case, threads=self._threads)
        if "value" in found:
            self._starts.setdefault((implementation.name, start), (implementation, []))[1].append(found)
        if "peak" not in found:
            self._add(implementation, case, {"verdict": rows.REFUSED, "note": found["refused"]})
            return
        fields = checks.check(implementation, case, Result(found["memory_value"], None))._asdict()
        if fields["verdict"] in rows.VALID:
            fields |= {"peak_bytes": found["peak"], "peak_inputs": found["peak"] / case.input_bytes}
            fields["process_bytes"] = found["process"]
        self._add(implementation, case, fields)

    def measure_first_call_ever(self, implementation: Implementation, case: Case) -> None:
        """Start one process in which compilers find no compiled code on disk."""
        found = new_process.run(implementation.name, case, threads=self._threads, empty_cache=True)
        self._rows.append(self._start_row(rows.FIRST_EVER, implementation, case, [found]))

    def all_rows(self) -> list[rows.Row]:
        """Return all rows; cold starts of the same case are one row."""
        starts = [
            self._start_row(rows.NEW_PROCESS, implementation, case, found)
            for (_, case), (implementation, found) in self._starts.items()
        ]
        return [*self._rows, *starts]

    def _add(self, implementation: Implementation, case: Case, fields: dict[str, Any]) -> None:
        self._rows.append(rows.row(rows.MEMORY, implementation, case, threads=self._threads, **fields))

    def _start_row(
        self, kind: str, implementation: Implementation, case: Case, found: Sequence[dict[str, Any]]
    ) -> rows.Row:
        done = [each for each in found if "value" in each]
        fields: dict[str, Any]
        if not done:
            fields = {"verdict": rows.REFUSED, "note": found[0]["refused"]}
        else:
            fields = checks.check(implementation, case, Result(done[0]["value"], None))._asdict()
        if fields["verdict"] in rows.VALID:
            quartiles = timing.quartiles([each["import_seconds"] + each["first_seconds"] for each in done])
            fields |= {"seconds": quartiles.median, "q1": quartiles.q1, "q3": quartiles.q3, "rounds": len(done)}
            for name in ("import_seconds", "first_seconds"):
                fields[name] = timing.quartiles([each[name] for each in done]).median
        return rows.row(kind, implementation, case, threads=self._threads, **fields)
