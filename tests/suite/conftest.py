"""Fixtures that the tests of the suite share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """Use one thread: small images gain nothing from several, and on a busy machine they lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
