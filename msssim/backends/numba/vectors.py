"""Vectors: numbers of one type side by side, and ways to exchange their lanes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from .scalars import I32, Number

if TYPE_CHECKING:
    from .simd import SimdBuilder


class Vector:
    """Numbers of one type side by side. Nothing is reordered or contracted except where fma() says so."""

    def __init__(self, code: SimdBuilder, value: ir.Value) -> None:
        self.code, self.value = code, value

    def _apply(self, operation: str, other: Vector | Number, swapped: bool = False) -> Vector:
        pair = self.value, self.code.splat(other).value
        return Vector(self.code, getattr(self.code.builder, operation)(*(pair[::-1] if swapped else pair)))

    def __add__(self, other: Vector | Number) -> Vector:
        return self._apply("fadd", other)

    def __sub__(self, other: Vector | Number) -> Vector:
        return self._apply("fsub", other)

    def __mul__(self, other: Vector | Number) -> Vector:
        return self._apply("fmul", other)

    def __truediv__(self, other: Vector | Number) -> Vector:
        return self._apply("fdiv", other)

    def __rtruediv__(self, other: Vector | Number) -> Vector:
        return self._apply("fdiv", other, swapped=True)

    def __neg__(self) -> Vector:
        return Vector(self.code, self.code.builder.fneg(self.value))

    def __and__(self, other: Vector) -> Vector:
        """Where two conditions hold."""
        return Vector(self.code, self.code.builder.and_(self.value, other.value))

    def __abs__(self) -> Any:
        return self.code.intrinsic("llvm.fabs", self)

    def _compare(self, operator: str, other: Vector | Number) -> Vector:
        return Vector(self.code, self.code.builder.fcmp_ordered(operator, self.value, self.code.splat(other).value))

    def __lt__(self, other: Vector | Number) -> Vector:
        return self._compare("<", other)

    def __gt__(self, other: Vector | Number) -> Vector:
        return self._compare(">", other)

    def __le__(self, other: Vector | Number) -> Vector:
        return self._compare("<=", other)


def transpose(code: SimdBuilder, vectors: list[Vector]) -> list[Vector]:
    """Exchange rows and columns of as many vectors as each has lanes."""
    near = 128 // code.bits  # exchanging lanes within 16 bytes is cheaper than across them
    groups = [_transpose_within(code, vectors[k : k + near]) for k in range(0, code.lanes, near)]
    columns = [_sort(code, [group[k] for group in groups], near) for k in range(near)]
    return [columns[k % near][k // near] for k in range(code.lanes)]


def _transpose_within(code: SimdBuilder, rows: list[Vector]) -> list[Vector]:
    """Of each piece of 16 bytes: vector k of the result has its columns k of all rows."""
    count = len(rows)
    step = 1
    while step < count:  # each time, runs of `step` lanes are interleaved
        pairs = list(zip(rows[: count // 2], rows[count // 2 :], strict=True))
        rows = [vector for pair in pairs for vector in _interleave(code, *pair, count)]
        step *= 2
    return rows


def _interleave(code: SimdBuilder, first: Vector, second: Vector, size: int) -> Iterator[Vector]:
    """Lane by lane from one and the other, within pieces of a size: of their first halves, and of their second."""
    half, both = size // 2, (0, code.lanes)
    for start in (0, half):
        from_one = [piece + k for piece in range(start, code.lanes, size) for k in range(half)]
        yield shuffle(code, first, second, [k + which for k in from_one for which in both])


def _sort(code: SimdBuilder, vectors: list[Vector], size: int) -> list[Vector]:
    """Vectors whose pieces of a size are those of all vectors at place 0, at place 1, ..."""
    if len(vectors) == 1:
        return vectors
    pairs = [unzip(code, vectors[k], vectors[k + 1], size) for k in range(0, len(vectors), 2)]
    even, odd = (_sort(code, list(half), size) for half in zip(*pairs, strict=True))
    return [vector for pair in zip(even, odd, strict=True) for vector in pair]


def unzip(code: SimdBuilder, first: Vector, second: Vector, size: int = 1) -> tuple[Vector, Vector]:
    """Of two vectors one after the other, in pieces of a size: those at even places, and those at odd ones."""
    places = range(2 * code.lanes)
    even, odd = ([k for k in places if k // size % 2 == parity] for parity in (0, 1))
    return shuffle(code, first, second, even), shuffle(code, first, second, odd)


def repeat_lanes(code: SimdBuilder, vector: Vector) -> tuple[Vector, Vector]:
    """The two vectors in which each lane of one stands twice."""
    places = [k // 2 for k in range(2 * code.lanes)]
    return shuffle(code, vector, vector, places[: code.lanes]), shuffle(code, vector, vector, places[code.lanes :])


def halves(code: SimdBuilder, vector: Vector) -> tuple[Vector, Vector]:
    """The first half of a vector and the second, as vectors of half as many lanes."""
    half = code.lanes // 2
    return shuffle(code, vector, vector, range(half)), shuffle(code, vector, vector, range(half, 2 * half))


def shuffle(code: SimdBuilder, first: Vector, second: Vector, places: Iterable[int]) -> Vector:
    """The lanes at those places of two vectors one after the other."""
    places = list(places)
    mask = ir.Constant(ir.VectorType(I32, len(places)), places)
    return type(first)(code, code.builder.shuffle_vector(first.value, second.value, mask))
