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
    """The means of 2 × 2 pixels of a whole block, of s and of d, weighted by a mask."""
    both = [code.splat(shift) for shift in shifts]
    for index in code.range(ROWS // 4):
        for target in targets:
            soon = target + ((index + index) * width + COLUMNS // 2)
            for row in range(2):
                for k in range(0, COLUMNS // 2, 16):
                    code.prefetch(soon + (width * row + k), write=True)
        means: list[list[Vector]] = []
        four = [tile + (index * (4 * layout.line) + k * layout.line) for k in range(4)]
        weights = [row + 2 * layout.tile_plane for row in four] if layout.masked else []
        factors: list[Any] = [0.25] * (COLUMNS // code.lanes)
        coarse_weights = []
        for number in range(len(factors) if layout.masked else 0):
            total = _sum_of_four(code, [code.load(row, number * code.lanes) for row in weights])
            factors[number] = reciprocal(code, total)
            coarse_weights.append(code.select(factors[number] > 0, total * 0.25, 0))
        for plane in range(2):
            rows = [row + plane * layout.tile_plane for row in four]
            means.append([])
            for number, factor in enumerate(factors):
                lines = [code.load(row, number * code.lanes) for row in rows]
                if layout.masked:
                    held = [code.load(row, number * code.lanes) for row in weights]
                    lines = [line * weight for line, weight in zip(lines, held, strict=True)]
                means[-1].append(_sum_of_four(code, lines) * factor)
        results = [[mean + shift for mean in own] for shift, own in zip(both, means, strict=True)]
        results += [coarse_weights] if layout.masked else []
        for target, own in zip(targets, results, strict=True):
            out = target + index * 2 * width
            for number, result in enumerate(own):
                upper, lower = halves(code, result)
                code.store(upper, out, number * code.lanes // 2)
                code.store(lower, out + width, number * code.lanes // 2)


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
) -> None:
    """The part of s and d of the next scale that this block gives, whose rows have `width` pixels.

    Of x and y, the rounding would not be small beside d.
    """
    tile_s = tile + layout.pad
    with code.branch((rows == ROWS) & (columns == COLUMNS)) as (whole, part):
        with whole:
            _halve(code, layout, tile_s, targets, width, shifts)
        with part:
            _halve_partly(code, layout, tile_s, targets, width, (rows, columns), shifts)
