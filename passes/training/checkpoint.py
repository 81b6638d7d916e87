"""Gradient checkpointing: the backward pass computes some forward values again instead of finding them in memory.

Layers to recompute are numbered by regions. Where a gradient rule asks for a value of a region it gets a clone, which
is computed from the values at the region's edge: only these are kept meanwhile. A value at the edge is read behind an
`after`, which waits for the gradient with which the region is entered. So the clone is neither computed too early nor
taken for the node that it repeats, as merging joins only nodes with equal operands. Random bits are the same in both,
since they are a function of seed and step, which a clone reads behind `after` too. What else state alone decides is
not cloned.

Source of the idea: Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...compiler import ops
from ...compiler.graph import Graph, Node, at


class Checkpoints:
    """The forward values of a graph as its gradient rules see them. regions: a number for each layer to recompute."""

    def __init__(self, graph: Graph, regions: Mapping[str, int]) -> None:
        self.regions = regions
        self.waits: dict[int, Node] = {}  # the gradient with which a region is entered
        self.clones: dict[Node, Node] = {}
        self.edges: dict[tuple[int, Node], Node] = {}
        self.fixed: set[Node] = set()
        for node in graph.order if regions else ():
            if node.op not in (ops.input_, ops.random) and all(x in self.fixed for x in node.inputs):
                self.fixed.add(node)

    def seen(self, values: Iterable[Node], reader: Node, gradient: Node) -> list[Node]:
        """What the gradient rule of a node reads for some forward values. gradient: the one it is given."""
        return [self._seen(x, self._region(reader), gradient) for x in values] if self.regions else [*values]

    def _region(self, node: Node) -> int | None:
        kept = node in self.fixed or node.op in (ops.input_, ops.host, ops.item)  # Python is not called twice
        return None if kept else self.regions.get(node.scope)

    def _seen(self, value: Node, inside: int | None, gradient: Node) -> Node:
        region = self._region(value)
        # Where another region begins, its clones read what is kept here.
        if region is None or inside not in (None, region):
            return value
        self.waits.setdefault(region, gradient)
        stack = [value]
        while stack:
            node = stack[-1]
            missing = [x for x in node.inputs if x not in self.clones and self._region(x) == region]
            if missing:
                stack += missing
                continue
            stack.pop()
            if node not in self.clones:
                self.clones[node] = self._clone(node, region)
        return self.clones[value]

    def _clone(self, node: Node, region: int) -> Node:
        own = node.op is ops.random
        inputs = [self.clones[x] if self._region(x) == region else self._edge(x, region, own) for x in node.inputs]
        with at(node.span, node.scope):
            return node.op(*inputs, **node.attrs)

    def _edge(self, value: Node, region: int, own: bool) -> Node:
        """A value at the edge of a region, read after the region is entered. own: also one that state decides."""
        if value in self.fixed and not own:
            return value
        key = region, value
        if key not in self.edges:
            with at(value.span, value.scope):
                self.edges[key] = ops.after(value, self.waits[region])
        return self.edges[key]
