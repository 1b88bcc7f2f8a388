"""The MS-SSIM mathematics: from the terms of each scale to the index of each plane, and to the value.

The definition for every backend. The fused backends compute :func:`pool` and its derivative in a kernel of their own,
as a dozen operations of PyTorch would take longer than a small image; the tests compare them with this one.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from . import _dispatch
from ._types import Channels, Method, Normalize

# Wang, Simoncelli and Bovik (2003), from a psychophysical experiment; they sum to 1.0001 and are used as published.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

NORMALIZE: tuple[Normalize, ...] = (None, "relu", "simple", "covariance")
METHODS: tuple[Method, ...] = ("product", "wtd_sum")
CHANNELS: tuple[Channels, ...] = ("mean", "pooled")

# The derivative of x^w is w x^w / max(x, POW_EPS): float32 can still multiply it by that of the smallest denominator.
POW_EPS = 1e-16


class Pooling(NamedTuple):
    """How the terms of all planes become the value."""

    weights: tuple[float, ...]
    normalize: Normalize
    method: Method
    reduce_batch: bool
    """Whether there is one value for all images, or one for each."""
    dtype: torch.dtype
    """Of the value."""
    pow_eps: float = POW_EPS
    channels: Channels = "mean"

    @property
    def normalized_weights(self) -> tuple[float, ...]:
        """The weights as the method uses them."""
        return normalized_weights(self.weights, self.method)


def terms_options(pooling: Pooling) -> tuple[int, bool]:
    """(number of scales, whether negative covariances are clamped): what the terms depend on."""
    return len(pooling.weights), pooling.normalize == "covariance"


def index(
    pyramid_means: Callable[..., Tensor], img1: Tensor, img2: Tensor, pooling: Pooling, **kernel_params: object
) -> tuple[Tensor, Tensor]:
    """(value, terms), with a backend's function for the terms."""
    levels, rectify = terms_options(pooling)
    terms = pyramid_means(img1, img2, levels=levels, rectify=rectify, **kernel_params)
    return pool(terms, pooling), terms


def masked_index(
    masked_terms: Callable[..., tuple[Tensor, Tensor]],
    img1: Tensor,
    img2: Tensor,
    pooling: Pooling,
    **kernel_params: object,
) -> tuple[Tensor, Tensor, Tensor]:
    """(value, terms, has_index) of pool_masked(), with a backend's function for the terms and the weights."""
    levels, rectify = terms_options(pooling)
    return pool_masked(*masked_terms(img1, img2, levels=levels, rectify=rectify, **kernel_params), pooling)


def pool(terms: Tensor, pooling: Pooling) -> Tensor:
    """The value, () or (N,), from terms of shape (N, C, levels)."""
    if pooling.channels == "pooled":
        terms = terms.mean(1, keepdim=True)
    planes = combine(terms, pooling.weights, pooling.normalize, pooling.method)
    value = planes.mean() if pooling.reduce_batch else planes.mean(-1)
    # float() and double() are dispatched in half the time of to().
    return value.float() if pooling.dtype == torch.float32 else value.double()


def pool_masked(terms: Tensor, total_weights: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor, Tensor]:
    """The value with a mask.

    Parameters
    ----------
    terms : Tensor, shape (N, C, levels)
        As of pool(); any finite number where a plane has no weight at a scale.
    total_weights : Tensor, shape (N, C, levels)
        The sum of the weights of a plane's windows.
    pooling : Pooling
        As of pool().

    Returns
    -------
    value : Tensor, shape () or (N,)
        The mean over the planes that have an index, which are those with weight at every scale; NaN if there is none.
        It has no gradient in the others.
    terms : Tensor, shape (N, C, levels)
        NaN where a plane has no weight.
    has_index : Tensor, shape (N, C)
    """
    has_weight = total_weights > 0
    has_index = has_weight.all(-1)
    counted, used = terms.masked_fill(~has_index.unsqueeze(-1), 1.0), has_index
    if pooling.channels == "pooled":
        counted, used = _mean_where(counted, has_index.unsqueeze(-1), 1), has_index.any(1, keepdim=True)
        counted = counted.unsqueeze(1).masked_fill(~used.unsqueeze(-1), 1.0)
    planes = combine(counted, pooling.weights, pooling.normalize, pooling.method)
    value = _mean_where(planes, used, (0, 1) if pooling.reduce_batch else 1)
    return value.to(pooling.dtype), terms.masked_fill(~has_weight, math.nan), has_index


