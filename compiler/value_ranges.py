"""Value ranges of inputs: which of them number classes or rows of a table, so that numbers beyond are refused.

A layer that reads labels compares them with the numbers of the classes (`equal` with an `iota` along the class axis),
and one that looks rows up gathers them. Both are looked for in the graph, so any layer written so is found. What is
computed from other values has no range: a target takes the nearest row for a number beyond a table.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import ops
from .graph import Node
from .net import Net
from .program import ValueRange

VIEWS = (ops.broadcast, ops.reshape, ops.transpose, ops.cast)


def value_ranges(net: Net) -> tuple[ValueRange, ...]:
    """For each input that is read as labels or rows, and each layer that does: the numbers there are."""
    ignored = {row.name: dict(row.settings).get("ignore") for row in net.layers}
    places = {row.name: f"{row.span.file}:{row.span.line}" for row in net.layers}
    found = {
        ValueRange(name, count, ignored.get(layer), what, f"`{layer}` ({places.get(layer, net.name)})")
        for name, count, what, layer in _numbered(net)
    }
    return tuple(sorted(found, key=lambda one: (one.input, one.count, one.reader)))


def _numbered(net: Net) -> Iterator[tuple[str, int, str, str]]:
    for node in net.graph.order:
        if node.op is ops.gather:
            source = _source(node.inputs[1])
            if source.op is ops.input_:
                yield source.attrs["name"], int(node.inputs[0].shape[0]), "rows", node.scope
        if node.op is not ops.equal:
            continue
        for classes, label in (node.inputs, reversed(node.inputs)):
            grid, source = _source(classes), _source(label)
            if grid.op is ops.iota and len(grid.attrs["axes"]) == 1 and source.op is ops.input_:
                yield source.attrs["name"], int(grid.shape[grid.attrs["axes"][0]]), "classes", node.scope


def _source(node: Node) -> Node:
    """What a view is a view of, with all of its elements."""
    while node.op in VIEWS:
        node = node.inputs[0]
    return node
