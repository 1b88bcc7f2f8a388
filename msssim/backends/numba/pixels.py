"""From images to the tile of a block, and from the tile to the next scale's pixels.

Whole blocks are handled as vectors, those that the image ends in pixel by pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .functions import outlined
from .layout import COLUMNS, PART, ROWS, Layout
from .scalars import FLOAT32, Number, Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector, halves, unzip


class Image(NamedTuple):
    """A plane of an image, or a part of it."""

    pixels: Pointer
    step: Scalar
    """Pixels from one column to the next."""
    below: Scalar
    """Pixels from one row to the next."""

    def at(self, row: Scalar, column: Number) -> Image:
        """The part that begins there."""
        return self._replace(pixels=self.pixels + (row * self.below + self.step * column))


class Inside(NamedTuple):
    """Which rows and columns of a block are pixels of an image."""

    top: Scalar
    bottom: Scalar
    left: Scalar
    """0, or PART where there are zeros at the left."""
    right: Scalar

    @property
    def rows(self) -> Scalar:
        """How many."""
        return self.bottom - self.top

    @property
    def columns(self) -> Scalar:
        """How many."""
        return self.right - self.left


Pair = tuple[Scalar, Scalar]


@outlined
def _fetch_rows(
    code: SimdBuilder,
    layout: Layout,
    first: int,
    tile: Pointer,
    x: Image,
    y: Image,
    rows: Scalar,
    scale: Scalar,
    shifts: Pair,
) -> None:
    """Rows of pixels of both images as s and d: scaled, and with constants subtracted; from the first column on."""
    scales, shift_x, shift_y = (code.splat(each) for each in (scale, *shifts))
    for row in code.range(rows):
        x_row, y_row = x.pixels + row * x.below, y.pixels + row * y.below
        s_row = tile + row * layout.line
        d_row = s_row + layout.tile_plane
        for at in range(first, COLUMNS, code.lanes):
            s, d = _sum_and_difference(code, code.load(x_row, at), code.load(y_row, at), scales, (shift_x, shift_y))
            code.store(s, s_row, at)
            code.store(d, d_row, at)


def _sum_and_difference(code: SimdBuilder, x: Any, y: Any, scale: Any, shifts: tuple[Any, Any]) -> tuple[Any, Any]:
    """The sum s and the difference d of scaled pixels, with constants subtracted.

    In float32 x - y is computed first. It is exact where x and y are nearly equal, and beside it the rounding of x less
    a constant would not be small. In float64 it is not needed, and might overflow.
    """

    def scaled(value: Any, shift: Any) -> Any:
        return code.fma(value, scale, -shift) if isinstance(value, Vector) else value * scale - shift

    if code.element == FLOAT32:
        return scaled(x + y, shifts[0] + shifts[1]), scaled(x - y, shifts[0] - shifts[1])
    a, b = scaled(x, shifts[0]), scaled(y, shifts[1])
    return a + b, a - b


@outlined
def _fetch_stored(
    code: SimdBuilder, layout: Layout, tile: Pointer, s: Image, d: Image, rows: Scalar, shifts: Pair
) -> None:
    """Rows of s and d as they are stored, with constants subtracted."""
    for image, plane, shift in ((s, 0, shifts[0] + shifts[1]), (d, layout.tile_plane, shifts[0] - shifts[1])):
        constant = code.splat(shift)
        for row in code.range(rows):
            source, out = image.pixels + row * image.below, tile + (row * layout.line + plane)
            for at in range(0, COLUMNS, code.lanes):
                code.store(code.load(source, at) - constant, out, at)


@outlined
def _fill_with_zeros(code: SimdBuilder, layout: Layout, tile: Pointer, rows: Scalar, shifts: Pair) -> None:
    """Rows of pixels that are 0, as s and d with constants subtracted."""
    for plane, shift in ((0, shifts[0] + shifts[1]), (layout.tile_plane, shifts[0] - shifts[1])):
        zero = code.splat(-shift)
        for row in code.range(rows):
            for at in range(0, COLUMNS, code.lanes):
                code.store(zero, tile + (row * layout.line + plane), at)


def fetch(
    code: SimdBuilder,
    layout: Layout,
    x: Image,
    y: Image,
    inside: Inside,
    rows: Scalar,
    columns: Scalar,
    scale: Scalar,
    shifts: Pair,
    tile: Pointer,
    stored: Scalar,
) -> None:
    """A block of both images as s and d, with the shifts subtracted; around the images there are zeros.

    Beyond the first `rows` rows and `columns` columns nothing counts. Where `stored` is true, s and d are what the
    images hold.
    """
    tile_s = tile + layout.pad
    tile_d = tile_s + layout.tile_plane
    parts = tile_s + inside.top * layout.line, x.at(inside.top, 0), y.at(inside.top, 0), inside.rows
    beside = (inside.left > 0) | (inside.right < columns)
    with code.when((inside.top > 0) | (inside.bottom < rows) | beside):
        _fill_with_zeros(code, layout, tile_s, rows, shifts)
    to_the_end = (x.step == 1) & (y.step == 1) & (inside.right == COLUMNS)
    with code.branch(to_the_end & (inside.left == 0)) as (whole, others):
        with whole, code.branch(stored) as (as_stored, of_images):
            with as_stored:
                _fetch_stored(code, layout, *parts, shifts)
            with of_images:
                _fetch_rows(code, layout, 0, *parts, scale, shifts)
        with others, code.branch(to_the_end) as (after_zeros, part):
            with after_zeros:  # there is one scale: nothing is stored
                _fetch_rows(code, layout, PART, *parts, scale, shifts)
            with part:
                for row in code.range(inside.top, inside.bottom):
                    x_row, y_row = x.pixels + row * x.below, y.pixels + row * y.below
                    for i in code.range(inside.left, inside.right):
                        a, b = x_row[i * x.step], y_row[i * y.step]
                        s, d = _sum_and_difference(code, a, b, scale, shifts)
                        tile_s[row * layout.line + i] = code.select(stored, a - (shifts[0] + shifts[1]), s)
                        tile_d[row * layout.line + i] = code.select(stored, b - (shifts[0] - shifts[1]), d)
    for row in code.range(rows, ROWS + layout.halo):
        for i in code.range(COLUMNS):
            tile_s[row * layout.line + i] = 0
            tile_d[row * layout.line + i] = 0


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
    """The means of 2 × 2 pixels of a whole block, of s and of d."""
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
                means[-1].append((even + odd) * 0.25)
        for target, shift, own in zip(targets, both, means, strict=True):
            out = target + index * 2 * width
            for number, mean in enumerate(own):
                upper, lower = halves(code, mean + shift)
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
    tile_d, (out_s, out_d), (rows, columns) = tile_s + layout.tile_plane, targets, extent
    for row in code.range(0, rows, 2):
        upper, lower = row * layout.line, code.select(row + 1 < rows, row + 1, row) * layout.line
        for j in code.range(0, columns, 2):
            k = code.min(j + 1, columns - 1)
            s = ((tile_s[upper + j] + tile_s[upper + k]) + (tile_s[lower + j] + tile_s[lower + k])) * 0.25
            d = ((tile_d[upper + j] + tile_d[upper + k]) + (tile_d[lower + j] + tile_d[lower + k])) * 0.25
            out_s[row // 2 * width + j // 2] = s + shifts[0]
            out_d[row // 2 * width + j // 2] = d + shifts[1]


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
    """The part of s and d of the next scale that this block gives, whose rows have `width` pixels.

    Of x and y, the rounding would not be small beside d.
    """
    tile_s = tile + layout.pad
    with code.branch((rows == ROWS) & (columns == COLUMNS)) as (whole, part):
        with whole:
            _halve(code, layout, tile_s, targets, width, shifts)
        with part:
            _halve_partly(code, layout, tile_s, targets, width, (rows, columns), shifts)
