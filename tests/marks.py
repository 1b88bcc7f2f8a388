"""Marks for parametrized tests."""

from typing import Any

import pytest


def full(*values: Any) -> list[Any]:
    """Return parameters that only ``tox run -e tests-full`` uses; a tuple is the values of several arguments."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.full) for value in values
    ]
