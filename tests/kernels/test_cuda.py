"""Tests of the fused kernels that need a GPU: streams, graphs, devices, memory, compilation and synchronization.

What they compute is tested in test_triton_backend.py, which uses the GPU where there is one.
"""

import os
import shutil
import subprocess
import sys

import pytest
import torch

import msssim
from msssim import window
from msssim.backends import trust

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        "triton" not in msssim.available_backends(), reason="needs a GPU that PyTorch and Triton can use"
    ),
]

SIZE = (2, 3, 205, 333)


def _index(x, y, backend="triton", **options):
    return msssim.msssim(x, y, backend=backend, normalize="covariance", **options)


@pytest.fixture(params=[SIZE, (24, *SIZE[1:])], ids=["small", "large"])
def images(pair, request):
    """Two float32 images on the GPU; the kernels for them are compiled. The large are cut in another way."""
    x, y = (image.cuda() for image in pair(*request.param, dtype=torch.float32))
    _value_and_gradient(x, y)
    torch.cuda.synchronize()
    return x, y


def _value_and_gradient(x, y, index=_index, **options):
    x = x.detach().requires_grad_()
    value = index(x, y, **options)
    return value.detach(), torch.autograd.grad(value, x)[0]


def _same(ours, expected, **tolerances):
    for mine, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine.cpu(), other.cpu(), **tolerances)


def test_auto_takes_the_kernel(images):
    _same(_value_and_gradient(*images, backend="auto"), _value_and_gradient(*images), rtol=0, atol=0)


def test_auto_compares_the_kernels_first_though_nothing_may_wait(images, monkeypatch):
    monkeypatch.setattr(trust, "_state", trust._State())
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = _value_and_gradient(*images, backend="auto")
        assert torch.cuda.get_sync_debug_mode() == 2
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert list(trust._state.kinds.values()) == [True]
    _same(result, _value_and_gradient(*images), rtol=0, atol=0)


def test_the_warning_names_the_gpu(images, monkeypatch, caplog):
    monkeypatch.setattr(trust, "_state", trust._State())
    monkeypatch.setattr(trust, "errors", lambda *_: (1.0, 1.0))
    _same(_value_and_gradient(*images, backend="auto"), _value_and_gradient(*images, backend="torch"), rtol=0, atol=0)
    assert torch.cuda.get_device_name() in caplog.text and "triton" in caplog.text


