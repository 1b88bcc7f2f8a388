"""One tile of a plane: down its rows once, for the map, its sum, the gradients and the next scale's pixels."""

# ruff: noqa: RUF005, SIM102 - Triton's language has no [*a, b], and no `and` for tensors.

import triton
import triton.language as tl

from .moments import first_bases, push_moments, rebase_moments
from .primitives import filter_row, in_range, load_halo, publish_row, repeat
from .records import Bases, Scaling
from .similarity import push_map_row
from .tiles import load_pixels, sum_and_difference


@triton.jit
def store_gradient_row(
    line, pixels, grad_x, grad_y, owned, row_exists, scaling, TAPS: tl.constexpr, FIELDS: tl.constexpr,
    THREADS: tl.constexpr,
):  # fmt: skip
    """Store a row of the gradients, from its pixels and the derivatives that were filtered back down the columns.

    Where a window is flat, a large derivative is multiplied by a pixel less the mean, which is almost nothing. Rounding
    must not be relative to the distance from the plane's constant. So in float32 each thread's derivatives are about
    its own pivot for d, near the means there. For s no pivot is needed: its derivative is small where windows are flat.
    """
    HALO: tl.constexpr = len(TAPS) - 1
    COLUMNS: tl.constexpr = len(owned)
    PIVOTS: tl.constexpr = scaling.scale.dtype == tl.float32
    fields = load_halo(line, -HALO // COLUMNS, FIELDS + PIVOTS, HALO, COLUMNS, THREADS)
    x, y, x_w, y_w = pixels
    for p in tl.static_range(COLUMNS):
        mask = owned[p] & row_exists
        pixel_x = tl.load(x + p * x_w, mask=mask, other=0)
        pixel_y = tl.load(y + p * y_w, mask=mask, other=0)
        s, d = sum_and_difference(pixel_x, pixel_y, scaling.scale, scaling.subtract)
        through_s = s * filter_row(fields[0], p, TAPS)
        if PIVOTS:
            to_x, to_y = (), ()
            for k in tl.static_range(p, p + HALO + 1):
                rise = d - fields[FIELDS][k // COLUMNS * COLUMNS]
                to_x = to_x + (tl.fma(rise, fields[1][k], fields[2][k]),)
                if FIELDS == 4:
                    to_y = to_y + (tl.fma(-rise, fields[1][k], fields[3][k]),)
            gradient_x = through_s + filter_row(to_x, 0, TAPS)
            if FIELDS == 4:
                gradient_y = through_s + filter_row(to_y, 0, TAPS)
        else:
            through_d = filter_row(fields[1], p, TAPS)
            gradient_x = through_s + tl.fma(d, through_d, filter_row(fields[2], p, TAPS))
            if FIELDS == 4:
                gradient_y = through_s + tl.fma(-d, through_d, filter_row(fields[3], p, TAPS))
        tl.store(grad_x + p, scaling.grad_factor * gradient_x, mask=mask)
        if FIELDS == 4:
            tl.store(grad_y + p, scaling.grad_factor * gradient_y, mask=mask)


# Longer than 60 lines: the state of the loop over the rows is in registers, and a call cannot return to them.
@triton.jit
def sweep_rows(
    images, targets, lines, tile, size, rows, scaling, luminance,
    TAPS: tl.constexpr, PENDING_WEIGHTS: tl.constexpr, TAP_SUM: tl.constexpr, WRITE_NEXT: tl.constexpr,
    FIELDS: tl.constexpr, COLUMNS: tl.constexpr, RECTIFY: tl.constexpr, GUARD_ZERO_DIV: tl.constexpr,
    WIDE_OFFSETS: tl.constexpr,
):  # fmt: skip
    """Go down the rows of a tile once.

    Returns, per thread: what its part of the map lacks, what Kahan's sum of that lost, and the largest of |s| and |d|.

    Row i of the image completes row i - HALO of the map and, with gradients, row i - 2 HALO of the gradient. The lines
    that threads exchange, of s and d and of the derivatives of the row before, alternate between two places. One
    barrier a row is enough then: what is overwritten was read before the last barrier.
    """
    HALO: tl.constexpr = len(TAPS) - 1
    LEAD: tl.constexpr = HALO if FIELDS else 0
    THREADS: tl.constexpr = tile.top.shape[0]
    LINE: tl.constexpr = THREADS * COLUMNS  # numbers in the line of one field
    READ: tl.constexpr = 2 if WRITE_NEXT else COLUMNS
    BLOCK: tl.constexpr = 2  # pairs of rows between two changes of the bases
    LINES: tl.constexpr = FIELDS + (1 if FIELDS and scaling.scale.dtype == tl.float32 else 0)
    first = tile.first_row
    height, width = size
    scale = scaling.scale
    column = tile.left + tile.within - LEAD
    row = tile.top - LEAD
    end = tl.minimum(tile.top + rows, height)
    # Offsets from the program's own first row are small, and narrow: wide ones take registers that others need.
    OFFSET: tl.constexpr = tl.int64 if WIDE_OFFSETS else tl.int32
    x = images.x + first.to(tl.int64) * images.x_h
    y = images.y + first.to(tl.int64) * images.y_h
    grad_x = targets.grad_x + first.to(tl.int64) * width
    grad_y = targets.grad_y + first.to(tl.int64) * width
    next_x = targets.next_x + (first // 2).to(tl.int64) * ((width + 1) // 2)
    next_y = targets.next_y + (first // 2).to(tl.int64) * ((width + 1) // 2)
    x_h = images.x_h.to(OFFSET)
    y_h = images.y_h.to(OFFSET)
    first_offset = (row - first).to(OFFSET)
    x_at = first_offset * x_h + column.to(OFFSET) * images.x_w
    y_at = first_offset * y_h + column.to(OFFSET) * images.y_w
    grad_at = (first_offset - HALO - 1) * width + column
    # Per column: a pixel of the image; a window that this group computes; a pixel whose gradient it computes.
    inside, whole, owned = (), (), ()
    for p in tl.static_range(READ):
        inside = inside + (tile.active & (column >= 0) & (column + p < width),)
    for p in tl.static_range(COLUMNS):
        whole = whole + (inside[p] & (tile.within + p < tile.width + LEAD) & (column + p < width - HALO),)
        owned = owned + (inside[p] & (tile.within + p < tile.width + LEAD) & (tile.within + p >= LEAD),)
    scaling = Scaling(
        scaling.plane_shifts, (scaling.subtract[0] * scale, scaling.subtract[1] * scale), scaling.limits,
        scale, scaling.grad_factor,
    )  # fmt: skip
    shift_x = scaling.plane_shifts[0] * scale
    shift_y = scaling.plane_shifts[1] * scale
    shifts = (shift_x + shift_y, shift_x - shift_y)
    zeros = tl.zeros([THREADS], scale.dtype)
    alone = tl.where(column + 1 < width, zeros + 0.25, 0.5)
    above_x, above_y = zeros, zeros
    total, lost, worst = zeros, zeros, zeros
    moments = repeat(repeat(repeat(zeros, HALO), 4), COLUMNS)
    derivatives = repeat(repeat(repeat(zeros, HALO), FIELDS), COLUMNS)
    derivative_lines = lines + 4 * LINE
    below_x = x + x_h
    below_y = y + y_h
    gradient_row_x = x - (HALO + 1) * x_h
    gradient_row_y = y - (HALO + 1) * y_h
    pixels_x, pixels_y = load_pixels(x + x_at, y + y_at, images.x_w, images.y_w, row, height, inside, READ)
    if GUARD_ZERO_DIV[1]:  # rounding is distinguished from contrast by squares about one constant
        bases = Bases(zeros, zeros, zeros, zeros, zeros, zeros)
    else:
        bases = first_bases(images, row, column, size, scale, scaling.subtract, HALO)
    for pair in range((rows + HALO + LEAD) // 2):
        if 2 * pair == HALO + LEAD:  # windows before this row belong to the programs above
            total, lost = zeros, zeros
        if not GUARD_ZERO_DIV[1]:
            # After rows 2, 6, 10, ...: edges are often at multiples of 4, and two rows below an edge is the best time.
            if ((first - LEAD) // 2 + pair) % BLOCK != 0:
                moments, derivatives, bases = rebase_moments(
                    moments, derivatives, bases, 2 * pair, row, height, TAP_SUM, PENDING_WEIGHTS, FIELDS, COLUMNS,
                    RECTIFY,
                )  # fmt: skip
        gain = -lost
        for odd in tl.static_range(2):
            # The next row's pixels take about as long to arrive as this row to compute.
            ahead_x, ahead_y = load_pixels(
                below_x + x_at, below_y + y_at, images.x_w, images.y_w, row + 1, height, inside, READ
            )
            s, d = (), ()
            for p in tl.static_range(COLUMNS):
                pixel_s, pixel_d = sum_and_difference(pixels_x[p], pixels_y[p], scale, scaling.subtract)
                worst = tl.maximum(worst, tl.abs(pixel_s), propagate_nan=tl.PropagateNan.ALL)
                worst = tl.maximum(worst, tl.abs(pixel_d), propagate_nan=tl.PropagateNan.ALL)
                s = s + (pixel_s,)
                d = d + (pixel_d,)
            if WRITE_NEXT:
                mean_x = tl.fma(pixels_x[0].to(scale.dtype), alone, pixels_x[1].to(scale.dtype) * 0.25)
                mean_y = tl.fma(pixels_y[0].to(scale.dtype), alone, pixels_y[1].to(scale.dtype) * 0.25)
                if odd:
                    coarse = owned[0] & (column % 2 == 0) & (row > tile.top) & (row <= end)
                    at = ((row - first) // 2).to(OFFSET) * ((width + 1) // 2) + column // 2
                    last = row == height  # this row does not exist: the one above is averaged alone
                    shift_x, shift_y = scaling.plane_shifts
                    tl.store(next_x + at, above_x + tl.where(last, above_x, mean_x) - shift_x, mask=coarse)
                    tl.store(next_y + at, above_y + tl.where(last, above_y, mean_y) - shift_y, mask=coarse)
                above_x, above_y = mean_x, mean_y
            line = lines + odd * (2 * LINE)
            publish_row(line, (s, d))
            tl.debug_barrier()
            if FIELDS:
                if 2 * pair + odd > 2 * HALO:
                    before = derivative_lines + (1 - odd) * (LINES * LINE)
                    row_exists = row - 1 - HALO < end
                    pixels = (gradient_row_x + x_at, gradient_row_y + y_at, images.x_w, images.y_w)
                    store_gradient_row(
                        before, pixels, grad_x + grad_at, grad_y + grad_at, owned, row_exists, scaling, TAPS, FIELDS,
                        THREADS,
                    )  # fmt: skip
            window_exists = in_range(row - HALO, height - HALO)  # windows without all rows are above all that counts
            valid = ()
            for p in tl.static_range(COLUMNS):
                valid = valid + (window_exists & whole[p],)
            fields = load_halo(line, 0, 2, HALO, COLUMNS, THREADS)
            moments, complete = push_moments(fields, bases, moments, TAPS, COLUMNS)
            lacking, derivatives, finished = push_map_row(
                complete, bases, derivatives, valid, shifts, scaling.limits, luminance, RECTIFY, GUARD_ZERO_DIV, TAPS,
                TAP_SUM, FIELDS, COLUMNS,
            )  # fmt: skip
            if FIELDS:
                if LINES > FIELDS:
                    finished = finished + (repeat(bases.pivot, COLUMNS),)
                publish_row(derivative_lines + odd * (LINES * LINE), finished)
            for p in tl.static_range(COLUMNS):
                gain += lacking[p]
            pixels_x, pixels_y = ahead_x, ahead_y
            x_at += x_h
            y_at += y_h
            grad_at += width
            row += 1
        new = total + gain  # Kahan's sum
        lost = (new - total) - gain
        total = new
    if FIELDS:
        tl.debug_barrier()
        before = derivative_lines + LINES * LINE
        row_exists = row - 1 - HALO < end
        pixels = (gradient_row_x + x_at, gradient_row_y + y_at, images.x_w, images.y_w)
        store_gradient_row(
            before, pixels, grad_x + grad_at, grad_y + grad_at, owned, row_exists, scaling, TAPS, FIELDS, THREADS
        )
    # Windows have odd sides, so a thread owns both of its columns or none. Where no window is, nothing is lacking.
    return tl.where(owned[0], total, 0.0), tl.where(owned[0], lost, 0.0), worst
