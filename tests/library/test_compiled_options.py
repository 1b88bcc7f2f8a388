"""torch.compile with numbers that change from call to call: two graphs serve all, with the values of eager mode."""

import pytest
import torch
from marks import compiling, full
from torch._dynamo.testing import CompileCounterWithBackend

import msssim
from msssim import window

pytestmark = [
    pytest.mark.since_torch(2, 7),  # earlier versions do not say which numbers are symbolic
    compiling,
]

VALUES = {
    "data_range": (1.0, 2.0, 3.5, 7.0, 15.0, 31.0, 63.0, 100.0, 127.0, 200.0, 255.0, 65535.0),
    "K1": (0.01, 0.02, 0.03, 0.05, 0.06, 0.07, 0.08, 0.1, 0.2, 0.3, 0.4, 0.5),
    "K2": (0.03, 0.02, 0.01, 0.05, 0.06, 0.07, 0.08, 0.1, 0.2, 0.3, 0.4, 0.5),
}


def _value_and_gradient(index, x, y, number):
    x = x.clone().requires_grad_()
    value = index(x, y, number)
    value.backward()
    return value.detach(), x.grad


# pytorch#149405 (a recompilation for each float) and torchmetrics#1780 (SSIM compiled with a data_range of its own).
@pytest.mark.parametrize("option", ["data_range", "K1", *full("K2")])
@pytest.mark.full_where(backend="torch")
def test_twelve_values_of_a_number_compile_at_most_two_graphs(pair, backend, option):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    index = lambda x, y, number: msssim.ssim(x, y, backend=backend, **{option: number})  # noqa: E731
    compiled = torch.compile(index, fullgraph=True, backend=counter)
    x, y = pair(1, 1, 16, 18, dtype=torch.float32)
    for number in VALUES[option]:
        peak = number if option == "data_range" else 1.0
        ours = _value_and_gradient(compiled, peak * x, peak * y, number)
        expected = _value_and_gradient(index, peak * x, peak * y, number)
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7 / peak)
    assert counter.frame_count <= 2


# Beyond 2^±120 the unit is clamped; near 2^-k a logarithm could round to the wrong side.
@pytest.mark.parametrize("data_range", [1e-50, 0.5, 0.25 - 2**-54, 0.25, 1.0, 255.0, 65535.0, 2.0**100 * 1.99, 1e50])
def test_range_pow2_in_a_graph_equals_eager_mode(data_range):
    tensor = torch.tensor(data_range, dtype=torch.float64)
    assert window._range_pow2_of_tensor(tensor).item() == window.range_pow2(data_range)


@pytest.mark.full_where(backend="torch")
def test_a_zero_constant_stays_zero_in_a_dynamic_graph(backend):
    torch._dynamo.reset()
    index = lambda x, y, data_range: msssim.ssim(x, y, backend=backend, K1=0, K2=0, data_range=data_range)  # noqa: E731
    compiled = torch.compile(index, fullgraph=True, backend="aot_eager")
    flat = torch.full((1, 1, 12, 13), 0.5)
    for data_range in (1.0, 2.0, 100.0):
        assert compiled(flat * data_range, flat * data_range, data_range) == 1
        assert compiled(0 * flat, 0 * flat, data_range) == 1
