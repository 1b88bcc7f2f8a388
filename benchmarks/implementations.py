"""What is compared: every backend of the library and every peer, some of them also compiled or in a CUDA graph."""

import functools
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch

import msssim
from msssim import backends
from reference.peers import PEERS, Peer

from .cases import FORWARD, FORWARD_BACKWARD, METRICS, Case

OURS, PEER = "ours", "peer"
# Suffixes of names: under torch.compile, under torch.compile with mode="reduce-overhead", captured in a CUDA graph.
COMPILED, REDUCE_OVERHEAD, GRAPH = ", compiled", ", reduce-overhead", ", graph"
UNDER_COMPILE = (COMPILED, REDUCE_OVERHEAD)
# Another variant: with zero padding, which is the default of these peers and saves them a copy of the gradient.
ZERO_PADDING = ", zero padding"
_ZERO_PADDED_PEERS = ("fused-ssim", "fussim")
_COMPILED_PEERS = ("pytorch-msssim",)

Images = tuple[torch.Tensor, torch.Tensor]


class Result(NamedTuple):
    """The result of a call."""

    value: torch.Tensor | float
    gradient: torch.Tensor | None
    """To the first image; None for a forward pass."""

    def number(self) -> float:
        """Return the value as a float."""
        return float(self.value.detach() if isinstance(self.value, torch.Tensor) else self.value)


Call = Callable[[], Result]


class Implementation(NamedTuple):
    """An implementation, and how it is run."""

    name: str
    group: str
    """OURS or PEER."""
    build: Callable[[str, float], Callable[..., Any]]
    """``build(metric, data_range)`` returns a function of two images."""
    description: str = ""
    unavailable_reason: str | None = None
    """Why it cannot be used here at all."""
    version: str = ""
    backend: str = "torch"
    """The backend whose budgets apply."""
    metrics: tuple[str, ...] = METRICS
    dtypes: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    differentiable: bool = True

    @property
    def compiled(self) -> bool:
        """Whether it runs under torch.compile."""
        return self.name.endswith(UNDER_COMPILE)

    @property
    def in_cuda_graph(self) -> bool:
        """Whether it is replayed from a CUDA graph, whose memory is never freed."""
        return self.name.endswith((GRAPH, REDUCE_OVERHEAD))

    def unsupported_reason(self, case: Case) -> str | None:
        """Return why it does not support a case, as far as that is known in advance, or None."""
        if case.metric not in self.metrics:
            return f"has no {case.metric}"
        if case.mode == FORWARD_BACKWARD and not self.differentiable:
            return "has no gradient"
        if self.dtypes is not None and case.dtype not in self.dtypes:
            return f"takes {', '.join(self.dtypes)}"
        if self.devices is not None and case.device_type not in self.devices:
            return f"runs on {', '.join(self.devices)}"
        return None

    def bind(self, case: Case, images: Images) -> Call:
        """Return the function without arguments that is timed."""
        call = self._bind_eager(case, images)
        return _capture(call, case.device) if self.name.endswith(GRAPH) else call

    def _bind_eager(self, case: Case, images: Images) -> Call:
        function, (x, y) = self.build(case.metric, case.data_range), images
        if case.mode == FORWARD:

            def forward() -> Result:
                with torch.no_grad():
                    return Result(function(x, y), None)

            return forward
        x = x.detach().clone().requires_grad_()

        def forward_backward() -> Result:
            value = function(x, y)
            return Result(value, torch.autograd.grad(value, x)[0])

        return forward_backward


def all_implementations(peers: Iterable[str] | None = None, check: bool = True) -> list[Implementation]:
    """Return our backends, then the peers with these names (default: all), each followed by its compiled variants.

    Variants for CUDA are included if CUDA is available. Peers are imported to check that they can be used, unless
    `check` is false.
    """
    found = []
    cuda = torch.cuda.is_available()
    for backend in backends.BACKENDS:
        ours = _backend(backend)
        found += [ours, _compile(ours)]
        if cuda and backend == "triton":
            found.append(_in_graph(ours))
    for name in PEERS if peers is None else peers:
        peer = _peer(PEERS[name], check)
        found.append(peer)
        if name in _COMPILED_PEERS:
            found.append(_compile(peer))
            found += [_compile(peer, REDUCE_OVERHEAD), _in_graph(peer)] if cuda else []
        if name in _ZERO_PADDED_PEERS and cuda:
            found.append(_zero_padded(PEERS[name], peer))
    return found


