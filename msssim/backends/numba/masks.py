"""Masks: the weights of pixels as the kernels take them, and what calls with a mask do differently.

A sweep filters the weights as a fifth moment, see README.md. What it leaves as the gradient of a scale is the gradient
to each pixel over the pixel's weight: so what a coarser pixel passes on to the pixels that it is a mean of does not
depend on their weights, and the sum over all scales is multiplied by the weights once.
"""

from __future__ import annotations

import torch

from ... import window
from ..common import pyramid_shapes
from . import api
from .sources import InMemory

_LEAST_PEAK = 0.5  # weights whose largest is from this up to 1 are taken as they are


def scaled(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Weights in a dtype; where needed each plane is divided by a power of two near its largest. Bool stays bool."""
    if mask.dtype == torch.bool:
        return mask
    wide = mask if mask.dtype in (dtype, torch.float64) else mask.to(torch.float32)
    peak = wide.amax((2, 3), keepdim=True).double()
    if ((peak == 0) | ((peak >= _LEAST_PEAK) & (peak <= 1))).all():
        return wide.to(dtype)
    # Two steps: the power of two may be beyond the dtype.
    exponent = -torch.frexp(peak).exponent
    half = exponent // 2
    return torch.ldexp(torch.ldexp(wide.double(), half), exponent - half).to(dtype)


class Masked(InMemory):
    """Two images and the weights of their pixels: a :class:`.sources.Source`."""

    def __init__(self, img1: torch.Tensor, img2: torch.Tensor, mask: torch.Tensor, levels: int) -> None:
        super().__init__(img1, img2)
        self._given, self._levels = mask, levels
        self.mask = self._weights = scaled(mask, window.compute_dtype(self.dtype))
        self.totals = torch.zeros((*self.shape[:2], levels), dtype=torch.float64, device="cpu")
        self.total_weights: torch.Tensor | None = self.totals

    def _peak_of(self, image: torch.Tensor) -> torch.Tensor:
        return super()._peak_of(image.masked_fill(self._weights == 0, 0))

    def widened(self, index: tuple[torch.Tensor, torch.Tensor]) -> Masked:
        """See :class:`.sources.Source`."""
        mask = self._given.expand(*self.shape)[index].unsqueeze(1)
        x, y = (image.detach()[index].unsqueeze(1).double() for image in self._images)
        return Masked(x, y, mask, self._levels)


def means_and_gradients(
    img1: torch.Tensor, img2: torch.Tensor, mask: torch.Tensor, options: api.Options, need1: bool, need2: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """As :func:`.api.means_and_gradients`, and the sums of the weights of windows, (N, C, levels).

    Terms are 0 without weight. Gradients are those of sums of weight times map, to each pixel over its weight.
    """
    if need2 and not need1:
        terms, second, first, totals = means_and_gradients(img2, img1, mask, options, True, False)
        return terms, first, second, totals
    source = Masked(img1, img2, mask, options[4])
    terms, first, second = api.swept(source, options, need1, need2)
    return terms, first, second, source.totals


def gradient(
    upstream: torch.Tensor,
    scale_grads: torch.Tensor,
    mask: torch.Tensor,
    total_weights: torch.Tensor,
    height: int,
    width: int,
    halo: int,
    unit: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """As :func:`.api.gradient`, for the weighted mean of each scale; `total_weights` are as returned with the terms."""
    levels = total_weights.shape[-1]
    upstream = upstream.double() / mean_weights(total_weights, height, width, halo)
    upstream = upstream.masked_fill(total_weights == 0, 0)
    computed = scale_grads.dtype
    weights = scaled(mask, computed)
    out = api.gradient(upstream, None, scale_grads, height, width, levels, halo, unit, computed, weights)
    if dtype == computed:
        return out
    limit = torch.finfo(dtype).max
    return out.clamp_(-limit, limit).to(dtype)


def mean_weights(total_weights: torch.Tensor, height: int, width: int, halo: int) -> torch.Tensor:
    """The mean over all windows of their weights, (N, C, levels)."""
    shapes = pyramid_shapes(height, width, total_weights.shape[-1])
    windows = [(rows - halo) * (columns - halo) for rows, columns in shapes]
    return total_weights / torch.tensor(windows, dtype=torch.float64, device="cpu")
