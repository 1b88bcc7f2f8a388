"""The multi-scale arithmetic: from the terms of each scale to one index a plane. Written once, for every backend."""

import functools

import torch

# Wang, Simoncelli and Bovik (2003), fitted to human judgements; they sum to 1.0001 and are used as published.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

NORMALIZE = (None, "relu", "simple", "covariance")
METHODS = ("product", "wtd_sum")

# Below this the derivative of x^w grows no more: float32 has to carry it back through the smallest denominators.
_STEEP = 1e-16


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
    if method == "wtd_sum":
        total = sum(weights)
        return (terms * _row(tuple(weight / total for weight in weights), terms)).sum(-1)
    powers = _powers(terms, _row(tuple(weights), terms))
    # Multiplied one by one: the derivative of torch.prod asks the device whether there are zeros, and waits.
    return functools.reduce(torch.mul, powers.unbind(-1))


def _powers(terms, weights):
    """The powers terms ** weights, NaN where a term is negative, with a derivative that no term makes infinite.

    Autograd would make NaN of an infinite derivative: at zero it is zero, and below _STEEP that of _STEEP.
    """
    zero = terms == 0
    terms = torch.where(zero, 1.0, terms)
    steep = (terms > 0) & (terms < _STEEP)
    powers = (terms + torch.where(steep, _STEEP - terms, 0.0).detach()).pow(weights)
    powers = powers + torch.where(steep, terms.pow(weights) - powers, 0.0).detach()
    return powers.masked_fill(zero, 0.0)


def fewer(weights, levels):
    """`weights` if the images are large enough for all of them, else the first `levels`, made to sum to 1."""
    if levels == 0 or levels >= len(weights):
        return weights  # too small for a single scale: an error, not a shorter list
    total = sum(weights[:levels])
    return tuple(weight / total for weight in weights[:levels])


def _row(weights, terms):
    """`weights` as a tensor like `terms`: on a device it is copied there once, for every copy waits for the device."""
    if terms.device.type == "cpu" or torch.compiler.is_compiling():
        return torch.tensor(weights, dtype=terms.dtype, device=terms.device)
    return _row_on_device(weights, terms.dtype, terms.device)


@functools.lru_cache(maxsize=64)
def _row_on_device(weights, dtype, device):
    with torch.inference_mode(False):  # an inference tensor, cached, could not take part in training later
        return torch.tensor(weights, dtype=dtype, device=device)
