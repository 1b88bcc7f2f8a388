"""Plain PyTorch: any device, dtype and option, differentiable to any order.

There is no convolution and no matrix product, so TF32 and autocast change nothing.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .. import _dispatch
from ..casting import cast
from ..window import OUTLIER_LIMIT, KernelParams, Taps, compute_dtype, float32_suffices, is_zero
from . import borders, masked
from .common import EXTREME, ROUNDING_EPS, TAMED, ZERO_DENOMINATOR
from .filters import gaussian
from .variances import straight_through, variances

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack


def pyramid_means(
    img1: Tensor, img2: Tensor, *, levels: int, rectify: bool, **params: "Unpack[KernelParams]"
) -> Tensor:
    """Mean cs of every scale but the last and mean l cs of the last, for each plane.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, ...)
        The images, of the same dtype.
    levels : int
        Number of scales.
    rectify : bool
        Whether to use max(σxy, 0) for σxy and max(μx μy, 0) for μx μy.
    taps : tuple of tuple of float
        The window of each spatial axis: symmetric, of odd length, sum 1.
    c1, c2 : float or Tensor, shape () or (N, 1, ..., 1)
        C1 and C2 in the units of the images; one that is exactly zero is a float.
    unit : float or Tensor, shape () or (N, 1, ..., 1)
        A power of two near data_range.

    Returns
    -------
    Tensor, shape (N, C, levels)
        In float64 (in float32 on a device without float64).
    """
    return pyramid(img1, img2, levels=levels, rectify=rectify, keep_maps=False, **params).terms


def masked_terms(
    img1: Tensor, img2: Tensor, *, levels: int, rectify: bool, **params: "Unpack[KernelParams]"
) -> tuple[Tensor, Tensor]:
    """(terms, sums of the weights of all windows), (N, C, levels), with a mask."""
    found = pyramid(img1, img2, levels=levels, rectify=rectify, keep_maps=False, **params)
    assert found.total_weights is not None
    return found.terms, found.total_weights


class Pyramid(NamedTuple):
    """The results of all scales."""

    terms: Tensor
    """(N, C, levels): as pyramid_means() returns them; 0 where a plane has no weight at a scale."""
    total_weights: Tensor | None
    """(N, C, levels), with a mask: the sum of the weights of a plane's windows."""
    maps: tuple[Tensor, ...]
    """If requested, cs at every position of the window, l cs at the last scale; 0 where a window has no weight."""
    map_weights: tuple[Tensor, ...]
    """With maps and a mask: the weight of each position."""


def pyramid(
    img1: Tensor, img2: Tensor, *, levels: int, rectify: bool, keep_maps: bool, **params: "Unpack[KernelParams]"
) -> Pyramid:
    """The terms of every scale as of pyramid_means(), with the weights of a mask and the maps where requested.

    Parameters
    ----------
    img1, img2, levels, rectify, taps, c1, c2, unit
        As pyramid_means() takes them.
    keep_maps : bool
        Whether to return the maps.
    mask : Tensor, shape (1 or N, 1 or C, ...), optional
        bool or floating point: the weight of each pixel.
    inside : bool, default False
        Whether a window that holds a pixel without weight does not count.
    padding : str, default "valid"
        What is around the images.
    """
    pair = _working_pair(img1, img2, **params)
    dtype = compute_dtype(img1.dtype)
    terms, totals, maps, map_weights = [], [], [], []
    for level in range(levels):
        if level:
            pair = pair.halved()
        windows = None if pair.weights is None else masked.windows(pair.weights, params["taps"])
        l_cs, cs = _similarity(pair, params["taps"], windows, rectify, luminance=level == levels - 1)
        values = cs if l_cs is None else l_cs
        if pair.weights is None or windows is None:
            terms.append(_mean(values))
        else:
            term, total = masked.mean_of_map(values, windows)
            terms.append(term)
            totals.append(total)
        if keep_maps:
            maps.append(values.to(dtype))
        if keep_maps and pair.weights is not None and windows is not None:
            maps[-1] = maps[-1].masked_fill(windows.weight == 0, 0)
            map_weights.append((windows.weight * pair.weights.peak).to(dtype).expand_as(values))
    weights = torch.stack(totals, -1) if totals else None
    return Pyramid(torch.stack(terms, -1), weights, tuple(maps), tuple(map_weights))


