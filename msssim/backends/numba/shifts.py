"""The constants that are subtracted from pixels, near the means of samples."""

from __future__ import annotations

from collections.abc import Callable

from ...window import OUTLIER_LIMIT
from .pixels import Image, Pair
from .scalars import Scalar
from .simd import SimdBuilder


def _mean_near(
    code: SimdBuilder,
    image: Image,
    samples: tuple[int, int],
    place: Callable[[Scalar, Scalar], tuple[Scalar, Scalar]],
    scale: Scalar,
) -> Scalar:
    """The mean of samples that are within an image's range, or of all where none is."""
    total, near = (code.variable(code.real(0)) for _ in range(2))
    found = code.variable(0)
    for i in code.range(samples[0]):
        for j in code.range(samples[1]):
            value = image.at(*place(i, j)).pixels[0] * scale
            total.set(total.get() + value)
            inside = abs(value) <= OUTLIER_LIMIT
            near.set(code.select(inside, near.get() + value, near.get()))
            found.set(found.get() + inside)
    number, n_samples = found.get(), samples[0] * samples[1]
    some = (number > 0) & (number < n_samples)
    mean: Scalar = code.select(some, near.get() / code.real(number), total.get() / n_samples)
    return mean


def _shifts(code: SimdBuilder, mean_x: Scalar, mean_y: Scalar) -> Pair:
    """Multiples of 1/128 near the means, which leave the pixels of 8-bit images as exact as they were.

    They are the same for both images where the means nearly agree, so that d stays small.
    """
    shift_x, difference = (code.intrinsic("llvm.floor", each * 128 + 0.5) / 128 for each in (mean_x, mean_x - mean_y))
    return shift_x, shift_x - difference


def near_means(
    code: SimdBuilder, x: Image, y: Image, rows: Scalar, count: Scalar, scale: Scalar, stored: Scalar
) -> Pair:
    """The constants to subtract from x and y in a block: near the means of some of its pixels."""

    def place(i: Scalar, j: Scalar) -> tuple[Scalar, Scalar]:
        return (rows - 1) * (2 * i + j % 2) // 3, (count - 1) * j // 3

    one, other = _mean_near(code, x, (2, 4), place, scale), _mean_near(code, y, (2, 4), place, scale)
    mean_x, mean_y = code.select(stored, (one + other) * 0.5, one), code.select(stored, (one - other) * 0.5, other)
    return _shifts(code, mean_x, mean_y)


def origins_of(code: SimdBuilder, x: Image, y: Image, height: Scalar, width: Scalar, scale: Scalar) -> Pair:
    """Constants near the means of planes. The pixels of coarse scales, flatter, are stored with them subtracted."""

    def place(i: Scalar, j: Scalar) -> tuple[Scalar, Scalar]:
        return (2 * i + 1) * height // 8, (2 * j + 1) * width // 8

    return _shifts(code, _mean_near(code, x, (4, 4), place, scale), _mean_near(code, y, (4, 4), place, scale))
