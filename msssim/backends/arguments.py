"""Between the parameters of a backend and the arguments of the operators."""

from collections.abc import Iterator
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from .._types import Padding
from ..window import Constant, KernelParams, is_zero, taps_of_axes

Extras: TypeAlias = tuple[Tensor | None, Tensor | None, str, tuple[int, ...]]
"""constants, mask, padding, win_size."""
NO_EXTRAS: Extras = (None, None, "valid", ())


def split_constants(c1: Constant, c2: Constant, unit: Constant) -> tuple[float, float, float, Tensor | None]:
    """(c1, c2, unit, constants) as the operators take them."""
    if not isinstance(unit, Tensor):
        return cast(float, c1), cast(float, c2), unit, None
    constants = torch.stack([c if isinstance(c, Tensor) else torch.zeros_like(unit) for c in (c1, c2, unit)])
    constants = constants.flatten(1) if unit.dim() else constants
    return 0.0 if is_zero(c1) else 1.0, 0.0 if is_zero(c2) else 1.0, 1.0, constants


def kernel_params(img1: Tensor, options: Any, extras: Extras) -> KernelParams:
    """The parameters of plain PyTorch, from the arguments of an operator."""
    taps, c1, c2, unit, _, _ = options
    constants, mask, padding, win_size = extras
    if constants is not None:
        each = constants if constants.dim() == 1 else constants.reshape(3, -1, *(1,) * (img1.dim() - 1))
        c1, c2, unit = each[0] if c1 else 0.0, each[1] if c2 else 0.0, each[2]
    params: KernelParams = {"taps": taps_of_axes(taps, win_size, img1.dim() - 2), "c1": c1, "c2": c2, "unit": unit}
    if mask is not None:
        params["mask"] = mask
    if padding != "valid":
        params["padding"] = cast(Padding, padding)
    return params


def images_of(img1: Tensor, img2: Tensor, params: KernelParams) -> Iterator[tuple[Tensor, Tensor, KernelParams]]:
    """Each image of a batch that has constants by image, with its own constants and mask."""
    for n in range(img1.shape[0]):
        one = slice(n, n + 1)
        constants = params["c1"], params["c2"], params["unit"]
        c1, c2, unit = (c[n].item() if isinstance(c, Tensor) else c for c in constants)
        own: KernelParams = {**params, "c1": c1, "c2": c2, "unit": unit}
        if "mask" in params and params["mask"].shape[0] > 1:
            own["mask"] = params["mask"][one]
        yield img1[one], img2[one], own
