"""The kernel of the backward pass: from the gradients of all scales to that of the image."""

# ruff: noqa: RUF005 - Triton's language has no [*a, b] and no (*a, b).

import triton
import triton.language as tl

from .primitives import float_from_bits


@triton.jit
def pixel_share(index, side):
    """The share of each pixel in its mean along a side: a half, or 1 for the last pixel of an odd side."""
    return tl.where(index == tl.where(side % 2 == 1, side - 1, -1), 1.0, 0.5)


@triton.jit
def grad_of_window(upstream, dvalue_dterm, weight, height, width, halo, HAS_DVALUE: tl.constexpr, dtype: tl.constexpr):
    """The gradient with respect to the map at each position of the window, times a weight.

    In float64: the approximate division of float32 may give infinity for the largest number divided by 1.
    """
    share = tl.load(upstream).to(tl.float64) * weight
    if HAS_DVALUE:
        share *= tl.load(dvalue_dterm)
    return (share / ((height - halo).to(tl.float64) * (width - halo).to(tl.float64))).to(dtype)


@triton.jit
def clamp_if_finite(value, finite, LIMIT: tl.constexpr):
    """The value within ±LIMIT, if the scalar `finite` says that only finite numbers were given. NaN stays NaN."""
    limit = tl.where(finite, tl.full((), LIMIT, value.dtype), float("inf"))
    value = tl.where(value > limit, limit, value)
    return tl.where(value < -limit, -limit, value)


@triton.jit(
    do_not_specialize=[
        "step_n", "step_c", "step_level", "channels", "pixels", "height", "width", "halo", "tiles", "tiles_across",
        "weight_bits",
    ]
)  # fmt: skip
def pyramid_backward(
    # The upstream gradient: with respect to the terms, (N, C, levels), or with dvalue_dterms to the value, () or (N,).
    upstream, dvalue_dterms,
    # The gradients of all scales, (planes, pixels), as sweep() wrote them; the gradient of the image, (N, C, H, W).
    scale_grads, out,
    # Steps of `upstream`.
    step_n: tl.int64, step_c: tl.int64, step_level: tl.int64,
    channels, pixels: tl.int64, height, width, halo,
    # Tiles of a plane, and beside each other; a factor, as the bits of a float64.
    tiles, tiles_across, weight_bits: tl.int64,
    # LIMITS: the largest numbers of the image's dtype and of that of computation.
    HAS_DVALUE: tl.constexpr, LEVELS: tl.constexpr, LIMITS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute one tile of the gradient of an image: the gradients of all scales, weighted, added from coarse to fine.

    ROWS and COLUMNS count pixels of the second scale: what comes from coarse scales is added once for four pixels.
    """
    dtype: tl.constexpr = scale_grads.dtype.element_ty
    plane = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    upstream += plane // channels * step_n + plane % channels * step_c
    dvalue_dterms += plane * LEVELS
    scale_grads += plane * pixels
    out += plane * height * width
    top = tile // tiles_across * ROWS
    left = tile % tiles_across * COLUMNS
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    exists = (2 * (top + row) < height) & (2 * (left + column) < width)
    sizes = ((height, width, plane * 0),)
    for level in tl.static_range(LEVELS - 1):
        h, w, offset = sizes[level]
        sizes = sizes + (((h + 1) // 2, (w + 1) // 2, offset + h.to(tl.int64) * w),)
    total = tl.zeros([ROWS, COLUMNS], dtype)
    weight = float_from_bits(weight_bits, tl.float64)
    finite = weight < float("inf")
    for level in tl.static_range(LEVELS - 1, 0, -1):
        h, w, offset = sizes[level]
        i = (top + row) >> (level - 1)
        j = (left + column) >> (level - 1)
        first = scale_grads + offset + (top >> (level - 1)).to(tl.int64) * w
        value = tl.load(first + ((i - (top >> (level - 1))) * w + j), mask=exists, other=0)
        share = grad_of_window(
            upstream + level * step_level, dvalue_dterms + level, weight, h, w, halo, HAS_DVALUE, dtype
        )
        finite = finite & (tl.abs(share) < float("inf"))
        total = total * (pixel_share(i, h) * pixel_share(j, w)).to(dtype) + share * value
        total = clamp_if_finite(total, finite, LIMITS[1])
    share = grad_of_window(upstream, dvalue_dterms, weight, height, width, halo, HAS_DVALUE, dtype)
    finite = finite & (tl.abs(share) < float("inf"))
    begin = (2 * top).to(tl.int64) * width + 2 * left
    for quarter in tl.static_range(4):
        i = 2 * (top + row) + quarter // 2
        j = 2 * (left + column) + quarter % 2
        inside = (i < height) & (j < width)
        at = begin + ((2 * row + quarter // 2) * width + (2 * column + quarter % 2))
        value = share * tl.load(scale_grads + at, mask=inside, other=0)
        if LEVELS > 1:
            value = total * (pixel_share(i, height) * pixel_share(j, width)).to(dtype) + value
        value = clamp_if_finite(value, finite, LIMITS[0])
        tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)
