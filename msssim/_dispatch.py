"""What a call may skip or remember while PyTorch runs operations at once, and must not where it follows them."""

import functools

import torch
from torch.autograd import forward_ad

_VERSION = tuple(map(int, torch.__version__.split(".")[:2]))

# From here on torch.compile follows a function of autograd under torch.func.
_TRANSFORMS_COMPILED = _VERSION >= (2, 12)


def asked_when_compiled(function):
    """A function without tensors that torch.compile calls when it comes to it, and takes the answer for good."""
    if _VERSION < (2, 6):  # which cannot, and is told None
        return lambda *arguments: None if torch.compiler.is_compiling() else function(*arguments)
    function._dynamo_marked_constant = True  # torch.compiler.assume_constant_result() would import the compiler
    return function


def transformed():
    """Whether torch.func or forward-mode differentiation works on the tensors."""
    return not torch.compiler.is_compiling() and _transforming()


def transformed_and_compiled():
    """Whether torch.compile looks at a transform of torch.func, where it could follow plain PyTorch instead."""
    return _TRANSFORMS_COMPILED and torch.compiler.is_compiling() and _transforming_when_compiled()


@asked_when_compiled
def _transforming_when_compiled():
    return _transforming()


def _transforming():
    return torch._C._are_functorch_transforms_active() or forward_mode()


def forward_mode():
    """Whether tensors may have tangents."""
    return forward_ad._current_level >= 0


def apply(function, *arguments):
    """What a function of autograd gives, in forward mode with its tangent: as jvp(), but by the name of tangent().

    torch.compile follows no function with a jvp(), so that there is one where it is wanted alone; and what it makes of
    nested derivatives of a function of autograd is wrong, so that there is none.
    """
    if transformed_and_compiled():
        return function.forward(*arguments)
    if not torch.compiler.is_compiling() and forward_mode():
        function = _with_jvp(function)
    return function.apply(*arguments)


@functools.cache
def _with_jvp(function):
    return type(function.__name__, (function,), {"jvp": staticmethod(function.tangent)})


def at_once():
    """Whether an operation does its work now and nobody else sees it: no compiler, no transform, no dispatch mode."""
    return not torch.compiler.is_compiling() and unobserved()


def unobserved():
    """Whether there is no transform, no dispatch mode and no torch.jit.trace(), whatever a compiler does."""
    return not (torch._C._len_torch_dispatch_stack() or torch._C._is_tracing() or _transforming())


def remembered(function):
    """A function of options alone whose results are kept; not its errors, and not for what has no hash.

    The types of the options tell them apart too: 1, 1.0 and True are equal, and not all of them are a data_range.
    """
    results = functools.lru_cache(maxsize=64, typed=True)(function)

    @functools.wraps(function)
    def remembering(*options):
        if not torch.compiler.is_compiling():  # which looks through caches, with a warning
            try:
                return results(*options)
            except TypeError:  # what has no hash; an error of the function's own comes again
                pass
        return function(*options)

    return remembering
