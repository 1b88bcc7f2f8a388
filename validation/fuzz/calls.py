"""The arguments of the library for a batch of calls."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import msssim

from .draws import Draw


def function(draw: Draw) -> Callable[..., Any]:
    """The function that is called: padding is an option of ssim."""
    return msssim.msssim if draw.padding == "valid" else msssim.ssim


def options(draws: Sequence[Draw], *, of_ssim: bool = False) -> dict[str, Any]:
    """The options of pairs that share them, with their masks."""
    draw = draws[0]
    found: dict[str, Any] = {"spatial_dims": draw.axes, **draw.options._asdict()}
    if of_ssim or draw.padding != "valid":
        del found["weights"], found["normalize"], found["method"]
        found["padding"] = draw.padding
    if draw.mask is not None:
        found["mask"] = mask(draws)
    return found


def mask(draws: Sequence[Draw]) -> Tensor:
    """One mask (H, W) if all pairs have the same, else (N, 1, H, W) or (N, C, H, W)."""
    masks = [draw.mask for draw in draws if draw.mask is not None]
    shared = len(masks[0]) == 1 and all(each is masks[0] for each in masks)
    weights = masks[0][0] if shared else np.stack(masks)
    return torch.from_numpy(weights).to(getattr(torch, draws[0].mask_dtype))


def with_hidden(draws: Sequence[Draw], *images: Tensor) -> list[Tensor]:
    """The images of a batch with what the calls have under a weight of 0."""
    hidden = torch.from_numpy(np.stack([np.asarray(draw.mask) == 0 for draw in draws]))
    assert draws[0].hidden is not None
    return [torch.where(hidden, torch.tensor(draws[0].hidden).to(image), image) for image in images]


def pixels(draw: Draw) -> float:
    """The number of pixels in the mean; with a mask the smallest sum of the weights of a plane, its largest being 1."""
    if draw.mask is None:
        return draw.x.size
    weights = draw.mask.reshape(len(draw.mask), -1)
    sums, peaks = weights.sum(1), weights.max(1)
    least = min((total / peak for total, peak in zip(sums, peaks, strict=True) if peak), default=1.0)
    return float(least * len(draw.x))
