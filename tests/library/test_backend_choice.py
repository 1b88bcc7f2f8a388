"""Which backend computes a call, where a GPU and Triton are there or not."""

import os
import pathlib
import subprocess
import sys
import types

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import msssim
from msssim import backends
from msssim.backends import ops, torch_backend


def _image(device="cuda", dtype=torch.float32):
    return types.SimpleNamespace(device=torch.device(device), dtype=dtype)


@pytest.fixture
def smallest(monkeypatch):
    """What runs in the place of the smallest kernel; starts without what was tried."""
    place = types.SimpleNamespace(kernel=lambda device: None)
    monkeypatch.setattr(ops, "run_smallest_kernel", lambda device: place.kernel(device))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    backends._tried.cache_clear()
    yield place
    backends._tried.cache_clear()


@pytest.mark.usefixtures("smallest")
def test_auto_takes_the_kernel_for_a_gpu_and_leaves_to_the_plain_backend_what_it_lacks(monkeypatch):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    assert backends.choose("auto", _image(), 11) is backends.ops
    assert backends.choose("triton", _image(), 31) is backends.ops
    assert backends.choose("auto", _image(), 33) is torch_backend
    assert backends.choose("auto", _image(dtype=torch.int32), 11) is torch_backend
    assert backends.choose("auto", _image("meta"), 11) is torch_backend
    monkeypatch.setattr(backends, "_AVAILABLE", ("numba", "torch"))
    assert backends.choose("auto", _image(), 11) is torch_backend


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_auto_takes_the_plain_backend_where_a_package_is_there_but_does_not_run(monkeypatch, caplog, smallest, device):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    tries = []

    def broken(there):
        tries.append(there)
        raise error

    smallest.kernel, error = broken, torch.cuda.OutOfMemoryError("a tensor too many")
    with pytest.raises(torch.cuda.OutOfMemoryError):  # which says nothing of the package
        backends.choose("auto", _image(device), 11)
    error = ImportError("Numba needs NumPy 2.2 or less.\nGot 9.9.")
    for _ in range(3):
        assert backends.choose("auto", _image(device), 11) is torch_backend
    assert tries == [torch.device(device)] * 2
    (record,) = caplog.records
    name = {"cuda": "triton", "cpu": "numba"}[device]
    assert record.levelname == "WARNING" and f"{name} fails there" in record.message
    assert "Numba needs NumPy 2.2 or less." in record.message and device in record.message
    assert backends.choose(name, _image(device), 11) is ops  # who asks for it has its error


def test_nothing_is_tried_while_a_graph_is_captured_or_others_look_on(monkeypatch, smallest):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "torch"))
    del smallest.kernel
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert backends.choose("auto", _image(), 11) is ops
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with FakeTensorMode():
        assert backends.choose("auto", _image(), 11) is ops
    assert backends.choose("auto", _image(), 11) is torch_backend


compiled = pytest.param(
    "torch.compile(msssim.msssim, fullgraph=True, backend='aot_eager')",
    marks=pytest.mark.since_torch(2, 6),
)


@pytest.mark.parametrize("way", ["msssim.msssim", compiled], ids=["eager", "compiled"])
def test_numba_that_cannot_be_imported_is_no_obstacle(tmp_path, way):
    """In a process of its own, whose Numba refuses to be imported as it does beside too new a NumPy."""
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
        (_image("cpu"), 11, False, "it computes on a GPU, got images on cpu"),
        (_image(), 33, False, "win_size=31, got 33"),
        (_image(), 11, True, "got full=True"),
        (_image(dtype=torch.int32), 11, False, "got torch.int32"),
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


@pytest.mark.usefixtures("smallest")
def test_the_environment_variable_overrides_auto_at_every_choice(monkeypatch):
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


def test_the_backend_that_the_environment_names_has_to_run(monkeypatch, smallest):
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))

    def broken(device):
        raise ImportError("Numba needs NumPy 2.2 or less.")

    smallest.kernel = broken
    assert backends.choose("auto", _image("cpu"), 11) is torch_backend
    monkeypatch.setenv("MSSSIM_BACKEND", "numba")
    assert backends.choose("auto", _image("cpu"), 11) is ops  # whose error then says why


def test_an_environment_variable_that_names_no_backend_is_a_clear_error(monkeypatch, pair):
    x, y = pair(1, 1, 16, 16)
    monkeypatch.setenv("MSSSIM_BACKEND", "cuda")
    with pytest.raises(ValueError, match=r"MSSSIM_BACKEND must be one of 'auto', .*'torch', got 'cuda'"):
        msssim.ssim(x, y)
    monkeypatch.setattr(backends, "_AVAILABLE", ("torch",))
    monkeypatch.setenv("MSSSIM_BACKEND", "numba")
    with pytest.raises(ImportError, match=r"MSSSIM_BACKEND=numba needs .*: python -m pip install msssim\[fast\]"):
        msssim.ssim(x, y)


@pytest.mark.since_torch(2, 6)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch.compile's own modules
def test_the_environment_variable_is_read_when_a_function_is_compiled(monkeypatch, pair):
    pytest.importorskip("numba", reason="numba is not installed: python -m pip install msssim[fast]")
    x, y = pair(1, 1, 16, 16)
    for value, fused in (("torch", False), ("numba", True)):
        torch._dynamo.reset()
        monkeypatch.setenv("MSSSIM_BACKEND", value)
        graphs = []
        torch.compile(msssim.ssim, fullgraph=True, backend=lambda graph, _, keep=graphs: keep.append(graph) or graph)(
            x, y
        )
        assert any("msssim.pyramid_means" in str(node.target) for node in graphs[0].graph.nodes) is fused
