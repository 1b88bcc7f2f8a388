"""The comparison before "auto" uses the kernels of a GPU, with kernels made of plain PyTorch and planted faults."""

import copy
import pathlib
import types

import pytest
import torch
from fake_kernels import FAULTS, Kernels
from torch._subclasses.fake_tensor import FakeTensorMode

import msssim
from msssim import backends
from msssim.backends import ops, torch_backend, trial, trust


@pytest.fixture
def kernels(monkeypatch):
    """Kernels that "auto" takes on the CPU, and nothing known about them."""
    fake = Kernels()
    monkeypatch.setattr(ops, "kernels", lambda device: fake)
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "torch"))
    monkeypatch.setattr(backends, "_FUSED_BY_DEVICE", {"cpu": "triton"})
    monkeypatch.setitem(backends._DEVICES, "triton", ("cpu", "a fake GPU"))
    monkeypatch.setattr(trust, "EXEMPT", ())
    monkeypatch.setattr(trust, "_state", trust._State())
    monkeypatch.delenv("MSSSIM_TRUST", raising=False)
    monkeypatch.delenv("MSSSIM_BACKEND", raising=False)
    backends._probe_backend.cache_clear()
    yield fake
    backends._probe_backend.cache_clear()


@pytest.fixture
def images(pair):
    """Two float32 images."""
    return pair(1, 1, 25, 27, dtype=torch.float32)


def _index(x, y, **options):
    return msssim.msssim(x, y, **{"weights": (0.5, 0.5), **options})


def test_kernels_that_agree_are_compared_once_and_used(kernels, images, caplog):
    x, y = images
    for _ in range(3):
        value = _index(x, y)
    assert kernels.calls == 3
    assert kernels.comparisons == [(torch.float32, 11, 0, False, 2)]
    assert not caplog.records
    assert value == _index(x, y, backend="torch")


def test_each_kind_is_compared_once(kernels, images):
    x, y = images
    wide = [torch.cat([image] * 3, -1) for image in images]
    for _ in range(2):
        _index(x, y)
        _index(x, y, data_range=0.9)  # another number changes no machine code
        _index(x, y, weights=(0.4, 0.4))
        _index(x[..., :23], y[..., :23])
        _index(*wide)
        _index(x.double(), y.double())
        _index(x, y, normalize="covariance")
        _index(x, y, K2=0)
        _index(x, y, win_size=7)
        msssim.ssim(x, y)
        _index(x.mT.contiguous().mT, y)
        _index(x.clone().requires_grad_(), y).backward()
        _index(x.clone().requires_grad_(), y.clone().requires_grad_()).backward()
    f32 = torch.float32
    assert kernels.comparisons == [
        (f32, 11, 0, False, 2),
        (f32, 11, 0, True, 2),
        (torch.float64, 11, 0, False, 2),
        (f32, 11, 0, False, 2),  # covariance
        (f32, 11, 0, False, 2),  # K2 = 0
        (f32, 7, 0, False, 2),
        (f32, 11, 0, False, 1),
        (f32, 11, 0, False, 2),  # columns are not neighbours
        (f32, 11, 1, False, 2),
        (f32, 11, 2, False, 2),
    ]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.uint8, torch.bool]
)
@pytest.mark.parametrize("options", [{}, {"normalize": "covariance"}, {"K1": 0.0, "K2": 0.0}, {"win_size": 3}], ids=str)
def test_right_kernels_pass_for_every_dtype_and_option(kernels, pair, dtype, options):
    x, y = pair(1, 1, 25, 27, dtype=dtype)
    if dtype.is_floating_point:
        _index(x.requires_grad_(), y.requires_grad_(), **options).backward()
    else:
        _index(x, y, **options)
    assert kernels.calls == 1 and len(kernels.comparisons) == 1


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found_and_told_once(kernels, images, caplog, fault):
    kernels.fault = fault
    x, y = images
    for dtype in (torch.float32, torch.float64, torch.float32):
        a, b = x.to(dtype).requires_grad_(), x.to(dtype).requires_grad_()
        value, expected = _index(a, y.to(dtype)), _index(b, y.to(dtype), backend="torch")
        assert torch.equal(value, expected)
        assert torch.equal(torch.autograd.grad(value, a)[0], torch.autograd.grad(expected, b)[0])
    assert kernels.calls == 0 and len(kernels.comparisons) == 1  # no other kind on this device is tried
    (record,) = caplog.records
    torch_version = torch.__version__.split("+")[0]
    assert record.levelname == "WARNING"
    for part in ("does not use the kernels on cpu", f"torch {torch_version}", "triton 9.9", "from now on"):
        assert part in record.message
    assert backends.chosen_name("auto", x, 11) == "torch"


