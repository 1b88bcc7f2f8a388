"""Run an implementation in a new process, to measure its first call and its peak memory.

``python -m benchmarks.new_process SPEC`` is that process. SPEC is JSON; the last line of the output is the result in
JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import Case
    from .implementations import Implementation

TIMEOUT = 600
_ROOT = Path(__file__).parent.parent
# The environment variables that name the cache folders of compilers.
_CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def cache_variables(folder: str | Path) -> dict[str, str]:
    """Return the environment variables that make compilers cache in a folder."""
    return {name: str(Path(folder) / name.lower()) for name in _CACHES}


def run(
    implementation: str, start: "Case", memory: "Case | None" = None, *, threads: int, empty_cache: bool = False
) -> dict[str, Any]:
    """Measure an implementation in a new process.

    Parameters
    ----------
    implementation : str
        Its name.
    start : Case
        The first call, which is timed.
    memory : Case, optional
        A second call, whose peak memory is measured. Only one per process: memory that an implementation keeps from one
        call to the next would make a later peak look smaller.
    threads : int
        For torch.set_num_threads.
    empty_cache : bool
        Whether compilers find no compiled code on disk.

    Returns
    -------
    dict
        "import_seconds", "first_seconds" and "value" of `start`; with `memory` also "peak" (bytes above what was held
        before), "process" (peak resident bytes, or None) and "memory_value". "refused" is the reason if some are
        missing.
    """
    spec = {"implementation": implementation, "start": start, "memory": memory, "threads": threads}
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (_ROOT, *filter(None, sys.path))))}
        if empty_cache:
            environment |= cache_variables(folder)
        command = [sys.executable, "-m", "benchmarks.new_process", json.dumps(spec)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, cwd=folder, timeout=TIMEOUT, check=True
            )
        except subprocess.TimeoutExpired:
            return {"refused": f"takes more than {TIMEOUT} s"}
        except subprocess.CalledProcessError as error:
            return {"refused": (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def measure(implementation: "Implementation", start: "Case", memory: "Case | None" = None) -> dict[str, Any]:
    """Measure in this process; returns what :func:`run` returns."""
    from . import cases, devices

    images = cases.images(start)
    before_import = time.perf_counter()
    call = implementation.bind(start, images)
    before_call = time.perf_counter()
    result = call()
    devices.synchronize(start.device)
    end = time.perf_counter()
    found = {"import_seconds": before_call - before_import, "first_seconds": end - before_call}
    found["value"] = result.number()
    if memory is None:
        return found
    call = implementation.bind(memory, cases.images(memory))
    if implementation.compiled:  # the memory of the compiler does not count
        call()
    results = []
    try:
        peak = devices.peak_of(lambda: results.append(call()), memory.device)
    except NotImplementedError as error:
        return found | {"refused": str(error)}
    return found | {"peak": peak.above, "process": peak.process, "memory_value": results[0].number()}


def main(spec: dict[str, Any]) -> None:
    """Measure and print the result."""
    import torch

    from . import implementations

    torch.set_num_threads(spec["threads"])
    start = _case(spec["start"])
    memory = _case(spec["memory"]) if spec["memory"] else None
    print(json.dumps(measure(implementations.by_name(spec["implementation"]), start, memory)))


def _case(fields: list[Any]) -> "Case":
    from .cases import Case

    case = Case(*fields)
    return case._replace(shape=tuple(case.shape))  # JSON has no tuples


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
