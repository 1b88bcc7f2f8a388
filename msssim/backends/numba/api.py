"""The fused backend on a CPU: what the kernels are given.

A call is one sweep over both images (:mod:`.sweep`): the terms of every scale and, where asked, the gradient of
each. What depends on the shapes and options alone is worked out once and kept.
"""

import collections
import ctypes
import functools
import mmap
from typing import NamedTuple

import numpy as np
import torch

from ... import window
from . import pooling as pool_kernel
from .backward import spread
from .blocks import MEASURES, ROWS
from .preparing import prepare
from .simd import BYTES
from .sweep import EXTREME, SCALES, SUSPECT, sweep
from .threads import on_threads

_ZERO = {torch.float32: 1e-20, torch.float64: 1e-200}  # a denominator at or below this counts as zero
_USUAL = 1e-12, 1e12  # with constants in between, in working units, no denominator is zero and no product overflows
_EXTREME, _TAMED = 2.0**28, 2.0**20  # a plane whose peak is beyond the one is scaled to about the other
_ROUNDING = 16  # what rounding leaves of a difference that is zero, in eps of the sizes that it is of
_AT_ONCE = 1 << 21  # pixels that are computed again in float64 at a time, or a plane
_SMALL_WORK = 1 << 15  # pixels below which a second thread costs more than it gives

# The element types as the kernels see them: NumPy has no bfloat16, and float16 is handed over as its bits as well.
_FLOAT32, _FLOAT64 = np.empty(0, np.float32), np.empty(0, np.float64)
_LIKE = {
    torch.float32: _FLOAT32,
    torch.float64: _FLOAT64,
    torch.bfloat16: np.empty(0, np.int16),
    torch.float16: np.empty(0, np.uint16),
    torch.uint8: np.empty(0, np.uint8),
    torch.bool: np.empty(0, np.uint8),
}
_SIDES = ((), (0,), (0, 0))  # how many images have a gradient, as types that code is made for


def means(img1, img2, taps, c1, c2, unit, levels, rectify):
    """The terms of every plane, (N, C, levels)."""
    return _means(img1, img2, taps, c1, c2, unit, levels, rectify, ())


def means_and_gradients(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    """The terms of every plane, (N, C, levels), and the gradients of each scale's sum with respect to its own image.

    The gradients, (N, C, pixels of all scales) or, where not needed, (N, C, 0), are those of the images as given (what
    the scaling contributes is in them), times gradient_scale(); sum, not mean: gradient() divides.
    """
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, taps, c1, c2, unit, levels, rectify, True, False)
        return means, first, second
    batch, channels, height, width = img1.shape
    plan = _plan(batch * channels, height, width, levels, len(taps) - 1, need1)
    dtype = _dtype_of_computation(img1.dtype)
    kept = [_empty((batch, channels, plan.pixels if need else 0), dtype) for need in (need1, need2)]
    return _means(img1, img2, taps, c1, c2, unit, levels, rectify, kept[: need1 + need2]), *kept


