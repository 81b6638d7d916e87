"""A target language as the evaluator sees it: how it spells numbers, statements, loops, memory and choices.

Whatever a kernel computes, the evaluator asks for it by these members alone, so a new target is one more of them.
Text that is returned is an expression, or, where it says so, a statement with what ends it. What has a body here is so
in most languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ...graph import Node
from .place import OTHER, SUM, MemRef, Number, Value

if TYPE_CHECKING:
    from .body import Body


class Dialect(Protocol):
    """quotient: the sign between whole numbers of which none is negative. conjunction: what stands between conditions,
    with its spaces. renamed: what a value is called that would else hide a word of the language."""

    quotient: str
    conjunction: str
    renamed: Mapping[str, str]

    def number(self, value: Number, dtype: str) -> str:
        """A literal."""
        ...

    def typed(self, value: Value) -> str:
        """A number so that it has the value's type whatever stands beside it."""
        return value.text

    def cast(self, value: Value, dtype: str) -> tuple[str, int]:
        """A value converted, and how tightly that binds."""
        ...

    def spell(self, body: Body, node: Node, values: Sequence[Value]) -> Value:
        """A pointwise primitive of operands that are there; `pointwise.COMMON` has what most languages write alike."""
        ...

    def select(self, condition: Value, a: Value, b: Value) -> str:
        """`a` where the condition holds, else `b`."""
        ...

    def larger(self, best: str, value: Value) -> str:
        """The larger of a running maximum and a value; what is not a number loses against any other."""
        return self.select(self.better(value, best), value, Value(best, value.dtype))

    def better(self, value: Value, best: str) -> Value:
        """Whether a value is larger than a running maximum."""
        return Value(f"{value.within(SUM)} > {best}", "bool", value.axes, value.level, OTHER)

    def clip(self, value: Value, size: int) -> str:
        """The number of a row, brought into 0 <= row < size."""
        small, below = (Value(f"{value.within(SUM)} < {n}", "bool", tight=OTHER) for n in (size, 0))
        capped = self.select(small, value, Value(str(size - 1), value.dtype))
        return self.select(below, Value("0", value.dtype), Value(capped, value.dtype))

    def random(self, body: Body, seed: Value, step: Value, stream: int, number: Value) -> str:
        """Number `number` of a stream of random u32, as `compiler.ops` numbers them."""
        ...

    def define(self, name: str, value: Value) -> str:
        """A statement: a name for a value that does not change."""
        return self.update(name, value.text)

    def variable(self, name: str, start: Value, shape: Sequence[str]) -> str:
        """A statement: a running value. shape: its dimensions, of those of the kernel's block; () for a single one."""
        return self.update(name, start.text)

    def update(self, name: str, text: str, sign: str = "") -> str:
        """A statement: a running value becomes `text`, or with a sign grows by it."""
        return f"{name} {sign}= {text}"

    def loop(self, name: str, count: int, *, unrolled: bool) -> tuple[str, str]:
        """The head of a loop over 0 <= name < count, and what ends it: "" where indentation does."""
        ...

    def lanes(self, name: str, count: int) -> tuple[str, str]:
        """The same for an innermost loop whose turns do not need each other."""
        return self.loop(name, count, unrolled=False)

    def branch(self, condition: Value) -> tuple[str, str]:
        """The head and the end of what is done only where a condition holds, one that is not a block of them."""
        ...

    def load(self, place: MemRef, address: Value, mask: Value | None, other: str, dtype: str, *, again: bool) -> str:
        """An element, read only where the mask holds, elsewhere `other` ("": anything).

        dtype: that it is to have, where it is stored in another. again: the program reads its neighbours soon.
        """
        ...

    def store(self, place: MemRef, address: Value, value: Value, mask: Value | None) -> str:
        """A statement: an element is written where the mask holds."""
        ...
