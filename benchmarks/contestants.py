"""Who takes part: every backend of the library and every peer, the faster of them under torch.compile too."""

import functools
import os
import shutil
from collections.abc import Callable
from typing import NamedTuple

import torch

import msssim
from msssim.backends import BACKENDS
from reference.peers import PEERS

from . import cases

OURS, PEER = "ours", "peer"
# Ways of calling, at the end of a name: under torch.compile, so with mode="reduce-overhead", captured in a CUDA graph.
COMPILED, REDUCED, GRAPH = ", compiled", ", reduce-overhead", ", graph"
UNDER_COMPILE = (COMPILED, REDUCED)
# What all of them are tried on, beside the library.
_COMPILED_PEERS = ("pytorch-msssim",)
_DEVICES = {"numba": ("cpu",), "triton": ("cuda",)}
_CONVENTION = "Wang's, to the letter"


class Contestant(NamedTuple):
    """An implementation, called in one way."""

    name: str
    group: str
    make: Callable
    """(metric, data_range) to a function of two images."""
    convention: str = ""
    obstacle: str | None = None
    """Why it cannot take part at all."""
    version: str = ""
    backend: str = "torch"
    """Whose budget it is held to."""
    metrics: tuple = cases.METRICS
    dtypes: tuple | None = None
    devices: tuple | None = None
    differentiable: bool = True

    @property
    def compiled(self):
        """Whether it runs under torch.compile."""
        return self.name.endswith(UNDER_COMPILE)

    @property
    def captured(self):
        """Whether it is replayed from a CUDA graph, which holds its memory for ever."""
        return self.name.endswith((GRAPH, REDUCED))

    def gap(self, case):
        """Why it does not cover a case, as far as is known beforehand, or None."""
        if case.metric not in self.metrics:
            return f"has no {case.metric}"
        if case.mode == cases.BOTH and not self.differentiable:
            return "has no gradient"
        if self.dtypes is not None and case.dtype not in self.dtypes:
            return f"takes {', '.join(self.dtypes)}"
        if self.devices is not None and torch.device(case.device).type not in self.devices:
            return f"runs on {', '.join(self.devices)}"
        return None

    def call(self, case, images):
        """What is measured: a function without arguments that gives (value, gradient or None)."""
        call = self._call(case, images)
        return _captured(call, case.device) if self.name.endswith(GRAPH) else call

    def _call(self, case, images):
        function, (x, y) = self.make(case.metric, case.data_range), images
        if case.mode == cases.FORWARD:

            def forward():
                with torch.no_grad():
                    return function(x, y), None

            return forward
        x = x.detach().clone().requires_grad_()

        def both():
            value = function(x, y)
            return value, torch.autograd.grad(value, x)[0]

        return both


def everyone(peers=None, look=True):
    """Our backends, then the peers by name (all of them by default), with who is compiled behind who is not.

    What CUDA alone has is among them where it is there. Peers are imported to see whether they are, unless `look` is
    false.
    """
    found, gpu = [], torch.cuda.is_available()
    for backend in BACKENDS:
        found += [_ours(backend), _compiled(_ours(backend))]
        if gpu and backend == "triton":
            found.append(_graph(_ours(backend)))
    for name in PEERS if peers is None else peers:
        peer = _peer(PEERS[name], look)
        found.append(peer)
        if name in _COMPILED_PEERS:
            found += [_compiled(peer), *([_compiled(peer, REDUCED), _graph(peer)] if gpu else [])]
    return found


def find(name, look=False):
    """The contestant of a name; nothing of it is imported unless one has to look whether it is there."""
    base = without_way(name)
    backend, way = base.removeprefix("msssim "), name.removeprefix(base)
    found = _ours(backend) if backend in BACKENDS else _peer(PEERS[base], look)
    if way == GRAPH:
        return _graph(found)
    return _compiled(found, way) if way else found


def without_way(name):
    """The name of an implementation, however it is called."""
    for way in (COMPILED, REDUCED, GRAPH):
        name = name.removesuffix(way)
    return name


def baseline(contestants, case):
    """The name of what ratios are to: what ``backend="auto"`` takes on a device, called without torch.compile."""
    ours = (each for each in contestants if each.group == OURS and without_way(each.name) == each.name)
    ours = (each for each in ours if not each.obstacle)
    return next((each.name for each in ours if each.gap(case) is None), None)


_WANTED = {
    "numba": 'python -m pip install "msssim[fast]"',
    "triton": "it needs a GPU that PyTorch and Triton can use",
}


def _ours(backend):
    def make(metric, data_range):
        options = {"small": "fewer"} if metric == "msssim" else {}
        return functools.partial(getattr(msssim, metric), data_range=data_range, backend=backend, **options)

    there = backend in msssim.available_backends()
    return Contestant(
        name=f"msssim {backend}", group=OURS, make=make, convention=_CONVENTION, version=msssim.__version__,
        obstacle=None if there else f"msssim.available_backends() has no {backend} here: {_WANTED[backend]}",
        backend=backend, devices=_DEVICES.get(backend),
    )  # fmt: skip


def _peer(peer, look):
    obstacle = peer.unavailable_reason() if look else None
    return Contestant(
        name=peer.name, group=PEER, make=lambda metric, data_range: peer.function(metric, data_range=data_range),
        convention=peer.description, obstacle=obstacle, version=peer.version() if look and not obstacle else "",
        metrics=tuple(peer.metrics), dtypes=peer.dtypes, devices=peer.devices, differentiable=peer.differentiable,
    )  # fmt: skip


def _compiled(contestant, way=COMPILED):
    """The same under torch.compile."""

    def make(metric, data_range):
        # Ours must not break the graph; what peers do is theirs.
        function = contestant.make(metric, data_range)
        mode = "reduce-overhead" if way == REDUCED else None
        return torch.compile(function, dynamic=False, fullgraph=contestant.group == OURS, mode=mode)

    obstacle = contestant.obstacle or (None if _has_compiler() else "torch.compile needs a C++ compiler: none is found")
    devices = ("cuda",) if way == REDUCED else contestant.devices
    return contestant._replace(name=contestant.name + way, make=make, obstacle=obstacle, devices=devices)


def _graph(contestant):
    """The same, captured in a CUDA graph."""
    return contestant._replace(name=contestant.name + GRAPH, devices=("cuda",))


def _captured(call, device):
    """A function that replays what a call does, its gradient too, into the same tensors every time."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # what is compiled or set up at first is no part of the graph
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

    def replay():
        graph.replay()
        return result

    return replay


def _has_compiler():
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl")))
