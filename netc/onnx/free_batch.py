"""Symbolic sizes: which numbers of a graph depend on the batch, found by building the net for several batches.

A size that is a + b N for three batches is taken to be that; types hold sizes as numbers, so nothing else says it. A
graph in which any other number follows the batch (1 / N, say) has no free batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..compiler.graph import Graph, Node

# Unlikely as sizes of anything else; so equal sizes are no accident.
BATCHES = (61, 67, 73)


@dataclass(frozen=True)
class Size:
    """`base + slope * N`."""

    base: int
    slope: int = 0

    def __str__(self) -> str:
        times = "N" if self.slope == 1 else f"{self.slope}*N"
        return str(self.base) if not self.slope else f"{times}+{self.base}" if self.base else times


Sizes = tuple[Size, ...]
ONE, BATCH = Size(1), Size(0, 1)
# Attributes in which a size may follow the batch.
_SIZED = frozenset({"shape", "start", "stop"})


class FixedBatch(Exception):
    """Why a graph has no free batch."""


class SizeTable:
    """The sizes of a graph's nodes, given the same graph for several batches (or for one: all sizes are numbers).

    Raises FixedBatch where another number than a size depends on the batch.
    """

    def __init__(self, graphs: Sequence[Graph], batches: Sequence[int] = BATCHES) -> None:
        self.free = len(graphs) > 1
        self._batches = batches
        orders = [graph.order for graph in graphs]
        if len({len(order) for order in orders}) != 1:
            raise FixedBatch("its layers differ from batch to batch")
        self._same = {nodes[0]: nodes for nodes in zip(*orders, strict=True)}
        for node, nodes in self._same.items():
            if len({x.op for x in nodes}) != 1 or len({tuple(x.attrs) for x in nodes}) != 1:
                raise FixedBatch(f"{node.scope or 'an expression'} differs from batch to batch")
            for key, value in node.attrs.items():
                if any(x.attrs[key] != value for x in nodes) and key not in _SIZED:
                    raise FixedBatch(f"`{key}` of {node.op.name} in {node.scope or 'an expression'} depends on it")
            self.shape(node)

    def shape(self, node: Node) -> Sizes:
        return self._sizes([x.shape for x in self._same[node]], node)

    def attr(self, node: Node, key: str) -> Sizes:
        """An attribute of sizes."""
        return self._sizes([x.attrs[key] for x in self._same[node]], node)

    def _sizes(self, found: Sequence[Sequence[Any]], node: Node) -> Sizes:
        return tuple(self._size(numbers, node) for numbers in zip(*found, strict=True))

    def _size(self, numbers: Sequence[int], node: Node) -> Size:
        first = int(numbers[0])
        if all(number == first for number in numbers):
            return Size(first)
        low, high = self._batches[:2]
        slope = (int(numbers[1]) - first) // (high - low)
        size = Size(first - slope * low, slope)
        if any(size.base + slope * n != number for n, number in zip(self._batches, numbers, strict=True)):
            raise FixedBatch(f"a size of {node.op.name} in {node.scope or 'an expression'} is no multiple of it")
        return size


def broadcast(*shapes: Sizes) -> Sizes:
    """numpy's broadcasting, of shapes that do broadcast."""
    rank = max(map(len, shapes))
    wide = [(ONE,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((size for size in sizes if size != ONE), ONE) for sizes in zip(*wide, strict=True))
