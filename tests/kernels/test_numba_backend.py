"""The fused CPU kernels against the plain backend, at every dtype and layout, and in several threads."""

import concurrent.futures
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import torch

import msssim
from msssim import backends

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8)


@pytest.fixture(autouse=True)
def _float32_at_every_size(monkeypatch):
    """Compute small planes in float32 too; they are computed in float64 otherwise."""
    from msssim.backends.numba import api

    monkeypatch.setattr(api, "_SMALL_PLANE", 0)


def _range(dtype):
    return 255.0 if dtype == torch.uint8 else 1.0


def _value_and_gradient(x, y, backend, function=msssim.msssim, **options):
    x = x.clone().requires_grad_(x.is_floating_point())
    value = function(x, y, backend=backend, **options)
    return value.detach(), torch.autograd.grad(value, x)[0] if x.requires_grad else None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 3, 201, 333), (2, 1, 176, 180)], ids=str)
def test_error_is_at_most_twice_that_of_the_plain_backend_and_some_roundings(pair, dtype, shape):
    x, y = pair(*shape, dtype=dtype)
    options = dict(data_range=_range(dtype))
    exact, exact_grad = _value_and_gradient(x.double(), y.double(), "torch", **options)
    plain, plain_gradient = _value_and_gradient(x, y, "torch", **options)
    fused, fused_gradient = _value_and_gradient(x, y, "numba", **options)
    assert fused.dtype == plain.dtype
    # float64 is its own reference: there the two only differ by some roundings.
    roundings = 50 if dtype == torch.float64 else 1
    assert abs(fused - exact) <= 2 * (abs(plain - exact) + roundings * torch.finfo(fused.dtype).eps)
    if fused_gradient is not None:
        assert fused_gradient.dtype == dtype
        if dtype == torch.float32:  # the plain backend's gradient is computed in float64, and rounded once
            roundings = 4
        allowed = roundings * torch.finfo(dtype).eps * exact_grad.abs().max() + torch.finfo(dtype).tiny
        assert (fused_gradient - exact_grad).abs().max() <= 2 * ((plain_gradient - exact_grad).abs().max() + allowed)


@pytest.mark.parametrize("win_size, sigma", [(3, 0.7), (31, 5.0)])
@pytest.mark.parametrize("shape", [(1, 1, 130, 601), (1, 2, 125, 124)], ids=str)
def test_windows_of_every_size(pair, win_size, sigma, shape):
    x, y = pair(*shape)
    options = dict(win_size=win_size, sigma=sigma, weights=(0.4, 0.3, 0.3), normalize="covariance")
    for fused, plain in zip(
        _value_and_gradient(x, y, "numba", **options), _value_and_gradient(x, y, "torch", **options), strict=True
    ):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("size", [(11, 11), (12, 27), (16, 561), (130, 570), (333, 1200)], ids=str)
def test_ssim_and_both_gradients_at_sizes_around_those_of_a_tile(pair, size):
    x, y = pair(1, 1, *size)
    results = []
    for backend in ("numba", "torch"):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        value = msssim.ssim(a, b, backend=backend)
        results.append((value.detach(), *torch.autograd.grad(value, (a, b))))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-14)


def _layouts(x):
    wide = torch.zeros(*x.shape[:3], 2 * x.shape[3], dtype=x.dtype)
    wide[..., ::2] = x
    offset = torch.zeros(x.shape[0], x.shape[1] + 1, x.shape[2] + 3, x.shape[3] + 5, dtype=x.dtype)
    offset[:, 1:, 3:, 5:] = x
    yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    yield "strided", wide[..., ::2]
    yield "sliced", offset[:, 1:, 3:, 5:]
    yield "transposed", x.mT.contiguous().mT


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
def test_layout_changes_no_bit(pair, dtype):
    x, y = pair(2, 3, 200, 190, dtype=dtype)
    expected = msssim.msssim(x, y, backend="numba", reduction="none")
    for name, view in _layouts(x):
        assert torch.equal(msssim.msssim(view, y, backend="numba", reduction="none"), expected), name
        assert torch.equal(msssim.msssim(y, view, backend="numba", reduction="none"), expected), name


