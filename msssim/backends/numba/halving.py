"""From the tile of a block to the pixels of the next scale.

Whole blocks are handled as vectors, those that the image ends in pixel by pixel.
"""

from __future__ import annotations

from typing import Any

from .functions import outlined
from .layout import COLUMNS, ROWS, Layout
from .pixels import Pair, reciprocal
from .scalars import Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector, halves, unzip


def _sum_of_four(code: SimdBuilder, lines: list[Vector]) -> Vector:
    """The sums of 2 × 2 numbers, of two rows and of the two rows below."""
    even, odd = unzip(code, lines[0] + lines[1], lines[2] + lines[3])
    return even + odd


@outlined
def _halve(
    code: SimdBuilder, layout: Layout, tile: Pointer, targets: tuple[Pointer, ...], width: Scalar, shifts: Pair
) -> None:
    """The means of 2 × 2 pixels of a whole block, of s and of d."""
    both = [code.splat(shift) for shift in shifts]
    for index in code.range(ROWS // 4):
        _prefetch_targets(code, targets, width, index)
        four = [tile + (index * (4 * layout.line) + k * layout.line) for k in range(4)]
        for plane, (target, shift) in enumerate(zip(targets, both, strict=True)):
            rows, out = [row + plane * layout.tile_plane for row in four], target + index * 2 * width
            for number in range(COLUMNS // code.lanes):
                total = _sum_of_four(code, [code.load(row, number * code.lanes) for row in rows])
                _store_halves(code, total * 0.25 + shift, out + number * (code.lanes // 2), width)


@outlined
def _halve_weighted(
    code: SimdBuilder,
    layout: Layout,
    weigh: bool,
    tile: Pointer,
    targets: tuple[Pointer, ...],
    width: Scalar,
    shifts: Pair,
) -> None:
    """The weighted means of 2 × 2 pixels of a whole block, of s and of d, and the means of their weights.

    Weights of 0 and 1 need no products: s and d are 0 already where the weight is.
    """
    both = [code.splat(shift) for shift in shifts]
    for index in code.range(ROWS // 4):
        _prefetch_targets(code, targets, width, index)
        for number in code.range(COLUMNS // code.lanes):
            first = tile + (index * (4 * layout.line) + number * code.lanes)
            planes = [
                [code.load(first, k * layout.line + plane * layout.tile_plane) for k in range(4)] for plane in range(3)
            ]
            weights = planes.pop()
            total = _sum_of_four(code, weights)
            factor = reciprocal(code, total)
            results = []
            for lines, shift in zip(planes, both, strict=True):
                if weigh:
                    lines = [line * weight for line, weight in zip(lines, weights, strict=True)]
                results.append(_sum_of_four(code, lines) * factor + shift)
            results.append(code.select(factor > 0, total * 0.25, 0))
            for target, result in zip(targets, results, strict=True):
                _store_halves(code, result, target + (index * 2 * width + number * (code.lanes // 2)), width)


def _prefetch_targets(code: SimdBuilder, targets: tuple[Pointer, ...], width: Scalar, index: Scalar) -> None:
    """Ask for the memory that the next block's turn writes to."""
    for target in targets:
        soon = target + ((index + index) * width + COLUMNS // 2)
        for row in range(2):
            for k in range(0, COLUMNS // 2, 16):
                code.prefetch(soon + (width * row + k), write=True)


def _store_halves(code: SimdBuilder, result: Vector, out: Pointer, width: Scalar) -> None:
    """Store a result of four rows: its first half is a row, and its second half the row below."""
    upper, lower = halves(code, result)
    code.store(upper, out)
    code.store(lower, out + width)


@outlined
def _fill_with_ones(code: SimdBuilder, target: Pointer, width: Scalar) -> None:
    """The weights of the next scale below a whole block whose weights are 1."""
    for row in code.range(ROWS // 2):
        for at in range(0, COLUMNS // 2, code.lanes):
            code.store(code.splat(1), target + row * width, at)


@outlined
def _halve_partly(
    code: SimdBuilder,
    layout: Layout,
    tile_s: Pointer,
    targets: tuple[Pointer, ...],
    width: Scalar,
    extent: Pair,
    shifts: Pair,
) -> None:
    """The means of 2 × 2 pixels, on an odd side of those that exist."""
    rows, columns = extent
    for row in code.range(0, rows, 2):
        upper, lower = row * layout.line, code.select(row + 1 < rows, row + 1, row) * layout.line
        for j in code.range(0, columns, 2):
            k = code.min(j + 1, columns - 1)
            places = upper + j, upper + k, lower + j, lower + k
            weights = [tile_s[place + 2 * layout.tile_plane] for place in places] if layout.masked else []
            factor: Any = 0.25
            if weights:
                total = (weights[0] + weights[1]) + (weights[2] + weights[3])
                factor = reciprocal(code, total)
                targets[2][row // 2 * width + j // 2] = code.select(factor > 0, total * 0.25, 0)
            for plane, (out, shift) in enumerate(zip(targets, shifts, strict=False)):
                values = [tile_s[place + plane * layout.tile_plane] for place in places]
                if weights:
                    values = [value * weight for value, weight in zip(values, weights, strict=True)]
                mean = ((values[0] + values[1]) + (values[2] + values[3])) * factor
                out[row // 2 * width + j // 2] = mean + shift


def downsample(
    code: SimdBuilder,
    layout: Layout,
    tile: Pointer,
    targets: tuple[Pointer, ...],
    width: Scalar,
    rows: Scalar,
    columns: Scalar,
    shifts: Pair,
    visible: Scalar | None,
    weigh: bool,
) -> None:
    """The part of s and d of the next scale that this block gives, whose rows have `width` pixels.

    Of x and y, the rounding would not be small beside d. `visible` is whether all weights of a mask
    are 1, `weigh` whether they may be other numbers than 0 and 1.
    """
    tile_s = tile + layout.pad
    with code.branch((rows == ROWS) & (columns == COLUMNS)) as (whole, part):
        with whole:
            if visible is None:
                _halve(code, layout, tile_s, targets, width, shifts)
            else:
                with code.branch(visible) as (plain, weighted):
                    with plain:
                        _halve(code, layout, tile_s, targets[:2], width, shifts)
                        _fill_with_ones(code, targets[2], width)
                    with weighted:
                        _halve_weighted(code, layout, weigh, tile_s, targets, width, shifts)
        with part:
            _halve_partly(code, layout, tile_s, targets, width, (rows, columns), shifts)