def _working_dtype(img1: Tensor, img2: Tensor, **params: "Unpack[KernelParams]") -> torch.dtype:
    """The dtype of the arithmetic: on a CPU float64 for gradients, and where float32 does not suffice.

    A gradient is a difference of sums that cancel in flat areas; in float32 it would exceed the error budgets. Other
    devices may have no fast float64: there only the sums of `_Variances` use it.
    """
    dtype = compute_dtype(img1.dtype)
    if "mask" in params and img1.device.type != "mps":
        return torch.float64  # masked.moments() are not exact enough in float32
    if dtype == torch.float64 or img1.device.type != "cpu":
        return dtype
    gradient = torch.is_grad_enabled() and (img1.requires_grad or img2.requires_grad)
    # torch.compile passes tensors for the constants, and a transform may differentiate without requires_grad.
    if (
        gradient
        or not _dispatch.is_plain_eager()
        or isinstance(params["unit"], Tensor)
        or not float32_suffices(params["taps"], params["c1"], params["c2"], params["unit"])
    ):
        return torch.float64
    return dtype


class _Pair(NamedTuple):
    """Two images in working units, minus a constant for each plane, which changes no variance.

    E[x²] - μ² then cancels few digits, as the pixels are near zero: the accuracy of float32 depends on it.
    """

    x: Tensor
    y: Tensor
    shift_x: Tensor  # (N, C, 1, 1): what was subtracted from x
    shift_y: Tensor
    c1: Tensor  # (N, C, 1, 1): C1 and C2 in working units
    c2: Tensor
    is_zero: tuple[bool, bool]  # whether C1 and C2 were given as zero, so that rounding may hide a zero denominator
    weights: masked.Weights | None = None  # of a mask; pixels without weight are 0

    def halved(self) -> "_Pair":
        """The next scale."""
        if self.weights is None:
            x, y, weights = _halve(self.x), _halve(self.y), None
        else:
            x, y, weights = masked.halved(self.x, self.y, self.weights)
        # torch.compile of PyTorch 2.6 traces neither _replace() nor slices of a tuple that has names.
        return _Pair(x, y, self.shift_x, self.shift_y, self.c1, self.c2, self.is_zero, weights)


