"""What only a new process shows: the first call, and the peak of memory.

``python -m benchmarks.fresh SPEC`` is that process. SPEC is JSON; what it found is the last line of its output.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMEOUT = 600
_ROOT = Path(__file__).parent.parent
# Where compilers keep what they have made.
_CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def caches(folder):
    """The environment in which compilers keep their results in a folder."""
    return {name: str(Path(folder) / name.lower()) for name in _CACHES}


def ask(contestant, start, memory=None, *, threads, empty=False):
    """What a new process found about a contestant.

    Parameters
    ----------
    contestant : str
        Its name.
    start : Case
        What is called first, and clocked.
    memory : Case, optional
        What is called afterwards, once, for the peak of memory. One case a process: what an implementation keeps from
        one call for the next would make the second look small.
    threads : int
        For torch.set_num_threads.
    empty : bool
        Whether compilers find nothing on disk of what they made before.

    Returns
    -------
    dict
        "import_seconds", "first_seconds" and "value" of `start`; with `memory` also "peak" (bytes above what was held
        before) and "process" (highest resident bytes, or None) and "memory_value"; or "refused", the reason, in place
        of what is missing.
    """
    spec = {"contestant": contestant, "start": start, "memory": memory, "threads": threads}
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, *filter(None, sys.path))))}
        if empty:
            environment |= caches(folder)
        command = [sys.executable, "-m", "benchmarks.fresh", json.dumps(spec)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, cwd=folder, timeout=TIMEOUT, check=True
            )
        except subprocess.TimeoutExpired:
            return {"refused": f"takes more than {TIMEOUT} s"}
        except subprocess.CalledProcessError as error:
            return {"refused": (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure(contestant, start, memory=None):
    """What :func:`ask` returns, in this process."""
    from . import cases, devices

    images = cases.images(start)
    began = time.perf_counter()
    call = contestant.call(start, images)
    made = time.perf_counter()
    value, _ = call()
    devices.synchronize(start.device)
    done = time.perf_counter()
    found = {"import_seconds": made - began, "first_seconds": done - made, "value": float(value)}
    if memory is None:
        return found
    call = contestant.call(memory, cases.images(memory))
    if contestant.compiled:  # compiling takes memory too, which is not the call's
        call()
    kept = []
    try:
        peak, process = devices.peak_of(lambda: kept.append(call()), memory.device)
    except NotImplementedError as error:
        return found | {"refused": str(error)}
    return found | {"peak": peak, "process": process, "memory_value": float(kept[0][0])}


def main(spec):
    """Measure, and print what was found."""
    import torch

    from . import cases, contestants

    torch.set_num_threads(spec["threads"])
    start, memory = (
        each and cases.Case(*each)._replace(shape=tuple(each[2])) for each in (spec["start"], spec["memory"])
    )
    print(json.dumps(measure(contestants.find(spec["contestant"]), start, memory)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
