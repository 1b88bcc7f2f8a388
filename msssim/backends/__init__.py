"""The table of backends and the choice between them. A kernel is imported when it is first used, not here."""

import functools
import importlib.metadata
import importlib.util
import logging
import os
import shutil
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import _dispatch, advice, multiscale, window
from .._types import Backend, BackendName, Padding
from ..casting import as_dtype
from ..window import KernelParams
from . import borders, forking, fused, fused_masks, ops, torch_backend, trust, volumes
from .common import FUSED_DTYPES, MAX_FUSED_WIN_SIZE

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from types import ModuleType

    from typing_extensions import Unpack

__all__ = ["BACKENDS", "INSTALL", "available_backends", "choose", "index", "maps", "missing"]

_log = logging.getLogger(__name__)

BACKENDS: tuple[BackendName, ...] = ("triton", "numba", "torch")

# The module of each backend in PyTorch operations. All others are fused: `ops` calls their kernels.
_PYTORCH_BACKENDS = {"torch": torch_backend}

# The device that a fused backend runs on: its type, and its name in messages.
_DEVICES = {"triton": ("cuda", "a GPU"), "numba": ("cpu", "the CPU")}
# The fused backend that "auto" tries on each type of device; on others it uses plain PyTorch.
_FUSED_BY_DEVICE = {device: name for name, (device, _) in _DEVICES.items()}

# The options that a backend supports in addition to those that every backend has. Plain PyTorch supports all.
_FEATURES: dict[str, frozenset[str]] = {
    "triton": frozenset(),  # until they are measured on a GPU
    "numba": frozenset(
        (
            "spatial_dims=3", 'window="uniform"', "sample_covariance=True", "a tensor as data_range",
            "a data_range for each image", "mask",
            *(f'padding="{padding}"' for padding in ("zeros", "reflect", "replicate", "symmetric")),
        )
    ),
}  # fmt: skip
# Those of them that have no kernel for volumes.
_NOT_OF_VOLUMES = frozenset(("a tensor as data_range", "a data_range for each image", "mask"))

# The command that installs the package of a backend, which has the name of the backend. Other backends need none.
INSTALL = {
    "triton": 'python -m pip install "triton>=3.4" (CUDA builds of PyTorch 2.8 and later install it), and a C compiler',
    "numba": 'python -m pip install "numba>=0.60"',
}


def _is_installed(name: str) -> bool:
    """Whether the package of a backend, if it needs one, can be found; it is not imported."""
    if name not in INSTALL:
        return True
    try:
        found = importlib.util.find_spec(name) is not None
    except ImportError:  # an import hook may refuse a package
        return False
    return found and (name != "triton" or (_new_enough_triton() and _has_c_compiler()))


def _new_enough_triton() -> bool:
    """Whether Triton supports tuples in kernels (3.4 and later, or unknown)."""
    for distribution in ("triton", "pytorch-triton", "pytorch-triton-rocm"):
        try:
            major, minor = importlib.metadata.version(distribution).split(".")[:2]
        except importlib.metadata.PackageNotFoundError:
            continue
        return (int(major), int(minor)) >= (3, 4)
    return True


def _has_c_compiler() -> bool:
    """Whether there is a compiler for Triton's launchers."""
    return bool(os.environ.get("CC")) or any(shutil.which(compiler) for compiler in ("gcc", "clang"))


_AVAILABLE: tuple[BackendName, ...] = tuple(name for name in BACKENDS if _is_installed(name))


