"""Final reductions: bodies that add partial results in a fixed order, and compute what needs the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ... import expr, ops
from ...graph import Graph, Node, at
from ..loops.place import MemRef
from .kernel import Kernel


@dataclass(frozen=True)
class Cut:
    """How rows of a length were cut: in parts of `share` elements, of which the last may have fewer.

    squares: the sums of squared deviations, each part's from its own mean, with the sums of the same rows.
    """

    squares: Mapping[Node, Node]
    length: int
    share: int


def _part(partial: Node, number: int) -> Node:
    """Reduction `number` of those in `partial`, of each part."""
    start = (number, *(0,) * (len(partial.shape) - 1))
    stop = (number + 1, *partial.shape[1:])
    return ops.slice_(partial, start=start, stop=stop, step=(1,) * len(partial.shape))


def _like(whole: Node, node: Node) -> Node:
    """The combined parts in the form of the reduction."""
    with at(node.span, node.scope):
        whole = ops.reshape(whole, shape=node.shape)
        return whole if whole.dtype == node.dtype else ops.cast(whole, dtype=node.dtype)


def _whole(part: Node, node: Node) -> Node:
    """A reduction of all parts, which axis 1 counts."""
    with at(node.span, node.scope):
        return (ops.sum_ if node.op is ops.sum_ else ops.max_reduce)(part, axes=(1,))


def _squares(own: Node, sums: Node, total: Node, node: Node, cut: Cut) -> Node:
    """Squared deviations from the mean of all parts, of those from the mean of each, with the sums."""
    with at(node.span, node.scope):
        count = ops.iota(shape=sums.shape, axes=(1,), dtype="i32")
        last = int(sums.shape[1]) - 1
        ends = ops.less(expr.constant(last - 1, count), count)

        def each(of_full: float, of_last: float) -> Node:
            full = expr.constant(of_full, sums)
            return expr.where(ends, expr.constant(of_last, sums), full) if left < cut.share else full

        left = cut.length - last * cut.share
        away = sums - ops.broadcast(total, shape=sums.shape) * each(cut.share / cut.length, left / cut.length)
        return ops.sum_(own + away * away * each(1 / cut.share, 1 / left), axes=(1,))


def final_reduction(
    kernel: Kernel, reductions: Sequence[Node], partial: MemRef, outputs: Sequence[Node], cut: Cut | None = None
) -> Graph:
    """The part of a kernel's body, with these outputs, that needs whole sums; the partial sums are its last operand.

    partial: the parts of each reduction, (reductions, parts) or (reductions, parts, rows).
    """
    read = ops.input_(name=f"in{len(kernel.operands)}", shape=partial.shape, dtype=partial.dtype)
    wanted = {name: node for name, node in kernel.graph.outputs.items() if node in set(outputs)}
    parts = {node: _part(read, t) for t, node in enumerate(reductions)}
    whole = {node: _whole(part, node) for node, part in parts.items()}
    if cut is not None:
        for node, total in cut.squares.items():
            whole[node] = _squares(parts[node], parts[total], whole[total], node, cut)
    return kernel.graph.with_roots(wanted, {}).rebuild({node: _like(found, node) for node, found in whole.items()})
