"""After fusion: values that a kernel stores although all their readers read what they are computed from.

So a kernel of LRN's backward pass, which reads the gradient, the scale and the input, also computes their product at
each channel of a window, and the kernel before it stores the gradient alone.
"""

from __future__ import annotations

from collections.abc import Collection

from ...compiler.graph import Node
from .nests import BlockGroups
from .reads import positions, takes_tiles
from .recompute import MOST_WORK_IN_WINDOW, SMALL, apart, kept, work


def known_to_readers(groups: BlockGroups, nofuse: Collection[str] = ()) -> set[Node]:
    """The nodes that are better computed again by the groups that read them than stored by the one that makes them."""
    return _Known(groups, nofuse).find()


class _Known:
    def __init__(self, groups: BlockGroups, nofuse: Collection[str]) -> None:
        self.groups = groups
        self.nofuse = nofuse
        self.kept = kept(groups.stores)
        self.readers: dict[Node, dict[Node, None]] = {}
        self.reads: dict[int, set[Node]] = {i: set() for i in groups.groups}
        for node, found in groups.read.items():
            for x, _ in found:
                self.readers.setdefault(x, {})[node] = None
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
        inside: set[Node] = set()
        leaves: set[Node] = set()
        parts: set[Node] = set()
        stack = [node]
        while stack:
            x = stack.pop()
            if x in inside:
                continue
            inside.add(x)
            parts.update(part for part in self.groups.inside(x) if part.op.family == "pointwise")
            for below, _ in self.groups.read[x]:
                if below not in self.found and self._stored(below):
                    leaves.add(below)
                elif below.op.family == "pointwise":
                    stack.append(below)
                else:
                    return
        large = {x for x in leaves if x.type.nbytes * SMALL > node.type.nbytes}
        operations = sum(map(work, parts))
        for reader in others:
            spread = 1
            if any(digits is None for x, digits in self.groups.read[reader] if x is node):
                spread = max(positions(x) for x in self.groups.inside(reader))
            if not large <= self.reads[self.groups.of[reader]] or operations * spread > MOST_WORK_IN_WINDOW:
                return
        self.found |= inside
        self.pinned |= leaves
