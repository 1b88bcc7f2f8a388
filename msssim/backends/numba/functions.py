"""Functions of the kernels: LLVM functions of their own, entry points for Numba, and what threads share."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .scalars import ELEMENT_OF, FLOAT64, I32, I64, Number, Pointer, Scalar
from .simd import BYTES, SimdBuilder
from .vectors import Vector

BYTE_POINTER = ir.IntType(8).as_pointer()


def outlined(function: Callable[..., None]) -> Callable[..., None]:
    """Make ``function(code, *arguments)`` an LLVM function of its own, never a part of its caller.

    Together with its caller it would be given too few registers. It is written once for each combination of types and
    of values that are known when the code is written.
    """

    @functools.wraps(function)
    def call(code: SimdBuilder, *arguments: Any) -> None:
        values: list[ir.Value] = []
        key = function, code.element, _flatten(arguments, values)
        compiled = code.functions.get(key)
        if compiled is None:
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            name = f"msssim.{function.__name__}.{len(code.functions)}"
            compiled = code.functions[key] = ir.Function(code.builder.module, kind, name)
            compiled.linkage = "internal"
            compiled.attributes.add("noinline")
            compiled.attributes.alignstack = BYTES
            inside = ir.IRBuilder(compiled.append_basic_block())
            own = SimdBuilder(inside, code.element, code.functions)
            function(own, *_rebuild(arguments, own, iter(compiled.args)))
            inside.ret_void()
        code.builder.call(compiled, values)

    return call


def _flatten(argument: Any, values: list[ir.Value]) -> Any:
    """Append the values of the run time to the list; the rest, with their types, as a key of dictionaries."""
    if isinstance(argument, tuple):
        return type(argument), tuple(_flatten(each, values) for each in argument)
    if isinstance(argument, (Scalar, Vector, Pointer)):
        values.append(argument.value)
        return type(argument), str(argument.value.type), getattr(argument, "element", None)
    return type(argument), argument


def _rebuild(argument: Any, code: SimdBuilder, values: Any) -> Any:
    """The argument in the function that is called."""
    if isinstance(argument, tuple):
        parts = [_rebuild(each, code, values) for each in argument]
        return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
    if isinstance(argument, Pointer):
        return Pointer(code, next(values), argument.element)
    if isinstance(argument, (Scalar, Vector)):
        return type(argument)(code, next(values))
    return argument


def from_numba(function: Callable[..., None]) -> Any:
    """Make ``function(code, *arguments)`` callable with a tuple of arguments by what Numba compiles.

    An array becomes the pointer to its data, a number a Scalar, a tuple a tuple, None None. The element type of `code`
    is that of the last array.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def call(typing_context: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            kinds = signature.args[0].types
            element = [ELEMENT_OF[kind.dtype] for kind in kinds if isinstance(kind, types.Array)][-1]
            code = SimdBuilder(builder, element)
            function(code, *_given(code, context, signature.args[0], values[0]))
            return context.get_dummy_value()

        return types.none(arguments), generate

    return call


def _given(code: SimdBuilder, context: Any, kind: Any, value: ir.Value) -> Any:
    if isinstance(kind, types.Array):
        return Pointer(code, context.make_array(kind)(context, code.builder, value).data, ELEMENT_OF[kind.dtype])
    if isinstance(kind, types.BaseTuple):
        parts = cgutils.unpack_tuple(code.builder, value)
        return tuple(_given(code, context, *pair) for pair in zip(kind.types, parts, strict=True))
    return None if isinstance(kind, types.NoneType) else Scalar(code, value)


def cached_njit(function: Callable[..., None]) -> Any:
    """Compile an entry point, free of the GIL; keep the code on disk where there is a folder to write to."""
    try:
        kernel = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # numba found no folder it may write to
        return numba.njit(nogil=True)(function)
    # Numba recompiles a function only if its own file has changed, but it calls functions in other files.
    kernel._cache._cache_file._source_stamp = _state_of_sources()
    return kernel


def _state_of_sources() -> tuple[tuple[str, int, int], ...]:
    files = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def on_team(
    code: SimdBuilder, team: Scalar, number: Scalar, work: Callable[..., None], done: Pointer, *arguments: Any
) -> None:
    """Call ``work(code, *arguments)`` on each thread of a team, or on this one if there is no team.

    Parameters
    ----------
    team : Scalar
        Address of the function that starts a team, see threads.py; 0 for none.
    number : Scalar
        Number of threads of the team.
    work : callable
        An outlined function.
    done : Pointer
        Where `work` leaves a number that is not 0. Where no thread of the team did, this thread does the work.
    """
    builder = code.builder
    values: list[ir.Value] = []
    _flatten(arguments, values)
    packed = cgutils.pack_struct(builder, values)
    data = cgutils.alloca_once(builder, packed.type)
    builder.store(packed, data)
    kind = ir.FunctionType(ir.VoidType(), [BYTE_POINTER])
    unpack = ir.Function(builder.module, kind, builder.module.get_unique_name("msssim.unpack"))
    unpack.linkage = "internal"
    inside = ir.IRBuilder(unpack.append_basic_block())
    given = inside.load(inside.bitcast(unpack.args[0], data.type))
    own = SimdBuilder(inside, code.element, code.functions)
    work(own, *_rebuild(arguments, own, iter(cgutils.unpack_tuple(inside, given))))
    inside.ret_void()
    with code.when(team != 0):
        # GOMP_parallel(function, data, threads, flags)
        start = ir.FunctionType(ir.VoidType(), [unpack.type, BYTE_POINTER, I32, I32])
        address = builder.inttoptr(team.value, start.as_pointer())
        threads = builder.trunc(number.value, I32)
        builder.call(address, [unpack, builder.bitcast(data, BYTE_POINTER), threads, ir.Constant(I32, 0)])
    with code.when(done[0] == 0):
        work(code, *arguments)


def allocated(code: SimdBuilder, size: Number) -> Pointer:
    """Memory of so many float64, to give to free(); its address is 0 if there is none."""
    kind = ir.FunctionType(BYTE_POINTER, [I64])
    function = cgutils.get_or_insert_function(code.builder.module, kind, "NRT_Allocate")
    memory = code.builder.call(function, [(code.integer(size) * 8).value])
    return Pointer(code, code.builder.bitcast(memory, FLOAT64.ir.as_pointer()), FLOAT64)


def free(code: SimdBuilder, memory: Pointer) -> None:
    """Give memory back."""
    kind = ir.FunctionType(ir.VoidType(), [BYTE_POINTER])
    function = cgutils.get_or_insert_function(code.builder.module, kind, "NRT_Free")
    code.builder.call(function, [code.builder.bitcast(memory.value, BYTE_POINTER)])


def address_of(pointer: Pointer) -> Scalar:
    """The address as a number."""
    return Scalar(pointer.code, pointer.code.builder.ptrtoint(pointer.value, I64))


def atomic_fetch_add(counters: Pointer, index: Number) -> Scalar:
    """counters[index] before it is raised by one, in one step that no other thread can come between."""
    builder, place = counters.code.builder, (counters + index).value
    return Scalar(counters.code, builder.atomic_rmw("add", place, ir.Constant(I64, 1), "seq_cst"))


def atomic_load(counters: Pointer, index: Number) -> Scalar:
    """counters[index] as other threads have left it."""
    return Scalar(counters.code, counters.code.builder.load_atomic((counters + index).value, "seq_cst", 8))


def wait_until(code: SimdBuilder, condition: Callable[[], Scalar]) -> None:
    """Let other threads run until the condition holds."""
    with code.repeat() as loop:
        loop.leave_when(condition())
        if os.name == "posix":
            kind = ir.FunctionType(I32, [])
            code.builder.call(cgutils.get_or_insert_function(code.builder.module, kind, "sched_yield"), [])
