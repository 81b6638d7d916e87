"""Groups of nodes that are computed together, tile by tile, and the test whether two of them may become one.

A group keeps its options: for each axis along which all its members can be cut into tiles together, the axis of each
member and of each value it reads. Two groups join when an option of one agrees with an option of the other on what
passes between them, and when the graph of groups stays acyclic. That is told by bitsets of who can be reached, updated
at each merge: convexity of each group alone is not enough.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from ...compiler import ops
from ...compiler.graph import GraphError, Node
from ...compiler.kernel import HEAVY, TOTAL
from .axes import Axis, choices, pull
from .materialize import Span, Stores, base_of, flat_view, state_span

# Values of a group that is not cut into tiles are held whole: beyond this size they would leave the cache.
LARGEST_WHOLE = 96 * 1024


@dataclass
class Option:
    """One way to cut a group: length of the tiled axis (0: none), the axes of members and of what they read."""

    length: int
    axes: dict[Node, Axis]
    reads: dict[Node, set[Axis]]


@dataclass
class Group:
    """Nodes in topological order, their options, and the heavy ones among them."""

    nodes: list[Node]
    options: list[Option]
    heavy: list[Node] = field(default_factory=list)


def read_axes(stores: Stores, node: Node, axis: Axis) -> dict[Node, set[Axis]] | None:
    """The stored nodes that `node` reads when tiled along `axis`, with the axes in which it reads them."""
    found: dict[Node, set[Axis]] = {}
    stack: list[tuple[Node, Axis]] = [(node, axis)]
    seen: set[tuple[Node, Axis]] = set()
    while stack:
        x, a = stack.pop()
        operands = (None,) * len(x.inputs) if a is None else pull(x, a)
        if operands is None:
            return None
        for operand, along in zip(x.inputs, operands, strict=True):
            if stores.stored(operand):
                found.setdefault(operand, set()).add(along)
            elif (operand, along) not in seen:
                seen.add((operand, along))
                stack.append((operand, along))
    return found


def _length(node: Node, axis: int, reads: dict[Node, set[Axis]]) -> int:
    if axis != TOTAL:
        return node.shape[axis]
    return next((x.shape[a] for x, axes in reads.items() for a in axes if a is not None), 0)


def single(stores: Stores, node: Node) -> Group:
    """The group of one node."""
    options = []
    for axis in choices(node):
        reads = read_axes(stores, node, axis)
        if reads is not None and (length := _length(node, axis, reads)) > 1:
            options.append(Option(length, {node: axis}, reads))
    reads = read_axes(stores, node, None) or {}
    options.append(Option(0, {node: None}, reads))
    return Group([node], options, [node] if node.op.name in HEAVY else [])


def heavy_together(a: Group, b: Group, axes: dict[Node, Axis]) -> bool:
    """At most one product a group, and any number of those that are summed over its tiles."""
    return sum(axes[n] != TOTAL for n in (*a.heavy, *b.heavy)) <= 1


class Groups:
    """All groups of a graph, and their order."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.of: dict[Node, int] = {}
        self.groups: dict[int, Group] = {}
        self.after: dict[int, int] = {}
        self.next: dict[int, int] = {}
        self.writes: dict[Node, Span] = {}
        graph = stores.graph
        nodes = [n for n in graph.order if stores.computed(n) or n.op is ops.concat]
        for i, node in enumerate(nodes):
            self.of[node] = i
            self.groups[i] = self.single(node) if stores.computed(node) else Group([node], [])
            self.next[i] = 0
        self._written()
        self.prepared: set[Node] = set()
        for node in graph.order:
            if node.op is ops.param:
                fixed = node.attrs["name"] not in graph.updates
            else:
                fixed = node.op.name not in ("input", "random") and all(x in self.prepared for x in node.inputs)
            if fixed:
                self.prepared.add(node)
        readers: dict[str, list[tuple[int, Span]]] = {}
        for node in nodes:
            for x in stores.reads(node):
                of = flat_view(x)
                made = x if x in self.of else of[0] if of else x
                if made in self.of:
                    self.next[self.of[made]] |= 1 << self.of[node]
                elif (span := state_span(x)) is not None:
                    readers.setdefault(span.state, []).append((self.of[node], span))
        for node, span in self.writes.items():
            for reader, read in readers.get(span.state, ()):
                if read.stop <= span.start or span.stop <= read.start:
                    continue
                if reader != self.of[node] and self.groups[reader].nodes[0].op is not ops.concat:
                    self.next[reader] |= 1 << self.of[node]
        self._close()

    def single(self, node: Node) -> Group:
        """The group of one node."""
        return single(self.stores, node)

    def _written(self) -> None:
        """Which nodes are written into a state, and where."""
        for name, value in self.stores.graph.updates.items():
            if value.op is not ops.concat:
                self.writes[value] = Span(name, 0, value.type.count)
                continue
            start = 0
            for x in value.inputs:
                if (base := base_of(x)) in self.of:
                    self.writes[base] = Span(name, start, start + x.type.count)
                start += x.type.count

    def _close(self) -> None:
        """Reachability from the direct edges."""
        for i in reversed(self.order()):
            reach = 0
            for j in bits(self.next[i]):
                reach |= self.after[j] | 1 << j
            self.after[i] = reach

    def order(self) -> list[int]:
        """The groups, each after those it needs; of those that are ready, the one made first."""
        waiting = dict.fromkeys(self.groups, 0)
        for i in self.groups:
            for j in bits(self.next[i]):
                waiting[j] += 1
        ready = [i for i, n in waiting.items() if not n]
        heapq.heapify(ready)
        found = []
        while ready:
            i = heapq.heappop(ready)
            found.append(i)
            for j in bits(self.next[i]):
                waiting[j] -= 1
                if not waiting[j]:
                    heapq.heappush(ready, j)
        if len(found) < len(self.groups):
            raise GraphError("readers of old state and the writers of new wait for each other")
        return found

    def acyclic_with(self, a: int, b: int) -> bool:
        """Whether no path leads from one group to the other through a third."""
        return not self._detour(a, b) and not self._detour(b, a)

    def once(self, group: int) -> bool:
        """Whether a group only depends on state that the program does not change."""
        return self.groups[group].nodes[0] in self.prepared

    def _detour(self, a: int, b: int) -> bool:
        if not self.after[a] >> b & 1:
            return False
        return any(self.after[c] >> b & 1 for c in bits(self.next[a] & ~(1 << b)))

    def joined(self, a: int, b: int, *, most: int) -> list[Option] | str:
        """The options of the two as one group, or the reason why they stay apart."""
        if self.once(a) != self.once(b):
            return "one is computed once, when the state was set, the other at each call"
        if not self.acyclic_with(a, b):
            return "a third kernel stands between them: joined they would wait for themselves"
        options = []
        reason = "no axis along which both can be cut into the same tiles"
        for x in self.groups[a].options:
            for y in self.groups[b].options:
                if x.length != y.length or not (self._agree(x, y) and self._agree(y, x)):
                    continue
                if not self._meet(a, b, x, y):
                    continue
                axes = {**x.axes, **y.axes}
                if not heavy_together(self.groups[a], self.groups[b], axes):
                    reason = "each has a product of its own, and a kernel has at most one"
                    continue
                reads = {k: set(v) for k, v in x.reads.items()}
                for k, v in y.reads.items():
                    reads.setdefault(k, set()).update(v)
                option = Option(x.length, axes, {k: v for k, v in reads.items() if k not in axes})
                if option.length == 0 and any(n.type.nbytes > LARGEST_WHOLE for n in (*axes, *reads)):
                    continue
                if not self._safe(option):
                    reason = "one reads elements of a state that the other has overwritten"
                    continue
                if len(option.reads) > most:
                    reason = f"together they read more than {most} arrays"
                    continue
                options.append(option)
        return options or reason

    @staticmethod
    def _agree(x: Option, y: Option) -> bool:
        """Whether y reads what x computes in the same tiles."""
        for node, axes in y.reads.items():
            if node in x.axes and (axes != {x.axes[node]} or x.axes[node] == TOTAL):
                return False
        return True

    def _meet(self, a: int, b: int, x: Option, y: Option) -> bool:
        """Whether the two pass something on, or read the same tiles: else they have nothing to share."""
        if x.length == 0:
            return True
        if any(n in x.axes for n in y.reads) or any(n in y.axes for n in x.reads):
            return True
        return any(x.reads.get(n) == axes and None not in axes for n, axes in y.reads.items())

    def _safe(self, option: Option) -> bool:
        """Whether what is written into a state is read, in this group, only in the tile that overwrites it."""
        for node in option.axes:
            span = self.writes.get(node)
            if span is None:
                continue
            for x, axes in option.reads.items():
                read = state_span(x)
                if read is None or read.state != span.state or read.stop <= span.start or span.stop <= read.start:
                    continue
                if read != span or axes != {option.axes[node]} or x.shape != node.shape:
                    return False
        return True

    def merge(self, a: int, b: int, options: list[Option]) -> int:
        """Make b part of a."""
        first, second = self.groups[a], self.groups.pop(b)
        first.nodes += second.nodes
        first.heavy += second.heavy
        first.options = options
        for node in second.nodes:
            self.of[node] = a
        bit_a, bit_b = 1 << a, 1 << b
        both = bit_a | bit_b
        self.next[a] = (self.next[a] | self.next.pop(b)) & ~both
        reach = (self.after[a] | self.after.pop(b)) & ~both
        self.after[a] = reach
        for i in self.groups:
            if self.after[i] & both:
                self.after[i] = (self.after[i] | reach | bit_a) & ~bit_b
                if self.next[i] & bit_b:
                    self.next[i] = (self.next[i] | bit_a) & ~bit_b
        return a


def bits(value: int) -> list[int]:
    """The numbers of the bits that are set."""
    found = []
    while value:
        low = value & -value
        found.append(low.bit_length() - 1)
        value ^= low
    return found
