"""Run PTX where there is no GPU: what Triton compiles a kernel to, made into C, one thread after another.

A thread runs until it has to wait for others: at a barrier, or where its warp exchanges registers. Which thread comes
next is drawn by lot. Every access to memory is checked: it must be aligned and within what the kernel was given. No
thread may write over what another has written since the last barrier, or another program in the same launch; and what
is read of such is NaN, as nothing says whether it is there yet.

What PTX calls approximate is as far off as NVIDIA allows; denormals are kept, where a GPU may flush them. Only what
this project's kernels are compiled to is translated, and all else is refused.
"""

import ctypes
import hashlib
import os
import pathlib
import re
import subprocess
import tempfile

from triton.runtime import cache

_RUNTIME = pathlib.Path(__file__).with_suffix(".c")
_WATCHED = 2**28  # bytes of a tensor
_FAULTS = (
    "", "an access outside of what the kernel was given", "an access that is not aligned",
    "a write over what another thread has written", "threads that wait for each other for ever",
)  # fmt: skip

_C_TYPES = {
    "pred": "uint8_t", "f16": "_Float16", "f32": "float", "f64": "double", "f32x2": "uint64_t",
    **{f"s{bits}": f"int{bits}_t" for bits in (8, 16, 32, 64)},
    **{f"{kind}{bits}": f"uint{bits}_t" for kind in "bu" for bits in (8, 16, 32, 64)},
}  # fmt: skip
_SPECIAL = {
    "%tid.x": "id", "%ntid.x": "m->threads", "%nctaid.x": "m->grid[0]", "%nctaid.y": "m->grid[1]",
    "%ctaid.x": "(program % m->grid[0])", "%ctaid.y": "(program / m->grid[0])",
    "global_smem": "0",
}  # fmt: skip
_COMPARED = {
    "eq": "{a} == {b}", "ne": "{a} < {b} || {a} > {b}", "lt": "{a} < {b}", "le": "{a} <= {b}", "gt": "{a} > {b}",
    "ge": "{a} >= {b}", "equ": "!({a} < {b} || {a} > {b})", "neu": "{a} != {b}", "ltu": "!({a} >= {b})",
    "leu": "!({a} > {b})", "gtu": "!({a} <= {b})", "geu": "!({a} < {b})", "nan": "__builtin_isunordered({a}, {b})",
    "num": "!__builtin_isunordered({a}, {b})",
}  # fmt: skip
_KNOWN = {
    *_C_TYPES, *_COMPARED, "bf16", "global", "shared", "param", "v2", "v4", "sync", "bfly", "uni", "max", "lo", "wide",
    "rn", "rmi", "rpi", "rzi", "ftz", "approx", "full", "NaN", "aligned", "m8n8", "x1", "x2", "x4",
}  # fmt: skip
_NUMBERS = {*_C_TYPES, "bf16"}
_LARGER = {
    "number": "{a} != {a} ? {b} : {b} != {b} ? {a} : {a} {sign} {b} ? {a} : {b}",
    "NaN": "{a} != {a} ? {a} : {b} != {b} ? {b} : {a} {sign} {b} ? {a} : {b}",
}
# float32 and float16 or bfloat16, which is {0}, and {1} where it comes twice.
_MIXED = {"add": "{0} + {{2.f32}}", "sub": "{0} - {{2.f32}}", "fma": "__builtin_fmaf({0}, {1}, {{3.f32}})"}
# What an instruction puts into its first operand {0}, by its name, or its name and type.
_VALUES = {
    "mov": "{1}", "neg": "-{1}", "add": "{1} + {2}", "sub": "{1} - {2}", "and": "{1} & {2}", "or": "{1} | {2}",
    "xor": "{1} ^ {2}", "not": "~{1}", "not.pred": "!{1}", "selp": "{3.pred} ? {1} : {2}",
    "mul.f32": "{1} * {2}", "mul.f64": "{1} * {2}", "abs": "{1} < 0 ? -{1} : {1}",
    "abs.f32": "__builtin_fabsf({1})", "abs.f64": "__builtin_fabs({1})",
    "fma.f32": "__builtin_fmaf({1}, {2}, {3})", "fma.f64": "__builtin_fma({1}, {2}, {3})",
    "div": "{2} ? {1} / {2} : -1", "rem": "{2} ? {1} % {2} : {1}", "div.f32": "{1} / {2}", "div.f64": "{1} / {2}",
    "bfe.u32": "({1} >> {2.u32}) & ((1u << {3.u32}) - 1)",
    "bfe.s32": "{1} << (32 - {2.u32} - {3.u32}) >> (32 - {3.u32})",  # of a part that is not empty
    "fma.f32x2": "fma2({1}, {2}, {3})", "mul.f32x2": "fma2({1}, {2}, 0x8000000080000000)",
    "add.f32x2": "fma2({1}, 0x3f8000003f800000, {2})", "sub.f32x2": "fma2({2}, 0xbf800000bf800000, {1})",
    "rsqrt": "roughly(1 / __builtin_sqrt((double){1}), 0x1p-22)", "rcp": "roughly(1 / (double){1}, 0x1p-20)",
    "sqrt": "__builtin_sqrt((double){1})",
}  # fmt: skip


