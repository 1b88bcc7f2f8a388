"""The language of the CPU kernels: each primitive against NumPy, and the worked example of the README."""

import concurrent.futures
import pathlib
import re

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="needs Numba: python -m pip install numba")
import numba  # after it is known to be installed

from msssim.backends.numba import vectors
from msssim.backends.numba.functions import atomic_fetch_add, atomic_load, from_numba, outlined
from msssim.backends.numba.records import Task
from msssim.backends.numba.simd import BYTES

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def _compiled(function):
    """The compiled function of a tuple of arrays that calls function(code, *pointers)."""
    call = from_numba(function)

    @numba.njit(nogil=True)
    def kernel(arrays):
        call(arrays)

    return kernel


def _run(function, *arrays):
    """Call function(code, *pointers); the element type is that of the last array."""
    _compiled(function)(arrays)


def _lanes(dtype):
    return BYTES // np.dtype(dtype).itemsize


def _numbers(dtype, rows, seed=0):
    return np.random.default_rng(seed).uniform(-2, 2, (rows, _lanes(dtype))).astype(dtype)


@FLOATS
def test_arithmetic_of_vectors(dtype):
    x, y = _numbers(dtype, 1, 1)[0], _numbers(dtype, 1, 2)[0]
    x[0], y[1] = np.nan, x[1]
    out = np.zeros((13, len(x)), dtype)

    def function(code, x, y, out):
        a, b = code.load(x), code.load(y)
        results = [
            a + b, a - b, a * b, a / b, 2 / a, -a, abs(a), a + 1, code.splat(0.5) - b,
            code.select(a < b, a, b), code.select(a > b, 1, 0), code.select(a <= b, 1, 0), code.select(a <= 0, b, 7),
        ]  # fmt: skip
        for k, result in enumerate(results):
            code.store(result, out, k * code.lanes)

    _run(function, x, y, out)
    expected = [
        x + y, x - y, x * y, x / y, 2 / x, -x, np.abs(x), x + 1, 0.5 - y,
        np.where(x < y, x, y), x > y, x <= y, np.where(x <= 0, y, 7),
    ]  # fmt: skip
    np.testing.assert_array_equal(out, np.array(expected, dtype))


@FLOATS
def test_fma_is_a_product_and_a_sum_rounded_once_or_twice(dtype):
    x, y, z = _numbers(dtype, 3)
    out = np.zeros_like(x)
    _run(lambda code, x, y, z, out: code.store(code.fma(code.load(x), code.load(y), code.load(z)), out), x, y, z, out)
    wide = x.astype(np.longdouble) * y + z
    assert np.all((out == (x * y + z)) | (out == wide.astype(dtype)))


