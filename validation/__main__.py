"""Measure, write a report, and exit with 1 when a budget is broken.

python -m validation                          the library against every oracle, on the generated images
python -m validation --dataset kodak          the same on the Kodak images, found through MSSSIM_DATA
python -m validation --backend torch --device cuda
python -m validation --device sm_90           the kernels for such a GPU where there is none: their PTX, run on the CPU
python -m validation --peers                  how far other implementations are from Wang, and why
python -m validation --fuzz 1000 --seed 1     random calls, against long double; what fails is printed as a test
python -m validation --subjective             agreement with subjective scores: LIVE, TID2013, CSIQ ...
torchrun --nproc-per-node 8 -m validation --subjective kadid-10k
python -m validation --render                 make the HTML, Markdown and LaTeX files of the stored reports again
"""

import argparse
import contextlib
import pathlib
import shlex
import sys
import time
import warnings

import torch

import datasets
import msssim

try:
    from .accuracy import question as accuracy
    from .fuzz import question as fuzz
    from .peers import question as peers
    from .report import machine, write
    from .subjective import question as subjective
except ModuleNotFoundError as error:
    sys.exit(f"python -m validation: {error}: python -m pip install --group validation")
from .emulated_gpu.gpus import SIMULATED
from .report.options import positive, writable

# What can be asked, in the report's order, each by the option of that name. A question is a module with two functions:
# `arguments(parser)` adds that option and those that go with it; `sections(options, about)` measures and returns a list
# of `section.Section`, and may add lines on what it measured to the dictionary `about`.
QUESTIONS = {"oracles": accuracy, "peers": peers, "fuzz": fuzz, "subjective": subjective}


REPORTS = pathlib.Path(__file__).parent / "reports"


def main(arguments=None):
    """Run the validation and return the exit code: 0, or 1 when a budget is broken."""
    # Pairs whose index is NaN in the original are measured as such.
    warnings.filterwarnings("ignore", message="MS-SSIM is NaN")
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.render is not None:
        return write.render_all(options.render or sorted(path.parent for path in REPORTS.glob("*/report.json")))
    if options.device not in SIMULATED:
        try:
            torch.empty(0, device=options.device)
        except (RuntimeError, AssertionError) as error:
            parser.error(f"--device: {error}")
    # An option that takes names is asked for by the empty list too.
    asked = [name for name in QUESTIONS if getattr(options, name) not in (None, False)] or ["oracles"]
    for name, question in (("dataset", "oracles"), ("workers", "subjective"), ("resamples", "subjective")):
        if getattr(options, name) is not None and question not in asked:
            parser.error(f"--{name} goes with --{question}")
    options.out = options.out or _folder(asked)
    writable(parser, options.out)
    about = {
        "command": shlex.join(["python", "-m", "validation", *(sys.argv[1:] if arguments is None else arguments)]),
        **machine.describe(options.device),
        "device": options.device,
    }
    start, sections = time.monotonic(), []
    with _device(parser, options, about):
        try:
            for name in asked:
                sections += QUESTIONS[name].sections(options, about)
        except datasets.DatasetMissing as error:
            parser.error(str(error))
    about["took"] = f"{time.monotonic() - start:.0f} s"
    if options.limit is not None:
        about["limit"] = f"at most {options.limit} images of each kind: not a full run"
    page = write.write(options.out, sections, about)
    print(write.terminal(sections))
    print(page)
    return int(write.broken(sections))


@contextlib.contextmanager
def _device(parser, options, about):
    """Make the device of the options one of PyTorch's, and the backends those that compute there."""
    if options.device not in SIMULATED:
        elsewhere = {"cpu": "triton", "cuda": "numba"}.get(options.device.split(":")[0])
        options.backend = options.backend or tuple(name for name in msssim.available_backends() if name != elsewhere)
        yield
        return
    if options.backend:
        parser.error(f"--device {options.device} is for the kernels of one backend, and takes no --backend")
    if options.subjective is not None:
        parser.error(f"--device {options.device} is for one process, and --subjective starts more")
    try:
        from .emulated_gpu import driver
    except ImportError as error:
        parser.error(f'{error}: --device {options.device} needs Triton: python -m pip install "triton>=3.4"')
    with driver.standing_in(SIMULATED[options.device]) as launches:
        options.device, options.backend = "cpu", ("triton",)
        yield
    about["device"] = (
        f"none: the kernels' PTX for {about['device']}, run on the CPU, {len(launches)} launches; threads in an order "
        "drawn by lot, and every access to memory checked"
    )


def _folder(asked):
    """Where the report on these questions goes: one for each, lest the files of one lie beside those of another."""
    return pathlib.Path("reports", "-".join(["validation", *([] if asked == ["oracles"] else asked)]))


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m validation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    available = msssim.available_backends()
    for question in QUESTIONS.values():
        question.arguments(parser)
    parser.add_argument(
        "--device",
        default="cpu",
        help=f"torch device (default: cpu), or a GPU that need not be here: {', '.join(SIMULATED)}",
    )
    parser.add_argument(
        "--backend", nargs="+", choices=available, metavar="NAME",
        help=f"any of {', '.join(available)} (default: every one that computes on the device)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=pathlib.Path,
        help=f"folder to write to (default: {_folder(['oracles'])}, {_folder(['peers'])} and so on)",
    )  # fmt: skip
    parser.add_argument(
        "--render", nargs="*", type=pathlib.Path, metavar="FOLDER",
        help="measure nothing; make report.html, report.md and report.tex from the report.json of these folders "
        f"(default: every folder in {REPORTS.relative_to(REPORTS.parents[1])})",
    )  # fmt: skip
    parser.add_argument("--limit", type=positive, help="only so many pairs of each dataset; the report says so")
    return parser


if __name__ == "__main__":
    sys.exit(main())
