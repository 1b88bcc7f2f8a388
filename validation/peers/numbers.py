"""The numbers of the tools that people compare with, on five golden pairs, and the calls that give them here.

python -m validation.peers.numbers

writes validation/reports/tools/tools.csv and from it the table of docs/whose-number.md. Tools that are not installed
are computed by their formulas.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import datasets
import msssim
from reference import formulas, golden, tools
from reference.peers import PEERS, Emulation

from ..report import section
from ..report.section import Section, Table

PAIRS = (
    "camera-512x512-boxed", "moon-512x512-noisy", "coffee-400x600-flatter", "chelsea-299x451-blocky",
    "astronaut-333x480-quantised",
)  # fmt: skip
ROWS = pathlib.Path("validation/reports/tools/tools.csv")
DOCUMENT = pathlib.Path("docs/whose-number.md")
REGION = "whose number"
TOOL, FORMULA = "tool", "formula"

Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Number(NamedTuple):
    """A tool's number on one pair, Wang's, and that of the call here."""

    tool: str
    metric: str
    source: str
    pair: str
    value: float
    wang: float
    call: float = float("nan")


def _preset(name: str) -> Call:
    return lambda x, y: msssim.ssim(x, y, data_range=255, **msssim.presets[name])


_CROP = (..., slice(4, -4), slice(4, -4))
_SSIM: dict[str, Call] = {name: _preset(name) for name in msssim.presets}
_FORMULAS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], float], Call | None]] = {
    "BasicSR, crop_border=4": (
        "ssim", formulas.basicsr, lambda x, y: msssim.ssim(x[_CROP], y[_CROP], data_range=255),
    ),
    "ffmpeg, filter ssim": ("ssim", formulas.ffmpeg, None),
    "VMAF, float_ssim": ("ssim", formulas.vmaf, None),
    "MATLAB, multissim": ("msssim", formulas.multissim, None),
}  # fmt: skip
_MSSSIM = ("pytorch-msssim", "torchmetrics", "piq", "TensorFlow")


def measure() -> Iterator[Number]:
    """Yield the numbers of every tool on every pair."""
    pairs = datasets.load("golden")
    for name in PAIRS:
        pair, values = pairs[pairs.names.index(name)], golden.values()[name]
        planes = pair.reference, pair.distorted
        tensors = tuple(torch.from_numpy(plane.astype(np.float64))[None, None] for plane in planes)
        wang = {"ssim": float(values.ssim_index), "msssim": float(np.real(values.msssim_product))}
        for tool, call in _SSIM.items():
            installed = tools.is_installed(tool)
            function = tools.TOOLS[tool][1] if installed else tools.FORMULAS[tool]
            source = TOOL if installed else FORMULA
            yield Number(tool, "ssim", source, name, function(*planes, 255.0), wang["ssim"], float(call(*tensors)))
        for tool in _MSSSIM:
            yield _multiscale(tool, name, planes, tensors, wang["msssim"])
        for tool, (metric, formula, other) in _FORMULAS.items():
            ours = float("nan") if other is None else float(other(*tensors))
            yield Number(tool, metric, FORMULA, name, formula(*planes), wang[metric], ours)


def _multiscale(
    tool: str, name: str, planes: tuple[np.ndarray, np.ndarray], tensors: tuple[torch.Tensor, ...], wang: float
) -> Number:
    peer = PEERS[tool]
    ours = float(msssim.msssim(*tensors, data_range=255, normalize="relu"))
    if peer.unavailable_reason() is None:
        value, source = float(peer.function("msssim", data_range=255)(*(image.float() for image in tensors))), TOOL
    else:
        x, y = (plane[None].astype(np.float64) for plane in planes)
        emulation = Emulation(x, y, 255.0)
        value, source = float(np.real(emulation.value("msssim", peer.convention("msssim")))), FORMULA
    return Number(tool, "msssim", source, name, value, wang, ours)


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Return for each tool its difference from Wang's number on each pair, and how far the call here is from it."""
    lines: list[tuple[str, ...]] = []
    for (tool, metric, source), group in rows.groupby(["tool", "metric", "source"], sort=False):
        by_pair = group.set_index("pair")
        apart = [_signed(by_pair.value[pair] - by_pair.wang[pair]) for pair in PAIRS]
        residual = (group.value - group.call).abs().max()
        shown = {"ssim": "SSIM", "msssim": "MS-SSIM"}[str(metric)]
        lines.append(
            (_TITLES.get(tool, tool), shown, source, *apart, "–" if np.isnan(residual) else section.number(residual))
        )
    heads = [pair.replace("-", " ") for pair in PAIRS]
    return pd.DataFrame(lines, columns=["tool", "index", "number of", *heads, "call off by"])


# Of the tools that the presets name.
_TITLES = {
    "fastmri": "fastMRI", "matlab": "MATLAB, ssim", "3dgs": "3D Gaussian splatting", "tensorflow": "TensorFlow",
}  # fmt: skip


def _signed(difference: float) -> str:
    return "0" if abs(difference) < 5e-6 else f"{difference:+.5f}".replace("-", "−")


def sections(folder: pathlib.Path) -> list[Section]:
    """Return the section for tools.csv of a folder: every value."""
    rows = pd.read_csv(folder / ROWS.name)
    caption = "Numbers of tools. On five golden pairs, beside Wang's MATLAB code and the call of this library."
    formats = dict.fromkeys(("value", "wang", "call"), ".6f")
    return [Section("tools", "Whose number is it?", "", (Table(caption, rows, formats),))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the rows, and fill the table of the document; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m validation.peers.numbers", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=pathlib.Path, default=ROWS, help="default: %(default)s")
    parser.add_argument("--document", type=pathlib.Path, default=DOCUMENT, help="default: %(default)s")
    parser.add_argument("--from-rows", action="store_true", help="measure nothing; fill the table from the rows")
    options = parser.parse_args(arguments)
    if not options.from_rows:
        options.rows.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(measure()).to_csv(options.rows, index=False, float_format="%.7f")
    found = differences(pd.read_csv(options.rows))
    table = section.markdown_table(found.columns, found.itertuples(index=False))
    section.rewrite({options.document: {REGION: table}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
