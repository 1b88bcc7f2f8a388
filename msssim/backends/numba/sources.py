"""Where the pixels of a call come from: two images in memory here, images read in blocks in :mod:`.streaming`.

A source can be swept as often as a call needs: planes that float32 cannot do are swept again in float64.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ... import window
from . import records, sweep
from .finish import N_SUMS
from .memory import borrow, return_borrowed
from .plan import LIKE, Parameters, Plan
from .preparing import prepare
from .records import STATE
from .threads import on_threads

_AT_ONCE = 1 << 21  # pixels that are computed again in float64 at a time, or a plane
_SMALL_WORK = 1 << 15  # pixels below which a second thread costs more than it gives
_GRADIENTS: tuple[tuple[int, ...], ...] = (
    (),
    (0,),
    (0, 0),
)  # how many images have a gradient, as types that code is made for

Index = tuple[torch.Tensor, torch.Tensor]
"""The numbers of planes: of their images, and of their channels."""


class Source(Protocol):
    """Two images (N, C, H, W) of one dtype."""

    border: int
    """Rows and columns of zeros around each image."""
    total_weights: torch.Tensor | None
    """With a mask the sum of the weights of windows, (N, C, levels), which sweep() writes."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the pixels."""
        ...

    def sweep(self, means: torch.Tensor, grads: list[torch.Tensor], cut: Plan, numbers: Parameters) -> np.ndarray:
        """Write the means and the gradients; gives the state that the threads have left."""
        ...

    def peaks(self) -> np.ndarray:
        """The largest magnitude of a pixel of both images, for each plane."""
        ...

    def groups(self, planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The numbers of planes, in groups that are computed again at a time."""
        ...

    def widened(self, index: Index) -> Source:
        """Those planes in float64, each as an image."""
        ...


class InMemory:
    """Two tensors of the same shape and dtype, with a border of so many zeros around them."""

    mask: torch.Tensor | None = None
    """The weights of pixels, bool or in the dtype of computation, (1 or N, 1 or C, H, W)."""
    total_weights: torch.Tensor | None = None

    def __init__(self, img1: torch.Tensor, img2: torch.Tensor, border: int = 0) -> None:
        self.border = border
        self._images = img1.resolve_neg(), img2.resolve_neg()
        batch, channels, height, width = img1.shape
        self.shape, self.dtype = (batch, channels, height, width), img1.dtype

    def sweep(self, means: torch.Tensor, grads: list[torch.Tensor], cut: Plan, numbers: Parameters) -> np.ndarray:
        """See :class:`Source`."""
        x, y = self._images
        planes, levels = cut.planes, len(cut.shapes)
        coarser = planes * (cut.pixels - x.shape[2] * x.shape[3])
        weights = 0 if self.mask is None else self._masks() * (coarser // planes)
        pyramid = borrow(2 * coarser + weights, numbers.dtype) if coarser else None
        pyramid_s = 0 if pyramid is None else pyramid.data_ptr()
        size_of_one = coarser * numbers.dtype.itemsize
        # One allocation for the state and for the sums in float64; NumPy would take longer to give their addresses.
        n_state = STATE.scales + planes * (levels + 1)
        memory = torch.zeros(n_state + N_SUMS * planes * levels * cut.slots, dtype=torch.int64, device="cpu")
        state, kept = memory.numpy()[:n_state], memory.data_ptr()
        targets = [each.data_ptr() for each in grads] + [0, 0]
        (x_n, x_c, x_h, x_w), (y_n, y_c, y_h, y_w) = x.stride(), y.stride()
        call = np.array(
            records.Arguments(
                means.data_ptr(), planes, levels, x.shape[1],
                pyramid_s, pyramid_s + size_of_one, coarser // planes,
                targets[0], targets[1], cut.pixels,
                x.data_ptr(), x_n, x_c, x_h, x_w, y.data_ptr(), y_n, y_c, y_h, y_w,
                x.data_ptr(), y.data_ptr(), x.shape[2],
                cut.addresses[0], cut.addresses[1], len(cut.tasks), numbers.address, kept, kept + 8 * n_state,
                cut.slots, self.border, *self._arguments_of_mask(pyramid_s + 2 * size_of_one),
            ),
            np.int64,
        )  # fmt: skip
        alive = self._images, self.mask, means, pyramid, grads, cut, numbers, memory
        run(call, state, numbers, len(grads), planes * cut.pixels, alive, self.mask)
        if pyramid is not None:
            return_borrowed(pyramid)
        return state

    def peaks(self) -> np.ndarray:
        """See :class:`Source`."""
        return torch.maximum(*(self._peak_of(image) for image in self._images)).reshape(-1).double().numpy()

    def _peak_of(self, image: torch.Tensor) -> torch.Tensor:
        return peak(image)

    def _masks(self) -> int:
        """How many masks there are: images and channels may share one."""
        assert self.mask is not None
        counts = zip(self.shape, self.mask.expand(self.shape).stride(), strict=True)
        images, channels = [count if stride else 1 for count, stride in counts][:2]
        return images * channels

    def _arguments_of_mask(self, pyramid_m: int) -> tuple[int, ...]:
        if self.mask is None or self.total_weights is None:
            return ()
        weights = self.mask.expand(self.shape)
        return self.total_weights.data_ptr(), weights.data_ptr(), *weights.stride(), pyramid_m

    def groups(self, planes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See :class:`Source`."""
        return torch.split(planes, max(1, _AT_ONCE // (self.shape[2] * self.shape[3])))

    def widened(self, index: Index) -> InMemory:
        """See :class:`Source`."""
        x, y = (image.detach()[index].unsqueeze(1).double() for image in self._images)
        return InMemory(x, y, self.border)


def run(
    call: np.ndarray,
    state: np.ndarray,
    numbers: Parameters,
    n_grads: int,
    pixels: int,
    alive: tuple[object, ...],
    mask: torch.Tensor | None = None,
) -> None:
    """Sweep over the strips of a call, on as many threads as that number of pixels is worth."""
    weights, guard = None if mask is None else LIKE[mask.dtype], True if numbers.guard_zero_div else None
    arguments = numbers.source, call, weights, numbers.like, numbers.taps, _GRADIENTS[n_grads], guard
    kind = numbers.source_dtype, None if mask is None else mask.dtype, len(numbers.taps), n_grads, guard
    prepare(sweep.sweep, kind, (0, 1, *arguments))
    on_threads(sweep.sweep, arguments, threads(pixels), alive)
    require(state[STATE.done])


def require(done: int) -> None:
    """Raise an error if no thread did the work."""
    if not done:
        raise MemoryError("the fused kernel could not allocate its work memory in any thread")


def threads(pixels: int) -> int:
    """How many threads are worth it, this one among them; no more than PyTorch would use."""
    return min(torch.get_num_threads(), max(1, pixels // _SMALL_WORK))


def peak(image: torch.Tensor) -> torch.Tensor:
    """The largest magnitude of each plane."""
    low, high = image.detach().flatten(2).to(window.compute_dtype(image.dtype)).aminmax(dim=-1)
    return torch.maximum(high, -low)
