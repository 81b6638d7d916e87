"""Cutting a graph at calls out of it: what comes before and after Python functions are graphs of their own.

A node belongs to the part after all calls that it depends on, so parts are as few as calls stand behind each other.
What a later part reads is an output of the earlier one, under a name that begins with a point. State is written in the
last part: until then all read what it was. What is read off inputs, state and constants without arithmetic is read
again in each part.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import ops
from ..compiler.graph import Graph, Node, at
from ..compiler.host import HostFunction
from ..compiler.program import HostCall, StateInfo
from ..grammar.source import UserError
from .training.precision import NARROW


def split(graph: Graph) -> tuple[Graph | HostCall, ...]:
    """The parts of a graph and the calls between them, in an order in which they run; the graph itself without any."""
    if not any(node.op is ops.host for node in graph.order):
        return (graph,)
    cut = _Cut(graph)
    levels = range(cut.last, -1, -1)
    parts = {level: cut.part(level) for level in levels}  # the last first: a part says what it wants of those before
    found: list[Graph | HostCall] = []
    for level in reversed(levels):
        found += [parts[level]] if parts[level].roots else []
        found += [cut.call(node) for node in graph.order if node.op is ops.host and cut.levels[node] == level]
    return tuple(found)


def check_state(held: Sequence[StateInfo], wanted: Sequence[StateInfo]) -> None:
    """UserError where a net for other sizes of what calls give would have another state."""
    types = {info.name: info.type for info in held}
    for info in wanted:
        if types.get(info.name) != info.type:
            what = f"it is {types.get(info.name, 'not there')}: no parameter may depend on sizes that change"
            raise UserError(f"`{info.name}` would be {info.type} for what the Python layers give now, {what}")


class _Cut:
    """A graph with the level of each node: how many calls stand before it, one behind the other."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.levels: dict[Node, int] = {}
        self.free: set[Node] = set()
        for node in graph.order:
            self.levels[node] = max((self.levels[x] for x in node.inputs), default=0) + (node.op is ops.item)
            source = node.op.family == "source" and node.op is not ops.random
            if source or (node.op.family == "movement" and all(x in self.free for x in node.inputs)):
                self.free.add(node)
        self.last = max(self.levels[node] for node in graph.roots)
        self.names: dict[Node, str] = {}
        self.wanted: dict[int, dict[str, Node]] = {level: {} for level in range(self.last + 1)}
        for name, node in graph.outputs.items():
            self.wanted[self.last if node in self.free else self.levels[node]][name] = node
        for node in graph.order:
            for x in node.inputs if node.op is ops.host else ():
                self.name(x)

    def name(self, node: Node) -> str:
        """The name of a value between two parts, which the part that makes it then gives."""
        if node.op is ops.input_:
            return str(node.attrs["name"])
        if node.op is ops.item:
            return _function(node.inputs[0]).result(node.attrs["index"])
        if node not in self.names:
            self.names[node] = f".cut{len(self.names)}"
            with at(node.span, node.scope):
                shown = node if node.dtype not in NARROW else ops.cast(node, dtype="f32")
            self.levels[shown] = self.levels[node]
            self.wanted[self.levels[node]][self.names[node]] = shown
        return self.names[node]

    def part(self, level: int) -> Graph:
        """The graph of a level, whose inputs are values of those before."""
        graph = Graph(self.wanted[level], self.graph.updates if level == self.last else {}, self.graph.merged_origins)
        read: dict[Node, Node] = {}
        seen: set[Node] = set()
        waiting = graph.roots
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.op is ops.item or (node not in self.free and self.levels[node] < level):
                dtype = node.dtype if node.dtype not in NARROW else "f32"  # which holds it, and is what arrays are of
                with at(node.span, node.scope):
                    given = ops.input_(name=self.name(node), shape=node.shape, dtype=dtype)
                    read[node] = given if dtype == node.dtype else ops.cast(given, dtype=node.dtype)
            else:
                waiting += node.inputs
        return graph.rebuild(read)

    def call(self, node: Node) -> HostCall:
        """A node of the graph as a call between two parts."""
        function = _function(node)
        results = {function.result(i): type_ for i, type_ in enumerate(node.attrs["results"])}
        return HostCall(function.name, function, tuple(map(self.name, node.inputs)), results, function.wanted is None)


def _function(node: Node) -> HostFunction:
    function = node.attrs["function"]
    assert isinstance(function, HostFunction)
    return function