def _mean_where(values: Tensor, used: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """The mean over some axes of the values that are used; NaN without a gradient if none is."""
    count = used.sum(axes)
    mean = values.masked_fill(~used, 0.0).sum(axes) / count.clamp(min=1)
    return mean.masked_fill(count == 0, math.nan)


def combine(terms: Tensor, weights: tuple[float, ...], normalize: Normalize, method: Method) -> Tensor:
    """The index of each plane from its terms.

    Parameters
    ----------
    terms : Tensor, shape (N, C, levels)
        mean(cs) of each scale but the last, mean(l cs) of the last.
    weights : tuple of float
        The exponent (product) or weight (wtd_sum) of each scale, finest first.
    normalize : {None, "relu", "simple", "covariance"}
        What is done to negative terms. "covariance" was done inside cs already and leaves nothing to do here.
    method : {"product", "wtd_sum"}
        prod(terms ** weights), or sum(terms * weights) with weights normalized to sum to 1.

    Returns
    -------
    Tensor, shape (N, C)
    """
    if normalize == "relu":
        terms = terms.relu()
    elif normalize == "simple":
        terms = ((terms + 1) / 2).relu()  # cs = -1 in exact arithmetic may round to just below
    row = _as_row(normalized_weights(weights, method), terms)
    if method == "wtd_sum":
        total = (terms * row).sum(-1)
        return total - (total.detach() - 1).clamp(min=0)  # the weights may sum to 1 + eps; the gradient is kept
    return _product(terms, row)


def normalized_weights(weights: tuple[float, ...], method: Method) -> tuple[float, ...]:
    """The weights as the method uses them: those of a sum are normalized to sum to 1."""
    total = sum(weights) if method == "wtd_sum" else 1
    return tuple(weight / total for weight in weights)


def _product(terms: Tensor, weights: Tensor) -> Tensor:
    """prod(terms ** weights), NaN for the power of a negative term, with a finite derivative at zero.

    A term of zero makes the whole derivative zero; autograd would compute 0 · inf = NaN.
    """
    near_zero = terms.abs() < POW_EPS
    value = terms.detach()
    linear = value.pow(weights) * (1 + weights * (terms - value) / POW_EPS)
    powers = torch.where(near_zero, linear, terms.masked_fill(near_zero, 1.0).pow(weights))
    return functools.reduce(torch.mul, powers.unbind(-1))  # the backward of Tensor.prod() synchronizes with a GPU


def truncate_weights(weights: tuple[float, ...], levels: int) -> tuple[float, ...]:
    """`weights` if the images are large enough for all of them, else the first `levels`, normalized to sum to 1."""
    if levels == 0 or levels >= len(weights):
        return weights  # images too small for one scale are an error that the caller raises
    total = sum(weights[:levels])
    return tuple(weight / total for weight in weights[:levels])


def _as_row(weights: tuple[float, ...], terms: Tensor) -> Tensor:
    """`weights` as a tensor like `terms`, cached: every copy to a GPU synchronizes."""
    if not _dispatch.is_plain_eager():  # a tensor made now may be a fake or a wrapper
        return torch.tensor(weights, dtype=terms.dtype, device=terms.device)
    return _cached_row(weights, terms.dtype, terms.device)


@functools.lru_cache(maxsize=64)
def _cached_row(weights: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a cached inference tensor could not be used in training later
        return torch.tensor(weights, dtype=dtype, device=device)
