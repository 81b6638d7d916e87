"""Memory references and values: where what a kernel reads and writes lies, and what stands for a value in its text."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...loops.view import Expr, Guard, Index, Var
from ..strides import Ints, order_of

Number = float | int | bool
# A condition under which an element exists: a guard of a view, or a loop variable that may run over its end.
Condition = Guard | Var

FAR = 2**31

# How tightly the text of a value binds: what is looser than its surroundings is put in parentheses.
OTHER, SUM, PRODUCT, UNARY, ATOM = range(5)


@dataclass(frozen=True)
class MemRef:
    """Memory of an operand or a result.

    name: of the pointer. strides: in elements, for each axis. dtype: of the elements in memory. aligned: the pointer is
    a multiple of 16 bytes. count: elements of the buffer from the pointer on. memory: equal for two that overlap.
    """

    name: str
    shape: Ints
    strides: Ints
    dtype: str
    aligned: bool = True
    count: int = 0
    memory: str = ""

    def address(self, index: Index) -> Expr:
        """The number of an element in the buffer."""
        total = Expr.of(0)
        for i, n, stride in zip(index, self.shape, self.strides, strict=True):
            if n != 1:
                total += i * stride
        return total

    @property
    def far(self) -> bool:
        """Whether numbers of elements do not fit 32 bits."""
        return max(self.count, math.prod(self.shape), self.reach) >= FAR

    @property
    def reach(self) -> int:
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True) if n)

    @property
    def order(self) -> Ints:
        """The axes from the outermost to the innermost; those of size 1 stay in front of what they stood before."""
        return order_of(self.shape, self.strides)


@dataclass(frozen=True)
class Spread:
    """How the values of a variable are shared out: `block` of them to each of so many programs on an axis of the grid.

    Variables that share an axis share its name.
    """

    axis: str
    programs: int
    block: int


@dataclass(frozen=True)
class LoopVariable:
    """A loop variable in the text.

    axes: the dimensions of the block along which it varies. inside: the text that says whether it is below its end;
    empty where it cannot pass it. level: the depth of the loop that sets it. spread: over programs, if it is.
    """

    text: str
    axes: frozenset[int]
    inside: str
    level: int
    spread: Spread | None = None


@dataclass(frozen=True)
class Value:
    """A value in the text.

    dtype: in which it is held (half precision is computed in f32). axes: the dimensions of the block along which it
    varies. level: the depth of the innermost loop on which it depends. number: a number, not a tensor. filled: the
    conditions outside of which it is `fill` already. hint: what it is called when it gets a name.
    """

    text: str
    dtype: str
    axes: frozenset[int] = frozenset()
    level: int = 0
    tight: int = ATOM
    number: Number | None = None
    filled: frozenset[Condition] = frozenset()
    fill: Number | None = None
    hint: str = "v"

    def within(self, least: int) -> str:
        """The text as part of something that binds at least so tightly."""
        return self.text if self.tight >= least else f"({self.text})"

    def but(self, **changes: object) -> Value:
        return replace(self, **changes)  # type: ignore[arg-type]
