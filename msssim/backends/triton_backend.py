"""The fused kernels for GPUs as one function: how a call is cut into programs, and what memory they are given.

Nothing here asks the device for a value, so nothing waits for it: where pixels are extreme the kernels find out.
"""

import contextlib
import functools
import struct

import torch

from .triton_kernels import halve, mean, spread, sweep

BLOCK = 128  # threads of a program of sweep(); each follows one column, or two, down the rows


def means_and_gradients(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    """The terms of every plane, (N, C, levels), and the gradients of each scale's sum with respect to its own image.

    The gradients, (N, C, pixels of all scales) or, where not needed, (N, C, 0), are those of the images as given (what
    the scaling contributes is in them); sum, not mean: gradient() divides.
    """
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, taps, c1, c2, unit, levels, rectify, True, False)
        return means, first, second
    x, y = _as_stored(img1), _as_stored(img2)
    dtype = _dtype_of_computation(img1.dtype)
    shapes = _shapes(*x.shape[-2:], levels)
    pixels = sum(height * width for height, width in shapes)
    planes = x.shape[0] * x.shape[1]
    with _device_of(x):
        kept = [x.new_empty((*x.shape[:2], pixels if need else 0), dtype=dtype) for need in (need1, need2)]
        partials, counts = _sweep(x, y, kept, taps, (c1, c2, unit), levels, rectify, need1 + need2)
        means = x.new_empty((*x.shape[:2], levels), dtype=torch.float64)
        mean[(planes, levels)](
            partials, means, partials.shape[-1], *shapes[0], levels, len(taps) - 1, *counts,
            SIZE=128, num_warps=4, **_EXACT,
        )  # fmt: skip
    return means, *kept


