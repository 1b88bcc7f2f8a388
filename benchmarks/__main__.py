"""Time the library beside its peers and write a report; exit with 1 when a result is wrong or speed was lost.

python -m benchmarks                          about ten minutes, on the CPU
python -m benchmarks --quick                  about a minute and a half; --full takes hours
python -m benchmarks --device cpu cuda        on several devices; one that is not there is skipped
python -m benchmarks --only "msssim forward+backward 1x3x512x512" memory --peers pytorch-msssim
python -m benchmarks --compare OLD.json       what got faster or slower than in an earlier run
"""

import argparse
import os
import pathlib
import shlex
import sys
import time

import torch

from validation.report.options import positive, writable

try:
    from tqdm import tqdm

    from reference.peers import PEERS
    from validation.report import machine

    from . import cases, compare, contestants, devices, report, rows, run
except ModuleNotFoundError as error:
    sys.exit(f"python -m benchmarks: {error}: python -m pip install --group benchmarks")


def main(arguments=None):
    """Run the benchmarks and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.threshold is not None and not (options.compare and options.threshold > 0):
        parser.error("--threshold: a share above 0 is wanted, beside --compare")
    if options.peers and "none" in options.peers and len(options.peers) > 1:
        parser.error("--peers: none, or names, are wanted")
    try:
        old = rows.load(options.compare) if options.compare else None
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"--compare: {error}")
    writable(parser, options.out)
    about = _about(options, sys.argv[1:] if arguments is None else arguments)
    there = []
    for device in dict.fromkeys(options.device):
        obstacle = devices.obstacle(device)
        if obstacle is None:
            there.append(device)
        else:
            about[f"skipped {device}"] = obstacle
            print(f"skipped {device}: {obstacle}", flush=True)
    if not there:
        parser.error(f"--device: none of {', '.join(options.device)} is there")
    peers = None if options.peers is None else [name for name in options.peers if name != "none"]
    plan = run.Plan(
        cases.MODES[options.mode], tuple(there), tuple(contestants.everyone(peers)), tuple(options.only or ()),
        tuple(options.threads),
    )  # fmt: skip
    start = time.monotonic()
    found, measured = run.go(plan, _progress)
    table = rows.frame(found)
    if (table.kind == rows.CONTESTANT).all():
        parser.error(f"--only: nothing that can be measured has {shlex.join(options.only or ())} in its name")
    about |= {"load after": _load(), "took": f"{time.monotonic() - start:.0f} s"}
    page = report.write(options.out, table, about, [each._asdict() for each in measured])
    print(report.terminal(table))
    print(page)
    code = int((table.verdict == rows.WRONG).any())
    if old is not None:
        code |= compare.show(old, (table, about), options.threshold or compare.THRESHOLD)
    return code


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--quick", dest="mode", action="store_const", const="quick", help="about a minute and a half")
    modes.add_argument("--full", dest="mode", action="store_const", const="full", help="everything, for hours")
    parser.add_argument("--device", nargs="+", default=["cpu"], help="torch devices (default: cpu)")
    parser.add_argument(
        "--only", nargs="+", metavar="PATTERN",
        help="only the work whose name has one of these in it, * standing for anything; names are like 'time msssim "
        "forward+backward 1x3x512x512 float32 cpu', and begin with time, threads, memory, new process or"
        " first call ever",
    )  # fmt: skip
    parser.add_argument(
        "--peers", nargs="+", choices=(*PEERS, "none"), metavar="NAME",
        help=f"beside the library: any of {'; '.join(PEERS)}; or none (default: every one)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", nargs="+", type=positive, default=_counts(os.cpu_count() or 1), metavar="N",
        help="numbers of threads to compare (default: 1, 2, 4 ... up to the cores)",
    )  # fmt: skip
    parser.add_argument("--compare", type=pathlib.Path, metavar="OLD.json", help="rows.json of an earlier run")
    parser.add_argument(
        "--threshold", type=float, metavar="SHARE",
        help=f"for --compare: the loss of speed that is a regression (default: {compare.THRESHOLD})",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("reports/benchmarks"),
        help="folder to write to (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(mode="default")
    return parser


def _counts(cores):
    counts = [1]
    while counts[-1] * 2 < cores:
        counts.append(counts[-1] * 2)
    return sorted({*counts, cores})


def _about(options, arguments):
    """What every file says of the run."""
    about = {
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "mode": options.mode,
        **machine.describe("cpu"),
    }
    for device in options.device:
        if device.startswith("cuda") and devices.obstacle(device) is None:
            about |= {f"GPU {device}": torch.cuda.get_device_name(device), "CUDA": str(torch.version.cuda)}
    about |= {"threads": str(torch.get_num_threads()), "load before": _load()}
    if options.only:
        about["only"] = f"{shlex.join(options.only)}: not a full run"
    return about


def _load():
    try:
        return ", ".join(f"{each:.2f}" for each in os.getloadavg()) + " processes (1, 5, 15 minutes)"
    except (OSError, AttributeError):  # Windows keeps no such figure
        return "unknown"


def _progress(total):
    form = "{desc:<58.58}{percentage:3.0f}% {bar:20} {elapsed} < {remaining}"
    bar = tqdm(total=round(total, 3), file=sys.stderr, bar_format=form)

    def done(work):
        bar.set_description_str(work.name, refresh=False)
        bar.update(work.weight)
        if bar.n >= bar.total - 0.1:
            bar.close()

    return done


if __name__ == "__main__":
    sys.exit(main())
