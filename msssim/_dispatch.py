"""What PyTorch is doing around a call: running eagerly, compiling, tracing or transforming.

A call may take shortcuts and use caches only where PyTorch runs each operation at once. No public function of PyTorch
says whether a transform or a dispatch mode is active, hence the private ones below. They let calls bypass the
dispatcher, which takes longer than the kernels for small images (see :mod:`.backends.fused`), and keep ``import
msssim`` from importing torch._dynamo.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch.autograd import forward_ad

P = ParamSpec("P")
R = TypeVar("R")

_VERSION = tuple(map(int, torch.__version__.split(".")[:2]))

# Earlier versions of torch.compile cannot trace an autograd function below a torch.func transform.
# TODO: remove when PyTorch >= 2.12 is the floor.
_COMPILES_TRANSFORMS = _VERSION >= (2, 12)

# Whether torch.fx.experimental.symbolic_shapes.has_static_value() exists. torch.compile cannot trace an import that
# fails. TODO: remove when PyTorch >= 2.7 is the floor.
KNOWS_STATIC_VALUES = _VERSION >= (2, 7)

# TODO: use it directly when PyTorch >= 2.7 is the floor. With 2.6 exporters cannot be recognized.
_torch_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", bool)


def constant_under_dynamo(function: Callable[P, R]) -> Callable[P, R]:
    """Let torch.compile call a function without tensors while it traces, and keep the result as a constant."""
    # As torch.compiler.assume_constant_result(), which imports torch._dynamo.
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def in_functorch_transform() -> bool:
    """Whether a torch.func transform or forward-mode differentiation is active, outside of torch.compile."""
    return not torch.compiler.is_compiling() and _transform_is_active()


def compiling_functorch_transform() -> bool:
    """Whether torch.compile is tracing below a torch.func transform, and could trace plain PyTorch there."""
    return _COMPILES_TRANSFORMS and torch.compiler.is_compiling() and _transform_is_active_under_dynamo()


@constant_under_dynamo
def _transform_is_active_under_dynamo() -> bool:
    return _transform_is_active()


def _transform_is_active() -> bool:
    return torch._C._are_functorch_transforms_active() or in_forward_mode()


def in_forward_mode() -> bool:
    """Whether tensors may have tangents."""
    return forward_ad._current_level >= 0


def is_exporting() -> bool:
    """Whether torch.export, an exporter built on it, or torch.jit.trace() records a program that runs elsewhere."""
    return bool(_torch_is_exporting()) or bool(torch.jit.is_tracing())  # type: ignore[attr-defined] # not in __all__


def apply(function: type[torch.autograd.Function], *args: Any) -> Any:
    """Call an autograd function; in forward mode its static method ``tangent`` is the ``jvp``.

    torch.compile cannot trace a function that has a ``jvp``, so there is one only in forward mode. It also computes
    wrong nested derivatives of autograd functions below a transform: there it traces ``forward`` itself. So do
    exporters, since a saved program cannot hold an autograd function.
    """
    if compiling_functorch_transform() or is_exporting():
        return function.forward(*args)
    if not torch.compiler.is_compiling() and in_forward_mode():
        function = _with_jvp(function)
    return function.apply(*args)


@functools.cache
def _with_jvp(function: Any) -> type[torch.autograd.Function]:
    return type(function.__name__, (function,), {"jvp": staticmethod(function.tangent)})


def is_plain_eager() -> bool:
    """Whether each operation runs at once and nothing observes it: no compiler, transform, mode or tracing."""
    return not torch.compiler.is_compiling() and no_active_modes()


def no_active_modes() -> bool:
    """Whether there is no transform, dispatch mode or torch.jit.trace(); torch.compile may be tracing."""
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined] # documented, but not in __all__
    return not (torch._C._len_torch_dispatch_stack() or tracing or _transform_is_active())


def cached_when_eager(function: Callable[P, R]) -> Callable[P, R]:
    """Cache the results, not the errors, of a function of options; torch.compile traces the function itself.

    Options of different types are kept apart: 1, 1.0 and True are equal, but only two of them are a valid data_range.
    Unhashable options are not cached.
    """
    cached = functools.lru_cache(maxsize=64, typed=True)(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if not torch.compiler.is_compiling():  # torch.compile ignores the cache, with a warning
            try:
                return cached(*args, **kwargs)  # type: ignore[arg-type] # unhashable ones raise TypeError
            except TypeError:  # an error of the function itself is raised again below
                pass
        return function(*args, **kwargs)

    return wrapper