def _working_pair(img1: Tensor, img2: Tensor, **params: "Unpack[KernelParams]") -> _Pair:
    dtype = _working_dtype(img1, img2, **params)
    c1, c2, unit = params["c1"], params["c2"], params["unit"]
    x, y = (cast(image, dtype) for image in (img1, img2))
    if "padding" in params:
        radii = tuple(len(tap) // 2 for tap in params["taps"])
        x, y = (borders.pad(image, radii, params["padding"]) for image in (x, y))
    weights = masked.weights_of(params["mask"], params.get("inside", False), dtype) if "mask" in params else None
    hidden = None if weights is None else weights.pixels == 0
    if hidden is not None:
        x, y = x.masked_fill(hidden, 0.0), y.masked_fill(hidden, 0.0)
    peak = torch.maximum(_peak(x.detach()), _peak(y.detach()))
    scale = torch.where(peak > unit * EXTREME, TAMED / peak, 1 / unit)
    change = (scale * unit) ** 2
    c1, c2 = c1 / unit**2 * change, c2 / unit**2 * change
    if isinstance(unit, Tensor) and unit.dim():  # float64 numbers of images, which would make maps of float32 float64
        scale, c1, c2 = scale.to(dtype), c1.to(dtype), c2.to(dtype)
    x, y = x * scale, y * scale
    # Multiples of 1/128: minus these, the pixels of 8-bit images have so few digits that their squares are exact.
    shift_x, shift_y = ((_typical(image.detach(), hidden) * 128).round().to(dtype) / 128 for image in (x, y))
    x, y = x - shift_x, y - shift_y
    if hidden is not None:
        x, y = x.masked_fill(hidden, 0.0), y.masked_fill(hidden, 0.0)
    return _Pair(x, y, shift_x, shift_y, c1, c2, (is_zero(params["c1"]), is_zero(params["c2"])), weights)


def _similarity(
    pair: _Pair, taps: Taps, windows: masked.Windows | None, rectify: bool, luminance: bool
) -> tuple[Tensor | None, Tensor]:
    """The maps (l cs, cs); l cs is None without `luminance`.

    The variances are those of s = x + y and d = x - y: 2 (σx² + σy²) = σs² + σd² and 4 σxy = σs² - σd². Both are small
    where the images are nearly equal, and |2 σxy| <= σx² + σy² holds after rounding too.
    """
    zero, eps = ZERO_DENOMINATOR[pair.x.dtype], ROUNDING_EPS * torch.finfo(pair.x.dtype).eps
    if windows is not None:
        eps *= 4  # quotients of sums
    if pair.weights is None or windows is None:
        mu_x, mu_y = gaussian(pair.x, taps), gaussian(pair.y, taps)
        sigma2_s, sigma2_d, squares = variances(pair.x, pair.y, mu_x, mu_y, taps)
    else:
        mu_x, mu_y, sigma2_s, sigma2_d, squares = masked.moments(pair.x, pair.y, pair.weights, windows, taps)
    cs = _contrast_structure(pair, sigma2_s, sigma2_d, squares.detach(), rectify, zero, eps)
    if not luminance:
        return None, cs
    sizes = mu_x.detach().abs() + pair.shift_x.abs(), mu_y.detach().abs() + pair.shift_y.abs()
    mu_x, mu_y = mu_x + pair.shift_x, mu_y + pair.shift_y
    mu2_sum = mu_x * mu_x + mu_y * mu_y
    mu_xy2 = 2 * mu_x * mu_y
    bound = mu2_sum.detach()
    mu_xy2 = straight_through(mu_xy2, mu_xy2.detach().clamp(-bound, bound))
    if rectify:
        mu_xy2 = _clamp_at_zero(mu_xy2, eps / 4 * (sizes[0] * mu_y.detach().abs() + sizes[1] * mu_x.detach().abs()))
    denominator = mu2_sum + pair.c1
    rounding = eps**2 * (pair.shift_x**2 + pair.shift_y**2)
    black = denominator <= (zero + rounding if pair.is_zero[0] else zero)
    l = _ratio(mu_xy2 + pair.c1, denominator, black)  # noqa: E741 - as in the paper
    return (l * cs).masked_fill(black, 1.0), cs


def _contrast_structure(
    pair: _Pair, sigma2_s: Tensor, sigma2_d: Tensor, squares: Tensor, rectify: bool, zero: float, eps: float
) -> Tensor:
    """Cs = (2 σxy + C2) / (σx² + σy² + C2)."""
    sigma2_sum2 = sigma2_s + sigma2_d  # 2 (σx² + σy²)
    denominator = sigma2_sum2 + 2 * pair.c2
    flat = denominator <= (zero + eps * squares if pair.is_zero[1] else zero)
    sigma_xy4, missing = (sigma2_s - sigma2_d).detach(), 2 * sigma2_d
    if rectify:
        missing = torch.where(sigma_xy4 < -eps / 4 * squares, sigma2_sum2, missing)
        sigma_xy4 = sigma_xy4.clamp(min=0)
    # The value is that of the definition. The derivative is that of the same number written as 1 - missing /
    # denominator, in which nothing cancels where cs is near 1.
    value = _ratio(sigma_xy4 + 2 * pair.c2.detach(), denominator.detach(), flat)
    return straight_through(1 - (missing / denominator.masked_fill(flat, 1.0)).masked_fill(flat, 0.0), value)


def _clamp_at_zero(value: Tensor, rounding: Tensor) -> Tensor:
    """max(value, 0), with a gradient unless the value is negative by more than rounding."""
    detached = value.detach()
    return straight_through(value, detached.clamp(min=0)).masked_fill(detached < -rounding, 0.0)


def _ratio(numerator: Tensor, denominator: Tensor, is_zero: Tensor) -> Tensor:
    """The quotient, and 1 where the denominator counts as zero, without a NaN in the gradient there.

    `is_zero` is the result of a comparison that is false for NaN, so NaN in an image gives NaN.
    """
    return (numerator / denominator.masked_fill(is_zero, 1.0)).masked_fill(is_zero, 1.0)


def _halve(x: Tensor) -> Tensor:
    """The mean of 2 × 2 pixels at stride 2, on an odd side of the pixels that exist, as in msssim.m."""
    if not _dispatch.is_exporting():
        return masked.halved_means(x)
    # Exporters refuse the pooling of sizes that are not known, and runtimes lack it in float64. An odd side ends with
    # a copy of its last row here, which does not change the mean.
    for axis in range(2, x.dim()):
        size = x.shape[axis]
        shifted = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], axis)
        x = (_every_second(x, axis) + _every_second(shifted, axis)) / 2
    return x


def _every_second(x: Tensor, axis: int) -> Tensor:
    return x[(slice(None),) * axis + (slice(None, None, 2),)]


def _mean(x: Tensor, keepdim: bool = False) -> Tensor:
    """The mean of each plane, summed in float64 where the device has it."""
    return x.mean(masked.spatial(x), keepdim=keepdim, dtype=torch.float32 if x.device.type == "mps" else torch.float64)


def _typical(x: Tensor, hidden: Tensor | None) -> Tensor:
    """The mean of the pixels of each plane within OUTLIER_LIMIT, or of all if none is; hidden ones do not count."""
    near = x.abs() <= OUTLIER_LIMIT
    if hidden is not None:
        near = near & ~hidden
    part = _mean(near.to(x.dtype), keepdim=True)
    return torch.where(part > 0, _mean(x.masked_fill(~near, 0.0), keepdim=True) / part, _mean(x, keepdim=True))


def _peak(x: Tensor) -> Tensor:
    return torch.maximum(x.amax(masked.spatial(x), keepdim=True), -x.amin(masked.spatial(x), keepdim=True))
