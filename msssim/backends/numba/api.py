"""The fused backend on a CPU: the calls of the kernels.

A call is one sweep over both images (:mod:`.sweep`): the terms of every scale and, if requested, the gradient of
each. What depends only on the shapes and options is computed once and cached.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from ... import window
from ..common import TAMED
from . import backward, pooling
from .finish import EXTREME
from .memory import empty
from .plan import LIKE, Parameters, Plan, address, parameters, plan, plane_constants
from .preparing import prepare
from .records import STATE
from .sources import InMemory, Source, require, threads
from .threads import on_threads

_EXTREME = 2.0**28  # a plane whose peak is beyond this is scaled to about TAMED
_SMALL_PLANE = 1 << 12  # pixels below which float32 is not used: few windows do not average its errors out
_FEW_VISIBLE = 1 << 14  # the same of visible pixels: the windows at the border of a mask have larger errors
_LEAST_TOTAL = 1.0  # the sum of the weights of windows below which it may be 0 in float32 and not in float64

Options = tuple[tuple[float, ...], float, float, float, int, bool]


def means(
    img1: torch.Tensor,
    img2: torch.Tensor,
    taps: tuple[float, ...],
    c1: float,
    c2: float,
    unit: float,
    levels: int,
    rectify: bool,
    border: int = 0,
) -> torch.Tensor:
    """The terms of every plane, (N, C, levels); with one scale, of images with a border of so many zeros."""
    return _means(InMemory(img1, img2, border), (taps, c1, c2, unit, levels, rectify), [])


def means_and_gradients(
    img1: torch.Tensor,
    img2: torch.Tensor,
    taps: tuple[float, ...],
    c1: float,
    c2: float,
    unit: float,
    levels: int,
    rectify: bool,
    need1: bool,
    need2: bool,
    border: int = 0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The terms of every plane, (N, C, levels), and the gradients of each scale's sum with respect to its own image.

    The gradients, (N, C, pixels of all scales) or, where not needed, (N, C, 0), are those of the images as given (what
    the scaling contributes is in them), times gradient_scale(); sum, not mean: gradient() divides.
    """
    options = taps, c1, c2, unit, levels, rectify
    if need2 and not need1:
        means, second, first = means_and_gradients(img2, img1, *options, True, False, border)
        return means, first, second
    return swept(InMemory(img1, img2, border), options, need1, need2)


