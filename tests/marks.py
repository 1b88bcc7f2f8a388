"""Marks for parametrized tests."""

from typing import Any

import pytest


def full(*values: Any) -> list[Any]:
    """Return parameters that only ``tox run -e tests-full`` uses; a tuple is the values of several arguments."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.full) for value in values
    ]


# PyTorch's own modules use what PyTorch deprecates; since 2.14 some of it gives a FutureWarning.
compiling = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
# torch.jit.script, in make_dual() and in torch.func.jvp() and jacfwd().
forward_mode = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script:DeprecationWarning", "ignore:.torch.jit.script:FutureWarning"
)
