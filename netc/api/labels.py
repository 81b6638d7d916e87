"""Value ranges of labels: which inputs of a net are labels, of how many classes, so that other data are refused.

A layer that reads labels compares them with the numbers of the classes (`equal` with an `iota` along the class axis).
That comparison is looked for in the graph, so any layer written so is found, and a label computed from others is not.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.net import Net
from ..runtime.data import LabelRange

VIEWS = (ops.broadcast, ops.reshape, ops.cast)


def label_ranges(net: Net) -> tuple[LabelRange, ...]:
    """For each input that is read as labels, and each layer that does: the classes there are and the label ignored."""
    ignored = {row.name: dict(row.settings).get("ignore") for row in net.layers}
    places = {row.name: f"{row.span.file}:{row.span.line}" for row in net.layers}
    found = {
        LabelRange(column, classes, ignored.get(layer), f"`{layer}` ({places.get(layer, net.name)})")
        for column, classes, layer in _compared(net)
    }
    return tuple(sorted(found, key=lambda one: (one.column, one.classes, one.reader)))


def _compared(net: Net) -> Iterator[tuple[str, int, str]]:
    for node in net.graph.order:
        if node.op is not ops.equal:
            continue
        for classes, label in (node.inputs, reversed(node.inputs)):
            grid, source = _source(classes), _source(label)
            if grid.op is ops.iota and len(grid.attrs["axes"]) == 1 and source.op is ops.input_:
                yield source.attrs["name"], int(grid.shape[grid.attrs["axes"][0]]), node.scope


def _source(node: Node) -> Node:
    """What a view is a view of."""
    while node.op in VIEWS:
        node = node.inputs[0]
    return node
