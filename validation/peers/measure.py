"""The measurements behind the table of peers.

The number of a peer is compared with Wang's and, to name the cause, with `reference.peers.Emulation` of its convention:
what is left of the difference under the emulation is rounding, and what a decision is worth is how much the emulated
number changes when that decision alone is taken back.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch

from reference import golden
from reference.peers import CAUSES

from .. import library
from .cases import Case, case_of

CLOSEST, DEFAULTS = "closest", "defaults"
# States of what has no deviation.
REFUSED, COMPLEX = "refused", "Wang's number is complex"
MATLAB = "MATLAB"
SCALES = (3, 5, 6)
LARGEST = 400  # side of the images that the smallest side is looked for in
_FIELDS = {"ssim": "ssim_index", "msssim": "msssim_product"}


class Value(NamedTuple):
    """What a peer says of a pair."""

    peer: str
    metric: str
    settings: str
    kind: str
    pair: str
    dtype: str
    value: float = math.nan
    wang: float = math.nan
    deviation: float = math.nan
    left: float = math.nan
    """Of the deviation, by the emulation of the convention."""
    effects: dict | None = None
    """By cause, how much the emulated number changes without it."""
    state: str = ""
    note: str = ""


class Gradient(NamedTuple):
    """How far the gradient of a peer is, relative to the largest entry of the exact one."""

    peer: str
    metric: str
    kind: str
    pair: str
    deviation: float = math.nan
    state: str = ""
    note: str = ""


class Side(NamedTuple):
    """The smallest side of square images that a peer gives a number for."""

    peer: str
    scales: int
    side: float


def values(peers, device, makers):
    """Yield a Value for each case, peer, metric, settings and dtype."""
    for case in (make() for make in makers):
        emulation = case.emulation()
        for peer, metric in _offered(peers, case):
            for settings in (CLOSEST, DEFAULTS) if metric in peer.by_default else (CLOSEST,):
                for dtype in case.dtypes:
                    if dtype in peer.dtypes:
                        yield _value(peer, metric, settings, case, emulation, dtype, device)


def _offered(peers, case):
    for peer in peers:
        for metric in peer.metrics:
            heavy = peer.decisions(metric).scales != "pyramid"  # windows of 33 x 33 take seconds
            if (case.small or not heavy) and (case.weights is None or (peer.weights and metric == "msssim")):
                yield peer, metric


def _value(peer, metric, settings, case, emulation, dtype, device):
    defaults = settings == DEFAULTS
    row = Value(peer.name, metric, settings, case.kind, case.name, dtype)
    value, refusal = _attempt(_number, peer, metric, case, dtype, device, defaults)
    if refusal:
        return row._replace(state=REFUSED, note=refusal)
    weights = {"weights": case.weights} if case.weights else {}
    convention, wang = peer.decisions(metric, defaults), case.wang(metric, emulation)
    emulated = emulation.value(metric, convention, **weights)
    effects = {
        CAUSES[cause]: abs(emulated - emulation.value(metric, convention.without(cause[0]), **weights))
        for cause in convention.differences().items()
    }
    row = row._replace(value=value, left=abs(value - emulated), effects=effects)
    if np.imag(wang) != 0:
        return row._replace(state=COMPLEX)
    return row._replace(wang=float(np.real(wang)), deviation=float(abs(value - np.real(wang))))


def gradients(reference, peers, device, makers):
    """Yield a Gradient for each case, peer and metric, against that of another peer in float64 on a CPU."""
    for case in (make() for make in makers):
        if np.array_equal(case.img1, case.img2):
            continue  # whose gradient is zero, with nothing to be relative to
        dtype = case.dtypes[0]
        exact = {
            metric: _attempt(_gradient, reference, metric, case, "float64", "cpu")[0]
            for _, metric in _offered([reference], case)
        }
        for peer, metric in _offered(peers, case):
            if peer.differentiable and dtype in peer.dtypes:
                gradient, refusal = _attempt(_gradient, peer, metric, case, dtype, device)
                row = Gradient(peer.name, metric, case.kind, case.name)
                yield row._replace(**_compared(gradient, exact[metric], refusal))


def _compared(gradient, exact, refusal):
    if refusal or exact is None:  # the original refuses small images
        return {"state": REFUSED, "note": refusal}
    found = "NaN" if gradient.isnan().any() else "finite" if gradient.any() else "zero"
    if exact.isnan().any():
        return {"state": COMPLEX, "note": found}
    return {"deviation": library.relative_error(gradient, exact), "note": found}


def gradients_against_matlab(peers, device, pairs):
    """Yield Gradients against central differences of the MATLAB code at sampled pixels."""
    for case in map(case_of, pairs):
        sampled = golden.gradients()[case.name]
        for peer, metric in _offered(peers, case):
            if not peer.differentiable:
                continue
            row = Gradient(peer.name, metric, MATLAB, case.name)
            gradient, refusal = _attempt(_gradient, peer, metric, case, "float32", device)
            if refusal:
                yield row._replace(state=REFUSED, note=refusal)
                continue
            exact = torch.as_tensor(getattr(sampled, _FIELDS[metric]))
            error = (gradient[0, 0][sampled.row, sampled.column] - exact).abs().max() / gradient.abs().max()
            yield row._replace(deviation=float(error))


def sides(_, device, peers):
    """Yield the smallest Side of each peer for each number of scales that it can be asked for."""
    images = np.random.default_rng(0).integers(0, 256, (2, 1, LARGEST, LARGEST)).astype(np.float64)
    for peer in peers:
        for scales in SCALES if "msssim" in peer.metrics else ():
            if scales == 5 or peer.weights:
                yield Side(peer.name, scales, _smallest(peer, images, scales, device))


def _smallest(peer, images, scales, device):
    """By bisection; infinite where none of those tried is taken."""
    weights = None if scales == 5 else (1 / scales,) * scales
    refused, taken = 0, LARGEST + 1
    while taken - refused > 1:
        side = (refused + taken) // 2
        case = Case("", "", *images[..., :side, :side], 255.0, weights)
        _, refusal = _attempt(_number, peer, "msssim", case, "float32", device)
        refused, taken = (side, taken) if refusal else (refused, side)
    return float(taken) if taken <= LARGEST else math.inf


def _number(peer, metric, case, dtype, device, defaults=False):
    function = peer.function(metric, data_range=case.data_range, weights=case.weights, defaults=defaults)
    with torch.no_grad():
        return float(function(*_tensors(case, dtype, device)))


def _gradient(peer, metric, case, dtype, device):
    """To the distorted image, put first: fused-ssim has a gradient to the first alone, and all are symmetric."""
    reference, distorted = _tensors(case, dtype, device)
    function = peer.function(metric, data_range=case.data_range, weights=case.weights)
    function(distorted.requires_grad_(), reference).backward()
    return distorted.grad.double().cpu()


def _attempt(function, *args):
    """(what comes out, "") or (None, why nothing does)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args), ""
    except Exception as error:  # each peer has its own ways to refuse
        first = str(error).strip().partition("\n")[0]
        return None, f"{type(error).__name__}: {first}"


def _tensors(case, dtype, device):
    images = (np.ascontiguousarray(image)[None] for image in (case.img1, case.img2))
    return tuple(torch.from_numpy(image).to(device, getattr(torch, dtype)) for image in images)