def available_backends() -> tuple[BackendName, ...]:
    """The backends that can be used here; ``backend="auto"`` tries them in this order, none after "torch".

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


def missing(name: str) -> str | None:
    """The command that installs what a backend needs, or None if nothing is missing."""
    return None if name == "auto" or name in _AVAILABLE else INSTALL[name]


def index(
    name: Backend,
    img1: Tensor,
    img2: Tensor,
    win_size: int,
    pooling: multiscale.Pooling,
    features: tuple[str, ...] = (),
    **params: "Unpack[KernelParams]",
) -> tuple[Tensor, Tensor]:
    """(value, terms), computed by the backend that choose() returns.

    `features` names the options of the call, as a user writes them, that a fused backend may not have.
    """
    backend = choose(name, img1, win_size, features=features)
    if "mask" in params:
        if backend is ops:
            value, terms, has_index = fused_masks.index(img1, img2, pooling, **params)
        else:
            value, terms, has_index = multiscale.masked_index(backend.masked_terms, img1, img2, pooling, **params)
        advice.warn_if_without_weight(has_index)
        return value, terms
    if backend is ops and name == "auto" and img1.device.type not in trust.EXEMPT:
        backend = ops if trust.kernels_are_trusted(img1, img2, pooling, **params) else torch_backend
    if backend is ops:
        if "padding" in params and not _has_kernel(params["padding"], img1):  # the kernels take padded images
            img1, img2 = _padded(img1, img2, params.pop("padding"), params)
        if img1.dim() == 5:
            return volumes.index(img1, img2, pooling, **params)
        return fused.index(img1, img2, pooling, **params)
    return multiscale.index(backend.pyramid_means, img1, img2, pooling, **params)


def _padded(img1: Tensor, img2: Tensor, padding: Padding, params: KernelParams) -> tuple[Tensor, Tensor]:
    """Padded images. A pixel may occur several times: its gradients are added in the dtype of computation."""
    radii, unit = tuple(len(tap) // 2 for tap in params["taps"]), params["unit"]
    if padding != "zeros" and (any(ops.grads_needed(img1, img2)) or not _dispatch.is_plain_eager()):
        # In such units each gradient may be near the limit of float32, and the sum beyond it.
        wide = not isinstance(unit, Tensor) and window.gradient_scale(unit) < 1
        dtype = torch.float64 if wide else window.compute_dtype(img1.dtype)
        if img1.is_floating_point():
            img1, img2 = as_dtype(img1, dtype), as_dtype(img2, dtype)
    return borders.pad(img1, radii, padding), borders.pad(img2, radii, padding)


def _has_kernel(padding: str, image: Tensor) -> bool:
    """Whether a kernel computes a padding without padded images."""
    return padding == "zeros" and image.dim() == 4 and image.device.type in ops.WITH_ZEROS


def maps(
    name: Backend,
    img1: Tensor,
    img2: Tensor,
    win_size: int,
    pooling: multiscale.Pooling,
    features: tuple[str, ...] = (),
    **params: "Unpack[KernelParams]",
) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(value, terms, the map of every scale, its weights), computed by the backend that choose() returns."""
    levels, rectify = multiscale.terms_options(pooling)
    pyramid = choose(name, img1, win_size, maps=True, features=features).pyramid
    found = pyramid(img1, img2, levels=levels, rectify=rectify, keep_maps=True, **params)
    if found.total_weights is None:
        return multiscale.pool(found.terms, pooling), found.terms, found.maps, tuple(map(torch.ones_like, found.maps))
    value, terms, has_index = multiscale.pool_masked(found.terms, found.total_weights, pooling)
    advice.warn_if_without_weight(has_index)
    return value, terms, found.maps, found.map_weights


def device_type(name: str) -> str | None:
    """The type of device that a fused backend runs on; None for a backend in PyTorch operations, which runs on any."""
    return None if name in _PYTORCH_BACKENDS else _DEVICES[name][0]


def chosen_name(name: Backend, image: Tensor, win_size: int) -> str:
    """The name of the backend that computes a call without maps, as far as is known without a call."""
    if choose(name, image, win_size) is torch_backend or (name == "auto" and trust.is_distrusted(image.device)):
        return "torch"
    preferred = _preferred() if name == "auto" else name
    return preferred or _FUSED_BY_DEVICE[image.device.type]


