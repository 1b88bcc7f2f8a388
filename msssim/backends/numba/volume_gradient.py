"""From the derivatives of the map of volumes to the gradients of some slices of a strip.

The ring has them filtered along the rows already. They are filtered along the depth, then as those of images.
"""

from __future__ import annotations

from .block_gradient import combine
from .filters import filter_16, load_weights
from .functions import address_of, outlined
from .layout import COLUMNS, PART, ROWS, Layout
from .pixels import Image
from .scalars import Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector
from .volume_records import DEPTH, Work
from .volume_stage import stage

_PARTS = COLUMNS // PART


@outlined
def _filter_by_depth(
    code: SimdBuilder,
    layout: Layout,
    planes: int,
    table: Pointer,
    ring: Pointer,
    zeros: Pointer,
    out: Pointer,
    sizes: tuple[Scalar, ...],
    parts: Scalar,
) -> None:
    """Of a row of the block: the derivatives of the windows that hold the pixels of DEPTH slices.

    They are written as lines of a part of the columns, see combine().
    """
    first, slices, rows, line = sizes
    weights = load_weights(code, layout, table, 2)
    slots = layout.halo + DEPTH
    for m in code.range(planes):
        places = []
        for k in range(slots):
            slice = first + (k - layout.halo)
            slot = (slice + slots) % slots
            inside = (slice >= 0) & (slice < slices)
            places.append(code.select(inside, ring + (m * slots + slot) * rows * line, zeros))
        for part in code.range(parts):
            for index in code.range(PART // code.lanes):
                at = part * PART + index * code.lanes
                target = out + ((part * 4 + m) * layout.lines_plane + index * code.lanes)

                def load(k: int, places: list[Pointer] = places, at: Scalar = at) -> Vector:
                    return code.load(places[k], at)

                def put(k: int, mean: Vector, target: Pointer = target) -> None:
                    code.store(mean, target, k * (_PARTS * 4 * layout.lines_plane))

                filter_16(code, weights, load, put, count=DEPTH)


@outlined
def _clear_row(code: SimdBuilder, layout: Layout, planes: int, out: Pointer, parts: Scalar) -> None:
    """The same where no window holds the pixels."""
    for k in code.range(DEPTH):
        for part in code.range(parts):
            for m in code.range(planes):
                target = out + ((k * _PARTS + part) * 4 + m) * layout.lines_plane
                for at in range(0, PART, code.lanes):
                    code.store(code.splat(0), target, at)


@outlined
def _combine_slice(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    lines: Pointer,
    pixels: Pointer,
    room: Pointer,
    targets: tuple[Pointer, ...],
    parts: Scalar,
    width: Scalar,
    scale: Scalar,
) -> None:
    scales = code.splat(scale)
    for part in code.range(parts):
        for index in code.range(PART // code.lanes):
            at = part * PART + index * code.lanes
            source = lines + (part * (4 * layout.lines_plane) + index * code.lanes)
            weights = load_weights(code, layout, table, 1)
            goals = [target + at for target in targets]
            combine(code, layout, weights, source, pixels + at, room, goals, width, scales)


def sweep_gradient(code: SimdBuilder, work: Work, outputs: tuple[Pointer, ...]) -> None:
    """Write the gradients of the task's slices."""
    layout, memory, halo = work.layout, work.memory, work.layout.halo
    planes = 2 + work.options.n_grads
    rows, slices, line = work.height - halo, work.depth - halo, (work.width + (PART - 1)) // PART * PART
    below = code.min(work.height - work.first_row, ROWS)
    for group in code.range((work.width + (COLUMNS - 1)) // COLUMNS):
        column = group * COLUMNS
        columns = code.min(work.width - column, COLUMNS)
        parts = (columns + (PART - 1)) // PART
        for r in code.range(ROWS + halo):
            row, out = work.first_row + (r - halo), memory.slabs + r * PART
            with code.branch((row >= 0) & (row < rows)) as (inside, outside):
                with inside:
                    sizes, ring = (work.first_slice, slices, rows, line), work.ring + (row * line + column)
                    _filter_by_depth(code, layout, planes, memory.table, ring, memory.zeros, out, sizes, parts)
                with outside:
                    _clear_row(code, layout, planes, out, parts)
        for k in code.range(code.min(work.depth - work.first_slice, DEPTH)):
            at = ((work.first_slice + k) * work.height + work.first_row) * work.width + column
            x, y = (Image(each + at, code.integer(1), work.width) for each in (work.x, work.y))
            stage(code, layout, memory.staged, x, y, (below, columns), work.constants.scale, work.origins)
            whole = (below == ROWS) & (columns % PART == 0)
            buffers = [
                code.pointer(address_of(memory.block + n * ROWS * COLUMNS), output.element)
                for n, output in enumerate(outputs)
            ]
            targets = tuple(
                code.select(whole, output + at, buffer) for output, buffer in zip(outputs, buffers, strict=True)
            )
            _combine_slice(
                code, layout, memory.table, memory.slabs + k * (_PARTS * 4 * layout.lines_plane), memory.staged,
                memory.scratch, targets, parts, code.select(whole, work.width, COLUMNS), work.constants.grad_scale,
            )  # fmt: skip
            with code.when(~whole):
                for r in code.range(below):
                    for i in code.range(columns):
                        for output, buffer in zip(outputs, buffers, strict=True):
                            output[at + r * work.width + i] = buffer[r * COLUMNS + i]
