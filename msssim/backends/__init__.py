"""The backends and the choice between them. No kernel is imported here: its package is, when it first computes."""

import importlib.util

import torch

from . import operator, torch_backend

BACKENDS = ("numba", "torch")


def _installed(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # an import hook may refuse a package outright
        return False


_AVAILABLE = tuple(name for name in BACKENDS if _installed(name))

# What the Numba backend computes; the rest is the plain backend's.
_NUMBA_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.bool)
_NUMBA_WINDOW = 31


def available_backends():
    """The backends that can be used here, the first choice of ``backend="auto"`` first.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> import msssim
    >>> "torch" in msssim.available_backends()
    True
    """
    return _AVAILABLE


def choose(name, image, win_size, maps=False):
    """What computes a call: it has pyramid_means(), and ssim_map() where `maps` asks for it.

    A backend asked for by its name that does not cover the call is an error; "auto" then takes the plain one.
    """
    if name == "torch" or (name == "auto" and "numba" not in _AVAILABLE):
        return torch_backend
    obstacle = _numba_obstacle(image, win_size, maps)
    if obstacle is None:
        return operator
    if name == "auto":
        return torch_backend
    raise ValueError(f'backend: {obstacle}; backend="auto" or "torch" computes it')


def _numba_obstacle(image, win_size, maps):
    """Why the Numba backend does not cover a call, or None where it does."""
    if image.device.type != "cpu":
        return f'"numba" computes on the CPU, images on {image.device} came'
    if image.dtype not in _NUMBA_DTYPES:
        wanted = ", ".join(str(dtype).removeprefix("torch.") for dtype in _NUMBA_DTYPES)
        return f'"numba" takes images of {wanted}, {image.dtype} came'
    if win_size > _NUMBA_WINDOW:
        return f'"numba" takes windows up to win_size={_NUMBA_WINDOW}, {win_size} came'
    if maps:
        return '"numba" computes no maps, full=True came'
    return None
