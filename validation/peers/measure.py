"""The measurements behind the tables of peers.

The value of a peer is compared with Wang's. To name the causes of a difference, it is also compared with
`reference.peers.Emulation` of the peer's convention: the residual under the emulation is rounding error. The effect of
a decision is how much the emulated value changes when Wang's decision is restored for that field only.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

import datasets
from reference import golden
from reference.peers import CAUSES, Emulation, Peer

from .. import library
from .cases import Case, LazyCase, case_of

CLOSEST, DEFAULTS = "closest", "defaults"
# States of rows without a deviation.
REFUSED, COMPLEX = "refused", "Wang's value is complex"
MATLAB = "MATLAB"
SCALES = (3, 5, 6)
MAX_SIDE = 400  # of the images in the search for the smallest accepted side
_GOLDEN_FIELDS = {"ssim": "ssim_index", "msssim": "msssim_product"}


class Value(NamedTuple):
    """The value of a peer on a pair."""

    peer: str
    metric: str
    settings: str
    kind: str
    pair: str
    dtype: str
    value: float = math.nan
    wang: float = math.nan
    deviation: float = math.nan
    residual: float = math.nan
    """The difference from the emulation of the peer's convention."""
    effects: dict[str, float] | None = None
    """By cause, how much the emulated value changes without it."""
    state: str = ""
    note: str = ""


class Gradient(NamedTuple):
    """The error of a peer's gradient, relative to the largest entry of the exact one."""

    peer: str
    metric: str
    kind: str
    pair: str
    deviation: float = math.nan
    state: str = ""
    note: str = ""


class Side(NamedTuple):
    """The smallest side of square images that a peer accepts."""

    peer: str
    scales: int
    side: float


class Measurements(NamedTuple):
    """Everything that was measured."""

    values: list[Value]
    gradients: list[Gradient]
    sides: list[Side]


def values(peers: Sequence[Peer], device: str, cases: Iterable[LazyCase]) -> Iterator[Value]:
    """Yield a Value for each case, peer, metric, settings and dtype."""
    for case in (make() for make in cases):
        emulation = case.emulation()
        for peer, metric in _applicable(peers, case):
            for settings in (CLOSEST, DEFAULTS) if metric in peer.default_conventions else (CLOSEST,):
                for dtype in case.dtypes:
                    if dtype in peer.dtypes:
                        yield _value(peer, metric, settings, case, emulation, dtype, device)


def _applicable(peers: Iterable[Peer], case: Case) -> Iterator[tuple[Peer, str]]:
    """Yield each peer and metric to measure on a case."""
    for peer in peers:
        for metric in peer.metrics:
            slow = peer.convention(metric).scales != "pyramid"  # windows of 33 x 33 take seconds
            if (case.is_small or not slow) and (case.weights is None or (peer.takes_weights and metric == "msssim")):
                yield peer, metric


def _value(peer: Peer, metric: str, settings: str, case: Case, emulation: Emulation, dtype: str, device: str) -> Value:
    defaults = settings == DEFAULTS
    row = Value(peer.name, metric, settings, case.kind, case.name, dtype)
    value, refusal = _attempt(_evaluate, peer, metric, case, dtype, device, defaults)
    if value is None:
        return row._replace(state=REFUSED, note=refusal)
    weights = {"weights": case.weights} if case.weights else {}
    convention, wang = peer.convention(metric, defaults), case.wang(metric, emulation)
    emulated = emulation.value(metric, convention, **weights)
    effects = {
        CAUSES[field, decision]: abs(emulated - emulation.value(metric, convention.without(field), **weights))
        for field, decision in convention.differences().items()
    }
    row = row._replace(value=value, residual=abs(value - emulated), effects=effects)
    if np.imag(wang) != 0:
        return row._replace(state=COMPLEX)
    return row._replace(wang=float(np.real(wang)), deviation=float(abs(value - np.real(wang))))


def gradients(exact: Peer, peers: Sequence[Peer], device: str, cases: Iterable[LazyCase]) -> Iterator[Gradient]:
    """Yield a Gradient for each case, peer and metric, compared with the peer `exact` in float64 on a CPU."""
    for case in (make() for make in cases):
        if np.array_equal(case.img1, case.img2):
            continue  # the gradient is zero, so that a relative error is undefined
        dtype = case.dtypes[0]
        expected = {
            metric: _attempt(_gradient, exact, metric, case, "float64", "cpu")[0]
            for _, metric in _applicable([exact], case)
        }
        for peer, metric in _applicable(peers, case):
            if peer.differentiable and dtype in peer.dtypes:
                gradient, refusal = _attempt(_gradient, peer, metric, case, dtype, device)
                row = Gradient(peer.name, metric, case.kind, case.name)
                yield _compare(row, gradient, expected[metric], refusal)


