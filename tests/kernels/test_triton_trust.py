"""The comparison before "auto" uses the GPU kernels, with the machine code itself on the emulated GPU.

tests/library/test_trust.py tests everything else about it, in seconds.
"""

import importlib.util
from unittest import mock

import pytest
import torch

import msssim
from msssim import backends
from msssim.backends import trust

if importlib.util.find_spec("triton") is None:
    pytest.skip('triton is not installed: python -m pip install "triton>=3.4"', allow_module_level=True)
from validation.emulated_gpu import driver

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(torch.cuda.is_available(), reason="is for the emulated GPU; test_cuda.py has the rest"),
]


@pytest.fixture
def launches(monkeypatch):
    """The launches so far; "auto" takes the kernels of the emulated GPU, and nothing is known about them."""
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "torch"))
    monkeypatch.setattr(backends, "_FUSED_BY_DEVICE", {"cpu": "triton"})
    monkeypatch.setattr(trust, "EXEMPT", ())
    monkeypatch.setattr(trust, "_state", trust._State())
    monkeypatch.delenv("MSSSIM_TRUST", raising=False)
    monkeypatch.delenv("MSSSIM_BACKEND", raising=False)
    backends._probe_backend.cache_clear()
    with driver.emulated_gpu(90) as done:
        yield done
    backends._probe_backend.cache_clear()


def _value_and_gradient(x, y, **options):
    x = x.detach().clone().requires_grad_()
    value = msssim.msssim(x, y, weights=(0.4, 0.6), **options)
    return value.detach(), torch.autograd.grad(value, x)[0]


def _sweeps():
    return sum(kernel.name == "sweep" for kernel in driver._kernels.values())


def test_right_kernels_are_compared_once_and_used(launches, pair, caplog):
    x, y = pair(1, 1, 45, 47, dtype=torch.float32)
    before = _sweeps()
    result = _value_and_gradient(x, y)
    compared = [launch for launch in launches if launch.name == "sweep"][:-1]
    assert len(compared) == 1 and compared[0].grid[0] > 4  # several programs, two planes of two scales
    assert _sweeps() <= before + 1  # the comparison compiles no sweep that the call does not need
    seen = len(launches)
    again = _value_and_gradient(x, y)
    assert [launch.name for launch in launches[seen:]] == [
        "downsample", "sweep", "finish_means", "pool", "pyramid_backward",
    ]  # fmt: skip
    for mine, other, expected in zip(result, again, _value_and_gradient(x, y, backend="torch"), strict=True):
        assert torch.equal(mine, other)
        torch.testing.assert_close(mine, expected, rtol=2e-5, atol=1e-7)
    assert not caplog.records


@pytest.mark.parametrize("name", ["sweep", "pyramid_backward"])
def test_a_program_that_does_not_run_is_noticed(launches, pair, caplog, name):
    from validation.emulated_gpu import ptx

    run = ptx.Kernel.__call__

    def all_but_the_last(self, grid, arguments, **options):
        grid = (grid[0] - (self.name == name), *grid[1:])
        return run(self, grid, arguments, **options)

    x, y = pair(1, 1, 45, 47, dtype=torch.float32)
    with mock.patch.object(ptx.Kernel, "__call__", all_but_the_last):
        result = _value_and_gradient(x, y)
    for mine, expected in zip(result, _value_and_gradient(x, y, backend="torch"), strict=True):
        assert torch.equal(mine, expected)
    (record,) = caplog.records
    assert "does not use the kernels on cpu" in record.message and "differ there from plain PyTorch" in record.message
    seen = len(launches)
    _value_and_gradient(x, y)
    assert len(launches) == seen


def test_the_machine_code_for_large_images_is_compared_on_a_small_pair(launches, pair):
    x, y = pair(1, 1, 45, 47, dtype=torch.bfloat16)  # which is never one launch
    before = _sweeps()
    msssim.msssim(x, y, weights=(0.4, 0.6))
    assert [launch.name for launch in launches if launch.name != "pool"] == [
        "sweep", "sweep", "finish_means", "sweep", "sweep", "finish_means",
    ]  # fmt: skip
    assert _sweeps() <= before + 2
    assert list(trust._state.kinds.values()) == [True]
