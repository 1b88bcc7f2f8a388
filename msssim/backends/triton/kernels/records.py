"""Records that the kernels pass to each other, and the thresholds of their arithmetic.

Triton keeps each field of a record in a register of its own; a record costs nothing.
"""

from typing import Any, NamedTuple

import triton.language as tl

from .... import window

# The kernels divide pixels by `unit`, a power of two near data_range. Thresholds are in these units.
EXTREME: tl.constexpr = tl.constexpr(2.0**40)  # an image with larger pixels is scaled down, or their squares overflow
SCALED_PEAK: tl.constexpr = tl.constexpr(2.0**20)  # the largest pixel of an image that was scaled down
SUSPICIOUS: tl.constexpr = tl.constexpr(2.0**30)  # if |x + y| or |x - y| is larger, the tile is searched for its peak
LARGEST_CONSTANT: tl.constexpr = tl.constexpr(2.0**100)  # C1 and C2: above all squares, and still safe to multiply
OUTLIER: tl.constexpr = tl.constexpr(window.OUTLIER_LIMIT)  # no pixel within its range is farther from zero
TINY_UNIT: tl.constexpr = tl.constexpr(2.0**60)  # as in window.gradient_scale()
# A product has a sign if it is farther from zero than this number of roundings of what it is made of.
SIGN_ERROR: tl.constexpr = tl.constexpr(16.0)


class Images(NamedTuple):
    """Pointers to two planes, and the steps between their rows and columns, in elements."""

    x: Any
    y: Any
    x_h: Any
    x_w: Any
    y_h: Any
    y_w: Any


class Targets(NamedTuple):
    """Pointers to what a sweep writes: the gradients of this scale, and the pixels of the next one."""

    grad_x: Any
    grad_y: Any
    next_x: Any
    next_y: Any


class Tile(NamedTuple):
    """Where each thread of a program works; see `tiles.locate_tile`. All but `first_row` and `width` are per thread."""

    first_row: Any  # the first row of the program
    top: Any  # the first row of the thread's group
    left: Any  # the first column of the thread's group
    within: Any  # the thread's column in its group
    active: Any  # whether the group has work
    width: Any  # the number of columns that a group computes


class Scaling(NamedTuple):
    """How pixels become working units, and gradients become those of the pixels."""

    plane_shifts: Any  # (x, y): the constant of each plane, in the units of the images
    subtract: Any  # (x, y): what has to be subtracted here; 0 for coarse scales, which are stored without it
    limits: Any  # Limits
    scale: Any  # pixels times this are in working units
    grad_factor: Any


class Limits(NamedTuple):
    """C1, C2 and the bounds below which a denominator counts as zero, in the kernels' units.

    A sum over a window is TAP_SUM² times too large, because the outermost taps are 1. C2 and `zero2` are scaled by it.
    """

    c1: Any  # 2 C1
    c2: Any  # 2 C2
    zero1: Any  # denominator of l: zero at or below this
    zero2: Any  # denominator of cs: the same
    rounding1: Any  # and below this multiple of the squared plane constants, where C1 = 0
    rounding2: Any  # and below this multiple of the second moments, where C2 = 0


class Bases(NamedTuple):
    """The constants of a thread that its moments are about; see README.md, "Shifted moments"."""

    s: Any
    d: Any
    pivot: Any  # the derivatives with respect to the means are about this value of d (float32 only)
    change3: Any  # squared change of the bases three updates ago; RECTIFY only
    change2: Any
    change1: Any
