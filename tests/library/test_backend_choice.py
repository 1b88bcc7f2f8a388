"""Which backend computes a call, with and without a GPU and Triton."""

import os
import pathlib
import subprocess
import sys
import types

import pytest
import torch
from marks import compiling, full
from torch._subclasses.fake_tensor import FakeTensorMode

import msssim
from msssim import backends
from msssim.backends import ops, torch_backend


def _image(device="cuda", dtype=torch.float32):
    return types.SimpleNamespace(device=torch.device(device), dtype=dtype, dim=lambda: 4)


@pytest.fixture
def smallest(monkeypatch):
    """Replaces the smallest kernel, with an empty cache of probed backends."""
    place = types.SimpleNamespace(kernel=lambda device: None)
    monkeypatch.setattr(ops, "run_smallest_kernel", lambda device: place.kernel(device))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    backends._probe_backend.cache_clear()
    yield place
    backends._probe_backend.cache_clear()


@pytest.mark.usefixtures("smallest")
def test_auto_uses_the_gpu_kernel_where_it_supports_the_call(monkeypatch):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    assert backends.choose("auto", _image(), 11) is backends.ops
    assert backends.choose("triton", _image(), 31) is backends.ops
    assert backends.choose("auto", _image(), 33) is torch_backend
    assert backends.choose("auto", _image(dtype=torch.int32), 11) is torch_backend
    assert backends.choose("auto", _image("meta"), 11) is torch_backend
    monkeypatch.setattr(backends, "_AVAILABLE", ("numba", "torch"))
    assert backends.choose("auto", _image(), 11) is torch_backend


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_auto_uses_plain_pytorch_where_an_installed_package_does_not_work(monkeypatch, caplog, smallest, device):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    tries = []

    def broken(there):
        tries.append(there)
        raise error

    smallest.kernel, error = broken, torch.cuda.OutOfMemoryError("a tensor too many")
    with pytest.raises(torch.cuda.OutOfMemoryError):  # which does not mean that the package is broken
        backends.choose("auto", _image(device), 11)
    error = ImportError("Numba needs NumPy 2.2 or less.\nGot 9.9.")
    for _ in range(3):
        assert backends.choose("auto", _image(device), 11) is torch_backend
    assert tries == [torch.device(device)] * 2
    (record,) = caplog.records
    name = {"cuda": "triton", "cpu": "numba"}[device]
    assert record.levelname == "WARNING" and f"{name} fails there" in record.message
    assert "Numba needs NumPy 2.2 or less." in record.message and device in record.message
    assert backends.choose(name, _image(device), 11) is ops  # a named backend raises its own error


def test_no_backend_is_probed_during_graph_capture_or_in_a_mode(monkeypatch, smallest):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "torch"))
    del smallest.kernel
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert backends.choose("auto", _image(), 11) is ops
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with FakeTensorMode():
        assert backends.choose("auto", _image(), 11) is ops
    assert backends.choose("auto", _image(), 11) is torch_backend


COMPILED = "torch.compile(msssim.msssim, fullgraph=True, backend='aot_eager')"


@pytest.mark.parametrize("way", ["msssim.msssim", *full(COMPILED)], ids=["eager", "compiled"])
def test_auto_works_where_numba_cannot_be_imported(tmp_path, way):
    """In a new process, whose Numba raises at import, as with a NumPy that it does not support."""
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.2 or less. Got NumPy 9.9.')")
    code = (
        "import torch, msssim; x = torch.rand(1, 1, 22, 25, requires_grad=True); y = 0.9 * x.detach();"
        f"options = dict(weights=(0.5, 0.5)); index = {way}; index(x, y, **options).backward();"
        "print(abs(index(x, y, **options).item() - msssim.msssim(x, y, backend='torch', **options).item()) < 1e-6)"
    )
    root = pathlib.Path(msssim.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout == "True\n" and done.stderr.count("Numba needs NumPy 2.2 or less") == 1, done.stderr


@pytest.mark.parametrize(
    "image, win_size, maps, words",
    [
        (_image("cpu"), 11, False, "it runs on a GPU, got images on cpu"),
        (_image(), 33, False, "win_size=31, got 33"),
        (_image(), 11, True, "got full=True"),
        (_image(dtype=torch.int32), 11, False, "got torch.int32"),
    ],
)
def test_a_named_backend_that_does_not_support_the_call_is_an_error(monkeypatch, image, win_size, maps, words):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "torch"))
    with pytest.raises(ValueError, match=words):
        backends.choose("triton", image, win_size, maps)


