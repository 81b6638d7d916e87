"""Materialization: which nodes get memory, and where updates of state and operands of a concat are written.

Everything else is inlined into its readers (movement, constants, values in windows). `materialize` rewrites a graph so
that each root and each operand of a concat is a node that a kernel can write in place; what cannot be (a view, an
input, a value wanted twice) is copied by a node `reshape` to the same shape. `Stores` says of such a graph what has
memory, and what computing a node reads.

Relies on: the next value of a state may take the state's memory once all readers of the old value are done; those are
ordered before the writer, and a writer that must precede one of them writes elsewhere and is copied.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from ...compiler import ops
from ...compiler.graph import Graph, Node, at, reached
from ...compiler.kernel import read_in_windows, widens
from ..prepared import Prepared

SOURCES = frozenset({"input", "param"})
INLINE = SOURCES | {"const", "iota", "surrogate", "after"}
How = TypeVar("How")  # in which a value is read: an axis, an access map, or nothing that is asked for


@dataclass(frozen=True)
class Span:
    """The elements [start, stop) of a state's buffer."""

    state: str
    start: int
    stop: int

    def meets(self, other: Span) -> bool:
        """Whether the two have elements in common."""
        return self.state == other.state and self.start < other.stop and other.start < self.stop


def flat_view(node: Node) -> tuple[Node, int] | None:
    """The state or flat concat of which a node is a contiguous part (slices and reshapes), and its first element."""
    if node.op is ops.param or (node.op is ops.concat and len(node.shape) == 1):
        return node, 0
    if node.op is ops.reshape:
        return flat_view(node.inputs[0])
    if node.op is ops.slice_:
        x, attrs = node.inputs[0], node.attrs
        of = flat_view(x)
        cut = [i for i, n in enumerate(x.shape) if (attrs["start"][i], attrs["stop"][i], attrs["step"][i]) != (0, n, 1)]
        if of is None or any(attrs["step"][i] != 1 for i in cut) or len(cut) > 1:
            return None
        if not cut:
            return of
        if math.prod(x.shape[: cut[0]]) != 1:
            return None
        return of[0], of[1] + attrs["start"][cut[0]] * math.prod(x.shape[cut[0] + 1 :])
    return None


def state_span(node: Node) -> Span | None:
    """The part of a state that a node is a plain view of, or None."""
    of = flat_view(node)
    if of is None or of[0].op is not ops.param:
        return None
    return Span(of[0].attrs["name"], of[1], of[1] + node.type.count)


