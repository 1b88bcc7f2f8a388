"""How much of the time of the command ``msssim REF DIST`` on two folders is the index, and how much is decoding.

python -m benchmarks.command              measure, write benchmarks/results/command.json and docs/command.md
python -m benchmarks.command --from-file  only fill the table of docs/command.md from the file

200 pairs of PNG files of 768 × 512 pixels are decoded without being compared, and then compared by the command, in
colour and with --gray; on all cores and on one. Decoding alone is what the command cannot be faster than; what it takes
longer is the share of the index. The two take turns, a tenth of the pairs at a time. Files were read before, so that
they are in the cache of the system.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch

import datasets
from msssim import cli, cli_images, functional
from validation.report import machine
from validation.report.section import markdown_table, rewrite

RESULT = pathlib.Path(__file__).parent / "results" / "command.json"
DOCUMENT = pathlib.Path("docs/command.md")
REGION = "command time"
WIDTH, HEIGHT, PAIRS = 768, 512, 200
ROUNDS = 10
_DISTINCT = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry")
_OPTIONS: dict[str, tuple[str, ...]] = {"colour": (), "--gray": ("--gray",)}


def make_files(folder: pathlib.Path, count: int) -> None:
    """Write so many pairs: photographs and the same with noise, a few of them, each under several names.

    They are in several folders, so that what is timed can take turns.
    """
    from PIL import Image

    pairs = datasets.load("colour")
    generator = np.random.default_rng(0)
    written: dict[tuple[int, str], pathlib.Path] = {}
    for number in range(count):
        index = number % len(_DISTINCT)
        if number == index:
            pixels = pairs[pairs.names.index(f"{_DISTINCT[number]}-noisy")].reference
            clean = np.asarray(Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
            noisy = np.clip(clean + generator.normal(0, 10, clean.shape), 0, 255).astype(np.uint8)
        for name, image in (("ref", clean), ("dist", noisy)):
            path = folder / str(number * ROUNDS // count) / name / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if number == index:
                Image.fromarray(image).save(path)
                written[index, name] = path
            else:
                shutil.copy(written[index, name], path)


def measure(folder: pathlib.Path) -> dict[str, Any]:
    """Time decoding and the command in this process, in turns; the seconds of each folder."""
    folders = [(path / "ref", path / "dist") for path in sorted(folder.iterdir())]
    pairs = [cli_images.pairs(*each)[0] for each in folders]
    for options in _OPTIONS.values():  # compile, and read files into the cache of the system
        for each in folders:
            _command(each, options)
    runs: list[dict[str, Any]] = [
        {"images": name, **{f"{what} seconds": [] for what in ("decoding", "command", "index")}} for name in _OPTIONS
    ]
    for each, decoded in zip(folders, pairs, strict=True):
        for run, options in zip(runs, _OPTIONS.values(), strict=True):
            decode = functools.partial(_decode, decoded)
            run["decoding seconds"].append(_seconds(decode))
            with _counted() as busy:
                run["command seconds"].append(_seconds(functools.partial(_command, each, options)))
            run["index seconds"].append(sum(busy))
    counts = [len(each) for each in pairs]
    return {"pairs": counts, "cores": _cores(), "threads": torch.get_num_threads(), "runs": runs}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode(pairs: Iterable[cli_images.Pair]) -> None:
    for pair in pairs:
        cli_images.read(pair.reference)
        cli_images.read(pair.distorted)


def _command(folders: tuple[pathlib.Path, pathlib.Path], options: Sequence[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main([*map(str, folders), *options]) == 0


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextlib.contextmanager
def _counted() -> Iterator[list[float]]:
    """Add the seconds of each call of an index, and of the gray plane, to a list."""
    seconds: list[float] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **options)
            seconds.append(time.perf_counter() - start)
            return result

        return call

    with contextlib.ExitStack() as patches:
        for module, name in ((functional, "ssim"), (functional, "msssim"), (cli, "luma")):
            patches.enter_context(mock.patch.object(module, name, counted(getattr(module, name))))
        yield seconds


def share(run: dict[str, Any]) -> float:
    """Return by how much of its time the command takes longer than decoding: the median of all folders."""
    seconds = zip(run["decoding seconds"], run["command seconds"], strict=True)
    return max(0.0, statistics.median(1 - decoding / command for decoding, command in seconds))


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table of a result, with medians of the folders."""
    lines = []
    for part in result["measured"]:
        for run in part["runs"]:
            milliseconds = []
            for name in ("decoding", "index", "command"):
                of_pair = (1e3 * s / n for s, n in zip(run[f"{name} seconds"], part["pairs"], strict=True))
                milliseconds.append(f"{statistics.median(of_pair):.1f}")
            lines.append((run["images"], part["cores"], *milliseconds, f"{share(run):.0%}"))
    heads = ("images", "cores", "decoding, ms a pair", "index, ms a pair", "command, ms a pair", "more than decoding")
    return markdown_table(heads, lines)


def _in_new_process(folder: pathlib.Path, cores: int | None) -> dict[str, Any]:
    arguments = [sys.executable, "-m", "benchmarks.command", "--measure", str(folder)]
    if cores is not None:
        arguments += ["--cores", str(cores)]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the file, and fill the table of the document; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.command", description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=PAIRS, help="default: %(default)s")
    parser.add_argument("--result", type=pathlib.Path, default=RESULT, help="JSON file (default: %(default)s)")
    parser.add_argument("--document", type=pathlib.Path, default=DOCUMENT, help="default: %(default)s")
    parser.add_argument("--from-file", action="store_true", help="measure nothing; fill the table from the file")
    parser.add_argument("--measure", type=pathlib.Path, help=argparse.SUPPRESS)  # in a process of its own
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        if options.cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
            torch.set_num_threads(options.cores)
        print(json.dumps(measure(options.measure)))
        return 0
    if not options.from_file:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
            make_files(pathlib.Path(name), options.pairs)
            cores = [None, 1] if hasattr(os, "sched_setaffinity") and _cores() > 1 else [None]
            measured = [_in_new_process(pathlib.Path(name), count) for count in cores]
        result = {"machine": machine.describe("cpu"), "measured": measured}
        options.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    filled = table(json.loads(options.result.read_text(encoding="utf-8")))
    print(filled)
    rewrite({options.document: {REGION: filled}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