class Kernel:
    """A kernel that Triton has compiled, to be called with a grid and its arguments.

    Raises
    ------
    ValueError
        For PTX that is not translated; it names the instruction.
    """

    def __init__(self, compiled):
        self.name, self.ptx = compiled.name, compiled.asm["ptx"]
        self.shared = max(compiled.metadata.shared, 16)
        self.threads = 32 * compiled.metadata.num_warps
        # What is constant is in the PTX, and in the signature too.
        self.passed = [kind != "constexpr" for kind in compiled.src.signature.values()]
        self.library = ctypes.CDLL(_built(_Translation(self.ptx), self.shared))
        for size in (self.library.size_of_thread, self.library.size_of_machine):
            size.restype = ctypes.c_uint64
        if self.library.size_of_machine() != ctypes.sizeof(_Machine):
            raise AssertionError("ptx.py and ptx.c differ about the layout of a machine")

    def __call__(self, grid, arguments, *, lot=1, watched=True):
        """Run all programs, one after another; gives how often was read what another thread may not have written yet.

        Parameters
        ----------
        grid : tuple of int
            How many programs, in two dimensions.
        arguments : sequence of torch.Tensor or int
            All of the kernel's, those that are constant among them. Tensors are on the CPU.
        lot : int
            The order of the threads is drawn from it; not 0.
        watched : bool
            Whether it is noted which thread has written what, but for tensors too large for eight bytes each byte.

        Raises
        ------
        RuntimeError
            At the first fault: it names the program, the thread, and the lines of PTX that end with it.
        """
        arguments = [each for each, passed in zip(arguments, self.passed, strict=True) if passed]
        storages = {
            each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
            for each in arguments
            if hasattr(each, "untyped_storage")
        }
        shared = ctypes.create_string_buffer(self.shared + 128)
        ranges = [(-(-ctypes.addressof(shared) // 128) * 128, self.shared), *storages.items()]
        noted = [(ctypes.c_uint64 * (size if watched and size <= _WATCHED else 0))() for _, size in ranges]
        machine = _Machine(grid=tuple(grid[:2]), threads=self.threads, lot=lot, count=len(ranges))
        for k, (begin, size) in enumerate(ranges):
            written = ctypes.addressof(noted[k]) if len(noted[k]) else None
            machine.ranges[k] = _Range(begin, begin + size, written)
        for k, each in enumerate(arguments):
            machine.params[k] = (each.data_ptr() if hasattr(each, "data_ptr") else int(each)) & (2**64 - 1)
        threads = ctypes.create_string_buffer(self.threads * self.library.size_of_thread())
        if self.library.run(ctypes.byref(machine), threads):
            here = "\n".join(_body(self.ptx)[max(machine.line - 3, 0) : machine.line + 1])
            raise RuntimeError(
                f"{self.name}: {_FAULTS[machine.fault]}: program {machine.program}, thread {machine.thread}, "
                f"address {machine.address:#x}\n{here}"
            )
        return machine.torn


class _Range(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_uint64), ("end", ctypes.c_uint64), ("written", ctypes.c_void_p))


_COUNTS = ("threads", "lot", "count", "fault", "line", "program", "thread", "torn")


class _Machine(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint32 * 2),
        *((name, ctypes.c_uint32) for name in _COUNTS),
        *((name, ctypes.c_uint64) for name in ("address", "now", "program_began")),
        ("params", ctypes.c_uint64 * 64),
        ("ranges", _Range * 32),
    )


def _built(translation, shared):
    """The shared library of a kernel, from Triton's cache if it has been built before."""
    step = translation.source()
    compiler = os.environ.get("CC", "cc")
    flags = ["-O1", "-march=native", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-shared", "-fPIC"]
    flags += [f"-DREGISTERS={len(translation.registers) + 1}", f"-DSHARED={shared}", '-DSTEP="step.c"']
    key = hashlib.sha256("\n".join((_RUNTIME.read_text(), step, compiler, *flags)).encode()).hexdigest()
    kept = cache.get_cache_manager(key)
    found = kept.get_file("ptx.so")
    if found is None:
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "step.c").write_text(step)
            made = pathlib.Path(folder, "ptx.so")
            subprocess.run([compiler, *flags, f"-I{folder}", _RUNTIME, "-o", made, "-lm"], check=True)
            found = kept.put(made.read_bytes(), "ptx.so", binary=True)
    return found


def _body(ptx):
    return ptx[ptx.index("{", ptx.index(".entry")) + 1 : ptx.index("// -- End function")].splitlines()


class _Translation:
    """The body of a kernel as the body of a C function that runs one thread on to where it waits."""

    def __init__(self, ptx):
        self.registers, self.places, self.lines = {}, 0, []
        for self.line, text in enumerate(_body(ptx)):
            text = re.sub(r"//.*", "", text).strip()
            if scope := re.fullmatch(r"\{ \.reg \.\w+ (\w+); (.*) \}", text):  # of inline assembly
                text = re.sub(rf"\b{scope[1]}\b", "_", scope[2])
            if label := re.fullmatch(r"\$(\w+):", text):
                self.lines.append(f"{label[1]}:;")
            elif text and text[0] not in ".{}":
                self.lines += [self._statement(each.strip()) for each in text.split(";") if each.strip()]

    def source(self):
        """The C function."""
        places = " ".join(f"case {k}: goto place_{k};" for k in range(1, self.places + 1))
        return "\n".join((
            "static int step(machine *m, thread *t, reg *restrict r, uint32_t id, uint32_t program, uint8_t *shared) {",
            f"switch (t->at) {{ {places} }}",
            *self.lines,
            "return ENDED; }",
        ))  # fmt: skip

    def _statement(self, text):
        negated, condition, name, operands = re.fullmatch(r"(?:@(!?)(%p\d+)\s+)?(\S+)\s*(.*)", text, re.S).groups()
        operands = [each.strip() for each in re.findall(r"\{[^}]*\}|\[[^]]*\]|[^],{}[]+", operands) if each.strip()]
        try:
            code = self._code(name.split("."), operands)
        except (KeyError, IndexError, AttributeError, ValueError) as error:
            raise ValueError(f"PTX that is not translated: {text}") from error
        return f"if ({negated or ''}{self._operand(condition, 'pred')}) {{ {code} }}" if condition else code

    def _operand(self, text, kind):
        """A register, which may be written too, or a number."""
        c_type = _C_TYPES[kind]
        if text in _SPECIAL:
            return _SPECIAL[text]
        if re.fullmatch(r"%[a-z]+\d+", text):
            return f"r[{self.registers.setdefault(text, len(self.registers))}].{kind}"
        if parameter := re.fullmatch(r"\w+_param_(\d+)", text):
            return str(8 * int(parameter[1]))
        if bits := re.fullmatch(r"0[fFdD]([0-9A-Fa-f]+)", text):
            return f"(((reg){{.b{4 * len(bits[1])} = 0x{bits[1]}ull}}).{kind})"
        number = int(text.rstrip("U"), 0)
        return f"(({c_type}){int(number != 0) if kind == 'pred' else number}ll)"

    def _code(self, name, operands):
        first, kind = name[0], name[-1]
        if not _KNOWN.issuperset(name[1:]) or (
            kind == "bf16" and first not in ("max", "min", "cvt") and "f32" not in name
        ):
            raise KeyError(name)
        if first == "bra":
            return f"goto {operands[0].lstrip('$')};"
        if first == "ret":
            return "return ENDED;"
        if name == ["bar", "sync"] and operands == ["0"]:  # for all threads of a program
            return self._wait("AT_BARRIER")
        if name[:3] == ["shfl", "sync", "bfly"] and operands[3:] == ["31", "-1"]:  # among all threads of a warp
            return self._exchanged("EXCHANGES", operands, f"t->lanes = {self._operand(operands[2], 'u32')}; ")
        if name in (["redux", "sync", "max", "s32"], ["redux", "sync", "max", "f32"]):
            return self._exchanged("REDUCES" if kind == "s32" else "REDUCES_F32", operands)
        if first in ("ldmatrix", "stmatrix"):
            return self._matrices(first == "ldmatrix", *operands)
        if first in ("ld", "st"):
            return self._memory(name, operands)
        if first == "mov" and "{" in operands[0] + operands[1]:
            return self._parts(int(kind[1:]) // 2, *operands)
        if first == "cvt":
            return self._converted(name[1:-2], *name[-2:], *operands)
        to, value = self._value(name, kind, len(operands))
        if {int(number) for number in re.findall(r"\{(\d)", value)} != set(range(1, len(operands))):
            raise KeyError(operands)
        stored = "b16" if kind == "bf16" else kind

        def operand(found):
            return self._operand(operands[int(found[1])], found[2] or stored)

        value = re.sub(r"\{(\d)(?:\.(\w+))?\}", operand, value)
        return f"{self._operand(operands[0], to)} = {value};"

    @staticmethod
    def _value(name, kind, count):
        """The type and the value of a result, with the operands' numbers in braces."""
        first = name[0]
        if _NUMBERS.intersection(name[1:-1]):
            if name[-2] != "f32" or kind not in ("f16", "bf16"):
                raise KeyError(name)
            widened = "from_bf16({%d.b16})" if kind == "bf16" else "(float){%d.f16}"
            return "f32", _MIXED[first].format(widened % 1, widened % 2)
        if first == "setp":
            return "pred", _COMPARED[name[1]].format(a="{1}", b="{2}")
        if first in ("max", "min"):
            number, to = ("from_bf16({%d})", "b16") if kind == "bf16" else ("{%d}", kind)
            value = number % 1
            for k in range(2, count):
                larger = _LARGER["NaN" if "NaN" in name else "number"]
                value = f"({larger.format(a=value, b=number % k, sign='>' if first == 'max' else '<')})"
            return to, f"to_bf16({value})" if kind == "bf16" else value
        if first in ("mul", "mad") and kind[0] != "f":
            wide = kind[0] + str(int(kind[1:]) * 2) if name[1] == "wide" else "u" + kind[1:]
            taken = kind if name[1] == "wide" else wide
            product = f"({_C_TYPES[wide]}){{1.{taken}}} * ({_C_TYPES[wide]}){{2.{taken}}}"
            return wide, product + (f" + {{3.{wide}}}" if first == "mad" else "")
        if first in ("shl", "shr"):
            beyond = "{1} < 0 ? -1 : 0" if kind[0] == "s" else "0"
            shifted = "{1} << {2.u32}" if first == "shl" else "{1} >> {2.u32}"
            return kind, f"{{2.u32}} >= {kind[1:]} ? ({beyond}) : {shifted}"
        if first in ("add", "sub") and kind[0] == "s":
            kind = "u" + kind[1:]  # which wraps around
        if first == "sqrt" and "approx" in name:
            return kind, f"roughly({_VALUES[first]}, 0x1p-22)"
        if name[1:] == ["full", "f32"]:
            return kind, f"roughly({_VALUES['div.f32']}, 0x1p-22)"
        return kind, _VALUES.get(f"{first}.{kind}") or _VALUES[first]

    def _wait(self, state):
        self.places += 1
        return f"t->at = {self.places}; return {state}; place_{self.places}:;"

    def _exchanged(self, state, operands, more=""):
        value, result = self._operand(operands[1], "u32"), self._operand(operands[0], "u32")
        return f"t->value = {value}; {more}{self._wait(state)} {result} = t->value;"

    def _matrices(self, loads, *operands):
        """Of each 8 × 8 matrix of halves, whose rows are where eight lanes tell, two neighbours a lane."""
        parts, place = operands if loads else operands[::-1]
        code = f"t->value = {self._operand(place.strip('[ ]'), 'u32')}; {self._wait('GATHERS')}"
        for k, part in enumerate(_listed(parts)):
            address = f"(uint64_t)shared + t->rows[{k}] + id % 4 * 4"
            code += self._access(loads, "b32", [self._operand(part, "b32")], address)
        return code

    def _parts(self, bits, to, source):
        """Two registers put together in one, or one that is taken apart."""
        half, whole = f"b{bits}", f"b{2 * bits}"
        if source.startswith("{"):
            low, high = (f"({_C_TYPES[whole]}){self._operand(each, half)}" for each in _listed(source))
            return f"{self._operand(to, whole)} = {low} | {high} << {bits};"
        taken = " ".join(
            f"{self._operand(part, half)} = value >> {bits * k};" for k, part in enumerate(_listed(to)) if part != "_"
        )
        return f"{{ {_C_TYPES[whole]} value = {self._operand(source, whole)}; {taken} }}"

    def _converted(self, how, to, source, result, operand):
        value = self._operand(operand, "b16" if source == "bf16" else source)
        if source == "bf16":
            value = f"from_bf16({value})"
        elif to[0] == source[0] == "f" and {"rmi", "rpi", "rzi"} & set(how):
            value = f"__builtin_{'floor' if 'rmi' in how else 'ceil' if 'rpi' in how else 'trunc'}({value})"
        elif source[0] == "f" and to[0] != "f" and to != "bf16" and "rzi" not in how:  # which is how C converts
            raise KeyError(how)
        if to == "bf16":
            return f"{self._operand(result, 'b16')} = to_bf16({value});"
        return f"{self._operand(result, to)} = ({_C_TYPES[to]}){value};"

    def _memory(self, name, operands):
        loads, space, kind = name[0] == "ld", name[1], name[-1]
        place, parts = operands if not loads else operands[::-1]
        base, offset = re.fullmatch(r"\[\s*(\S+?)\s*(?:\+\s*(-?\d+)\s*)?\]", place).groups(default="0")
        if space == "param":
            wide = kind[0] + "64" if parts.startswith("%rd") else kind
            index = f"{self._operand(base, 'u64')} / 8"
            return f"{self._operand(parts, wide)} = ({_C_TYPES[kind]})m->params[{index}];"
        kind = "b" + kind[1:]  # what is torn is all ones, whatever its type
        parts = _listed(parts)
        start = {"global": "0", "shared": "(uint64_t)shared"}[space]
        address = f"(uint64_t){self._operand(base, 'u32' if space == 'shared' else 'u64')} + {offset} + {start}"
        return self._access(
            loads, kind, [self._operand(each, {"b8": "b16"}.get(kind, kind)) for each in parts], address
        )

    def _access(self, loads, kind, values, address):
        """So many values from an address, or there."""
        width = int(kind[1:]) // 8
        size = width * len(values)
        if not loads:
            return (
                f"{{ {_C_TYPES[kind]} values[] = {{{', '.join(values)}}}; uint64_t a = {address}; "
                f"if (!reaches(m, {self.line}, id, a, {size}, {width}, values)) return ENDED; "
                f"memcpy((void *)a, values, {size}); }}"
            )
        taken = " ".join(f"{value} = (({_C_TYPES[kind]} *)a)[{k}];" for k, value in enumerate(values))
        torn = " ".join(f"{value} = -1;" for value in values)
        return (
            f"{{ uint64_t a = {address}; int how = reaches(m, {self.line}, id, a, {size}, {width}, 0); "
            f"if (!how) return ENDED; if (how == TORN) {{ {torn} }} else {{ {taken} }} }}"
        )


def _listed(text):
    return [each.strip() for each in text.strip("{} ").split(",")]
