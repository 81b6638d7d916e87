"""Value ranges: which numbers are labels of classes or indices of rows, so that those beyond are refused or flagged.

A layer that reads labels compares them with the numbers of the classes (`equal` with an `iota` along the class axis),
and one that looks rows up gathers them. Both are looked for in the graph, so any layer written so is found. Those that
a program is fed are checked before it runs. Of those that a layer is given by others the program itself finds the ones
beyond, and leaves a flag among its outputs: a target takes the nearest row for a number beyond a table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from . import expr, ops
from .graph import Graph, Node, at
from .net import Net
from .program import ValueRange

VIEWS = (ops.broadcast, ops.reshape, ops.transpose, ops.cast)
FLAG = ".outside."  # before the number of an output that tells of numbers beyond their range


@dataclass(frozen=True)
class _Reading:
    """A node that reads numbers: those of `source`, of which there are `count`, for a layer."""

    node: Node
    source: Node
    count: int
    what: str

    @property
    def fed(self) -> bool:
        """Whether the numbers are an input's."""
        return self.source.op is ops.input_

    @property
    def given(self) -> bool:
        """Whether they come from elsewhere: what a layer numbers itself needs no check."""
        return not self.fed and self.source.scope != self.node.scope


def value_ranges(net: Net) -> tuple[ValueRange, ...]:
    """For all that is read as labels or rows, and each layer that does: the numbers there are.

    Those of inputs come first; of the others each has the flag that `with_flags` gives it.
    """
    ignored = {row.name: dict(row.settings).get("ignore") for row in net.layers}
    places = {row.name: f"{row.span.file}:{row.span.line}" for row in net.layers}

    def found(one: _Reading, flag: str = "") -> ValueRange:
        layer = one.node.scope
        reader = f"`{layer}` ({places.get(layer, net.name)})"
        name = one.source.attrs["name"] if one.fed else ""
        return ValueRange(name, one.count, ignored.get(layer), one.what, reader, flag)

    fed = {found(one) for one in _readings(net.graph) if one.fed}
    flagged = [found(one, f"{FLAG}{k}") for k, one in enumerate(_computed(net.graph))]
    return (*sorted(fed, key=lambda one: (one.input, one.count, one.reader)), *flagged)


def with_flags(net: Net) -> Graph:
    """The net's graph with an output for each layer that is given computed labels or indices: below 0 where all are
    such as it can know."""
    flags = {one.flag: one for one in value_ranges(net) if one.flag}
    outputs = dict(net.graph.outputs)
    for one, (flag, range_) in zip(_computed(net.graph), flags.items(), strict=True):
        with at(one.node.span, one.node.scope):
            outputs[flag] = _beyond(one.source, range_)
    return net.graph.with_roots(outputs) if flags else net.graph


def _beyond(x: Node, range_: ValueRange) -> Node:
    """As i32, by how much any number is beyond the range; below 0 where none is."""
    if x.dtype == "i32":
        far = expr.maximum(expr.sub(x, range_.count), expr.sub(-1, x))
    else:  # where NaN, which no maximum keeps, is beyond
        inside = expr.logical_and(expr.less(-1, x), expr.less(x, range_.count))
        far = expr.neg(expr.cast(inside, "i32"))
    if range_.ignored is not None:
        far = expr.where(expr.equal(expr.cast(x, "i32"), range_.ignored), -1, far)
    return expr.max(far)


def _computed(graph: Graph) -> list[_Reading]:
    """Where layers are given numbers that are no inputs; once for what a layer reads several times."""
    found = {(one.source, one.count, one.node.scope): one for one in _readings(graph) if one.given}
    return [*found.values()]


def _readings(graph: Graph) -> Iterator[_Reading]:
    for node in graph.order:
        if node.op is ops.gather:
            yield _Reading(node, _source(node.inputs[1]), int(node.inputs[0].shape[0]), "rows")
        if node.op is not ops.equal:
            continue
        for classes, label in (node.inputs, reversed(node.inputs)):
            grid, source = _source(classes), _source(label)
            if grid.op is ops.iota and len(grid.attrs["axes"]) == 1 and source.op is not ops.iota:
                yield _Reading(node, source, int(grid.shape[grid.attrs["axes"][0]]), "classes")


def _source(node: Node) -> Node:
    """What a view is a view of, with all of its elements."""
    while node.op in VIEWS:
        node = node.inputs[0]
    return node
