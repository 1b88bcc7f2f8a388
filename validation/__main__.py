"""Measure, write a report, and exit with 1 if an error exceeds its budget.

python -m validation                          the library against every reference, on the generated images
python -m validation --dataset kodak          the same on the Kodak images, found through MSSSIM_DATA
python -m validation --backend torch --device cuda
python -m validation --device sm_90           the GPU kernels on an emulated GPU: their PTX is executed on the CPU
python -m validation --peers                  the deviation of other implementations from Wang, and its causes
python -m validation --fuzz 1000 --seed 1     random calls against long double; failures are printed as tests
python -m validation --training               first steps of trainings: are gradients NaN, zero or exploding?
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
from collections.abc import Iterator, Sequence

import torch

import datasets
import msssim
from msssim import backends

try:
    from . import from_rows
    from .accuracy import question as accuracy
    from .fuzz import question as fuzz
    from .peers import question as peers
    from .report import machine, write
    from .subjective import question as subjective
    from .training import question as training
except ModuleNotFoundError as error:
    sys.exit(f"python -m validation: {error}: python -m pip install --group validation")
from .emulated_gpu.gpus import SIMULATED
from .report.options import positive, writable

# The questions in the order of the report, by the option that asks them. A question is a module with two functions:
# `arguments(parser)` adds its options; `sections(options, about)` measures, returns a list of `section.Section`,
# and may add lines about what it measured to the dictionary `about`.
QUESTIONS = {"oracles": accuracy, "peers": peers, "fuzz": fuzz, "subjective": subjective, "training": training}


REPORTS = pathlib.Path(__file__).parent / "reports"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation and return the exit code: 0, or 1 if an error exceeds its budget."""
    # Pairs whose value is complex in the original are measured too.
    warnings.filterwarnings("ignore", message="MS-SSIM is NaN")
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.render is not None:
        for folder in options.render or from_rows.folders(REPORTS):
            print(from_rows.render(folder))
        return 0
    if options.device not in SIMULATED:
        try:
            torch.empty(0, device=options.device)
        except (RuntimeError, AssertionError) as error:
            parser.error(f"--device: {error}")
    # An option that takes names may be an empty list.
    requested = [name for name in QUESTIONS if getattr(options, name) not in (None, False)] or ["oracles"]
    for name, question in (("dataset", "oracles"), ("workers", "subjective"), ("resamples", "subjective")):
        if getattr(options, name) is not None and question not in requested:
            parser.error(f"--{name} needs --{question}")
    options.out = options.out or _folder(requested)
    writable(parser, options.out)
    about = {
        "command": shlex.join(["python", "-m", "validation", *(sys.argv[1:] if arguments is None else arguments)]),
        **machine.describe(options.device),
        "device": options.device,
    }
    start, sections = time.monotonic(), []
    with _device(parser, options, about):
        try:
            for name in requested:
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
def _device(parser: argparse.ArgumentParser, options: argparse.Namespace, about: dict[str, str]) -> Iterator[None]:
    """Set device and backends of the options, and emulate a GPU if they name one."""
    if options.device not in SIMULATED:
        usable = (None, torch.device(options.device).type)
        available = msssim.available_backends()
        options.backend = options.backend or tuple(name for name in available if backends.device_type(name) in usable)
        yield
        return
    if options.backend:
        parser.error(f"--device {options.device} has one backend and does not allow --backend")
    if options.subjective is not None:
        parser.error(f"--device {options.device} works in one process only and does not allow --subjective")
    try:
        from .emulated_gpu import driver
    except ImportError as error:
        parser.error(f'{error}: --device {options.device} needs Triton: python -m pip install "triton>=3.4"')
    with driver.emulated_gpu(SIMULATED[options.device]) as launches:
        options.device, options.backend = "cpu", ("triton",)
        yield
    about["device"] = (
        f"emulated: the PTX of the kernels for {about['device']}, executed on the CPU, {len(launches)} launches; "
        "threads in random order, with every memory access checked"
    )


def _folder(requested: Sequence[str]) -> pathlib.Path:
    """Return the default folder of the report: one for each combination of questions."""
    return pathlib.Path("reports", "-".join(["validation", *([] if requested == ["oracles"] else requested)]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m validation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    available = msssim.available_backends()
    for question in QUESTIONS.values():
        question.arguments(parser)
    parser.add_argument(
        "--device",
        default="cpu",
        help=f"torch device (default: cpu), or a GPU to emulate: {', '.join(SIMULATED)}",
    )
    parser.add_argument(
        "--backend", nargs="+", choices=available, metavar="NAME",
        help=f"any of {', '.join(available)} (default: all that support the device)",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=pathlib.Path,
        help=f"folder to write to (default: {_folder(['oracles'])}, {_folder(['peers'])} and so on)",
    )  # fmt: skip
    parser.add_argument(
        "--render", nargs="*", type=pathlib.Path, metavar="FOLDER",
        help="measure nothing; make report.html, report.md and report.tex from the report.json or rows of these "
        f"folders (default: every folder in {REPORTS.relative_to(REPORTS.parents[1])})",
    )  # fmt: skip
    parser.add_argument("--limit", type=positive, help="maximum number of pairs of each dataset; the report says so")
    return parser


if __name__ == "__main__":
    sys.exit(main())