def _compare(row: Gradient, gradient: torch.Tensor | None, expected: torch.Tensor | None, refusal: str) -> Gradient:
    if gradient is None or expected is None:  # the original refuses small images
        return row._replace(state=REFUSED, note=refusal)
    note = "NaN" if gradient.isnan().any() else "finite" if gradient.any() else "zero"
    if expected.isnan().any():
        return row._replace(state=COMPLEX, note=note)
    return row._replace(deviation=library.relative_error(gradient, expected), note=note)


def gradients_against_matlab(peers: Sequence[Peer], device: str, pairs: Iterable[datasets.Pair]) -> Iterator[Gradient]:
    """Yield Gradients compared with central differences of the MATLAB code at sampled pixels."""
    for case in map(case_of, pairs):
        sampled = golden.gradients()[case.name]
        for peer, metric in _applicable(peers, case):
            if not peer.differentiable:
                continue
            row = Gradient(peer.name, metric, MATLAB, case.name)
            gradient, refusal = _attempt(_gradient, peer, metric, case, "float32", device)
            if gradient is None:
                yield row._replace(state=REFUSED, note=refusal)
                continue
            expected = torch.as_tensor(getattr(sampled, _GOLDEN_FIELDS[metric]))
            error = (gradient[0, 0][sampled.row, sampled.column] - expected).abs().max() / gradient.abs().max()
            yield row._replace(deviation=float(error))


def smallest_sides(_: Sequence[Peer], device: str, peers: Iterable[Peer]) -> Iterator[Side]:
    """Yield a Side for each peer and each number of scales that it supports."""
    images = np.random.default_rng(0).integers(0, 256, (2, 1, MAX_SIDE, MAX_SIDE)).astype(np.float64)
    for peer in peers:
        for scales in SCALES if "msssim" in peer.metrics else ():
            if scales == 5 or peer.takes_weights:
                yield Side(peer.name, scales, _smallest_side(peer, images, scales, device))


def _smallest_side(peer: Peer, images: np.ndarray, scales: int, device: str) -> float:
    """Find the side by bisection; infinity if no side is accepted."""
    weights = None if scales == 5 else (1 / scales,) * scales
    refused, accepted = 0, MAX_SIDE + 1
    while accepted - refused > 1:
        side = (refused + accepted) // 2
        img1, img2 = images[..., :side, :side]
        value, _ = _attempt(_evaluate, peer, "msssim", Case("", "", img1, img2, 255.0, weights), "float32", device)
        refused, accepted = (side, accepted) if value is None else (refused, side)
    return float(accepted) if accepted <= MAX_SIDE else math.inf


def _evaluate(peer: Peer, metric: str, case: Case, dtype: str, device: str, defaults: bool = False) -> float:
    function = peer.function(metric, data_range=case.data_range, weights=case.weights, defaults=defaults)
    with torch.no_grad():
        return float(function(*_tensors(case, dtype, device)))


def _gradient(peer: Peer, metric: str, case: Case, dtype: str, device: str) -> torch.Tensor:
    """Return the gradient to the distorted image.

    It is passed as the first image, because fused-ssim has a gradient to the first image only. All peers are symmetric.
    """
    reference, distorted = _tensors(case, dtype, device)
    function: Any = peer.function(metric, data_range=case.data_range, weights=case.weights)
    function(distorted.requires_grad_(), reference).backward()
    assert distorted.grad is not None
    return distorted.grad.double().cpu()


def _attempt(function: Callable[..., Any], *args: Any) -> tuple[Any, str]:
    """Return (result, "") or (None, why the call failed)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args), ""
    except Exception as error:  # peers raise any type of exception for unsupported input
        first_line = str(error).strip().partition("\n")[0]
        return None, f"{type(error).__name__}: {first_line}"


def _tensors(case: Case, dtype: str, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    img1, img2 = (np.ascontiguousarray(image)[None] for image in (case.img1, case.img2))
    torch_dtype = getattr(torch, dtype)
    return torch.from_numpy(img1).to(device, torch_dtype), torch.from_numpy(img2).to(device, torch_dtype)
