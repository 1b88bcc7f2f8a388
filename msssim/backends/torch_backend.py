"""Plain PyTorch: any device, any dtype, every option, differentiable as often as one likes.

The Gaussian is a sum of shifted slices. No convolution and no matrix product takes part, so that TF32 and autocast
have nothing to reach.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .. import _dispatch
from ..window import FARTHEST, dtype_of_computation, float32_suffices, is_zero

# Denominators at or below this, in units of data_range², count as zero, so that no reciprocal overflows.
_ZERO = {torch.float32: 1e-20, torch.float64: 1e-200}
# An image whose largest value is beyond 2^40 data_range is scaled down to 2^20, since its squares would overflow.
_EXTREME, _TAMED = 2.0**40, 2.0**20
# What rounding may leave of a difference that is zero, in units of the dtype's eps.
_ROUNDING = 16


def pyramid_means(img1, img2, *, taps, c1, c2, unit, levels, rectify):
    """Mean cs of every scale but the last and mean l cs of the last, for each plane.

    Parameters
    ----------
    img1, img2 : Tensor, shape (N, C, H, W)
        The images, of one dtype.
    taps : tuple of float
        The window of one axis: symmetric, odd in number, sum 1.
    c1, c2 : float or Tensor, shape ()
        C1 and C2 in the images' units; what is exactly zero is a number.
    unit : float or Tensor, shape ()
        A power of two about as large as the data_range.
    levels : int
        Number of scales.
    rectify : bool
        Whether max(σxy, 0) stands for σxy and max(μx μy, 0) for μx μy.

    Returns
    -------
    Tensor, shape (N, C, levels)
        In float64 (in float32 on a device that has no other).
    """
    pair = _working_pair(img1, img2, taps, c1, c2, unit)
    terms = []
    for level in range(levels):
        if level:
            pair = pair.halved()
        l_cs, cs = _similarity(pair, taps, rectify, luminance=level == levels - 1)
        terms.append(_mean(cs if l_cs is None else l_cs))
    return torch.stack(terms, -1)


def ssim_map(img1, img2, *, taps, c1, c2, unit):
    """(mean l cs of each plane, (N, C); l cs at every position of the window, in the dtype of computation)."""
    l_cs, _ = _similarity(_working_pair(img1, img2, taps, c1, c2, unit), taps, rectify=False, luminance=True)
    return _mean(l_cs), l_cs.to(dtype_of_computation(img1.dtype))


def _working_dtype(img1, img2, taps, c1, c2, unit):
    """The dtype to compute in: on a CPU float64 for gradients, and where float32_suffices() says no.

    A gradient is a difference of sums that cancel in flat areas, which takes float32 beyond the error budgets. Other
    devices may have no fast float64: there `_Variances` alone uses it, for its sums.
    """
    dtype = dtype_of_computation(img1.dtype)
    if dtype == torch.float64 or img1.device.type != "cpu":
        return dtype
    gradient = torch.is_grad_enabled() and (img1.requires_grad or img2.requires_grad)
    # The constants are tensors under a compiler, and a transform may differentiate what does not require a gradient.
    if gradient or not _dispatch.at_once() or not float32_suffices(taps, c1, c2, unit):
        return torch.float64
    return dtype


def in_wider_dtype(img1, img2):
    """Two floating-point images of different dtypes in the wider dtype of computation; gradients in each one's own."""
    dtypes = [dtype_of_computation(image.dtype) for image in (img1, img2)]
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    return tuple(image if image.dtype == dtype else _dispatch.apply(_Enter, image, dtype) for image in (img1, img2))


class _Pair(NamedTuple):
    """Two images in working units: scaled, and less a constant for each plane, which σ does not notice.

    What is near zero has small squares, and E[x²] - μ² then cancels little: the accuracy of float32 rests on it.
    """

    x: torch.Tensor
    y: torch.Tensor
    shift_x: torch.Tensor  # (N, C, 1, 1): what was taken from x
    shift_y: torch.Tensor
    c1: torch.Tensor  # (N, C, 1, 1): C1 and C2 in working units
    c2: torch.Tensor
    exact: tuple  # whether C1 and C2 are zero as given, so that rounding decides which denominator is

    def halved(self):
        """The next scale."""
        # In full: early versions of torch.compile do not look into _replace().
        return _Pair(_halve(self.x), _halve(self.y), self.shift_x, self.shift_y, self.c1, self.c2, self.exact)


def _working_pair(img1, img2, taps, c1, c2, unit):
    dtype = _working_dtype(img1, img2, taps, c1, c2, unit)
    x, y = _dispatch.apply(_Enter, img1, dtype), _dispatch.apply(_Enter, img2, dtype)
    peak = torch.maximum(_peak(x.detach()), _peak(y.detach()))
    scale = torch.where(peak > unit * _EXTREME, _TAMED / peak, 1 / unit)
    x, y = x * scale, y * scale
    # A multiple of 1/128: less it, the pixels of 8-bit images have so few digits that their squares are exact.
    shift_x, shift_y = ((_typical(image.detach()) * 128).round().to(dtype) / 128 for image in (x, y))
    change = (scale * unit) ** 2
    return _Pair(
        x - shift_x, y - shift_y, shift_x, shift_y,
        c1 / unit**2 * change, c2 / unit**2 * change, (is_zero(c1), is_zero(c2)),
    )  # fmt: skip


