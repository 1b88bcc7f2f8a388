"""Small pieces of the kernels: arithmetic, filters, and the exchange of rows between threads."""

# ruff: noqa: RUF005 - Triton's language has no [*a, b] and no (*a, b).

import triton
import triton.language as tl


@triton.jit
def float_from_bits(bits, dtype: tl.constexpr):
    """A float64 that was passed as an integer: Triton passes Python floats as float32."""
    return bits.to(tl.int64).to(tl.float64, bitcast=True).to(dtype)


@triton.jit
def repeat(value, count: tl.constexpr):
    """A tuple that holds the value `count` times."""
    values = ()
    for _ in tl.static_range(count):
        values = values + (value,)
    return values


@triton.jit
def relu(value):
    """max(value, 0), and NaN for NaN."""
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def reciprocal(value):
    """1 / value; in float32 by one Newton step from rsqrt(value)², which is faster than a division."""
    if value.dtype == tl.float64:
        result = 1 / value
    else:
        root = tl.rsqrt(value)
        near = root * root
        result = tl.fma(near, tl.fma(-value, near, 1.0), near)
    return result


@triton.jit
def in_range(index, end):
    """0 <= index < end, in one comparison."""
    return index.to(tl.uint32, bitcast=True) < end.to(tl.uint32, bitcast=True)


@triton.jit
def multiply(value, weight: tl.constexpr):
    """Value * weight, without an instruction where the weight is 1."""
    return value if weight == 1 else value * tl.full((), weight, value.dtype)


@triton.jit
def filter_row(row, first: tl.constexpr, TAPS: tl.constexpr):
    """The sum of TAPS[k] * row[first + k], from the outermost taps to the middle one: that order rounds least."""
    LAST: tl.constexpr = len(TAPS) - 1
    value = multiply(row[first] + row[first + LAST], TAPS[0])
    for k in tl.static_range(1, LAST // 2):
        weight = tl.full((), TAPS[k], value.dtype)
        value = tl.fma(row[first + LAST - k], weight, tl.fma(row[first + k], weight, value))
    value = tl.fma(row[first + LAST // 2], tl.full((), TAPS[LAST // 2], value.dtype), value)
    return value


@triton.jit
def push_row(pending, row, TAPS: tl.constexpr):
    """Add a row to the filters down the columns: (the sum that is complete now, the sums that are still pending).

    `pending` holds the len(TAPS) - 1 sums that have begun, the oldest first.
    """
    LAST: tl.constexpr = len(TAPS) - 1
    complete = pending[0] + row if TAPS[0] == 1 else tl.fma(row, tl.full((), TAPS[0], row.dtype), pending[0])
    begun = ()
    for k in tl.static_range(1, LAST):
        begun = begun + (tl.fma(row, tl.full((), TAPS[k], row.dtype), pending[k]),)
    begun = begun + (multiply(row, TAPS[0]),)
    return complete, begun


@triton.jit
def publish_row(line, fields):
    """Store each thread's values of all fields in the line, where its neighbours read them.

    Two fields of two columns are one store of four numbers.
    """
    COLUMNS: tl.constexpr = len(fields[0])
    THREADS: tl.constexpr = fields[0][0].shape[0]
    for f in tl.static_range(0, len(fields), COLUMNS):
        if COLUMNS == 2 and f + 1 < len(fields):
            _store_together(line + f * (THREADS * COLUMNS), fields[f] + fields[f + 1])
        else:
            _store_together(line + f * (THREADS * COLUMNS), fields[f])


@triton.jit
def _store_together(line, values):
    COUNT: tl.constexpr = len(values)
    THREADS: tl.constexpr = values[0].shape[0]
    lane = tl.arange(0, THREADS)
    if COUNT == 1:
        tl.store(line + lane, values[0])
    else:
        together = tl.join(values[0], values[1])
        if COUNT == 4:
            together = tl.reshape(tl.join(together, tl.join(values[2], values[3])), (THREADS, 4))
        tl.store(line + (COUNT * lane[:, None] + tl.arange(0, COUNT)[None, :]), together)


@triton.jit
def load_halo(line, first: tl.constexpr, FIELDS: tl.constexpr, HALO: tl.constexpr, COLUMNS: tl.constexpr,
              THREADS: tl.constexpr):  # fmt: skip
    """All fields of HALO + COLUMNS columns, of which the first is `first` threads to the right.

    Beside the program's own threads this reads whatever memory holds there; only columns that the program does not
    compute depend on it.
    """
    fields = ()
    for f in tl.static_range(0, FIELDS, COLUMNS):
        row, next_row = (), ()
        for k in tl.static_range(HALO // COLUMNS + 1):
            values = _load_neighbour(line, f, first + k, FIELDS, COLUMNS, THREADS)
            row = row + values[:COLUMNS]
            next_row = next_row + values[COLUMNS:]
        fields = fields + (row,)
        if len(next_row) > 0:
            fields = fields + (next_row,)
    return fields


@triton.jit
def _load_neighbour(line, f: tl.constexpr, threads: tl.constexpr, FIELDS: tl.constexpr, COLUMNS: tl.constexpr,
                    THREADS: tl.constexpr):  # fmt: skip
    """Field f of the thread so many to the right and, where both were stored together, the field after it."""
    COUNT: tl.constexpr = 4 if COLUMNS == 2 and f + 1 < FIELDS else COLUMNS
    lane = tl.arange(0, THREADS)
    start = line + (f * (THREADS * COLUMNS) + threads * COUNT)
    if COUNT == 1:
        values = (tl.load(start + lane),)
    else:
        together = tl.load(start + (COUNT * lane[:, None] + tl.arange(0, COUNT)[None, :]))
        if COUNT == 2:
            values = tl.split(together)
        else:
            first, second = tl.split(tl.reshape(together, (THREADS, 2, 2)))
            values = tl.split(first) + tl.split(second)
    return values
