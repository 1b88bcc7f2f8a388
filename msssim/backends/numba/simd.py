"""The language of the kernels: Python functions that run once, when a kernel is compiled, and write LLVM code.

Left to itself the compiler vectorises a loop or gives up without a word. Here what a function does to a
:class:`Vector` is what the CPU's vector instructions will do, and what it does to a :class:`Scalar` is what the CPU
does to one number. Python's own values (numbers, tuples, ``if``, ``for``) are settled when the code is written; loops
and conditions of the run time are ``code.range()``, ``code.when()`` and ``code.branch()``. README.md has an example.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils

from . import scalars
from .scalars import F64, FLOAT64, I64, Element, Number, Pointer, Scalar, Variable, is_float
from .vectors import Vector


def _vector_bytes() -> int:
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


BYTES = _vector_bytes()
_LARGEST = 3.4028234663852886e38  # of float32
Record = TypeVar("Record", bound=tuple[Any, ...])
Value = Vector | Scalar


class SimdBuilder:
    """What a function of the kernels works with: loads, stores, constants, loops; vectors of one type of number."""

    def __init__(
        self, builder: ir.IRBuilder, element: Element, functions: dict[Any, ir.Function] | None = None
    ) -> None:
        self.builder, self.element = builder, element
        self.bits = 8 * element.size
        self.lanes = BYTES // element.size
        self.functions = {} if functions is None else functions  # of outlined()

    # Values

    def cast(self, number: Number, kind: ir.Type) -> Scalar:
        """The number as one of an LLVM type."""
        if not isinstance(number, Scalar):
            return Scalar(self, ir.Constant(kind, float(number) if is_float(kind) else int(number)))
        value, builder = number.value, self.builder
        if number.type == kind:
            return number
        if not is_float(number.type):
            to_float = builder.uitofp if number.type.width == 1 else builder.sitofp
            return Scalar(self, to_float(value, kind) if is_float(kind) else builder.zext(value, kind))
        if not is_float(kind):
            return Scalar(self, builder.fptosi(value, kind))
        return Scalar(self, builder.fpext(value, kind) if kind == F64 else builder.fptrunc(value, kind))

    def real(self, number: Number) -> Scalar:
        """The number as a scalar of the element type."""
        return self.cast(number, self.element.ir)

    def integer(self, number: Number) -> Scalar:
        """The number as an integer of 64 bits."""
        return self.cast(number, I64)

    def splat(self, value: Vector | Number) -> Vector:
        """A vector with the number in each lane."""
        if isinstance(value, Vector):
            return value
        kind = ir.VectorType(self.element.ir, self.lanes)
        if isinstance(value, (int, float)):
            return Vector(self, ir.Constant(kind, [float(value)] * self.lanes))
        none = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(none, self.real(value).value, ir.Constant(scalars.I32, 0))
        mask = ir.Constant(ir.VectorType(scalars.I32, self.lanes), [0] * self.lanes)
        return Vector(self, self.builder.shuffle_vector(one, none, mask))

    def counted(self, first: Scalar) -> Vector:
        """The vector first, first + 1, ..."""
        kind = ir.VectorType(self.element.ir, self.lanes)
        return Vector(self, ir.Constant(kind, [float(k) for k in range(self.lanes)])) + self.real(first)

    def variable(self, value: Vector | Pointer | Number) -> Variable:
        """A variable with that first value; Python's integers become integers, its floats numbers of the element."""
        if isinstance(value, (int, float)):
            value = self.integer(value) if isinstance(value, int) else self.real(value)
        return Variable(self, value)

    # Memory

    def pointer(self, address: Scalar, element: Element) -> Pointer:
        """The address as that of numbers of a type."""
        return Pointer(self, self.builder.inttoptr(address.value, element.ir.as_pointer()), element)

    def allocate(self, kind: ir.Type) -> ir.Value:
        """Memory of the function's own for one value."""
        return cgutils.alloca_once(self.builder, kind)

    def record(self, table: Pointer, kind: type[Record], row: Number = 0) -> Record:
        """A row of a table whose columns are the fields of a NamedTuple."""
        fields = kind._fields  # type: ignore[attr-defined]
        first = table + row * len(fields)
        return kind._make(first[k] for k in range(len(fields)))  # type: ignore[attr-defined, no-any-return]

    def _vector_at(self, pointer: Pointer, elements: Number, kind: ir.Type) -> ir.Value:
        return self.builder.bitcast((pointer + elements).value, kind.as_pointer())

    def load(self, pointer: Pointer, elements: Number = 0) -> Vector:
        """As many numbers as there are lanes; 8-bit and 16-bit ones as float32."""
        stored = ir.VectorType(pointer.element.ir, self.lanes)
        value = self.builder.load(self._vector_at(pointer, elements, stored), align=pointer.element.size)
        return Vector(self, scalars.widen(self.builder, value, pointer.element, self.lanes))

    def load_real(self, pointer: Pointer, elements: Number = 0) -> Vector:
        """The same as numbers of the element type, which is at least as wide."""
        value, kind = self.load(pointer, elements).value, ir.VectorType(self.element.ir, self.lanes)
        return Vector(self, value if value.type == kind else self.builder.fpext(value, kind))

    def store(self, value: Vector, pointer: Pointer, elements: Number = 0) -> None:
        """Write a vector."""
        place = self._vector_at(pointer, elements, value.value.type)
        self.builder.store(value.value, place, align=pointer.element.size)

    def store_narrow(self, value: Vector, pointer: Pointer, elements: Number = 0) -> None:
        """Write a vector where numbers may be float32: no further than that goes, as infinity times 0 is NaN."""
        if pointer.element != self.element:
            value = self.select(value > _LARGEST, _LARGEST, self.select(value < -_LARGEST, -_LARGEST, value))
            value = Vector(self, self.builder.fptrunc(value.value, ir.VectorType(pointer.element.ir, self.lanes)))
        self.store(value, pointer, elements)

    def loader(self, pointer: Pointer, step: int) -> Callable[[int], Vector]:
        """A function of k that loads the vector `k * step` numbers further on."""
        return lambda k: self.load(pointer, k * step)

    def storer(self, pointer: Pointer, step: int) -> Callable[[int, Vector], None]:
        """A function of k and a vector that stores it `k * step` numbers further on."""
        return lambda k, value: self.store(value, pointer, k * step)

    def _wide(self, value: Vector) -> tuple[SimdBuilder, Vector]:
        """A vector as one of float64, with as many lanes."""
        wide = SimdBuilder(self.builder, FLOAT64)
        wide.lanes = self.lanes
        kind = ir.VectorType(F64, self.lanes)
        return wide, Vector(wide, value.value if self.bits == 64 else self.builder.fpext(value.value, kind))

    def add_wide(self, value: Vector, pointer: Pointer, elements: Number = 0) -> None:
        """Add to float64 numbers in memory."""
        wide, added = self._wide(value)
        wide.store(wide.load(pointer, elements) + added, pointer, elements)

    def max_wide(self, value: Vector, pointer: Pointer, elements: Number = 0) -> None:
        """Raise float64 numbers in memory to those that are larger."""
        wide, new = self._wide(value)
        old = wide.load(pointer, elements)
        wide.store(wide.select(new > old, new, old), pointer, elements)

    def prefetch(self, pointer: Pointer, write: bool = False) -> None:
        """Ask for the cache line there, to be read or written soon; any address will do."""
        byte, number = ir.IntType(8).as_pointer(), scalars.I32
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        options = (ir.Constant(number, value) for value in (int(write), 3 if write else 2, 1))
        self.builder.call(function, [self.builder.bitcast(pointer.value, byte), *options])

    # Arithmetic

    def intrinsic(self, name: str, *values: Value) -> Any:
        """One of LLVM's functions, of numbers or vectors of one type."""
        kind = values[0].value.type
        bits = 64 if F64 in (kind, getattr(kind, "element", None)) else 32
        name += f".v{kind.count}f{bits}" if isinstance(kind, ir.VectorType) else f".f{bits}"
        signature = ir.FunctionType(kind, [kind] * len(values))
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return type(values[0])(self, self.builder.call(function, [value.value for value in values]))

    def fma(self, a: Vector | Number, b: Vector | Number, c: Vector | Number) -> Any:
        """The product of two vectors plus the third, rounded once where the machine can."""
        return self.intrinsic("llvm.fmuladd", self.splat(a), self.splat(b), self.splat(c))

    def select(self, condition: Value, one: Any, other: Any) -> Any:
        """`one` where the condition holds, else `other`, of one type: NaN fails every condition."""
        if isinstance(one, Pointer):
            address = self.builder.select(condition.value, one.value, other.value)
            return Pointer(self, address, one.element)
        if isinstance(condition, Vector):
            one, other = self.splat(one).value, self.splat(other).value
        else:
            if not isinstance(one, Scalar):
                one = self.cast(one, other.type) if isinstance(other, Scalar) else self.integer(one)
            one, other, _ = one._pair(other)
        return type(condition)(self, self.builder.select(condition.value, one, other))

    def max(self, one: Any, other: Any) -> Any:
        """The larger of two numbers; the first where one is NaN."""
        return self.select(other > one, other, one)

    def min(self, one: Any, other: Any) -> Any:
        """The smaller of two numbers; the first where one is NaN."""
        return self.select(other < one, other, one)

    # Control flow

    def range(self, *limits: Number) -> Iterator[Scalar]:
        """A loop, with the arguments of Python's range: ``for index in code.range(n)``. Steps are positive."""
        start, stop, step = (0, *limits, 1) if len(limits) == 1 else (*limits, 1)[:3]
        start, stop, builder = self.integer(start), self.integer(stop), self.builder
        test, body, end = (builder.append_basic_block(name) for name in ("for.test", "for.body", "for.end"))
        before = builder.block
        builder.branch(test)
        builder.position_at_end(test)
        index = builder.phi(I64)
        index.add_incoming(start.value, before)
        builder.cbranch(builder.icmp_signed("<", index, stop.value), body, end)
        builder.position_at_end(body)
        yield Scalar(self, index)
        following = builder.add(index, self.integer(step).value, flags=["nsw"])
        index.add_incoming(following, builder.block)
        builder.branch(test)
        builder.position_at_end(end)

    @contextlib.contextmanager
    def repeat(self) -> Iterator[Loop]:
        """A loop that ends where its ``leave_when(condition)`` says so."""
        body, end = (self.builder.append_basic_block(name) for name in ("loop.body", "loop.end"))
        self.builder.branch(body)
        self.builder.position_at_end(body)
        yield Loop(self, end)
        self.builder.branch(body)
        self.builder.position_at_end(end)

    @contextlib.contextmanager
    def when(self, condition: Scalar | bool) -> Iterator[None]:
        """What is done only where the condition holds."""
        with self.branch(condition) as (then, _), then:
            yield

    @contextlib.contextmanager
    def branch(self, condition: Scalar | bool) -> Iterator[tuple[Any, Any]]:
        """Two context managers: what is done where the condition holds, and what is done elsewhere."""
        builder = self.builder
        condition = self.cast(condition, scalars.I1)
        then, other, end = (builder.append_basic_block(name) for name in ("then", "else", "endif"))
        builder.cbranch(condition.value, then, other)

        @contextlib.contextmanager
        def inside(block: ir.Block, used: list[ir.Block]) -> Iterator[None]:
            builder.position_at_end(block)
            used.append(block)
            yield
            builder.branch(end)

        used: list[ir.Block] = []
        yield inside(then, used), inside(other, used)
        for block in (then, other):
            if block not in used:
                builder.position_at_end(block)
                builder.branch(end)
        builder.position_at_end(end)


class Loop(NamedTuple):
    """A loop without a count."""

    code: SimdBuilder
    end: ir.Block

    def leave_when(self, condition: Scalar) -> None:
        """End the loop here where the condition holds."""
        following = self.code.builder.append_basic_block("loop.on")
        self.code.builder.cbranch(condition.value, self.end, following)
        self.code.builder.position_at_end(following)
