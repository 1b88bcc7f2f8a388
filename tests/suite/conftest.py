"""Fixtures that the tests of the suite share."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Use one thread: small images gain nothing from several, and on a busy machine they lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(items):
    """Let the tests of the suite measure pairs whose index is NaN in the original; the library's tests may not."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:MS-SSIM is NaN:UserWarning"))
