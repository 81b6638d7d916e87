"""Rematerialization: values that are not stored, since each reader recomputes them from what it reads anyway.

Before fusion a value is recomputed where it is a cheap function of at most one large array, its source, and of small
ones (rows, numbers, index grids, constants). Reading the source costs what reading the value would, and the value is
never written. So the backward pass of a sigmoid, a ReLU or a batch norm reads what the forward pass keeps, and no
copies of it. Where only this value reads the source, it is the better one to keep; what a product reads is kept, so
that its operands are copied to the chip as they lie.

After fusion so is a value that a kernel would store although all its readers read what it is computed from. So a kernel
of LRN's backward pass, which reads the gradient, the scale and the input, also computes their product at each channel
of a window, and the kernel before it stores the gradient alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...compiler import ops
from ...compiler.graph import Graph, Node, reached
from ...compiler.kernel import window_axes
from ...compiler.loops.domain import is_anchor
from ...compiler.loops.index import Expr
from .groups import Groups
from .materialize import Stores, base_of, cuts_padding, state_span

# A stored node, and the map by which it is read from the reader's number; None where there is none.
Read = tuple[Node, Expr | None]
# Operations for an element that recomputing it may take, in all, and at the positions of a window.
MOST_WORK = 40
MOST_WORK_IN_WINDOW = 128
# Small arrays that it may read, each at most a fourth of its own size.
MOST_SMALL = 6
SMALL = 4


@dataclass
class _Value:
    """A pointwise value that may be recomputed: its operations for an element, and what they read."""

    work: int
    sources: dict[Node, None] = field(default_factory=dict)


def recomputed(graph: Graph, nofuse: Collection[str] = ()) -> set[Node]:
    """The nodes of a materialized graph that each reader had better compute. nofuse: layers that stay apart."""
    return _Cheap(Stores(graph), nofuse).found


class _Cheap:
    def __init__(self, stores: Stores, nofuse: Collection[str]) -> None:
        self.stores = stores
        self.nofuse = nofuse
        graph, self.readers = stores.graph, stores.readers
        self.kept = kept(stores)
        self.changed = set(graph.updates) - self._counters()
        self.found: set[Node] = set()
        self.values: dict[Node, _Value] = {}
        for node in filter(stores.computed, graph.order):
            if (node.op.family == "pointwise" and node not in self.kept and self._worth(node)) or self._cut(node):
                self.found.add(node)

    def _counters(self) -> set[str]:
        """States whose next value follows from nothing but themselves: it can wait for all readers."""
        found = set()
        for name, value in self.stores.graph.updates.items():
            below = self.stores.reads(value) if self.stores.computed(value) else [value]
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
        large = [x for x in value.sources if x.type.nbytes * SMALL > size and x.type.count > 1]
        if len(large) > 1 or len(value.sources) - len(large) > MOST_SMALL:
            return False
        if any((span := state_span(x)) is not None and span.state in self.changed for x in value.sources):
            return False
        if not large:
            return True
        (source,) = large
        if self.readers[source] == [node]:
            return False
        return size >= source.type.nbytes or self._sure(source)

    def _value(self, node: Node) -> _Value | None:
        """A value's work and sources, through what is recomputed."""
        value = _Value(work(node))
        for x in self.stores.reads(node):
            if x in self.found:
                below = self.values.get(x)
                if below is None:
                    return None
                value.work += below.work
                value.sources |= below.sources
            else:
                value.sources[x] = None
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
        return node not in self.kept and len(users) == 1 and cuts_padding(users[0]) and users[0].inputs[0] is node


def known_to_readers(groups: Groups[Any], read: Mapping[Node, Sequence[Read]], nofuse: Collection[str]) -> set[Node]:
    """The nodes that are better recomputed by the groups that read them than stored by the one that makes them."""
    return _Known(groups, read, nofuse).find()


class _Known:
    def __init__(self, groups: Groups[Any], read: Mapping[Node, Sequence[Read]], nofuse: Collection[str]) -> None:
        self.groups = groups
        self.read = read
        self.nofuse = nofuse
        self.kept = kept(groups.stores)
        self.readers = groups.stores.readers
        self.reads: dict[int, set[Node]] = {i: set() for i in groups.groups}
        for node, found in read.items():
            for x, _ in found:
                if groups.of.get(x) != groups.of[node]:
                    self.reads[groups.of[node]].add(x)
        self.found: set[Node] = set()
        self.pinned: set[Node] = set()  # what the values found are computed from

    def find(self) -> set[Node]:
        for node in self.groups.of:
            if self._stored(node) and node not in self.kept | self.pinned and node.op.family == "pointwise":
                self._try(node)
        return self.found

    def _stored(self, node: Node) -> bool:
        """Whether a kernel stores a node."""
        here = self.groups.of.get(node)
        return node in self.kept or here is None or any(self.groups.of[r] != here for r in self.readers.get(node, ()))

    def _try(self, node: Node) -> None:
        here = self.groups.of[node]
        others = [r for r in self.readers[node] if self.groups.of[r] != here]
        if node.type.count == 1 or any(takes_tiles(r) or apart(node, r, self.nofuse) for r in others):
            return
        leaves: set[Node] = set()

        def below(x: Node) -> Iterator[Node]:
            for y, _ in self.read[x]:
                if y not in self.found and self._stored(y):
                    leaves.add(y)
                else:
                    yield y

        inside = set(reached([node], below))
        if any(x.op.family != "pointwise" for x in inside):
            return
        parts = {part for x in inside for part in self.groups.stores.inlined(x) if part.op.family == "pointwise"}
        large = {x for x in leaves if x.type.nbytes * SMALL > node.type.nbytes}
        operations = sum(map(work, parts))
        for reader in others:
            spread = 1
            if any(by is None for x, by in self.read[reader] if x is node):
                spread = max(positions(x) for x in self.groups.stores.inlined(reader))
            if not large <= self.reads[self.groups.of[reader]] or operations * spread > MOST_WORK_IN_WINDOW:
                return
        self.found |= inside
        self.pinned |= leaves


def takes_tiles(node: Node) -> bool:
    """Whether a node reads its operands in an order of its own, again and again: products, scatters and gathers."""
    return (is_anchor(node) and node.op.family != "reduce") or node.op is ops.gather


def positions(node: Node) -> int:
    """How often a node that reads windows may take one element of its operand; 1 for others."""
    if node.op is ops.unwindow:
        return math.prod(node.attrs["sizes"])
    return math.prod(int(node.inputs[0].shape[a]) for a in node.attrs["axes"]) if window_axes(node) else 1


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
