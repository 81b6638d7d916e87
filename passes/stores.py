"""Which nodes get memory of their own, and where updates of state and operands of a concat are written.

Everything else is read through (movement, constants, values in windows) and is computed again by each reader. The pass
`placed` rewrites a graph so that each root and each operand of a concat is a node that a kernel can write in place; what
cannot be (a view, an input, a value wanted twice) is copied by a node `reshape` to the same shape.

Relies on: the next value of a state may take the state's memory once all readers of the old value are done; those are
ordered before the writer (`readers_before`), and a writer that must precede one of them writes elsewhere and is copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..compiler import ops
from ..compiler.graph import Graph, Node, at
from ..compiler.kernel import read_in_windows

SOURCES = frozenset({"input", "param"})


@dataclass(frozen=True)
class Span:
    """The elements [start, stop) of a state's buffer."""

    state: str
    start: int
    stop: int


def state_span(node: Node) -> Span | None:
    """The part of a state that a node is a plain view of (contiguous slices and reshapes), or None."""
    if node.op is ops.param:
        return Span(node.attrs["name"], 0, node.type.count)
    if node.op is ops.reshape:
        return state_span(node.inputs[0])
    if node.op is ops.slice_:
        x, attrs = node.inputs[0], node.attrs
        of = state_span(x)
        cut = [i for i, n in enumerate(x.shape) if (attrs["start"][i], attrs["stop"][i], attrs["step"][i]) != (0, n, 1)]
        if of is None or any(attrs["step"][i] != 1 for i in cut) or len(cut) > 1:
            return None
        if not cut:
            return of
        if math.prod(x.shape[: cut[0]]) != 1:
            return None
        inner = math.prod(x.shape[cut[0] + 1 :])
        start = of.start + attrs["start"][cut[0]] * inner
        return Span(of.state, start, start + node.type.count)
    return None


class Stores:
    """A graph whose roots can be written where they belong, and which of its nodes have memory."""

    def __init__(self, graph: Graph, copies: set[Node]) -> None:
        self.graph = graph
        self.copies = copies
        self.windows = read_in_windows(graph.order)
        self._computed: dict[Node, bool] = {}

    def computed(self, node: Node) -> bool:
        """Whether a kernel writes this node; else it is read through, or is an input, state or a concat."""
        known = self._computed.get(node)
        if known is None:
            inline = (node.op.family == "movement" and node.op is not ops.unwindow) or node.op.name in (
                *SOURCES,
                "const",
                "iota",
                "surrogate",
            )
            known = node in self.copies or not (inline or node in self.windows)
            self._computed[node] = known
        return known

    def stored(self, node: Node) -> bool:
        """Whether a node can be read from memory: computed, fed, state or a plain view of it, or a concat."""
        return self.computed(node) or node.op.name in SOURCES or node.op is ops.concat or state_span(node) is not None

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
    while operand.op is ops.reshape and state_span(operand) is None:
        operand = operand.inputs[0]
    return operand


def _copy(node: Node) -> Node:
    with at(node.span, node.scope):
        return ops.reshape(node, shape=node.shape)


def placed(graph: Graph) -> Stores:
    """The graph with copies where a value cannot be written in its place."""
    graph, copies = _copy_operands(graph)
    draft = Stores(graph, copies)
    below = _descendants(draft)
    taken: set[Node] = set()
    updates: dict[str, Node] = {}
    for name, value in graph.updates.items():
        writers = [base_of(x) for x in value.inputs] if value.op is ops.concat else [value]
        fits = draft.computed(value) or (value.op is ops.concat and value.attrs["axis"] == 0 and len(value.shape) == 1)
        if fits and value not in taken and not _overtakes(draft, below, name, writers):
            taken.add(value)
            updates[name] = value
            continue
        updates[name] = _copy(value)
        copies.add(updates[name])
    outputs: dict[str, Node] = {}
    for name, value in graph.outputs.items():
        if not draft.computed(value) and value.op is not ops.concat:
            value = _copy(value)
            copies.add(value)
        outputs[name] = value
    return Stores(graph.with_roots(outputs, updates), copies)


def _copy_operands(graph: Graph) -> tuple[Graph, set[Node]]:
    """Copies of the operands of concats that cannot be written in place."""
    draft = Stores(graph, set())
    taken: set[Node] = set(graph.updates.values())
    replace: dict[Node, Node] = {}
    homes = {id(v): k for k, v in graph.updates.items()}
    copied: set[Node] = set()
    made: dict[Node, Node] = {}
    for node in graph.order:
        inputs = [made[x] for x in node.inputs]
        if node.op is ops.concat:
            start = 0
            for i, x in enumerate(node.inputs):
                base = base_of(x)
                leading = math.prod(node.shape[: node.attrs["axis"]]) == 1
                plain = draft.computed(base) and base not in taken and (base is x or leading)
                taken.add(base)
                span = Span(homes.get(id(node), ""), start, start + x.type.count)
                start += x.type.count
                if plain or (leading and state_span(x) == span):
                    continue
                inputs[i] = _copy(inputs[i])
                copied.add(inputs[i])
        made[node] = node.with_inputs(inputs)
        if made[node] is not node:
            replace[node] = made[node]
    if not replace:
        return graph, copied
    rebuilt = Graph(
        {k: made[v] for k, v in graph.outputs.items()},
        {k: made[v] for k, v in graph.updates.items()},
        {made[n]: places for n, places in graph.merged_origins.items() if n in made},
    )
    return rebuilt, copied


def _descendants(stores: Stores) -> dict[Node, int]:
    """For each stored node, the bits of the computed nodes that need it; bit i is the i-th node of the order."""
    order = stores.graph.order
    place = {node: i for i, node in enumerate(order)}
    users = stores.graph.users
    below: dict[Node, int] = {}
    for node in reversed(order):
        bits = 0
        for user in users[node]:
            bits |= below[user] | 1 << place[user]
        below[node] = bits
    return below


def _overtakes(stores: Stores, below: dict[Node, int], state: str, writers: list[Node]) -> bool:
    """Whether some reader of the old state needs what a writer writes."""
    old = stores.graph.params.get(state)
    if old is None:
        return False
    order = stores.graph.order
    place = {node: i for i, node in enumerate(order)}
    return any(below[w] & below[old] & _bits(stores, order, state) for w in writers if w in place)


def _bits(stores: Stores, order: list[Node], state: str) -> int:
    """The nodes that read a state themselves, as bits."""
    bits = 0
    for i, node in enumerate(order):
        if (stores.computed(node) or node.op is ops.concat) and any(
            (span := state_span(x)) is not None and span.state == state for x in stores.reads(node)
        ):
            bits |= 1 << i
    return bits
