"""What the kernel of volumes is given, and what a task needs."""

from __future__ import annotations

from typing import Any, NamedTuple

from .layout import COLUMNS, COPIES, PART, ROWS, Layout
from .scalars import Field, Pointer, Scalar
from .work import Options, PlaneConstants

DEPTH = 8
"""Slices of a task."""


class State(NamedTuple):
    """Where the numbers are that threads share."""

    next_task: int = 0
    finished: int = 1
    done: int = 2


STATE = State()


class VolumeTask(NamedTuple):
    """DEPTH slices of a strip, in the order in which they are taken."""

    plane: Field
    of_gradient: Field
    """Whether the gradient is written; else the map is computed."""
    first_slice: Field
    first_row: Field
    end_row: Field
    """Of windows, or of voxels for a gradient; a gradient's task has up to ROWS rows."""
    needed: Field
    """How many tasks must be finished before."""


class VolumeCall(NamedTuple):
    """What a call consists of: addresses, and numbers of elements."""

    x: Field
    y: Field
    depth: Field
    height: Field
    width: Field
    tasks: Field
    n_tasks: Field
    last: Field
    """Whether the scale is the coarsest: the map is of l cs, else of cs."""
    constants: Field
    """Address of the PlaneConstants of each plane."""
    origins: Field
    """Address of float64: what is subtracted from x and from y for the gradient, for each plane."""
    ring: Field
    """Address of derivatives of halo + DEPTH slices, filtered along the rows."""
    gradient_x: Field
    gradient_y: Field
    sums: Field
    """Address of float64: the finish.N_SUMS numbers known of each task."""
    state: Field


class Memory(NamedTuple):
    """A thread's own memory."""

    table: Pointer
    zeros: Pointer
    """As many as a block has columns."""
    staged: Pointer
    """s and d of a row of a block in halo + DEPTH slices; or of ROWS rows in one slice."""
    slabs: Pointer
    """Filtered along the depth: of DEPTH slices the four moments in ROWS + halo rows, or derivatives by parts."""
    moments: Pointer
    """Of one slice, filtered down the columns too."""
    grads: Pointer
    """Of one slice, derivatives of the map."""
    left_moments: Pointer
    """Of DEPTH slices, the last columns of `moments` in the block at the left."""
    left_grads: Pointer
    scratch: Pointer
    block: Pointer
    carry: Pointer
    """Of all blocks, the last `halo` rows of the slabs, which the block below begins with."""
    above: Pointer
    """The constants of the blocks above."""


class Work(NamedTuple):
    """All that a task needs."""

    layout: Layout
    options: Options
    x: Pointer
    y: Pointer
    depth: Scalar
    height: Scalar
    width: Scalar
    first_slice: Scalar
    first_row: Scalar
    end_row: Scalar
    last: Scalar
    constants: PlaneConstants
    origins: tuple[Scalar, Scalar]
    ring: Pointer
    memory: Memory
    sheet: Pointer
    """The MEASURES of each row of a block."""


def sizes(layout: Layout, width: Scalar, n_grads: int) -> list[Any]:
    """How many numbers each part of the Memory has."""
    with_gradient, groups = 1 if n_grads else 0, (width + (COLUMNS - 1)) // COLUMNS
    of = dict(
        table=3 * layout.n_taps * COPIES,
        zeros=COLUMNS,
        staged=2 * layout.tile_plane,
        slabs=DEPTH * 4 * slab_plane(layout),
        moments=4 * layout.moment_plane,
        grads=with_gradient * 4 * layout.grad_plane,
        left_moments=DEPTH * 4 * layout.halo * ROWS,
        left_grads=with_gradient * DEPTH * 4 * layout.pad * ROWS,
        scratch=4 * layout.lines_plane + 3 * ROWS * COPIES,
        block=with_gradient * 2 * ROWS * COLUMNS,
        carry=groups * (DEPTH * 4 * layout.halo * COLUMNS),
        above=groups * 2,
    )
    return [of[name] for name in Memory._fields]


def slab_plane(layout: Layout) -> int:
    """Numbers of one of four moments of a slice of a block."""
    return (ROWS + layout.halo) * COLUMNS


def ring_line(width: int) -> int:
    """Numbers of a row of the ring: whole parts."""
    return -(-width // PART) * PART
