"""From the terms of all planes to the value, and how it grows with each of them.

The same as :func:`multiscale.pool` and its derivative, in one call where PyTorch has a dozen operations.
"""

from .simd import compiled_for_keeps, exact, pointer

RAW, RELU, SIMPLE = range(3)  # what is done to a negative term


@exact
def _tamed(term, mode):
    if mode == SIMPLE:
        term = (term + 1) / 2
    return 0.0 if mode != RAW and term < 0 else term  # NaN stays


@exact
def _through(slope, tamed, mode):
    """The slope to the term from that to what became of it."""
    if mode != RAW and tamed <= 0:
        return 0.0  # be the slope NaN
    return slope / 2 if mode == SIMPLE else slope


@compiled_for_keeps
def pool(terms, shares, mode, product, steep, values, each, value, slopes):
    """Write `values` numbers, each from so many planes, at the address `value`; slopes too unless that is 0."""
    levels = shares.size
    terms, value = pointer(terms, 0.0), pointer(value, 0.0)
    for v in range(values):
        total = 0.0
        for plane in range(v * each, (v + 1) * each):
            index = 1.0 if product else 0.0
            for k in range(levels):
                term = _tamed(terms[plane * levels + k], mode)
                index = index * term ** shares[k] if product else index + term * shares[k]
            total += index
            if slopes != 0:
                for k in range(levels):
                    term = _tamed(terms[plane * levels + k], mode)
                    slope = shares[k] / each
                    if product:
                        slope = index * (slope / (steep if abs(term) < steep else term))
                    pointer(slopes, 0.0)[plane * levels + k] = _through(slope, term, mode)
        value[v] = total / each
