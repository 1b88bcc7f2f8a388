"""The four moments of s = x + y and d = x - y, about constants that follow the image.

E[s²] - E[s]² loses about 1e-7 of the squared distance between the constant and the mean in float32. README.md, "Shifted
moments", explains how the constants, the bases, are chosen and changed.
"""

# ruff: noqa: RUF005 - Triton's language has no [*a, b] and no (*a, b).

import triton
import triton.language as tl

from .primitives import filter_row, push_row, repeat
from .records import OUTLIER, Bases
from .tiles import sum_and_difference


@triton.jit
def push_moments(fields, bases, moments, TAPS: tl.constexpr, COLUMNS: tl.constexpr):
    """Add a row of s and d to the moments: (the pending moments, the moments of the window that is complete)."""
    pending, complete = repeat((), COLUMNS), repeat((), COLUMNS)
    for f in tl.static_range(2):
        off, squares = (), ()
        for k in tl.static_range(len(fields[f])):
            off = off + (fields[f][k] - bases[f],)
            squares = squares + (off[k] * off[k],)
        for power in tl.static_range(2):
            begun, finished = (), ()
            for p in tl.static_range(COLUMNS):
                row = filter_row(squares if power else off, p, TAPS)
                moment, rest = push_row(moments[p][2 * f + power], row, TAPS)
                begun = begun + (pending[p] + (rest,),)
                finished = finished + (complete[p] + (moment,),)
            pending, complete = begun, finished
    return pending, complete


@triton.jit
def clamp_base(base):
    """A base within what images in their range need: outliers must not cost other pixels their digits. No NaN."""
    return tl.minimum(tl.maximum(base, -OUTLIER), OUTLIER)


@triton.jit
def first_bases(images, row, column, size, scale, subtract, HALO: tl.constexpr):
    """Bases from four pixels of each thread's first window."""
    height, width = size
    j = tl.minimum(tl.maximum(column + HALO // 2, 0), width - 1).to(tl.int64)
    s, d = scale * 0, scale * 0
    for k in tl.static_range(4):
        i = tl.minimum(tl.maximum(row + HALO * k // 3, 0), height - 1).to(tl.int64)
        here = sum_and_difference(
            tl.load(images.x + i * images.x_h + j * images.x_w), tl.load(images.y + i * images.y_h + j * images.y_w),
            scale, subtract,
        )  # fmt: skip
        s += here[0] * 0.25
        d += here[1] * 0.25
    zeros = tl.zeros_like(d)
    return Bases(
        clamp_base(s), clamp_base(d), clamp_base(d) if scale.dtype == tl.float32 else zeros, zeros, zeros, zeros
    )


@triton.jit
def rebase_moments(
    moments, derivatives, bases, rows_seen, row, height,
    TAP_SUM: tl.constexpr, PENDING_WEIGHTS: tl.constexpr, FIELDS: tl.constexpr, COLUMNS: tl.constexpr,
    RECTIFY: tl.constexpr,
):  # fmt: skip
    """Move the bases to the means of the latest rows: (the pending moments, the pending derivatives, the bases).

    The bases stay where the pixels of these rows vary more than their mean is away: there a few bright pixels make it.

    A change costs the pending moments what rounding leaves of its square, in proportion to the part of the window that
    is pending. Below a horizontal edge, windows that end soon hold mostly rows above the edge, and windows that have
    just begun hold rows below it. The mean of half a window's rows moves over to the rows below when the first kind
    have much of both sides and the others have hardly begun. The pivot of the derivatives follows one step later, when
    the windows above the edge have been stored.
    """
    COUNT: tl.constexpr = len(PENDING_WEIGHTS)
    HALF: tl.constexpr = COUNT // 2 - 1  # the pending sum that holds COUNT // 2 + 1 rows
    half_a_window = (rows_seen > COUNT // 2) & (row > COUNT // 2)
    # Near the first rows a sum may hold rows outside of the image, or lack some. The sum of two rows does not.
    enough = (row >= 2) & (row <= height)
    inverse_weight = tl.where(
        half_a_window, tl.full((), 1 / PENDING_WEIGHTS[HALF], bases.pivot.dtype), 1 / PENDING_WEIGHTS[COUNT - 2]
    )
    steps, others = (), ()
    for f in tl.static_range(2):
        row_sum = tl.where(half_a_window, moments[0][2 * f][HALF], moments[0][2 * f][COUNT - 2])
        row_squares = tl.where(half_a_window, moments[0][2 * f + 1][HALF], moments[0][2 * f + 1][COUNT - 2])
        distance = row_sum * inverse_weight
        follows = enough & (row_squares < 3 * row_sum * distance)
        other = tl.where(follows, clamp_base(bases[f] + distance), bases[f])
        steps = steps + (other - bases[f],)
        others = others + (other,)
    changed = ()
    for p in tl.static_range(COLUMNS):
        pending = ()
        for f in tl.static_range(2):
            sums, squares = (), ()
            for k in tl.static_range(COUNT):
                weight = tl.full((), PENDING_WEIGHTS[k], steps[f].dtype)
                total = tl.fma(-steps[f], weight, moments[p][2 * f][k])
                both = moments[p][2 * f][k] + total
                squares = squares + (tl.fma(-steps[f], both, moments[p][2 * f + 1][k]),)
                sums = sums + (total,)
            pending = pending + (sums, squares)
        changed = changed + (pending,)
    pivot = bases.pivot
    if FIELDS and pivot.dtype == tl.float32:
        rise = bases.d - pivot
        turned = ()
        for p in tl.static_range(COLUMNS):
            fields = (derivatives[p][0], derivatives[p][1])
            for m in tl.static_range(2, FIELDS):
                field = ()
                for k in tl.static_range(COUNT):
                    field = field + (tl.fma(rise if m == 2 else -rise, derivatives[p][1][k], derivatives[p][m][k]),)
                fields = fields + (field,)
            turned = turned + (fields,)
        pivot = bases.d
    else:
        turned = derivatives
    change3, change2, change1 = bases.change3, bases.change2, bases.change1
    if RECTIFY:  # rounding of a change stays in moments for as many rows as a window has
        change3, change2 = change2, change1
        change1 = (steps[0] * steps[0] + steps[1] * steps[1]) * (TAP_SUM * TAP_SUM)
    return changed, turned, Bases(others[0], others[1], pivot, change3, change2, change1)
