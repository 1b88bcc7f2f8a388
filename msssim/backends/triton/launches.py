"""What a call launches: kernels with all their arguments but the tensors, prepared once for a shape and its options.

Nothing here reads a value from the device, so nothing waits for it. The kernels find out if pixels are extreme.
"""

import contextlib
import functools
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import window
from . import kernels
from . import plan as planning
from .constants import Constants, for_capability

_EXACT = {"enable_fp_fusion": False}  # nothing is fused but what says tl.fma
_BACKWARD_TILE = (4, 128)  # rows and columns of pyramid_backward(), which computes four times as many pixels
_DOWNSAMPLE_TILE = (32, 32)
_DOWNSAMPLE_DEPTH = 4  # scales that a launch of downsample() writes at most


def require_nvidia() -> None:
    """Refuse other GPUs: warps of 64 threads, as on AMD's, were never tested, not even emulated."""
    if torch.version.hip is not None:
        raise RuntimeError(f"the Triton kernels support NVIDIA GPUs only, got PyTorch for ROCm {torch.version.hip}")


class Launch:
    """A kernel with all its arguments but the tensors.

    It keeps what Triton compiled: to find that again by the arguments takes longer than everything else.
    """

    def __init__(
        self, kernel: Any, grid: tuple[int, ...], numbers: tuple[int, ...], threads: int, max_registers: int = 0,
        **constants: object,
    ) -> None:  # fmt: skip
        self.kernel, self.grid, self.numbers, self.constants = kernel, (*grid, 1, 1)[:3], numbers, constants
        self.options = {"num_warps": threads // 32, **_EXACT, **({"maxnreg": max_registers} if max_registers else {})}
        self.in_order = tuple(constants[name] for name in kernel.arg_names if name in constants)
        self.compiled: Any = None

    def __call__(self, *tensors: Tensor) -> None:
        """Launch it."""
        if self.compiled:
            self.compiled[self.grid](*tensors, *self.numbers, *self.in_order)
        else:
            self.compiled = self.kernel[self.grid](*tensors, *self.numbers, **self.constants, **self.options)


class Cut(NamedTuple):
    """How the scales of a call are launched: what decides, beside the options, which machine code the sweeps are."""

    one_launch: bool
    """Whether all scales are one launch."""
    threads: tuple[int, ...]
    """Threads of a program, of each launch of the sweep."""


class TermsCall:
    """The terms, and gradients, of images of one shape, layout and dtype, with one set of options.

    All scales of a small image are one launch, after another one has written the coarse scales. The finest scale of a
    large image is a launch that writes the next scale, and all coarse ones are another.
    """

    def __init__(
        self, shape: tuple[int, ...], x_steps: tuple[int, ...], y_steps: tuple[int, ...], dtype: torch.dtype,
        device: torch.device, taps: tuple[float, ...], c1: float, c2: float, unit: float, levels: int, rectify: bool,
        gradients: int, cut: Cut | None = None,
    ) -> None:  # fmt: skip
        launch_constants = constants_of(device)
        n, channels, height, width = shape
        planes, halo, shapes = n * channels, len(taps) - 1, planning.pyramid_shapes(height, width, levels)
        fields = gradients and gradients + 2
        self.planes, self.levels = (n, channels), levels
        self.dtype = _compute_dtype(dtype)
        double = self.dtype == torch.float64
        self.pixels = sum(h * w for h, w in shapes)
        coarse_pixels = self.pixels - height * width
        small = planes * height * width <= launch_constants.small_pixels
        small = small and dtype == self.dtype and x_steps[3] == y_steps[3] == 1
        self.one_launch = cut.one_launch if cut else small and levels > 1
        parts = [shapes] if self.one_launch else [scales for scales in (shapes[:1], shapes[1:]) if scales]
        columns = planning.columns_of_a_thread(double, halo, launch_constants.columns)
        memory = planes * height * width * planning.SCRATCH_SHARE
        forced = [launch_constants._replace(threads=(threads,)) for threads in cut.threads] if cut else None
        plans = [
            planning.choose_plan(planes, scales, halo, fields, columns, processors(device), memory, its_constants)
            for scales, its_constants in zip(parts, forced or [launch_constants] * len(parts), strict=True)
        ]
        self.cut = Cut(self.one_launch, tuple(plan.threads for plan in plans))
        grids = [planes * sum(plan.programs) for plan in plans]
        self.scratch = max(
            planning.scratch_size(grid, plan.threads, columns, fields) for grid, plan in zip(grids, plans, strict=True)
        )
        slots = max(max(plan.programs) for plan in plans)
        self.sizes = {
            "coarse": (2, planes, coarse_pixels), "partials": (planes, levels, slots), "plane_shifts": (planes, 2),
        }  # fmt: skip
        kernel_taps, pending_weights, tap_sum = planning.kernel_weights(taps, double)
        constants: dict[str, object] = dict(
            TAPS=kernel_taps, PENDING_WEIGHTS=pending_weights, TAP_SUM=tap_sum, FIELDS=fields, COLUMNS=columns,
            RECTIFY=rectify, GUARD_ZERO_DIV=(c1 == 0, c2 == 0),
        )  # fmt: skip
        bits = tuple(_bits(value) for value in (c1 / unit**2, c2 / unit**2, unit))
        self.sweeps = []
        for part, (plan, grid) in enumerate(zip(plans, grids, strict=True)):
            steps = (0, 0, 0, 1, 0, 0, 0, 1) if part else (*x_steps, *y_steps)
            sizes = planes, channels, height, width, levels, plan.rows, plan.lanes, slots, self.pixels, coarse_pixels
            coarse = bool(part) or self.one_launch
            constants |= dict(HAS_FINEST=not part, HAS_COARSE=coarse, WRITE_NEXT=levels > 1 and not coarse)
            constants["WIDE_OFFSETS"] = planning.farthest_offset(plan, height, width, halo, steps) >= 2**31
            numbers = (*steps, *sizes, *bits)
            self.sweeps.append(
                Launch(
                    kernels.sweep, (grid,), numbers, plan.threads, launch_constants.max_registers,
                    THREADS=plan.threads, **constants,
                )
            )  # fmt: skip
        images = *x_steps[:3], *y_steps[:3], channels
        first = 0 if self.one_launch else 1
        self.downsamples = [
            _downsample(images, planes, coarse_pixels, shapes, level, bits[-1])
            for level in range(first, levels - 1, _DOWNSAMPLE_DEPTH)
        ]
        coarse_lanes = plans[-1].lanes >> (4 if self.one_launch else 0)
        cuts = plans[0].rows, plans[0].lanes & 15, plans[-1].rows, coarse_lanes
        self.finish = Launch(
            kernels.finish_means, (planes, levels), (slots, height, width, levels, halo, *cuts), 128,
            LOST=halo * (1 + bool(fields)), COLUMNS=columns, THREADS=plans[0].threads,
            COARSE_THREADS=plans[-1].threads, SIZE=128,
        )  # fmt: skip

    def __call__(self, x: Tensor, y: Tensor, need1: bool, need2: bool) -> tuple[Tensor, Tensor, Tensor]:
        """(the terms, the gradients of all scales to x, and those to y)."""

        def new(*shape: int, dtype: torch.dtype = self.dtype) -> Tensor:
            return x.new_empty(shape, dtype=dtype)

        grads_x, grads_y = (new(*self.planes, self.pixels if need else 0) for need in (need1, need2))
        coarse, plane_shifts = new(*self.sizes["coarse"]), new(*self.sizes["plane_shifts"])
        partials = new(*self.sizes["partials"], dtype=torch.float64)
        targets = (*coarse.unbind(), grads_x, grads_y, plane_shifts, partials, new(self.scratch))
        finest, *rest = self.sweeps
        if not self.one_launch:
            finest(x, y, *targets)
        for downsample in self.downsamples:
            downsample(x, y, coarse, plane_shifts)
        if self.one_launch:
            finest(x, y, *targets)
        for sweep in rest:
            sweep(*targets[:2], *targets)
        means = new(*self.planes, self.levels, dtype=torch.float64)
        self.finish(partials, means)
        return means, grads_x, grads_y


terms_call = functools.lru_cache(maxsize=256)(TermsCall)


def _downsample(
    images: tuple[int, ...], planes: int, coarse_pixels: int, shapes: tuple[planning.Size, ...], level: int,
    unit_bits: int,
) -> Launch:  # fmt: skip
    """The launch for the scales after `level`, which is read."""
    rows, columns = _DOWNSAMPLE_TILE
    across = -(-shapes[level + 1][1] // columns)
    tiles = across * -(-shapes[level + 1][0] // rows)
    numbers = (*images, coarse_pixels, *shapes[0], level, tiles, across, unit_bits)
    depth = min(_DOWNSAMPLE_DEPTH, len(shapes) - 1 - level)
    return Launch(
        kernels.downsample, (2 * planes * tiles,), numbers, 128, HAS_FINEST=level == 0, DEPTH=depth, ROWS=rows,
        COLUMNS=columns, SAMPLES=128,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def pool_launch(shape: tuple[int, ...], device: torch.device, pooling: Any, has_grad: bool) -> Launch:
    """The launch for the value of terms of this shape, by a multiscale.Pooling. Each device has its own."""
    batch, channels, _ = shape
    values = 1 if pooling.reduce_batch else batch
    return Launch(
        kernels.pool, (values,), (batch * channels // values,), 32, WEIGHTS=pooling.normalized_weights,
        RELU=pooling.normalize in ("relu", "simple"), SIMPLE=pooling.normalize == "simple",
        PRODUCT=pooling.method == "product", POW_EPS=pooling.pow_eps, HAS_GRAD=has_grad, SIZE=32,
    )  # fmt: skip


@functools.lru_cache(maxsize=256)
def backward_launch(
    shape: tuple[int, ...], steps: tuple[int, ...], has_dvalue: bool, dtypes: tuple[torch.dtype, ...],
    device: torch.device, levels: int, halo: int, unit: float,
) -> Launch:  # fmt: skip
    """The launch for the gradient of images of this shape; `dtypes` are of what it reads and writes."""
    n, channels, height, width = shape
    rows, columns = _BACKWARD_TILE
    across = -(-width // (2 * columns))
    tiles = across * -(-height // (2 * rows))
    pixels = sum(h * w for h, w in planning.pyramid_shapes(height, width, levels))
    weight, limits = _bits(1 / window.gradient_scale(unit)), (torch.finfo(dtypes[2]).max, torch.finfo(dtypes[1]).max)
    numbers = (*steps, channels, pixels, height, width, halo, tiles, across, weight)
    return Launch(
        kernels.pyramid_backward, (n * channels * tiles,), numbers, 128, HAS_DVALUE=has_dvalue, LEVELS=levels,
        LIMITS=limits, ROWS=rows, COLUMNS=columns,
    )  # fmt: skip


@functools.lru_cache(maxsize=64)
def constants_of(device: torch.device) -> Constants:
    """The launch constants of a GPU."""
    return _tried or for_capability(capability(device))


_tried: Constants | None = None


@contextlib.contextmanager
def using(constants: Constants) -> Iterator[None]:
    """Use these launch constants on every GPU, to measure them. Launches that were prepared before are forgotten."""
    global _tried
    before, _tried = _tried, constants
    _forget_launches()
    try:
        yield
    finally:
        _tried = before
        _forget_launches()


def _forget_launches() -> None:
    constants_of.cache_clear()
    terms_call.cache_clear()


def capability(device: torch.device) -> int:
    """The compute capability of a GPU, such as 90 for sm_90."""
    major, minor = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return 10 * major + minor


@functools.lru_cache(maxsize=64)
def processors(device: torch.device) -> int:
    """The number of multiprocessors of a GPU."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _bits(value: float) -> int:
    """A float as an integer: Triton would pass it as float32."""
    bits: int = struct.unpack("q", struct.pack("d", value))[0]
    return bits


def _compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
