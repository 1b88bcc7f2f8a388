"""From the terms of all planes to the value, and its derivative with respect to each of them.

The same as :func:`multiscale.pool` and its derivative, in one call where PyTorch has a dozen operations.
"""

from __future__ import annotations

from typing import NamedTuple

from .functions import cached_njit, from_numba
from .scalars import FLOAT64, Field, Pointer, Scalar
from .simd import SimdBuilder

RAW, RELU, SIMPLE = range(3)
"""What is done to a negative term."""


class Arguments(NamedTuple):
    """What a call consists of; addresses are those of float64."""

    terms: Field
    """Address of the terms, values × planes × levels."""
    mode: Field
    """RAW, RELU or SIMPLE."""
    is_product: Field
    n_values: Field
    n_planes: Field
    """Planes of each value."""
    n_levels: Field
    value: Field
    """Address of the values."""
    dvalue_dterms: Field
    """Address of the derivatives, or 0."""


def _rectified(code: SimdBuilder, term: Scalar, mode: Scalar) -> Scalar:
    term = code.select(mode == SIMPLE, (term + 1) / 2, term)
    rectified: Scalar = code.select((mode != RAW) & (term < 0), 0.0, term)  # NaN stays
    return rectified


def _through(code: SimdBuilder, slope: Scalar, rectified: Scalar, mode: Scalar) -> Scalar:
    """The derivative with respect to the term, from that with respect to the rectified one."""
    slope_of_term = code.select(mode == SIMPLE, slope / 2, slope)
    through: Scalar = code.select((mode != RAW) & (rectified <= 0), 0.0, slope_of_term)  # even if the slope is NaN
    return through


@from_numba
def _pool(code: SimdBuilder, arguments: Pointer, weights: Pointer, pow_eps: Scalar) -> None:
    call = code.record(arguments, Arguments)
    terms, values, derivatives = (code.pointer(each, FLOAT64) for each in (call.terms, call.value, call.dvalue_dterms))
    is_product = call.is_product != 0
    for v in code.range(call.n_values):
        total = code.variable(0.0)
        for plane in code.range(v * call.n_planes, (v + 1) * call.n_planes):
            index = code.variable(code.select(is_product, code.real(1), code.real(0)))
            first = plane * call.n_levels
            for k in code.range(call.n_levels):
                term = _rectified(code, terms[first + k], call.mode)
                with code.branch(is_product) as (product, weighted_sum):
                    with product:
                        index.set(index.get() * code.intrinsic("llvm.pow", term, weights[k]))
                    with weighted_sum:
                        index.set(index.get() + term * weights[k])
            # Weights of a sum may sum to 1 and a rounding.
            total.set(total.get() + code.select(index.get() > 1, 1.0, index.get()))
            with code.when(call.dvalue_dterms != 0):
                for k in code.range(call.n_levels):
                    term = _rectified(code, terms[first + k], call.mode)
                    slope = weights[k] / call.n_planes
                    steep = slope / code.select(abs(term) < pow_eps, pow_eps, term)
                    slope = code.select(is_product, index.get() * steep, slope)
                    derivatives[first + k] = _through(code, slope, term, call.mode)
        values[v] = total.get() / call.n_planes


@cached_njit
def pool(arguments, weights, pow_eps):  # type: ignore[no-untyped-def]
    """Write the values, and the derivatives unless their address is 0; `arguments` are the Arguments as an array."""
    _pool((arguments, weights, pow_eps))
