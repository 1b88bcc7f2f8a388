"""Which backend computes a call, where a GPU and Triton are there or not."""

import types

import pytest
import torch

import msssim
from msssim import backends
from msssim.backends import torch_backend


def _image(device="cuda", dtype=torch.float32):
    return types.SimpleNamespace(device=torch.device(device), dtype=dtype)


def test_auto_takes_the_kernel_for_a_gpu_and_leaves_to_the_plain_backend_what_it_lacks(monkeypatch):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    assert backends.choose("auto", _image(), 11) is backends.operator
    assert backends.choose("triton", _image(), 31) is backends.operator
    assert backends.choose("auto", _image(), 33) is torch_backend
    assert backends.choose("auto", _image(dtype=torch.int32), 11) is torch_backend
    assert backends.choose("auto", _image("meta"), 11) is torch_backend
    monkeypatch.setattr(backends, "_AVAILABLE", ("numba", "torch"))
    assert backends.choose("auto", _image(), 11) is torch_backend


@pytest.mark.parametrize(
    "image, win_size, maps, words",
    [
        (_image("cpu"), 11, False, '"triton" computes on a GPU, images on cpu came'),
        (_image(), 33, False, "win_size=31, 33 came"),
        (_image(), 11, True, "full=True came"),
        (_image(dtype=torch.int32), 11, False, "int32 came"),
    ],
)
def test_what_the_kernel_lacks_is_an_error_when_it_is_asked_for(monkeypatch, image, win_size, maps, words):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "torch"))
    with pytest.raises(ValueError, match=words):
        backends.choose("triton", image, win_size, maps)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, pair):
    monkeypatch.setattr(backends, "_AVAILABLE", ("torch",))
    x, y = pair(1, 1, 16, 16)
    with pytest.raises(ImportError, match=r'python -m pip install "triton>=3\.4"'):
        msssim.ssim(x, y, backend="triton")


@pytest.mark.parametrize("version, fits", [("3.3.1", False), ("3.4.0", True), ("4.0.0+git1", True)])
def test_the_version_that_kernels_need(monkeypatch, version, fits):
    monkeypatch.setattr("importlib.metadata.version", lambda distribution: version)
    assert backends._new_enough_triton() is fits
