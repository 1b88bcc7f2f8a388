"""Which tests on the emulated GPU run by default.

Each kind of call is compiled first: by Triton, and its PTX by a C compiler, up to a minute of CPU time. So one test of
each kind runs by default, and `tox run -e tests-full` runs all. On a GPU all run.
"""

import os
from typing import Any

import pytest
import torch

EMULATED = not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1"

# By file, the tests that run by default, and the parameters with which they do.
BY_DEFAULT: dict[str, dict[str, dict[str, Any]]] = {
    "test_triton_backend.py": {
        "test_means_and_both_gradients": {"size": "small", "levels": 2},
        "test_a_window_that_sees_one_pixel_alone_is_finite": {"normalize": "covariance"},
        "test_infinity_beside_huge_numbers_gives_nan": {},
        "test_gpus_with_warps_of_64_threads_are_refused": {},
        "test_what_the_matlab_code_returned": {},
    },
    "test_pool.py": {"test_matches_multiscale_pool_and_its_derivative": {"reduce_batch": True, "weights": (0.3, 0.7)}},
}


@pytest.hookimpl(tryfirst=True)  # before pytest deselects what is marked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the other tests on the emulated GPU as full."""
    for item in items if EMULATED else []:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        tests = BY_DEFAULT.get(item.path.name)
        if tests is None or parameters.get("pool", "triton") != "triton":
            continue
        needed = tests.get(getattr(item, "originalname", item.name))
        if needed is None or any(parameters[name] != value for name, value in needed.items()):
            item.add_marker(pytest.mark.full)
