"""Compiled kernels on the CPU: they compute, and faults in them are found."""

import os
import types

import pytest
import torch
from marks import full

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are interpreted in this process", allow_module_level=True)

import triton
import triton.language as tl

from validation.emulated_gpu import driver, ptx

SIZE = 128


@triton.jit
def neighbours(x, lines, out, BARRIER: tl.constexpr, SIZE: tl.constexpr):
    """Add each element and the next, which another thread stores."""
    lane = tl.arange(0, SIZE)
    tl.store(lines + lane, tl.load(x + lane) * 2)
    if BARRIER:
        tl.debug_barrier()
    there = lane + 1 < SIZE
    tl.store(out + lane, tl.load(lines + lane) + tl.load(lines + lane + 1, mask=there, other=0))


@triton.jit
def every_sum(x, out, ROWS: tl.constexpr, SIZE: tl.constexpr):
    """Sum over rows, and take the largest element: warps exchange registers, and threads use shared memory."""
    block = tl.load(x + tl.arange(0, ROWS)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]).to(tl.float32)
    tl.store(out + tl.arange(0, ROWS), tl.sum(block, 1))
    tl.store(out + ROWS, tl.max(tl.max(block, 1), 0))


@triton.jit
def overlapping(out, step, SIZE: tl.constexpr):
    """Store the results of each program `step` elements after those of the one before."""
    lane = tl.arange(0, SIZE)
    tl.store(out + tl.program_id(0) * step + lane, tl.program_id(0).to(tl.float32) + lane)


@triton.jit
def quotients(x, y, out):
    """Store the quotient of every program in the same place."""
    tl.store(out, tl.load(x + tl.program_id(0)) / tl.load(y + tl.program_id(0)))


@triton.jit
def counted(out):
    """Count the programs."""
    tl.atomic_add(out, 1)


@pytest.fixture(params=[90, *full(75, 80, 100)])
def run(request):
    """A function that compiles a kernel for a GPU and executes it."""
    with driver.compiling_for(request.param):
        yield _run


def _run(kernel, grid, *arguments, seed=1, check_races=True, **constants):
    compiled = kernel.warmup(*arguments, **constants, grid=grid)
    return ptx.Kernel(compiled)(grid, (*arguments, *constants.values()), seed=seed, check_races=check_races)


def _numbers(*shape, dtype=torch.float32):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("seed", [1, *full(2, 3)])
def test_threads_read_what_others_wrote_before_a_barrier(run, seed):
    x, lines, out = _numbers(SIZE), torch.full((SIZE,), 7.0), torch.empty(SIZE)
    assert run(neighbours, (1, 1), x, lines, out, seed=seed, BARRIER=True, SIZE=SIZE) == 0
    torch.testing.assert_close(out[:-1], 2 * (x[:-1] + x[1:]))
    assert out[-1] == 2 * x[-1]


def test_reading_without_a_barrier_gives_nan(run):
    x, lines, out = _numbers(SIZE), torch.full((SIZE,), 7.0), torch.empty(SIZE)
    torn = run(neighbours, (1, 1), x, lines, out, BARRIER=False, SIZE=SIZE)
    assert torn > SIZE / 4
    assert out.isnan().sum() == torn


def test_reading_without_the_check_gives_what_is_there(run):
    x, lines, out = _numbers(SIZE), torch.full((SIZE,), 7.0), torch.empty(SIZE)
    assert run(neighbours, (1, 1), x, lines, out, check_races=False, BARRIER=False, SIZE=SIZE) == 0
    assert out.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_sums_over_threads_and_warps(run, dtype):
    x, out = _numbers(4, SIZE, dtype=dtype), torch.zeros(5)
    run(every_sum, (1, 1), x, out, ROWS=4, SIZE=SIZE)
    torch.testing.assert_close(out[:4], x.float().sum(1), rtol=1e-5, atol=0)
    assert out[-1] == x.max()


def test_programs_side_by_side(run):
    out = torch.empty(3 * SIZE)
    run(overlapping, (3, 1), out, SIZE, SIZE=SIZE)
    assert torch.equal(out.view(3, SIZE), torch.arange(3.0)[:, None] + torch.arange(SIZE))


