"""The fused backend on a CPU: what the kernels are given, and the threads they run on.

A call is one sweep over both images (:mod:`.numba_sweep`): the terms of every scale and, where asked, the gradient of
each. What depends on the shapes and options alone is worked out once and kept.
"""

import collections
import functools
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import torch

from .numba_blocks import ROWS
from .numba_spread import spread
from .numba_sweep import sweep

_ZERO = {torch.float32: 1e-20, torch.float64: 1e-200}  # a denominator at or below this counts as zero
_EXTREME, _TAMED = 2.0**40, 2.0**20  # a plane whose peak is beyond the one is scaled to the other
_SUSPICIOUS = 2.0**60  # a strip whose squares sum to more, or to NaN, may belong to such a plane
_ROUNDING = 16  # what rounding leaves of a difference that is zero, in eps
_UNSIGNED = 2e-6  # 2 σxy this near zero, in units of data_range², has the sign that float32's rounding gave it
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

_log = logging.getLogger(__name__)


def means_and_gradients(img1, img2, taps, c1, c2, unit, levels, rectify, need1, need2):
    """The terms of every plane, (N, C, levels), and the gradients of each scale's sum with respect to its own image.

    The gradients, (N, C, pixels of all scales) or, where not needed, (N, C, 0), are those of the images as given (what
    the scaling contributes is in them); sum, not mean: gradient() divides.
    """
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, taps, c1, c2, unit, levels, rectify, True, False)
        return means, first, second
    batch, channels, height, width = img1.shape
    dtype = _dtype_of_computation(img1.dtype)
    plan = _plan(batch * channels, height, width, levels, len(taps) - 1, need1)
    gradients = [img1.new_empty((batch, channels, plan.pixels if need else 0), dtype=dtype) for need in (need1, need2)]
    typed = _typed_taps(taps, dtype)
    scales = _ordinary_scales(batch * channels, unit, c1, c2, dtype, rectify)
    sums, squares = _sweep(img1, img2, dtype, typed, scales, plan, need2 if need1 else None, gradients)
    if not (squares.max() < _SUSPICIOUS and np.isfinite(sums).all()):
        peak = torch.maximum(_peak(img1), _peak(img2)).reshape(-1).double().numpy()
        extreme = (peak > unit * _EXTREME) & np.isfinite(peak)
        if extreme.any():
            scales = _scales(np.where(extreme, _TAMED / np.where(extreme, peak, 1), 1 / unit), c1, c2, dtype, rectify)
            sums, _ = _sweep(img1, img2, dtype, typed, scales, plan, need2 if need1 else None, gradients)
    return torch.from_numpy(sums / plan.counts).view(batch, channels, levels), *gradients


def gradient(upstream, gradients, height, width, levels, halo, dtype):
    """The gradient with respect to an image, from that of each scale's mean: (N, C, H, W), as far as `dtype` goes."""
    planes = gradients.shape[0] * gradients.shape[1]
    plan = _plan(planes, height, width, levels, halo, True)
    shares = upstream.double().reshape(planes, levels).numpy() / plan.counts
    out = gradients.new_empty((*gradients.shape[:2], height, width))
    strip = max(32, 2 ** (levels - 1))
    state, limit = np.zeros(1, np.int64), torch.finfo(dtype).max
    flat, result = gradients.reshape(planes, -1).numpy(), out.view(planes, height, width).numpy()
    _on_threads(planes * height * width, spread, (out.dtype,), flat, shares, plan.shapes, strip, state, limit, result)
    return out.to(dtype)


def _sweep(img1, img2, dtype, taps, scales, plan, both, gradients):
    """The sums of every plane and scale, and of the squares of each strip of the finest; gradients are written."""
    x, y = (image.resolve_neg() for image in (img1, img2))
    planes, levels = plan.planes, plan.shapes.shape[0]
    coarser = plan.pixels - x.shape[2] * x.shape[3]
    pyramid = _borrow(2 * planes * coarser, dtype)
    like = _LIKE[dtype]
    info = np.array(
        [
            x.shape[1], pyramid.data_ptr(), pyramid.data_ptr() + planes * coarser * pyramid.element_size(), coarser,
            gradients[0].data_ptr(), gradients[1].data_ptr(), plan.pixels,
            x.data_ptr(), *x.stride(), y.data_ptr(), *y.stride(),
        ],
        np.int64,
    )  # fmt: skip
    sums, squares = np.zeros((planes, levels, plan.slots)), np.zeros((planes, plan.slots))
    state = np.zeros(1 + planes * levels, np.int64)
    # What the addresses in `info` point to is kept alive by `alive`, should an interrupt leave a thread behind.
    alive = (x, y, pyramid, gradients)
    _on_threads(
        planes * x.shape[2] * x.shape[3], sweep, (x.dtype, len(taps), both is None), _LIKE[x.dtype], like, info,
        plan.shapes, plan.tasks, state, scales, taps, None if both is None else int(both), sums, squares, alive=alive,
    )  # fmt: skip
    _give_back(pyramid)
    return sums.sum(-1), squares


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
    return torch.empty(elements, dtype=dtype)


