"""What every other implementation really computes: how far from Wang in value and gradient, and why."""

import collections
import functools

import datasets
import msssim
from reference.peers import PEERS, Peer

from .. import harness
from . import measure, tables
from .cases import makers

# How many pairs of each kind, spread evenly: enough that every kind has all that sets implementations apart.
PAIRS, PAIRS_OF_GRADIENTS = 6, 3


class Ours(Peer):
    """A backend of this library in the form of a peer: one more row."""

    def version(self):
        return msssim.__version__


def arguments(parser):
    """Add the options of this question."""
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, metavar="NAME",
        help=f"how far other implementations are from Wang, and why: all, or any of {'; '.join(PEERS)}",
    )  # fmt: skip


def sections(options, about):
    """Measure and return the section; `about` gets the lines that say of what it is made."""
    chosen = {name: PEERS[name] for name in options.peers or PEERS}
    obstacles = {name: reason for name, peer in chosen.items() if (reason := _obstacle(peer, options.device))}
    own = [ours(backend) for backend in options.backend]
    others = [peer for name, peer in chosen.items() if name not in obstacles]
    about["peers"] = ", ".join(f"{peer.name} {peer.version()}" for peer in others)
    found = _measured([*own, *others], options, about)
    return [tables.made_of(own, chosen.values(), obstacles, *found)]


def ours(backend):
    """A backend of this library in the form of a peer."""

    def build(metric, data_range, weights, defaults):
        function = {"ssim": msssim.ssim, "msssim": msssim.msssim}[metric]
        options = {} if weights is None else {"weights": weights}
        return functools.partial(function, data_range=data_range, backend=backend, **options)

    return Ours(
        name=f"msssim, {backend}", package="", module="", build=build, weights=True, convention="Wang's",
        dtypes=("float32", "float64", "bfloat16"),
    )  # fmt: skip


def _obstacle(peer, device):
    on_gpus_alone = "cpu" not in peer.devices and str(device).startswith("cpu")
    return peer.obstacle() or (f"{peer.name} runs on GPUs alone: --device cuda" if on_gpus_alone else None)


def _measured(peers, options, about):
    """The Values, Gradients and Sides of the peers."""
    every, device = makers(), options.device
    cases = _of_each_kind(every, options.limit or PAIRS)
    few = _of_each_kind(cases, options.limit or PAIRS_OF_GRADIENTS)
    total, taken = (collections.Counter(case.kind for case in some) for some in (every, cases))
    about["pairs for peers"] = ", ".join(f"{taken[kind]} of {total[kind]} {kind}" for kind in total)
    pairs = harness.some(datasets.load("golden-gradients"), options.limit)
    exact = ours("torch")
    with harness.single_threads() as threads:
        return [
            list(harness.in_threads(threads, functools.partial(function, peers, device), items, title))
            for function, items, title in (
                (measure.values, cases, "peers, values"),
                (functools.partial(measure.gradients, exact), few, "peers, gradients"),
                (measure.gradients_against_matlab, pairs, "peers, MATLAB"),
                (measure.sides, peers, "peers, sizes"),
            )
        ]


def _of_each_kind(cases, limit):
    """At most `limit` of each kind, spread evenly."""
    chosen = []
    for kind in dict.fromkeys(case.kind for case in cases):
        of_kind = [case for case in cases if case.kind == kind]
        count = min(limit, len(of_kind))
        chosen += [of_kind[place * len(of_kind) // count] for place in range(count)]
    return chosen
