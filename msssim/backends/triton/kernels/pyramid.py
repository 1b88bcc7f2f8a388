"""The kernel that makes the coarse scales: means of 2 x 2 pixels, several scales at once."""

import triton
import triton.language as tl

from .primitives import float_from_bits
from .tiles import plane_shift


@triton.jit
def quarter_sums(value, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A quarter of the sums over 2 x 2 elements of a tile."""
    value = tl.reshape(value * 0.25, (ROWS // 2, 2, COLUMNS // 2, 2))
    return tl.sum(tl.sum(value, 3), 1)


@triton.jit(
    do_not_specialize=[
        "x_n", "x_c", "x_h", "y_n", "y_c", "y_h", "channels", "coarse_pixels", "height", "width", "level", "tiles",
        "tiles_across", "unit_bits",
    ],
    do_not_specialize_on_alignment=["x", "y", "coarse", "plane_shifts"],
)  # fmt: skip
def downsample(
    # The images (N, C, H, W), the coarse scales (2, planes, coarse_pixels), the constants of the planes (planes, 2).
    x, y, coarse, plane_shifts,
    # Steps of the images, in elements; that between columns is 1.
    x_n: tl.int64, x_c: tl.int64, x_h: tl.int64, y_n: tl.int64, y_c: tl.int64, y_h: tl.int64,
    # Sizes: height and width of the finest scale.
    channels, coarse_pixels: tl.int64, height, width,
    # The scale that is read; tiles of a plane, and beside each other; the unit as the bits of a float64.
    level, tiles, tiles_across, unit_bits: tl.int64,
    # HAS_FINEST: `level` is 0, and the images themselves are read.
    HAS_FINEST: tl.constexpr, DEPTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """Write one tile of each of the DEPTH scales after `level`. That of the first of them has ROWS x COLUMNS pixels.

    From the images, a constant near the mean of each plane is subtracted on the way, and stored.
    """
    dtype: tl.constexpr = coarse.dtype.element_ty
    image = tl.program_id(0) // tiles
    tile = tl.program_id(0) % tiles
    target = coarse + image.to(tl.int64) * coarse_pixels
    if HAS_FINEST:
        planes = tl.num_programs(0) // tiles // 2
        plane = (image % planes).to(tl.int64)
        source = x + (plane // channels * x_n + plane % channels * x_c)
        step = x_h
        if image >= planes:
            source = y + (plane // channels * y_n + plane % channels * y_c)
            step = y_h
        shift = plane_shift(source, step, 1, height, width, 1 / float_from_bits(unit_bits, dtype), SAMPLES)
        if tile == 0:
            tl.store(plane_shifts + 2 * plane + image // planes, shift)
    else:
        for k in range(level):
            if k > 0:
                target += height.to(tl.int64) * width
            height = (height + 1) // 2
            width = (width + 1) // 2
        source = target
        step = width.to(tl.int64)
        target += step * height
    top = tile // tiles_across * ROWS
    left = tile % tiles_across * COLUMNS
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    source += (2 * top).to(tl.int64) * step + 2 * left
    value = tl.zeros([ROWS, COLUMNS], dtype)
    for half in tl.static_range(2):
        row_exists = 2 * (top + row) + half < height
        at = source + ((2 * row + half) * step + 2 * column)
        pixel = tl.load(at, mask=row_exists & (2 * (left + column) < width), other=0) * 0.25
        value += pixel + tl.load(at + 1, mask=row_exists & (2 * (left + column) + 1 < width), other=0) * 0.25
    for depth in tl.static_range(DEPTH):
        if depth > 0:
            value = quarter_sums(value, ROWS >> (depth - 1), COLUMNS >> (depth - 1))
            top = top // 2
            left = left // 2
            row = tl.arange(0, ROWS >> depth)[:, None]
            column = tl.arange(0, COLUMNS >> depth)[None, :]
        # On an odd side the last mean is over the pixels that exist.
        value *= tl.where(2 * (top + row) + 1 < height, 1.0, 2.0) * tl.where(2 * (left + column) + 1 < width, 1.0, 2.0)
        value = value.to(dtype)
        if depth > 0:
            target += height.to(tl.int64) * width
        height = (height + 1) // 2
        width = (width + 1) // 2
        exists = (top + row < height) & (left + column < width)
        if HAS_FINEST and depth == 0:
            value = tl.where(exists, value - shift, 0.0)
        tl.store(target + top.to(tl.int64) * width + left + (row * width + column), value, mask=exists)
