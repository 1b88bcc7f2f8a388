"""Time the library and other implementations, and write a report. The exit code is 1 if a result is wrong or slower.

python -m benchmarks                          about ten minutes on a CPU
python -m benchmarks --quick                  about a minute and a half; --full takes hours
python -m benchmarks --device cpu cuda        on several devices; unavailable devices are skipped
python -m benchmarks --only "msssim forward+backward 1x3x512x512" memory --peers pytorch-msssim
python -m benchmarks --compare OLD.json       show what got faster or slower than in an earlier run
python -m benchmarks --render                 make the HTML, Markdown and LaTeX files of the stored results again
"""

import argparse
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Callable, Sequence

import torch

from validation.report.options import positive, writable

try:
    from tqdm import tqdm

    from reference.peers import PEERS
    from validation.report import machine

    from . import compare, devices, implementations, report, rows, run
    from .presets import PRESETS
except ModuleNotFoundError as error:
    sys.exit(f"python -m benchmarks: {error}: python -m pip install --group benchmarks")


RESULTS = pathlib.Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.render is not None:
        return _render(options.render or sorted(RESULTS.glob("*/rows.json")))
    if options.threshold is not None and not (options.compare and options.threshold > 0):
        parser.error("--threshold must be > 0 and needs --compare")
    if options.peers and "none" in options.peers and len(options.peers) > 1:
        parser.error("--peers must be either names or none, got both")
    try:
        old = rows.load(options.compare) if options.compare else None
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"--compare: {error}")
    writable(parser, options.out)
    about = _about(options, sys.argv[1:] if arguments is None else arguments)
    available = _available_devices(options.device, about)
    if not available:
        parser.error(f"--device: none of {', '.join(options.device)} is available")
    peers = None if options.peers is None else [name for name in options.peers if name != "none"]
    plan = run.Plan(
        PRESETS[options.preset], tuple(available), tuple(implementations.all_implementations(peers)),
        tuple(options.only or ()), tuple(options.threads),
    )  # fmt: skip
    start = time.monotonic()
    found, ceilings = run.run_plan(plan, _progress)
    table = rows.frame(found)
    if (table.kind == rows.IMPLEMENTATION).all():
        parser.error(f"--only: nothing to measure matches {shlex.join(options.only or ())}")
    about |= {"load after": _load(), "took": f"{time.monotonic() - start:.0f} s"}
    page = report.write(options.out, table, about, ceilings)
    print(report.terminal(table))
    print(page)
    code = int((table.verdict == rows.WRONG).any())
    if old is not None:
        code |= compare.show(old, rows.Results(table, about), options.threshold or compare.THRESHOLD)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    presets = parser.add_mutually_exclusive_group()
    presets.add_argument(
        "--quick", dest="preset", action="store_const", const="quick", help="about a minute and a half"
    )
    presets.add_argument("--full", dest="preset", action="store_const", const="full", help="everything; takes hours")
    parser.add_argument("--device", nargs="+", default=["cpu"], help="torch devices (default: cpu)")
    parser.add_argument(
        "--only", nargs="+", metavar="PATTERN",
        help="only tasks whose name contains one of the patterns, with * for any text; names are like 'time msssim "
        "forward+backward 1x3x512x512 float32 cpu', and begin with time, threads, memory, new process or first call "
        "ever",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="+", choices=(*PEERS, "none"), metavar="NAME",
        help=f"other implementations to measure: any of {'; '.join(PEERS)}; or none (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", nargs="+", type=positive, default=_thread_counts(os.cpu_count() or 1), metavar="N",
        help="numbers of threads to compare (default: 1, 2, 4 ... up to the number of cores)",
    )  # fmt: skip
    parser.add_argument("--compare", type=pathlib.Path, metavar="OLD.json", help="rows.json of an earlier run")
    parser.add_argument(
        "--threshold", type=float, metavar="FRACTION",
        help=f"for --compare: the slowdown that counts as a regression (default: {compare.THRESHOLD})",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("reports/benchmarks"),
        help="output folder (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--render", nargs="*", type=pathlib.Path, metavar="ROWS.json",
        help="measure nothing; make the report and the plots from these files, beside them (default: all in "
        f"{RESULTS.relative_to(RESULTS.parents[1])})",
    )  # fmt: skip
    parser.set_defaults(preset="default")
    return parser


def _render(paths: Sequence[pathlib.Path]) -> int:
    for path in paths:
        print(report.render(path))
    return 0


def _thread_counts(cores: int) -> list[int]:
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    return sorted({*counts, cores})


def _available_devices(names: Sequence[str], about: dict[str, str]) -> list[str]:
    """Return the devices that can be used; print the others and add them to `about`."""
    available = []
    for device in dict.fromkeys(names):
        reason = devices.unavailable_reason(device)
        if reason is None:
            available.append(device)
        else:
            about[f"skipped {device}"] = reason
            print(f"skipped {device}: {reason}", flush=True)
    return available


def _about(options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, str]:
    """Return what every output file says about the run."""
    about = {
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "mode": options.preset,
        **machine.describe("cpu"),
    }
    for device in options.device:
        if device.startswith("cuda") and devices.unavailable_reason(device) is None:
            about |= {f"GPU {device}": torch.cuda.get_device_name(device), "CUDA": str(torch.version.cuda)}
    about |= {"threads": str(torch.get_num_threads()), "load before": _load()}
    if options.only:
        about["only"] = f"{shlex.join(options.only)}: not a full run"
    return about


def _load() -> str:
    try:
        return ", ".join(f"{each:.2f}" for each in os.getloadavg()) + " processes (1, 5, 15 minutes)"
    except (OSError, AttributeError):  # not available on Windows
        return "unknown"


def _progress(total_seconds: float) -> Callable[[run.Task], None]:
    bar_format = "{desc:<58.58}{percentage:3.0f}% {bar:20} {elapsed} < {remaining}"
    bar = tqdm(total=round(total_seconds, 3), file=sys.stderr, bar_format=bar_format)

    def done(task: run.Task) -> None:
        bar.set_description_str(task.name, refresh=False)
        bar.update(task.seconds)
        if bar.n >= total_seconds - 0.1:
            bar.close()

    return done


if __name__ == "__main__":
    sys.exit(main())