def by_name(name: str, check: bool = False) -> Implementation:
    """Return the implementation with that name. It is imported only if `check` is true."""
    base = base_name(name)
    backend, variant = base.removeprefix("msssim "), name.removeprefix(base)
    found = _backend(backend) if backend in backends.BACKENDS else _peer(PEERS[base], check)
    if variant == ZERO_PADDING:
        return _zero_padded(PEERS[base], found)
    if variant == GRAPH:
        return _in_graph(found)
    return _compile(found, variant) if variant else found


def base_name(name: str) -> str:
    """Return the name of an implementation without the suffix of a variant."""
    for suffix in (COMPILED, REDUCE_OVERHEAD, GRAPH, ZERO_PADDING):
        name = name.removesuffix(suffix)
    return name


def baseline(implementations: Sequence[Implementation], case: Case) -> str | None:
    """Return the name of the implementation that ratios refer to: ``backend="auto"`` without torch.compile."""
    for one in implementations:
        eager = one.group == OURS and base_name(one.name) == one.name
        if eager and not one.unavailable_reason and one.unsupported_reason(case) is None:
            return one.name
    return None


def _backend(backend: str) -> Implementation:
    def build(metric: str, data_range: float) -> Callable[..., Any]:
        options: dict[str, Any] = {"small": "fewer"} if metric == "msssim" else {}
        function = functools.partial(getattr(msssim, metric), data_range=data_range, backend=backend, **options)
        return lambda img1, img2: function(img1, img2, spatial_dims=img1.dim() - 2)

    reason = None
    if backend not in msssim.available_backends():
        needed = backends.missing(backend) or "it needs a GPU that PyTorch and Triton support"
        reason = f"backend {backend} is not in msssim.available_backends(): {needed}"
    device = backends.device_type(backend)
    return Implementation(
        name=f"msssim {backend}", group=OURS, build=build, description="Wang's, exactly", version=msssim.__version__,
        unavailable_reason=reason, backend=backend, devices=None if device is None else (device,),
    )  # fmt: skip


def _peer(peer: Peer, check: bool) -> Implementation:
    reason = peer.unavailable_reason() if check else None
    return Implementation(
        name=peer.name, group=PEER, build=lambda metric, data_range: peer.function(metric, data_range=data_range),
        description=peer.description, unavailable_reason=reason,
        version=peer.version() if check and not reason else "", metrics=tuple(peer.metrics), dtypes=peer.dtypes,
        devices=peer.devices, differentiable=peer.differentiable,
    )  # fmt: skip


def _zero_padded(peer: Peer, implementation: Implementation) -> Implementation:
    """Return the peer with its defaults, among them zero padding."""

    def build(metric: str, data_range: float) -> Callable[..., Any]:
        return peer.function(metric, data_range=data_range, defaults=True)

    return implementation._replace(name=implementation.name + ZERO_PADDING, build=build)


def _compile(implementation: Implementation, variant: str = COMPILED) -> Implementation:
    """Return the implementation under torch.compile."""

    def build(metric: str, data_range: float) -> Callable[..., Any]:
        # Our backends must compile without graph breaks; peers may have some.
        function = implementation.build(metric, data_range)
        mode = "reduce-overhead" if variant == REDUCE_OVERHEAD else None
        return torch.compile(function, dynamic=False, fullgraph=implementation.group == OURS, mode=mode)

    reason = implementation.unavailable_reason
    if not reason and not _has_compiler():
        reason = "torch.compile needs a C++ compiler, and none was found"
    devices = ("cuda",) if variant == REDUCE_OVERHEAD else implementation.devices
    name = implementation.name + variant
    return implementation._replace(name=name, build=build, unavailable_reason=reason, devices=devices)


def _in_graph(implementation: Implementation) -> Implementation:
    """Return the implementation captured in a CUDA graph."""
    return implementation._replace(name=implementation.name + GRAPH, devices=("cuda",))


def _capture(call: Call, device: str) -> Call:
    """Capture a call in a CUDA graph; each replay writes its value and gradient to the same tensors."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # compilation and set-up happen before the capture
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def _has_compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl")))
