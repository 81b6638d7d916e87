"""Values that are not stored: each reader computes them again from what it reads anyway.

A value is computed again where it is a cheap function of at most one large array, its anchor, and of small ones (rows,
numbers, index grids, constants). Reading the anchor costs what reading the value would, and the value is never written.
So the backward pass of a sigmoid, a ReLU or a batch norm reads what the forward pass keeps, and no copies of it. Where
only this value reads the anchor, it is the better one to keep; what a product reads is kept, so that its operands are
copied to the chip as they lie.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ...compiler import ops
from ...compiler.graph import Node
from .materialize import Stores, base_of, state_span
from .reads import positions, reads, takes_tiles

# Operations for an element that computing it again may take, in all, and at the positions of a window.
MOST_WORK = 40
MOST_WORK_IN_WINDOW = 128
# Small arrays that it may read, each at most a fourth of its own size.
MOST_SMALL = 6
SMALL = 4


@dataclass
class _Value:
    """A pointwise value that may be computed again: its operations for an element, and what they read."""

    work: int
    anchors: dict[Node, None] = field(default_factory=dict)


def computed_again(stores: Stores, nofuse: Collection[str] = ()) -> set[Node]:
    """The nodes that are better computed by each reader than stored. nofuse: layers that stay apart from others."""
    return _Again(stores, nofuse).found


class _Again:
    def __init__(self, stores: Stores, nofuse: Collection[str]) -> None:
        self.stores = stores
        self.nofuse = nofuse
        graph = stores.graph
        self.readers: dict[Node, list[Node]] = {}
        made = [n for n in graph.order if stores.computed(n)]
        for node in made:
            for x in dict.fromkeys(x for x, _ in reads(stores, node)):
                self.readers.setdefault(x, []).append(node)
        self.kept = kept(stores)
        self.changed = set(graph.updates) - self._counters()
        self.found: set[Node] = set()
        self.values: dict[Node, _Value] = {}
        for node in made:
            if (node.op.family == "pointwise" and node not in self.kept and self._worth(node)) or self._cut(node):
                self.found.add(node)

    def _counters(self) -> set[str]:
        """States whose next value follows from nothing but themselves: it can wait for all readers."""
        found = set()
        for name, value in self.stores.graph.updates.items():
            below = [x for x, _ in reads(self.stores, value)] if self.stores.computed(value) else [value]
            if all(x.op is ops.param and x.attrs["name"] == name for x in below):
                found.add(name)
        return found

    def _worth(self, node: Node) -> bool:
        value = self._value(node)
        readers = self.readers.get(node, [])
        if value is None or any(takes_tiles(r) or apart(node, r, self.nofuse) for r in readers):
            return False
        spread = max((positions(r) for r in readers), default=1)
        if value.work > MOST_WORK or value.work * spread > (MOST_WORK_IN_WINDOW if spread > 1 else MOST_WORK):
            return False
        size = node.type.nbytes
        large = [x for x in value.anchors if x.type.nbytes * SMALL > size and x.type.count > 1]
        if len(large) > 1 or len(value.anchors) - len(large) > MOST_SMALL:
            return False
        if any((span := state_span(x)) is not None and span.state in self.changed for x in value.anchors):
            return False
        if not large:
            return True
        (anchor,) = large
        if self.readers[anchor] == [node]:
            return False
        return size >= anchor.type.nbytes or self._sure(anchor)

    def _value(self, node: Node) -> _Value | None:
        """A value's work and anchors, through what is computed again."""
        value = _Value(work(node))
        for x, _ in reads(self.stores, node):
            if x in self.found:
                below = self.values.get(x)
                if below is None:
                    return None
                value.work += below.work
                value.anchors |= below.anchors
            else:
                value.anchors[x] = None
        self.values[node] = value
        return value

    def _sure(self, node: Node) -> bool:
        """Whether a node is stored whatever is fused."""
        return (
            not self.stores.computed(node)
            or node in self.kept
            or any(takes_tiles(r) or positions(r) > 1 for r in self.readers[node])
        )

    def _cut(self, node: Node) -> bool:
        """Whether an `unwindow` is only read without its padding: then that part is stored, by who computes it."""
        users = self.stores.graph.users[node]
        if node.op is not ops.unwindow or node in self.kept or len(users) != 1 or users[0].op is not ops.slice_:
            return False
        self.stores.copies.add(users[0])
        return True


def kept(stores: Stores) -> set[Node]:
    """The nodes that have a place of their own: results, next states, parts of a concat, copies."""
    graph = stores.graph
    found = set(graph.outputs.values()) | set(graph.updates.values()) | stores.copies
    for node in graph.order:
        if node.op is ops.concat:
            found.update(base_of(x) for x in node.inputs)
    return found


def apart(node: Node, reader: Node, nofuse: Collection[str]) -> bool:
    """Whether @nofuse keeps two nodes in different kernels."""
    return node.scope != reader.scope and (node.scope in nofuse or reader.scope in nofuse)


def work(node: Node) -> int:
    """Operations for an element of a pointwise value."""
    flops = node.op.flops(node.result, *(x.result for x in node.inputs), **node.attrs)
    return max(1, flops // max(1, int(node.type.count)))
