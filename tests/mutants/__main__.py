"""Plant each fault, run its tests, and record which test failed."""

import argparse
import contextlib
import datetime
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from . import Fault, __doc__, numba_faults, plain_faults, triton_faults

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = pathlib.Path(__file__).with_name("results.json")
FAULTS = (*plain_faults.FAULTS, *numba_faults.FAULTS, *triton_faults.FAULTS)

KILLED, TIMED_OUT, HARMLESS = "killed", "timed out", "harmless"
SURVIVED, INVALID = "survived", "invalid"
GOOD = (KILLED, HARMLESS)

# Limit of CPU seconds for the tests of one fault; the wall time may be six times as long. Reaching the limit does not
# prove that a test has found the fault.
LIMITS = {"plain": 120, "numba": 240, "triton": 300}

# Processes are forked from one that has imported these, which takes longer than most tests.
_PRELOADED = (
    "torch.testing", "torch.distributed.tensor", "torch.func", "numpy", "numba", "triton", "hypothesis.strategies",
    "pytest",
)  # fmt: skip

# A fault has to compute something wrong. Code that does not compile or run does not count as found by a test.
_CRASHES = re.compile(
    r"\b(SyntaxError|IndentationError|NameError|ImportError|ModuleNotFoundError|AttributeError|TypingError|LoweringError"
    r"|CompilationError|CompileTimeAssertionFailure|UnboundLocalError)\b"
)


class Outcome(NamedTuple):
    """The verdict on a fault."""

    fault: str
    verdict: str
    test: str
    error: str
    seconds: float


def main(arguments=None):
    """Return the exit code: 0 if every fault was found, else 1."""
    options = _parser().parse_args(arguments)
    stale = [problem for fault in FAULTS if (problem := cannot_be_planted(fault))]
    if stale:
        print(*stale, sep="\n", file=sys.stderr)
        return 1
    if options.check:
        return 0
    chosen = [fault for fault in FAULTS if fault.name.startswith(tuple(options.names) or "")]
    if not chosen:
        sys.exit(f"no fault has a name that begins with {', '.join(options.names)}")
    out = options.out or (None if options.names else RESULTS)
    before = json.loads(out.read_text(encoding="utf-8"))["faults"] if out and out.exists() else []
    if options.resume:
        good = {entry["name"] for entry in before if entry["verdict"] in GOOD}
        chosen = [fault for fault in chosen if fault.name not in good]
    for package in _PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(package)

    def write(outcomes):
        if out:
            out.write_text(_as_json(outcomes, before), encoding="utf-8")

    outcomes = _plant_all(chosen, write)
    write(outcomes)
    bad = [outcome for outcome in outcomes if outcome.verdict not in GOOD]
    print(f"{len(outcomes) - len(bad)} of {len(outcomes)} faults were found")
    return int(bool(bad))


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="beginnings of the names of faults (default: all)")
    parser.add_argument("--resume", action="store_true", help="skip faults that the results file lists as found")
    parser.add_argument("--check", action="store_true", help="only check that every fault can still be planted")
    parser.add_argument("--out", type=pathlib.Path, help=f"file to write (default: {RESULTS.name} for a full run)")
    return parser


def cannot_be_planted(fault, root=ROOT):
    """Return in one line why a fault does not fit the code or the tests, or None."""
    text = (root / fault.file).read_text(encoding="utf-8")
    if (found := text.count(fault.old)) != 1:
        return f"{fault.name}: the old text must occur exactly once in {fault.file}, found {found} times: {fault.old!r}"
    if fault.old == fault.new:
        return f"{fault.name}: the old and the new text are the same"
    for test in fault.tests:
        path, _, name = test.partition("::")
        defined = f"def {name.partition('[')[0]}(" if name else ""
        if not (root / path).is_file() or defined not in (root / path).read_text(encoding="utf-8"):
            return f"{fault.name}: there is no test {test}"
    return None