def choose(
    name: Backend, image: Tensor, win_size: int, maps: bool = False, features: tuple[str, ...] = ()
) -> "ModuleType":
    """The module that computes a call: ops for the fused backends, or that of a backend in PyTorch operations.

    A backend that the call names must support it, otherwise there is an error. "auto" uses plain PyTorch for what the
    kernels do not support, where a package is installed but does not work, and in exported programs, which run where
    there is no msssim. MSSSIM_BACKEND changes which backend "auto" tries first; that one must work.
    """
    if name == "auto" and _dispatch.is_exporting():
        return torch_backend
    preferred = _preferred() if name == "auto" else name
    candidate = preferred or _FUSED_BY_DEVICE.get(image.device.type, "torch")
    if candidate not in _AVAILABLE or candidate == "torch":
        return torch_backend
    reason = _unsupported_reason(candidate, image, win_size, maps, features)
    if reason is None and (preferred or not _fails(candidate, image.device)):
        return _PYTORCH_BACKENDS.get(candidate, ops)
    if name == "auto":
        return torch_backend
    raise ValueError(f'backend="{name}" does not support the call: it {reason}; pass backend="auto" or "torch"')


@_dispatch.constant_under_dynamo
def _preferred() -> str | None:
    """The backend that the environment variable MSSSIM_BACKEND names for "auto", or None."""
    name = os.environ.get("MSSSIM_BACKEND")
    if not name or name == "auto":
        return None
    if name not in BACKENDS:
        names = ", ".join(map(repr, ("auto", *BACKENDS)))
        raise ValueError(f"MSSSIM_BACKEND must be one of {names}, got {name!r}")
    command = missing(name)
    if command:
        raise ImportError(f"MSSSIM_BACKEND={name} needs a package that is not installed: {command}")
    return name


@_dispatch.constant_under_dynamo
def _fails(name: str, device: torch.device) -> bool:
    """Whether a fused backend is known not to work on a device. It is not probed where that is impossible."""
    if forking.unusable():
        return _warn_once_after_fork()
    capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    return not capturing and _dispatch.no_active_modes() and not _probe_backend(name, device)


@functools.cache
def _warn_once_after_fork() -> bool:
    _log.warning('backend="auto" uses plain PyTorch: this process was forked while another thread compiled kernels')
    return True


@functools.lru_cache(maxsize=64)
def _probe_backend(name: str, device: torch.device) -> bool:
    """Whether the smallest kernel of a backend runs; probed once.

    An installed package may not work: Numba with a NumPy that it does not support, Triton without Python's headers or
    on a GPU that it does not support. backend="auto" must work all the same.
    """
    try:
        ops.run_smallest_kernel(device)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # such packages raise errors of any type
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        _log.warning('backend="auto" uses plain PyTorch on %s: %s fails there with "%s"', device, name, reason)
        return False
    return True


def _unsupported_reason(name: str, image: Tensor, win_size: int, maps: bool, features: tuple[str, ...]) -> str | None:
    """Why a backend does not support a call, or None."""
    unsupported = [feature for feature in features if feature not in _FEATURES.get(name, ())]
    if name in _PYTORCH_BACKENDS:
        if unsupported:
            return f"does not support {unsupported[0]}"
        return "computes no maps, got full=True" if maps and not hasattr(_PYTORCH_BACKENDS[name], "pyramid") else None
    device, place = _DEVICES[name]
    if image.device.type != device:
        return f"runs on {place}, got images on {image.device}"
    if image.dtype not in FUSED_DTYPES:
        return f"takes images of {', '.join(map(str, FUSED_DTYPES))}, got {image.dtype}"
    if win_size > MAX_FUSED_WIN_SIZE:
        return f"takes windows up to win_size={MAX_FUSED_WIN_SIZE}, got {win_size}"
    if maps:
        return "computes no maps, got full=True"
    if image.dim() == 5:
        unsupported += [f"{feature} with volumes" for feature in features if feature in _NOT_OF_VOLUMES]
    return f"has no fused kernel for {unsupported[0]}" if unsupported else None
