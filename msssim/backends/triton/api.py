"""The fused kernels for GPUs as one function: how a call is cut into programs, and what memory they are given.

Nothing here asks the device for a value, so nothing waits for it: where pixels are extreme the kernels find out.
"""

import contextlib
import functools
import heapq
import itertools
import math
import struct
import typing

import torch

from ... import window
from . import kernels

SIZES = (128, 256)  # threads of a program of sweep(); each follows one column, or two, down the rows


def means(img1, img2, *options):
    """The terms of every plane, (N, C, levels)."""
    return means_and_gradients(img1, img2, *options, False, False)[0]


def means_and_gradients(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    """The terms of every plane, (N, C, levels), and the gradients of each scale's sum with respect to its own image.

    The gradients, (N, C, pixels of all scales) or, where not needed, (N, C, 0), are those of the images as given (what
    the scaling contributes is in them), times gradient_scale(); sum, not mean: gradient() divides.
    """
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, taps, c1, c2, unit, levels, rectify, True, False)
        return means, first, second
    x, y = _as_stored(img1), _as_stored(img2)
    call = _call(
        x.shape, x.stride(), y.stride(), x.dtype, x.device, tuple(taps), c1, c2, unit, levels, rectify, need1 + need2
    )
    with _device_of(x):
        return call(x, y, need1, need2)


def pool(terms, pooling, sloped):
    """(value, slopes): as multiscale.pool(), and how the value grows with each term, (N, C, levels), or None."""
    value = terms.new_empty(() if pooling.together else terms.shape[:1], dtype=pooling.dtype)
    slopes = terms.new_empty(terms.shape) if sloped else None
    launch = _pool(terms.shape, terms.device, pooling, sloped)
    with _device_of(terms):
        launch(terms, value, slopes if sloped else terms)
    return value, slopes


def gradient(upstream, slopes, kept, height, width, levels, halo, unit, dtype):
    """The gradient with respect to an image, (N, C, H, W): no further than `dtype` goes, for what is finite.

    `upstream` is for the mean of each scale, (N, C, levels); or, with the slopes of pool(), for the value, () or (N,).
    """
    n, channels, _ = kept.shape
    kept = kept.contiguous()  # vmap may have moved dimensions
    out = kept.new_empty((n, channels, height, width), dtype=dtype)
    steps = upstream.stride() if slopes is None else (*upstream.stride(), 0, 0, 0)[:3]
    dtypes = upstream.dtype, kept.dtype, dtype
    launch = _spread(out.shape, steps, slopes is not None, dtypes, kept.device, levels, halo, unit)
    with _device_of(kept):
        launch(upstream, upstream if slopes is None else slopes, kept, out)
    return out


_EXACT = {"enable_fp_fusion": False}  # nothing is contracted but what says tl.fma
_TILE = (4, 128)  # of spread(), which gives four times as many pixels
_DEPTH = 4  # scales that one tile of halve() gives at most
_NARROWEST = 4  # the fewest threads of a group, as a power of two
_SMALL = 1 << 22  # pixels of an image that the caches hold: it may be read twice, and all scales are one launch
_SHARE = 0.9  # of the memory of one image that sweep() may take for what threads tell each other


