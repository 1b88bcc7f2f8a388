"""From the derivatives of the map of volumes to the gradients of some slices of a strip."""

from __future__ import annotations

from llvmlite import ir

from .filters import filter_16, load_weights
from .functions import outlined
from .layout import ROWS, Layout
from .scalars import F32, FLOAT64, Element, Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector
from .volume_map import filter_along, filter_slice_down, stage
from .volume_records import DEPTH, Work


@outlined
def _filter_grads_by_depth(
    code: SimdBuilder,
    layout: Layout,
    planes: int,
    table: Pointer,
    ring: Pointer,
    zeros: Pointer,
    out: Pointer,
    sizes: tuple[Scalar, ...],
    vectors: Scalar,
) -> None:
    """Of a row of the strip: the derivatives of the windows that hold the pixels of DEPTH slices."""
    first, slices, rows, line = sizes
    weights = load_weights(code, layout, table, 0)
    count = layout.halo + DEPTH
    for m in code.range(planes):
        places = []
        for k in range(count):
            slice = first + (k - layout.halo)
            slot = (slice + count) % count
            inside = (slice >= 0) & (slice < slices)
            places.append(code.select(inside, ring + (m * count + slot) * rows * line, zeros))
        for index in code.range(vectors):
            at = index * code.lanes
            target = out + (m * (ROWS + layout.halo) * line + at)

            def put(k: int, mean: Vector, target: Pointer = target) -> None:
                code.store(mean, target, line * (4 * (ROWS + layout.halo) * k))

            def load(k: int, places: list[Pointer] = places, at: Scalar = at) -> Vector:
                return code.load(places[k], at)

            filter_16(code, weights, load, put, count=DEPTH)


@outlined
def _combine(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    down: Pointer,
    pixels: Pointer,
    line: Scalar,
    width: Scalar,
    scale: Scalar,
    targets: tuple[Pointer, ...],
) -> None:
    """A row of the gradients: what comes through the means, and pixel times what comes through the squares."""
    weights, scales = load_weights(code, layout, table, 0), code.splat(scale)
    whole, first = width // code.lanes, layout.pad - layout.halo

    def gradients(at: Scalar) -> list[Vector]:
        filtered = [filter_along(code, weights, down + (m * ROWS * line + at + first)) for m in range(2 + len(targets))]
        by_s, by_d = (filtered[m] * code.load(pixels, line * m + at) for m in range(2))
        through = (by_s + by_d, by_s - by_d)
        return [scales * (mean + own) for mean, own in zip(filtered[2:], through, strict=False)]

    def narrow(value: Vector, element: Element) -> Vector:
        if element == FLOAT64:
            return value
        limit = 3.4028234663852886e38  # an infinity would be NaN where the scale has a slope of 0
        value = code.select(value > limit, limit, value)
        value = code.select(value < -limit, -limit, value)
        return Vector(code, code.builder.fptrunc(value.value, ir.VectorType(F32, code.lanes)))

    for index in code.range(whole):
        at = index * code.lanes
        for target, gradient in zip(targets, gradients(at), strict=True):
            code.store(narrow(gradient, target.element), target, at)
    with code.when(whole * code.lanes < width):
        at = whole * code.lanes
        for target, gradient in zip(targets, gradients(at), strict=True):
            value = narrow(gradient, target.element).value
            for lane in range(code.lanes - 1):
                with code.when(at + lane < width):
                    place = ir.Constant(ir.IntType(32), lane)
                    target[at + lane] = Scalar(code, code.builder.extract_element(value, place))


def sweep_gradient(code: SimdBuilder, work: Work, grad_scale: Scalar, outputs: tuple[Pointer, ...]) -> None:
    """Write the gradients of the task's slices."""
    layout, memory, halo = work.layout, work.memory, work.layout.halo
    line, planes = memory.line, 2 + work.options.n_grads
    vectors = (work.width + (layout.pad + code.lanes - 1)) // code.lanes
    rows, slices = work.height - halo, work.depth - halo
    for r in code.range(ROWS + halo):
        row, out = work.first_row + (r - halo), memory.filtered + r * line
        with code.branch((row >= 0) & (row < rows)) as (inside, outside):
            with inside:
                sizes = work.first_slice, slices, rows, line
                ring = work.ring + row * line
                _filter_grads_by_depth(code, layout, planes, memory.table, ring, memory.zeros, out, sizes, vectors)
            with outside:
                for k in code.range(4 * DEPTH):
                    for index in code.range(vectors):
                        code.store(code.splat(0), out + (k * (ROWS + halo) * line + index * code.lanes))
    for k in code.range(code.min(work.depth - work.first_slice, DEPTH)):
        source = memory.filtered + k * (4 * (ROWS + halo)) * line
        filter_slice_down(code, layout, memory.table, source, memory.down, line, vectors, planes)
        for row in code.range(code.min(work.height - work.first_row, ROWS)):
            slice = work.first_slice + k
            stage(code, work, slice, work.first_row + row, memory.staged, memory.staged + line)
            at = (slice * work.height + work.first_row + row) * work.width
            targets = tuple(output + at for output in outputs)
            _combine(
                code, layout, memory.table, memory.down + row * line, memory.staged, line, work.width, grad_scale,
                targets,
            )  # fmt: skip
