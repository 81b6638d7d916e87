"""Broadcasting: arithmetic on nodes as numpy has it, with numbers beside tensors, and the operators of `Node`.

The primitives themselves want equal shapes and element types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph import OPERATORS, Node
from ..types import Dim, holds
from . import movement, pointwise
from .base import TypeRuleError
from .source import const

Operand = Node | float


def constant(value: float, like: Node) -> Node:
    """A number in the shape and element type of a node; TypeRuleError where that type does not hold it."""
    if not holds(like.dtype, value):
        advice = "it is too large for that type" if like.type.is_float else "cast to f32 first"
        raise TypeRuleError(f"{value} among {like.type}: {advice}")
    return const(value=value if like.type.is_float else int(value), shape=like.shape, dtype=like.dtype)


def reshape(x: Node, shape: Sequence[int]) -> Node:
    """x in another shape; itself where that is its own."""
    return x if tuple(shape) == x.shape else movement.reshape(x, shape=tuple(shape))


def broadcast_to(x: Node, shape: Sequence[int]) -> Node:
    """numpy's broadcasting: axes of size 1 are added in front and repeated."""
    shape = tuple(shape)
    full = reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape)
    return full if full.shape == shape else movement.broadcast(full, shape=shape)


def common_shape(*nodes: Node) -> tuple[int, ...]:
    """The shape to which all broadcast; TypeRuleError when there is none."""
    rank = max(len(x.shape) for x in nodes)
    shape: list[int] = []
    for i in range(-rank, 0):
        sizes = [x.shape[i] for x in nodes if -i <= len(x.shape)]
        wide = [n for n in sizes if n != 1]
        if any(n != wide[0] for n in wide):
            raise TypeRuleError(f"{' and '.join(str(x.type) for x in nodes)} do not broadcast together")
        # Where all are 1, a batch of one record still has its name.
        shape.append(wide[0] if wide else next((n for n in sizes if isinstance(n, Dim)), 1))
    return tuple(shape)


def together(*operands: Operand) -> list[Node]:
    """All operands in one shape and, numbers aside, as they are."""
    nodes = [x for x in operands if isinstance(x, Node)]
    if not nodes:
        raise TypeRuleError("one operand at least must be a tensor")
    shape = common_shape(*nodes)
    first = nodes[0]
    like = const(value=0, shape=shape, dtype=first.dtype)
    return [broadcast_to(x, shape) if isinstance(x, Node) else constant(x, like) for x in operands]


def _binary(op: Callable[..., Node]) -> Callable[[Operand, Operand], Node]:
    def call(a: Operand, b: Operand) -> Node:
        return op(*together(a, b))

    return call


add = _binary(pointwise.add)
mul = _binary(pointwise.mul)
div = _binary(pointwise.div)
pow = _binary(pointwise.pow_)
maximum = _binary(pointwise.maximum)
minimum = _binary(pointwise.minimum)
less = _binary(pointwise.less)
equal = _binary(pointwise.equal)


def neg(x: Node) -> Node:
    return pointwise.neg(x)


def sub(a: Operand, b: Operand) -> Node:
    """a - b; there is no primitive for it: targets write `add(a, neg(b))` as one subtraction."""
    a, b = together(a, b)
    return pointwise.add(a, pointwise.neg(b))


OPERATORS.update(add=add, sub=sub, mul=mul, div=div, pow=pow, less=less, neg=neg)
