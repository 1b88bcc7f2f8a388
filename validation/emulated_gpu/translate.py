"""Translate PTX, the assembly of NVIDIA's GPUs, to C.

Only what Triton compiles this project's kernels to is translated. Everything else is refused.
"""

import re

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
# float32 with float16 or bfloat16, which are {0} and {1}.
_MIXED = {"add": "{0} + {{2.f32}}", "sub": "{0} - {{2.f32}}", "fma": "__builtin_fmaf({0}, {1}, {{3.f32}})"}
# The result of an instruction, from its operands, by its name or its name and type.
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


def body(ptx: str) -> list[str]:
    """The lines of a kernel's instructions."""
    return ptx[ptx.index("{", ptx.index(".entry")) + 1 : ptx.index("// -- End function")].splitlines()


class Translation:
    """The instructions of a kernel as a C function that executes one thread until it has to wait.

    Raises
    ------
    ValueError
        For an instruction that is not translated; the message has it.
    """

    def __init__(self, ptx: str) -> None:
        self.registers: dict[str, int] = {}  # index by name
        self.places = 0  # where a thread can wait
        self.lines: list[str] = []
        for self.line, text in enumerate(body(ptx)):
            text = re.sub(r"//.*", "", text).strip()
            if scope := re.fullmatch(r"\{ \.reg \.\w+ (\w+); (.*) \}", text):  # of inline assembly
                text = re.sub(rf"\b{scope[1]}\b", "_", scope[2])
            if label := re.fullmatch(r"\$(\w+):", text):
                self.lines.append(f"{label[1]}:;")
            elif text and text[0] not in ".{}":
                self.lines += [self._statement(each.strip()) for each in text.split(";") if each.strip()]

    def source(self) -> str:
        """The C function."""
        places = " ".join(f"case {k}: goto place_{k};" for k in range(1, self.places + 1))
        return "\n".join((
            "static int step(machine *m, thread *t, reg *restrict r, uint32_t id, uint32_t program, uint8_t *shared) {",
            f"switch (t->at) {{ {places} }}",
            *self.lines,
            "return ENDED; }",
        ))  # fmt: skip

    def _statement(self, text: str) -> str:
        found = re.fullmatch(r"(?:@(!?)(%p\d+)\s+)?(\S+)\s*(.*)", text, re.S)
        assert found
        negated, condition, name, rest = found.groups()
        operands = [each.strip() for each in re.findall(r"\{[^}]*\}|\[[^]]*\]|[^],{}[]+", rest) if each.strip()]
        try:
            code = self._code(name.split("."), operands)
        except (KeyError, IndexError, AttributeError, ValueError) as error:
            raise ValueError(f"PTX that is not translated: {text}") from error
        return f"if ({negated or ''}{self._operand(condition, 'pred')}) {{ {code} }}" if condition else code

    def _operand(self, text: str, kind: str) -> str:
        """A register, which can also be written, or a number."""
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

    def _code(self, name: list[str], operands: list[str]) -> str:
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

        def operand(found: re.Match[str]) -> str:
            return self._operand(operands[int(found[1])], found[2] or stored)

        value = re.sub(r"\{(\d)(?:\.(\w+))?\}", operand, value)
        return f"{self._operand(operands[0], to)} = {value};"

    @staticmethod
    def _value(name: list[str], kind: str, count: int) -> tuple[str, str]:
        """(type, C expression) of a result, with the operands' numbers in braces."""
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

    def _wait(self, state: str) -> str:
        self.places += 1
        return f"t->at = {self.places}; return {state}; place_{self.places}:;"

    def _exchanged(self, state: str, operands: list[str], more: str = "") -> str:
        value, result = self._operand(operands[1], "u32"), self._operand(operands[0], "u32")
        return f"t->value = {value}; {more}{self._wait(state)} {result} = t->value;"

    def _matrices(self, loads: bool, *operands: str) -> str:
        """Two neighbouring elements per lane of each 8 x 8 matrix of halves; eight lanes hold the rows' addresses."""
        parts, place = operands if loads else operands[::-1]
        code = f"t->value = {self._operand(place.strip('[ ]'), 'u32')}; {self._wait('GATHERS')}"
        for k, part in enumerate(_listed(parts)):
            address = f"(uint64_t)shared + t->rows[{k}] + id % 4 * 4"
            code += self._access(loads, "b32", [self._operand(part, "b32")], address)
        return code

    def _parts(self, bits: int, to: str, source: str) -> str:
        """Join two registers to one, or split one."""
        half, whole = f"b{bits}", f"b{2 * bits}"
        if source.startswith("{"):
            low, high = (f"({_C_TYPES[whole]}){self._operand(each, half)}" for each in _listed(source))
            return f"{self._operand(to, whole)} = {low} | {high} << {bits};"
        taken = " ".join(
            f"{self._operand(part, half)} = value >> {bits * k};" for k, part in enumerate(_listed(to)) if part != "_"
        )
        return f"{{ {_C_TYPES[whole]} value = {self._operand(source, whole)}; {taken} }}"

    def _converted(self, how: list[str], to: str, source: str, result: str, operand: str) -> str:
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

    def _memory(self, name: list[str], operands: list[str]) -> str:
        loads, space, kind = name[0] == "ld", name[1], name[-1]
        place, parts = operands if not loads else operands[::-1]
        found = re.fullmatch(r"\[\s*(\S+?)\s*(?:\+\s*(-?\d+)\s*)?\]", place)
        if not found:
            raise ValueError(place)
        base, offset = found.groups(default="0")
        if space == "param":
            wide = kind[0] + "64" if parts.startswith("%rd") else kind
            index = f"{self._operand(base, 'u64')} / 8"
            return f"{self._operand(parts, wide)} = ({_C_TYPES[kind]})m->params[{index}];"
        kind = "b" + kind[1:]  # a value that is read in a race is all ones, of any type
        start = {"global": "0", "shared": "(uint64_t)shared"}[space]
        address = f"(uint64_t){self._operand(base, 'u32' if space == 'shared' else 'u64')} + {offset} + {start}"
        return self._access(
            loads, kind, [self._operand(each, {"b8": "b16"}.get(kind, kind)) for each in _listed(parts)], address
        )

    def _access(self, loads: bool, kind: str, values: list[str], address: str) -> str:
        """Load or store these values."""
        width = int(kind[1:]) // 8
        size = width * len(values)
        if not loads:
            return (
                f"{{ {_C_TYPES[kind]} values[] = {{{', '.join(values)}}}; uint64_t a = {address}; "
                f"if (!reaches(m, {self.line}, id, a, {size}, {width}, values)) return ENDED; "
                f"memcpy((void *)a, values, {size}); }}"
            )
        taken = " ".join(f"{value} = (({_C_TYPES[kind]} *)a)[{k}];" for k, value in enumerate(values))
        racy = " ".join(f"{value} = -1;" for value in values)
        return (
            f"{{ uint64_t a = {address}; int how = reaches(m, {self.line}, id, a, {size}, {width}, 0); "
            f"if (!how) return ENDED; if (how == RACY) {{ {racy} }} else {{ {taken} }} }}"
        )


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.strip("{} ").split(",")]
