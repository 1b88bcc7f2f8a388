"""The multi-scale arithmetic: from the terms of each scale to one index a plane, and from these to the value.

What it is, for every backend. Where PyTorch's dozen operations would take longer than the images do, the fused backends
have pool() and its derivative as a kernel; the tests hold it to this one.
"""

import functools
import math
from typing import NamedTuple

import torch

from . import _dispatch

# Wang, Simoncelli and Bovik (2003), fitted to human judgements; they sum to 1.0001 and are used as published.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

NORMALIZE = (None, "relu", "simple", "covariance")
METHODS = ("product", "wtd_sum")


def _steep():
    """Below this the derivative of x^w, w x^w / x, is divided by this.

    float32 has to carry it back through the smallest denominators. (A function, since torch.compile of some versions
    takes a number outside of one for a symbol.)
    """
    return 1e-16


class Pooling(NamedTuple):
    """What is done with the terms of all planes."""

    weights: tuple
    normalize: str | None
    method: str
    together: bool
    """One value for all images, or one for each."""
    dtype: torch.dtype
    """Of the value."""
    steep: float = _steep()

    @property
    def shares(self):
        """The weights as the method takes them."""
        return shares(self.weights, self.method)


def of_terms(pooling):
    """(how many scales there are, whether it is inside the terms that something is done about negative ones)."""
    # No properties of the tuple, which early versions of torch.compile do not know.
    return len(pooling.weights), pooling.normalize == "covariance"


def index(pyramid_means, img1, img2, pooling, **problem):
    """(value, terms) from what computes the terms."""
    levels, rectify = of_terms(pooling)
    terms = pyramid_means(img1, img2, levels=levels, rectify=rectify, **problem)
    return pool(terms, pooling), terms


def pool(terms, pooling):
    """The value, () or (N,), from terms of shape (N, C, levels)."""
    planes = combine(terms, pooling.weights, pooling.normalize, pooling.method)
    value = planes.mean() if pooling.together else planes.mean(-1)
    # Their own methods are dispatched in half the time of to().
    return value.float() if pooling.dtype == torch.float32 else value.double()


def combine(terms, weights, normalize, method):
    """The index of each plane from its terms.

    Parameters
    ----------
    terms : Tensor, shape (N, C, levels)
        mean(cs) of each scale but the last, mean(l cs) of the last.
    weights : sequence of float
        The exponent (product) or share (wtd_sum) of each scale, finest first.
    normalize : {None, "relu", "simple", "covariance"}
        What is done to negative terms. "covariance" was done inside cs already and leaves nothing to do here.
    method : {"product", "wtd_sum"}
        prod(terms ** weights), or sum(terms * weights) with weights made to sum to 1.

    Returns
    -------
    Tensor, shape (N, C)
    """
    if normalize == "relu":
        terms = terms.relu()
    elif normalize == "simple":
        terms = ((terms + 1) / 2).relu()  # cs = -1 in exact arithmetic may round to just below
    row = _row(shares(weights, method), terms)
    if method == "wtd_sum":
        total = (terms * row).sum(-1)
        return total - (total.detach() - 1).clamp(min=0)  # shares may sum to 1 + eps; the gradient is kept
    return _product(terms, row)


def shares(weights, method):
    """The weights as the method takes them: those of a sum sum to 1."""
    total = sum(weights) if method == "wtd_sum" else 1
    return tuple(weight / total for weight in weights)


def _product(terms, weights):
    """prod(terms ** weights), NaN where the power of a negative term is, with a derivative that no term makes infinite.

    A term at zero makes the whole derivative zero; autograd would make NaN of an infinite one.
    """
    near = terms.abs() < _steep()
    here = terms.detach()
    flat = here.pow(weights) * (1 + weights * (terms - here) / _steep())
    powers = torch.where(near, flat, terms.masked_fill(near, 1.0).pow(weights))
    return math.prod(powers.unbind(-1))  # the derivative of Tensor.prod() waits for the device


def fewer(weights, levels):
    """`weights` if the images are large enough for all of them, else the first `levels`, made to sum to 1."""
    if levels == 0 or levels >= len(weights):
        return weights  # too small for a single scale: an error, not a shorter list
    total = sum(weights[:levels])
    return tuple(weight / total for weight in weights[:levels])


def _row(weights, terms):
    """`weights` as a tensor like `terms`, made once: every copy to a device waits for it."""
    if not _dispatch.at_once():  # what is made now may be no tensor that a later call can use
        return torch.tensor(weights, dtype=terms.dtype, device=terms.device)
    return _kept_row(weights, terms.dtype, terms.device)


@functools.lru_cache(maxsize=64)
def _kept_row(weights, dtype, device):
    with torch.inference_mode(False):  # an inference tensor, cached, could not take part in training later
        return torch.tensor(weights, dtype=dtype, device=device)
