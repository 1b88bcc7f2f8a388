"""The numbers a comparison starts from: Gaussian taps, C1 and C2, the range that a dtype implies, the working unit."""

import math

import torch

# A dtype says what its values can mean; the data never do: a range guessed from the pixels changes from image to
# image, and the index with it.
_RANGE_OF_DTYPE = {torch.bool: 1.0, torch.uint8: 255.0, torch.uint16: 65535.0}

# No image within its range has a pixel, or a sum or difference of two, beyond this many units. Where others have, the
# constant that backends take from all pixels is that of those that have not, lest one value of no meaning takes the
# precision of all.
FARTHEST = 4.0

# In units of data_range²: see float32_suffices().
_LEAST_C1, _LEAST_C2 = 0.25 * 0.01**2, 0.25 * 0.03**2
# Sum of the squared weights of one axis, one over the number of pixels that it is a mean of: 0.19 for sigma 1.5.
_LARGEST_SQUARES = 0.3

# Of a unit: float32 still has the reciprocals.
_LEAST_EXPONENT, _LARGEST_EXPONENT = -120, 120

# Of float64, and of what float32 does not hold.
_WIDE = {torch.float64, torch.int32, torch.int64, torch.uint32, torch.uint64}


def gaussian_taps(win_size, sigma):
    """The Gaussian window of one axis, sum 1, as Python floats; SSIM's window is its outer product with itself."""
    offsets = [(k - win_size // 2) / sigma for k in range(win_size)]
    # A product, not a power: under torch.compile sigma may be a symbol, and negative symbols have no powers.
    weights = [math.exp(-0.5 * (offset * offset)) for offset in offsets]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def constants(K1, K2, data_range):
    """C1 = (K1 L)² and C2 = (K2 L)², which keep the denominators of l and cs away from zero."""
    return (K1 * data_range) ** 2, (K2 * data_range) ** 2


def constants_and_unit(K1, K2, data_range):
    """C1, C2 and the unit of data_range, as numbers, or as scalar tensors where torch.compile traces for any number.

    One graph then serves all values. What is exactly zero stays the number 0.
    """
    if torch.compiler.is_compiling() and _symbolic(K1, K2, data_range):
        c1, c2 = (0.0 if c == 0 else _as_tensor(c) for c in constants(K1, K2, data_range))
        return c1, c2, _unit_as_tensor(_as_tensor(data_range))
    return *constants(K1, K2, data_range), unit_of_range(data_range)


def float32_suffices(taps, c1, c2, unit):
    """Whether float32 holds the error budgets: with constants of a quarter of the defaults, and a window that averages.

    Small constants do not hide what rounding leaves of a variance that is nearly zero, and in a mean of few pixels
    rounding errors do not cancel. Asked of numbers alone.
    """
    return c1 >= _LEAST_C1 * unit**2 and c2 >= _LEAST_C2 * unit**2 and sum(tap * tap for tap in taps) < _LARGEST_SQUARES


def is_zero(constant):
    """Whether C1 or C2 is zero as given; a tensor of constants_and_unit() is not."""
    return not isinstance(constant, torch.Tensor) and constant == 0


def _symbolic(*values):
    """Whether torch.compile traces for every value of one of these numbers."""
    try:
        from torch.fx.experimental.symbolic_shapes import has_static_value
    except ImportError:  # TODO: PyTorch 2.6 and earlier; scalar tensors are right for static numbers too
        return True
    return not all([has_static_value(value) for value in values])


def _as_tensor(number):
    # A sum, since torch.compile keeps a number symbolic only in arithmetic with tensors. For a float argument of an
    # operator, for torch.tensor() and for torch.full() it recompiles for each value.
    return torch.zeros((), dtype=torch.float64, device="cpu") + number


def _unit_as_tensor(data_range):
    # As unit_of_range(). The quotient is exact, and so a power of two.
    unit = data_range / (2 * torch.frexp(data_range).mantissa)
    return unit.clamp(2.0**_LEAST_EXPONENT, 2.0**_LARGEST_EXPONENT)


def range_of_dtype(dtype):
    """The data_range that a dtype implies, or None where it implies none (integers that are not image formats)."""
    return 1.0 if dtype.is_floating_point else _RANGE_OF_DTYPE.get(dtype)


def dtype_of_computation(dtype):
    """float64 for float64 and 32- and 64-bit integers, float32 for every other dtype."""
    return torch.float64 if dtype in _WIDE else torch.float32


def unit_of_range(data_range):
    """The power of two at or below data_range.

    Backends divide the images by it before they square anything, so that no data_range overflows or underflows.
    Being a power of two it rounds nothing.
    """
    exponent = math.frexp(data_range)[1] - 1
    return 2.0 ** min(max(exponent, _LEAST_EXPONENT), _LARGEST_EXPONENT)


def gradient_scale(unit):
    """The power of two that gradients are multiplied by where they are kept: 1, but for a unit next to nothing.

    In such units a mean over many positions may be a number of float32 where the sum is none.
    """
    return min(1.0, unit * 2.0**60)
