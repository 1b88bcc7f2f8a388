"""From a strip of some slices of two volumes to the map: its sum and its derivatives."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .filters import filter_16, load_weights
from .functions import outlined
from .layout import ROWS, Layout
from .scalars import F64, Pointer, Scalar
from .simd import SimdBuilder
from .similarity import Constants, Derivatives, guarded, usual
from .vectors import Vector
from .volume_records import DEPTH, Work
from .work import PlaneConstants


def double(code: SimdBuilder, value: Vector) -> Vector:
    kind = ir.VectorType(F64, code.lanes)
    return value if value.value.type == kind else Vector(code, code.builder.fpext(value.value, kind))


def stage(code: SimdBuilder, work: Work, slice: Scalar, row: Scalar, s_row: Pointer, d_row: Pointer) -> None:
    """Read a row of both volumes as s and d, with the shifts subtracted."""
    at = (slice * work.height + row) * work.width
    _stage_row(code, work.x + at, work.y + at, work.width, work.scale, work.shifts, s_row, d_row)


@outlined
def _stage_row(
    code: SimdBuilder,
    x: Pointer,
    y: Pointer,
    width: Scalar,
    scale: Scalar,
    shifts: tuple[Scalar, Scalar],
    s_row: Pointer,
    d_row: Pointer,
) -> None:
    shift_x, shift_y = (code.splat(each) for each in shifts)
    whole = width // code.lanes
    for index in code.range(whole):
        at = index * code.lanes
        a, b = (double(code, code.load(each, at)) for each in (x, y))
        a, b = code.fma(a, scale, -shift_x), code.fma(b, scale, -shift_y)
        code.store(a + b, s_row, at)
        code.store(a - b, d_row, at)
    for i in code.range(whole * code.lanes, width):
        one, other = code.real(x[i]) * scale - shifts[0], code.real(y[i]) * scale - shifts[1]
        s_row[i] = one + other
        d_row[i] = one - other


@outlined
def _filter_pixels_by_depth(
    code: SimdBuilder, layout: Layout, table: Pointer, staged: Pointer, out: Pointer, line: Scalar, vectors: Scalar
) -> None:
    """Of a row of the strip: the four moments of DEPTH slices."""
    weights = load_weights(code, layout, table, 0)
    rows = (ROWS + layout.halo) * line
    for m in code.range(2):
        for index in code.range(vectors):
            at = index * code.lanes
            source, target = staged + (m * line + at), out + (m * rows + at)
            for square in (False, True):

                def load(k: int, square: bool = square, source: Pointer = source) -> Vector:
                    value = code.load(source, line * (2 * k))
                    return value * value if square else value

                def put(k: int, mean: Vector, square: bool = square, target: Pointer = target) -> None:
                    code.store(mean, target, rows * (4 * k + 2 * square))

                filter_16(code, weights, load, put, count=DEPTH)


@outlined
def filter_slice_down(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    source: Pointer,
    out: Pointer,
    line: Scalar,
    vectors: Scalar,
    planes: int,
) -> None:
    """Of a slice of the strip: the rows filtered down the columns."""
    weights = load_weights(code, layout, table, 0)
    for m in code.range(planes):
        for index in code.range(vectors):
            at = index * code.lanes
            rows, target = source + (m * (ROWS + layout.halo) * line + at), out + (m * ROWS * line + at)

            def load(k: int, rows: Pointer = rows) -> Vector:
                return code.load(rows, line * k)

            def put(k: int, mean: Vector, target: Pointer = target) -> None:
                code.store(mean, target, line * k)

            filter_16(code, weights, load, put)


def filter_along(code: SimdBuilder, weights: Any, source: Pointer) -> Vector:
    """One windowed mean along a row: a vector of them."""
    found: list[Vector] = []
    filter_16(code, weights, lambda k: code.load(source, k), lambda _, mean: found.append(mean), count=1)
    return found[0]


@outlined
def _map(
    code: SimdBuilder,
    layout: Layout,
    kind: Derivatives,
    table: Pointer,
    down: Pointer,
    line: Scalar,
    extent: tuple[Scalar, Scalar],
    constants: Constants,
    sums: Pointer,
    ring: tuple[Pointer, Scalar],
) -> None:
    """From the moments of a slice of the strip to its part of the map: its sum and derivatives."""
    rows, columns = extent
    constants = Constants._make(code.splat(each) for each in constants)
    weights = load_weights(code, layout, table, 0)
    for row in code.range(rows):
        total = code.variable(code.splat(0))
        for index in code.range((columns + (code.lanes - 1)) // code.lanes):
            at = index * code.lanes
            here = [filter_along(code, weights, down + ((row + m * ROWS) * line + at)) for m in range(4)]
            there = code.counted(at) < code.real(columns)
            found = (guarded if kind.guard_zero_div else usual)(code, here, constants, kind, there)
            total.set(total.get() + code.select(there, found.value, 0))
            out, plane = ring
            for number, grad in enumerate(found.grads):
                target = out + (row * line + at + layout.pad + plane * number)
                code.store(code.select(there, grad, 0), target)
        code.store(code.load(sums) + total.get(), sums)


def sweep_map(code: SimdBuilder, work: Work, last: Scalar, table: PlaneConstants, sums: Pointer) -> None:
    """Compute the map of the task's slices."""
    layout, memory, halo = work.layout, work.memory, work.layout.halo
    vectors, line = (work.width + (code.lanes - 1)) // code.lanes, memory.line
    for r in code.range(ROWS + halo):
        row = code.min(work.first_row + r, work.height - 1)
        for k in code.range(halo + DEPTH):
            slice = code.min(work.first_slice + k, work.depth - 1)
            s_row = memory.staged + k * 2 * line
            stage(code, work, slice, row, s_row, s_row + line)
        _filter_pixels_by_depth(code, layout, memory.table, memory.staged, memory.filtered + r * line, line, vectors)
    rows, columns = work.height - halo, work.width - halo
    shift_x, shift_y = work.shifts
    squares = shift_x * shift_x + shift_y * shift_y
    numbers = Constants(*table[1:8], shift_x + shift_y, shift_x - shift_y, squares + squares, code.real(0))
    extent = code.min(rows - work.first_row, ROWS), columns
    for k in code.range(code.min(work.depth - halo - work.first_slice, DEPTH)):
        source = memory.filtered + k * (4 * (ROWS + halo)) * line
        filter_slice_down(code, layout, memory.table, source, memory.down, line, vectors, 4)
        slot = (work.first_slice + k) % (halo + DEPTH)
        ring = work.ring + (slot * rows + work.first_row) * line, rows * line * (halo + DEPTH)
        with code.branch(last) as branches:
            for inside, luminance in zip(branches, (True, False), strict=True):
                with inside:
                    kind = Derivatives(luminance, *work.options)
                    _map(code, layout, kind, memory.table, memory.down, line, extent, numbers, sums, ring)