def _give_back(memory):
    if memory.numel() * memory.element_size() <= _KEPT_BYTES:
        _KEPT.append(memory)


def _dtype_of_computation(dtype):
    return torch.float64 if dtype == torch.float64 else torch.float32


def _peak(image):
    low, high = image.detach().flatten(2).to(_dtype_of_computation(image.dtype)).aminmax(dim=-1)
    return torch.maximum(high, -low)


def _scales(scale, c1, c2, dtype, rectify):
    """For each plane: the scale, C1 and C2 in working units, and what decides whether a denominator is zero."""
    eps = _ROUNDING * torch.finfo(dtype).eps
    table = np.empty((len(scale), 8))
    table[:, 0] = scale
    table[:, 1] = c1 * scale**2
    table[:, 2] = c2 * scale**2
    table[:, 3:] = _ZERO[dtype], _UNSIGNED, eps * (c2 == 0), eps**2 * (c1 == 0), 0.0 if rectify else -np.inf
    return table


@functools.lru_cache(maxsize=64)
def _ordinary_scales(planes, unit, c1, c2, dtype, rectify):
    return _scales(np.full(planes, 1 / unit), c1, c2, dtype, rectify)


@functools.lru_cache(maxsize=64)
def _typed_taps(taps, dtype):
    """The taps up to the middle one, in the dtype of computation."""
    return tuple(_LIKE[dtype].dtype.type(tap) for tap in taps[: len(taps) // 2 + 1])


class _Plan(NamedTuple):
    """How the planes of a shape are cut into strips."""

    planes: int
    pixels: int
    """Of a plane, at all scales."""
    shapes: np.ndarray
    """A row for each scale: height, width, pixels of all finer scales, number of strips."""
    counts: np.ndarray
    """Places of the window at each scale."""
    tasks: np.ndarray
    """A row for each strip, in the order they are taken in: plane, scale, number within it, top, bottom."""
    slots: int
    """The largest number of strips of a scale."""


@functools.lru_cache(maxsize=64)
def _plan(planes, height, width, levels, halo, gradient):
    shapes, strips, pixels = [], [], 0
    for level in range(levels):
        down = ROWS * max(1, -(-height // (ROWS * max(1, round(height / (128 if gradient else 64))))))
        tops = range(0, height, down)
        strips += [(level, slot, top, min(height, top + down)) for slot, top in enumerate(tops)]
        shapes.append((height, width, pixels, len(tops)))
        pixels += height * width
        height, width = (height + 1) // 2, (width + 1) // 2
    shapes, strips = np.array(shapes, np.int64), np.array(strips, np.int64)
    tasks = np.hstack([np.repeat(np.arange(planes), len(strips))[:, None], np.tile(strips, (planes, 1))])
    # A plane's coarse scales beside the next one's fine, so that few wait for the scale before.
    tasks = np.ascontiguousarray(tasks[np.argsort(tasks[:, 0] + tasks[:, 1], kind="stable")])
    counts = (shapes[:, 0] - halo) * (shapes[:, 1] - halo)
    return _Plan(planes, pixels, shapes, counts, tasks, int(strips[:, 1].max()) + 1)


_pool, _pool_lock = None, threading.Lock()


def _forget_pool():
    """After a fork: the child has none of its parent's threads."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _helpers(number):
    global _pool
    with _pool_lock:
        if _pool is None or _pool._max_workers < number:
            _pool = ThreadPoolExecutor(number, thread_name_prefix="msssim")
        return _pool


def _on_threads(work, kernel, kind, *arguments, alive=None):
    """The kernel on as many threads as PyTorch would use, this one among them."""
    _ready(kernel, kind, arguments)
    number = min(torch.get_num_threads(), max(1, work // _SMALL_WORK))

    def run(_alive=alive):
        kernel(*arguments)

    helpers = []
    if number > 1:
        pool = _helpers(number - 1)
        helpers = [pool.submit(run) for _ in range(number - 1)]
    run()
    for helper in helpers:
        if not helper.cancel():  # one that has not begun is not needed any more
            helper.result()


_ready_for, _compiling = set(), threading.Lock()


def _ready(kernel, kind, arguments):
    """That the kernel is compiled for arguments of these types; what may take seconds is told in the log."""
    variant = (kernel.__name__, *kind)
    if variant in _ready_for:
        return
    with _compiling:
        if variant in _ready_for:
            return
        _log.info("numba backend: preparing the kernel %s for a new kind of call", kernel.__name__)
        started = time.perf_counter()
        signature = tuple(numba.typeof(argument) for argument in arguments)
        try:
            kernel.compile(signature)
        except OSError as error:  # compiled, but the folder would not take it
            _log.warning("numba backend: compiled code is not kept: %s", error)
        source = "found on disk" if kernel.stats.cache_hits.get(signature) else "compiled, which happens once"
        _log.info(
            "numba backend: %s is ready after %.1f s (%s)", kernel.__name__, time.perf_counter() - started, source
        )
        _ready_for.add(variant)
