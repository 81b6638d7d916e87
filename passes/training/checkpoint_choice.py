"""Rematerialization under a memory budget: sets of layers to recompute, by the bytes that they save an operation.

A forward value that the backward pass reads is held from the one to the other. An interval of layers may be a region
(`checkpoint`): its values are held from when the backward pass enters it, and before that only what it reads from
outside. How many bytes are held at each layer of the backward pass follows by counting. What a program needs besides,
and what fusion makes of it, is not counted: who chooses has to compile. Of intervals that overlap the one with
most bytes an operation is taken, first of small ones, then of ever larger ones: many small regions hold their edges,
and few large ones are large themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...compiler import ops
from ...compiler.graph import Graph, Node

# The largest regions that are tried, as shares of all that is held.
SHARES = (2, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Recomputation:
    """Layers to recompute, by region. held: the most bytes of forward values at a time. work: operations more."""

    regions: Mapping[str, int]
    held: int
    work: int


@dataclass(frozen=True)
class _Interval:
    first: int
    last: int
    held: int
    saved: int
    work: int


def choices(graph: Graph, outputs: Collection[str], layers: Sequence[str]) -> list[Recomputation]:
    """What may be recomputed in a training step, the least work first; the first of them is nothing.

    outputs: those of the forward pass. layers: in their order.
    """
    held = _Held(graph, outputs, layers)
    found: dict[tuple[tuple[int, int], ...], Recomputation] = {(): Recomputation({}, held.most(()), 0)}
    intervals = held.intervals(held.total // min(SHARES))
    for share in SHARES:
        chosen: list[_Interval] = []
        for interval in intervals:
            if interval.held * share <= held.total and all(
                interval.last < other.first or other.last < interval.first for other in chosen
            ):
                chosen.append(interval)
                plan = tuple(sorted((x.first, x.last) for x in chosen))
                regions = {layers[i]: k for k, (a, b) in enumerate(plan, 1) for i in range(a, b + 1)}
                found[plan] = Recomputation(regions, held.most(plan), sum(x.work for x in chosen))
    return sorted(found.values(), key=lambda choice: choice.work)


class _Held:
    """The values of a forward pass that its backward pass reads, by the numbers of their layers."""

    def __init__(self, graph: Graph, outputs: Collection[str], layers: Sequence[str]) -> None:
        number = {name: i for i, name in enumerate(layers)}
        self.layers = len(layers)
        forward: set[Node] = set()
        stack = [graph.outputs[name] for name in outputs if name in graph.outputs]
        while stack:
            node = stack.pop()
            if node not in forward:
                forward.add(node)
                stack += node.inputs
        self.of = {node: number[node.scope] for node in graph.order if node in forward and node.scope in number}
        self.reads: list[set[Node]] = [set() for _ in layers]  # values of other layers
        self.made: list[int] = [0] * self.layers  # bytes
        self.work: list[int] = [0] * self.layers
        self.uses: dict[Node, list[int]] = {}  # the layers whose gradients read a value
        for node in graph.order:
            if node in self.of:
                i = self.of[node]
                self.reads[i].update(x for x in _read(node) if self.of.get(x, i) != i)
                self.work[i] += int(node.op.flops(node.result, *(x.result for x in node.inputs), **node.attrs))
            elif node not in forward:
                for x in _read(node):
                    if x in self.of:
                        self.uses.setdefault(x, []).append(number.get(node.scope, self.of[x]))

        for x in self.uses:
            self.made[self.of[x]] += int(x.type.nbytes)
        self.total = sum(self.made)

    def edges(self, first: int, last: int) -> set[Node]:
        """What layers read that others made."""
        found = set().union(*self.reads[first : last + 1])
        return {x for x in found if not first <= self.of[x] <= last}

    def intervals(self, most: int) -> list[_Interval]:
        """Regions with at most so many bytes, by what they save an operation."""
        found = []
        for first in range(self.layers):
            held = work = 0
            for last in range(first, self.layers):
                held += self.made[last]
                work += self.work[last]
                if held > most:
                    break
                saved = held - sum(int(x.type.nbytes) for x in self.edges(first, last) if x not in self.uses)
                if saved > 0:
                    found.append(_Interval(first, last, held, saved, work))
        return sorted(found, key=lambda x: (-x.saved / max(1, x.work), x.first, x.last))

    def most(self, regions: Sequence[tuple[int, int]]) -> int:
        """The most bytes that are held at a time: at each layer, when the backward pass is there."""
        change = [0] * (self.layers + 1)  # from a layer on, in the order of the forward pass

        def hold(node: Node, low: int, high: int) -> None:
            change[low] += node.type.nbytes
            change[high + 1] -= node.type.nbytes

        region = {i: (a, b) for a, b in regions for i in range(a, b + 1)}
        edges: dict[Node, int] = {}
        for a, b in regions:
            for x in self.edges(a, b):
                edges[x] = min(b, edges.get(x, b))
        for x in {**self.uses, **edges}:
            low = min((*self.uses.get(x, ()), *((edges[x],) if x in edges else ())))
            inside = region.get(self.of[x])
            hold(x, low, self.layers - 1 if inside is None or x in edges else max(inside[1], *self.uses[x]))
        at, most = 0, 0
        for step in change:
            at += step
            most = max(most, at)
        return most


def _read(node: Node) -> Iterator[Node]:
    """The values in memory that a node reads, through what only moves them."""
    stack, seen = list(node.inputs), set[Node]()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if x.op.family == "movement":
            stack += x.inputs
        elif x.op.family != "source" or x.op is ops.random:
            yield x
