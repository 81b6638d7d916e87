"""What a node reads from memory, and by which digits of its own number (see `compiler.digits`)."""

from __future__ import annotations

from ...compiler import ops
from ...compiler.graph import Node
from ...compiler.kernel import window_axes
from ...compiler.loops.digits import Digits, composed, same, through
from ...compiler.loops.domain import is_structure
from .materialize import Stores

# A stored node, and the digits by which it is read; None where it is not read by digits of the reader's number.
Read = tuple[Node, Digits | None]


def reads(stores: Stores, node: Node) -> list[Read]:
    """The stored nodes that computing `node` reads, through whatever is read through; digits: of a sum's operand."""
    found: dict[Read, None] = {}
    begin = _first(node)
    stack: list[Read] = [(x, begin) for x in node.inputs]
    seen = set(stack)
    while stack:
        x, digits = stack.pop()
        if stores.stored(x):
            found[x, digits] = None
            continue
        step: Digits | None = None
        if digits is not None and x.op.family == "pointwise":
            step = digits
        elif digits is not None and x.op.family == "movement" and len(x.inputs) == 1:
            by = through(x)
            step = None if by is None else composed(digits, by)
        for operand in x.inputs:
            if (operand, step) not in seen:
                seen.add((operand, step))
                stack.append((operand, step))
    return list(found)


def _first(node: Node) -> Digits | None:
    """By which digits the operands are read."""
    if node.op.family == "pointwise":
        return same(node.type.count)
    if node.op.family == "reduce" and not window_axes(node):
        return same(node.inputs[0].type.count)
    if node.op.family == "movement":
        return through(node)
    return None


def takes_tiles(node: Node) -> bool:
    """Whether a node reads its operands in an order of its own, again and again: products, scatters and gathers."""
    return (is_structure(node) and node.op.family != "reduce") or node.op is ops.gather


def positions(node: Node) -> int:
    """How often a node that reads windows may take one element of its operand; 1 for others."""
    if node.op is ops.unwindow:
        found = 1
        for size in node.attrs["sizes"]:
            found *= size
        return found
    found = 1
    if window_axes(node):
        for axis in node.attrs["axes"]:
            found *= int(node.inputs[0].shape[axis])
    return found
