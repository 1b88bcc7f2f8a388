"""The backends and the choice between them. No kernel is imported here: its package is, when it first computes."""

import functools
import importlib.metadata
import importlib.util
import logging
import os
import shutil

import torch

from .. import _dispatch, multiscale
from . import forking, ops, torch_backend
from .torch_backend import in_wider_dtype

__all__ = ["BACKENDS", "INSTALL", "available_backends", "choose", "in_wider_dtype", "index", "missing"]

_log = logging.getLogger(__name__)

BACKENDS = ("triton", "numba", "torch")

# Where the fused backends compute: the type of the device, and what people call it.
_DEVICES = {"triton": ("cuda", "a GPU"), "numba": ("cpu", "the CPU")}

# What installs the package that a backend needs.
INSTALL = {
    "triton": 'python -m pip install "triton>=3.4" (PyTorch 2.8 and later bring it along for GPUs), and a C compiler',
    "numba": "python -m pip install msssim[fast]",
}


def _usable(name):
    """Whether the package of a backend is there; nothing is imported to find out."""
    try:
        there = importlib.util.find_spec(name) is not None
    except ImportError:  # an import hook may refuse a package outright
        return False
    return there and (name != "triton" or (_new_enough_triton() and _c_compiler()))


def _new_enough_triton():
    """Whether it is 3.4 or later, whose kernels know tuples; a version that nobody tells is taken to be."""
    for distribution in ("triton", "pytorch-triton", "pytorch-triton-rocm"):
        try:
            major, minor = importlib.metadata.version(distribution).split(".")[:2]
        except importlib.metadata.PackageNotFoundError:
            continue
        return (int(major), int(minor)) >= (3, 4)
    return True


def _c_compiler():
    """Whether Triton finds the compiler that it makes its launchers with."""
    return bool(os.environ.get("CC")) or any(shutil.which(compiler) for compiler in ("gcc", "clang"))


_AVAILABLE = tuple(name for name in BACKENDS if _usable(name))

# What the fused backends compute; the rest is the plain backend's.
_FUSED_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.bool)
_FUSED_WINDOW = 31


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
    return tuple(name for name in _AVAILABLE if name != "triton" or torch.cuda.is_available())


def missing(name):
    """The command that installs what a backend needs, or None where nothing is missing."""
    return None if name in ("auto", *_AVAILABLE) else INSTALL[name]


def index(name, img1, img2, win_size, pooling, **problem):
    """(value, terms): the terms as from pyramid_means() of the backend, and what multiscale.pool() makes of them."""
    backend = choose(name, img1, win_size)
    if backend is ops:
        return ops.index(img1, img2, pooling, **problem)
    return multiscale.index(backend.pyramid_means, img1, img2, pooling, **problem)


def chosen_name(name, image, win_size):
    """The name of the backend that computes a call without maps."""
    fused = {device: fused for fused, (device, _) in _DEVICES.items()}
    return fused[image.device.type] if choose(name, image, win_size) is ops else "torch"


def choose(name, image, win_size, maps=False):
    """What computes a call: it has pyramid_means(), and ssim_map() where `maps` asks for it.

    A backend asked for by its name that does not cover the call is an error; "auto" then takes the plain one, and so it
    does where a package is there but does not run. A backend that MSSSIM_BACKEND names stands for "auto": calls that it
    does not cover are the plain one's, but it has to run.
    """
    preferred = _preferred() if name == "auto" else name
    wanted = preferred or ("triton" if image.device.type == "cuda" else "numba")
    if wanted not in _AVAILABLE or wanted == "torch":
        return torch_backend
    obstacle = _obstacle(wanted, image, win_size, maps)
    if obstacle is None and (preferred or not _fails(wanted, image.device)):
        return ops
    if name == "auto":
        return torch_backend
    raise ValueError(f'backend="{name}" does not cover the call: it {obstacle}; pass backend="auto" or "torch"')


@_dispatch.asked_when_compiled
def _preferred():
    """The backend that the environment variable MSSSIM_BACKEND names for "auto", or None."""
    name = os.environ.get("MSSSIM_BACKEND")
    if not name or name == "auto":
        return None
    if name not in BACKENDS:
        names = ", ".join(map(repr, ("auto", *BACKENDS)))
        raise ValueError(f"MSSSIM_BACKEND must be one of {names}, got {name!r}")
    command = missing(name)
    if command:
        raise ImportError(f"MSSSIM_BACKEND={name} needs a package that is missing: {command}")
    return name


@_dispatch.asked_when_compiled
def _fails(name, device):
    """Whether a fused backend is known not to compute on a device, which is not tried where it cannot be."""
    if forking.unusable():
        return _said_unusable()
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return not capturing and _dispatch.unobserved() and not _tried(name, device)


@functools.cache
def _said_unusable():
    _log.warning('backend="auto" takes plain PyTorch: this process was forked while another thread compiled kernels')
    return True


@functools.lru_cache(maxsize=64)
def _tried(name, device):
    """Whether its smallest kernel runs, which is found out once.

    A package may be there and of no use: Numba beside a NumPy that it does not know, Triton without Python's headers
    or on a GPU that it makes no code for. Who asked for no backend need not suffer from it.
    """
    try:
        ops.run_smallest_kernel(device)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # whatever such a package raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        _log.warning('backend="auto" takes plain PyTorch on %s: %s fails there with "%s"', device, name, reason)
        return False
    return True


def _obstacle(name, image, win_size, maps):
    """Why a fused backend does not cover a call, or None where it does."""
    device, place = _DEVICES[name]
    if image.device.type != device:
        return f"computes on {place}, got images on {image.device}"
    if image.dtype not in _FUSED_DTYPES:
        return f"takes images of {', '.join(map(str, _FUSED_DTYPES))}, got {image.dtype}"
    if win_size > _FUSED_WINDOW:
        return f"takes windows up to win_size={_FUSED_WINDOW}, got {win_size}"
    if maps:
        return "computes no maps, got full=True"
    return None