def gradient(upstream, kept, height, width, levels, halo, dtype):
    """The gradient with respect to an image, from that of each scale's mean: (N, C, H, W), within the dtype's range."""
    n, channels, pixels = kept.shape
    out = kept.new_empty((n, channels, height, width), dtype=dtype)
    rows, columns = _TILE
    across = -(-width // columns)
    tiles = across * -(-height // rows)
    upstream, kept = upstream.double(), kept.contiguous()  # vmap may have moved dimensions
    with _device_of(kept):
        spread[(n * channels * tiles,)](
            upstream, kept, out, *upstream.stride(), channels, pixels, height, width, halo, tiles, across,
            LEVELS=levels, LIMIT=torch.finfo(dtype).max, ROWS=rows, COLUMNS=columns, num_warps=4, **_EXACT,
        )  # fmt: skip
    return out


_EXACT = {"enable_fp_fusion": False}  # nothing is contracted but what says tl.fma
_TILE = (8, 128)
_DEPTH = 4  # scales that one tile of halve() gives


def _sweep(x, y, kept, taps, constants, levels, rectify, maps):
    """The sums of all programs, (planes, levels, programs), and how many there are at the first scale and the rest."""
    n, channels, height, width = x.shape
    planes, dtype, halo = n * channels, kept[0].dtype, len(taps) - 1
    maps += 2 * (maps > 0)
    shapes = _shapes(height, width, levels)
    columns = columns_of_a_thread(dtype == torch.float64, halo, maps)
    slots = _slots(x.device)
    pixels = sum(h * w for h, w in shapes)
    coarser = pixels - height * width
    coarse = x.new_empty((2, planes, coarser), dtype=dtype)
    plans = [
        _plan(planes, scales, halo, bool(maps), columns, slots) for scales in (shapes[:1], shapes[1:]) if len(scales)
    ]
    counts = [programs for _, _, programs in plans]
    partials = x.new_empty((planes, levels, max(counts)), dtype=torch.float64)
    origins = x.new_empty((planes, 2), dtype=dtype)
    wanted = max(planes * programs * scales for programs, scales in zip(counts, (1, levels - 1), strict=False))
    scratch = x.new_empty(wanted * 2 * maps * columns * BLOCK, dtype=dtype)
    bits = [struct.unpack("q", struct.pack("d", value))[0] for value in _in_units(*constants)]
    for coarse_scales, (rows, lanes, programs) in enumerate(plans):
        source = (*coarse, 0, 0, 0, 1, 0, 0, 0, 1) if coarse_scales else (x, y, *x.stride(), *y.stride())
        sweep[(planes * programs, levels - 1 if coarse_scales else 1)](
            *source[:2], *coarse, *kept, origins, partials, scratch, *source[2:],
            channels, height, width, levels, rows, lanes, programs, partials.shape[-1], pixels, coarser, *bits,
            int(rectify), TAPS=taps, STEPS=_steps(taps), COARSE=bool(coarse_scales),
            DOWN=levels > 1 and not coarse_scales, MAPS=maps, PIXELS=columns, SIZE=BLOCK, num_warps=BLOCK // 32,
            **_EXACT,
        )  # fmt: skip
        if not coarse_scales:
            _halve(coarse, shapes)
    return partials, (counts[0], counts[-1])


def columns_of_a_thread(double, halo, maps):
    """Two where their sums fit into the registers, else one."""
    return 2 if not double and halo <= 10 and maps < 4 else 1


def _halve(coarse, shapes):
    """The scales after the second, from the second."""
    rows, columns = 16, 64
    for level in range(1, len(shapes) - 1, _DEPTH):
        across = -(-shapes[level][1] // columns)
        tiles = across * -(-shapes[level][0] // rows)
        halve[(coarse.shape[0] * coarse.shape[1] * tiles,)](
            coarse, coarse.shape[-1], *shapes[0], len(shapes), level, tiles, across, DEPTH=_DEPTH, ROWS=rows,
            COLUMNS=columns, num_warps=4, **_EXACT,
        )  # fmt: skip


def _in_units(c1, c2, unit):
    return c1 / unit**2, c2 / unit**2, unit


@functools.lru_cache(maxsize=64)
def _shapes(height, width, levels):
    shapes = [(height, width)]
    for _ in range(levels - 1):
        shapes.append(tuple((side + 1) // 2 for side in shapes[-1]))
    return tuple(shapes)


@functools.lru_cache(maxsize=64)
def _steps(taps):
    """What the step from each row of the window to the next weighs in (mean - middle row)."""
    half = len(taps) // 2
    after = [sum(taps[k + 1 :]) for k in range(half, len(taps) - 1)]
    return tuple(-weight for weight in reversed(after)) + tuple(after)


@functools.lru_cache(maxsize=256)
def _plan(planes, shapes, halo, gradient, columns, slots):
    """How one launch is cut: (rows of a segment, threads of a group for each scale as powers of two, programs a plane).

    What it costs is taken to be how often the device is filled, times the rows that a program goes down.
    """
    best = None
    powers = range(4, BLOCK.bit_length())
    for rows in (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512):
        lanes, programs, total = 0, 1, 0
        for k, (height, width) in enumerate(shapes):
            number, power = min(_programs(height, width, rows, power, halo, gradient, columns) for power in powers)
            lanes |= power << (4 * k)
            programs, total = max(programs, number), total + number
        cost = max(1, -(-planes * total // slots)) * (rows + halo * (1 + gradient))
        if best is None or cost < best[0]:
            best = (cost, rows, lanes, programs)
    return best[1:]


def _programs(height, width, rows, power, halo, gradient, columns):
    across = (columns << power) - halo * gradient
    if across <= 0:
        return float("inf"), power
    items = -(-width // across) * -(-height // rows)
    return -(-items // (BLOCK >> power)), power


@functools.lru_cache(maxsize=64)
def _slots(device):
    """How many programs the device runs at once: their registers let two of them on a processor."""
    return 2 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _device_of(tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _as_stored(image):
    image = image.detach().resolve_neg()
    return image.view(torch.uint8) if image.dtype == torch.bool else image


def _dtype_of_computation(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32
