"""The backward pass: the gradients of all scales, weighted and added up in one image."""

from __future__ import annotations

import math
from typing import NamedTuple

from .functions import (
    address_of,
    allocated,
    atomic_fetch_add,
    atomic_load,
    cached_njit,
    free,
    from_numba,
    on_team,
    outlined,
    wait_until,
)  # fmt: skip
from .pixels import Image
from .records import ScaleShape
from .scalars import FLOAT64, INT64, Element, Field, Operand, Pointer, Scalar
from .simd import SimdBuilder
from .vectors import repeat_lanes


class State(NamedTuple):
    """Where the numbers are that threads share."""

    next_strip: int = 0
    """The strip to take next."""
    finished: int = 1
    """How many are finished."""
    done: int = 2
    """Whether all are."""


STATE = State()


class Arguments(NamedTuple):
    """What a call consists of: addresses, and numbers of elements."""

    upstream: Field
    """Address of float64, planes × levels: the gradient that arrives at each term."""
    scale_grads: Field
    """Address of the gradients of each scale, planes × pixels of all scales."""
    out: Field
    """Address of the gradient to the image."""
    n_planes: Field
    n_levels: Field
    halo: Field
    shapes: Field
    """Address of a ScaleShape for each scale."""
    numbers: Field
    """Address of Numbers."""
    state: Field
    """Address of STATE."""
    n_channels: Field = 1
    mask: Field = 0
    """Address of the weights that the gradient is multiplied by."""
    mask_image: Field = 0
    """Weights from one image to the next, and so on."""
    mask_channel: Field = 0
    mask_row: Field = 0
    mask_column: Field = 0


class Numbers(NamedTuple):
    """What is multiplied, and bounds of what comes out; of float64."""

    weight: Field
    """All is multiplied by this."""
    limit_of_image: Field
    """The largest number of the image's dtype."""
    limit: Field
    """The largest number of the dtype of computation."""


def _bounded(code: SimdBuilder, value: Operand, limit: Operand) -> Operand:
    """Nothing beyond the limit, but NaN stays."""
    value = code.select(value > limit, limit, value)
    return code.select(value < -limit, -limit, value)


@outlined
def _weight(code: SimdBuilder, gradient: Pointer, out: Pointer, count: Scalar, share: Scalar, limit: Scalar) -> None:
    """Write share · gradient, so many vectors of it."""
    shares, limits = code.splat(share), code.splat(limit)
    for index in code.range(count):
        at = index * code.lanes
        value = code.load(gradient + at) * shares
        code.store(_bounded(code, value, limits), out + at)


@outlined
def _weight_and_add(
    code: SimdBuilder,
    gradient: Pointer,
    coarse: Pointer,
    out: Pointer,
    count: Scalar,
    share: Scalar,
    weight: Scalar,
    limit: Scalar,
) -> None:
    """Write share · gradient plus the coarser row, of which each number serves two; so many pairs of vectors."""
    shares, weights, limits = (code.splat(each) for each in (share, weight, limit))
    for index in code.range(count):
        source, target = (each + index * (2 * code.lanes) for each in (gradient, out))
        common = code.load(coarse + index * code.lanes) * weights
        for k, twice in enumerate(repeat_lanes(code, common)):
            value = code.fma(shares, code.load(source, k * code.lanes), twice)
            code.store(_bounded(code, value, limits), target, k * code.lanes)


