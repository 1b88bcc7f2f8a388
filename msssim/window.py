"""The numbers a call starts from: Gaussian taps, C1 and C2, and what a dtype implies."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeAlias, TypedDict

import torch
from torch import Tensor

from . import _dispatch
from ._types import Padding, SpatialDims, Window

Constant: TypeAlias = float | Tensor
"""A number, or a float64 tensor: a scalar, or of shape (N, 1, ..., 1) with a number for each image."""


Taps: TypeAlias = tuple[tuple[float, ...], ...]
"""The window of each spatial axis: its length is the number of these axes."""


class _Required(TypedDict):
    taps: Taps
    c1: Constant
    c2: Constant
    unit: Constant


class KernelParams(_Required, total=False):
    """The parameters that every backend takes beside the images. Those that an ordinary call lacks have defaults."""

    mask: Tensor
    """The weight of each pixel, of shape (1 or N, 1 or C, ...), bool or floating point; by default 1."""
    inside: bool
    """Whether a window that holds a pixel of weight 0 does not count; by default False."""
    padding: Padding
    """What is around the images; by default "valid": no window reaches there."""


@dataclasses.dataclass(frozen=True, eq=False)
class WindowOptions:
    """The options of a call that its KernelParams depend on beside the data_range, checked.

    They are compared by identity: a call with the same options gets the same object from a cache, and finds what was
    computed for it without comparing every option.
    """

    win_size: int | tuple[int, ...]
    """A number, or one for each spatial axis."""
    sigma: float | tuple[float, ...] | None
    K1: float
    K2: float
    window: Window = "gaussian"
    sample_covariance: bool = False
    padding: Padding = "valid"
    spatial_dims: SpatialDims = 2


# Only the dtype decides. A range guessed from the pixels would change from image to image, and the index with it.
_DTYPE_RANGES = {torch.bool: 1.0, torch.uint8: 255.0, torch.uint16: 65535.0}

# Beyond the range of any image; float32 still holds C1 and C2 in units of data_range².
MIN_RANGE, MAX_RANGE = 1e-50, 1e50

# In units of range_pow2(). Images within their range have no larger pixel, nor sum or difference of two. Backends
# subtract a typical value of each plane before they square; it is computed from the pixels below this limit, so that
# one meaningless value (such as -9999 for "no data") does not cost all others their precision.
OUTLIER_LIMIT = 4.0

# In units of data_range²: a quarter of the default constants.
_MIN_C1, _MIN_C2 = 0.25 * 0.01**2, 0.25 * 0.03**2

# The sum of the squared taps: one over the number of pixels that the window effectively averages. 0.19 for sigma 1.5.
_MAX_SQUARES = 0.3

# Exponents of range_pow2(): its reciprocal must be a float32.
_MIN_EXPONENT, _MAX_EXPONENT = -120, 120

# float64 itself, and integers that float32 does not hold exactly.
_FLOAT64_DTYPES = {torch.float64, torch.int32, torch.int64, torch.uint32, torch.uint64}


def gaussian_taps(win_size: int, sigma: float) -> tuple[float, ...]:
    """The Gaussian window of one axis, sum 1; the window of SSIM is its outer product with itself."""
    offsets = [(k - win_size // 2) / sigma for k in range(win_size)]
    # A product, not a power: under torch.compile sigma may be a symbol, and negative symbols have no powers.
    weights = [math.exp(-0.5 * (offset * offset)) for offset in offsets]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def uniform_taps(win_size: int) -> tuple[float, ...]:
    """The uniform window of one axis."""
    return (1 / win_size,) * win_size


def sample_covariance_factor(win_sizes: Sequence[int]) -> float:
    """(n - 1) / n for a window of n pixels.

    cs of covariances divided by n - 1 is cs of those divided by n with C2 times this.
    """
    pixels = math.prod(win_sizes)
    return (pixels - 1) / pixels


def constants(K1: float, K2: float, data_range: float) -> tuple[float, float]:
    """C1 = (K1 L)² and C2 = (K2 L)², which keep the denominators of l and cs away from zero."""
    return (K1 * data_range) ** 2, (K2 * data_range) ** 2


def constants_and_unit(K1: float, K2: float, data_range: float) -> tuple[Constant, Constant, Constant]:
    """C1, C2 and range_pow2(data_range), as scalar tensors where torch.compile traces for any number.

    One graph then serves all values. A constant that is exactly zero stays the number 0.
    """
    if torch.compiler.is_compiling() and _is_symbolic(K1, K2, data_range):
        c1, c2 = (0.0 if c == 0 else _as_tensor(c) for c in constants(K1, K2, data_range))
        return c1, c2, _range_pow2_of_tensor(_as_tensor(data_range))
    return *constants(K1, K2, data_range), range_pow2(data_range)


def constants_and_unit_of_tensor(K1: float, K2: float, data_range: Tensor) -> tuple[Constant, Constant, Constant]:
    """The same of a float64 tensor. Nothing synchronizes: outside the limits for numbers the results are NaN."""
    data_range = data_range.masked_fill(~((data_range >= MIN_RANGE) & (data_range <= MAX_RANGE)), math.nan)
    c1, c2 = (0.0 if K == 0 else (K * data_range) ** 2 for K in (K1, K2))
    return c1, c2, _range_pow2_of_tensor(data_range)


def flat_taps(taps: Taps) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """(taps, sizes) as operators and kernels take them.

    Where all axes have the same window it is given once and the sizes are (). Otherwise the windows follow one another.
    """
    if all(each is taps[0] for each in taps):
        return taps[0], ()
    return sum(taps, ()), tuple(map(len, taps))


def taps_of_axes(flat: Sequence[float], sizes: Sequence[int], axes: int) -> Taps:
    """The inverse of flat_taps()."""
    if not sizes:
        return (tuple(flat),) * axes
    starts = [sum(sizes[:axis]) for axis in range(axes)]
    return tuple(tuple(flat[start : start + size]) for start, size in zip(starts, sizes, strict=True))


def float32_suffices(taps: Taps, c1: Constant, c2: Constant, unit: Constant) -> bool:
    """Whether float32 stays within the error budgets; the constants must be numbers.

    Constants below a quarter of the defaults do not hide what rounding leaves of a variance that is nearly zero, and in
    a mean of few pixels rounding errors do not cancel.
    """
    large = c1 >= _MIN_C1 * unit**2 and c2 >= _MIN_C2 * unit**2
    return bool(large and all(sum(tap * tap for tap in each) < _MAX_SQUARES for each in taps))


def is_zero(constant: Constant) -> bool:
    """Whether C1 or C2 was given as zero; a tensor of constants_and_unit() was not."""
    return not isinstance(constant, Tensor) and constant == 0


def _is_symbolic(*values: float) -> bool:
    """Whether torch.compile traces for every value of one of these numbers."""
    if not _dispatch.KNOWS_STATIC_VALUES:
        return True  # tensors are right for static numbers too
    from torch.fx.experimental.symbolic_shapes import has_static_value

    return not all([has_static_value(value) for value in values])


def _as_tensor(number: float) -> Tensor:
    # A sum, since torch.compile keeps a number symbolic only in arithmetic with tensors. For a float argument of an
    # operator, for torch.tensor() and for torch.full() it recompiles for each value.
    return torch.zeros((), dtype=torch.float64, device="cpu") + number


def _range_pow2_of_tensor(data_range: Tensor) -> Tensor:
    # As range_pow2(). The quotient is exact: a power of two.
    unit = data_range / (2 * torch.frexp(data_range).mantissa)
    return unit.clamp(2.0**_MIN_EXPONENT, 2.0**_MAX_EXPONENT)


def range_of_dtype(dtype: torch.dtype) -> float | None:
    """The data_range that a dtype implies, or None for integers that are not image formats."""
    return 1.0 if dtype.is_floating_point else _DTYPE_RANGES.get(dtype)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the arithmetic: float64 for float64 and 32- and 64-bit integers, float32 for every other."""
    return torch.float64 if dtype in _FLOAT64_DTYPES else torch.float32


def range_pow2(data_range: float) -> float:
    """The power of two at or below data_range: the unit that backends work in.

    They divide the images by it before they square, so that no data_range overflows or underflows. A power of two
    rounds nothing.
    """
    exponent = math.frexp(data_range)[1] - 1
    return 2.0 ** min(max(exponent, _MIN_EXPONENT), _MAX_EXPONENT)


def gradient_scale(unit: float) -> float:
    """The power of two by which stored gradients are multiplied: 1, except for a unit below 2^-60.

    In such units the gradient of a mean over many positions may be a float32 number where that of the sum overflows.
    """
    return min(1.0, unit * 2.0**60)