def test_expanded_images(pair):
    x, y = pair(1, 3, 180, 180, dtype=torch.float32)
    expected = msssim.msssim(x, y, backend="numba")
    many = msssim.msssim(x.expand(4, -1, -1, -1), y.expand(4, -1, -1, -1), backend="numba", reduction="none")
    assert torch.equal(many, expected.expand(4))
    flat = torch.tensor(0.5).expand(1, 1, 180, 180)
    assert msssim.msssim(flat, flat, backend="numba") == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_images_give_exactly_one(pair, dtype):
    x, _ = pair(1, 3, 181, 222, dtype=dtype)
    assert msssim.msssim(x, x, data_range=_range(dtype), backend="numba") == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_give_nan(pair, bad):
    x, y = pair(2, 1, 180, 180, dtype=torch.float32)
    x[0, 0, 90, 170] = bad
    values = msssim.msssim(x, y, backend="numba", reduction="none")
    assert values[0].isnan() and values[1].isfinite()


@pytest.mark.filterwarnings("ignore:data_range")  # values beyond the range are what is tested
@pytest.mark.parametrize("factor", [1e-30, 1e-15, 1e12, 1e30])
def test_values_far_beyond_the_range_match_the_plain_backend(pair, factor):
    x, y = pair(2, 1, 180, 180, dtype=torch.float32)
    x[0], y[0] = x[0] * factor, y[0] * factor
    for fused, plain in zip(
        _value_and_gradient(x, y, "numba", data_range=1.0),
        _value_and_gradient(x, y, "torch", data_range=1.0),
        strict=True,
    ):
        torch.testing.assert_close(fused, plain, rtol=2e-5, atol=2e-5 * plain.abs().max().item())


@pytest.fixture(params=["PyTorch's team", "threads of Python's"])
def threads(request, monkeypatch):
    """Both kinds of threads that share the work; after a fork, and where PyTorch has no team, it is Python's."""
    if request.param != "PyTorch's team":
        monkeypatch.setattr("msssim.backends.numba.threads._team", lambda: 0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_change_no_bit(pair, threads):
    x, y = pair(1, 3, 300, 700, dtype=torch.float32)
    results = []
    for number in (1, 2, 3, 2, 1):
        torch.set_num_threads(number)
        results.append(_value_and_gradient(x, y, "numba"))
    for value, gradient in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(gradient, results[0][1])


def test_eight_python_threads_at_once(pair, threads):
    torch.set_num_threads(2)
    x, y = pair(1, 3, 256, 256, dtype=torch.float32)
    value, gradient = _value_and_gradient(x, y, "numba")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for other, other_gradient in pool.map(lambda _: _value_and_gradient(x, y, "numba"), range(48)):
            assert torch.equal(other, value) and torch.equal(other_gradient, gradient)


def _in_child(queue):
    torch.set_num_threads(1)  # as a DataLoader's worker does: PyTorch's own threads do not survive a fork
    x = torch.linspace(0, 1, 3 * 256 * 256).view(1, 3, 256, 256)
    y = x.flip(-1)
    torch.set_num_threads(2)  # the kernel's do
    queue.put(msssim.msssim(x, y, normalize="covariance", backend="numba").item())


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("fork", marks=pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")),  # it is the point
        "spawn",
    ],
)
def test_in_a_child_process_after_use(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    x = torch.linspace(0, 1, 3 * 256 * 256).view(1, 3, 256, 256)
    expected = msssim.msssim(x, x.flip(-1), normalize="covariance", backend="numba").item()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=120) == expected
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()


