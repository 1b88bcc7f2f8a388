"""Vectors for Numba: arithmetic that is written once in Python and becomes the CPU's vector instructions.

Left to itself the compiler vectorises a loop or gives it up, and nobody is told. A function decorated with
:func:`vectorised` runs once, when a caller is compiled: what it does to :class:`Vector` is what the machine will do.
"""

import contextlib
import itertools
import pathlib

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# How scalar functions are compiled. Only what is named in the flags may be reordered. Nothing assumes NaN absent.
exact = numba.njit(error_model="numpy")  # x == y gives cs == 1 exactly only if nothing is contracted
inlined = numba.njit(error_model="numpy", forceinline=True)
contracted = numba.njit(error_model="numpy", fastmath={"contract"})
summing = numba.njit(error_model="numpy", fastmath={"reassoc", "nsz", "contract"})


def compiled_for_keeps(function):
    """The kernel, free of the GIL; kept on disk where there is a folder to write to."""
    try:
        kernel = numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # numba found no folder it may write to
        return numba.njit(nogil=True, error_model="numpy")(function)
    # Numba compiles anew when the function's own file has changed; what it calls lies in the files beside it.
    kernel._cache._cache_file._source_stamp = _state_of_sources()
    return kernel


def _state_of_sources():
    files = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def _vector_bytes():
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


BYTES = _vector_bytes()


class Vector:
    """Numbers side by side. Nothing is reordered or contracted but where fma() says so."""

    def __init__(self, code, value):
        self.code, self.value = code, value

    def _with(self, operation, other, swapped=False):
        pair = (self.value, self.code.splat(other).value)
        return Vector(self.code, operation(*(pair[::-1] if swapped else pair)))

    def __add__(self, other):
        return self._with(self.code.builder.fadd, other)

    def __sub__(self, other):
        return self._with(self.code.builder.fsub, other)

    def __mul__(self, other):
        return self._with(self.code.builder.fmul, other)

    def __truediv__(self, other):
        return self._with(self.code.builder.fdiv, other)

    def __neg__(self):
        return Vector(self.code, self.code.builder.fneg(self.value))

    def __lt__(self, other):
        return self._with(lambda a, b: self.code.builder.fcmp_ordered("<", a, b), other)

    def __gt__(self, other):
        return self._with(lambda a, b: self.code.builder.fcmp_ordered(">", a, b), other)

    def __le__(self, other):
        return self._with(lambda a, b: self.code.builder.fcmp_ordered("<=", a, b), other)


class Variable:
    """Numbers side by side that may be set anew."""

    def __init__(self, code, value):
        self._code, self._place = code, cgutils.alloca_once(code.builder, code.type)
        self.set(value)

    def set(self, value):
        self._code.builder.store(value.value, self._place)

    def get(self):
        return Vector(self._code, self._code.builder.load(self._place))


