"""What the kernels are given, as records: rows of tables of integers, and the numbers that threads share.

The same NamedTuples hold Python's numbers when a call is made (api.py), and the kernel's when code is written.
"""

from __future__ import annotations

from typing import NamedTuple

from .scalars import Field


class State(NamedTuple):
    """Where the numbers are that threads share."""

    next_strip: int = 0
    """The strip to take next."""
    finished: int = 1
    """How many are finished."""
    done: int = 2
    """Whether all sums are made."""
    suspect: int = 3
    """What is wrong with some of them: EXTREME, INACCURATE."""
    scales: int = 4
    """From here: how many strips of each scale of each plane are finished; then of each plane, whether it is
    inaccurate."""


STATE = State()


class ScaleShape(NamedTuple):
    """A scale of a plane."""

    height: Field
    width: Field
    offset: Field
    """Pixels of all finer scales."""
    n_strips: Field
    """How many of its strips are to be finished before the next scale begins."""
    stored: Field = 0
    """Where its s and d are in the coarser scales of a plane; not for the finest."""
    coarser: Field = 0
    """Where those of the next scale are."""


class Task(NamedTuple):
    """A strip, in the order in which they are taken."""

    plane: Field
    level: Field
    slot: Field
    """Which strip of the scale it is."""
    top: Field
    bottom: Field


class Arguments(NamedTuple):
    """What a call consists of: addresses, and numbers of elements."""

    means: Field
    """Address of float64, planes × levels."""
    n_planes: Field
    n_levels: Field
    n_channels: Field
    pyramid_s: Field
    """Address of the coarser scales of s = x + y; of each plane `pyramid_size` pixels."""
    pyramid_d: Field
    pyramid_size: Field
    gradient_x: Field
    """Address of the gradients to x; of each plane `gradient_size` numbers."""
    gradient_y: Field
    gradient_size: Field
    x: Field
    x_image: Field
    """Pixels from one image of x to the next, and so on."""
    x_channel: Field
    x_row: Field
    x_column: Field
    y: Field
    y_image: Field
    y_channel: Field
    y_row: Field
    y_column: Field
    origins_x: Field
    """Address of the plane that the origin of x is found in: that of x, or another one with the same strides."""
    origins_y: Field
    origins_height: Field
    shapes: Field
    """Address of a ScaleShape for each scale."""
    tasks: Field
    """Address of a Task for each strip."""
    n_tasks: Field
    constants: Field
    """Address of the PlaneConstants of each plane."""
    state: Field
    """Address of STATE."""
    sums: Field
    """Address of float64, (measures + 2) × planes × levels × slots."""
    n_slots: Field
    border: Field = 0
    """Rows and columns of zeros around each image; with one scale only."""
    weights: Field = 0
    """Address of float64, planes × levels: with a mask, the sum of the weights of windows."""
    mask: Field = 0
    """Address of the weights of the pixels of the finest scale."""
    mask_image: Field = 0
    """Weights from one image to the next, and so on; 0 where they share a mask."""
    mask_channel: Field = 0
    mask_row: Field = 0
    mask_column: Field = 0
    pyramid_m: Field = 0
    """Address of the coarser scales of the weights; of each mask `pyramid_size` numbers."""
