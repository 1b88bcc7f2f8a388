"""How a plane is cut into tiles, and how a program reads its pixels."""

# ruff: noqa: RUF005 - Triton's language has no [*a, b] and no (*a, b).

import triton
import triton.language as tl

from .primitives import in_range
from .records import EXTREME, OUTLIER, Tile


@triton.jit
def programs_per_plane(height, width, rows, lanes, LOST: tl.constexpr, COLUMNS: tl.constexpr, THREADS: tl.constexpr):
    """The number of programs for a plane of this size."""
    groups = tl.cdiv(width, (COLUMNS << lanes) - LOST) * tl.cdiv(height, rows)
    return tl.cdiv(groups, THREADS >> lanes)


@triton.jit
def locate_tile(program, lanes, rows, height, width, LOST: tl.constexpr, COLUMNS: tl.constexpr,
                THREADS: tl.constexpr):  # fmt: skip
    """The Tile of a program.

    2^lanes threads are a group. A group covers neighbouring columns and goes down `rows` rows; a program has as many
    groups as its threads allow. LOST columns of a group are halo: the last have no whole window, and for gradients the
    first are not in all the windows that they belong to. Neighbouring groups compute these.
    """
    lane = tl.arange(0, THREADS)
    group = lane >> lanes
    group_width = (COLUMNS << lanes) - LOST
    groups_across = tl.cdiv(width, group_width)
    index = program * (THREADS >> lanes) + group
    within = (lane - (group << lanes)) * COLUMNS
    first_row = program * (THREADS >> lanes) // groups_across * rows
    active = index < groups_across * tl.cdiv(height, rows)
    return Tile(first_row, index // groups_across * rows, index % groups_across * group_width, within, active,
                group_width)  # fmt: skip


@triton.jit
def plane_shift(image, step_h, step_w, height, width, inverse_unit, SAMPLES: tl.constexpr):
    """A constant near the mean of a plane, from SAMPLES of its pixels, in the image's units.

    It is a multiple of 1/128 of the unit, so that pixels of 8-bit images stay exact without it.
    """
    lane = tl.arange(0, SAMPLES)
    i = (2 * (lane // 16) + 1).to(tl.int64) * height // (SAMPLES // 8)
    j = (2 * (lane % 16) + 1).to(tl.int64) * width // 32
    sample = tl.load(image + i * step_h + j * step_w).to(inverse_unit.dtype)
    # Outliers, such as -9999 for "no data", would cost all other pixels their digits. They count only if all are.
    share = sample * (inverse_unit / SAMPLES)
    near = tl.abs(sample * inverse_unit) <= OUTLIER
    count = tl.sum(tl.where(near, tl.full((), 1, share.dtype), 0.0), 0)
    mean = tl.sum(tl.where(near, share, 0.0), 0) * (SAMPLES / tl.maximum(count, 1.0))
    mean = tl.where(count == 0, tl.sum(share, 0), mean)
    mean = tl.floor(mean * 128 + 0.5) / 128
    shift = tl.where(tl.abs(mean) < EXTREME, mean, 0.0) / inverse_unit
    # Near the largest number of the dtype the multiple may be an infinity.
    return tl.where(tl.abs(shift) < float("inf"), shift, 0.0)


@triton.jit
def load_pixels(x, y, x_w, y_w, row, height, inside, COLUMNS: tl.constexpr):
    """Each thread's COLUMNS pixels of a row of both images in their own dtype; 0 outside of the image."""
    row_exists = in_range(row, height)
    pixels_x, pixels_y = (), ()
    for p in tl.static_range(COLUMNS):
        pixels_x = pixels_x + (tl.load(x + p * x_w, mask=row_exists & inside[p], other=0),)
        pixels_y = pixels_y + (tl.load(y + p * y_w, mask=row_exists & inside[p], other=0),)
    return pixels_x, pixels_y


@triton.jit
def sum_and_difference(pixel_x, pixel_y, scale, subtract):
    """(x + y, x - y) in working units, of pixels less the constants of their planes."""
    pixel_x = tl.fma(pixel_x.to(scale.dtype), scale, -subtract[0])
    pixel_y = tl.fma(pixel_y.to(scale.dtype), scale, -subtract[1])
    return pixel_x + pixel_y, pixel_x - pixel_y


@triton.jit
def tile_peak(images, tile, size, rows, zeros, HALO: tl.constexpr, LEAD: tl.constexpr, COLUMNS: tl.constexpr):
    """The largest absolute value of all pixels that a program reads, NaN ignored."""
    row = tile.top - LEAD
    column = tile.left + tile.within - LEAD
    x = images.x + (row.to(tl.int64) * images.x_h + column.to(tl.int64) * images.x_w)
    y = images.y + (row.to(tl.int64) * images.y_h + column.to(tl.int64) * images.y_w)
    peak = zeros
    for i in range(rows + HALO + LEAD):
        row_exists = tile.active & (row + i >= 0) & (row + i < size[0]) & (column >= 0)
        for p in tl.static_range(COLUMNS):
            exists = row_exists & (column + p < size[1])
            pixel_x = tl.load(x + p * images.x_w, mask=exists, other=0)
            pixel_y = tl.load(y + p * images.y_w, mask=exists, other=0)
            peak = tl.maximum(peak, tl.maximum(tl.abs(pixel_x.to(zeros.dtype)), tl.abs(pixel_y.to(zeros.dtype))))
        x += images.x_h
        y += images.y_h
    return tl.max(peak, 0)
