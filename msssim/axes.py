"""The spatial axes of images: their number, the values for each of them, and checks of their lengths."""

import numbers
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from . import advice
from ._types import Padding, Small, SpatialDims

Value = TypeVar("Value", int, float)
ByAxis: TypeAlias = Value | tuple[Value, ...]
"""A number for every axis, or one for each."""

SHAPES = {
    1: "(N, C, L), (C, L) or (L,)",
    2: "(N, C, H, W), (C, H, W) or (H, W)",
    3: "(N, C, D, H, W), (C, D, H, W) or (D, H, W)",
}
_NUMBERS: tuple[SpatialDims, ...] = (1, 2, 3)
_UNITS = {1: "samples long", 2: "pixels high and wide", 3: "voxels along every axis"}
_ELEMENTS = {1: "samples", 2: "pixels", 3: "voxels"}


def number(spatial_dims: Any) -> SpatialDims:
    """The number of spatial axes, checked. It is a constant: torch.compile makes a symbol of a number that varies."""
    if isinstance(spatial_dims, numbers.Integral) and not isinstance(spatial_dims, bool):
        for constant in _NUMBERS:
            if spatial_dims == constant:
                return constant
    raise ValueError(f"spatial_dims must be 1, 2 or 3, got {spatial_dims!r}")


def shape(shape: Sequence[int], spatial_dims: int) -> None:
    """Check the number of axes of an image."""
    if spatial_dims <= len(shape) <= spatial_dims + 2:
        return
    hint = ""
    if spatial_dims == 2 and len(shape) == 5:
        hint = (
            "; for the frames of videos (N, C, T, H, W) pass img1.transpose(1, 2).flatten(0, 1), and img2 likewise; "
            "for volumes (N, C, D, H, W) pass spatial_dims=3"
        )
    raise ValueError(f"img1 must have shape {SHAPES[spatial_dims]}, got {tuple(shape)}{hint}")


def of_each(name: str, value: Any, spatial_dims: int, description: str) -> tuple[Any, ...] | None:
    """The values for each axis if `value` is a sequence, otherwise None."""
    if not isinstance(value, (tuple, list)):
        return None
    if len(value) != spatial_dims:
        raise ValueError(
            f"{name} must be {description}, or {spatial_dims} of them, one for each spatial axis, got {value!r}"
        )
    return tuple(value)


def expanded(value: ByAxis[Value], spatial_dims: int) -> tuple[Value, ...]:
    """The value of each axis."""
    return value if isinstance(value, tuple) else (value,) * spatial_dims


def largest(win_size: ByAxis[int]) -> int:
    """The largest side of a window."""
    return max(win_size) if isinstance(win_size, tuple) else win_size


def window_fits(
    win_size: ByAxis[int], shape: Sequence[int], levels: int = 1, small: Small = "raise", spatial_dims: int = 2
) -> None:
    """Check that the window fits the coarsest scale, as in msssim.m: min(H, W) / 2^(levels - 1) >= win_size."""
    sizes, lengths = expanded(win_size, spatial_dims), shape[-spatial_dims:]
    if all(length >= size * 2 ** (levels - 1) for length, size in zip(lengths, sizes, strict=True)):
        if spatial_dims == 2 and sizes[1] <= 4:  # a larger window does not fit an axis of channels
            advice.warn_if_channels_last(shape)
        return
    fitting = fitting_levels(win_size, lengths)
    levels = 1 if small == "fewer" else levels
    if spatial_dims == 2 and advice.channels_last(shape):
        hint = f"channels come before height and width: pass img1.{advice.PERMUTE[len(shape)]}, and img2 likewise"
    elif fitting and spatial_dims == 2:
        hint = f'pass small="fewer" to use the {fitting} scales that fit, as for training crops'
    elif fitting:
        hint = (
            f'pass small="fewer" to use the {fitting} scales that fit, their weights normalized to sum to 1, or fewer '
            "weights; the index of fewer scales is another number than that of five"
        )
    else:
        hint = f"pass a smaller win_size for smaller {'images' if spatial_dims == 2 else 'axes'}"
        if levels > 1:
            hint += f', and small="fewer": one scale needs {_by_axis(win_size)} {_ELEMENTS[spatial_dims]}'
    raise ValueError(
        f"img1 must be at least {_needed(sizes, levels)} {_UNITS[spatial_dims]} for "
        f"{f'{levels} scales with ' if levels > 1 else ''}win_size={win_size}, got {' × '.join(map(str, lengths))}; "
        f"{hint}"
    )


def _needed(sizes: tuple[int, ...], levels: int) -> str:
    needed = [size * 2 ** (levels - 1) for size in sizes]
    return str(needed[0]) if len(set(needed)) == 1 else " × ".join(map(str, needed))


def _by_axis(win_size: ByAxis[int]) -> str:
    return " × ".join(map(str, win_size)) if isinstance(win_size, tuple) else str(win_size)


def padding_fits(padding: Padding, win_size: ByAxis[int], shape: Sequence[int], spatial_dims: int = 2) -> None:
    """Check that there are as many pixels as are mirrored."""
    lengths = shape[-spatial_dims:]
    extra = {"reflect": 1, "symmetric": 0}
    for length, size in zip(lengths, expanded(win_size, spatial_dims), strict=True):
        least = size // 2 + extra[padding] if padding in extra else 1
        if length < least:
            raise ValueError(
                f'img1 must be at least {least} {_UNITS[spatial_dims]} for win_size={size} and padding="{padding}", '
                f"got {' × '.join(map(str, lengths))}"
            )


def fitting_levels(win_size: ByAxis[int], lengths: Sequence[int]) -> int:
    """The number of scales that the window fits."""
    sizes = expanded(win_size, len(lengths))
    return max(0, min((length // size).bit_length() for length, size in zip(lengths, sizes, strict=True)))
