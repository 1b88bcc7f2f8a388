"""The constants that are subtracted from pixels, near the means of samples."""

from __future__ import annotations

from collections.abc import Callable

from ...window import OUTLIER_LIMIT
from .pixels import Image, Pair
from .scalars import Scalar
from .simd import SimdBuilder

Place = Callable[[Scalar, Scalar], tuple[Scalar, Scalar]]


def mean_near(code: SimdBuilder, image: Image, samples: tuple[int, int], place: Place, scale: Scalar) -> Scalar:
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


def _visible_means(
    code: SimdBuilder, images: tuple[Image, Image], mask: Image, samples: tuple[int, int], place: Place, scale: Scalar
) -> tuple[Scalar, Scalar, Scalar]:
    """The same of both images, of samples that have weight; and whether there is one."""
    sums = [[code.variable(code.real(0)) for _ in range(2)] for _ in images]
    found = [code.variable(0) for _ in images]
    seen = code.variable(0)
    for i in code.range(samples[0]):
        for j in code.range(samples[1]):
            at = place(i, j)
            with code.when(mask.at(*at).pixels[0] > 0):
                seen.set(seen.get() + 1)
                for image, (total, near), number in zip(images, sums, found, strict=True):
                    value = image.at(*at).pixels[0] * scale
                    total.set(total.get() + value)
                    inside = abs(value) <= OUTLIER_LIMIT
                    near.set(near.get() + code.select(inside, value, 0))
                    number.set(number.get() + inside)
    n_seen = code.real(code.max(seen.get(), 1))
    means = [
        code.select(number.get() > 0, near.get() / code.real(number.get()), total.get() / n_seen)
        for (total, near), number in zip(sums, found, strict=True)
    ]
    return means[0], means[1], seen.get() > 0


def shifts_near(code: SimdBuilder, mean_x: Scalar, mean_y: Scalar) -> Pair:
    """Multiples of 1/128 near the means, which leave the pixels of 8-bit images as exact as they were.

    They are the same for both images where the means nearly agree, so that d stays small.
    """
    shift_x, difference = (code.intrinsic("llvm.floor", each * 128 + 0.5) / 128 for each in (mean_x, mean_x - mean_y))
    return shift_x, shift_x - difference


def near_means(
    code: SimdBuilder,
    x: Image,
    y: Image,
    mask: Image | None,
    rows: Scalar,
    count: Scalar,
    scale: Scalar,
    stored: Scalar,
    otherwise: Pair,
) -> Pair:
    """The constants to subtract from x and y in a block: near the means of some of its pixels.

    With a mask there are more samples, as some are hidden; where all are, the constants are others.
    """
    n_rows, n_columns = (2, 4) if mask is None else (2, 8)

    def place(i: Scalar, j: Scalar) -> tuple[Scalar, Scalar]:
        return (rows - 1) * (2 * i + j % 2) // (2 * n_rows - 1), (count - 1) * j // (n_columns - 1)

    samples, seen = (n_rows, n_columns), code.integer(1)
    if mask is None:
        one, other = mean_near(code, x, samples, place, scale), mean_near(code, y, samples, place, scale)
    else:
        one, other, seen = _visible_means(code, (x, y), mask, samples, place, scale)
    mean_x, mean_y = code.select(stored, (one + other) * 0.5, one), code.select(stored, (one - other) * 0.5, other)
    found = shifts_near(code, mean_x, mean_y)
    if mask is None:
        return found
    return code.select(seen, found[0], otherwise[0]), code.select(seen, found[1], otherwise[1])


def origins_of(
    code: SimdBuilder, x: Image, y: Image, mask: Image | None, height: Scalar, width: Scalar, scale: Scalar
) -> Pair:
    """Constants near the means of planes. The pixels of coarse scales, flatter, are stored with them subtracted."""

    def place(i: Scalar, j: Scalar) -> tuple[Scalar, Scalar]:
        return (2 * i + 1) * height // 8, (2 * j + 1) * width // 8

    if mask is None:
        return shifts_near(code, mean_near(code, x, (4, 4), place, scale), mean_near(code, y, (4, 4), place, scale))
    mean_x, mean_y, _ = _visible_means(code, (x, y), mask, (4, 4), place, scale)
    return shifts_near(code, mean_x, mean_y)
