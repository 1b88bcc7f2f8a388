"""From images to the tile of a block.

Whole blocks are handled as vectors, those that the image ends in pixel by pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .functions import outlined
from .layout import COLUMNS, PART, ROWS, Layout
from .scalars import FLOAT32, FLOAT64, Number, Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector


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

# A sum of weights below this counts as 0: the reciprocal of a smaller one may overflow.
LEAST_WEIGHT = {FLOAT32: 2.0**-100, FLOAT64: 2.0**-900}


def reciprocal(code: SimdBuilder, weight: Any) -> Any:
    """Of a sum of weights; 0 where it counts as 0."""
    one = code.splat(1) if isinstance(weight, Vector) else code.real(1)
    return code.select(weight < LEAST_WEIGHT[code.element], 0, one / weight)


@outlined
def _fetch_rows(
    code: SimdBuilder,
    layout: Layout,
    first: int,
    tile: Pointer,
    x: Image,
    y: Image,
    mask: Image | None,
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
            s, d = sum_and_difference(code, code.load(x_row, at), code.load(y_row, at), scales, (shift_x, shift_y))
            if mask is not None:
                weight = code.load_real(mask.pixels + row * mask.below, at)
                s, d = code.select(weight > 0, s, 0), code.select(weight > 0, d, 0)
                code.store(weight, d_row + layout.tile_plane, at)
            code.store(s, s_row, at)
            code.store(d, d_row, at)


def sum_and_difference(code: SimdBuilder, x: Any, y: Any, scale: Any, shifts: tuple[Any, Any]) -> tuple[Any, Any]:
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
    code: SimdBuilder,
    layout: Layout,
    tile: Pointer,
    s: Image,
    d: Image,
    mask: Image | None,
    rows: Scalar,
    shifts: Pair,
) -> None:
    """Rows of s and d as they are stored, with constants subtracted."""
    if mask is not None:
        for row in code.range(rows):
            source, out = mask.pixels + row * mask.below, tile + (row * layout.line + 2 * layout.tile_plane)
            for at in range(0, COLUMNS, code.lanes):
                code.store(code.load_real(source, at), out, at)
    for image, plane, shift in ((s, 0, shifts[0] + shifts[1]), (d, layout.tile_plane, shifts[0] - shifts[1])):
        constant = code.splat(shift)
        for row in code.range(rows):
            source, out = image.pixels + row * image.below, tile + (row * layout.line + plane)
            for at in range(0, COLUMNS, code.lanes):
                value = code.load(source, at) - constant
                if mask is not None:
                    value = code.select(code.load_real(mask.pixels + row * mask.below, at) > 0, value, 0)
                code.store(value, out, at)


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
    mask: Image | None,
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
    images hold. With a mask, which zeros around the images exclude, s and d are 0 where the weight is.
    """
    tile_s = tile + layout.pad
    tile_d = tile_s + layout.tile_plane
    tile_m = tile_d + layout.tile_plane
    parts = tile_s + inside.top * layout.line, x.at(inside.top, 0), y.at(inside.top, 0), mask, inside.rows
    beside = (inside.left > 0) | (inside.right < columns)
    with code.when((inside.top > 0) | (inside.bottom < rows) | beside):
        _fill_with_zeros(code, layout, tile_s, rows, shifts)
    to_the_end = (x.step == 1) & (y.step == 1) & (inside.right == COLUMNS)
    if mask is not None:
        to_the_end = to_the_end & (mask.step == 1)
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
                        s, d = sum_and_difference(code, a, b, scale, shifts)
                        s = code.select(stored, a - (shifts[0] + shifts[1]), s)
                        d = code.select(stored, b - (shifts[0] - shifts[1]), d)
                        if mask is not None:
                            weight = code.real(mask.at(row, i).pixels[0])
                            s, d = code.select(weight > 0, s, 0), code.select(weight > 0, d, 0)
                            tile_m[row * layout.line + i] = weight
                        tile_s[row * layout.line + i] = s
                        tile_d[row * layout.line + i] = d
    for row in code.range(rows, ROWS + layout.halo):
        for i in code.range(COLUMNS):
            for plane in (tile_s, tile_d, tile_m)[: 2 + layout.masked]:
                plane[row * layout.line + i] = 0


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
def _extremes_of_weights(
    code: SimdBuilder, layout: Layout, weights: Pointer, rows: Scalar, columns: Scalar, room: Pointer
) -> None:
    """The smallest and the largest weight in some rows and columns of a block, a vector each, and 1 and 0."""
    low, high = code.variable(code.splat(1)), code.variable(code.splat(0))
    for at in range(0, COLUMNS, code.lanes):
        there = code.counted(code.integer(at)) < code.real(columns)
        for row in code.range(rows):
            weight = code.load(weights + row * layout.line, at)
            low.set(code.min(low.get(), code.select(there, weight, 1)))
            high.set(code.max(high.get(), code.select(there, weight, 0)))
    code.store(low.get(), room)
    code.store(high.get(), room, code.lanes)


def uniform_weights(
    code: SimdBuilder, layout: Layout, tile: Pointer, rows: Scalar, columns: Scalar, room: Pointer
) -> Pair:
    """Whether all weights in some rows and columns of a block are 1, and whether all are 0."""
    _extremes_of_weights(code, layout, tile + (2 * layout.tile_plane + layout.pad), rows, columns, room)
    low, high = room[0], room[code.lanes]
    for lane in range(1, code.lanes):
        low, high = code.min(low, room[lane]), code.max(high, room[lane + code.lanes])
    return (low == 1) & (high == 1), high == 0


@outlined
def count_visible_repeats(
    code: SimdBuilder, layout: Layout, tile: Pointer, rows: Scalar, columns: Scalar, room: Pointer
) -> None:
    """The same among neighbours that have weight, in the middle row: written to `room`, a vector each."""
    s = tile + layout.pad
    d, weight = s + layout.tile_plane, s + 2 * layout.tile_plane
    equal = compared = code.splat(0)
    row = rows // 2 * layout.line
    for at in range(0, COLUMNS, code.lanes):

        def pair(plane: Pointer, at: int = at) -> tuple[Vector, Vector]:
            return code.load(plane + row, at), code.load(plane + row, at + 1)

        (s_here, s_next), (d_here, d_next), (here, following) = pair(s), pair(d), pair(weight)
        count = code.select(code.counted(code.integer(at)) < code.real(columns - 1), 1, 0)
        count = code.select(here > 0, code.select(following > 0, count, 0), 0)
        compared = compared + count
        equal = equal + code.select(abs(s_here - s_next) + abs(d_here - d_next) > 0, 0, count)
    code.store(equal, room)
    code.store(compared, room, code.lanes)
