"""The dialect of C: one element at a time, in GNU C for gcc and clang.

NaN and infinity mean what they mean in `compiler.ops`; a float16 is a `_Float16`, a bfloat16 the upper half of a float.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...graph import Node
from ..loops.dialect import Dialect
from ..loops.place import ATOM, OTHER, UNARY, MemRef, Number, Value
from ..loops.pointwise import spelled
from .spelling import RENAMED, SPELL

if TYPE_CHECKING:
    from ..loops.body import Body

TYPES = {
    "f32": "float",
    "f64": "double",
    "f16": "_Float16",
    "bf16": "uint16_t",
    "i32": "int32_t",
    "i64": "int64_t",
    "u8": "uint8_t",
    "u32": "uint32_t",
    "bool": "bool",
}


class _C(Dialect):
    """See `Dialect`. far: numbers of elements do not fit 32 bits."""

    quotient, conjunction = "/", " & "
    renamed: Mapping[str, str] = RENAMED

    def __init__(self, far: bool = False) -> None:
        self.whole = "int64_t" if far else "int32_t"

    def number(self, value: Number, dtype: str) -> str:
        if dtype == "bool" or dtype[0] in "iu":
            return _whole(int(value), dtype)
        single = dtype != "f64"
        value = float(value)
        with np.errstate(over="ignore"):
            large = bool(np.isinf(np.float32(value) if single else value))
        if large:
            return "INFINITY" if value > 0 else "-INFINITY"
        return "NAN" if math.isnan(value) else f"{value!r}{'f' if single else ''}"

    def cast(self, value: Value, dtype: str) -> tuple[str, int]:
        if value.dtype == "bf16":
            value = value.but(text=f"from_bf16({value.text})", tight=ATOM, dtype="f32")
        if dtype == "bf16":
            return f"to_bf16({value.text})", ATOM
        return (value.text, value.tight) if value.dtype == dtype else (f"({TYPES[dtype]}){value.within(ATOM)}", UNARY)

    def spell(self, body: Body, node: Node, values: Sequence[Value]) -> Value:
        spelling = SPELL.get(node.op.name) or spelled(node.op, "c")
        return spelling(body, node, values)

    def select(self, condition: Value, a: Value, b: Value) -> str:
        return f"({condition.within(OTHER)} ? {a.text} : {b.text})"

    def random(self, body: Body, seed: Value, step: Value, stream: int, number: Value) -> str:
        return f"random_bits({seed.text}, {step.text}, {stream}, {number.text})"

    def type_of(self, dtype: str) -> str:
        """The type in which a value is held: those of `i32` may be numbers of elements."""
        return self.whole if dtype == "i32" else TYPES[dtype]

    def define(self, name: str, value: Value) -> str:
        return f"const {self.type_of(value.dtype)} {name} = {value.text};"

    def variable(self, name: str, start: Value, shape: Sequence[str]) -> str:
        return f"{self.type_of(start.dtype)} {name} = {start.text};"

    def update(self, name: str, text: str, sign: str = "") -> str:
        return f"{name} {sign}= {text};"

    def loop(self, name: str, count: int, *, unrolled: bool) -> tuple[str, str]:
        unroll = f"#pragma GCC unroll {count}\n" if unrolled else ""
        return f"{unroll}for ({self.whole} {name} = 0; {name} < {count}; {name}++) {{", "}"

    def lanes(self, name: str, count: int) -> tuple[str, str]:
        head, end = self.loop(name, count, unrolled=False)
        return f"#pragma omp simd\n{head}", end

    def branch(self, condition: Value) -> tuple[str, str]:
        return f"if ({condition.text}) {{", "}"

    def load(self, place: MemRef, address: Value, mask: Value | None, other: str, dtype: str, *, again: bool) -> str:
        text = f"{place.name}[{address.text}]"
        if mask is None:
            return text
        other = other or "0"
        return f"{mask.within(OTHER)} ? {text} : {f'to_bf16({other})' if place.dtype == 'bf16' else other}"

    def store(self, place: MemRef, address: Value, value: Value, mask: Value | None) -> str:
        text = value.text
        if place.dtype == "bf16" and value.dtype != "bf16":
            text = f"to_bf16({text})"
        return f"{f'if ({mask.text}) ' if mask is not None else ''}{place.name}[{address.text}] = {text};"


def _whole(value: int, dtype: str) -> str:
    """A whole number, with a suffix where its type would be another; C has no literal for the least ones."""
    if dtype in ("i32", "i64") and value == np.iinfo(f"int{dtype[1:]}").min:
        return f"INT{dtype[1:]}_MIN"
    return f"{value}u" if dtype == "u32" else f"{value}"


C: Dialect = _C()
FAR: Dialect = _C(far=True)


def type_of(body: Body, dtype: str) -> str:
    """The type in which a body of C holds values of an element type; `i32` is for numbers of elements, too."""
    assert isinstance(body.dialect, _C)
    return body.dialect.type_of(dtype)