def swept(
    source: Source, options: Options, need1: bool, need2: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As means_and_gradients(), of a source; the gradient to the first image is needed if one is."""
    batch, channels, height, width = source.shape
    pixels = plan(batch * channels, height, width, options[4], need1).pixels
    dtype = window.compute_dtype(source.dtype)
    grads = [empty((batch, channels, pixels if need else 0), dtype) for need in (need1, need2)]
    return _means(source, options, grads[: need1 + need2]), grads[0], grads[1]


def means_of(source: Source, options: Options) -> torch.Tensor:
    """The terms of every plane of a source, (N, C, levels)."""
    return _means(source, options, [])


def _means(source: Source, options: Options, grads: list[torch.Tensor]) -> torch.Tensor:
    """The terms; the gradients, as many as there are in `grads`, are written there, and the weights of the source.

    Planes that float32 cannot do within the error budgets, or at all, are computed again in float64.
    """
    taps, c1, c2, unit, levels, rectify = options
    batch, channels, height, width = source.shape
    planes = batch * channels
    cut = plan(planes, height, width, levels, bool(grads), source.border)
    numbers = parameters(planes, taps, c1, c2, unit, rectify, source.dtype)
    means = torch.empty((batch, channels, levels), dtype=torch.float64, device="cpu")
    wide = height * width < _SMALL_PLANE or not numbers.float32_suffices
    if wide and numbers.dtype == torch.float32:
        chosen = torch.arange(planes)
    else:
        found = _sweep_and_judge(source, means, grads, cut, numbers, options)
        if found is None:
            return means
        chosen = found
    for some in source.groups(chosen) if len(chosen) else ():
        index = some // channels, some % channels
        wide_grads = [empty((len(some), 1, cut.pixels), torch.float64) for _ in grads]
        wide_source = source.widened(index)
        means[index] = _means(wide_source, options, wide_grads).squeeze(1)
        if source.total_weights is not None and wide_source.total_weights is not None:
            totals = _normalize(wide_grads, wide_source.total_weights, cut, len(taps) - 1)
            source.total_weights[index] = totals.squeeze(1)
        for each, wide_each in zip(grads, wide_grads, strict=True):
            limit = torch.finfo(each.dtype).max  # an infinity would be NaN where the scale has a slope of 0
            each[index] = wide_each.squeeze(1).clamp(-limit, limit).to(each.dtype)
    return means


def _normalize(grads: list[torch.Tensor], total_weights: torch.Tensor, cut: Plan, halo: int) -> torch.Tensor:
    """Bring gradients to a mean weight of 1, as those of tiny weights may be too small for float32; gives the sums."""
    totals = torch.zeros_like(total_weights)
    for level, (rows, columns, first, *_) in enumerate(cut.shapes.tolist()):
        windows, own = (rows - halo) * (columns - halo), total_weights[..., level, None]
        totals[..., level] = windows * (own[..., 0] > 0)
        for each in grads:
            each[..., first : first + rows * columns] *= (windows / own).masked_fill(own == 0, 0)
    return totals


def _sweep_and_judge(
    source: Source,
    means: torch.Tensor,
    grads: list[torch.Tensor],
    cut: Plan,
    numbers: Parameters,
    options: Options,
) -> torch.Tensor | None:
    """Compute all planes in the dtype of the parameters; gives the numbers of those that need float64, if any do."""
    _, c1, c2, unit, levels, rectify = options
    planes = cut.planes
    state = source.sweep(means, grads, cut, numbers)
    few = _few_weights(source) if numbers.dtype == torch.float32 else None
    if not state[STATE.suspect] and few is None:
        return None
    inaccurate = state[STATE.scales + planes * levels :] != 0
    if few is not None:
        inaccurate |= few
    if state[STATE.suspect] & EXTREME:
        peak = source.peaks()
        finite = np.isfinite(peak)
        means.view(planes, levels)[torch.from_numpy(~finite)] = torch.nan
        overflowed = ~means.view(planes, levels).isfinite().all(1).numpy()
        extreme = ((peak > unit * _EXTREME) | overflowed) & finite
        if numbers.dtype == torch.float32:
            inaccurate = (inaccurate | extreme) & finite
        elif extreme.any():
            tamed = np.ldexp(TAMED, -np.frexp(np.where(extreme, peak, 1))[1])  # a power of two: it rounds nothing
            scale = np.where(extreme, tamed, 1 / unit)
            constants = plane_constants(scale, c1, c2, unit, numbers.dtype, rectify)
            source.sweep(means, grads, cut, numbers.with_constants(constants))
    return torch.from_numpy(np.flatnonzero(inaccurate))


def _few_weights(source: Source) -> np.ndarray | None:
    """The planes in which pixels of little weight count too much for float32; None if there are none."""
    totals = source.total_weights
    if totals is None:
        return None
    found = totals.flatten(0, 1).numpy()
    few: np.ndarray = (found[:, 0] < _FEW_VISIBLE) | (found < _LEAST_TOTAL).any(-1)
    return few if few.any() else None


def gradient(
    upstream: torch.Tensor,
    dvalue_dterms: torch.Tensor | None,
    scale_grads: torch.Tensor,
    height: int,
    width: int,
    levels: int,
    halo: int,
    unit: float,
    dtype: torch.dtype,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gradient with respect to an image, (N, C, H, W): no further than `dtype` goes, for what is finite.

    `upstream` is for the mean of each scale, (N, C, levels); or, with the derivatives of pool(), for the value, () or
    (N,). `scale_grads` is what means_and_gradients() gave. A scale has windows at `halo` places less than it has pixels
    along each axis: at as many if there is a border of zeros. The gradient is multiplied by `mask`: weights, bool or of
    the dtype of `scale_grads`.
    """
    if dvalue_dterms is not None:
        upstream = upstream.reshape(-1, 1, 1) * dvalue_dterms
    batch, channels, _ = scale_grads.shape
    planes = batch * channels
    cut = plan(planes, height, width, levels, True)
    out = empty((batch, channels, height, width), scale_grads.dtype)
    upstream, scale_grads = upstream.double().contiguous(), scale_grads.contiguous()
    numbers = np.array(
        backward.Numbers(1 / window.gradient_scale(unit), torch.finfo(dtype).max, torch.finfo(out.dtype).max),
        np.float64,
    )
    state = np.zeros(len(backward.STATE), np.int64)
    call = np.array(
        backward.Arguments(
            upstream=upstream.data_ptr(),
            scale_grads=scale_grads.data_ptr(),
            out=out.data_ptr(),
            n_planes=planes,
            n_levels=levels,
            halo=halo,
            shapes=cut.addresses[0],
            numbers=address(numbers),
            state=address(state),
            n_channels=channels,
            **_arguments_of_mask(mask, out.shape),
        ),
        np.int64,
    )
    arguments = call, None if mask is None else LIKE[mask.dtype], LIKE[out.dtype]
    prepare(backward.pyramid_backward, (None if mask is None else mask.dtype, out.dtype), (0, 1, *arguments))
    alive = mask, upstream, scale_grads, out, cut, numbers, state
    on_threads(backward.pyramid_backward, arguments, threads(out.numel()), alive)
    require(state[backward.STATE.done])
    return out if dtype == out.dtype else out.to(dtype)


def _arguments_of_mask(mask: torch.Tensor | None, shape: torch.Size) -> dict[str, int]:
    if mask is None:
        return {}
    mask = mask.expand(shape)
    image, channel, row, column = mask.stride()
    return dict(mask=mask.data_ptr(), mask_image=image, mask_channel=channel, mask_row=row, mask_column=column)


def pool(terms: torch.Tensor, options: Any, with_derivatives: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(value, derivatives): as multiscale.pool(), and those with respect to each term, (N, C, levels), or None.

    `options` is a multiscale.Pooling.
    """
    batch, channels, levels = terms.shape
    values = 1 if options.reduce_batch else batch
    value = torch.empty(() if options.reduce_batch else (batch,), dtype=torch.float64, device="cpu")
    derivatives = torch.empty_like(terms) if with_derivatives else None
    weights, mode, is_product = _rule(options)
    call = np.array(
        pooling.Arguments(
            terms=terms.data_ptr(),
            mode=mode,
            is_product=is_product,
            n_values=values,
            n_planes=batch * channels // values,
            n_levels=levels,
            value=value.data_ptr(),
            dvalue_dterms=0 if derivatives is None else derivatives.data_ptr(),
        ),
        np.int64,
    )
    arguments = call, weights, options.pow_eps
    prepare(pooling.pool, (), arguments)
    pooling.pool(*arguments)
    return value.float() if options.dtype == torch.float32 else value, derivatives


@functools.lru_cache(maxsize=64)
def _rule(options: Any) -> tuple[np.ndarray, int, bool]:
    modes: dict[str | None, int] = {"relu": pooling.RELU, "simple": pooling.SIMPLE}
    return np.array(options.normalized_weights), modes.get(options.normalize, pooling.RAW), options.method == "product"