@FLOATS
def test_lanes_are_exchanged_as_their_names_say(dtype):
    n = _lanes(dtype)
    x = np.arange(n * n, dtype=dtype).reshape(n, n)
    transposed, others = np.zeros_like(x), np.zeros((5, n), dtype)

    def function(code, x, transposed, others):
        rows = [code.load(x, k * n) for k in range(n)]
        for k, row in enumerate(vectors.transpose(code, rows)):
            code.store(row, transposed, k * n)
        results = [*vectors.unzip(code, *rows[:2]), *vectors.repeat_lanes(code, rows[0])]
        for k, row in enumerate(results):
            code.store(row, others, k * n)
        lower, upper = vectors.halves(code, rows[0])
        code.store(upper, others, 4 * n)
        code.store(lower, others, 4 * n + n // 2)

    _run(function, x, transposed, others)
    np.testing.assert_array_equal(transposed, x.T)
    both, first = x[:2].reshape(-1), x[0]
    expected = [both[::2], both[1::2], *np.repeat(first, 2).reshape(2, n), np.roll(first, n // 2)]
    np.testing.assert_array_equal(others, expected)


@pytest.mark.parametrize(
    "dtype, bits",
    [(torch.uint8, np.uint8), (torch.bfloat16, np.int16), (torch.float16, np.uint16)],
    ids=["uint8", "bfloat16", "float16"],
)
def test_stored_pixels_are_widened_to_float32(dtype, bits):
    n = _lanes(np.float32)
    pixels = torch.linspace(0, 255, n).to(dtype)
    stored = pixels if dtype == torch.uint8 else pixels.view(torch.int16)
    by_vector, by_scalar = np.zeros(n, np.float32), np.zeros(n, np.float32)

    def function(code, pixels, by_vector, by_scalar):
        code.store(code.load(pixels), by_vector)
        for k in code.range(n):
            by_scalar[k] = pixels[k]

    _run(function, stored.numpy().view(bits), by_vector, by_scalar)
    np.testing.assert_array_equal(by_vector, pixels.float().numpy())
    np.testing.assert_array_equal(by_scalar, pixels.float().numpy())


@FLOATS
def test_sums_and_maxima_in_float64(dtype):
    x = _numbers(dtype, 1)[0]
    sums, maxima = np.full(len(x), 1 / 3), np.full(len(x), 0.1)
    expected = sums + x, np.maximum(maxima, x)

    def function(code, sums, maxima, x):
        code.add_wide(code.load(x), sums)
        code.max_wide(code.load(x), maxima)

    _run(function, sums, maxima, x)
    np.testing.assert_array_equal((sums, maxima), expected)


@FLOATS
def test_constants_and_counts(dtype):
    out = np.zeros((3, _lanes(dtype)), dtype)

    def function(code, out):
        code.store(code.counted(code.integer(5)), out)
        code.store(code.splat(0.1), out, code.lanes)
        code.store(code.splat(code.real(7) / 3), out, 2 * code.lanes)

    _run(function, out)
    lanes = np.arange(5, 5 + out.shape[1])
    expected = [lanes.astype(dtype), np.full(len(lanes), dtype(0.1)), np.full(len(lanes), dtype(7) / dtype(3))]
    np.testing.assert_array_equal(out, expected)


def test_arithmetic_of_scalars():
    integers, out = np.array([7, -9, 0], np.int64), np.zeros(40)

    def function(code, integers, out):
        a, b, x = integers[0], integers[1], code.real(0.75)
        nan = code.real(float("nan"))
        results = [
            a + b, a - b, a * b, 3 - a, 2 * a, a // 4, a // 3, a % 4, a % 3, a >> 1, 1 << a, -a,
            a == 7, a != 7, a < b, a > b, a >= 7, a <= 6, (a == 7) & (b == 7), (a == 7) | (b == 7), ~(a == 7),
            x * 2, a / x, 1 / x, -x, abs(-x), a + x, x - 1,
            code.max(a, b), code.min(a, b), code.max(nan, x), code.max(x, nan), code.select(a > b, x, 5.0),
            nan < 1, nan != nan, code.integer(x * 10), code.cast(True, x.type),
        ]  # fmt: skip
        for k, result in enumerate(results):
            out[k] = result

    _run(function, integers, out)
    a, b, x = 7, -9, 0.75
    expected = [
        a + b, a - b, a * b, 3 - a, 2 * a, a // 4, a // 3, a % 4, a % 3, a >> 1, 1 << a, -a,
        1, 0, 0, 1, 1, 0, 0, 1, 0,
        x * 2, a / x, 1 / x, -x, x, a + x, x - 1,
        a, b, np.nan, x, x,
        0, 1, 7, 1,
    ]  # fmt: skip
    np.testing.assert_array_equal(out[: len(expected)], expected)


def test_numbers_of_two_types_meet_in_the_wider_one():
    out, x = np.zeros(3), np.array([0.1, 3], np.float32)

    def function(code, out, x):
        out[0] = x[0] + code.cast(0.2, out.element.ir)  # float64
        out[1] = x[0] * 3  # Python's number is a float32 here
        out[2] = x[0] * code.integer(3)

    _run(function, out, x)
    np.testing.assert_array_equal(out, [float(x[0]) + 0.2, x[0] * np.float32(3), x[0] * np.float32(3)])


def test_loops_conditions_and_variables():
    out = np.zeros(8)

    def function(code, out):
        n = code.integer(10)
        total, turns = code.variable(0), code.variable(0)
        for i in code.range(1, n, 4):  # 1, 5, 9
            total.set(total.get() + i)
            for _ in code.range(i, 5):  # 4 turns, then none
                turns.set(turns.get() + 1)
        out[0], out[1] = total.get(), turns.get()
        with code.when(n > 9):
            out[2] = 1
        with code.when(n < 9):
            out[3] = 1
        for k, condition in ((4, n == 10), (5, n == 11)):
            with code.branch(condition) as (then, other):
                with then:
                    out[k] = 1
                with other:
                    out[k] = 2
        count = code.variable(0)
        with code.repeat() as loop:
            count.set(count.get() + 1)
            loop.leave_when(count.get() * count.get() > 50)
            out[6] = count.get()
        out[7] = count.get()

    _run(function, out)
    np.testing.assert_array_equal(out, [15, 4, 1, 0, 1, 2, 7, 8])


def test_a_number_of_the_run_time_is_no_condition_of_python():
    def function(code, out):
        if out[0] > 0:
            out[0] = 1

    with pytest.raises(Exception, match=r"use code\.when\(\) or code\.select\(\)"):
        _run(function, np.zeros(1))


def test_a_record_is_a_row_of_a_table():
    table, out = np.arange(10, dtype=np.int64), np.zeros(5)

    def function(code, table, out):
        task = code.record(table, Task, code.integer(1))
        for k, field in enumerate(task):
            out[k] = field
        assert task._fields == Task._fields

    _run(function, table, out)
    np.testing.assert_array_equal(out, table[5:])


def test_a_function_is_written_once_for_each_kind_of_call():
    written = []

    @outlined
    def add(code, out, pair, factor):
        written.append(factor)
        out[0] = out[0] + pair[0] * pair[1] * factor

    def function(code, out):
        one = code.real(1)
        add(code, out, (one, code.real(2)), 10)
        add(code, out, (one, code.real(3)), 10)
        add(code, out, (one, code.real(4)), 100)

    out = np.zeros(1)
    _run(function, out)
    assert out[0] == 20 + 30 + 400 and written == [10, 100]


def test_counters_that_threads_share_lose_nothing():
    state, values = np.zeros(1, np.int64), np.zeros(1)

    def function(code, state, values):
        for _ in code.range(10_000):
            atomic_fetch_add(state, 0)
        values[0] = atomic_load(state, 0)

    kernel = _compiled(function)
    kernel((state, values))
    assert state[0] == values[0] == 10_000
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: kernel((state, np.zeros(1))), range(8)))
    assert state[0] == 90_000


def test_the_example_of_the_readme():
    readme = (pathlib.Path(vectors.__file__).parent / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    scope = {}
    exec(example, scope)
    x = np.arange(21, dtype=np.float32)
    out = np.zeros_like(x)
    scope["scale"]((x, out))
    np.testing.assert_array_equal(out, 3 * x + 1)
