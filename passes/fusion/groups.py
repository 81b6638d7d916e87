"""Union of groups, and reachability between them: which groups of nodes there are, and which of them wait for which.

Two groups may become one if the graph of groups stays acyclic. That is told by bitsets of who can be reached, updated
at each merge: convexity of each group alone is not enough. Whether their members can be computed together is another
question, which a `Legality` answers; its answer, the form of a group, is kept here and not looked into.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ...compiler import ops
from ...compiler.graph import Graph, GraphError, Node
from ...compiler.kernel import Blocks, Kind, Schedule
from ..rules.rewrite import Refuse
from .axes import Axis, Tiling
from .materialize import Stores, flat_view

Form = TypeVar("Form")


@dataclass
class Group(Generic[Form]):
    """Nodes in topological order, and how they are computed together."""

    nodes: list[Node]
    form: Form


class Legality(Protocol[Form]):
    """Whether nodes can be computed together, for a kind of kernels, and how.

    rounds: whether refused pairs are tried again after others have joined, and readers that are far apart; else each
    pair is tried once.
    """

    rounds: bool
    stores: Stores

    def alone(self, node: Node) -> Form:
        """The form of the group of one node."""

    def join(self, a: Group[Form], b: Group[Form]) -> Form | Refuse:
        """The form of the two as one group, or why they stay apart; that no third waits between them is known."""

    def reason(self, group: Group[Form], reader: Node, passed: bool) -> str:
        """Why joining pays, for the ledger. passed: whether the reader reads what the other makes."""

    def small(self, group: Group[Form]) -> bool:
        """Whether a group is worth joining to another such only to save its launch."""

    def known(self, groups: Groups[Form], nofuse: Collection[str]) -> set[Node]:
        """After fusion: the nodes that those who read them had better recompute. nofuse: layers that stay apart."""

    def tiling(self, group: Group[Form]) -> Tiling:
        """How the nodes of a group that is complete are cut into tiles."""

    def kernel(self, body: Graph, axes: tuple[Axis, ...], length: int) -> tuple[Kind, Schedule | Blocks]:
        """The kind of the kernel that a body is, and its schedule before numbers are chosen."""


class Groups(Generic[Form]):
    """All groups of a graph, and their order; a concat, which its operands fill, is one that never joins another."""

    def __init__(self, legality: Legality[Form]) -> None:
        self.stores = stores = legality.stores
        self.of: dict[Node, int] = {}
        self.groups: dict[int, Group[Form]] = {}
        self.after: dict[int, int] = {}
        self.next: dict[int, int] = {}
        nodes = [n for n in stores.graph.order if stores.computed(n) or n.op is ops.concat]
        for i, node in enumerate(nodes):
            self.of[node] = i
            self.groups[i] = Group([node], legality.alone(node))
            self.next[i] = 0
        for node in nodes:
            for x in (*stores.reads(node), *stores.waits(node)):
                of = flat_view(x)
                made = x if x in self.of else of[0] if of else x
                if made in self.of:
                    self.next[self.of[made]] |= 1 << self.of[node]
        for node, span in stores.writes.items():
            for reader, read in stores.state_readers.get(span.state, ()):
                if reader is not node and span.meets(read):
                    self.next[self.of[reader]] |= 1 << self.of[node]
        self._close()

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

    def apart(self, a: int, b: int) -> Refuse | None:
        """Why two groups cannot be one whatever they compute."""
        if (self.groups[a].nodes[0] in self.stores.prepared) != (self.groups[b].nodes[0] in self.stores.prepared):
            return Refuse("one is computed once, when the state was set, the other at each call")
        if self._detour(a, b) or self._detour(b, a):
            return Refuse("a third kernel stands between them: joined they would wait for themselves")
        return None

    def _detour(self, a: int, b: int) -> bool:
        """Whether a path leads from one group to the other through a third."""
        if not self.after[a] >> b & 1:
            return False
        return any(self.after[c] >> b & 1 for c in bits(self.next[a] & ~(1 << b)))

    def merge(self, a: int, b: int, form: Form) -> Group[Form]:
        """Make b part of a."""
        first, second = self.groups[a], self.groups.pop(b)
        first.nodes += second.nodes
        first.form = form
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
        return first


def bits(value: int) -> list[int]:
    """The numbers of the bits that are set."""
    found = []
    while value:
        low = value & -value
        found.append(low.bit_length() - 1)
        value ^= low
    return found