class _Launch:
    """A kernel with all its arguments but the tensors.

    What Triton compiled for it is kept: to find that again by the arguments takes longer than everything else.
    """

    def __init__(self, kernel, grid, numbers, threads, **constants):
        self.kernel, self.grid, self.numbers, self.constants = kernel, (*grid, 1, 1)[:3], numbers, constants
        self.options = {"num_warps": threads // 32, **_EXACT}
        self.in_order = tuple(constants[name] for name in kernel.arg_names if name in constants)
        self.compiled = None

    def __call__(self, *tensors):
        if self.compiled:
            self.compiled[self.grid](*tensors, *self.numbers, *self.in_order)
        else:
            self.compiled = self.kernel[self.grid](*tensors, *self.numbers, **self.constants, **self.options)


class _Call:
    """means_and_gradients() for images of one shape, layout and dtype, and one set of options.

    Of a small image all scales are one launch, after another has written the coarse ones. Of a large one the finest
    scale is a launch that writes the next, and all coarse ones are another.
    """

    def __init__(self, shape, x_steps, y_steps, dtype, device, taps, c1, c2, unit, levels, rectify, gradients):
        n, channels, height, width = shape
        planes, halo, shapes = n * channels, len(taps) - 1, _shapes(height, width, levels)
        maps = gradients and gradients + 2
        self.planes, self.levels = (n, channels), levels
        self.dtype = _dtype_of_computation(dtype)
        self.pixels = sum(h * w for h, w in shapes)
        coarser = self.pixels - height * width
        small = planes * height * width <= _SMALL and dtype == self.dtype and x_steps[3] == y_steps[3] == 1
        self.together = small and levels > 1
        parts = [shapes] if self.together else [scales for scales in (shapes[:1], shapes[1:]) if scales]
        columns = columns_of_a_thread(self.dtype == torch.float64, halo)
        cutting = halo, maps, columns, _processors(device), planes * height * width * _SHARE
        plans = [_plan(planes, scales, *cutting) for scales in parts]
        slots, grids = max(max(plan.programs) for plan in plans), [planes * sum(plan.programs) for plan in plans]
        self.scratch = max(_scratch(grid, plan.threads, columns, maps) for grid, plan in zip(grids, plans, strict=True))
        self.sizes = {"coarse": (2, planes, coarser), "partials": (planes, levels, slots), "origins": (planes, 2)}
        names, weights = ("TAPS", "PARTS", "ALONG"), _weights(taps, self.dtype == torch.float64)
        constants = dict(zip(names, weights, strict=True), MAPS=maps, PIXELS=columns, RECTIFY=rectify)
        constants["EXACT"] = c1 == 0, c2 == 0
        units = coarser, *(_bits(value) for value in (c1 / unit**2, c2 / unit**2, unit))
        self.sweeps = []
        for part, (plan, grid) in enumerate(zip(plans, grids, strict=True)):
            steps = (0, 0, 0, 1, 0, 0, 0, 1) if part else (*x_steps, *y_steps)
            sizes = planes, channels, height, width, levels, plan.rows, plan.lanes, slots, self.pixels
            coarse = bool(part) or self.together
            constants |= dict(FINEST=not part, COARSE=coarse, DOWN=levels > 1 and not coarse, SIZE=plan.threads)
            constants["WIDE"] = _furthest(plan, height, width, halo, steps) >= 2**31
            self.sweeps.append(_Launch(kernels.sweep, (grid,), (*steps, *sizes, *units), plan.threads, **constants))
        images = *x_steps[:3], *y_steps[:3], channels
        first = 0 if self.together else 1
        self.halves = [
            _halve(images, planes, coarser, shapes, level, units[-1]) for level in range(first, levels - 1, _DEPTH)
        ]
        cuts = plans[0].rows, plans[0].lanes & 15, plans[-1].rows, plans[-1].lanes >> (4 if self.together else 0)
        self.mean = _Launch(
            kernels.mean, (planes, levels), (slots, height, width, levels, halo, *cuts), 128, PIXELS=columns, SIZE=128,
            LOST=halo * (1 + bool(maps)), THREADS=plans[0].threads, COARSE_THREADS=plans[-1].threads,
        )  # fmt: skip

    def __call__(self, x, y, need1, need2):
        def new(*shape, dtype=self.dtype):
            return x.new_empty(shape, dtype=dtype)

        kept = [new(*self.planes, self.pixels if need else 0) for need in (need1, need2)]
        coarse, origins = new(*self.sizes["coarse"]), new(*self.sizes["origins"])
        partials = new(*self.sizes["partials"], dtype=torch.float64)
        targets = (*coarse.unbind(), *kept, origins, partials, new(self.scratch))
        finest, *rest = self.sweeps
        if not self.together:
            finest(x, y, *targets)
        for halve in self.halves:
            halve(x, y, coarse, origins)
        if self.together:
            finest(x, y, *targets)
        for sweep in rest:
            sweep(*targets[:2], *targets)
        means = new(*self.planes, self.levels, dtype=torch.float64)
        self.mean(partials, means)
        return means, *kept


_call = functools.lru_cache(maxsize=256)(_Call)


def _halve(images, planes, coarser, shapes, level, unit):
    """The launch for the scales after `level`, from it."""
    rows = columns = 32
    across = -(-shapes[level + 1][1] // columns)
    tiles = across * -(-shapes[level + 1][0] // rows)
    numbers = (*images, coarser, *shapes[0], level, tiles, across, unit)
    depth = min(_DEPTH, len(shapes) - 1 - level)
    return _Launch(
        kernels.halve, (2 * planes * tiles,), numbers, 128, FINEST=level == 0, DEPTH=depth, ROWS=rows, COLUMNS=columns,
        SIZE=128,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _pool(shape, device, pooling, sloped):
    """The launch for pool()."""
    batch, channels, _ = shape
    values = 1 if pooling.together else batch
    return _Launch(
        kernels.pool, (values,), (batch * channels // values,), 32, SHARES=pooling.shares,
        TAME=pooling.normalize in ("relu", "simple"), HALF=pooling.normalize == "simple",
        PRODUCT=pooling.method == "product", STEEP=pooling.steep, SLOPED=sloped, SIZE=32,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def _spread(shape, steps, sloped, dtypes, device, levels, halo, unit):
    """The launch for gradient()."""
    n, channels, height, width = shape
    rows, columns = _TILE
    across = -(-width // (2 * columns))
    tiles = across * -(-height // (2 * rows))
    pixels = sum(h * w for h, w in _shapes(height, width, levels))
    weight, limits = _bits(1 / window.gradient_scale(unit)), (torch.finfo(dtypes[2]).max, torch.finfo(dtypes[1]).max)
    return _Launch(
        kernels.spread, (n * channels * tiles,), (*steps, channels, pixels, height, width, halo, tiles, across, weight),
        128, SLOPED=sloped, LEVELS=levels, LIMITS=limits, ROWS=rows, COLUMNS=columns,
    )  # fmt: skip


def columns_of_a_thread(double, halo):
    """Two where their sums fit into the registers, or nearly, else one."""
    return 2 if not double and halo <= 10 else 1


def _bits(value):
    """A float as Triton takes it: as an integer, lest it be made a float32."""
    return struct.unpack("q", struct.pack("d", value))[0]


@functools.lru_cache(maxsize=64)
def _shapes(height, width, levels):
    shapes = [(height, width)]
    for _ in range(levels - 1):
        shapes.append(tuple((side + 1) // 2 for side in shapes[-1]))
    return tuple(shapes)


@functools.lru_cache(maxsize=64)
def _weights(taps, double):
    """The taps of the kernels, what the rows and columns of a sum that is pending weigh, the taps' sum.

    The outermost taps are 1 where that makes the others not too large: one operation less for every sum.
    """
    outermost = taps[0] if taps[0] > 2**-12 else 1.0
    taps = tuple(tap / outermost for tap in taps)
    if not double:
        taps = struct.unpack(f"{len(taps)}f", struct.pack(f"{len(taps)}f", *taps))
    along = math.fsum(taps)
    parts = tuple(along * math.fsum(taps[:count]) for count in range(len(taps) - 1, 0, -1))
    return taps, parts, along


class _Plan(typing.NamedTuple):
    """How one launch of sweep() is cut."""

    threads: int  # of a program
    rows: int  # that it goes down, beside those of the windows that reach beyond
    lanes: int  # threads of a group, for each scale 4 bits, as powers of two
    programs: tuple  # of a plane, for each scale


@functools.lru_cache(maxsize=256)
def _plan(planes, shapes, halo, maps, columns, processors, memory):
    """The quickest of some plans, or the smallest where none makes do with so many numbers of memory.

    A program is taken to last as long as it has rows to go down. A processor holds 256 threads, for which it has
    registers, and takes some 0.7 of the time where it has only 128.
    """
    tallest, reach = shapes[0][0], halo * (1 + bool(maps))
    possible = {*range(8, 128, 2), *(max(8, 2 * -(-tallest // (2 * part))) for part in range(1, 17))}
    best = None
    for threads, rows in itertools.product(SIZES, possible):
        groups = [(threads, power) for power in range(_NARROWEST, threads.bit_length()) if columns << power > reach]
        chosen = [
            min((_programs(*shape, rows, *group, reach, columns), group[1]) for group in groups) for shape in shapes
        ]
        plan = _Plan(
            threads, rows, sum(each[1] << (4 * k) for k, each in enumerate(chosen)), tuple(each[0] for each in chosen)
        )
        total = planes * sum(plan.programs)
        lengths = []
        for (height, width), (programs, power) in zip(shapes, chosen, strict=True):
            above = -(-height // rows) - 1  # programs below each other; those at the bottom have the rows that are left
            whole = -(-above * -(-width // ((columns << power) - reach)) // (threads >> power))
            left = height - above * rows
            lengths += [(rows + reach, planes * whole), (left + reach, planes * (programs - whole))]
        time = _time(lengths, max(1, 256 // threads) * processors)
        if total * threads <= 128 * processors:
            time *= 0.7
        judged = max(memory, _scratch(total, threads, columns, maps)), time, threads, -rows
        if best is None or judged < best[0]:
            best = judged, plan
    return best[1]


def _time(programs, places):
    """When the last of (how long, how many) is over, if each in turn begins as soon as one of the places is free."""
    free = [(0, places)]
    for length, count in programs:
        while count:
            start, some = heapq.heappop(free)
            if some > count:
                heapq.heappush(free, (start, some - count))
            heapq.heappush(free, (start + length, min(some, count)))
            count -= min(some, count)
    return max(free)[0]


def _furthest(plan, height, width, halo, steps):
    """How far from its first row a program's pixels can be in memory, at most, its groups one below the other."""
    rows = min(height, plan.rows * (plan.threads >> _NARROWEST)) + plan.rows + 2 * halo + 4
    return rows * max(steps[2], steps[6], width) + (width + 2 * halo) * max(steps[3], steps[7])


def _programs(height, width, rows, threads, power, reach, columns):
    items = -(-width // ((columns << power) - reach)) * -(-height // rows)
    return -(-items // (threads >> power))


def _scratch(programs, threads, columns, maps):
    """How many numbers the threads of so many programs tell each other, and one program more: some look beyond."""
    # Beside s, d and the derivatives one line more, for the pivots. (In float64 it is not used.)
    return (programs + 1) * 2 * (2 + maps + bool(maps)) * columns * threads


@functools.lru_cache(maxsize=64)
def _processors(device):
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _device_of(tensor):
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _as_stored(image):
    image = image.detach().resolve_neg()
    return image.view(torch.uint8) if image.dtype == torch.bool else image


def _dtype_of_computation(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32
