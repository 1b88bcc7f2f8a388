"""What a strip is swept with: records of what is known when code is written and of numbers at run time."""

from __future__ import annotations

from typing import Any, NamedTuple

from .block_gradient import Change
from .layout import COLUMNS, COPIES, ROWS, Layout
from .pixels import Image, Inside
from .scalars import Field, Number, Pointer, Scalar


class PlaneConstants(NamedTuple):
    """What a plane is computed with: a row of a table of float64."""

    scale: Field
    """What pixels are multiplied by, to be in working units."""
    c1: Field
    c2: Field
    eps: Field
    floor: Field
    zero: Field
    eps_l: Field
    eps_cs: Field
    """For these seven see similarity.Constants."""
    grad_scale: Field
    """What gradients are multiplied by."""


class Options(NamedTuple):
    """What code is made for."""

    n_grads: int
    """How many images have a gradient."""
    guard_zero_div: bool
    """Whether a denominator may be zero, which C1 and C2 usually rule out, or a product overflow."""


class Memory(NamedTuple):
    """A thread's own memory."""

    table: Pointer
    tile: Pointer
    moments: Pointer
    scratch: Pointer
    grads: Pointer
    block: Pointer
    carry: Pointer
    shifts: Pointer
    """The constants of the blocks above."""


class Targets(NamedTuple):
    """Where the results of a plane at one scale go."""

    coarse: tuple[Pointer, ...]
    """The next scale's s, d and, with a mask, weights."""
    gradients: tuple[Pointer, ...]


class Strip(NamedTuple):
    """Rows of a plane at one scale."""

    top: Scalar
    bottom: Scalar
    height: Scalar
    """Of the image."""
    width: Scalar
    last: Scalar
    """Whether the scale is the coarsest."""
    stored: Scalar
    """Whether s and d are given for x and y, as at all scales but the finest."""
    border: Scalar
    """Rows of zeros above and below the image, columns of zeros beside it."""
    left: Scalar
    """Columns of zeros at its left: the border, and others before it that no window reaches."""

    @property
    def rows(self) -> Scalar:
        """Those of the image and of the zeros above and below."""
        return self.height + self.border * 2

    @property
    def columns(self) -> Scalar:
        """Those of the image and of the zeros at its sides."""
        return self.width + self.left + self.border


class Origins(NamedTuple):
    """What was subtracted from all of x and of y already, and what is to be subtracted from the next scale's."""

    x: Number
    y: Number
    next_x: Scalar
    next_y: Scalar


def sizes(layout: Layout, width: Scalar, n_grads: int) -> list[Any]:
    """How many numbers each part of the Memory has."""
    groups = (width + (layout.pad + COLUMNS - 1)) // COLUMNS
    with_gradient = 1 if n_grads else 0
    of = dict(
        table=2 * layout.n_taps * COPIES,
        tile=(2 + layout.masked) * layout.tile_plane,
        moments=layout.moments * layout.moment_plane,
        scratch=4 * layout.lines_plane + 3 * ROWS * COPIES,
        grads=with_gradient * 4 * layout.grad_plane,
        block=with_gradient * 2 * ROWS * COLUMNS,
        carry=groups * (with_gradient * 4 * layout.halo * COLUMNS),
        shifts=groups * 2,
    )
    return [of[name] for name in Memory._fields]


class Work(NamedTuple):
    """All that a strip is swept with."""

    layout: Layout
    options: Options
    x: Image
    y: Image
    origins: Origins
    strip: Strip
    targets: Targets
    memory: Memory
    sums: Pointer
    """The MEASURES of each row of a block; the same again, for rows that another strip counts; how many pixels equal
    their neighbour, and of how many."""
    constants: PlaneConstants
    mask: Image | None
    """The weights of the pixels."""


class Block(NamedTuple):
    """A block of the strip; rows and columns beyond the plane do not count."""

    row: Scalar
    """Its first row in the plane."""
    column: Scalar
    """Its first column in the plane."""
    group: Scalar
    """Its number in the row of blocks."""
    own: Scalar
    """Whether its rows are the strip's; else they only carry derivatives to the rows below."""
    rows: Scalar
    """Rows of the strip."""
    columns: Scalar
    """Columns of pixels; 0 or less where only the gradient is behind."""
    images: tuple[Image, Image]
    """The block's pixels."""
    inside: Inside
    """Which of them are pixels of an image; all others are zeros around it."""
    shifts: tuple[Scalar, Scalar]
    """What is subtracted from them."""
    change: Change
    """By how much the constants of s and d grew from the block at the left."""
