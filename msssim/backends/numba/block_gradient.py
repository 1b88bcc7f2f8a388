"""What a block leaves to its neighbour at the right, and the way from the derivatives of the map to the gradients."""

from __future__ import annotations

from typing import NamedTuple

from .filters import Weights, filter_16, load_transposed, load_weights
from .functions import outlined
from .layout import COLUMNS, PART, ROWS, Layout
from .scalars import Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector

Change = tuple[Scalar, Scalar]
"""By how much the constants subtracted from s and from d grow from one block to the next."""


@outlined
def move_moments(code: SimdBuilder, layout: Layout, table: Pointer, moments: Pointer, change: Change) -> None:
    """Make the last columns of the block before the first ones, with the constants of this block."""
    middle = load_weights(code, layout, table, 0)[-1]()
    changes = [code.splat(each) for each in change]
    scaled = [each * middle for each in changes]  # the weights of the filter down the columns have that sum
    for index in code.range(layout.halo * ROWS // code.lanes):
        at = moments + index * code.lanes
        for m in range(2):
            mean, square = (code.load(at, COLUMNS * ROWS + k * layout.moment_plane) for k in (m, 2 + m))
            if layout.masked:
                moved = mean - changes[m] * code.load(at, COLUMNS * ROWS + 4 * layout.moment_plane)
            else:
                moved = mean - scaled[m]
            code.store(moved, at, m * layout.moment_plane)
            code.store(square - changes[m] * (mean + moved), at, (2 + m) * layout.moment_plane)
        if layout.masked:
            code.store(code.load(at, COLUMNS * ROWS + 4 * layout.moment_plane), at, 4 * layout.moment_plane)


@outlined
def move_pixels(code: SimdBuilder, layout: Layout, tile: Pointer, change: Change) -> None:
    """Make the last pixels of the block before the padding, with the constants of this block."""
    for m in range(2):
        by = code.splat(change[m])
        for row in code.range(ROWS):
            start = tile + m * layout.tile_plane + row * layout.line
            for at in range(0, layout.pad, code.lanes):
                code.store(code.load(start, at + COLUMNS) - by, start, at)


@outlined
def move_grads(code: SimdBuilder, layout: Layout, n_grads: int, grads: Pointer, change: Change) -> None:
    """Make the last derivatives of the block before the first ones, with the constants of this block."""
    changes = [code.splat(each) for each in change]
    for index in code.range(layout.pad * ROWS // code.lanes):
        at = grads + index * code.lanes
        last = [code.load(at, COLUMNS * ROWS + m * layout.grad_plane) for m in range(2 + n_grads)]
        for m, grad in enumerate(rebase_grads(last, changes)):
            code.store(grad, at, m * layout.grad_plane)


def rebase_grads(grads: list[Vector], change: list[Vector]) -> tuple[Vector, ...]:
    """A vector of each derivative as if constants greater by `change` had been subtracted from s and d."""
    by_s, by_d, *through = grads
    of_s, of_d = change[0] * by_s, change[1] * by_d
    return by_s, by_d, *(each + moved for each, moved in zip(through, (of_s + of_d, of_s - of_d), strict=False))


class Extent(NamedTuple):
    """Where the gradients of a block go."""

    first: Scalar
    """The first part of the columns."""
    end: Scalar
    """The part after the last."""
    own: Scalar
    """Whether the rows are the strip's own; else they only carry derivatives to the rows below."""
    width: Scalar
    """The numbers from one row of the gradient to the next."""


@outlined
def filter_grads(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    grads: Pointer,
    carry: Pointer,
    tile: Pointer,
    lines: Pointer,
    rows_again: Pointer,
    targets: tuple[Pointer, ...],
    extent: Extent,
    change: Change,
    scale: Scalar,
) -> None:
    """From the derivatives of the map to the gradients.

    They are what comes through the means, and pixel times what comes through the squares. `carry` has the last lines
    of the block above, and is given those of this block. The scratch memory has two names, `lines` and `rows_again`,
    for the reason given at filter_down().
    """
    planes = 2 + len(targets)
    changes, scales = [code.splat(each) for each in change], code.splat(scale)
    room = lines + planes * layout.lines_plane
    for part in code.range(extent.first, extent.end):
        for target in targets:
            next_part = target + (part * PART + PART)
            for row in range(ROWS):
                code.prefetch(next_part + extent.width * row, write=True)
        mine = carry + part * (planes * layout.carry_plane)
        for index in code.range(layout.carry_plane // code.lanes):
            source, out = (each + index * code.lanes for each in (mine, lines))
            carried = [code.load(source, m * layout.carry_plane) for m in range(planes)]
            for number, grad in enumerate(rebase_grads(carried, changes)):
                code.store(grad, out, number * layout.lines_plane)
        filter_grads_along(code, layout, table, grads + part * (PART * ROWS), lines, room, rows_again, planes)
        for m in code.range(planes):
            source = lines + (m * layout.lines_plane + ROWS * PART)
            out = mine + m * layout.carry_plane
            for index in code.range(layout.carry_plane // code.lanes):
                at = index * code.lanes
                code.store(code.load(source + at), out + at)
        with code.when(extent.own):
            for index in code.range(PART // code.lanes):
                at = part * PART + index * code.lanes
                source = lines + index * code.lanes
                goals = [target + at for target in targets]
                weights = load_weights(code, layout, table, 1)
                combine(code, layout, weights, source, tile + at, room, goals, extent.width, scales)


def filter_grads_along(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    grads: Pointer,
    lines: Pointer,
    rows: Pointer,
    rows_again: Pointer,
    planes: int,
) -> None:
    """Filter the derivatives of a part of the columns along the rows, as lines below those that are there."""
    weights = load_weights(code, layout, table, 0)
    for m in code.range(planes):
        for k in code.range(ROWS // code.lanes):
            source = grads + (m * layout.grad_plane + k * code.lanes)
            out = lines + (m * layout.lines_plane + (k * (code.lanes * PART) + layout.carry_plane))
            filter_16(code, weights, code.loader(source, ROWS), code.storer(rows, code.lanes), True)
            for j in range(0, PART, code.lanes):
                for i, row in enumerate(load_transposed(code, rows_again, j)):
                    code.store(row, out, i * PART + j)


def combine(
    code: SimdBuilder,
    layout: Layout,
    weights: Weights,
    lines: Pointer,
    pixels: Pointer,
    room: Pointer,
    goals: list[Pointer],
    width: Scalar,
    scale: Vector,
) -> None:
    """One vector's width of the gradients, from the lines, which are filtered down the columns."""
    for m in code.range(2):
        source, pixel = lines + m * layout.lines_plane, pixels + m * layout.tile_plane
        through = room + m * (ROWS * code.lanes)

        def multiply(k: int, mean: Vector, pixel: Pointer = pixel, through: Pointer = through) -> None:
            code.store(mean * code.load(pixel, k * layout.line), through, k * code.lanes)

        filter_16(code, weights, code.loader(source, PART), multiply)
    for number, goal in enumerate(goals):

        def finish(k: int, mean: Vector, number: int = number, goal: Pointer = goal) -> None:
            of_s, of_d = (code.load(room, (n * ROWS + k) * code.lanes) for n in range(2))
            found = scale * (mean + (of_s - of_d if number else of_s + of_d))
            code.store_narrow(found, goal, width * k)

        filter_16(code, weights, code.loader(lines + (2 + number) * layout.lines_plane, PART), finish)
