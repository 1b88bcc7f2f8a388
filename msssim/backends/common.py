"""What the backends share: what the fused ones support, the thresholds, and the layout of a pyramid."""

import functools
from typing import Protocol

import torch
from torch import Tensor

from ..multiscale import Pooling


class KernelModule(Protocol):
    """The functions of a fused backend; ``numba/api.py`` documents them.

    `border` is passed only where a call has one, and only on the devices of :data:`ops.WITH_ZEROS`.
    """

    def means(
        self, img1: Tensor, img2: Tensor, taps: tuple[float, ...], c1: float, c2: float, unit: float, levels: int,
        rectify: bool, border: int = 0, /,
    ) -> Tensor:  # fmt: skip
        """The terms of each plane, (N, C, levels)."""
        ...

    def means_and_gradients(
        self, img1: Tensor, img2: Tensor, taps: tuple[float, ...], c1: float, c2: float, unit: float, levels: int,
        rectify: bool, need1: bool, need2: bool, border: int = 0, /,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """The terms, and for each image the gradient of each scale's sum, (N, C, pixels of all scales)."""
        ...

    def gradient(
        self, upstream: Tensor, dvalue_dterms: Tensor | None, scale_grads: Tensor, height: int, width: int, levels: int,
        halo: int, unit: float, dtype: torch.dtype, /,
    ) -> Tensor:  # fmt: skip
        """The gradient of an image, (N, C, H, W)."""
        ...

    def pool(self, terms: Tensor, pooling: Pooling, with_derivative: bool, /) -> tuple[Tensor, Tensor | None]:
        """The value, and its derivative with respect to the terms."""
        ...


# What the fused backends compute; plain PyTorch computes the rest.
FUSED_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.bool)
MAX_FUSED_WIN_SIZE = 31

# Denominators at or below this, in units of data_range², count as zero: a reciprocal could overflow.
ZERO_DENOMINATOR = {torch.float32: 1e-20, torch.float64: 1e-200}

# What rounding may leave of a difference that is zero, in eps of the dtype and of the size of the operands.
ROUNDING_EPS = 16

# A plane whose peak is beyond EXTREME units is scaled to about TAMED units, as its squares would overflow.
EXTREME, TAMED = 2.0**40, 2.0**20


@functools.lru_cache(maxsize=256)
def pyramid_shapes(height: int, width: int, levels: int) -> tuple[tuple[int, int], ...]:
    """(height, width) of each scale, finest first."""
    shapes = [(height, width)]
    for _ in range(levels - 1):
        height, width = (height + 1) // 2, (width + 1) // 2
        shapes.append((height, width))
    return tuple(shapes)
