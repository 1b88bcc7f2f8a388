"""New processes one at a time, and the rows of them all: peaks of memory, and cold starts, several of each."""

import torch

from . import cases, checks, fresh, rows, timing

PATIENCE = 2  # a single call may take longer than one that is repeated, but a new process needs time beside it


class Processes:
    """Starts them, and remembers what they found.

    Parameters
    ----------
    threads : int
        That each of them computes with.
    too_slow : callable
        (contestant, case, patience) to the reason why it is left out, or None.
    """

    def __init__(self, threads, too_slow):
        self._threads, self._too_slow = threads, too_slow
        self._starts, self._rows = {}, []

    def memory(self, contestant, case):
        """One process for the peak of one case."""
        note = self._too_slow(contestant, case, PATIENCE)
        if note:
            self._add(contestant, case, {"verdict": rows.LEFT_OUT, "note": note})
            return
        start = case if contestant.compiled else case._replace(shape=cases.START)  # compiled for one shape
        found = fresh.ask(contestant.name, start, case, threads=self._threads)
        if "value" in found:
            self._starts.setdefault((contestant.name, start), (contestant, []))[1].append(found)
        if "peak" not in found:
            self._add(contestant, case, {"verdict": rows.REFUSED, "note": found["refused"]})
            return
        fields = checks.check(contestant, case, (found["memory_value"], None))._asdict()
        if fields["verdict"] in rows.GREEN:
            one = case.pixels * torch.empty(0, dtype=getattr(torch, case.dtype)).element_size()
            fields |= {"peak_bytes": found["peak"], "peak_inputs": found["peak"] / one}
            fields["process_bytes"] = found["process"]
        self._add(contestant, case, fields)

    def first_ever(self, contestant, case):
        """One process in which compilers find nothing on disk."""
        found = fresh.ask(contestant.name, case, threads=self._threads, empty=True)
        self._rows.append(self._start_row(rows.FIRST_EVER, contestant, case, [found]))

    def rows(self):
        """All rows, the cold starts put together."""
        starts = [
            self._start_row(rows.NEW_PROCESS, contestant, case, found)
            for (_, case), (contestant, found) in self._starts.items()
        ]
        return [*self._rows, *starts]

    def _add(self, contestant, case, fields):
        self._rows.append(rows.row(rows.MEMORY, contestant, case, threads=self._threads, **fields))

    def _start_row(self, kind, contestant, case, found):
        done = [each for each in found if "value" in each]
        if not done:
            fields = {"verdict": rows.REFUSED, "note": found[0]["refused"]}
        else:
            fields = checks.check(contestant, case, (done[0]["value"], None))._asdict()
        if fields["verdict"] in rows.GREEN:
            spread = timing.spread([each["import_seconds"] + each["first_seconds"] for each in done])
            fields |= {"seconds": spread.median, "q1": spread.q1, "q3": spread.q3, "rounds": len(done)}
            for name in ("import_seconds", "first_seconds"):
                fields[name] = timing.spread([each[name] for each in done]).median
        return rows.row(kind, contestant, case, threads=self._threads, **fields)
