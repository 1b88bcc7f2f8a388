"""The rows of one case, or of one case on several numbers of threads."""

import time

import torch

from . import cases, checks, contestants, devices, rows, timing


def contestant_row(contestant, mode, device):
    """Who takes part on a device, with convention and version, or why not."""
    kind, verdict, note = torch.device(device).type, rows.OK, contestant.convention
    if contestant.obstacle:
        verdict, note = rows.MISSING, contestant.obstacle
    elif contestant.devices is not None and kind not in contestant.devices:
        verdict, note = rows.REFUSED, f"runs on {', '.join(contestant.devices)} alone"
    elif contestant.compiled and not _compiled_somewhere(contestant, mode, device):
        verdict, note = rows.LEFT_OUT, "compiling takes longer than this mode"
    return rows.row(rows.CONTESTANT, contestant, device=device, verdict=verdict, note=note)


def _compiled_somewhere(contestant, mode, device):
    return _compiles(contestant, mode) and any(map(mode.compiles, cases.cases(mode, device)))


def _compiles(contestant, mode):
    """Whether a mode has the time to put a contestant under torch.compile at all."""
    plain = contestant.group == contestants.OURS and contestant.backend == "torch"
    return mode.plain_compiled or not plain


class Bench:
    """Everyone who takes part, how much is measured, and what is known by now of how slow they are.

    Parameters
    ----------
    everyone : sequence of Contestant
    mode : Mode
    """

    def __init__(self, everyone, mode):
        self.everyone, self.mode, self._limit = everyone, mode, mode.limit
        self._known = {}  # (seconds, pixels) of the last call that took long
        self._seconds = {}  # of everyone's last call

    def taking_part(self, case):
        """Those who are tried on a case; what one cannot do by nature is said once, in its contestant_row."""
        for one in self.everyone:
            if one.obstacle or one.gap(case) is not None:
                continue
            compiled = self.mode.compiles(case) and _compiles(one, self.mode)
            if compiled or not one.compiled:
                yield one

    def time(self, case, share=1.0):
        """The rows of one case: everyone's value, and the time of those whose value is right.

        With a share below 1, as when time gets short, there are fewer rounds, and slow contestants are left out sooner.
        """
        self._limit = share * self.mode.limit
        green, found = self._green(self.taking_part(case), case, rows.TIME)
        entries = {name: timing.Entry(call, None, self._seconds[name]) for name, (_, call, _) in green.items()}
        timed = self._timed(entries, case, share * self.mode.seconds)
        base = timed.get(contestants.baseline(self.everyone, case))
        for name, (contestant, _, fields) in green.items():
            found.append(rows.row(rows.TIME, contestant, case, **fields, **_times(timed[name], base, case)))
        return found

    def threads(self, case, counts, seconds):
        """The same of those who obey torch.set_num_threads, for several numbers of threads in the same rounds."""
        self._limit = self.mode.limit
        able = [one for one in self.taking_part(case) if not one.compiled and one.differentiable]
        green, found = self._green(able, case, rows.THREADS)
        entries = {
            (name, count): timing.Entry(call, lambda count=count: torch.set_num_threads(count))
            for name, (_, call, _) in green.items()
            for count in counts
        }
        before = torch.get_num_threads()
        try:
            timed = self._timed(entries, case, seconds)
        finally:
            torch.set_num_threads(before)
        for (name, count), one in timed.items():
            contestant, _, fields = green[name]
            base = timed.get((contestants.baseline(self.everyone, case), count))
            fields = {**fields, "threads": count, **_times(one, base, case)}
            found.append(rows.row(rows.THREADS, contestant, case, **fields))
        return found

    def too_slow(self, contestant, case, patience=1):
        """Why a contestant is left out of a case, going by its time at a smaller size, or None.

        `patience` is how many times the mode's limit may be expected of it.
        """
        return self._expected_beyond(contestant, case, patience * self.mode.limit)

    def _expected_beyond(self, contestant, case, limit):
        known = (
            self._known.get((contestant.name, case.metric, mode, case.device), (0.0, 1))
            for mode in {cases.FORWARD, case.mode}  # with its gradient it takes no less
        )
        seconds = max(seconds * case.pixels / pixels for seconds, pixels in known)
        return self._beyond_limit(seconds, "would take about", limit)

    def _timed(self, entries, case, seconds):
        return timing.interleaved(
            entries, seconds=seconds, rounds=self.mode.rounds, sample=devices.sampler(case.device)
        )

    def _green(self, able, case, kind):
        """({name: (contestant, call, fields)} of what may be timed, the rows of what may not)."""
        torch.compiler.reset()  # or shapes and contestants share its limit of recompilations, and run uncompiled
        green, found, images = {}, [], cases.images(case)
        for contestant in able:
            fields, call = self._tried(contestant, case, images)
            fields["threads"] = torch.get_num_threads()
            if fields["verdict"] in rows.GREEN:
                green[contestant.name] = contestant, call, fields
            else:
                found.append(rows.row(kind, contestant, case, **fields))
        return green, found

    def _tried(self, contestant, case, images):
        """(fields with a verdict, the call), after a first call whose result was checked."""
        note = self._expected_beyond(contestant, case, self._limit)
        if note:
            return {"verdict": rows.LEFT_OUT, "note": note}, None
        try:
            call = contestant.call(case, images)
            began = time.perf_counter()
            result = call()
            devices.synchronize(case.device)
            first = time.perf_counter() - began
        except Exception as error:  # whatever a peer raises is its answer
            line = (str(error).strip().splitlines() or [""])[0]
            return {"verdict": refusal(contestant, error), "note": f"{type(error).__name__}: {line}"[:300]}, None
        fields = {"first_seconds": first, **checks.check(contestant, case, result)._asdict()}
        del result
        one = self._seconds[contestant.name] = self._estimate(contestant, call, first, case)
        if one > self.mode.limit / 8:  # what takes less may be the cost of a call, which does not grow with the image
            self._known[contestant.name, case.metric, case.mode, case.device] = one, case.pixels
        note = self._beyond_limit(one, "takes", self._limit)
        if note and fields["verdict"] in rows.GREEN:
            fields |= {"verdict": rows.LEFT_OUT, "note": note}
        return fields, call

    def _estimate(self, contestant, call, first, case):
        """Seconds of a call; after a first one that took far too long and compiled nothing, those of that one."""
        compiles = contestant.compiled or contestant.group == contestants.OURS
        one, tries = first, 2
        while tries and (one > self._limit or one is first) and (compiles or one < 8 * self._limit):
            one, tries = timing.estimate(call, devices.sampler(case.device)), tries - 1
        return one

    def _beyond_limit(self, seconds, verb, limit):
        if seconds <= limit:
            return None
        return f"a call {verb} {seconds:.1f} s; what takes more than {limit:.2g} s is left out"


def refusal(contestant, error):
    """The verdict on an exception: a peer may refuse, and a backend of ours where it says so."""
    if contestant.group == contestants.PEER or str(error).startswith("backend: "):
        return rows.REFUSED
    return rows.WRONG


def _times(timed, base, case):
    median, q1, q3 = timed.spread
    fields = {"seconds": median, "q1": q1, "q3": q3, "rounds": len(timed.samples), "calls": timed.calls}
    fields["ns_per_pixel"] = median / case.pixels * 1e9
    if base is not None:
        fields |= dict(zip(("ratio", "ratio_q1", "ratio_q3"), timing.ratios(timed, base), strict=True))
    return fields
