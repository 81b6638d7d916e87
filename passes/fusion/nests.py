"""Groups of nodes that become one GPU kernel: which levels their members have, and whether two groups may join.

Each member of a group is computed once for each element of the group's space, for each row of it, or once in all (see
`compiler.form`, which finds the same levels in the finished body). Members read each other at their own element or row;
anything else would need values that other programs of the kernel compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...compiler import ops
from ...compiler.graph import Node
from ...compiler.kernel import HEAVY, window_axes
from ...compiler.loops.deviations import deviations
from ...compiler.loops.digits import Digits, projection, same
from ...compiler.loops.domain import Level, is_structure, shape, window
from ..lowering.cost.reductions import Waiting, rows_of, waiting
from ..lowering.machines import Device
from .groups import Group, Groups, Option
from .materialize import Stores, state_span
from .reads import Read, reads

# Elements of a map that is launched with others as small, whatever they read.
SMALL = 1 << 12


@dataclass(frozen=True)
class Space:
    """What the members of a group share: the elements of its space; of a reduction also the rows.

    apart: the times, where rows are so few and so long that many programs sum each, and nothing waits for the sums.
    """

    count: int
    rows: int = 0
    row: Digits | None = None
    apart: Waiting | None = None

    def level(self, node: Node) -> Level | None:
        """The level of a member that is no reduction."""
        size = int(node.type.count)
        if size == self.count:
            return "full"
        if self.row is None:
            return None
        return "row" if size == self.rows else "total" if size == 1 else None


class Refused(Exception):
    """Why two groups stay apart, as a sentence."""


class BlockGroups(Groups):
    """Groups whose members share a form."""

    def __init__(self, stores: Stores, on: Device) -> None:
        self.on = on
        self.read: dict[Node, list[Read]] = {}
        self.spread: set[Node] = set()  # read windows in gather form
        self.deviations = deviations(stores.graph.order)
        super().__init__(stores)

    def single(self, node: Node) -> Group:
        self.read[node] = reads(self.stores, node)
        if any(x.op is ops.unwindow for x in self.inside(node)):
            self.spread.add(node)
        return Group([node], [], [node] if is_structure(node) else [])

    def inside(self, node: Node) -> Iterator[Node]:
        """A node and what is computed with it, since nobody stores it."""
        stack, seen = [node], {node}
        while stack:
            x = stack.pop()
            yield x
            for operand in x.inputs:
                if operand not in seen and not self.stores.stored(operand):
                    seen.add(operand)
                    stack.append(operand)

    def joined(self, a: int, b: int, *, most: int) -> list[Option] | str:
        """An empty list if the two may be one group, else the reason why they stay apart."""
        if self.once(a) != self.once(b):
            return "one is computed once, when the state was set, the other at each call"
        if not self.acyclic_with(a, b):
            return "a third kernel stands between them: joined they would wait for themselves"
        nodes = [*self.groups[a].nodes, *self.groups[b].nodes]
        try:
            space = self._levels(nodes, [*self.groups[a].heavy, *self.groups[b].heavy])
            self._share(a, b, space)
        except Refused as refused:
            return str(refused)
        members = set(nodes)
        if len({x for n in nodes for x, _ in self.read[n] if x not in members}) > most:
            return f"together they read more than {most} arrays"
        return []

    def _levels(self, nodes: list[Node], structure: list[Node]) -> Space:
        """The space; Refused unless all members have a level, and read each other at their own element or row."""
        members = set(nodes)
        for node in structure:
            if any(x in members for x, _ in self.read[node]) and not _by_rows(node):
                if window_axes(node):
                    raise Refused("a window reads elements that other programs of the kernel compute")
                raise Refused(
                    f"a {node.op.name} reads it in tiles, many times: stored, it is copied to them as it lies"
                )
        space = _space(structure, nodes, self.on)
        if space.apart is not None and len(structure) > 1 and any(n.op is ops.argmax for n in structure):
            raise Refused("a choice is made of whole rows, and the other sums are taken in parts")
        heavy = structure and (structure[0].op.family != "reduce" or window_axes(structure[0]))
        if heavy and any(n in self.spread for n in nodes):
            raise Refused("a kernel asks windows for one element at a time: in no product, and in no other windows")
        levels: dict[Node, Level] = {}
        for node in nodes:
            levels[node] = _level(node, space)
        for node in nodes:
            at = levels[node]
            if is_structure(node) and space.row is not None:
                at = "full" if at == "row" else "row"
            for x, digits in self.read[node]:
                if x in levels:
                    self._passed(node, at, x, levels[x], digits, space)
        self._overwritten(levels)
        return space

    def _passed(self, node: Node, at: Level, x: Node, level: Level, digits: Digits | None, space: Space) -> None:
        if digits is None:
            raise Refused("the reader takes other elements than those that its program computes")
        if at == level and digits == same(int(x.type.count)):
            return
        if at == "full" and level == "row" and digits == space.row:
            beside = self.deviations.get(node)
            if space.apart is not None and not (beside is not None and x in beside.between):
                raise Refused(_waits(space, space.apart))
            return
        if level == "total":
            raise Refused("a total is complete only when all programs of the kernel are done")
        raise Refused("the reader takes its elements in another order, or repeats them")

    def _overwritten(self, levels: dict[Node, Level]) -> None:
        """Refused if a member reads state that another program of the kernel may have overwritten."""
        for node, level in levels.items():
            span = self.writes.get(node)
            if span is None:
                continue
            for reader, other in levels.items():
                for x, digits in self.read[reader]:
                    read = state_span(x)
                    if read is None or read.state != span.state or read.stop <= span.start or span.stop <= read.start:
                        continue
                    if read != span or other != level or digits != same(int(node.type.count)):
                        raise Refused("one reads elements of a state that the other has overwritten")

    def small(self, i: int) -> bool:
        """Whether a group is a map of few elements."""
        group = self.groups[i]
        simple = not group.heavy and all(n.op.family == "pointwise" and n not in self.spread for n in group.nodes)
        return simple and group.nodes[0].type.count <= SMALL

    def _share(self, a: int, b: int, space: Space) -> None:
        """Refused unless one reads what the other makes, or both read an array element by element or row by row."""
        if self.small(a) and self.small(b):
            return
        for node in self.groups[b].nodes:
            if any(x in self.of and self.of[x] == a for x, _ in self.read[node]):
                return
        for node in self.groups[a].nodes:
            if any(x in self.of and self.of[x] == b for x, _ in self.read[node]):
                return
        if any(n.op.name in HEAVY for i in (a, b) for n in self.groups[i].heavy):
            raise Refused("a product reads the array in tiles of its own")
        if self.groups[a].heavy and self.groups[b].heavy:
            return
        if space.apart is not None:
            raise Refused("a long sum is taken in parts, and what else reads the array may wait for it")
        first = {(x, d) for n in self.groups[a].nodes for x, d in self.read[n]}
        if not any(d is not None and (x, d) in first for n in self.groups[b].nodes for x, d in self.read[n]):
            raise Refused("they read the array in different orders")


def _space(structure: list[Node], nodes: list[Node], on: Device) -> Space:
    """The space that the structure of a group iterates."""
    products = [n for n in structure if n.op.family != "reduce"]
    windows = [n for n in structure if window_axes(n)]
    reductions = [n for n in structure if n.op.family == "reduce" and not window_axes(n)]
    if len(products) > 1:
        raise Refused("each has a product of its own, and a kernel has at most one")
    if sum(map(bool, (products, windows, reductions))) > 1:
        raise Refused("a product, a window and a reduction each loop over elements of their own")
    if products and any(n.op is ops.random for n in nodes):
        raise Refused("random numbers would take the registers that a product needs")
    if any(window(n) != window(windows[0]) for n in windows):
        raise Refused("they read windows of different sizes")
    if reductions:
        root = max(reductions, key=lambda n: n.inputs[0].type.count)
        count, rows = int(root.inputs[0].type.count), int(root.type.count)
        if count == rows and len(nodes) > 1:
            raise Refused("nothing is summed: elements and rows cannot be told apart")
        x, axes = root.inputs[0], root.attrs["axes"]
        apart = waiting(rows_of(shape(x), axes, int(x.type.nbytes)), on)
        return Space(count, rows, projection(shape(x), axes), apart)
    root = (products or windows or nodes)[0]
    return Space(int(root.type.count))


def _waits(space: Space, apart: Waiting) -> str:
    """Why what waits for the sums of rows is a kernel of its own."""
    one = f"{apart.programs} program{'s' * (apart.programs > 1)}"
    return (
        f"{space.rows} rows of {space.count // space.rows} elements are summed in parts by many programs, and what "
        f"waits for them follows: {apart.parts * 1e6:.0f} us; in one kernel {one} would need {apart.whole * 1e6:.0f}"
    )


def _by_rows(node: Node) -> bool:
    """Whether a node sums rows: its operand may be computed by the program that sums."""
    return node.op.family == "reduce" and not window_axes(node)


def _level(node: Node, space: Space) -> Level:
    """The level of a member."""
    if _by_rows(node) and space.row is not None:
        x = node.inputs[0]
        if x.type.count == space.count and projection(shape(x), node.attrs["axes"]) == space.row:
            return "row"
        if x.type.count == space.rows and node.type.count == 1:
            return "total"
        raise Refused("they sum over different axes")
    if (found := space.level(node)) is None:
        raise Refused("they have different numbers of elements")
    return found
