"""What the kernel of volumes is given, and what a task needs."""

from __future__ import annotations

from typing import Any, NamedTuple

from .layout import Layout
from .scalars import Field, Pointer, Scalar
from .work import Options

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
    shifts: Field
    """Address of float64: what is subtracted from x and from y, for each plane."""
    ring: Field
    """Address of float64: derivatives of halo + DEPTH slices; zeros where there is no window."""
    gradient_x: Field
    gradient_y: Field
    sums: Field
    """Address of float64: the sum of the map for each task."""
    state: Field


class Memory(NamedTuple):
    """A thread's own memory."""

    table: Pointer
    zeros: Pointer
    """A row of zeros."""
    staged: Pointer
    """s and d of a row of halo + DEPTH slices."""
    filtered: Pointer
    """DEPTH × 4 × (ROWS + halo) rows, filtered along the depth."""
    down: Pointer
    """4 × ROWS rows, filtered down the columns too."""
    line: Scalar
    """Numbers of a row in all of these, and in the ring."""


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
    scale: Scalar
    shifts: tuple[Scalar, Scalar]
    ring: Pointer
    memory: Memory


def line_of(layout: Layout, width: Any) -> Any:
    """Numbers of a row: the padding before it, the row, and as much behind it as a window reaches beyond."""
    return layout.pad + (width + 15) // 16 * 16 + 32