def test_auto_in_a_graph_takes_kernels_that_were_compared_before(images, monkeypatch):
    monkeypatch.setattr(trust, "_state", trust._State())
    x, y = images
    expected = _value_and_gradient(x, y, backend="auto")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = _value_and_gradient(x, y, backend="auto")
    graph.replay()
    _same(result, expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_cpu_and_gpu_agree_though_tf32_is_on(pair, dtype):
    x, y = pair(*SIZE, dtype=dtype)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        value, gradient = _value_and_gradient(x.cuda(), y.cuda())
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    expected, exact_grad = _value_and_gradient(x.double(), y.double(), backend="torch")
    eps = torch.finfo(dtype).eps
    assert abs(value.cpu() - expected) <= (1e-11 if dtype == torch.float64 else 1e-6)
    allowed = max(50 * eps, 5e-5 * (dtype != torch.float64)) * exact_grad.abs().max()
    assert (gradient.cpu() - exact_grad).abs().max() <= allowed


def test_the_same_bits_every_time(images):
    first = _value_and_gradient(*images)
    for _ in range(5):
        _same(_value_and_gradient(*images), first, rtol=0, atol=0)


def test_nothing_waits_for_the_device(images):
    torch.cuda.set_sync_debug_mode("error")
    try:
        value, gradient = _value_and_gradient(*images)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert value.isfinite() and gradient.isfinite().all()


def test_on_a_stream_that_is_still_writing_the_image(images):
    x, y = images
    expected = _value_and_gradient(x, y)
    late, stream = torch.full_like(x, float("nan")), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        late.copy_(x)
        result = _value_and_gradient(late, y)
    torch.cuda.current_stream().wait_stream(stream)
    _same(result, expected, rtol=0, atol=0)


def test_captured_in_a_graph_and_replayed_on_other_images(images, pair):
    x, y = (image.clone() for image in images)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = _value_and_gradient(x, y)
    for seed in (1, 2):
        for image, new in zip((x, y), pair(*x.shape, dtype=torch.float32, seed=seed), strict=True):
            image.copy_(new)
        graph.replay()
        _same(result, _value_and_gradient(x, y), rtol=0, atol=0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_on_a_device_that_is_not_the_current_one(images):
    there = [image.to("cuda:1") for image in images]
    assert torch.cuda.current_device() == 0
    result = _value_and_gradient(*there)
    assert result[0].device.index == 1 and torch.cuda.current_device() == 0
    _same(result, _value_and_gradient(*images))


@pytest.mark.filterwarnings("ignore")  # of torch.compile's own modules
@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_compile_without_a_graph_break(images, dynamic):
    torch._dynamo.reset()
    x, y = images
    compiled = torch.compile(lambda x, y, scale: _index(x * scale, y, data_range=2.0), fullgraph=True, dynamic=dynamic)
    scale = torch.tensor(0.5, dtype=torch.float64, device="cuda")
    for image, other in ((x, y), (x[..., :300], y[..., :300])):
        a, b = image.clone().requires_grad_(), image.clone().requires_grad_()
        value, expected = compiled(a, other, scale), _index(b * scale, other, data_range=2.0)
        _same((value, *torch.autograd.grad(value, a)), (expected, *torch.autograd.grad(expected, b)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_changes_nothing(images, dtype):
    expected = _value_and_gradient(*images)
    with torch.autocast("cuda", dtype):
        _same(_value_and_gradient(*images), expected, rtol=0, atol=0)


@pytest.mark.parametrize("needs", [(False, False), (True, False), (True, True)])
def test_opcheck(pair, needs):
    c1, c2 = window.constants(0.01, 0.03, 1.0)
    options = (window.gaussian_taps(11, 1.5), c1, c2, 1.0, 2, False)
    x, y = (image.cuda() for image in pair(2, 1, 23, 26))
    images = [image.requires_grad_(need) for image, need in zip((x, y), needs, strict=True)]
    torch.library.opcheck(torch.ops.msssim.pyramid_means.default, (*images, *options, *needs))
    if needs[0]:
        means, kept, *_ = torch.ops.msssim.pyramid_means(x, y, *options, True, False)
        arguments = (torch.rand_like(means).requires_grad_(), kept.detach(), x, y, *options, 0)
        torch.library.opcheck(torch.ops.msssim.pyramid_gradient.default, arguments)


def test_gradcheck_of_both_orders(pair):
    x, y = (image.cuda().requires_grad_() for image in pair(1, 1, 13, 14))
    index = lambda x, y: msssim.ssim(x, y, backend="triton")  # noqa: E731 - read better beside its use
    assert torch.autograd.gradcheck(index, (x, y))
    assert torch.autograd.gradgradcheck(index, (x, y))


def test_func_grad_and_vmap(images):
    x, y = images
    batch = torch.stack([x, 0.5 * x])
    mapped = torch.func.vmap(torch.func.grad(_index), (0, None))(batch, y)
    _same(mapped, [_value_and_gradient(image, y)[1] for image in batch])


@pytest.mark.parametrize("size", [(1, 3, 512, 512), (4, 3, 512, 768)], ids=str)
def test_memory_above_the_inputs_is_at_most_three_of_them(pair, size):
    x, y = (image.cuda() for image in pair(*size, dtype=torch.float32))
    _value_and_gradient(x, y)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _value_and_gradient(x, y)
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before <= 3 * x.numel() * x.element_size()


def test_more_than_two_to_the_31_pixels_in_one_plane():
    side = 46400
    if torch.cuda.mem_get_info()[0] < 20 * 2**30:
        pytest.skip("needs 20 GiB of the GPU's memory")
    x = torch.arange(251, dtype=torch.uint8, device="cuda").repeat(-(-side * side // 251))[: side * side]
    x = x.view(1, 1, side, side)
    y, last = x.clone(), side - 40
    y[..., last:, last:] = 255 - y[..., last:, last:]
    # Only windows that reach the corner differ: a crop with all of them has the same difference of sums.
    corner = slice(side - 100, None)
    crop = msssim.ssim(
        x[..., corner, corner].double(), y[..., corner, corner].double(), data_range=255, backend="torch"
    )
    expected = 1 - (1 - crop) * (90 / (side - 10)) ** 2
    means = torch.ops.msssim.pyramid_means(
        x, y, window.gaussian_taps(11, 1.5), *window.constants(0.01, 0.03, 255), 128.0, 1, False, False, False
    )[0]
    assert abs(1 - expected) > 0 and abs((1 - means.item()) / (1 - expected.item()) - 1) < 1e-4


_TO_BE_WATCHED = """
import torch, msssim
x, y = (torch.rand(2, 3, 91, 133, device="cuda") for _ in range(2))
for needs, dtype in (
    ((False, False), torch.float32), ((True, False), torch.float32), ((True, True), torch.float32),
    ((False, False), torch.bfloat16), ((True, False), torch.bfloat16), ((True, True), torch.bfloat16),
):
    images = [image.to(dtype, copy=True).requires_grad_(need) for image, need in zip((x, y), needs)]
    value = msssim.msssim(*images, weights=(0.3, 0.3, 0.4), normalize="covariance", backend="triton")
    if any(needs):
        value.backward()
torch.cuda.synchronize()
"""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_the_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer", path=f"{os.environ['PATH']}{os.pathsep}/usr/local/cuda/bin")
    if sanitizer is None:
        pytest.skip("needs compute-sanitizer, which comes with NVIDIA's CUDA toolkit")
    # One allocation for each tensor: otherwise the memory after a tensor would belong to PyTorch too.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", _TO_BE_WATCHED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