class Stores:
    """A materialized graph: which of its nodes have memory, and what is read through the others.

    recomputed: nodes that have none, since each reader computes them from what it reads.
    """

    def __init__(self, graph: Graph, recomputed: Collection[Node] = frozenset()) -> None:
        self.graph = graph
        self.recomputed = frozenset(recomputed)
        # Values with a place of their own: copies, and what is left of a recomputed `unwindow` without its padding.
        self.copies = {n for n in graph.order if is_copy(n) or (cuts_padding(n) and n.inputs[0] in self.recomputed)}
        self._inside = read_in_windows(graph.order)
        self._computed: dict[Node, bool] = {}
        self._reads: dict[Node, list[Node]] = {}

    def computed(self, node: Node) -> bool:
        """Whether a kernel writes this node; else it is read through, or is an input, state or a concat."""
        known = self._computed.get(node)
        if known is None:
            inline = node.op.family == "movement" or node.op.name in INLINE
            inline = inline or widens(node) or node in self._inside or node in self.recomputed
            known = self._computed[node] = node in self.copies or not inline
        return known

    @cached_property
    def writes(self) -> dict[Node, Span]:
        """The nodes that are written into a state, and where."""
        found: dict[Node, Span] = {}
        for name, value in self.graph.updates.items():
            if value.op is not ops.concat:
                found[value] = Span(name, 0, value.type.count)
                continue
            bases = ((base_of(x), span) for x, span in parts(value, name))
            found |= {base: span for base, span in bases if self.computed(base) or base.op is ops.concat}
        return found

    @cached_property
    def readers(self) -> dict[Node, list[Node]]:
        """For each stored node that is read, the computed nodes that read it."""
        found: dict[Node, list[Node]] = {}
        for node in filter(self.computed, self.graph.order):
            for x in self.reads(node):
                found.setdefault(x, []).append(node)
        return found

    @cached_property
    def state_readers(self) -> dict[str, list[tuple[Node, Span]]]:
        """For each state, the computed nodes that read it or wait for a reader of it, and which part of it."""
        found: dict[str, list[tuple[Node, Span]]] = {}
        for node in filter(self.computed, self.graph.order):
            for x in (*self.reads(node), *self.waits(node)):
                # A copy of a state is read in the copy's place.
                if not self.computed(x) and (span := state_span(x)) is not None:
                    found.setdefault(span.state, []).append((node, span))
        return found

    @cached_property
    def prepared(self) -> set[Node]:
        """The nodes that depend on state which the graph does not change, and on nothing else."""
        return set(filter(Prepared(self.graph.updates), self.graph.order))

    def stored(self, node: Node) -> bool:
        """Whether a node can be read from memory: computed, fed, state, a concat, or a plain part of the last two."""
        return self.computed(node) or node.op.name in SOURCES or node.op is ops.concat or flat_view(node) is not None

    def inlined(self, node: Node) -> Iterator[Node]:
        """A node and what is computed with it, since nobody stores it."""
        return reached([node], lambda x: (y for y in operands(x) if not self.stored(y)))

    def reads(self, node: Node) -> list[Node]:
        """The stored nodes that computing `node` reads, through whatever is read through."""
        if node not in self._reads:
            found = self.reads_by(node, None, lambda x, _: (None,) * len(operands(x)))
            self._reads[node] = [x for x, _ in found or ()]
        return self._reads[node]

    def waits(self, node: Node) -> list[Node]:
        """The stored nodes that must be computed before `node` is, though it does not read them."""
        found: dict[Node, None] = {}
        for x in self.inlined(node):
            if x.op is ops.after:
                wait = x.inputs[1]
                found |= dict.fromkeys([wait] if self.stored(wait) else self.reads(wait))
        return [*found]

    def reads_by(
        self, node: Node, how: How, step: Callable[[Node, How], Sequence[How] | None]
    ) -> list[tuple[Node, How]] | None:
        """The stored nodes that computing `node` in some way reads, with the way in which each is read.

        step: the way of each operand, given a node and its own way; None: that cannot be, nor can the whole.
        """
        found: dict[tuple[Node, How], None] = {}
        stack, seen = [(node, how)], set()
        while stack:
            x, how = stack.pop()
            if x is not node and self.stored(x):
                found[x, how] = None
                continue
            ways = step(x, how)
            if ways is None:
                return None
            below = [pair for pair in zip(operands(x), ways, strict=True) if pair not in seen]
            seen.update(below)
            stack += below
        return list(found)


def operands(node: Node) -> tuple[Node, ...]:
    """The nodes that a node reads; it may have to wait for others."""
    return node.inputs[:1] if node.op is ops.after else node.inputs


def base_of(operand: Node) -> Node:
    """What lies below the reshapes of a concat's operand."""
    while operand.op is ops.reshape and flat_view(operand) is None:
        operand = operand.inputs[0]
    return operand


def parts(concat: Node, state: str) -> Iterator[tuple[Node, Span]]:
    """The operands of a flat concat, each with its elements of the state whose next value that is."""
    start = 0
    for x in concat.inputs:
        yield x, Span(state, start, start + x.type.count)
        start += x.type.count


def copy_of(node: Node) -> Node:
    """A node of the same value that has memory of its own."""
    with at(node.span, node.scope):
        return ops.reshape(node, shape=node.shape)


def is_copy(node: Node) -> bool:
    """Whether a node is one that `copy_of` made: a reshape to the same shape means nothing else here."""
    return node.op is ops.reshape and node.shape == node.inputs[0].shape


def cuts_padding(node: Node) -> bool:
    """Whether a node is what is left of the sum of windows that may begin and end in padding."""
    return node.op is ops.slice_ and node.inputs[0].op is ops.unwindow


def materialize(graph: Graph) -> Graph:
    """The graph with copies where a value cannot be written in its place; nothing is computed only to be waited for."""
    graph = _waits_for_read(graph)
    in_place = _InPlace(graph)
    accepted = {name for name, value in graph.updates.items() if in_place.accept(name, value)}
    graph = _copy_operands(graph, accepted)
    draft = Stores(graph)
    outputs, updates = dict(graph.outputs), dict(graph.updates)
    for name, value in graph.updates.items():
        if name not in accepted:
            # A view of another state, which may be waiting for this one, goes by memory of its own.
            own = draft.computed(value) or value.op is ops.concat
            updates[name] = copy_of(value if own else copy_of(value))
    for name, value in graph.outputs.items():
        if not draft.computed(value) and value.op is not ops.concat:
            outputs[name] = copy_of(value)
    return graph.with_roots(outputs, updates)