def test_programs_that_write_over_each_other_are_an_error(run):
    with pytest.raises(RuntimeError, match=r"overlapping: a write over .* program 1, thread [\s\S]*st.global"):
        run(overlapping, (3, 1), torch.empty(3 * SIZE), SIZE // 2, SIZE=SIZE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nan_over_another_nan_is_no_conflict(dtype):
    # On x86 0 / 0 is a NaN with the sign bit set, and NaN / 1 is the NaN that was given.
    x, y = torch.tensor([0.0, torch.nan], dtype=dtype), torch.tensor([0.0, 1.0], dtype=dtype)
    out = torch.zeros(1, dtype=dtype)
    with driver.compiling_for(90):
        _run(quotients, (2, 1), x, y, out)
        assert out.isnan().all()
        for first, second in ((1.0, 2.0), (1.0, torch.nan), (torch.nan, 1.0)):
            with pytest.raises(RuntimeError, match="a write over"):
                _run(quotients, (2, 1), torch.tensor([first, second], dtype=dtype), torch.ones_like(x), out)


def test_an_access_outside_is_an_error(run):
    with pytest.raises(RuntimeError, match=r"overlapping: an access outside .* program 2"):
        run(overlapping, (3, 1), torch.empty(2 * SIZE), SIZE, SIZE=SIZE)


def test_an_access_that_is_not_aligned_is_an_error(run):
    bytes_ = torch.zeros(4 * SIZE + 4, dtype=torch.uint8)
    compiled = overlapping.warmup(torch.empty(SIZE), 0, SIZE=SIZE, grid=(1, 1))
    with pytest.raises(RuntimeError, match="an access that is not aligned"):
        ptx.Kernel(compiled)((1, 1), (bytes_[1:], 0, SIZE))


def test_what_is_not_translated_is_refused(run):
    with pytest.raises(ValueError, match=r"PTX that is not translated: .*atom"):
        run(counted, (1, 1), torch.zeros(1, dtype=torch.int32))


_PTX = """
.visible .entry one(.param .u64 one_param_0, .param .u64 one_param_1)
{
    ld.param.b64 %rd1, [one_param_0];
    ld.param.b64 %rd2, [one_param_1];
    mov.u32 %r9, %tid.x;
    setp.ne.b32 %p9, %r9, 0;
    @%p9 bra $L__end;
    ld.global.v2.b32 {%r1, %r2}, [%rd1];
    INSTRUCTIONS
    st.global.b32 [%rd2+4], %r3;
$L__end:
    ret;
}
// -- End function
"""
_NAN, _ONE, _TWO, _MINUS_ONE = 0x7FC00000, 0x3F800000, 0x40000000, 0xBF800000
_PAIR = "mov.b64 %rd3, {%r1, %r2}; mov.b64 %rd4, {%r2, %r1};"
_FIRST, _SECOND = "mov.b64 {%r3, _}, %rd5;", "mov.b64 {_, %r3}, %rd5;"
_PICK = "selp.b32 %r3, 1, 0, %p1;"


# As described in NVIDIA's "Parallel Thread Execution ISA", the chapter on its instructions.
@pytest.mark.parametrize(
    "instructions, a, b, expected",
    [
        ("bfe.u32 %r3, %r1, 1, 1;", 2, 0, 1),
        ("bfe.s32 %r3, %r1, 1, 1;", 2, 0, -1),
        ("shr.s32 %r3, %r1, 33;", -5, 0, -1),
        ("shr.u32 %r3, %r1, %r2;", -1, 31, 1),
        ("shl.b32 %r3, %r1, %r2;", 1, 32, 0),
        ("div.s32 %r3, %r1, %r2;", -7, 2, -3),
        ("rem.s32 %r3, %r1, %r2;", -7, 2, -1),
        ("mul.lo.s32 %r3, %r1, %r2;", 1 << 30, 6, -(1 << 31)),
        ("mul.wide.s32 %rd3, %r1, %r2; shr.u64 %rd4, %rd3, 32; cvt.u32.u64 %r3, %rd4;", -2, 3, -1),
        ("mad.wide.u32 %rd3, %r1, %r2, %rd9; shr.u64 %rd4, %rd3, 32; cvt.u32.u64 %r3, %rd4;", -1, 2, 1),
        ("mov.b64 %rd3, {%r1, %r2}; mov.b64 {_, %r3}, %rd3;", 5, 7, 7),
        ("max.s32 %r3, %r1, %r2;", -1, 1, 1),
        ("min.u32 %r3, %r1, %r2;", -1, 1, 1),
        (f"setp.lt.s32 %p1, %r1, %r2; {_PICK}", -1, 1, 1),
        (f"setp.lt.u32 %p1, %r1, %r2; {_PICK}", -1, 1, 0),
        (f"setp.ne.f32 %p1, %r1, %r2; {_PICK}", _NAN, _ONE, 0),
        (f"setp.neu.f32 %p1, %r1, %r2; {_PICK}", _NAN, _ONE, 1),
        (f"setp.lt.f32 %p1, %r1, %r2; {_PICK}", _NAN, _ONE, 0),
        (f"setp.geu.f32 %p1, %r1, %r2; {_PICK}", _NAN, _ONE, 1),
        (f"setp.nan.f32 %p1, %r1, %r2; {_PICK}", _ONE, _NAN, 1),
        (f"mov.pred %p2, -1; setp.eq.b32 %p3, %r1, %r2; xor.pred %p1, %p2, %p3; {_PICK}", 4, 4, 0),
        (f"setp.eq.b32 %p3, %r1, %r2; not.pred %p1, %p3; {_PICK}", 4, 5, 1),
        ("max.f32 %r3, %r1, %r2;", _NAN, _ONE, _ONE),
        ("max.NaN.f32 %r3, %r1, %r2;", _ONE, _NAN, _NAN),
        ("max.f32 %r3, %r1, %r2, 0f40000000;", _NAN, _ONE, _TWO),
        ("min.NaN.f32 %r3, %r1, %r2, 0f7FC00000;", _TWO, _ONE, _NAN),
        ("cvt.u16.u32 %rs1, %r1; add.rn.f32.f16 %r3, %rs1, %r2;", 0x3C00, _ONE, _TWO),
        ("cvt.u16.u32 %rs1, %r1; fma.rn.f32.bf16 %r3, %rs1, %rs1, %r2;", _ONE >> 16, _ONE, _TWO),
        ("fma.rn.f32 %r3, %r1, %r2, 0f3F800000;", _TWO, _MINUS_ONE, -0x40800000),
        (f"{_PAIR} fma.rn.f32x2 %rd5, %rd3, %rd4, %rd3; {_FIRST}", _TWO, _ONE, 0x40800000),
        (f"{_PAIR} fma.rn.f32x2 %rd5, %rd3, %rd4, %rd3; {_SECOND}", _TWO, _ONE, 0x40400000),
        (f"{_PAIR} mul.rn.f32x2 %rd5, %rd3, %rd4; {_SECOND}", _TWO, -(1 << 31), -(1 << 31)),
        (f"{_PAIR} add.rn.f32x2 %rd5, %rd3, %rd4; {_FIRST}", _TWO, _ONE, 0x40400000),
        (f"{_PAIR} sub.rn.f32x2 %rd5, %rd3, %rd4; {_FIRST}", _TWO, _ONE, _ONE),
        ("abs.f32 %r3, %r1;", _MINUS_ONE, 0, _ONE),
        ("sqrt.rn.f32 %r3, %r1;", 0x40800000, 0, _TWO),
        ("sqrt.approx.f32 %r3, %r1; add.f32 %r3, %r3, 0f43800000;", 0x40800000, 0, 0x43810000),
        ("sub.rn.f32 %r3, %r1, %r2;", _TWO, _ONE, _ONE),
        ("cvt.rn.f32.s32 %r3, %r1;", -1, 0, -0x40800000),
        ("cvt.rmi.f32.f32 %r3, %r1;", 0x3FC00000, 0, _ONE),
        ("cvt.rn.bf16.f32 %rs1, %r1; cvt.f32.bf16 %r3, %rs1;", _ONE + 0x8001, 0, _ONE + 0x10000),
        ("mov.b64 %rd3, 0; @!%p9 bra $L__one; mov.b64 %rd3, 9;\n$L__one:\n cvt.u32.u64 %r3, %rd3;", 0, 0, 0),
    ],
)  # fmt: skip
def test_an_instruction(instructions, a, b, expected):
    x, out = torch.tensor([a, b]).to(torch.int32), torch.zeros(2, dtype=torch.int32)
    _written(_PTX.replace("INSTRUCTIONS", instructions))((1, 1), (x, out))
    assert out.tolist() == [0, expected]


@pytest.mark.parametrize(
    "instruction",
    [
        "add.f32 %r3, %r1, %r2, %r2",
        "add.rn.f16.f32 %r3, %r1, %r2",
        "add.rn.bf16 %rs3, %rs1, %rs2",
        "bar.sync 1",
        "cvt.rni.s32.f32 %r3, %r1",
        "cvt.s32.f32 %r3, %r1",
        "shfl.sync.up.b32 %r3, %r1, 2, 0, -1",
        "sin.approx.f32 %r3, %r1",
    ],
)
def test_an_instruction_that_is_not_translated_is_refused(instruction):
    with pytest.raises(ValueError, match="PTX that is not translated: " + instruction):
        _written(_PTX.replace("INSTRUCTIONS", instruction + ";"))


_WARP = """
.visible .entry one(.param .u64 one_param_0, .param .u64 one_param_1)
{
    ld.param.b64 %rd1, [one_param_0];
    ld.param.b64 %rd2, [one_param_1];
    mov.u32 %r9, %tid.x;
    shl.b32 %r8, %r9, 2;
    cvt.u64.u32 %rd3, %r8;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.b32 %r1, [%rd4];
    INSTRUCTIONS
    st.global.b32 [%rd5], %r3;
    ret;
}
// -- End function
"""


@pytest.mark.parametrize(
    "instructions, expected",
    [
        ("shfl.sync.bfly.b32 %r3, %r1, 2, 31, -1;", lambda x: x.view(8, 2, 2).flip(1).flatten()),
        ("redux.sync.max.s32 %r3, %r1, -1;", lambda x: x.max().expand(32)),
        # A matrix of eight rows of 16 bytes, from the last to the first.
        (
            "st.shared.b32 [%r8], %r1; bar.sync 0; sub.s32 %r7, 7, %r9; and.b32 %r7, %r7, 7; shl.b32 %r7, %r7, 4; "
            "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r3}, [%r7];",
            lambda x: x.view(8, 4).flip(0).flatten(),
        ),
        (
            "sub.s32 %r7, 7, %r9; and.b32 %r7, %r7, 7; shl.b32 %r7, %r7, 4; "
            "stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r7], {%r1}; bar.sync 0; ld.shared.b32 %r3, [%r8];",
            lambda x: x.view(8, 4).flip(0).flatten(),
        ),
    ],
)
def test_what_a_warp_does_together(instructions, expected):
    x, out = torch.randperm(32, generator=torch.Generator().manual_seed(0)).to(torch.int32), torch.zeros(32).int()
    _written(_WARP.replace("INSTRUCTIONS", instructions))((1, 1), (x, out))
    assert torch.equal(out, expected(x))


@pytest.mark.parametrize("negative", [False, True])
def test_the_largest_number_of_a_warp(negative):
    x, out = -_numbers(32) if negative else _numbers(32), torch.zeros(32)
    x[3] = torch.nan
    _written(_WARP.replace("INSTRUCTIONS", "redux.sync.max.f32 %r3, %r1, -1;"))((1, 1), (x, out))
    assert (out == x[x == x].max()).all()


def _written(text):
    """A kernel of two pointers, by its PTX."""
    return ptx.Kernel(
        types.SimpleNamespace(
            name="one",
            asm={"ptx": text},
            metadata=types.SimpleNamespace(shared=128, num_warps=1),
            src=types.SimpleNamespace(signature={"x": "*i32", "out": "*i32"}),
        )
    )