def _similarity(pair, taps, rectify, luminance):
    """The maps (l cs, cs) of a pair; l cs is None unless asked for.

    In terms of s = x + y and d = x - y: 2 (σx² + σy²) = σs² + σd² and 4 σxy = σs² - σd², so that both stay small where
    the images are nearly equal, and |2 σxy| <= σx² + σy² holds whatever is rounded.
    """
    zero, eps = _ZERO[pair.x.dtype], _ROUNDING * torch.finfo(pair.x.dtype).eps
    mu_x, mu_y = _gaussian(pair.x, taps), _gaussian(pair.y, taps)
    var_s, var_d, squares = _variances(pair.x, pair.y, mu_x, mu_y, taps)
    squares = squares.detach()
    both_vars = var_s + var_d
    denominator = both_vars + 2 * pair.c2
    no_contrast = denominator <= (zero + eps * squares if pair.exact[1] else zero)
    covariance4, lacking = (var_s - var_d).detach(), 2 * var_d
    if rectify:
        lacking = torch.where(covariance4 < -eps / 4 * squares, both_vars, lacking)
        covariance4 = covariance4.clamp(min=0)
    # The value as defined. The derivatives are those of 1 - lacking / denominator, the same number: in it nothing
    # cancels where cs is near 1.
    value = _ratio(covariance4 + 2 * pair.c2.detach(), denominator.detach(), no_contrast)
    cs = _put(1 - (lacking / denominator.masked_fill(no_contrast, 1.0)).masked_fill(no_contrast, 0.0), value)

    if not luminance:
        return None, cs

    sizes = (mu_x.detach().abs() + pair.shift_x.abs(), mu_y.detach().abs() + pair.shift_y.abs())
    mu_x, mu_y = mu_x + pair.shift_x, mu_y + pair.shift_y
    both = mu_x * mu_x + mu_y * mu_y
    product2 = 2 * mu_x * mu_y
    bound = both.detach()
    product2 = _put(product2, product2.detach().clamp(-bound, bound))
    if rectify:
        product2 = _clamp_at_zero(product2, eps / 4 * (sizes[0] * mu_y.detach().abs() + sizes[1] * mu_x.detach().abs()))
    energy = both + pair.c1
    rounding = eps**2 * (pair.shift_x**2 + pair.shift_y**2)
    black = energy <= (zero + rounding if pair.exact[0] else zero)
    return (_ratio(product2 + pair.c1, energy, black) * cs).masked_fill(black, 1.0), cs


def _clamp_at_zero(value, rounding):
    """max(value, 0), with a gradient unless the value is negative by more than rounding."""
    here = value.detach()
    return _put(value, here.clamp(min=0)).masked_fill(here < -rounding, 0.0)


def _ratio(numerator, denominator, is_zero):
    """The quotient, and 1 where the denominator counts as zero, without a NaN in the gradient there.

    `is_zero` is asked for as a comparison that NaN fails, so that NaN in an image comes out as NaN.
    """
    return (numerator / denominator.masked_fill(is_zero, 1.0)).masked_fill(is_zero, 1.0)


def _put(value, target):
    """`target` (detached) as the value, the derivatives of `value`: rounding is corrected, no gradient is cut off."""
    return value + (target - value.detach())


def _halve(x):
    """The mean of 2 × 2 pixels at stride 2, on an odd side of those that exist, as in msssim.m."""
    # Nothing is padded and both ways of counting agree, but in the other Inductor's derivative is wrong at odd borders.
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _mean(x, keepdim=False):
    """The mean of each plane, added up in float64 where the device has it."""
    return x.mean((-2, -1), keepdim=keepdim, dtype=torch.float32 if x.device.type == "mps" else torch.float64)


def _typical(x):
    """The mean of the pixels of each plane that are within its range, or of all where none is."""
    near = x.abs() <= FARTHEST
    part = _mean(near.to(x.dtype), keepdim=True)
    return torch.where(part > 0, _mean(x.masked_fill(~near, 0.0), keepdim=True) / part, _mean(x, keepdim=True))


def _peak(x):
    return torch.maximum(x.amax((-2, -1), keepdim=True), -x.amin((-2, -1), keepdim=True))


class _Enter(torch.autograd.Function):
    """The image in the dtype of computation; its gradient back in the image's, within the largest numbers it has."""

    generate_vmap_rule = True

    @staticmethod
    def forward(image, dtype):
        return image.to(dtype, memory_format=torch.contiguous_format, copy=True)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.dtype, ctx.dtype_of_computation = inputs[0].dtype, inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        limit = torch.finfo(ctx.dtype).max
        return gradient.clamp(-limit, limit).to(ctx.dtype), None

    @staticmethod
    def tangent(ctx, of_image, _):
        return of_image.to(ctx.dtype_of_computation)


