"""From images to the tile of a block, and from the tile to the next scale's pixels.

Whole blocks are handled as vectors, those that the image ends in pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...window import FARTHEST
from .functions import outlined
from .layout import COLUMNS, ROWS, Layout
from .scalars import Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector, halves, unzip


class Image(NamedTuple):
    """A plane of an image, or a part of it."""

    pixels: Pointer
    step: Scalar
    """Pixels from one column to the next."""
    below: Scalar
    """Pixels from one row to the next."""

    def at(self, row: Scalar, column: Scalar) -> Image:
        """The part that begins there."""
        return self._replace(pixels=self.pixels + (row * self.below + column * self.step))


Pair = tuple[Scalar, Scalar]


@outlined
def _fetch_rows(
    code: SimdBuilder, layout: Layout, tile: Pointer, x: Image, y: Image, rows: Scalar, scale: Scalar, shifts: Pair
) -> None:
    """Rows of pixels of both images as s and d: scaled, and with constants subtracted."""
    scales, shift_x, shift_y = (code.splat(each) for each in (scale, *shifts))
    for row in code.range(rows):
        x_row, y_row = x.pixels + row * x.below, y.pixels + row * y.below
        s_row = tile + row * layout.line
        d_row = s_row + layout.tile_plane
        for at in range(0, COLUMNS, code.lanes):
            a = code.fma(code.load(x_row, at), scales, -shift_x)
            b = code.fma(code.load(y_row, at), scales, -shift_y)
            code.store(a + b, s_row, at)
            code.store(a - b, d_row, at)


def fetch(
    code: SimdBuilder,
    layout: Layout,
    x: Image,
    y: Image,
    rows: Scalar,
    count: Scalar,
    scale: Scalar,
    shifts: Pair,
    tile: Pointer,
) -> None:
    """A block of `rows` rows and `count` columns of both images, with the shifts subtracted."""
    tile_s = tile + layout.pad
    tile_d = tile_s + layout.tile_plane
    with code.branch((x.step == 1) & (y.step == 1) & (count == COLUMNS)) as (whole, part):
        with whole:
            _fetch_rows(code, layout, tile_s, x, y, rows, scale, shifts)
        with part:
            for row in code.range(rows):
                x_row, y_row = x.pixels + row * x.below, y.pixels + row * y.below
                for i in code.range(count):
                    a = x_row[i * x.step] * scale - shifts[0]
                    b = y_row[i * y.step] * scale - shifts[1]
                    tile_s[row * layout.line + i] = a + b
                    tile_d[row * layout.line + i] = a - b
    for row in code.range(rows, ROWS + layout.halo):
        for i in code.range(COLUMNS):
            tile_s[row * layout.line + i] = 0
            tile_d[row * layout.line + i] = 0


def _mean_near(
    code: SimdBuilder,
    image: Image,
    samples: tuple[int, int],
    place: Callable[[Scalar, Scalar], tuple[Scalar, Scalar]],
    scale: Scalar,
) -> Scalar:
    """The mean of samples that are within an image's range, or of all where none is, as a multiple of 1/128.

    That leaves the pixels of 8-bit images as exact as they were.
    """
    total, near = (code.variable(code.real(0)) for _ in range(2))
    found = code.variable(0)
    for i in code.range(samples[0]):
        for j in code.range(samples[1]):
            value = image.at(*place(i, j)).pixels[0] * scale
            total.set(total.get() + value)
            inside = abs(value) <= FARTHEST
            near.set(code.select(inside, near.get() + value, near.get()))
            found.set(found.get() + inside)
    number, n_samples = found.get(), samples[0] * samples[1]
    some = (number > 0) & (number < n_samples)
    mean = code.select(some, near.get() / code.real(number), total.get() / n_samples)
    rounded: Scalar = code.intrinsic("llvm.floor", mean * 128 + 0.5) / 128
    return rounded


def near_means(code: SimdBuilder, x: Image, y: Image, rows: Scalar, count: Scalar, scale: Scalar) -> Pair:
    """The constants to subtract from the pixels of a block: near the means of some of its pixels."""

    def place(i: Scalar, j: Scalar) -> tuple[Scalar, Scalar]:
        return (rows - 1) * (2 * i + j % 2) // 3, (count - 1) * j // 3

    return _mean_near(code, x, (2, 4), place, scale), _mean_near(code, y, (2, 4), place, scale)


def origin(code: SimdBuilder, image: Image, height: Scalar, width: Scalar, scale: Scalar) -> Scalar:
    """A constant near the mean of a plane. The pixels of coarse scales, flatter, are stored with it subtracted."""

    def place(i: Scalar, j: Scalar) -> tuple[Scalar, Scalar]:
        return (2 * i + 1) * height // 8, (2 * j + 1) * width // 8

    return _mean_near(code, image, (4, 4), place, scale)


def count_repeats(code: SimdBuilder, layout: Layout, tile: Pointer, rows: Scalar, columns: Scalar) -> Pair:
    """How many of the pixels in some rows of a block equal their right neighbour in both images, and of how many."""
    s = tile + layout.pad
    d = s + layout.tile_plane
    equal = code.variable(0)
    for quarter in code.range(1, 4, 2):
        first = rows * quarter // 4 * layout.line
        for i in code.range(first, first + columns - 1):
            equal.set(equal.get() + ((s[i] == s[i + 1]) & (d[i] == d[i + 1])))
    return equal.get(), (columns - 1) * 2


@outlined
def _halve(
    code: SimdBuilder, layout: Layout, tile: Pointer, targets: tuple[Pointer, Pointer], width: Scalar, shifts: Pair
) -> None:
    """The means of 2 × 2 pixels of a whole block, of x and of y."""
    both = [code.splat(shift) for shift in shifts]
    for index in code.range(ROWS // 4):
        for target in targets:
            soon = target + ((index + index) * width + COLUMNS // 2)
            for row in range(2):
                for k in range(0, COLUMNS // 2, 16):
                    code.prefetch(soon + (width * row + k), write=True)
        means: list[list[Vector]] = []
        for plane in (tile, tile + layout.tile_plane):
            rows = [plane + (index * (4 * layout.line) + k * layout.line) for k in range(4)]
            means.append([])
            for at in range(0, COLUMNS, code.lanes):
                lines = [code.load(row, at) for row in rows]
                even, odd = unzip(code, lines[0] + lines[1], lines[2] + lines[3])
                means[-1].append((even + odd) * 0.125)
        for target, shift, sign in zip(targets, both, (1, -1), strict=True):
            out = target + index * 2 * width
            for number, (s, d) in enumerate(zip(*means, strict=True)):
                upper, lower = halves(code, (s + d if sign > 0 else s - d) + shift)
                code.store(upper, out, number * code.lanes // 2)
                code.store(lower, out + width, number * code.lanes // 2)


@outlined
def _halve_partly(
    code: SimdBuilder,
    layout: Layout,
    tile_s: Pointer,
    targets: tuple[Pointer, Pointer],
    width: Scalar,
    extent: Pair,
    shifts: Pair,
) -> None:
    """The means of 2 × 2 pixels, on an odd side of those that exist."""
    tile_d, (out_x, out_y), (rows, columns) = tile_s + layout.tile_plane, targets, extent
    for row in code.range(0, rows, 2):
        upper, lower = row * layout.line, code.select(row + 1 < rows, row + 1, row) * layout.line
        for j in code.range(0, columns, 2):
            k = code.min(j + 1, columns - 1)
            s = ((tile_s[upper + j] + tile_s[upper + k]) + (tile_s[lower + j] + tile_s[lower + k])) * 0.125
            d = ((tile_d[upper + j] + tile_d[upper + k]) + (tile_d[lower + j] + tile_d[lower + k])) * 0.125
            out_x[row // 2 * width + j // 2] = (s + d) + shifts[0]
            out_y[row // 2 * width + j // 2] = (s - d) + shifts[1]


def downsample(
    code: SimdBuilder,
    layout: Layout,
    tile: Pointer,
    targets: tuple[Pointer, Pointer],
    width: Scalar,
    rows: Scalar,
    columns: Scalar,
    shifts: Pair,
) -> None:
    """The block's share of the next scale, whose rows have `width` pixels."""
    tile_s = tile + layout.pad
    with code.branch((rows == ROWS) & (columns == COLUMNS)) as (whole, part):
        with whole:
            _halve(code, layout, tile_s, targets, width, shifts)
        with part:
            _halve_partly(code, layout, tile_s, targets, width, (rows, columns), shifts)
