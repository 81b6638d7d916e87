"""Patterns over primitives for the idioms: the engine of the rewrite rules, and what is broadcast."""

from __future__ import annotations

from ..compiler import ops
from ..compiler.graph import Node
from ..passes.rules.pattern import Pattern, matches, var
from .writer import Writer

X = var("x")


def match(node: Node, pattern: Pattern) -> dict[str, Node] | None:
    """What the first way binds in which a node matches."""
    found = matches(pattern, node, {})
    return dict(found[0]) if found else None


def spread(x: Pattern) -> Pattern:
    """A value, or one broadcast to a larger shape."""
    return Pattern((ops.broadcast,), (x,))


def bare(node: Node) -> Node:
    """What is broadcast."""
    while node.op is ops.broadcast:
        node = node.inputs[0]
    return node


def vector(w: Writer, node: Node, axis: int, rank: int) -> Node | None:
    """The numbers, one for each place along an axis, that a fixed node spreads; None where it does something else."""
    inner = bare(node)
    if len(inner.shape) != rank or not w.fixed(inner) or inner.shape[axis] != node.shape[axis]:
        return None
    if any(n != 1 for i, n in enumerate(inner.shape) if i != axis):
        return None
    if inner.op is ops.reshape and len(inner.inputs[0].shape) == 1:
        return inner.inputs[0]
    return ops.reshape(inner, shape=(inner.shape[axis],))


def known(w: Writer, node: Node) -> str:
    """The name of a value that is computed beforehand: of a parameter its own."""
    if node.op is not ops.param:
        return w.constant(w.array(node))
    return w.initializer(node.attrs["name"], w.state[node.attrs["name"]])


def edges(x: Node, fill: float = 0.0) -> bool:
    """Whether a value is one in space with `fill` around it."""
    if x.op is not ops.pad or x.attrs["value"] != fill or any(x.attrs["interior"]):
        return False
    return not any((*x.attrs["low"][:2], *x.attrs["high"][:2]))


def alike(a: Node, b: Node) -> bool:
    """Whether two nodes are the same expression of the same operands."""
    waiting, seen = [(a, b)], set()
    while waiting:
        pair = waiting.pop()
        one, other = pair
        if one is other or pair in seen:
            continue
        seen.add(pair)
        if one.op is not other.op or one.attrs != other.attrs or len(one.inputs) != len(other.inputs):
            return False
        waiting += zip(one.inputs, other.inputs, strict=True)
    return True