def _plant_all(faults, write=lambda outcomes: None):
    """The outcome of each fault, in order; the outcomes so far are written after each."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = _copy(pathlib.Path(folder, "tree"))
        for fault in faults:
            outcome = _plant(fault, tree)
            print(f"{outcome.verdict:9} {outcome.seconds:5.0f} s  {fault.name}  {outcome.test}", flush=True)
            outcomes.append(outcome)
            write(outcomes)
        return _confirmed(outcomes, tree)


def _copy(tree):
    """Copy the working tree: tracked files, and new files that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def _plant(fault, tree):
    """Plant a fault, run its tests, and restore the file with its date, on which caches depend."""
    path = tree / fault.file
    before, text = path.stat(), path.read_text(encoding="utf-8")
    path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        return _judge(fault, tree)
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _judge(fault, tree):
    backend = fault.name.partition("-")[0]
    start = time.monotonic()
    code, output = _pytest(tree, fault.tests, backend, LIMITS[backend])
    seconds = round(time.monotonic() - start, 1)
    test, error = _first_failure(output)
    if code is None:
        verdict = TIMED_OUT
    elif code == 1:
        verdict = INVALID if _CRASHES.search(error) else KILLED
    elif code == 0 and " passed" in output:
        verdict = HARMLESS if fault.harmless else SURVIVED
    else:  # nothing was collected, or pytest itself failed
        verdict, error = INVALID, output.strip().splitlines()[-1] if output.strip() else f"pytest gave {code}"
    if fault.harmless and verdict == KILLED:
        verdict, error = INVALID, f"is said to be harmless: {error}"
    return Outcome(fault.name, verdict, test, error, seconds)


def _pytest(tree, tests, backend, limit):
    """(exit code, or None if the limit was reached; the output) of the tests that use a backend."""
    keyword = "not numba and not triton" if backend == "plain" else backend
    arguments = [
        "-x", "-q", "-rf", "--tb=no", "--no-header", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist",
        "-o", "addopts=--strict-markers", "-k", keyword, *tests,
    ]  # fmt: skip
    # A fault in a kernel gets a new cache of compiled code; the others share one.
    kept = tempfile.mkdtemp(dir=tree.parent) if backend == "numba" else str(tree.parent / "compiled")
    printed = tree.parent / "printed"
    process = multiprocessing.get_context("fork").Process(target=_child, args=(tree, arguments, kept, printed, limit))
    process.start()
    process.join(limit and 6 * limit)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    elif code < 0:  # by the signal of the limit on its processor time
        code = None
    if backend == "numba":
        shutil.rmtree(kept, ignore_errors=True)
    return code, printed.read_text(encoding="utf-8", errors="replace")


def _child(tree, arguments, kept, printed, limit):
    """Run pytest in the copy, in this process; nothing of the project is imported yet."""
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[:] = [str(tree), *(entry for entry in sys.path if entry not in ("", str(ROOT)))]
    os.environ.update(PYTHONPATH=str(tree), NUMBA_CACHE_DIR=kept, COLUMNS="300")
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = kept
    if limit:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    os.chdir(tree)
    target = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(target, 1)
    os.dup2(target, 2)
    sys.stdout, sys.stderr = (open(descriptor, "w", closefd=False) for descriptor in (1, 2))  # noqa: SIM115
    import pytest

    code = pytest.main(arguments)
    sys.stdout.flush()
    os._exit(int(code))


def _first_failure(output):
    found = re.search(r"^(?:FAILED|ERROR) (\S.*?)(?: - (.*))?$", output, re.MULTILINE)
    return (found[1], (found[2] or "").strip()[:160]) if found else ("", "")


def _confirmed(outcomes, tree):
    """The outcomes; they are invalid if the test fails without the fault too."""
    for backend in LIMITS:
        tests = sorted({one.test for one in outcomes if one.verdict == KILLED and one.fault.startswith(backend)})
        if not tests:
            continue
        code, output = _pytest(tree, tests, backend, None)
        if code == 0:
            continue
        failing = [test for test in tests if _pytest(tree, [test], backend, LIMITS[backend])[0] != 0]
        print(*(f"fails without any fault: {test}" for test in failing or [output]), sep="\n", file=sys.stderr)
        outcomes = [
            one._replace(verdict=INVALID, error="the test fails without the fault") if one.test in failing else one
            for one in outcomes
        ]
    return outcomes


def _as_json(outcomes, before):
    """All results, where new ones replace older ones of the same faults; one line per fault, for readable diffs."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "numba", "triton", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    head = {"machine": platform.machine(), "versions": versions}
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "commit": described.stdout.strip(),
    }
    found = {entry["name"]: entry for entry in before}
    by_name = {fault.name: fault for fault in FAULTS}
    found |= {one.fault: _entry(by_name[one.fault], one) | run for one in outcomes}
    lines = ",\n".join(f"  {json.dumps(found[fault.name])}" for fault in FAULTS if fault.name in found)
    return json.dumps(head, indent=1)[:-2] + f',\n "faults": [\n{lines}\n ]\n}}\n'


def _entry(fault: Fault, outcome: Outcome):
    entry = {"name": fault.name, "verdict": outcome.verdict}  # the rest is in the lists of faults
    if fault.harmless:
        entry["harmless"] = fault.harmless
    else:
        entry |= {"test": outcome.test, "error": outcome.error}
    return entry | {"seconds": outcome.seconds}


if __name__ == "__main__":
    sys.exit(main())