def test_a_backend_in_pytorch_operations_is_used_when_it_is_named(monkeypatch):
    module = types.SimpleNamespace(pyramid_means=torch_backend.pyramid_means)
    monkeypatch.setattr(backends, "BACKENDS", (*backends.BACKENDS, "other"))
    monkeypatch.setattr(backends, "_AVAILABLE", ("torch", "other"))
    monkeypatch.setitem(backends._PYTORCH_BACKENDS, "other", module)
    assert backends.choose("auto", _image("cpu"), 11) is torch_backend
    assert backends.choose("other", _image("mps"), 33) is module
    assert backends.chosen_name("other", _image("cpu"), 11) == "other" and backends.device_type("other") is None
    with pytest.raises(ValueError, match='backend="other" does not support the call: it computes no maps'):
        backends.choose("other", _image("cpu"), 11, maps=True)
    with pytest.raises(ValueError, match="it does not support mask;"):
        backends.choose("other", _image("cpu"), 11, features=("mask",))
    monkeypatch.setenv("MSSSIM_BACKEND", "other")
    assert backends.choose("auto", _image("cpu"), 11) is module
    assert backends.choose("auto", _image("cpu"), 11, maps=True) is torch_backend
    module.pyramid = torch_backend.pyramid
    assert backends.choose("other", _image("cpu"), 11, maps=True) is module


def test_the_error_for_a_missing_package_has_the_install_command(monkeypatch, pair):
    monkeypatch.setattr(backends, "_AVAILABLE", ("torch",))
    x, y = pair(1, 1, 16, 16)
    with pytest.raises(ImportError, match=r'python -m pip install "triton>=3\.4"'):
        msssim.ssim(x, y, backend="triton")


@pytest.mark.parametrize("version, fits", [("3.3.1", False), ("3.4.0", True), ("4.0.0+git1", True)])
def test_the_triton_version_that_kernels_need(monkeypatch, version, fits):
    monkeypatch.setattr("importlib.metadata.version", lambda distribution: version)
    assert backends._new_enough_triton() is fits


@pytest.mark.usefixtures("smallest")
def test_the_environment_variable_overrides_auto_at_each_call(monkeypatch):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    for value, expected in (("torch", torch_backend), ("triton", ops), ("auto", ops), ("", ops)):
        monkeypatch.setenv("MSSSIM_BACKEND", value)
        assert backends.choose("auto", _image(), 11) is expected
    monkeypatch.setenv("MSSSIM_BACKEND", "torch")
    assert backends.choose("triton", _image(), 11) is ops  # a name in the call comes first
    monkeypatch.setenv("MSSSIM_BACKEND", "numba")
    assert backends.choose("auto", _image(), 11) is torch_backend  # "auto" computes every call
    assert backends.choose("auto", _image("cpu"), 33) is torch_backend
    assert backends.choose("auto", _image("cpu"), 11) is ops


def test_the_backend_of_the_environment_variable_must_work(monkeypatch, smallest):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))

    def broken(device):
        raise ImportError("Numba needs NumPy 2.2 or less.")

    smallest.kernel = broken
    assert backends.choose("auto", _image("cpu"), 11) is torch_backend
    monkeypatch.setenv("MSSSIM_BACKEND", "numba")
    assert backends.choose("auto", _image("cpu"), 11) is ops  # its error then says why


def test_an_invalid_environment_variable_is_a_clear_error(monkeypatch, pair):
    x, y = pair(1, 1, 16, 16)
    monkeypatch.setenv("MSSSIM_BACKEND", "cuda")
    with pytest.raises(ValueError, match=r"MSSSIM_BACKEND must be one of 'auto', .*'torch'.*, got 'cuda'"):
        msssim.ssim(x, y)
    monkeypatch.setattr(backends, "_AVAILABLE", ("torch",))
    monkeypatch.setenv("MSSSIM_BACKEND", "numba")
    with pytest.raises(ImportError, match=r'MSSSIM_BACKEND=numba needs .*: python -m pip install "numba'):
        msssim.ssim(x, y)


@compiling
def test_the_environment_variable_is_read_when_a_function_is_compiled(monkeypatch, pair):
    pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")
    x, y = pair(1, 1, 16, 16)
    for value, fused in (("torch", False), ("numba", True)):
        torch._dynamo.reset()
        monkeypatch.setenv("MSSSIM_BACKEND", value)
        graphs = []
        torch.compile(msssim.ssim, fullgraph=True, backend=lambda graph, _, keep=graphs: keep.append(graph) or graph)(
            x, y
        )
        assert any("msssim.pyramid_means" in str(node.target) for node in graphs[0].graph.nodes) is fused
