"""Bodies of finishing launches: they add partial results in a fixed order and compute what needs the whole."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...graph import Graph, Node, at
from .place import Place


def _piece(partial: Node, number: int, node: Node, axis: int) -> Node:
    """Reduction `number` of those in `partial`, of which `axis` counts the parts, in the form of `node`."""
    start = (number, *(0,) * (len(partial.shape) - 1))
    stop = (number + 1, *partial.shape[1:])
    with at(node.span, node.scope):
        part = ops.slice_(partial, start=start, stop=stop, step=(1,) * len(partial.shape))
        op = ops.sum_ if node.op is ops.sum_ else ops.max_reduce
        whole = ops.reshape(op(part, axes=(axis,)), shape=node.shape)
        return whole if whole.dtype == node.dtype else ops.cast(whole, dtype=node.dtype)


def _input(partial: Place, count: int) -> Node:
    return ops.input_(name=f"in{count}", shape=partial.shape, dtype=partial.dtype)


def finishing(graph: Graph, reductions: Sequence[Node], partial: Place, count: int, outputs: Sequence[Node]) -> Graph:
    """The part of a body, with these outputs, that needs whole sums.

    count: of operands. partial: the parts of each reduction, (reductions, parts) or (reductions, parts, rows).
    """
    read = _input(partial, count)
    wanted = {name: node for name, node in graph.outputs.items() if node in set(outputs)}
    return graph.with_roots(wanted, {}).rebuild({node: _piece(read, t, node, 1) for t, node in enumerate(reductions)})
