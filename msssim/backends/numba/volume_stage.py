"""From rows of two volumes to their s and d."""

from __future__ import annotations

from .functions import outlined
from .layout import COLUMNS, Layout
from .pixels import Image, Pair, sum_and_difference
from .scalars import Pointer, Scalar
from .simd import SimdBuilder

# Rows that are prefetched. They lie whole slices apart, often a power of two: then the nearest caches hold 8 of them.
_AHEAD = 6


def stage(
    code: SimdBuilder, layout: Layout, staged: Pointer, x: Image, y: Image, extent: Pair, scale: Scalar, shifts: Pair
) -> None:
    """Read rows of both volumes as s and d, with the shifts subtracted. `extent` is (rows, columns)."""
    rows, columns = extent
    with code.branch(columns == COLUMNS) as (whole, part):
        with whole:
            _stage_rows(code, layout, staged, x, y, rows, scale, shifts)
        with part:
            for row in code.range(rows):
                x_row, y_row = x.pixels + row * x.below, y.pixels + row * y.below
                for i in code.range(columns):
                    s, d = sum_and_difference(code, x_row[i], y_row[i], scale, shifts)
                    staged[row * layout.line + i] = s
                    staged[row * layout.line + (i + layout.tile_plane)] = d


@outlined
def _stage_rows(
    code: SimdBuilder, layout: Layout, staged: Pointer, x: Image, y: Image, rows: Scalar, scale: Scalar, shifts: Pair
) -> None:
    scales, shift_x, shift_y = (code.splat(each) for each in (scale, *shifts))
    for row in code.range(rows):
        x_row, y_row = x.pixels + row * x.below, y.pixels + row * y.below
        for line, below in ((x_row, x.below), (y_row, y.below)):
            for k in range(0, COLUMNS, 64 // line.element.size):
                code.prefetch(line + (below * _AHEAD + k))
        s_row = staged + row * layout.line
        d_row = s_row + layout.tile_plane
        for at in range(0, COLUMNS, code.lanes):
            voxels = code.load_real(x_row, at), code.load_real(y_row, at)
            s, d = sum_and_difference(code, *voxels, scales, (shift_x, shift_y))
            code.store(s, s_row, at)
            code.store(d, d_row, at)
