"""The backward pass: the gradients of all scales, weighed and added up in one image."""

import numpy as np

from .simd import beyond, compiled_for_keeps, count_up, exact, inlined, pointer, read, vectorised
from .sweep import yield_to_others
from .threads import on_team

# Of the state that threads share: the strip to take next, how many are finished, whether all are.
_NEXT, _FINISHED, _DONE = range(3)


def _within(code, value, limit):
    """Nothing beyond the limit, but NaN stays."""
    value = code.select(value > limit, limit, value)
    return code.select(value < -limit, -limit, value)


@vectorised
def _weigh(code, pointers, integers, numbers, taps):
    """Share · gradient, as many vectors of it."""
    gradient, out = pointers
    share, limit = numbers
    for index in code.each(integers[0]):
        at = code.times(index, code.lanes)
        value = code.load(code.address(gradient, at)) * share
        code.store(_within(code, value, limit), code.address(out, at))


@vectorised
def _weigh_and_add(code, pointers, integers, numbers, taps):
    """Share · gradient, and half as many vectors of the coarser row, each element for two."""
    gradient, coarse, out = pointers
    share, weight, limit = numbers
    for index in code.each(integers[0]):
        source, target = (code.address(each, code.times(index, 2 * code.lanes)) for each in (gradient, out))
        common = code.load(code.address(coarse, code.times(index, code.lanes))) * weight
        for k, twice in enumerate(code.doubled(common)):
            value = code.fma(share, code.load(source, k * code.lanes), twice)
            code.store(_within(code, value, limit), target, k * code.lanes)


@inlined
def _bounded(value, limit):
    value = limit if value > limit else value
    return -limit if value < -limit else value


@exact
def _row(gradient, share, coarse, weight, out, count, alone, lanes, limit, like):
    """A row of the sum; where it is not the coarsest scale's `alone`, with the coarser row's part."""
    kind = (like.dtype.type(0),)
    if alone:
        done = count // lanes * lanes
        _weigh((gradient, out), (count // lanes,), (share, limit), kind)
        for j in range(done, count):
            out[j] = _bounded(share * gradient[j], limit)
        return
    done = count // (2 * lanes) * (2 * lanes)
    _weigh_and_add((gradient, coarse, out), (count // (2 * lanes),), (share, weight, limit), kind)
    for j in range(done, count):
        # The last pixel of an odd count is alone in its mean.
        common = weight + weight if j == count - 1 and count % 2 else weight
        out[j] = _bounded(share * gradient[j] + common * coarse[j // 2], limit)


@exact
def _take_strips(like, lanes, info, shapes, weight, limits, state):
    """One thread's part of the backward pass, strip after strip; then what the others do is waited for.

    The adjoint of a 2 × 2 mean reaches no neighbour, so a strip as high as the coarsest pixel stands alone. Everything
    is multiplied by `weight`. What comes of finite numbers stays within the limits, of the image's type and of the one
    that is computed with.
    """
    T, size = like.dtype.type, like.itemsize
    upstream, kept, out, planes, halo = info
    levels, height, width = shapes.shape[0], shapes[0, 0], shapes[0, 1]
    pixels = shapes[levels - 1, 2] + shapes[levels - 1, 0] * shapes[levels - 1, 1]
    high = max(32, 2 ** (levels - 1))
    store = np.empty(2 * max(1, (high // 2) * ((width + 1) // 2)), like.dtype)
    scratch, half = pointer(np.int64(store.ctypes.data), like), store.size // 2
    shares, strips = pointer(upstream, 0.0), (height + high - 1) // high
    while True:
        k = count_up(state, _NEXT)
        if k >= planes * strips:
            break
        plane, top = k // strips, k % strips * high
        bottom, finite = min(height, top + high), True
        for level in range(levels - 1, -1, -1):
            rows, columns, offset = shapes[level, 0], shapes[level, 1], shapes[level, 2]
            first, end, above = top >> level, ((bottom - 1) >> level) + 1, (columns + 1) // 2
            share = T(weight * shares[plane * levels + level] / ((rows - halo) * (columns - halo)))
            finite = finite and np.isfinite(share)
            most = T(limits[min(level, 1)]) if finite else T(np.inf)
            source = pointer(kept + (plane * pixels + offset) * size, like)
            target = pointer(out + plane * height * width * size, like)
            coarser, alone = beyond(scratch, (level + 1) % 2 * half), level == levels - 1
            result = beyond(target, first * columns) if level == 0 else beyond(scratch, level % 2 * half)
            for i in range(first, end):
                part = T(0.5) if i == rows - 1 and rows % 2 == 1 else T(0.25)
                coarse = beyond(coarser, ((i >> 1) - (first >> 1)) * above)
                _row(
                    beyond(source, i * columns), share, coarse, part, beyond(result, (i - first) * columns), columns,
                    alone, lanes, most, like,
                )  # fmt: skip
        if count_up(state, _FINISHED) == planes * strips - 1:
            count_up(state, _DONE)
    while np.int64(read(state, _DONE)) == 0:
        yield_to_others()
    return store[0]  # which must live till here


@compiled_for_keeps
def spread(team, number, like, lanes, info, shapes, weight, limits, state):
    """The whole of the work, or as much of it as is left, by so many threads of a team; for no team, team is 0."""
    if team != 0:
        on_team(team, number, _take_strips, (like, lanes, info, shapes, weight, limits, state))
    if state[_DONE] == 0:  # and where none of the team had the memory that it needs, this raises the error
        _take_strips(like, lanes, info, shapes, weight, limits, state)
