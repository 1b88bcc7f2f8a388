"""Compiling the kernels ahead of time."""

import time
from collections.abc import Iterable

import torch

from . import backends
from .functional import msssim


def warm_up(
    dtypes: Iterable[torch.dtype] = (torch.float32,),
    win_sizes: Iterable[int] = (11,),
    gradients: Iterable[int] = (0, 1),
    device: str | torch.device = "cpu",
    backend: str = "auto",
) -> list[str]:
    """Compile the kernels that later calls use, or load them from the cache on disk.

    Meant for the build of a container and for the time before worker processes are forked. Numba keeps what it has
    compiled in ``NUMBA_CACHE_DIR`` (by default beside the library, or in the user's cache folder where that cannot be
    written to), for CPUs like this one.

    Parameters
    ----------
    dtypes : iterable of torch.dtype, default (torch.float32,)
        Dtypes of the images.
    win_sizes : iterable of int, default (11,)
        Sides of the window.
    gradients : iterable of {0, 1, 2}, default (0, 1)
        How many of the two images need a gradient. Only 0 applies to dtypes that are not floating point.
    device : str or torch.device, default "cpu"
        Where the images will be. On a GPU, other image sizes may still compile variants of their own.
    backend : str, default "auto"
        As for :func:`msssim.msssim`.

    Returns
    -------
    list of str
        What was prepared, a line for each kind of call.

    Raises
    ------
    ValueError
        For an entry of `gradients` that is not 0, 1 or 2, or what :func:`msssim.msssim` refuses.

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


def _prepare(dtype: torch.dtype, win_size: int, gradients: int, device: torch.device, backend: str) -> str:
    """Make one call of a kind, and on the CPU kernels one in float64: planes that float32 would spoil are computed so.

    Such planes are flat, or of two-level graphics, and come up when nobody expects a compilation.
    """
    started = time.perf_counter()
    name = backends.chosen_name(backend, torch.empty((1, 1, win_size, win_size), dtype=dtype, device=device), win_size)
    for computed in dict.fromkeys((dtype, torch.float64) if name == "numba" else (dtype,)):
        _call(computed, win_size, gradients, device, backend)
    took = "nothing to compile" if name == "torch" else f"{time.perf_counter() - started:.1f} s"
    return f"{str(dtype).removeprefix('torch.')}, win_size={win_size}, {gradients} gradients: {name}, {took}"


def _call(dtype: torch.dtype, win_size: int, gradients: int, device: torch.device, backend: str) -> None:
    side = 16 * win_size  # as small as five scales allow
    images = [torch.zeros((1, 1, side, side), dtype=dtype, device=device) for _ in range(2)]
    for image in images[:gradients]:
        image.requires_grad_()
    with torch.enable_grad():
        value = msssim(*images, win_size=win_size, backend=backend)
        if gradients:
            value.backward()
