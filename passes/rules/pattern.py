"""Patterns over trees of nodes: what a rule looks for.

    of(ops.add, var("x"), number(0.0))        x + 0, in either order: add, mul and equal commute

A name that stands twice must match the same node; since the engine shares equal nodes, that is equality of values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...compiler import ops
from ...compiler.graph import Node
from ...compiler.ops import Op
from ...compiler.ops.base import Family
from ...compiler.ops.source import splat

Condition = Callable[[Node], bool]
Found = Mapping[str, Node]


@dataclass(frozen=True)
class Pattern:
    """A node of one of `ops` (any op if there are none) whose inputs match `inputs` (any inputs if None).

    ops: by themselves or by family. name binds the node; `when` is asked before the inputs.
    """

    ops: tuple[Op | Family, ...] = ()
    inputs: tuple[Pattern, ...] | None = None
    name: str = ""
    when: Condition | None = None

    def takes(self, op: Op) -> bool:
        return not self.ops or op in self.ops or op.family in self.ops


def var(name: str = "", when: Condition | None = None) -> Pattern:
    """Any node."""
    return Pattern((), None, name, when)


def of(
    op: Op | Family | tuple[Op | Family, ...], *inputs: Pattern, name: str = "", when: Condition | None = None
) -> Pattern:
    """A node of an op or a family (or of one of several); without `inputs`, whatever it is applied to."""
    return Pattern(op if isinstance(op, tuple) else (op,), inputs or None, name, when)


def number(value: float, name: str = "") -> Pattern:
    """The constant that is `value` everywhere."""
    return Pattern((ops.const,), None, name, lambda node: splat(node) == value)


def constant(name: str = "") -> Pattern:
    """A constant that is one number everywhere."""
    return Pattern((ops.const,), None, name, lambda node: splat(node) is not None)


def matches(pattern: Pattern, node: Node, found: Found) -> Sequence[Found]:
    """Every way in which the node matches, given what is bound already."""
    if not pattern.takes(node.op):
        return ()
    if pattern.when is not None and not pattern.when(node):
        return ()
    inputs = pattern.inputs
    if inputs is not None and len(inputs) != len(node.inputs):
        return ()
    if pattern.name:
        bound = found.get(pattern.name)
        if bound is not None:
            return (found,) if bound is node else ()
        found = {**found, pattern.name: node}
    if inputs is None:
        return (found,)
    all_found = _in_order(inputs, node.inputs, found)
    if node.op.commutes and node.inputs[0] is not node.inputs[1]:
        return [*all_found, *_in_order(inputs, node.inputs[::-1], found)]
    return all_found


def _in_order(patterns: tuple[Pattern, ...], nodes: tuple[Node, ...], found: Found) -> Sequence[Found]:
    ways: Sequence[Found] = (found,)
    for pattern, node in zip(patterns, nodes, strict=True):
        # Nearly always there is one way so far.
        ways = (
            matches(pattern, node, ways[0])
            if len(ways) == 1
            else [more for way in ways for more in matches(pattern, node, way)]
        )
        if not ways:
            return ()
    return ways


def fits(pattern: Pattern, op: Op, operands: tuple[Op, ...]) -> bool:
    """Whether a node of this op on operands of those ops could match."""
    if not pattern.takes(op):
        return False
    if pattern.inputs is None:
        return True
    if len(pattern.inputs) != len(operands):
        return False
    orders = [operands, operands[::-1]] if op.commutes else [operands]
    return any(all(p.takes(x) for p, x in zip(pattern.inputs, o, strict=True)) for o in orders)