def test_kernels_trusted_before_are_not_used_after_a_fault(kernels, images):
    x, y = images
    _index(x, y)
    assert kernels.calls == 1
    kernels.fault = FAULTS["value"]
    _index(x.double(), y.double())
    _index(x, y)
    assert kernels.calls == 1


def test_an_error_excludes_the_kind_alone(kernels, images, caplog):
    kernels.error = RuntimeError("out of resource: registers\nmore")
    x, y = images
    assert _index(x, y) == _index(x, y) == _index(x, y, backend="torch")
    (record,) = caplog.records
    assert 'they fail there with "out of resource: registers". It uses plain PyTorch for such calls' in record.message
    kernels.error = None
    _index(x.double(), y.double())
    _index(x, y)
    assert kernels.calls == 1


def test_out_of_memory_is_no_verdict(kernels, images):
    kernels.error = torch.cuda.OutOfMemoryError("too many tensors")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        _index(*images)
    kernels.error = None
    _index(*images)
    assert kernels.calls == 1


@pytest.mark.parametrize("variable, value", [("MSSSIM_TRUST", "1"), ("MSSSIM_BACKEND", "triton")])
def test_the_environment_replaces_the_comparison(kernels, images, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    kernels.fault = FAULTS["value"]
    for _ in range(2):
        _index(*images)
    assert kernels.calls == 2 and not kernels.comparisons


def test_other_values_of_msssim_trust_change_nothing(kernels, images, monkeypatch):
    monkeypatch.setenv("MSSSIM_TRUST", "0")
    _index(*images)
    assert len(kernels.comparisons) == 1


def test_a_reported_device_and_version_replaces_the_comparison(kernels, images, monkeypatch):
    version = torch.__version__.split("+")[0]
    for reported, comparisons in ((("cpu", version, "triton 1.0"), 1), (("cpu", version, Kernels.VERSION), 0)):
        monkeypatch.setattr(trust, "REPORTED", frozenset([reported]))
        monkeypatch.setattr(trust, "_state", trust._State())
        kernels.comparisons.clear()
        _index(*images)
        assert len(kernels.comparisons) == comparisons


def test_reported_devices_have_a_committed_report():
    folder = pathlib.Path(msssim.__file__).parents[1] / "validation" / "reports"
    if not folder.exists():
        pytest.skip("no reports beside the tests")
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*/report.json")]
    for names in trust.REPORTED:
        assert any(all(name.split()[-1] in text for name in names) for text in texts), names


def test_a_named_backend_is_not_compared(kernels, images):
    kernels.fault = FAULTS["value"]
    _index(*images, backend="triton")
    assert kernels.calls == 1 and not kernels.comparisons


def _compiled(x, y):
    torch._dynamo.reset()
    return torch.compile(_index, fullgraph=True, backend="aot_eager")(x, y)


def _warnings(caplog):
    return [record for record in caplog.records if record.name.startswith("msssim")]  # torch.compile logs as well


def _mapped(x, y):
    return torch.func.vmap(lambda x: _index(x, y))(x[None])[0]


def _traced(x, y):
    return torch.jit.trace(lambda x, y: _index(x, y), (x, y), check_trace=False)(x, y)


UNCHECKED = {
    "compile": (_compiled, False),
    "func": (_mapped, True),
}


@pytest.mark.filterwarnings("ignore")  # of torch.jit
def test_a_traced_call_is_plain_pytorch_without_a_comparison(kernels, images):
    _traced(*images)
    assert kernels.calls == 0 and not kernels.comparisons


@pytest.mark.filterwarnings("ignore")  # of the modules of torch.compile and torch.jit
@pytest.mark.parametrize("call, gradient", UNCHECKED.values(), ids=UNCHECKED)
@pytest.mark.full_where(call=_compiled)
def test_nothing_is_compared_where_tensors_have_no_values(kernels, images, caplog, call, gradient):
    x, y = images
    first = call(x, y)
    assert kernels.calls == 0 and not kernels.comparisons
    (record,) = _warnings(caplog)
    assert "uses plain PyTorch on cpu where it cannot check" in record.message
    assert "msssim.warm_up(device='cpu')" in record.message
    _index(x.clone().requires_grad_(gradient), y)
    before, calls = len(kernels.comparisons), kernels.calls
    torch.testing.assert_close(call(x, y), first)
    assert kernels.calls > calls and len(kernels.comparisons) == before == 1
    assert len(_warnings(caplog)) == 1


def test_nothing_is_compared_while_a_graph_is_captured(kernels, images, monkeypatch):
    x, y = images
    monkeypatch.setattr(trust, "_is_capturing", lambda device: True)
    _index(x, y)
    assert kernels.calls == 0 and not kernels.comparisons
    monkeypatch.setattr(trust, "_is_capturing", lambda device: False)
    _index(x, y)
    monkeypatch.setattr(trust, "_is_capturing", lambda device: True)
    _index(x, y)
    assert kernels.calls == 2 and len(kernels.comparisons) == 1


def test_nothing_is_compared_with_fake_tensors(kernels, images):
    x, y = images
    with FakeTensorMode() as mode:
        _index(mode.from_tensor(x), mode.from_tensor(y))
    assert not kernels.comparisons


def test_a_known_call_is_one_look_up(kernels, images, monkeypatch):
    _index(*images)
    monkeypatch.setattr(trust, "_decide", lambda *_: pytest.fail("a known call is decided again"))
    _index(*images)


def test_the_memory_of_calls_is_bounded(kernels, images, monkeypatch):
    monkeypatch.setattr(trust, "_MAX_CALLS", 3)
    for data_range in range(1, 9):
        _index(*images, data_range=data_range)
    assert len(trust._state.calls) <= 3 and len(kernels.comparisons) == 1


def test_a_comparison_leaves_the_random_numbers_and_modes_alone(kernels, images):
    before = torch.get_rng_state()
    with torch.inference_mode():
        value = _index(*images)
    assert torch.equal(torch.get_rng_state(), before) and kernels.calls == 1
    assert value == _index(*images, backend="torch")


@pytest.mark.parametrize("device", ["xpu", "cuda"])
def test_no_other_device_is_exempt(monkeypatch, device):
    """XPU has no kernels, and ROCm, whose devices are called cuda too, refuses them; a later version may not."""
    assert trust.EXEMPT == ("cpu",)
    image = types.SimpleNamespace(device=torch.device(device), dtype=torch.float32, dim=lambda: 4)
    monkeypatch.setattr(backends, "_AVAILABLE", ("triton", "numba", "torch"))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)

    def refuse(there):
        raise RuntimeError("the Triton kernels support NVIDIA GPUs only, got PyTorch for ROCm 6.4")

    monkeypatch.setattr(ops, "run_smallest_kernel", refuse)
    backends._probe_backend.cache_clear()
    assert backends.choose("auto", image, 11) is torch_backend
    backends._probe_backend.cache_clear()


def test_the_pair_has_odd_sides_and_no_covariance_near_zero():
    kind = trial.Kind(
        torch.device("cpu"), torch.float64, (1 / 11,) * 11, 1e-4, 9e-4, True, True, 1, (True, False), None
    )
    x, y = trial._pair(kind, 2, 1.0)
    assert x.shape == y.shape and x.shape[-1] % 2 == x.shape[-2] % 2 == 1
    assert x.is_contiguous() and y.stride(-1) > 1
    assert min(x.min(), y.min()) >= 0 and max(x.max(), y.max()) <= 1
    images, signs = [copy.copy(x), copy.copy(y)], (1, -1)
    for _ in range(2):
        blur = [torch.nn.functional.avg_pool2d(image, 11, 1) for image in (*images, images[0] * images[1])]
        covariance = blur[2] - blur[0] * blur[1]
        for plane, sign in enumerate(signs):
            assert (sign * covariance[:, plane]).min() > 1e-4
        images = [torch.nn.functional.avg_pool2d(image, 2, ceil_mode=True) for image in images]