def test_addresses_beyond_two_to_the_31(pair):
    step = 2**31 + 4096
    try:
        memory = torch.empty(step + 180 * 180, dtype=torch.uint8)  # untouched pages take no memory
    except RuntimeError:
        pytest.skip("2 GiB of address space cannot be allocated")
    x, y = pair(2, 1, 180, 180, dtype=torch.uint8)
    far = memory.as_strided((2, 1, 180, 180), (step, 180 * 180, 180, 1))
    far.copy_(x)
    for function in (msssim.msssim, msssim.ssim):
        assert torch.equal(function(far, y, backend="numba"), function(x, y, backend="numba"))


def test_every_pixel_of_fresh_memory_is_written(pair):
    x, y = pair(1, 2, 203, 333, dtype=torch.float32)
    expected = _value_and_gradient(x, y, "numba")
    from msssim.backends.numba import memory

    memory._SPARE.clear()
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        value, gradient = _value_and_gradient(x, y, "numba")
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(value, expected[0]) and torch.equal(gradient, expected[1])


def test_no_gradient_work_unless_required(monkeypatch, pair):
    from msssim.backends.numba import api

    written, original = [], api._means

    def spy(*arguments):
        written.append(len(arguments[-1]))
        return original(*arguments)

    monkeypatch.setattr(api, "_means", spy)
    x, y = pair(1, 1, 176, 176, dtype=torch.float32)
    x.requires_grad_()
    with torch.no_grad():
        msssim.msssim(x, y, backend="numba")
    msssim.msssim(x.detach(), y, backend="numba")
    msssim.msssim(x, y, backend="numba")
    msssim.msssim(y, x, backend="numba")
    msssim.msssim(x, y.requires_grad_(), backend="numba")
    assert written == [0, 0, 1, 1, 2]


def test_auto_uses_the_kernel_where_it_can(pair):
    image, _ = pair(1, 1, 64, 64, dtype=torch.float32)
    assert backends.choose("auto", image, 11) is backends.ops
    assert backends.choose("auto", image, 11, maps=True) is backends.torch_backend
    assert backends.choose("auto", image, 33) is backends.torch_backend
    assert backends.choose("auto", image.to(torch.int32), 11) is backends.torch_backend
    assert backends.choose("auto", image.to("meta"), 11) is backends.torch_backend
    assert backends.choose("torch", image, 11) is backends.torch_backend


def test_unsupported_calls_raise(pair):
    image, _ = pair(1, 1, 64, 64, dtype=torch.float32)
    with pytest.raises(ValueError, match="win_size=31, got 33"):
        msssim.ssim(image, image, win_size=33, backend="numba")
    with pytest.raises(ValueError, match="got full=True"):
        msssim.ssim(image, image, full=True, backend="numba")
    with pytest.raises(ValueError, match=r"got torch\.int32"):
        msssim.ssim(image.int(), image.int(), data_range=1, backend="numba")


def test_missing_package_error_names_the_install_command(monkeypatch, pair):
    monkeypatch.setattr(backends, "_AVAILABLE", ("torch",))
    image, _ = pair(1, 1, 64, 64)
    with pytest.raises(ImportError, match='python -m pip install "numba>='):
        msssim.ssim(image, image, backend="numba")
    assert msssim.ssim(image, image) == 1


def test_importing_the_library_imports_no_numba():
    code = "import sys, msssim; assert 'numba' in msssim.available_backends(); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_thread_without_memory_does_nothing():
    from msssim.backends.numba import plan, records, sources, sweep

    like = plan.LIKE[torch.float32]
    shapes = np.array(records.ScaleShape(16, 2**55, 0, 1))  # no machine has memory for so wide a plane
    state = np.zeros(len(records.STATE) + 2, np.int64)
    fields = dict.fromkeys(records.Arguments._fields, 0)
    fields.update(shapes=shapes.ctypes.data, state=state.ctypes.data, n_planes=1, n_levels=1, n_tasks=1)
    call = np.array(records.Arguments(**fields))
    sweep.sweep(0, 1, like, call, None, like, (np.float32(0.1),) * 6, (), None)
    assert not state.any()
    with pytest.raises(MemoryError):
        sources.require(state[records.STATE.done])
