"""Windowed means and variances of pixels with weights, in plain PyTorch, differentiable to any order.

Normalized convolution: with weights m and the window g, the mean is g∗(m x) / g∗m, and a window has the weight g∗m.
Nothing cancels in these sums, and they are sums of the pixels' own values, unlike those of filters.gaussian(): where
few pixels have weight, a sum of differences would have lost the digits that the quotient needs.

References
----------
.. [1] H. Knutsson, C.-F. Westin, "Normalized and differential convolution", CVPR 1993.
   :doi:`10.1109/CVPR.1993.341081`
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..window import Taps
from .filters import correlate
from .variances import straight_through

# Weights below this, relative to the largest of the plane, count as 0: the reciprocal of a smaller one may overflow.
_LEAST = {torch.float32: 2.0**-100, torch.float64: 2.0**-900}

_AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Weights(NamedTuple):
    """The weights of the pixels of a plane, at most 1, of shape (1 or N, 1 or C, ...)."""

    pixels: Tensor
    peak: Tensor
    """What was divided by: the largest weight of each plane."""
    inside: bool
    """Whether a window that holds a pixel without weight does not count."""

    @property
    def is_zero(self) -> Tensor:
        return self.pixels == 0


class Windows(NamedTuple):
    """The weights of the windows of a plane, and their reciprocals: both 0 where no pixel of a window has weight."""

    weight: Tensor
    reciprocal: Tensor


def weights_of(mask: Tensor, inside: bool, dtype: torch.dtype) -> Weights:
    pixels = mask.to(dtype)
    peak = pixels.amax(tuple(range(2, pixels.dim())), keepdim=True)
    return Weights(pixels / peak.masked_fill(peak == 0, 1), peak, inside)


def spatial(image: Tensor) -> tuple[int, ...]:
    return tuple(range(2, image.dim()))


def windows(weights: Weights, taps: Taps) -> Windows:
    weight = correlate(weights.pixels, taps)
    weight = weight.masked_fill(weight < _LEAST[weight.dtype], 0)
    if weights.inside:
        holes = correlate(weights.is_zero.to(weight.dtype), tuple((1.0,) * len(tap) for tap in taps))
        weight = weight.masked_fill(holes > 0, 0)
    return Windows(weight, (1 / weight.masked_fill(weight == 0, 1)).masked_fill(weight == 0, 0))


def moments(
    x: Tensor, y: Tensor, weights: Weights, windows: Windows, taps: Taps
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(μx, μy, the variances of s = x + y and of d = x - y, E[s²] + E[d²]); all are 0 in a window without weight."""

    def mean(values: Tensor) -> Tensor:
        return correlate(weights.pixels * values, taps) * windows.reciprocal

    s, d, mu_x, mu_y = x + y, x - y, mean(x), mean(y)
    squares_s, squares_d = mean(s * s), mean(d * d)
    variance_s = squares_s - (mu_x + mu_y).square()
    variance_d = squares_d - (mu_x - mu_y).square()
    # Rounding below zero must not cut off a gradient.
    variance_s = straight_through(variance_s, variance_s.detach().clamp(min=0))
    variance_d = straight_through(variance_d, variance_d.detach().clamp(min=0))
    return mu_x, mu_y, variance_s, variance_d, (squares_s + squares_d).detach()


def mean_of_map(values: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
    """(the weighted mean of a map, the sum of the weights), (N, C); 0 without weight."""
    weight = windows.weight
    axes = spatial(values)
    total = weight.sum(axes)
    mean = (values.masked_fill(weight == 0, 0) * weight).sum(axes) / total.masked_fill(total == 0, 1)
    mean = straight_through(mean, mean.detach().clamp(-1, 1))  # rounding may go beyond
    return mean, total.expand_as(mean)


def halved(x: Tensor, y: Tensor, weights: Weights) -> tuple[Tensor, Tensor, Weights]:
    """The next scale: weighted means of the 2 × 2 pixels that exist, and the means of their weights."""
    total = halved_means(weights.pixels)
    total = total.masked_fill(total < _LEAST[total.dtype], 0)
    reciprocal = (1 / total.masked_fill(total == 0, 1)).masked_fill(total == 0, 0)
    x, y = (halved_means(weights.pixels * image) * reciprocal for image in (x, y))
    return x, y, Weights(total, weights.peak, weights.inside)


def halved_means(x: Tensor) -> Tensor:
    """The means of 2 × 2 pixels (2 × 2 × 2 voxels, 2 samples) at stride 2, at an odd border of those that exist."""
    # There is no padding, so both settings of count_include_pad agree; with True, Inductor's derivative is wrong at odd
    # borders.
    return _AVG_POOL[x.dim() - 2](x, 2, ceil_mode=True, count_include_pad=False)
