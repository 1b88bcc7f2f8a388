"""Whether "auto" may use the fused kernels of a device, which are compared with plain PyTorch first.

On a CPU the tests have done that. But the tests cannot cover every GPU, and a compiler or driver may be newer than the
library. So the first eager call of each kind (dtype, window, gradients, way of launching) computes one small pair by
the machine code of that call, and by plain PyTorch on the CPU in float64. Beyond the error budgets there is one
warning, and "auto" is plain PyTorch on that device from then on.

Nothing is compared where tensors may have no values, or where the host must not wait for the device: under
torch.compile, a transform, a dispatch mode, tracing, and while a CUDA graph is captured. There "auto" takes the kernels
if an eager call was compared before, and plain PyTorch otherwise.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from .. import _dispatch, multiscale
from . import forking, ops
from .trial import BUDGETS, CheckedKernels, Kind, errors, typical

if TYPE_CHECKING:  # TODO: import from typing when Python >= 3.11 is the floor
    from typing_extensions import Unpack

    from ..window import KernelParams

_log = logging.getLogger(__name__)

EXEMPT = ("cpu",)
"""The types of devices whose kernels are not compared; of every other type they are, also of a future one."""

REPORTED: frozenset[tuple[str, str, str]] = frozenset()
"""(GPU, version of torch, version of triton) of the committed reports in validation/reports; these are not compared."""


class _State:
    """What is known in this process. The keys of `calls` are calls, not kinds: looking them up is all a call does."""

    def __init__(self) -> None:
        self.calls: set[tuple[object, ...]] = set()
        self.kinds: dict[Kind, bool] = {}
        self.coarse: set[tuple[torch.device, torch.dtype, int, bool]] = set()
        self.trusted_devices: set[torch.device] = set()
        self.distrusted_devices: set[torch.device] = set()
        self.warned: set[torch.device] = set()


_state = _State()
_MAX_CALLS = 1024


def kernels_are_trusted(
    img1: Tensor, img2: Tensor, pooling: multiscale.Pooling, **params: "Unpack[KernelParams]"
) -> bool:
    """Whether "auto" takes the kernels for a call on a device that is not exempt; compares them if nothing is known."""
    device, taps = img1.device, params["taps"][0]
    needs = ops.grads_needed(img1, img2)
    if torch.compiler.is_compiling():
        return _is_known(device, img1.dtype, len(taps), any(needs))
    if device in _state.trusted_devices:
        return True
    gradients = sum(needs)
    levels, rectify = multiscale.terms_options(pooling)
    call = (
        img1.shape, img1.stride(), img2.stride(), img1.dtype, device,
        taps, params["c1"], params["c2"], params["unit"], levels, rectify, gradients,
    )  # fmt: skip
    return call in _state.calls or _decide(call, pooling)


@_dispatch.constant_under_dynamo
def _is_known(device: torch.device, dtype: torch.dtype, win_size: int, gradients: bool) -> bool:
    """Whether the kernels are used where nothing can be compared."""
    if _is_named() or _is_exempted(device):
        return True
    if device in _state.distrusted_devices:
        return False
    known = (device, dtype, win_size, gradients) in _state.coarse
    if not known and device not in _state.warned:
        _state.warned.add(device)
        _log.warning(
            'backend="auto" uses plain PyTorch on %s where it cannot check the kernels (torch.compile, torch.func, '
            "tracing, graph capture): make one eager call first, or call msssim.warm_up(device=%r)",
            device, str(device),
        )  # fmt: skip
    return known


def _decide(call: tuple[Any, ...], pooling: multiscale.Pooling) -> bool:
    """The answer for a call that is not among the trusted ones."""
    _, _, _, dtype, device, taps, _, _, _, _, _, gradients = call
    if _is_named() or _is_exempted(device):
        return True
    if device in _state.distrusted_devices:
        return False
    if not _dispatch.no_active_modes():
        return _is_known(device, dtype, len(taps), bool(gradients) or _dispatch.in_functorch_transform())
    with forking.lock():
        kind = _kind(call)
        if kind not in _state.kinds:
            if _is_capturing(device):
                return _is_known(device, dtype, len(taps), bool(gradients))
            _state.kinds[kind] = _agree(kind, pooling)
        trusted = _state.kinds[kind]
    if trusted:
        if len(_state.calls) >= _MAX_CALLS:
            _state.calls.clear()
        _state.calls.add(call)
        _state.coarse.add((device, dtype, len(taps), gradients > 0))
    return trusted


def _is_capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def is_distrusted(device: torch.device) -> bool:
    """Whether a comparison on a device failed, so that "auto" does not use its kernels."""
    return device in _state.distrusted_devices


def _is_named() -> bool:
    """Whether MSSSIM_BACKEND names the backend, which then must work; choose() has checked the name."""
    return os.environ.get("MSSSIM_BACKEND", "auto") not in ("", "auto")


def _is_exempted(device: torch.device) -> bool:
    """Whether MSSSIM_TRUST=1 or a committed report replaces the comparison."""
    if device in _state.trusted_devices:
        return True
    if os.environ.get("MSSSIM_TRUST") == "1" or (REPORTED and (_name(device), *_versions(device)) in REPORTED):
        _state.trusted_devices.add(device)
        return True
    return False


def _kind(call: tuple[Any, ...]) -> Kind:
    _, x_steps, y_steps, dtype, device, taps, c1, c2, unit, levels, rectify, gradients = call
    cut = _kernels(device).cut_of_call(*call)
    constants = typical(c1 / unit**2, 1e-4), typical(c2 / unit**2, 9e-4)
    dense = x_steps[3] == 1, y_steps[3] == 1
    return Kind(device, dtype, taps, *constants, levels > 1, rectify, gradients, dense, cut)


def _kernels(device: torch.device) -> CheckedKernels:
    return cast(CheckedKernels, ops.kernels(device.type))


def _agree(kind: Kind, pooling: multiscale.Pooling) -> bool:
    """Compute a small pair by the kernels and by plain PyTorch; warn if the difference is beyond the budgets."""
    try:
        with torch.inference_mode(False), _synchronization_allowed(kind.device):
            found = errors(_kernels(kind.device), kind, pooling)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # compilers and drivers raise errors of any type
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        _warn(kind, f'they fail there with "{reason}"', "for such calls")
        return False
    budgets = BUDGETS[kind.dtype]
    if all(error <= budget for error, budget in zip(found, budgets, strict=True)):  # not if an error is NaN
        return True
    _state.distrusted_devices.add(kind.device)
    _state.calls.clear()
    text = "they differ there from plain PyTorch by {:.1e} in the value and {:.1e} in the gradient, allowed are {:.1e}"
    _warn(kind, (text + " and {:.1e}").format(*found, *budgets), "on this device from now on")
    return False


def _warn(kind: Kind, fault: str, extent: str) -> None:
    name, (torch_version, compiler) = _name(kind.device), _versions(kind.device)
    _log.warning(
        'backend="auto" does not use the kernels on %s (%s, torch %s, %s) for %s images and win_size=%d: %s. '
        "It uses plain PyTorch %s. Please report this.",
        kind.device, name, torch_version, compiler, kind.dtype, len(kind.taps), fault, extent,
    )  # fmt: skip


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _versions(device: torch.device) -> tuple[str, str]:
    return torch.__version__.split("+")[0], _kernels(device).VERSION


@contextlib.contextmanager
def _synchronization_allowed(device: torch.device) -> Iterator[None]:
    """Let the comparison wait for the device where torch.cuda.set_sync_debug_mode() forbids it."""
    before = torch.cuda.get_sync_debug_mode() if device.type == "cuda" else 0
    if before:
        torch.cuda.set_sync_debug_mode(0)
    try:
        yield
    finally:
        if before:
            torch.cuda.set_sync_debug_mode(before)
