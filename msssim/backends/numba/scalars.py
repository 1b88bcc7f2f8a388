"""Numbers and pointers of the kernels: Python objects that write LLVM code when Python computes with them.

Arithmetic is strict: nothing is reordered or contracted, so ``x == y`` gives cs == 1 exactly. A Python number takes
the type of the other operand; an integer becomes floating point beside a float; of two floats the wider type wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Union

from llvmlite import ir
from numba import types

if TYPE_CHECKING:
    from .simd import SimdBuilder
    from .vectors import Vector

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()


class Element(NamedTuple):
    """How a number is stored in memory."""

    name: str
    ir: ir.Type
    size: int
    """Bytes."""


FLOAT32, FLOAT64, INT64 = Element("float32", F32, 4), Element("float64", F64, 8), Element("int64", I64, 8)
UINT8 = Element("uint8", ir.IntType(8), 1)
BFLOAT16, FLOAT16 = Element("bfloat16", ir.IntType(16), 2), Element("float16", ir.IntType(16), 2)

# NumPy has no bfloat16, and float16 is passed as its bits too: see api.py.
ELEMENT_OF = {
    types.float32: FLOAT32,
    types.float64: FLOAT64,
    types.int64: INT64,
    types.uint8: UINT8,
    types.int16: BFLOAT16,
    types.uint16: FLOAT16,
}


def is_float(kind: ir.Type) -> bool:
    """Whether numbers of this type are floating point."""
    return isinstance(kind, (ir.FloatType, ir.DoubleType))


Number = Union["Scalar", int, float]
Field = Any
"""A field of a record: a Python number when a call is made, a Scalar when code is written."""
Operand = Any
"""A Scalar or a Vector, whichever the function is called with."""


class Scalar:
    """A number at run time: an integer of 64 bits, a truth value, a float32 or a float64."""

    __hash__ = None  # type: ignore[assignment]  # `==` writes code

    def __init__(self, code: SimdBuilder, value: ir.Value) -> None:
        self.code, self.value = code, value

    @property
    def type(self) -> ir.Type:
        """The LLVM type."""
        return self.value.type

    def __bool__(self) -> bool:
        raise TypeError("the value is known at run time only: use code.when() or code.select()")

    def _pair(self, other: Number) -> tuple[ir.Value, ir.Value, ir.Type]:
        """Both operands in their common type."""
        if isinstance(other, Scalar):
            both = self.type, other.type
            kind = F64 if F64 in both else F32 if F32 in both else self.type
        else:
            kind = F64 if isinstance(other, float) and not is_float(self.type) else self.type
        return self.code.cast(self, kind).value, self.code.cast(other, kind).value, kind

    def _apply(self, other: Number, of_integers: str, of_floats: str, swapped: bool = False) -> Scalar:
        one, two, kind = self._pair(other)
        if swapped:
            one, two = two, one
        name = of_floats if is_float(kind) else of_integers
        if not name:
            raise TypeError(f"no such operation for numbers of type {kind}")
        return Scalar(self.code, getattr(self.code.builder, name)(one, two))

    def _is_neutral(self, other: Number, value: int) -> bool:
        """Whether an operation with that number changes nothing: -0.0 + 0 is 0.0, so integers only."""
        return type(other) is int and other == value and not is_float(self.type)

    def __add__(self, other: Number) -> Scalar:
        return self if self._is_neutral(other, 0) else self._apply(other, "add", "fadd")

    def __sub__(self, other: Number) -> Scalar:
        return self if self._is_neutral(other, 0) else self._apply(other, "sub", "fsub")

    def __mul__(self, other: Number) -> Scalar:
        return self if self._is_neutral(other, 1) else self._apply(other, "mul", "fmul")

    def __rsub__(self, other: Number) -> Scalar:
        return self._apply(other, "sub", "fsub", swapped=True)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Number) -> Scalar:
        return self._apply(other, "", "fdiv")

    def __rtruediv__(self, other: Number) -> Scalar:
        return self._apply(other, "", "fdiv", swapped=True)

    def __floordiv__(self, other: Number) -> Scalar:
        """The quotient of two integers that are not negative."""
        if isinstance(other, int) and other & (other - 1) == 0:
            return self >> other.bit_length() - 1
        return self._apply(other, "sdiv", "")

    def __mod__(self, other: Number) -> Scalar:
        """The remainder of two integers that are not negative."""
        if isinstance(other, int) and other & (other - 1) == 0:
            return self & other - 1
        return self._apply(other, "srem", "")

    def __rshift__(self, other: Number) -> Scalar:
        return self._apply(other, "ashr", "")

    def __rlshift__(self, other: Number) -> Scalar:
        return self._apply(other, "shl", "", swapped=True)

    def __and__(self, other: Number) -> Scalar:
        return self._apply(other, "and_", "")

    def __or__(self, other: Number) -> Scalar:
        return self._apply(other, "or_", "")

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> Scalar:
        return Scalar(self.code, self.code.builder.not_(self.value))

    def __neg__(self) -> Scalar:
        name = "fneg" if is_float(self.type) else "neg"
        return Scalar(self.code, getattr(self.code.builder, name)(self.value))

    def __abs__(self) -> Any:
        return self.code.intrinsic("llvm.fabs", self)

    def _compare(self, operator: str, other: Number) -> Scalar:
        one, two, kind = self._pair(other)
        builder = self.code.builder
        if not is_float(kind):
            return Scalar(self.code, builder.icmp_signed(operator, one, two))
        compare = builder.fcmp_unordered if operator == "!=" else builder.fcmp_ordered  # NaN differs from everything
        return Scalar(self.code, compare(operator, one, two))

    def __lt__(self, other: Number) -> Scalar:
        return self._compare("<", other)

    def __le__(self, other: Number) -> Scalar:
        return self._compare("<=", other)

    def __gt__(self, other: Number) -> Scalar:
        return self._compare(">", other)

    def __ge__(self, other: Number) -> Scalar:
        return self._compare(">=", other)

    def __eq__(self, other: Number) -> Scalar:  # type: ignore[override]
        return self._compare("==", other)

    def __ne__(self, other: Number) -> Scalar:  # type: ignore[override]
        return self._compare("!=", other)


class Pointer:
    """The address of numbers in memory."""

    def __init__(self, code: SimdBuilder, value: ir.Value, element: Element) -> None:
        self.code, self.value, self.element = code, value, element

    def __add__(self, elements: Number) -> Pointer:
        """The address so many elements further on."""
        index = self.code.cast(elements, I64).value
        return Pointer(self.code, self.code.builder.gep(self.value, [index]), self.element)

    def __getitem__(self, index: Number) -> Scalar:
        """The number there; 8-bit and 16-bit ones as a float32."""
        builder = self.code.builder
        return Scalar(self.code, widen(builder, builder.load((self + index).value), self.element, None))

    def __setitem__(self, index: Number, number: Number) -> None:
        value = self.code.cast(number, self.element.ir).value
        self.code.builder.store(value, (self + index).value)


def widen(builder: ir.IRBuilder, value: ir.Value, element: Element, lanes: int | None) -> ir.Value:
    """Stored numbers as they are computed with: a scalar, or a vector of so many lanes."""

    def wide(kind: ir.Type) -> ir.Type:
        return kind if lanes is None else ir.VectorType(kind, lanes)

    if element == UINT8:
        return builder.uitofp(value, wide(F32))
    if element == BFLOAT16:  # the upper half of a float32
        sixteen = ir.Constant(wide(I32), 16 if lanes is None else [16] * lanes)
        return builder.bitcast(builder.shl(builder.zext(value, wide(I32)), sixteen), wide(F32))
    if element == FLOAT16:
        return builder.fpext(builder.bitcast(value, wide(F16)), wide(F32))
    return value


class Variable:
    """A scalar, vector or pointer that changes from one turn of a loop to the next."""

    def __init__(self, code: SimdBuilder, value: Scalar | Vector | Pointer) -> None:
        self._code, self._kind = code, value
        self._place = code.allocate(value.value.type)
        self.set(value)

    def set(self, value: Vector | Pointer | Number) -> None:
        """Give it a value."""
        if isinstance(value, (int, float)):
            value = self._code.cast(value, self._kind.value.type)
        self._code.builder.store(value.value, self._place)

    def get(self) -> Any:
        """The value it has now."""
        value = self._code.builder.load(self._place)
        if isinstance(self._kind, Pointer):
            return Pointer(self._code, value, self._kind.element)
        return type(self._kind)(self._code, value)