def _gaussian(x, taps):
    return _dispatch.apply(_Gaussian, x, taps)


class _Gaussian(torch.autograd.Function):
    """The windowed mean at every position that the window fits ('valid').

    It is the pixel in the middle and the weighed differences from it, one axis at a time: rounding is then in
    proportion to what changes inside the window, and none at all where nothing does. Autograd's own derivative of so
    many slices would write as many padded images; the adjoint of a symmetric filter is the filter on the padded image.
    """

    @staticmethod
    def forward(x, taps):
        half = len(taps) // 2
        # What lies beyond pixel k from the middle weighs the difference between it and the next.
        tails = [sum(taps[half + 1 + k :]) for k in range(half)]
        for axis in (-2, -1):
            size = x.shape[axis] - 2 * half
            steps = x.diff(dim=axis)
            out = torch.zeros_like(x.narrow(axis, half, size))
            for k in reversed(range(half)):  # small weights first
                out.add_(steps.narrow(axis, half + k, size), alpha=tails[k])
                out.add_(steps.narrow(axis, half - 1 - k, size), alpha=-tails[k])
            x = out.add_(x.narrow(axis, half, size))
        return x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.taps = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        border = len(ctx.taps) - 1
        return _gaussian(F.pad(gradient, (border,) * 4), ctx.taps), None

    @staticmethod
    def tangent(ctx, of_image, _):
        return _gaussian(of_image, ctx.taps)

    @staticmethod
    def vmap(info, dims, x, taps):  # the rule that PyTorch would generate takes each tap for an argument
        return _gaussian(x.movedim(dims[0], 0), taps), 0


def _variances(x, y, mu_x, mu_y, taps):
    """What `_Variances` gives; in forward mode by PyTorch's own derivatives, which may be nested."""
    if not torch.compiler.is_compiling() and _dispatch.forward_mode():
        return _Variances.forward(x, y, mu_x, mu_y, taps)
    return _dispatch.apply(_Variances, x, y, mu_x, mu_y, taps)


class _Variances(torch.autograd.Function):
    """The variances of s = x + y and d = x - y in every window, at least 0, from the images and their windowed means.

    And E[s^2] + E[d^2], which has no derivative. The derivative to s is Σ_w 2 g b_w (s_i - μ_w) over the windows w that
    hold pixel i. It is a difference of two sums that cancel in flat areas. What rounding leaves there in float32 can be
    larger than the gradient at edges, as in two-level graphics: so the sums are float64.
    """

    @staticmethod
    def forward(x, y, mu_x, mu_y, taps):
        s, d, mu_s, mu_d = x + y, x - y, mu_x + mu_y, mu_x - mu_y
        squares_s, squares_d = _gaussian(s * s, taps), _gaussian(d * d, taps)
        squares = squares_s + squares_d
        var_s, var_d = squares_s - mu_s * mu_s, squares_d - mu_d * mu_d
        # The compiler may differentiate this: rounding below zero cuts off no gradient.
        return _put(var_s, var_s.detach().clamp(min=0)), _put(var_d, var_d.detach().clamp(min=0)), squares

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.taps = inputs
        ctx.save_for_backward(*tensors)
        ctx.mark_non_differentiable(output[2])

    @staticmethod
    def backward(ctx, b_s, b_d, _):
        narrow = b_s.dtype == torch.float32
        if narrow and b_s.device.type != "mps":
            b_s, b_d = b_s.double(), b_d.double()
        gradients = _gradients_of_variances(b_s, b_d, *ctx.saved_tensors, ctx.taps, ctx.needs_input_grad[:2])
        if narrow:
            gradients = [each if each is None else each.float() for each in gradients]
        return *gradients, None, None, None

    @staticmethod
    def vmap(info, dims, *inputs):
        *tensors, taps = inputs
        tensors = [
            tensor.unsqueeze(0).expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(tensors, dims, strict=False)
        ]
        return _variances(*tensors, taps), (0, 0, 0)


def _gradients_of_variances(b_s, b_d, x, y, mu_x, mu_y, taps, needed):
    """The gradients to x and to y, None where not needed, in the dtype of b_s and b_d."""
    through_s, through_d = b_s * (mu_x + mu_y), b_d * (mu_x - mu_y)

    def back(values):
        return _gaussian(F.pad(values, (len(taps) - 1,) * 4), taps)

    of_s, of_d = (x + y) * back(b_s), (x - y) * back(b_d)
    to_x = 2 * (of_s + of_d - back(through_s + through_d)) if needed[0] else None
    to_y = 2 * (of_s - of_d - back(through_s - through_d)) if needed[1] else None
    return [to_x, to_y]
