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
COMPILED = ", compiled"
# What torch.compile is tried on, beside the library.
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
        return self.name.endswith(COMPILED)

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

    Peers are imported to see whether they are there, unless `look` is false.
    """
    found = []
    for backend in BACKENDS:
        found += [_ours(backend), _compiled(_ours(backend))]
    for name in PEERS if peers is None else peers:
        peer = _peer(PEERS[name], look)
        found += [peer, _compiled(peer)] if name in _COMPILED_PEERS else [peer]
    return found


def find(name, look=False):
    """The contestant of a name; nothing of it is imported unless one has to look whether it is there."""
    base = name.removesuffix(COMPILED)
    backend = base.removeprefix("msssim ")
    found = _ours(backend) if backend in BACKENDS else _peer(PEERS[base], look)
    return _compiled(found) if name.endswith(COMPILED) else found


def baseline(contestants, case):
    """The name of what ratios are to: what ``backend="auto"`` takes on a device, called without torch.compile."""
    ours = (each for each in contestants if each.group == OURS and not each.compiled and not each.obstacle)
    return next((each.name for each in ours if each.gap(case) is None), None)


def _ours(backend):
    def make(metric, data_range):
        options = {"small": "fewer"} if metric == "msssim" else {}
        return functools.partial(getattr(msssim, metric), data_range=data_range, backend=backend, **options)

    there = backend in msssim.available_backends()
    return Contestant(
        name=f"msssim {backend}", group=OURS, make=make, convention=_CONVENTION, version=msssim.__version__,
        obstacle=None if there else f"msssim.available_backends() has no {backend} here: {_wanted(backend)}",
        backend=backend, devices=_DEVICES.get(backend),
    )  # fmt: skip


def _wanted(backend):
    return 'python -m pip install "msssim[fast]"' if backend == "numba" else f"{backend} cannot be imported"


def _peer(peer, look):
    obstacle = peer.obstacle() if look else None
    return Contestant(
        name=peer.name, group=PEER, make=lambda metric, data_range: peer.function(metric, data_range=data_range),
        convention=peer.convention, obstacle=obstacle, version=peer.version() if look and not obstacle else "",
        metrics=tuple(peer.metrics), dtypes=peer.dtypes, devices=peer.devices, differentiable=peer.differentiable,
    )  # fmt: skip


def _compiled(contestant):
    """The same under torch.compile."""

    def make(metric, data_range):
        # Ours must not break the graph; what peers do is theirs.
        function = contestant.make(metric, data_range)
        return torch.compile(function, dynamic=False, fullgraph=contestant.group == OURS)

    obstacle = contestant.obstacle or (None if _has_compiler() else "torch.compile needs a C++ compiler: none is found")
    return contestant._replace(name=contestant.name + COMPILED, make=make, obstacle=obstacle)


def _has_compiler():
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl")))