def _means(img1, img2, taps, c1, c2, unit, levels, rectify, kept):
    """The terms; the gradients, as many as there are in `kept`, are written there.

    Planes that float32 cannot do within the error budgets, or at all, are computed again in float64.
    """
    batch, channels, height, width = img1.shape
    planes = batch * channels
    plan = _plan(planes, height, width, levels, len(taps) - 1, bool(kept))
    problem = _problem(planes, taps, c1, c2, unit, rectify, img1.dtype)
    means = torch.empty((batch, channels, levels), dtype=torch.float64, device="cpu")
    images = img1.resolve_neg(), img2.resolve_neg()
    if problem.dtype == torch.float32 and not window.float32_suffices(c1, c2, unit):
        chosen = torch.arange(planes)
    else:
        chosen = _sweep_and_judge(images, means, kept, plan, problem, c1, c2, unit, rectify)
    for some in chosen.split(max(1, _AT_ONCE // (height * width))) if len(chosen) else ():
        index = some // channels, some % channels
        wide = [image.detach()[index].unsqueeze(1).double() for image in images]
        wide_kept = [_empty((len(some), 1, plan.pixels), torch.float64) for _ in kept]
        means[index] = _means(*wide, taps, c1, c2, unit, levels, rectify, wide_kept).squeeze(1)
        for each, wide_each in zip(kept, wide_kept, strict=True):
            limit = torch.finfo(each.dtype).max  # an infinity would be NaN where the scale has a slope of 0
            each[index] = wide_each.squeeze(1).clamp(-limit, limit).to(each.dtype)
    return means


def _sweep_and_judge(images, means, kept, plan, problem, c1, c2, unit, rectify):
    """Compute all planes in the dtype of the problem; gives the numbers of those that need float64."""
    planes, levels = plan.planes, plan.shapes.shape[0]
    state = _sweep(images, means, kept, plan, problem)
    if not state[SUSPECT]:
        return ()
    inaccurate = state[SCALES + planes * levels :] != 0
    if state[SUSPECT] & EXTREME:
        peak = torch.maximum(*(_peak(image) for image in images)).reshape(-1).double().numpy()
        finite = np.isfinite(peak)
        means.view(planes, levels)[torch.from_numpy(~finite)] = torch.nan
        extreme = (peak > unit * _EXTREME) & finite
        if problem.dtype == torch.float32:
            inaccurate = (inaccurate | extreme) & finite
        elif extreme.any():
            tamed = np.ldexp(_TAMED, -np.frexp(np.where(extreme, peak, 1))[1])  # a power of two: it rounds nothing
            scales = _scales(np.where(extreme, tamed, 1 / unit), c1, c2, unit, problem.dtype, rectify)
            _sweep(images, means, kept, plan, problem._replace(scales=scales, careful=True))
    return torch.from_numpy(np.flatnonzero(inaccurate))


def gradient(upstream, slopes, kept, height, width, levels, halo, unit, dtype):
    """The gradient with respect to an image, (N, C, H, W): no further than `dtype` goes, for what is finite.

    `upstream` is for the mean of each scale, (N, C, levels); or, with the slopes of pool(), for the value, () or (N,).
    """
    if slopes is not None:
        upstream = upstream.reshape(-1, 1, 1) * slopes
    batch, channels, _ = kept.shape
    plan = _plan(batch * channels, height, width, levels, halo, True)
    out = _empty((batch, channels, height, width), kept.dtype)
    upstream, kept = upstream.double().contiguous(), kept.contiguous()
    weight = 1 / window.gradient_scale(unit)
    info = np.array((upstream.data_ptr(), kept.data_ptr(), out.data_ptr(), batch * channels, halo), np.int64)
    state, like = np.zeros(3, np.int64), _LIKE[out.dtype]
    limits = torch.finfo(dtype).max, torch.finfo(out.dtype).max
    arguments = (like, BYTES // like.itemsize, info, plan.shapes, weight, limits, state)
    prepare(spread, (out.dtype,), (0, 1, *arguments))
    on_threads(spread, arguments, _threads(out.numel()), (upstream, kept, out))
    return out if dtype == out.dtype else out.to(dtype)


def pool(terms, pooling, sloped):
    """(value, slopes): as multiscale.pool(), and how the value grows with each term, (N, C, levels), or None."""
    batch, channels, _ = terms.shape
    values = 1 if pooling.together else batch
    value = torch.empty(() if pooling.together else (batch,), dtype=torch.float64, device="cpu")
    slopes = torch.empty_like(terms) if sloped else None
    arguments = (
        terms.data_ptr(), *_rule(pooling), pooling.steep, values, batch * channels // values, value.data_ptr(),
        slopes.data_ptr() if sloped else 0,
    )  # fmt: skip
    prepare(pool_kernel.pool, (), arguments)
    pool_kernel.pool(*arguments)
    return value.float() if pooling.dtype == torch.float32 else value, slopes


@functools.lru_cache(maxsize=64)
def _rule(pooling):
    modes = {"relu": pool_kernel.RELU, "simple": pool_kernel.SIMPLE}
    return np.array(pooling.shares), modes.get(pooling.normalize, pool_kernel.RAW), pooling.method == "product"


def _sweep(images, means, kept, plan, problem):
    """Write the means and the gradients; gives the state that the threads have left."""
    x, y = images
    planes, levels = plan.planes, plan.shapes.shape[0]
    coarser = planes * (plan.pixels - x.shape[2] * x.shape[3])
    pyramid = _borrow(2 * coarser, problem.dtype)
    at, goals = pyramid.data_ptr(), [each.data_ptr() for each in kept]
    info = np.array(
        (means.data_ptr(), x.shape[1], at, at + coarser * pyramid.element_size(), coarser // planes,
         *goals, *(0,) * (2 - len(goals)), plan.pixels, x.data_ptr(), *x.stride(), y.data_ptr(), *y.stride()),
        np.int64,
    )  # fmt: skip
    state, sums = (
        np.zeros(SCALES + planes * (levels + 1), np.int64),
        np.empty((MEASURES + 2, planes, levels, plan.slots)),
    )
    sides, careful = _SIDES[len(kept)], True if problem.careful else None
    arguments = (
        problem.source, problem.like, info, plan.shapes, plan.tasks, problem.scales, problem.taps, sides, careful,
        state, sums,
    )  # fmt: skip
    prepare(sweep, (x.dtype, len(problem.taps), len(kept), careful), (0, 1, *arguments))
    on_threads(sweep, arguments, _threads(planes * plan.pixels), (images, means, pyramid, kept))
    _give_back(pyramid)
    return state


def _threads(pixels):
    """How many threads are worth it, this one among them; no more than PyTorch would use."""
    return min(torch.get_num_threads(), max(1, pixels // _SMALL_WORK))


def _empty(shape, dtype):
    """Memory for a tensor, in huge pages where it is large and there are any: each fresh page costs microseconds."""
    memory = torch.empty(shape, dtype=dtype, device="cpu")  # whatever the default device is
    size = memory.numel() * memory.element_size()
    if size >= _LARGE and _madvise:
        start = -(-memory.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        _madvise(start, size - (start - memory.data_ptr()), mmap.MADV_HUGEPAGE)
    return memory


_LARGE = 1 << 21  # bytes: no huge page is smaller
_madvise = getattr(ctypes.CDLL(None), "madvise", None) if hasattr(mmap, "MADV_HUGEPAGE") else None
if _madvise:
    _madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

# The pyramids of the last call or two, if small: memory fresh from the system costs more time than filling it.
_KEPT, _KEPT_BYTES = collections.deque(maxlen=2), 1 << 24


def _borrow(elements, dtype):
    for _ in range(len(_KEPT)):
        try:
            memory = _KEPT.popleft()
        except IndexError:  # another thread was faster
            break
        if memory.dtype == dtype and elements <= memory.numel() <= 2 * elements:
            return memory
    return _empty(elements, dtype)


def _give_back(memory):
    if memory.numel() * memory.element_size() <= _KEPT_BYTES:
        _KEPT.append(memory)


def _dtype_of_computation(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _peak(image):
    low, high = image.detach().flatten(2).to(_dtype_of_computation(image.dtype)).aminmax(dim=-1)
    return torch.maximum(high, -low)


class _Problem(NamedTuple):
    """What the options and dtypes come to."""

    source: np.ndarray
    """Of the type of the pixels."""
    like: np.ndarray
    """Of the type that is computed with."""
    dtype: torch.dtype
    """The same for PyTorch."""
    taps: tuple
    """Up to the middle one."""
    scales: np.ndarray
    """A row for each plane, see _scales()."""
    careful: bool
    """Whether a denominator might be zero, or the product of two overflow."""


@functools.lru_cache(maxsize=64)
def _problem(planes, taps, c1, c2, unit, rectify, dtype):
    computed = _dtype_of_computation(dtype)
    like = _LIKE[computed]
    scales = _scales(np.full(planes, 1 / unit), c1, c2, unit, computed, rectify)
    careful = not all(_USUAL[0] <= c / unit**2 <= _USUAL[1] for c in (c1, c2))
    typed = tuple(like.dtype.type(tap) for tap in taps[: len(taps) // 2 + 1])
    return _Problem(_LIKE[dtype], like, computed, typed, scales, careful)


def _scales(scale, c1, c2, unit, dtype, rectify):
    """For each plane: the scale, 2 C1 and 2 C2 in working units, what is rounding, and which denominators are zero.

    And what gradients are multiplied by that are to s or d.
    """
    eps = _ROUNDING * torch.finfo(dtype).eps
    number = _LIKE[dtype].dtype.type
    table = np.empty((len(scale), 9))
    table[:, 0] = scale
    table[:, 1] = 2 * c1 * scale**2
    table[:, 2] = 2 * c2 * scale**2
    table[:, 3:6] = eps, 0.0 if rectify else -np.inf, 2 * _ZERO[dtype]
    # In working units a constant may be less than any number of the dtype: then rounding decides what is zero.
    table[:, 6], table[:, 7] = eps**2 * (number(table[:, 1]) == 0), eps * (number(table[:, 2]) == 0)
    table[:, 8] = 2 * window.gradient_scale(unit) * scale
    return table


class _Plan(NamedTuple):
    """How the planes of a shape are cut into strips."""

    planes: int
    pixels: int
    """Of a plane, at all scales."""
    shapes: np.ndarray
    """A row for each scale: height, width, pixels of all finer scales, number of strips."""
    tasks: np.ndarray
    """A row for each strip, in the order they are taken in: plane, scale, number within it, top, bottom."""
    slots: int
    """The largest number of strips of a scale."""


def _rows_of_a_strip(planes, height, gradient):
    """With gradients the rows above a strip are worked on twice: strips are higher then, but enough for threads."""
    most = max(128, min(512, planes * height // 24)) if gradient else 64
    return ROWS * max(1, -(-height // (ROWS * max(1, round(height / most)))))


@functools.lru_cache(maxsize=64)
def _plan(planes, height, width, levels, halo, gradient):
    shapes, strips, pixels = [], [], 0
    for level in range(levels):
        down = _rows_of_a_strip(planes, height, gradient)
        tops = range(0, height, down)
        strips += [(level, slot, top, min(height, top + down)) for slot, top in enumerate(tops)]
        shapes.append((height, width, pixels, len(tops)))
        pixels += height * width
        height, width = (height + 1) // 2, (width + 1) // 2
    shapes, strips = np.array(shapes, np.int64), np.array(strips, np.int64)
    tasks = np.hstack([np.repeat(np.arange(planes), len(strips))[:, None], np.tile(strips, (planes, 1))])
    # The scales of all planes one after the other, so that few strips wait for a finer scale that is not finished.
    tasks = np.ascontiguousarray(tasks[np.argsort(tasks[:, 1], kind="stable")])
    return _Plan(planes, pixels, shapes, tasks, int(strips[:, 1].max()) + 1)
