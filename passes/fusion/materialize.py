"""Which nodes get memory of their own, and where updates of state and operands of a concat are written.

Everything else is read through (movement, constants, values in windows) and is computed again by each reader. `placed`
rewrites a graph so that each root and each operand of a concat is a node that a kernel can write in place; what cannot
be (a view, an input, a value wanted twice) is copied by a node `reshape` to the same shape.

Relies on: the next value of a state may take the state's memory once all readers of the old value are done; those are
ordered before the writer (`readers_before`), and a writer that must precede one of them writes elsewhere and is copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from ...compiler.kernel import read_in_windows, widens

SOURCES = frozenset({"input", "param"})


@dataclass(frozen=True)
class Span:
    """The elements [start, stop) of a state's buffer."""

    state: str
    start: int
    stop: int


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
    """A graph whose roots can be written where they belong, and which of its nodes have memory."""

    def __init__(self, graph: Graph, copies: set[Node]) -> None:
        self.graph = graph
        self.copies = copies
        self.windows = read_in_windows(graph.order)
        self.again: frozenset[Node] = frozenset()
        self._computed: dict[Node, bool] = {}

    def computed(self, node: Node) -> bool:
        """Whether a kernel writes this node; else it is read through, or is an input, state or a concat."""
        known = self._computed.get(node)
        if known is None:
            inline = node.op.family == "movement" or node.op.name in (
                *SOURCES,
                "const",
                "iota",
                "surrogate",
            )
            known = node in self.copies or not (inline or widens(node) or node in self.windows or node in self.again)
            self._computed[node] = known
        return known

    def compute_again(self, nodes: Iterable[Node]) -> None:
        """From now on these nodes have no memory: whoever reads one computes it."""
        self.again |= frozenset(nodes)
        self._computed.clear()

    def stored(self, node: Node) -> bool:
        """Whether a node can be read from memory: computed, fed, state, a concat, or a plain part of the last two."""
        return self.computed(node) or node.op.name in SOURCES or node.op is ops.concat or flat_view(node) is not None

    def reads(self, node: Node) -> Iterator[Node]:
        """The stored nodes that computing `node` reads, through whatever is read through."""
        stack, seen = list(node.inputs), set()
        while stack:
            x = stack.pop()
            if x in seen:
                continue
            seen.add(x)
            if self.stored(x):
                yield x
            else:
                stack.extend(x.inputs)


def base_of(operand: Node) -> Node:
    """What lies below the reshapes of a concat's operand."""
    while operand.op is ops.reshape and flat_view(operand) is None:
        operand = operand.inputs[0]
    return operand


def _copy(node: Node) -> Node:
    with at(node.span, node.scope):
        return ops.reshape(node, shape=node.shape)


def placed(graph: Graph) -> Stores:
    """The graph with copies where a value cannot be written in its place."""
    in_place = _InPlace(graph)
    accepted = {name for name, value in graph.updates.items() if in_place.accept(name, value)}
    graph, copies = _copy_operands(graph, accepted)
    draft = Stores(graph, copies)
    updates: dict[str, Node] = {}
    for name, value in graph.updates.items():
        if name not in accepted:
            if not (draft.computed(value) or value.op is ops.concat):
                # A view of another state, which may be waiting for this one: it goes by memory of its own.
                value = _copy(value)
                copies.add(value)
            value = _copy(value)
            copies.add(value)
        updates[name] = value
    outputs: dict[str, Node] = {}
    for name, value in graph.outputs.items():
        if not draft.computed(value) and value.op is not ops.concat:
            value = _copy(value)
            copies.add(value)
        outputs[name] = value
    return Stores(graph.with_roots(outputs, updates), copies)


class _InPlace:
    """Which updates may be written over the old state: no reader of that may need what is written."""

    def __init__(self, graph: Graph) -> None:
        self.stores = Stores(graph, set())
        self.after: dict[Node, list[Node]] = {node: list(users) for node, users in graph.users.items()}
        self.readers: dict[str, list[tuple[Node, Span]]] = {}
        self.taken: set[Node] = set()
        for node in graph.order:
            if self.stores.computed(node):
                for x in self.stores.reads(node):
                    if (span := state_span(x)) is not None:
                        self.readers.setdefault(span.state, []).append((node, span))

    def accept(self, name: str, value: Node) -> bool:
        """Whether this update is written in place; later ones then wait for its readers."""
        writers = self._writers(name, value)
        if writers is None or value in self.taken:
            return False
        waits = [
            (reader, writer)
            for writer, span in writers
            for reader, read in self.readers.get(name, ())
            if reader is not writer and read.start < span.stop and span.start < read.stop
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

    def _writers(self, name: str, value: Node) -> list[tuple[Node, Span]] | None:
        """The nodes that write the next value of a state, and where; None if they cannot write there."""
        if value.op is not ops.concat:
            return [(value, Span(name, 0, value.type.count))] if self.stores.computed(value) else None
        if value.attrs["axis"] != 0 or len(value.shape) != 1:
            return None
        found, start = [], 0
        for x in value.inputs:
            span = Span(name, start, start + x.type.count)
            start += x.type.count
            base = base_of(x)
            if self.stores.computed(base):
                found.append((base, span))
            elif state_span(x) != span and any(state_span(y) is not None for y in (x, *self.stores.reads(x))):
                # A copy of old state from elsewhere would have to come before itself.
                return None
        return found

    def _reaches(self, start: Node, goals: set[Node]) -> bool:
        stack, seen = list(self.after[start]), set()
        while stack:
            node = stack.pop()
            if node in goals:
                return True
            if node not in seen:
                seen.add(node)
                stack.extend(self.after[node])
        return False


def _copy_operands(graph: Graph, accepted: set[str]) -> tuple[Graph, set[Node]]:
    """Copies of the operands of concats that cannot be written in place."""
    draft = Stores(graph, set())
    taken: set[Node] = set(graph.updates.values())
    homes = {value: name for name, value in graph.updates.items() if name in accepted}
    copied: set[Node] = set()
    made: dict[Node, Node] = {}
    for node in graph.order:
        inputs = [made[x] for x in node.inputs]
        if node.op is ops.concat:
            start = 0
            leading = math.prod(node.shape[: node.attrs["axis"]]) == 1
            for i, x in enumerate(node.inputs):
                base = base_of(x)
                plain = draft.computed(base) and base not in taken and (base is x or leading)
                taken.add(base)
                span = Span(homes.get(node, ""), start, start + x.type.count)
                start += x.type.count
                if plain or (leading and state_span(x) == span):
                    continue
                inputs[i] = _copy(inputs[i])
                copied.add(inputs[i])
        made[node] = node.with_inputs(inputs)
    if not copied:
        return graph, copied
    rebuilt = Graph(
        {k: made[v] for k, v in graph.outputs.items()},
        {k: made[v] for k, v in graph.updates.items()},
        {made[n]: places for n, places in graph.merged_origins.items() if n in made},
    )
    return rebuilt, copied
