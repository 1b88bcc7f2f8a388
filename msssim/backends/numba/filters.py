"""The window as a filter of 16 outputs, and its first use: down the columns of a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .functions import outlined
from .layout import COLUMNS, COPIES, PART, ROWS, Layout
from .scalars import Pointer, Scalar
from .simd import SimdBuilder
from .vectors import Vector, transpose

Weights = Sequence[Callable[[], Vector]]


def write_weights(code: SimdBuilder, layout: Layout, table: Pointer, taps: tuple[Scalar, ...]) -> None:
    """Make the table of weights, from the outermost to the middle one: of the first of two filters, then of the second.

    The first one's middle weight is 1, which saves a multiplication; its place holds the reciprocal of the middle tap.
    The second filter makes up for it.
    """
    middle = taps[-1]
    for k, tap in enumerate(taps):
        pair = (tap if k < len(taps) - 1 else code.real(1)) / middle, tap * middle
        for filter_number, weight in enumerate(pair):
            for i in code.range(COPIES):
                table[i + (filter_number * layout.n_taps + k) * COPIES] = weight


def load_weights(code: SimdBuilder, layout: Layout, table: Pointer, filter_number: int) -> Weights:
    """The weights, each loaded where it is used: registers would hold no more than two beside the window."""
    places = [(filter_number * layout.n_taps + k) * COPIES for k in range(layout.n_taps)]
    held = [code.load(table, place) for place in places[:2]]
    return [lambda vector=vector: vector for vector in held] + [
        lambda place=place: code.load(table, place) for place in places[2:]
    ]


def filter_16(
    code: SimdBuilder,
    weights: Weights,
    load: Callable[[int], Vector],
    put: Callable[[int, Vector], None],
    middle_is_one: bool = False,
    count: int = ROWS,
) -> None:
    """`count` windowed means of the vectors load(0), load(1), ..., each given to put(k, mean) before the next is begun.

    What is stored at once keeps the order of the operations, and with it the window in registers.
    """
    *weights, middle = weights
    half, last = len(weights) // 2 + 1, 2 * len(weights)
    window = [load(k) for k in range(last)]
    for k in range(count):
        window.append(load(last + k))
        # Two sums that do not wait for each other; the first is of small terms.
        far = weights[0]() * (window[0] + window[last])
        for j in range(1, half):
            far = code.fma(weights[j](), window[j] + window[last - j], far)
        near = window[last // 2] if middle_is_one else middle() * window[last // 2]
        for j in range(half, len(weights)):
            near = code.fma(weights[j](), window[j] + window[last - j], near)
        put(k, far + near)
        del window[0]


def load_transposed(code: SimdBuilder, rows: Pointer, at: int) -> list[Vector]:
    """As many vectors as have lanes, from memory, rows and columns exchanged."""
    return transpose(code, [code.load(rows, (at + k) * code.lanes) for k in range(code.lanes)])


@outlined
def filter_down(
    code: SimdBuilder,
    layout: Layout,
    weigh: bool,
    table: Pointer,
    tile: Pointer,
    moments: Pointer,
    rows: Pointer,
    rows_again: Pointer,
    images: tuple[Pointer, ...],
    parts: Scalar,
    steps: tuple[Scalar, ...],
) -> None:
    """From the tile to its moments of s and d; the pixels of the next block are prefetched meanwhile.

    With a mask these are the sums of weight times s, d, s² and d² in the window. s and d are 0 already where the weight
    is, so weights of 0 and 1 need no products: `weigh` is False then.

    `rows` and `rows_again` are one scratch memory under two names. With one name the compiler keeps what is stored in
    registers, which it runs out of.
    """
    weights = load_weights(code, layout, table, 0)
    for index in code.range(parts * (PART // code.lanes)):
        for image, step in zip(images, steps, strict=True):
            _prefetch_rows(code, layout, image, step, index)
        of_pixels = tile + (2 * layout.tile_plane + (index * code.lanes + layout.pad))

        for m in code.range(2):
            pixels = tile + (m * layout.tile_plane + (index * code.lanes + layout.pad))
            for square in (False, True):

                def load(
                    row: int, square: bool = square, pixels: Pointer = pixels, of_pixels: Pointer = of_pixels
                ) -> Vector:
                    value = code.load(pixels, row * layout.line)
                    weighted = value * code.load(of_pixels, row * layout.line) if weigh else value
                    return weighted * value if square else weighted

                out = moments + ((m + 2 * square) * layout.moment_plane + _place(code, layout, index))
                _filter_to(code, weights, load, out, rows, rows_again)


@outlined
def filter_weights_down(
    code: SimdBuilder,
    layout: Layout,
    table: Pointer,
    tile: Pointer,
    moments: Pointer,
    rows: Pointer,
    rows_again: Pointer,
    first: Scalar,
    end: Scalar,
) -> None:
    """The sums of the weights in the window, of columns from one to another: the fifth moment."""
    weights = load_weights(code, layout, table, 0)
    for index in code.range(first // code.lanes, end // code.lanes):
        load = code.loader(tile + (2 * layout.tile_plane + (index * code.lanes + layout.pad)), layout.line)
        out = moments + (4 * layout.moment_plane + _place(code, layout, index))
        _filter_to(code, weights, load, out, rows, rows_again)


def _place(code: SimdBuilder, layout: Layout, index: Scalar) -> Scalar:
    """Where a vector's columns begin in a moment."""
    return index * (code.lanes * ROWS) + layout.halo * ROWS


def _filter_to(
    code: SimdBuilder,
    weights: Weights,
    load: Callable[[int], Vector],
    out: Pointer,
    rows: Pointer,
    rows_again: Pointer,
) -> None:
    filter_16(code, weights, load, code.storer(rows, code.lanes), True)
    for k in range(0, ROWS, code.lanes):
        for j, vector in enumerate(load_transposed(code, rows_again, k)):
            code.store(vector, out, j * ROWS + k)


def _prefetch_rows(code: SimdBuilder, layout: Layout, image: Pointer, step: Scalar, turn: Scalar) -> None:
    """Ask for some rows of the next block, so few that the requests do not queue up."""
    rows = -(-(ROWS + layout.halo) * code.lanes // COLUMNS)
    first = image + (turn * rows * step + COLUMNS)
    for row in range(rows):
        for k in range(0, COLUMNS, 64 // image.element.size):
            code.prefetch(first + (step * row + k))
