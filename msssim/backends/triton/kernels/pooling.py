"""The kernel that makes the value of the terms, with its derivative: as `multiscale.pool` and autograd."""

# ruff: noqa: RUF005 - Triton's language has no [*a, b] and no (*a, b).

import triton
import triton.language as tl

from .primitives import relu


@triton.jit
def real_power(base, exponent: tl.constexpr):
    """Base ** exponent, NaN where that is no real number."""
    power = tl.exp(tl.log(tl.abs(base)) * tl.full((), exponent, base.dtype))
    if exponent % 2 == 1:
        power = tl.where(base < 0, -power, power)
    elif exponent % 2 != 0:
        power = tl.where(base < 0, float("nan"), power)
    return power


@triton.jit(do_not_specialize=["planes"])
def pool(
    # The terms, (values, planes, levels) in float64; the values; the derivative with respect to each term.
    terms, value, dvalue_dterms,
    planes,
    # The weights as the method takes them; normalize="relu" or "simple"; "simple" alone, which takes (term + 1) / 2.
    WEIGHTS: tl.constexpr, RELU: tl.constexpr, SIMPLE: tl.constexpr,
    # method="product"; below this term the derivative of a power is divided by this.
    PRODUCT: tl.constexpr, POW_EPS: tl.constexpr,
    HAS_GRAD: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Compute the value of `planes` planes, and its derivative with respect to each of their terms."""
    LEVELS: tl.constexpr = len(WEIGHTS)
    lane = tl.arange(0, SIZE)
    total = tl.zeros([SIZE], tl.float64)
    for first in range(0, planes, SIZE):
        exists = first + lane < planes
        at = (tl.program_id(0).to(tl.int64) * planes + first + lane) * LEVELS
        plane_value = total * 0 + (1 if PRODUCT else 0)
        pooled_terms = ()
        for k in tl.static_range(LEVELS):
            term = tl.load(terms + at + k, mask=exists, other=0)
            if SIMPLE:
                term = (term + 1) / 2
            if RELU:
                term = relu(term)
            pooled_terms = pooled_terms + (term,)
            if PRODUCT:
                plane_value *= real_power(term, WEIGHTS[k])
            else:
                plane_value += term * tl.full((), WEIGHTS[k], tl.float64)
        # Weights that sum to 1 may sum to a little more once they are rounded.
        total += tl.where(exists, tl.minimum(plane_value, 1.0, propagate_nan=tl.PropagateNan.ALL), 0.0)
        if HAS_GRAD:
            for k in tl.static_range(LEVELS):
                derivative = tl.full((), WEIGHTS[k], tl.float64) / planes
                if PRODUCT:
                    eps = tl.full((), POW_EPS, tl.float64)
                    term = tl.where(tl.abs(pooled_terms[k]) < eps, eps, pooled_terms[k])
                    derivative = plane_value * (derivative / term)
                if SIMPLE:
                    derivative *= 0.5
                if RELU:
                    derivative = tl.where(pooled_terms[k] <= 0, 0.0, derivative)
                tl.store(dvalue_dterms + at + k, derivative, mask=exists)
    tl.store(value + tl.program_id(0), (tl.sum(total, 0) / planes).to(value.dtype.element_ty))
