"""Luma: the gray plane of a colour image, as several tools compute it."""

from typing import NamedTuple, get_args

import torch
from torch import Tensor

from . import advice, checks
from ._types import LumaStandard
from .window import compute_dtype

STANDARDS: tuple[LumaStandard, ...] = get_args(LumaStandard)

# MATLAB's rgb2gray takes them from the inverse of its matrix from YIQ to RGB. They sum to 1.
_MATLAB = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_INTEGERS = (torch.uint8, torch.uint16)
# In units of 2 ** -22. With them int32 gives for each of the 2 ** 24 colours the integer that float64 gives, 50 times
# faster.
_BITS = 22
_FIXED_POINT = (1253829, 2462237, 478238)


class _Luma(NamedTuple):
    """Y = weights · (R, G, B) + offset, for R, G and B in 0..1."""

    weights: tuple[float, float, float]
    offset: float = 0.0


_LUMA: dict[LumaStandard, _Luma] = {
    "matlab": _Luma(_MATLAB),
    "bt601": _Luma((0.299, 0.587, 0.114)),
    "bt709": _Luma((0.2126, 0.7152, 0.0722)),
    # BT.601 in the studio range 16..235 of 0..255, divided by 255.
    "ycbcr": _Luma((65.481 / 255, 128.553 / 255, 24.966 / 255), 16 / 255),
}


def luma(image: Tensor, standard: LumaStandard) -> Tensor:
    """Luma of RGB images: the gray plane on which papers report SSIM and MS-SSIM.

    Parameters
    ----------
    image : Tensor, shape (N, 3, H, W) or (3, H, W)
        Red, green and blue. Floating point, for "ycbcr" in 0..1; with "matlab" also uint8 and uint16.
    standard : {"matlab", "bt601", "bt709", "ycbcr"}
        "matlab"
            0.298936 R + 0.587043 G + 0.114021 B, as MATLAB's rgb2gray. Integers are rounded to the nearest integer, and
            stay integers: scores of image databases are usually computed on uint8.
        "bt601"
            0.299 R + 0.587 G + 0.114 B, Recommendation ITU-R BT.601.
        "bt709"
            0.2126 R + 0.7152 G + 0.0722 B, Recommendation ITU-R BT.709.
        "ycbcr"
            (65.481 R + 128.553 G + 24.966 B + 16) / 255, the Y of MATLAB's rgb2ycbcr and of BasicSR, in
            16/255..235/255. Super-resolution reports this one.

    Returns
    -------
    Tensor, shape (N, 1, H, W) or (1, H, W)
        In the dtype of `image`. It is differentiable for floating point, and computed in at least float32.

    Raises
    ------
    TypeError
        If `image` is no tensor, or of a dtype that `standard` does not take.
    ValueError
        If `image` does not have three channels, or there is no such standard.

    Examples
    --------
    >>> import torch, msssim
    >>> red = torch.tensor([255, 0, 0], dtype=torch.uint8).reshape(3, 1, 1)
    >>> msssim.luma(red, "matlab")
    tensor([[[76]]], dtype=torch.uint8)
    >>> msssim.luma(red / 255, "ycbcr")
    tensor([[[0.3195]]])
    """
    checks.one_of("standard", standard, STANDARDS)
    _check(image, standard)
    if image.dtype == torch.uint8:
        return _rounded(image)
    weights, offset = _LUMA[standard]
    integer = not image.is_floating_point()
    # float32 would round some sums of integers to the wrong side; devices without float64 have no other choice.
    dtype = torch.float64 if integer and image.device.type != "mps" else compute_dtype(image.dtype)
    red, green, blue = image.to(dtype).split(1, dim=-3)
    plane: Tensor = red * weights[0] + green * weights[1] + blue * weights[2]
    if offset:
        plane = plane + offset
    return ((plane + 0.5).floor() if integer else plane).to(image.dtype)


def _rounded(image: Tensor) -> Tensor:
    """MATLAB's luma of uint8, which is an integer."""
    total = torch.full_like(image[..., :1, :, :], 1 << (_BITS - 1), dtype=torch.int32)
    for plane, weight in zip(image.split(1, dim=-3), _FIXED_POINT, strict=True):
        total.add_(plane.to(torch.int32), alpha=weight)  # in place: new memory would take longer than the sums
    return total.bitwise_right_shift_(_BITS).to(torch.uint8)


def _check(image: Tensor, standard: LumaStandard) -> None:
    if not isinstance(image, Tensor):
        raise TypeError(f"image must be a torch.Tensor, got {type(image).__module__}.{type(image).__name__}")
    if not image.is_floating_point() and (standard != "matlab" or image.dtype not in _INTEGERS):
        hint = "pass image / 255" if image.dtype == torch.uint8 else "convert it to floating point in 0..1"
        allowed = "floating point, uint8 or uint16" if standard == "matlab" else "floating point in 0..1"
        raise TypeError(f'image must be {allowed} for standard="{standard}", got {image.dtype}; {hint}')
    if image.dim() not in (3, 4) or image.shape[-3] != 3:
        hint = "; a gray image is its own luma" if image.dim() in (3, 4) and image.shape[-3] == 1 else ""
        hint = f"; channels come first: pass image.{advice.PERMUTE[image.dim()]}" if _channels_last(image) else hint
        raise ValueError(f"image must have shape (N, 3, H, W) or (3, H, W), got {tuple(image.shape)}{hint}")


def _channels_last(image: Tensor) -> bool:
    return image.dim() in advice.PERMUTE and image.shape[-1] == 3
