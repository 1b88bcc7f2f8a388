"""What other implementations compute: their deviation from Wang in value and gradient, and its causes."""

import argparse
import collections
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import datasets
import msssim
from reference.peers import PEERS, Peer

from .. import harness
from ..report.section import Section
from . import measure, tables
from .cases import LazyCase, all_cases

# The number of pairs per kind of image, evenly spaced. They are enough to distinguish all implementations.
PAIRS, PAIRS_FOR_GRADIENTS = 6, 3


class Backend(Peer):
    """A backend of this library in the form of a peer: one more row in the tables."""

    def version(self) -> str:
        return msssim.__version__


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this question."""
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, metavar="NAME",
        help="measure how far other implementations are from Wang, and why: all of them, or any of "
        f"{'; '.join(PEERS)}",
    )  # fmt: skip


def sections(options: argparse.Namespace, about: dict[str, str]) -> list[Section]:
    """Measure and return the section; add what was measured to `about`."""
    chosen = {name: PEERS[name] for name in options.peers or PEERS}
    reasons = {name: _unavailable_reason(peer, options.device) for name, peer in chosen.items()}
    unavailable = {name: reason for name, reason in reasons.items() if reason}
    own = [backend_peer(backend) for backend in options.backend]
    others = [peer for name, peer in chosen.items() if name not in unavailable]
    about["peers"] = ", ".join(f"{peer.name} {peer.version()}" for peer in others)
    found = _measure([*own, *others], options, about)
    return [tables.make_section(own, list(chosen.values()), unavailable, found)]


def backend_peer(backend: str) -> Backend:
    """Return a backend of this library in the form of a peer."""

    def build(metric: str, data_range: float, weights: Sequence[float] | None, defaults: bool) -> Any:
        function: Any = {"ssim": msssim.ssim, "msssim": msssim.msssim}[metric]
        options = {} if weights is None else {"weights": weights}
        return functools.partial(function, data_range=data_range, backend=backend, **options)

    return Backend(
        name=f"msssim, {backend}", package="", module="", build=build, takes_weights=True, description="Wang's",
        dtypes=("float32", "float64", "bfloat16"),
    )  # fmt: skip


def _unavailable_reason(peer: Peer, device: str) -> str | None:
    cuda_only = "cpu" not in peer.devices and str(device).startswith("cpu")
    return peer.unavailable_reason() or (f"{peer.name} runs on CUDA only: --device cuda" if cuda_only else None)


class _Task(NamedTuple):
    measure: Any
    """A function of (peers, device, items) that yields measurements."""
    items: Sequence[Any]
    title: str


def _measure(peers: Sequence[Peer], options: argparse.Namespace, about: dict[str, str]) -> measure.Measurements:
    every, device = all_cases(), options.device
    cases = _of_each_kind(every, options.limit or PAIRS)
    few = _of_each_kind(cases, options.limit or PAIRS_FOR_GRADIENTS)
    total, taken = (collections.Counter(case.kind for case in some) for some in (every, cases))
    about["pairs for peers"] = ", ".join(f"{taken[kind]} of {total[kind]} {kind}" for kind in total)
    pairs = harness.some(datasets.load("golden-gradients"), options.limit)
    tasks = (
        _Task(measure.values, cases, "peers, values"),
        _Task(functools.partial(measure.gradients, backend_peer("torch")), few, "peers, gradients"),
        _Task(measure.gradients_against_matlab, pairs, "peers, MATLAB"),
        _Task(measure.smallest_sides, peers, "peers, sizes"),
    )
    with harness.single_threads() as threads:
        values, gradients, matlab, sides = (
            list(harness.in_threads(threads, functools.partial(task.measure, peers, device), task.items, task.title))
            for task in tasks
        )
    return measure.Measurements(values, [*gradients, *matlab], sides)


def _of_each_kind(cases: Iterable[LazyCase], limit: int) -> list[LazyCase]:
    """Return at most `limit` cases of each kind, evenly spaced."""
    by_kind: dict[str, list[LazyCase]] = {}
    for case in cases:
        by_kind.setdefault(case.kind, []).append(case)
    chosen = []
    for of_kind in by_kind.values():
        count = min(limit, len(of_kind))
        chosen += [of_kind[index * len(of_kind) // count] for index in range(count)]
    return chosen
