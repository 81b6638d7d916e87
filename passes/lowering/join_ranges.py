"""Horizontal fusion of updates: work over ranges of flat buffers becomes work over whole ones, in one launch.

The update of a net whose parameters have different multipliers is a `concat` of the same formula over slices. On a GPU
each would be a launch. Here the formula is applied to the whole buffers, with the multipliers chosen by the element's
number; where the formulas differ (a range without decay) both values are computed and one is chosen. Each element is
computed by the same operations as before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress

from ...compiler import expr, ops
from ...compiler.graph import Graph, Node, at, reached
from ...compiler.types import Literal

# Nodes that one flat formula may take: where all ranges differ, choosing between them would outgrow the formulas.
MOST_NODES = 200


def whole_buffers(graph: Graph) -> Graph:
    """The graph with flat concats of pointwise work replaced by the same work over whole arrays, where that can be."""
    joined: dict[tuple[int, ...], _Whole] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is ops.concat and len(node.shape) == 1 and all(x.op.family == "pointwise" for x in inputs):
            sizes = tuple(int(x.type.count) for x in inputs)
            whole = joined.setdefault(sizes, _Whole(sizes))
            with at(node.span, node.scope), suppress(_Apart):
                whole.find(inputs)
                return whole.of(inputs)
        return node.with_inputs(inputs)

    return graph.mapped(make)


class _Apart(Exception):
    """The parts are no work over the same flat arrays."""


class _Whole:
    """Nodes over all elements, made from a node for each range."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self.starts = [stop - size for stop, size in zip(self.stops, sizes, strict=True)]
        self.length = self.stops[-1]
        self.known: dict[tuple[Node | None, ...], Node] = {}
        self.tests: dict[int, Node] = {}
        self.lies: dict[tuple[int, Node], Node] = {}  # the concat in which a node lies, from an element on

    def find(self, parts: Sequence[Node]) -> None:
        """Find the arrays of the whole length that parts are computed from, and what lies where in them."""
        for x in reached(parts, lambda x: x.inputs if x.op.family == "pointwise" or x.op is ops.slice_ else ()):
            if x.op is ops.concat and x.shape == (self.length,):
                start = 0
                for operand in x.inputs:
                    self.lies[start, operand] = x
                    start += int(operand.type.count)

    def of(self, parts: Sequence[Node | None]) -> Node:
        """The node that is parts[i] in range i. None: what it is in that range is not asked for."""
        key = tuple(parts)
        if key not in self.known:
            if len(self.known) > MOST_NODES:
                raise _Apart
            self.known[key] = self._made(key)
        return self.known[key]

    def _made(self, parts: tuple[Node | None, ...]) -> Node:
        given = [(i, x) for i, x in enumerate(parts) if x is not None]
        first = given[0][1]
        if (same := self._number(given)) is not None:
            return same
        if first.op.family == "pointwise" and all(x.op is first.op and x.attrs == first.attrs for _, x in given):
            operands = (self._over((i, x.inputs[k]) for i, x in given) for k in range(len(first.inputs)))
            return first.op(*operands, **first.attrs)
        if not any(x.op.family in ("pointwise", "source") for _, x in given):
            arrays = [x.inputs[0] for _, x in given if x.op is ops.slice_]
            arrays += [self.lies[self.starts[i], x] for i, x in given if (self.starts[i], x) in self.lies]
            if arrays:
                return self._sliced(arrays[0], given)
            if len(given) == len(parts):
                # Gradients, each in its place.
                return ops.concat(*(x for _, x in given), axis=0)
        return self._chosen(given)

    def _over(self, given: Iterable[tuple[int, Node]]) -> Node:
        """The node over all elements that is each of these in its range."""
        known = dict(given)
        return self.of([known.get(i) for i in range(len(self.stops))])

    def _number(self, given: list[tuple[int, Node]]) -> Node | None:
        """Of numbers, each the same in all of its range: the number, or a choice."""
        numbers = [(i, _number(x, self.length)) for i, x in given]
        found = [(i, x) for i, x in numbers if x is not None]
        if len(found) < len(given):
            return None
        values = {_same_number(x) for _, x in found}
        return found[0][1] if len(values) == 1 else self._choice(found)

    def _sliced(self, array: Node, given: list[tuple[int, Node]]) -> Node:
        """The array of which each part is its own range: a slice, or what was concatenated to make that range."""
        if array.shape != (self.length,):
            raise _Apart
        for i, x in given:
            slice_ = x.op is ops.slice_ and (x.inputs[0], x.attrs["start"], x.attrs["stop"], x.attrs["step"])
            lies = self.lies.get((self.starts[i], x)) is array
            if slice_ != (array, (self.starts[i],), (self.stops[i],), (1,)) and not lies:
                raise _Apart
        return array

    def _chosen(self, given: list[tuple[int, Node]]) -> Node:
        """A choice between different formulas. One that only adds something to the others' is told apart by that."""
        if len(given) == 1:
            raise _Apart
        adds = [(i, x) for i, x in given if x.op is ops.add]
        if adds and len(adds) < len(given):
            for k in (0, 1):
                try:
                    base = self._over((i, x.inputs[k] if x.op is ops.add else x) for i, x in given)
                    added = ops.add(base, self._over((i, x.inputs[1 - k]) for i, x in adds))
                except _Apart:
                    continue
                kinds = {i for i, _ in adds}
                return self._choice([(i, added if i in kinds else base) for i, _ in given])
        return self._choice([(i, self._over([(i, x)])) for i, x in given])

    def _choice(self, given: list[tuple[int, Node]]) -> Node:
        """Of nodes over all elements, that of the range in which an element lies."""
        *front, (_, chosen) = given
        for i, x in reversed(front):
            if x is not chosen:
                chosen = expr.where(self._before(i), x, chosen)
        return chosen

    def _before(self, i: int) -> Node:
        """Whether an element lies in range i or before it."""
        key = self.stops[i]
        if key not in self.tests:
            number = ops.iota(shape=(self.length,), axes=(0,), dtype="i32" if self.length < 2**31 else "i64")
            self.tests[key] = ops.less(number, expr.constant(key, number))
        return self.tests[key]


def _number(node: Node, length: int) -> Node | None:
    """A constant or a repeated number, repeated to a length."""
    if node.op is ops.const and not isinstance(node.attrs["value"], Literal):
        return ops.const(value=node.attrs["value"], shape=(length,), dtype=node.dtype)
    if node.op is ops.broadcast and math.prod(node.inputs[0].shape) == 1:
        return ops.broadcast(expr.reshape(node.inputs[0], (1,)), shape=(length,))
    return None


def _same_number(node: Node) -> object:
    return node.inputs[0] if node.op is ops.broadcast else (node.attrs["value"], node.dtype)
