"""The command ``msssim REF DIST``: SSIM and MS-SSIM of image files, or of the files in two folders.

Exit codes: 0, 1 if a pair is below ``--fail-under``, 2 for wrong usage or a pair that cannot be compared.
"""

import argparse
import collections
import contextlib
import functools
import importlib.util
import math
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from . import __version__, cli_images, cli_output, cli_stream, functional
from .backends import BACKENDS
from .cli_images import Pair, PairError
from .cli_output import Row
from .color import luma
from .stream import stream

METRICS = ("ssim", "msssim")
Images: TypeAlias = tuple[Tensor, Tensor]
_T = TypeVar("_T")
_AHEAD = 1  # pairs that are decoded before they are needed
_RANGES = {torch.uint8: 255.0, torch.uint16: 65535.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those after the name of the command; by default of this process.

    Returns
    -------
    int
        The exit code.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.stream:
        _check_stream(parser, options)
    if options.fail_under is not None and len(_metrics(options)) > 1:
        parser.error("--fail-under needs --metric ssim or --metric msssim")
    if options.per_scale and "msssim" not in _metrics(options):
        parser.error("--per-scale needs MS-SSIM; leave out --metric ssim")
    try:
        torch.empty(0, device=options.device)
        suffixes = cli_stream.SUFFIXES if options.stream else cli_images.SUFFIXES
        pairs, problems = cli_images.pairs(options.reference, options.distorted, suffixes)
        if options.map:
            options.map.mkdir(parents=True, exist_ok=True)
    except (PairError, RuntimeError, AssertionError, OSError) as error:
        parser.error(" ".join(str(error).split()))
    for problem in problems:
        _complain(problem)
    rows, complete = _measure_all(pairs, options)
    if rows or not pairs:
        _print(rows, options)
    if problems or not complete or not pairs:
        return 2
    return int(options.fail_under is not None and any(_is_below(row, options.fail_under) for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="msssim",
        description="SSIM and MS-SSIM of two images, or of the images in two folders, matched by name.",
        epilog="Exit codes: 0; 1 if a pair is below --fail-under; 2 for wrong usage or a pair that cannot be compared.",
    )
    add = parser.add_argument
    add("reference", type=pathlib.Path, metavar="REF", help="image or folder")
    add("distorted", type=pathlib.Path, metavar="DIST", help="image or folder to compare with it")
    add("--metric", choices=METRICS, help="one of the two; by default both")
    colour = parser.add_mutually_exclusive_group()
    colour.add_argument("--gray", action="store_true", help="compare the gray plane of MATLAB's rgb2gray")
    colour.add_argument("--luma", choices=("bt601", "bt709", "ycbcr"), help="compare the luma of this standard")
    add("--crop-border", type=_pixels, default=0, metavar="N", help="leave out N pixels at each side")
    add("--downsample", choices=("auto",), help="for SSIM: average f x f pixels first, as for published values of SSIM")
    add("--small", choices=("raise", "fewer"), default="raise", help='below 176 pixels: an error, or "fewer" scales')
    add("--per-scale", action="store_true", help="show the terms of each scale of MS-SSIM")
    add("--map", type=pathlib.Path, metavar="OUT_DIR", help="write the SSIM map of each pair there, as PNG")
    add("--alpha", choices=cli_images.ALPHA, default="refuse", help="alpha channel: an error, ignored, or over white")
    add(
        "--stream", action="store_true", help="MS-SSIM of TIFF and NPY files larger than memory, read in blocks of rows"
    )
    add("--db", action="store_true", help="show -10 log10(1 - index)")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print every pair as JSON")
    output.add_argument("--csv", action="store_true", help="print every pair as CSV")
    add("--fail-under", type=float, metavar="X", help="exit with 1 if a pair is below X, in dB with --db")
    add("--backend", choices=("auto", *BACKENDS), default="auto", help="backend that computes the index")
    add("--device", default="cpu", help="a device of PyTorch, such as cuda")
    add("--version", action="version", version=f"msssim {__version__}")
    return parser


def _check_stream(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what cannot be computed from blocks of rows, and set the metric to MS-SSIM."""
    not_default = {
        "--metric ssim": options.metric == "ssim", "--gray": options.gray, "--luma": options.luma,
        "--crop-border": options.crop_border, "--downsample": options.downsample, "--map": options.map,
        "--alpha composite": options.alpha == "composite", "--backend": options.backend not in ("auto", "numba"),
        "--device": torch.device(options.device).type != "cpu",
    }  # fmt: skip
    for name, given in not_default.items():
        if given:
            parser.error(f"--stream computes MS-SSIM of the pixels as they are stored, on the CPU; leave out {name}")
    options.metric = "msssim"


def _pixels(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return number


def _metrics(options: argparse.Namespace) -> tuple[str, ...]:
    return (options.metric,) if options.metric else METRICS


def _measure_all(pairs: list[Pair], options: argparse.Namespace) -> tuple[list[Row], bool]:
    """The values of all pairs that can be compared, and whether these are all."""
    rows = []
    with _core_for_decoding(len(pairs)):
        for pair, measure in _with_progress(_work(pairs, options), len(pairs)):
            try:
                rows.append(measure())
            except PairError as error:
                _complain(str(error))
            except (ValueError, TypeError, ImportError, OSError) as error:
                text = str(error).replace('pass small="fewer"', "pass --small fewer")
                _complain(f"{pair.reference} and {pair.distorted}: {text}")
    return rows, len(rows) == len(pairs)


@contextlib.contextmanager
def _core_for_decoding(pairs: int) -> Iterator[None]:
    """Use one thread less for the index, if there are several: it waits for decoding and must not slow it down."""
    threads = torch.get_num_threads()
    if pairs > 1:
        torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _work(pairs: list[Pair], options: argparse.Namespace) -> Iterator[tuple[Pair, Callable[[], Row]]]:
    """Each pair, and the function that measures it."""
    if options.stream:
        yield from ((pair, functools.partial(_streamed, pair, options, len(pairs) == 1)) for pair in pairs)
        return
    for pair, images in _decoded(pairs, options.alpha):
        yield pair, functools.partial(_measure_decoded, pair, images, options)


def _measure_decoded(pair: Pair, images: "Future[Images]", options: argparse.Namespace) -> Row:
    return _measure(pair, images.result(), options)


def _streamed(pair: Pair, options: argparse.Namespace, progress: bool) -> Row:
    """The values of files that are read in blocks of rows."""
    alpha = options.alpha
    with cli_stream.Rows(pair.reference, alpha) as x, cli_stream.Rows(pair.distorted, alpha) as y:
        index, terms = stream(
            x, y, scales=True, small=options.small, channels_last=not x.channels_first,
            progress=progress and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None,
        )  # fmt: skip
    value = cli_output.decibels(index.item()) if options.db else index.item()
    scales = tuple(terms.reshape(-1, terms.shape[-1]).mean(0).tolist()) if options.per_scale else ()
    return Row(pair.name, str(pair.reference), str(pair.distorted), {"msssim": value}, scales)


def _decoded(pairs: list[Pair], alpha: str) -> Iterator[tuple[Pair, "Future[Images]"]]:
    """Each pair with its images, which one thread decodes while the pair before is compared."""
    with ThreadPoolExecutor(1) as pool:
        waiting = collections.deque[tuple[Pair, Future[Images]]]()
        for pair in pairs:
            waiting.append((pair, pool.submit(_read, pair, alpha)))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        yield from waiting


def _read(pair: Pair, alpha: str) -> Images:
    return cli_images.read(pair.reference, alpha), cli_images.read(pair.distorted, alpha)


def _with_progress(pairs: Iterable[_T], count: int) -> Iterable[_T]:
    """The pairs, with a progress bar for several if stderr is a terminal and tqdm is installed."""
    if count < 2 or not sys.stderr.isatty():
        return pairs
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return pairs
    bar: Iterable[_T] = tqdm(pairs, total=count, unit="pair", leave=False)
    return bar


def _measure(pair: Pair, images: Images, options: argparse.Namespace) -> Row:
    x, y, data_range = _prepared(*images, options)
    values: dict[str, float] = {}
    scales: tuple[float, ...] = ()
    if options.map:
        # No other backend has maps.
        ssim, map = functional.ssim(
            x, y, full=True, downsample=options.downsample, data_range=data_range, backend="torch"
        )
        cli_output.write_map(map, f"{pair.name}: SSIM {ssim.item():.4f}", _map_path(options.map, pair))
        values["ssim"] = ssim.item()
    for metric in _metrics(options):
        if metric == "msssim":
            index, terms = functional.msssim(
                x, y, scales=True, small=options.small, data_range=data_range, backend=options.backend
            )
            values[metric] = index.item()
            scales = tuple(terms.mean(0).tolist()) if options.per_scale else ()
        elif metric not in values:
            value = functional.ssim(x, y, downsample=options.downsample, data_range=data_range, backend=options.backend)
            values[metric] = value.item()
    shown = {metric: values[metric] for metric in _metrics(options)}
    if options.db:
        shown = {metric: cli_output.decibels(value) for metric, value in shown.items()}
    return Row(pair.name, str(pair.reference), str(pair.distorted), shown, scales)


def _map_path(folder: pathlib.Path, pair: Pair) -> pathlib.Path:
    return folder / f"{pair.name}.png" if pair.reference.suffix.lower() != ".png" else folder / pair.name


def _prepared(x: Tensor, y: Tensor, options: argparse.Namespace) -> tuple[Tensor, Tensor, float]:
    """The images that are compared, and their data_range."""
    if x.shape[-2:] != y.shape[-2:]:
        sizes = [f"{image.shape[-1]} × {image.shape[-2]}" for image in (x, y)]
        raise ValueError(f"must have the same size, got {sizes[0]} and {sizes[1]} pixels")
    if x.dtype != y.dtype:
        bits = " and ".join(str(8 * image.dtype.itemsize) for image in (x, y))
        raise ValueError(f"must have the same bit depth, got {bits}")
    data_range = _RANGES[x.dtype]
    if options.gray:
        x, y = (image if len(image) == 1 else luma(image, "matlab") for image in (x, y))
    elif options.luma:
        x, y = (luma(image.float().expand(3, -1, -1) / data_range, options.luma) for image in (x, y))
        data_range = 1.0
    if len(x) != len(y):
        raise ValueError(f"must have the same number of channels, got {len(x)} and {len(y)}; pass --gray or --luma")
    border = options.crop_border
    if border:
        if min(x.shape[-2:]) <= 2 * border:
            sides = f"{x.shape[-1]} × {x.shape[-2]}"
            raise ValueError(f"must have more than {2 * border} pixels a side for --crop-border {border}, got {sides}")
        x, y = (image[..., border:-border, border:-border] for image in (x, y))
    if x.dtype == torch.uint16:
        x, y = x.float(), y.float()
    return x.to(options.device), y.to(options.device), data_range


def _print(rows: list[Row], options: argparse.Namespace) -> None:
    metrics = _metrics(options)
    if options.json:
        print(cli_output.as_json(rows, metrics))
    elif options.csv:
        print(cli_output.as_csv(rows, metrics))
    elif rows:
        print(cli_output.as_text(rows, metrics, " (dB)" if options.db else "", options.reference.is_dir()))
    else:
        _complain(f"{options.reference} and {options.distorted} have no pairs of images")


def _is_below(row: Row, limit: float) -> bool:
    return any(math.isnan(value) or value < limit for value in row.values.values())


def _complain(text: str) -> None:
    print(f"msssim: {' '.join(text.split())}", file=sys.stderr)
