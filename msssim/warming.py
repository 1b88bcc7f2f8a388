"""Compiling the kernels ahead of time."""

import time
from collections.abc import Iterable

import torch

from . import backends
from ._types import Backend
from .functional import msssim


def warm_up(
    dtypes: Iterable[torch.dtype] = (torch.float32,),
    win_sizes: Iterable[int] = (11,),
    gradients: Iterable[int] = (0, 1),
    device: str | torch.device = "cpu",
    backend: Backend = "auto",
) -> list[str]:
    """Compile the kernels that later calls use, or load them from the cache on disk.

    For building a container, or before worker processes are forked. Numba caches the compiled code in
    ``NUMBA_CACHE_DIR`` (by default beside the library, or in the user's cache folder if that is not writable), for CPUs
    like this one.

    Parameters
    ----------
    dtypes : iterable of torch.dtype, default (torch.float32,)
        Dtypes of the images.
    win_sizes : iterable of int, default (11,)
        Window sizes.
    gradients : iterable of {0, 1, 2}, default (0, 1)
        How many of the two images require a gradient; integer dtypes are compiled for 0 only.
    device : str or torch.device, default "cpu"
        The device of the images. On a GPU the kernels are checked as well, so that torch.compile uses them; other
        image sizes may still need to compile variants.
    backend : str, default "auto"
        As in :func:`msssim.msssim`.

    Returns
    -------
    list of str
        One line for each kind of call.

    Raises
    ------
    ValueError
        If an entry of `gradients` is not 0, 1 or 2, or :func:`msssim.msssim` raises it.

    Examples
    --------
    >>> import msssim
    >>> msssim.warm_up(gradients=[0], backend="torch")
    ['float32, win_size=11, 0 gradients: torch, nothing to compile']
    """
    gradients = tuple(gradients)
    if not set(gradients) <= {0, 1, 2}:
        raise ValueError(f"gradients must be 0, 1 or 2, got {gradients}")
    win_sizes = tuple(win_sizes)
    return [
        _prepare(dtype, win_size, count, torch.device(device), backend)
        for dtype in dtypes
        for win_size in win_sizes
        for count in gradients
        if count == 0 or dtype.is_floating_point
    ]


def _prepare(dtype: torch.dtype, win_size: int, gradients: int, device: torch.device, backend: Backend) -> str:
    """Make one call; with the CPU kernels also one in float64, which computes planes too inaccurate for float32.

    Such planes are flat or two-level graphics, and may first occur late in a program.
    """
    started = time.perf_counter()
    image = torch.empty((1, 1, win_size, win_size), dtype=dtype, device=device)
    name = backends.chosen_name(backend, image, win_size)
    for computed in dict.fromkeys((dtype, torch.float64) if name == "numba" else (dtype,)):
        _call(computed, win_size, gradients, device, backend)
    name = backends.chosen_name(backend, image, win_size)  # the first call on a GPU may have found the kernels wrong
    took = "nothing to compile" if backends.device_type(name) is None else f"{time.perf_counter() - started:.1f} s"
    return f"{str(dtype).removeprefix('torch.')}, win_size={win_size}, {gradients} gradients: {name}, {took}"


def _call(dtype: torch.dtype, win_size: int, gradients: int, device: torch.device, backend: Backend) -> None:
    side = 16 * win_size  # the smallest for five scales
    images = [torch.zeros((1, 1, side, side), dtype=dtype, device=device) for _ in range(2)]
    for image in images[:gradients]:
        image.requires_grad_()
    with torch.enable_grad():
        value = msssim(*images, win_size=win_size, backend=backend)
        if gradients:
            value.backward()
