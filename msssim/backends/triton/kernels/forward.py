"""The kernels that compute the terms: the sweep over the images, and the means of its sums."""

import triton
import triton.language as tl

from .primitives import float_from_bits
from .records import EXTREME, LARGEST_CONSTANT, SCALED_PEAK, SUSPICIOUS, TINY_UNIT, Images, Limits, Scaling, Targets
from .rows import sweep_rows
from .tiles import locate_tile, plane_shift, programs_per_plane, tile_peak


@triton.jit(
    do_not_specialize=[
        "x_n", "x_c", "x_h", "y_n", "y_c", "y_h", "planes", "channels", "height", "width", "levels", "rows", "lanes",
        "slots", "pixels", "coarse_pixels", "c1_bits", "c2_bits", "unit_bits",
    ],
    do_not_specialize_on_alignment=["x", "y", "next_x", "next_y", "grad_x", "grad_y", "plane_shifts", "partials"],
)  # fmt: skip
def sweep(
    # The images (N, C, H, W), in their own dtype. For a launch of coarse scales: next_x and next_y.
    x, y,
    # The coarse scales of all planes, (planes, coarse_pixels) each, one scale after another: written or read.
    next_x, next_y,
    # The gradients, (planes, pixels), for all scales one after another; of one element where not needed.
    grad_x, grad_y,
    # The constant that is subtracted from each plane, (planes, 2): written for the finest scale, read for coarse ones.
    plane_shifts,
    # The sum of each program, (planes, levels, slots) in float64.
    partials,
    # Lines through which the threads of a program exchange rows; see plan.scratch_size().
    scratch,
    # Steps of the images, in elements. x_w and y_w are specialized on 1.
    x_n: tl.int64, x_c: tl.int64, x_h: tl.int64, x_w, y_n: tl.int64, y_c: tl.int64, y_h: tl.int64, y_w,
    # Sizes: planes = N C; height and width of the finest scale.
    planes, channels, height, width, levels,
    # The plan: rows of a tile; log2 of the threads of a group, 4 bits a scale; programs that `partials` has room for.
    rows, lanes: tl.int64, slots,
    # Pixels of all scales of a plane, and of all but the finest.
    pixels: tl.int64, coarse_pixels: tl.int64,
    # C1 / unit², C2 / unit² and the unit, as the bits of a float64.
    c1_bits: tl.int64, c2_bits: tl.int64, unit_bits: tl.int64,
    # The window: taps, the outermost of which is 1; what the pending column sums weigh; the sum of the taps.
    TAPS: tl.constexpr, PENDING_WEIGHTS: tl.constexpr, TAP_SUM: tl.constexpr,
    # Which scales are in this launch, and whether it writes the second scale.
    HAS_FINEST: tl.constexpr, HAS_COARSE: tl.constexpr, WRITE_NEXT: tl.constexpr,
    # Fields of derivatives to filter: 0 without gradients, 3 for one, 4 for two. Columns of a thread.
    FIELDS: tl.constexpr, COLUMNS: tl.constexpr,
    # normalize="covariance"; whether (C1, C2) are zero; whether offsets in a tile need 64 bits; threads of a program.
    RECTIFY: tl.constexpr, GUARD_ZERO_DIV: tl.constexpr, WIDE_OFFSETS: tl.constexpr, THREADS: tl.constexpr,
):  # fmt: skip
    """Compute one tile of one plane at one scale: its sum, its gradient, and the pixels of the next scale."""
    dtype: tl.constexpr = plane_shifts.dtype.element_ty
    HALO: tl.constexpr = len(TAPS) - 1
    LOST: tl.constexpr = HALO * 2 if FIELDS else HALO
    finest = height.to(tl.int64) * width
    offset = finest * 0
    level = 0
    number = tl.program_id(0)
    power = (lanes & 15).to(tl.int32)
    programs = programs_per_plane(height, width, rows, power, LOST, COLUMNS, THREADS) if HAS_FINEST else 0
    if HAS_COARSE:
        while number >= planes * programs:
            number -= planes * programs
            offset += height.to(tl.int64) * width
            height = (height + 1) // 2
            width = (width + 1) // 2
            power = ((lanes >> (4 * level + (4 if HAS_FINEST else 0))) & 15).to(tl.int32)
            programs = programs_per_plane(height, width, rows, power, LOST, COLUMNS, THREADS)
            level += 1
    plane = (number // programs).to(tl.int64)
    program = number % programs
    tile = locate_tile(program, power, rows, height, width, LOST, COLUMNS, THREADS)
    rows = tl.minimum(rows, (height - tile.first_row + 1) // 2 * 2)  # as many as there are, a pair at a time
    partial = partials + (plane * levels + level) * slots + program
    unit = float_from_bits(unit_bits, dtype)
    if HAS_FINEST:
        x += plane // channels * x_n + plane % channels * x_c
        y += plane // channels * y_n + plane % channels * y_c
    if HAS_COARSE:
        shift = (tl.load(plane_shifts + 2 * plane), tl.load(plane_shifts + 2 * plane + 1))
        # Coarse scales are stored without it.
        subtract = (tl.where(level > 0, 0, shift[0]), tl.where(level > 0, 0, shift[1]))
        if level > 0:
            x = next_x + plane * coarse_pixels + offset - finest
            y = next_y + plane * coarse_pixels + offset - finest
            x_h = width.to(tl.int64)
            y_h = width.to(tl.int64)
    else:
        shift = (
            plane_shift(x, x_h, x_w, height, width, 1 / unit, THREADS),
            plane_shift(y, y_h, y_w, height, width, 1 / unit, THREADS),
        )
        subtract = shift
        if program == 0:
            tl.store(plane_shifts + 2 * plane, shift[0])
            tl.store(plane_shifts + 2 * plane + 1, shift[1])
    images = Images(x, y, x_h, x_w, y_h, y_w)
    at = plane * pixels + offset
    targets = Targets(grad_x + at, grad_y + at, next_x + plane * coarse_pixels, next_y + plane * coarse_pixels)
    LINES: tl.constexpr = 2 + FIELDS + (1 if FIELDS and dtype == tl.float32 else 0)
    scratch += tl.program_id(0).to(tl.int64) * (2 * LINES * COLUMNS * THREADS)
    c1 = float_from_bits(c1_bits, dtype) * 2
    c2 = float_from_bits(c2_bits, dtype) * 2
    EPS: tl.constexpr = 2.0**-48 if dtype == tl.float64 else 2.0**-19  # what rounding may leave of a difference
    ZERO: tl.constexpr = 2e-200 if dtype == tl.float64 else 2e-20
    rounding1 = tl.where(c1 == 0, tl.full((), EPS * EPS, dtype), 0.0)
    rounding2 = tl.where(c2 == 0, tl.full((), EPS, dtype), 0.0)
    scale = 1 / unit
    total = tl.zeros([THREADS], dtype)
    lost = total
    luminance = False if WRITE_NEXT else level == levels - 1
    # At most twice: with extreme pixels the tile is computed again, scaled down.
    attempts = 2
    while attempts > 0:
        change = (scale * unit) * (scale * unit)
        limit1, limit2 = c1 * change, c2 * change
        if not GUARD_ZERO_DIV[0]:  # scaled down, a constant may underflow to zero
            limit1 = tl.maximum(limit1, ZERO)
        if not GUARD_ZERO_DIV[1]:
            limit2 = tl.maximum(limit2, ZERO)
        limit1, limit2 = (
            tl.minimum(limit1, LARGEST_CONSTANT),
            tl.minimum(limit2, LARGEST_CONSTANT) * (TAP_SUM * TAP_SUM),
        )
        limits = Limits(limit1, limit2, ZERO, ZERO * (TAP_SUM * TAP_SUM), rounding1, rounding2)
        scaling = Scaling(shift, subtract, limits, scale, 4 * scale * tl.minimum(unit * TINY_UNIT, 1))
        total, lost, worst = sweep_rows(
            images, targets, scratch, tile, (height, width), rows, scaling, luminance, TAPS, PENDING_WEIGHTS, TAP_SUM,
            WRITE_NEXT, FIELDS, COLUMNS, RECTIFY, GUARD_ZERO_DIV, WIDE_OFFSETS,
        )  # fmt: skip
        attempts -= 1
        if tl.max(tl.where(worst < SUSPICIOUS, 0, 1), 0) == 0:
            attempts = 0
        if attempts == 1:
            peak = tile_peak(images, tile, (height, width), rows, total * 0, HALO, LOST - HALO, COLUMNS)
            if peak / unit > EXTREME:
                scale = SCALED_PEAK / peak
            else:
                attempts = 0
    tl.store(partial, tl.sum(total.to(tl.float64) - lost.to(tl.float64), 0))


@triton.jit(do_not_specialize=["slots", "height", "width", "levels", "halo", "rows", "lanes", "coarse_rows"])
def finish_means(
    # The sums of all programs, (planes, levels, slots), and the means, (planes, levels), both in float64.
    partials, means,
    slots, height, width, levels, halo,
    # The plans of the finest scale and of the coarse ones, as in sweep().
    rows, lanes: tl.int64, coarse_rows, coarse_lanes: tl.int64,
    LOST: tl.constexpr, COLUMNS: tl.constexpr, THREADS: tl.constexpr, COARSE_THREADS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Compute the mean of one plane at one scale from its programs' sums, which are always added in the same order."""
    level = tl.program_id(1)
    at = tl.program_id(0).to(tl.int64) * levels + level
    count = programs_per_plane(height, width, rows, lanes.to(tl.int32), LOST, COLUMNS, THREADS)
    for k in range(level):
        height = (height + 1) // 2
        width = (width + 1) // 2
        lanes = (coarse_lanes >> (4 * k)) & 15
        count = programs_per_plane(height, width, coarse_rows, lanes.to(tl.int32), LOST, COLUMNS, COARSE_THREADS)
    lane = tl.arange(0, SIZE)
    total = tl.zeros([SIZE], tl.float64)
    for i in range(0, count, SIZE):
        total += tl.load(partials + at * slots + i + lane, mask=i + lane < count, other=0)
    offset = tl.where(level < levels - 1, 1.0, 0.0)  # of cs, the sum holds what it lacks of 1
    value = offset - 2 * tl.sum(total, 0) / ((height - halo).to(tl.float64) * (width - halo))
    tl.store(means + at, tl.minimum(value, 1.0, propagate_nan=tl.PropagateNan.ALL))