def _waits_for_read(graph: Graph) -> Graph:
    """The graph in which each `after` waits for what is read: what a law replaced everywhere else is not kept alive."""
    read = set(reached(graph.roots, operands))
    made: dict[Node, Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is not ops.after or node.inputs[1] in read:
            made[node] = node.with_inputs(inputs)
            return made[node]
        found = inputs[0]
        for x in reached(node.inputs[1:], lambda x: () if x in read else x.inputs):
            if x in read:
                with at(node.span, node.scope):
                    found = ops.after(found, made[x])
        made[node] = found
        return found

    return graph.mapped(make) if len(read) < len(graph.order) else graph


class _InPlace:
    """Which updates may be written over the old state: no reader of that may need what is written."""

    def __init__(self, graph: Graph) -> None:
        self.stores = Stores(graph)
        self.after: dict[Node, list[Node]] = {node: list(users) for node, users in graph.users.items()}
        self.taken: set[Node] = set()

    def accept(self, name: str, value: Node) -> bool:
        """Whether this update is written in place; later ones then wait for its readers."""
        writers = self._writers(name, value)
        if writers is None or value in self.taken or any(self._reads_others(*writer) for writer in writers):
            return False
        waits = [
            (reader, writer)
            for writer, span in writers
            for reader, read in self.stores.state_readers.get(name, ())
            if reader is not writer and read.meets(span)
        ]
        for writer in {w for _, w in waits}:
            if self._reaches(writer, {r for r, w in waits if w is writer}):
                return False
        # Several new edges may close a circle together.
        for reader, writer in waits:
            self.after[reader].append(writer)
        if any(self._reaches(writer, {writer}) for writer, _ in writers):
            for reader, _ in waits:
                self.after[reader].pop()
            return False
        self.taken.add(value)
        self.taken.update(writer for writer, _ in writers)
        return True

    def _reads_others(self, writer: Node, span: Span) -> bool:
        """Whether computing an element of the next value reads other elements of the old one than that."""
        for x in writer.inputs:
            same = x
            while same.op is ops.reshape and state_span(same) is None:
                same = same.inputs[0]
            if writer.op.family == "pointwise" and state_span(same) == span:
                continue
            for y in (x,) if self.stores.stored(x) else self.stores.reads(x):
                if (read := state_span(y)) is not None and read.meets(span):
                    return True
        return False

    def _writers(self, name: str, value: Node) -> list[tuple[Node, Span]] | None:
        """The nodes that write the next value of a state, and where; None if they cannot write there."""
        if value.op is not ops.concat:
            return [(value, Span(name, 0, value.type.count))] if self.stores.computed(value) else None
        if value.attrs["axis"] != 0 or len(value.shape) != 1:
            return None
        found = []
        for x, span in parts(value, name):
            base = base_of(x)
            if self.stores.computed(base):
                found.append((base, span))
            elif state_span(x) != span and any(state_span(y) is not None for y in (x, *self.stores.reads(x))):
                # A copy of old state from elsewhere would have to come before itself.
                return None
        return found

    def _reaches(self, start: Node, goals: set[Node]) -> bool:
        return any(node in goals for node in reached(self.after[start], self.after.__getitem__))


def _copy_operands(graph: Graph, accepted: set[str]) -> Graph:
    """The graph with copies of the operands of concats that cannot be written in place."""
    draft = Stores(graph)
    taken: set[Node] = set(graph.updates.values())
    homes = {value: name for name, value in graph.updates.items() if name in accepted}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is not ops.concat:
            return node.with_inputs(inputs)
        placed = list(inputs)
        leading = math.prod(node.shape[: node.attrs["axis"]]) == 1
        for i, (x, span) in enumerate(parts(node, homes.get(node, ""))):
            base = base_of(x)
            plain = draft.computed(base) and base not in taken and (base is x or leading)
            taken.add(base)
            if not (plain or (leading and state_span(x) == span)):
                placed[i] = copy_of(placed[i])
        return node.with_inputs(placed)

    return graph.mapped(make)
