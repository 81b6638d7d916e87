"""The dialect of Triton: values are tensors over a kernel's block, and choices are made element by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ..loops.dialect import Dialect
from ..loops.place import ATOM, OTHER, PRODUCT, SUM, MemRef, Number, Value
from ..loops.pointwise import spelled
from ..names import number_text
from .spelling import SPELL

if TYPE_CHECKING:
    from ..loops.body import Body

TYPES = {
    "f32": "tl.float32",
    "f64": "tl.float64",
    "f16": "tl.float16",
    "bf16": "tl.bfloat16",
    "i32": "tl.int32",
    "i64": "tl.int64",
    "u8": "tl.uint8",
    "u32": "tl.uint32",
    "bool": "tl.int1",
}
RANDOM_BITS = '''@triton.jit
def random_bits(seed, step, stream, i):
    """Number i of a stream of random u32: Philox4x64-10 (Salmon et al., 2011), eight to a block, low halves first.

    The key is (seed, 0), the counter of block b is (1 + b, step, stream, 0).
    """
    block = (i // 8 + 1).to(tl.uint64)
    zero = block * 0
    a, b, c, d = tl.philox(seed, block, zero + step.to(tl.uint64), zero + stream, zero)
    low, high = tl.where(i % 4 < 2, a, b), tl.where(i % 4 < 2, c, d)
    both = tl.where(i % 8 < 4, low, high)
    return tl.where(i % 2 == 0, both, both >> 32).to(tl.uint32)
'''


def pointer(place: MemRef, address: Value) -> str:
    """The elements with these numbers."""
    return place.name if address.number == 0 else f"{place.name} + {address.within(PRODUCT)}"


def stored(where: str, value: Value, mask: Value | None) -> str:
    """The statement that stores at a pointer."""
    return f"tl.store({where}, {value.text}{f', mask={mask.text}' if mask is not None else ''})"


class _Triton(Dialect):
    """See `Dialect`."""

    quotient, conjunction = "//", " & "
    renamed: Mapping[str, str] = {
        "max": "larger",
        "min": "smaller",
        "abs": "size",
        "pow": "raised",
        "tanh": "bent",
        "exp": "e",
        "sum": "total",
    }

    def number(self, value: Number, dtype: str) -> str:
        return number_text(value, dtype, 'float("inf")', 'float("nan")')

    def typed(self, value: Value) -> str:
        return f"tl.full((), {value.text}, {TYPES[value.dtype]})"

    def cast(self, value: Value, dtype: str) -> tuple[str, int]:
        text = f"{value.within(ATOM)}.to({TYPES[dtype]})" if value.axes else f"tl.cast({value.text}, {TYPES[dtype]})"
        return text, ATOM

    def spell(self, body: Body, node: Node, values: Sequence[Value]) -> Value:
        spelling = SPELL.get(node.op.name) or spelled(node.op, "triton")
        return spelling(body, node, values)

    def select(self, condition: Value, a: Value, b: Value) -> str:
        return f"tl.where({condition.text}, {a.text}, {b.text})"

    def larger(self, best: str, value: Value) -> str:
        return f"{best} | {value.within(SUM)}" if value.dtype == "bool" else f"tl.maximum({best}, {value.text})"

    def better(self, value: Value, best: str) -> Value:
        text = f"{value.text} & ~{best}" if value.dtype == "bool" else f"{value.text} > {best}"
        return Value(text, "bool", value.axes, value.level, OTHER)

    def clip(self, value: Value, size: int) -> str:
        return f"tl.minimum(tl.maximum({value.text}, 0), {size - 1})"

    def random(self, body: Body, seed: Value, step: Value, stream: int, number: Value) -> str:
        body.helpers["random_bits"] = RANDOM_BITS
        i = number.text if number.axes else f"tl.full((1,), {number.text}, tl.int32)"
        text = f"random_bits({body.typed(seed).text}, {body.typed(step).text}, {stream}, {i})"
        return text if number.axes else f"tl.max({text}, 0)"

    def variable(self, name: str, start: Value, shape: Sequence[str]) -> str:
        block, dtype = f"[{', '.join(shape)}]" if shape else "()", TYPES[start.dtype]
        zeros = bool(shape) and start.number == 0
        return f"{name} = tl.zeros({block}, {dtype})" if zeros else f"{name} = tl.full({block}, {start.text}, {dtype})"

    def loop(self, name: str, count: int, *, unrolled: bool) -> tuple[str, str]:
        return f"for {name} in {'tl.static_range' if unrolled else 'range'}({count}):", ""

    def branch(self, condition: Value) -> tuple[str, str]:
        return f"if {condition.text}:", ""

    def load(self, place: MemRef, address: Value, mask: Value | None, other: str, dtype: str, *, again: bool) -> str:
        text = f"tl.load({pointer(place, address)}"
        if mask is not None:
            text += f", mask={mask.text}{f', other={other}' if other else ''}"
        text += ', cache_modifier=".ca")' if again else ")"
        return text if place.dtype == dtype else f"{text}.to({TYPES[dtype]})"

    def store(self, place: MemRef, address: Value, value: Value, mask: Value | None) -> str:
        return stored(pointer(place, address), value, mask)


TRITON: Dialect = _Triton()
