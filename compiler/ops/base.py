"""What a primitive is, and the table of all of them.

An op is a paragraph: type rule, numpy meaning, gradient, cost, rounding error and what it does in mixed precision
stand together. Calling it makes a node and checks it at once. How a target writes an op is that target's table
(`codegen/`); a test names the missing lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...grammar.source import UserError
from ..graph import Node, count_node, current_origin
from ..packages import Registry
from ..types import TensorType, TupleType
from .rounding import Rounding

if TYPE_CHECKING:
    from ...grammar.source import Span

Array = np.ndarray[Any, Any]
Infer = Callable[..., TensorType | TupleType]
Vjp = Callable[..., Sequence[Node | None]]
# pointwise: element by element. movement: elements of the operands, elsewhere. contract: products that are summed.
# index: rows by computed numbers. overlap: windows, summed where they meet. group: a graph or a function inside.
Family = Literal["source", "pointwise", "reduce", "movement", "contract", "index", "overlap", "group"]
# What a primitive does with numbers of 16 bits. product: multiplies them and sums in f32; exact: rounds nothing but to
# its own type; f32: computes in f32.
Policy = Literal["product", "exact", "f32"]


class TypeRuleError(Exception):
    """Operands or attributes that an op's type rule refuses; `span` is where the node would have come from.

    `build` turns it into a `SourceError` for the user; anywhere else it is a fault of a pass.
    """

    def __init__(self, message: str, span: Span | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span


@dataclass(frozen=True)
class Spelled:
    """How a target writes an elementwise op of a package.

    text: a call, with {0}, {1}, … for its operands, and for numpy {out} for the array that it fills; for `onnx`, the
    name of an elementwise operator. helper: a function `NAME` that the text calls, whole; the op's name is put into
    both.
    """

    text: str
    helper: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Op:
    """One primitive.

    infer(*types, **attrs) -> type        raises TypeRuleError
    numpy(*arrays, **attrs) -> array      the meaning; interpret gives the result its element type
    vjp(g, y, *inputs, **attrs)           a gradient (or None) for each input, as nodes; None: no input gets one
    flops(y, *types, **attrs) -> int      arithmetic operations, a multiply-add counted as two
    rounding                              how far results may lie off; None: that is said of what is inside
    policy                                what it does with numbers of 16 bits
    commutes                              whether its two operands may be exchanged, gradient and all
    spelled                               of an op from outside: how each target writes it; netc's stand in tables there
    """

    name: str
    family: Family
    infer: Infer
    numpy: Callable[..., Any]
    vjp: Vjp | None
    flops: Callable[..., int]
    rounding: Rounding | None
    policy: Policy = "f32"
    commutes: bool = False
    spelled: Mapping[str, Spelled] = field(default_factory=dict)

    def __call__(self, *inputs: Node, **attrs: Any) -> Node:
        count_node()
        origin = current_origin()
        try:
            result = self.infer(*(x.result for x in inputs), **attrs)
        except TypeRuleError as error:
            raise TypeRuleError(f"{self.name}: {error.message}", error.span or origin.span) from None
        return Node(self, inputs, attrs, result, origin)

    def written(self, target: str) -> Spelled:
        """How a target writes an op that says so itself; UserError where it does not."""
        found = self.spelled.get(target)
        if found is None:
            targets = f"only for {' and '.join(self.spelled)}" if self.spelled else "for none"
            raise UserError(f"the op `{self.name}` is not written for the target {target}, {targets}")
        text, helper = (part.replace("NAME", f"op_{self.name}") for part in (found.text, found.helper))
        return Spelled(text, helper)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


OPS: Registry[Op] = Registry("netc.ops")


def register(op: Op) -> Op:
    """Enter an op in the table; a name can be taken once."""
    OPS.enter(op.name, op)
    return op


def no_flops(*_: Any, **__: Any) -> int:
    return 0


def check(condition: bool, message: str | Callable[[], str]) -> None:
    """Refuse operands in a type rule. message: made only then, if it is a function, as long texts of types are slow."""
    if not condition:
        raise TypeRuleError(message if isinstance(message, str) else message())


def canonical_axes(axes: tuple[int, ...], rank: int) -> None:
    """Refuse axes that are not sorted, different and inside the rank."""
    check(
        axes == tuple(sorted(set(axes))) and all(0 <= a < rank for a in axes),
        f"axes {axes} are not different, ascending and below {rank}",
    )
