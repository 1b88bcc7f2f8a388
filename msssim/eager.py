"""What a call may skip or remember while PyTorch runs operations at once, and must not where it follows them."""

import functools

import torch
from torch.autograd import forward_ad

# Of an early torch.compile the question is an error.
_CAN_BE_ASKED = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def transformed():
    """Whether torch.func or forward-mode differentiation works on the tensors."""
    return not torch.compiler.is_compiling() and _transforming()


def transformed_and_compiled():
    """Whether torch.compile looks at a transform of torch.func, where it can be asked."""
    return _CAN_BE_ASKED and torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def _transforming():
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def at_once():
    """Whether an operation does its work now and nobody else sees it: no compiler, no transform, no dispatch mode."""
    return not (torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or _transforming())


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