@outlined
def _write_row(
    code: SimdBuilder,
    gradient: Pointer,
    share: Scalar,
    coarse: Pointer,
    weight: Scalar,
    out: Pointer,
    count: Scalar,
    coarsest: Scalar,
    limit: Scalar,
) -> None:
    """A row of the sum. At every scale except the coarsest it includes the part of the coarser row."""
    with code.branch(coarsest) as (alone, both):
        with alone:
            vectors = count // code.lanes
            _weight(code, gradient, out, vectors, share, limit)
            for j in code.range(vectors * code.lanes, count):
                out[j] = _bounded(code, share * gradient[j], limit)
        with both:
            pairs = count // (2 * code.lanes)
            _weight_and_add(code, gradient, coarse, out, pairs, share, weight, limit)
            for j in code.range(pairs * (2 * code.lanes), count):
                # The last pixel of an odd count is alone in its mean.
                alone_in_mean = (j == count - 1) & (count % 2 == 1)
                common = code.select(alone_in_mean, weight + weight, weight)
                out[j] = _bounded(code, share * gradient[j] + common * coarse[j // 2], limit)


@outlined
def _multiply_row(code: SimdBuilder, out: Pointer, weights: Image, count: Scalar) -> None:
    """Multiply the gradient of a row by the weights of its pixels. A weight of 0 gives 0, also for a NaN."""
    vectors = code.select(weights.step == 1, count // code.lanes, 0)
    for index in code.range(vectors):
        at = index * code.lanes
        several = code.load_real(weights.pixels, at)
        code.store(code.select(several > 0, code.load(out, at) * several, 0), out, at)
    for j in code.range(vectors * code.lanes, count):
        weight = code.real(weights.pixels[j * weights.step])
        out[j] = code.select(weight > 0, out[j] * weight, code.real(0))


@outlined
def _take_strips(code: SimdBuilder, weights: Element | None, call: Arguments) -> None:
    """One thread's part of the backward pass, strip after strip; then wait for the others.

    The adjoint of a 2 × 2 mean reaches no neighbour, so a strip as high as the coarsest pixel needs no other one. The
    results of finite numbers stay within the limits.
    """
    state, shapes = (code.pointer(each, INT64) for each in (call.state, call.shapes))
    finest = code.record(shapes, ScaleShape)
    coarsest = code.record(shapes, ScaleShape, call.n_levels - 1)
    pixels = coarsest.offset + coarsest.height * coarsest.width
    high = code.max(1 << (call.n_levels - 1), 32)
    half = code.max((high // 2) * ((finest.width + 1) // 2), 1)
    store = allocated(code, (half * (2 * code.element.size) + 7) // 8)
    n_strips = (finest.height + high - 1) // high
    with code.when(address_of(store) != 0):
        with code.repeat() as loop:
            k = atomic_fetch_add(state, STATE.next_strip)
            loop.leave_when(k >= call.n_planes * n_strips)
            plane, top = k // n_strips, k % n_strips * high
            bottom = code.min(finest.height, top + high)
            scratch = code.pointer(address_of(store), code.element)
            _take_strip(code, weights, call, plane, (top, bottom), pixels, (scratch, half))
            with code.when(atomic_fetch_add(state, STATE.finished) == call.n_planes * n_strips - 1):
                atomic_fetch_add(state, STATE.done)
        wait_until(code, lambda: atomic_load(state, STATE.done) != 0)
        free(code, store)


def _take_strip(
    code: SimdBuilder,
    weights: Element | None,
    call: Arguments,
    plane: Scalar,
    rows_of_strip: tuple[Scalar, Scalar],
    pixels: Scalar,
    memory: tuple[Pointer, Scalar],
) -> None:
    """From the coarsest scale to the finest, the rows of a strip."""
    (top, bottom), (scratch, half) = rows_of_strip, memory
    shapes = code.pointer(call.shapes, INT64)
    numbers = code.record(code.pointer(call.numbers, FLOAT64), Numbers)
    upstream = code.pointer(call.upstream, FLOAT64)
    finest = code.record(shapes, ScaleShape)
    target = code.pointer(call.out, code.element) + plane * finest.height * finest.width
    finite = code.variable(code.integer(1))
    mask = None
    if weights is not None:
        image, channel = plane // call.n_channels, plane % call.n_channels
        first_weight = code.pointer(call.mask, weights) + (image * call.mask_image + channel * call.mask_channel)
        mask = Image(first_weight, call.mask_column, call.mask_row)
    for down in code.range(call.n_levels):
        level = call.n_levels - 1 - down
        shape = code.record(shapes, ScaleShape, level)
        first, end, above = top >> level, ((bottom - 1) >> level) + 1, (shape.width + 1) // 2
        windows = (shape.height - call.halo) * (shape.width - call.halo)
        share = code.real(numbers.weight * upstream[plane * call.n_levels + level] / windows)
        finite.set(finite.get() & code.integer(abs(share) < math.inf))
        limit = code.select(level == 0, numbers.limit_of_image, numbers.limit)
        limit = code.select(finite.get() != 0, code.real(limit), code.real(math.inf))
        source = code.pointer(call.scale_grads, code.element) + (plane * pixels + shape.offset)
        coarser = scratch + (level + 1) % 2 * half
        result = code.select(level == 0, target + first * shape.width, scratch + level % 2 * half)
        for i in code.range(first, end):
            odd = (i == shape.height - 1) & (shape.height % 2 == 1)
            part = code.select(odd, code.real(0.5), code.real(0.25))
            coarse = coarser + ((i >> 1) - (first >> 1)) * above
            _write_row(
                code, source + i * shape.width, share, coarse, part, result + (i - first) * shape.width, shape.width,
                level == call.n_levels - 1, limit,
            )  # fmt: skip
            if mask is not None:
                with code.when(level == 0):
                    _multiply_row(code, target + i * shape.width, mask.at(i, 0), shape.width)


@from_numba
def _pyramid_backward(
    code: SimdBuilder, team: Scalar, number: Scalar, arguments: Pointer, weights: Pointer | None, like: Pointer
) -> None:
    call = code.record(arguments, Arguments)
    done, of_weights = code.pointer(call.state, INT64) + STATE.done, None if weights is None else weights.element
    on_team(code, team, number, _take_strips, done, of_weights, call)


@cached_njit
def pyramid_backward(team, number, arguments, weights, like):  # type: ignore[no-untyped-def]
    """The whole of the work, or as much of it as is left, by so many threads of a team; for no team, team is 0.

    `arguments` are the Arguments as an array; `weights` and `like` are arrays of the type of a mask, if there is one,
    and of the type that is computed with.
    """
    _pyramid_backward((team, number, arguments, weights, like))