class Code:
    """What a vectorised function works with: loads, stores, constants and loops over elements of one type."""

    def __init__(self, builder, element):
        self.builder, self.element = builder, element
        self.bits = 64 if isinstance(element, ir.DoubleType) else 32
        self.lanes = BYTES * 8 // self.bits
        self.type = ir.VectorType(element, self.lanes)

    def splat(self, value):
        """A vector of one number: a Python one, or a scalar of the element type."""
        if isinstance(value, Vector):
            return value
        if isinstance(value, (int, float)):
            return Vector(self, ir.Constant(self.type, [float(value)] * self.lanes))
        index = ir.IntType(32)
        one = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), value, ir.Constant(index, 0))
        mask = ir.Constant(ir.VectorType(index, self.lanes), [0] * self.lanes)
        return Vector(self, self.builder.shuffle_vector(one, ir.Constant(self.type, ir.Undefined), mask))

    def address(self, pointer, elements):
        """The pointer so many elements further: a Python number, a loop's index, or a sum of such."""
        if isinstance(elements, int):
            elements = ir.Constant(ir.IntType(64), elements)
        return self.builder.gep(pointer, [elements])

    def load(self, pointer, elements=0):
        place = self.builder.bitcast(self.address(pointer, elements), self.type.as_pointer())
        return Vector(self, self.builder.load(place, align=self.bits // 8))

    def store(self, value, pointer, elements=0):
        place = self.builder.bitcast(self.address(pointer, elements), self.type.as_pointer())
        self.builder.store(value.value, place, align=self.bits // 8)

    def load_pixels(self, pointer, pixel):
        """Pixels of the Numba type `pixel`, as they are stored, widened to the element type."""
        builder, lanes = self.builder, self.lanes
        stored = ir.VectorType(pointer.type.pointee, lanes)
        place = builder.bitcast(pointer, stored.as_pointer())
        value = builder.load(place, align=pixel.bitwidth // 8)
        if pixel == types.uint8:
            value = builder.uitofp(value, self.type)
        elif pixel == types.int16:  # bfloat16: the upper half of a float32
            wide = ir.VectorType(ir.IntType(32), lanes)
            value = builder.shl(builder.zext(value, wide), ir.Constant(wide, [16] * lanes))
            value = builder.bitcast(value, self.type)
        elif pixel == types.uint16:  # float16
            value = builder.fpext(builder.bitcast(value, ir.VectorType(ir.HalfType(), lanes)), self.type)
        return Vector(self, value)

    def prefetch(self, pointer, write=False):
        """Ask for the cache line there, to be read or written soon; it may lie outside of everything."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        write, near, data = (ir.Constant(number, value) for value in (int(write), 3 if write else 2, 1))
        self.builder.call(function, [self.builder.bitcast(pointer, byte), write, near, data])

    def fma(self, a, b, c):
        """The product of two plus the third, rounded once where the machine can."""
        a, b, c = (self.splat(each).value for each in (a, b, c))
        name = f"llvm.fmuladd.v{self.lanes}f{self.bits}"
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(self.type, [self.type] * 3), name
        )
        return Vector(self, self.builder.call(function, [a, b, c]))

    def magnitude(self, value):
        """The absolute value."""
        name = f"llvm.fabs.v{self.lanes}f{self.bits}"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(self.type, [self.type]), name)
        return Vector(self, self.builder.call(function, [value.value]))

    def select(self, condition, one, other):
        """`one` where the condition holds, else `other`: NaN fails every condition."""
        return Vector(self, self.builder.select(condition.value, self.splat(one).value, self.splat(other).value))

    def transpose(self, vectors):
        """As many vectors as each has lanes, their rows and columns exchanged."""
        near = 128 // self.bits  # machines exchange lanes within 16 bytes with less ado than beyond them
        groups = [self._transposed_within(vectors[k : k + near]) for k in range(0, self.lanes, near)]
        columns = [self._sorted([group[k] for group in groups], near) for k in range(near)]
        return [columns[k % near][k // near] for k in range(self.lanes)]

    def _transposed_within(self, rows):
        """Of each piece of 16 bytes: vector k of the result has its columns k of all rows."""
        count = len(rows)
        step = 1
        while step < count:  # each time, runs of `step` lanes are interleaved
            pairs = list(zip(rows[: count // 2], rows[count // 2 :], strict=True))
            rows = [vector for pair in pairs for vector in self._interleaved(*pair, count)]
            step *= 2
        return rows

    def _interleaved(self, first, second, size):
        """Lane by lane from one and the other, within pieces of a size: of their first halves, and of their second."""
        half, both = size // 2, (0, self.lanes)
        for start in (0, half):
            from_one = [piece + k for piece in range(start, self.lanes, size) for k in range(half)]
            yield Vector(self, self._shuffled(first, second, [k + which for k in from_one for which in both]))

    def _sorted(self, vectors, size):
        """Vectors whose pieces of a size are those of all vectors at place 0, at place 1, ..."""
        if len(vectors) == 1:
            return vectors
        pairs = [self.unzip(*vectors[k : k + 2], size) for k in range(0, len(vectors), 2)]
        even, odd = (self._sorted(list(half), size) for half in zip(*pairs, strict=True))
        return [vector for pair in zip(even, odd, strict=True) for vector in pair]

    def unzip(self, first, second, size=1):
        """Of two vectors one after the other, in pieces of a size: those at even places, and those at odd ones."""
        places = range(2 * self.lanes)
        return tuple(
            Vector(self, self._shuffled(first, second, [k for k in places if k // size % 2 == odd])) for odd in (0, 1)
        )

    def doubled(self, vector):
        """The two vectors in which each lane of one stands twice."""
        places = [k // 2 for k in range(2 * self.lanes)]
        return tuple(
            Vector(self, self._shuffled(vector, vector, half)) for half in (places[: self.lanes], places[self.lanes :])
        )

    def halves(self, vector):
        """The first half of a vector and the second, for store_part()."""
        half = self.lanes // 2
        return tuple(self._shuffled(vector, vector, range(start, start + half)) for start in (0, half))

    def _shuffled(self, first, second, places):
        index = ir.IntType(32)
        mask = ir.Constant(ir.VectorType(index, len(places)), list(places))
        return self.builder.shuffle_vector(first.value, second.value, mask)

    def store_part(self, value, pointer, elements=0):
        """Store what halves() gave."""
        place = self.builder.bitcast(self.address(pointer, elements), value.type.as_pointer())
        self.builder.store(value, place, align=self.bits // 8)

    def add_wide(self, value, pointer, elements=0):
        """Add to float64 numbers in memory."""
        wide = Code(self.builder, ir.DoubleType())
        wide.lanes, wide.type = self.lanes, ir.VectorType(ir.DoubleType(), self.lanes)
        added = value.value if self.bits == 64 else self.builder.fpext(value.value, wide.type)
        wide.store(wide.load(pointer, elements) + Vector(wide, added), pointer, elements)

    def raise_to(self, value, pointer, elements=0):
        """Raise float64 numbers in memory to those that are larger."""
        wide = Code(self.builder, ir.DoubleType())
        wide.lanes, wide.type = self.lanes, ir.VectorType(ir.DoubleType(), self.lanes)
        new = Vector(wide, value.value if self.bits == 64 else self.builder.fpext(value.value, wide.type))
        old = wide.load(pointer, elements)
        wide.store(wide.select(new > old, new, old), pointer, elements)

    def each(self, count, start=0):
        """A loop: for index in code.each(n)."""
        count, start = (ir.Constant(ir.IntType(64), n) if isinstance(n, int) else n for n in (count, start))
        with cgutils.for_range(self.builder, count, start, ir.IntType(64)) as loop:
            yield loop.index

    def minus(self, first, second):
        """Of integers: first - second."""
        return self.builder.sub(first, second)

    def sum(self, first, second):
        """Of integers: first + second."""
        return self.builder.add(first, second)

    def plus(self, index, number):
        """Of an integer and a Python number: their sum."""
        return self.builder.add(index, ir.Constant(ir.IntType(64), number))

    def least(self, first, second):
        """The lesser of two integers."""
        return self.builder.select(self.builder.icmp_signed("<", first, second), first, second)

    def most(self, first, second):
        """The greater of two integers."""
        return self.builder.select(self.builder.icmp_signed(">", first, second), first, second)

    @contextlib.contextmanager
    def when(self, integer):
        """What is done only where an integer is not zero."""
        with self.builder.if_then(self.builder.icmp_signed("!=", integer, ir.Constant(integer.type, 0))):
            yield

    def variable(self, value):
        """A vector that changes from turn to turn of a loop."""
        return Variable(self, self.splat(value))

    def number(self, integer):
        """A vector of one integer, as a number."""
        return self.splat(self.builder.sitofp(integer, self.element))

    def counted(self, first):
        """first, first + 1, ..."""
        return Vector(self, ir.Constant(self.type, [float(k) for k in range(self.lanes)])) + self.number(first)

    def pixels_of_a_cache_line(self):
        """How many of the images' pixels, as they are stored, memory gives at once."""
        return 512 // self.pixel.bitwidth

    def times(self, index, factor, plus=0):
        """Of integers: index · factor + plus."""
        factor = ir.Constant(ir.IntType(64), factor) if isinstance(factor, int) else factor
        product = self.builder.mul(index, factor)
        if isinstance(plus, int):
            plus = ir.Constant(ir.IntType(64), plus)
        return self.builder.add(product, plus)


_NUMBER = itertools.count()


def vectorised(function):
    """A function for compiled code, called as ``f(pointers, integers, numbers, taps)``.

    `function(code, pointers, integers, numbers, taps)` is given the four tuples' parts as they will be at run time,
    `taps` and `numbers` as vectors; the element type is that of the taps. It stays a function of its own: together with
    its caller it would be given too few registers.
    """
    number = next(_NUMBER)

    @intrinsic
    def call(typingctx, pointers, integers, numbers, taps):
        def generate(context, builder, signature, arguments):
            parts = [cgutils.unpack_tuple(builder, argument) for argument in arguments]
            flat = [part for each in parts[:3] for part in each]
            name = f"msssim.{number}.{pointers[-1].dtype}.{taps}"
            compiled = builder.module.globals.get(name)
            if compiled is None:
                kind = ir.FunctionType(ir.VoidType(), [part.type for part in flat])
                compiled = ir.Function(builder.module, kind, name)
                compiled.linkage = "internal"
                compiled.attributes.add("noinline")
                compiled.attributes.alignstack = BYTES
                inside = ir.IRBuilder(compiled.append_basic_block())
                code = Code(inside, context.get_value_type(taps.dtype))
                code.pixel = pointers[-1].dtype
                given = iter(compiled.args)
                own = [[next(given) for _ in each] for each in parts[:3]]
                function(code, own[0], own[1], [code.splat(x) for x in own[2]], (None,) * len(taps))
                inside.ret_void()
            builder.call(compiled, flat)
            return context.get_dummy_value()

        return types.none(pointers, integers, numbers, taps), generate

    return call


@intrinsic
def pointer(typingctx, address, like):
    """The address as a pointer to elements of the array, or of the type of the number, `like`."""
    result = types.CPointer(getattr(like, "dtype", like))

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(result))

    return result(types.int64, like), generate


@intrinsic
def beyond(typingctx, start, elements):
    """The pointer so many elements further."""

    def generate(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return start(start, types.int64), generate


@intrinsic
def count_up(typingctx, array, index):
    """array[index] before it is raised by one, in one step that other threads cannot come between."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(array, types.int64), generate


@intrinsic
def read(typingctx, array, index):
    """array[index] as other threads have left it."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(builder.gep(data, [arguments[1]]), "seq_cst", 8, typ=ir.IntType(64))

    return types.int64(array, types.int64), generate


@intrinsic
def bfloat16(typingctx, bits):
    """The number whose bfloat16 bits these are."""

    def generate(context, builder, signature, arguments):
        high = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(high, ir.FloatType())

    return types.float32(bits), generate


@intrinsic
def float16(typingctx, bits):
    """The number whose float16 bits these are."""

    def generate(context, builder, signature, arguments):
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(bits), generate
