"""The backward pass: the gradients of all scales, weighed and added up in one image."""

import numpy as np

from .numba_vectors import compiled_for_keeps, contracted, count_up, inlined


@inlined
def _within(value, limit):
    value = limit if value > limit else value
    return -limit if value < -limit else value


@contracted
def _spread_row(gradient, share, coarse, weight, out, count, coarse_there, limit):
    """Share · gradient, and the coarser row's part; the last pixel of an odd count is alone in its mean.

    Nothing beyond `limit` comes out, but NaN stays.
    """
    if not coarse_there:
        for j in range(count):
            out[j] = _within(share * gradient[j], limit)
        return
    for j in range(count // 2):
        common = weight * coarse[j]
        out[2 * j] = _within(share * gradient[2 * j] + common, limit)
        out[2 * j + 1] = _within(share * gradient[2 * j + 1] + common, limit)
    if count % 2:
        out[count - 1] = _within(share * gradient[count - 1] + (weight + weight) * coarse[count // 2], limit)


@compiled_for_keeps
def spread(gradients, shares, shapes, strip, state, limit, out):
    """One thread's part of the backward pass: `out` from the gradients of all scales, strip after strip.

    The adjoint of a 2 × 2 mean reaches no neighbour, so a strip as high as the coarsest pixel stands alone.
    """
    T = out.dtype.type
    levels, height, width = shapes.shape[0], shapes[0, 0], shapes[0, 1]
    scratch = np.empty((2, max(1, (strip // 2) * ((width + 1) // 2))), out.dtype)
    strips = (height + strip - 1) // strip
    while True:
        k = count_up(state, 0)
        if k >= gradients.shape[0] * strips:
            return
        plane, top = k // strips, k % strips * strip
        bottom = min(height, top + strip)
        for level in range(levels - 1, -1, -1):
            rows, columns, offset = shapes[level, 0], shapes[level, 1], shapes[level, 2]
            first, end = top >> level, ((bottom - 1) >> level) + 1
            above = shapes[min(level + 1, levels - 1), 1]
            coarse = scratch[(level + 1) % 2]
            for i in range(first, end):
                line = gradients[plane, offset + i * columns : offset + (i + 1) * columns]
                alone = i == rows - 1 and rows % 2 == 1
                weight = T(0.5) if alone else T(0.25)
                before = coarse[((i >> 1) - (first >> 1)) * above :]
                share = T(shares[plane, level])
                result = scratch[level % 2, (i - first) * columns :] if level else out[plane, i]
                most = T(np.inf) if level else T(limit)
                _spread_row(line, share, before, weight, result, columns, level < levels - 1, most)
