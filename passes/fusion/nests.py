"""Loop-nest legality, for GPUs and what is evaluated at an index: all of a kernel is at its anchor's elements or rows.

Each member of a group is computed once for each element of an iteration domain, for each row of it, or once in all (see
`compiler.loops.domain`, which finds the same granularities in the finished body). Members read each other at their own
element or row; anything else would need values that other programs of the kernel compute. The form of a group is its
anchors: the products, reductions, windows and scatters among its members.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import HEAVY, Blocks, Kind, window_axes
from ...compiler.loops.deviations import deviations
from ...compiler.loops.domain import Granularity, by_rows, by_structure, domain_of, is_anchor, shape, window
from ...compiler.loops.index import Expr
from ...compiler.loops.view import access, identity, projection
from ...compiler.ops.partial import divides
from ..lowering.cost.reductions import Waiting, rows_of, waiting
from ..lowering.machines import Device
from ..rules.rewrite import Refuse
from .axes import Axis, Tiling
from .groups import Group, Groups
from .materialize import Stores, operands, state_span
from .recompute import Read, known_to_readers

# Arrays that one kernel may read: more would make a function that nobody reads.
MOST_READS = 40
# Elements of a map that is launched with others as small, whatever they read.
SMALL = 1 << 12

Anchors = tuple[Node, ...]


@dataclass(frozen=True)
class Extent:
    """The iteration domain of a group by its numbers: elements; of a reduction also rows, and an element's row.

    split: the times, where rows are so few and so long that many programs sum each, and nothing waits for the sums.
    """

    elements: int
    rows: int = 0
    row: Expr | None = None
    split: Waiting | None = None


class Nests:
    """Groups whose members are one loop nest."""

    rounds = True

    def __init__(self, stores: Stores, on: Device) -> None:
        self.stores = stores
        self.on = on
        made = [n for n in stores.graph.order if stores.computed(n)]
        self.read: dict[Node, list[Read]] = {n: reads(stores, n) for n in made}
        # What reads windows in gather form.
        self.spread = {n for n in made if any(x.op is ops.unwindow for x in stores.inlined(n))}
        self.deviations = deviations(stores.graph.order)

    def alone(self, node: Node) -> Anchors:
        return (node,) if is_anchor(node) else ()

    def join(self, a: Group[Anchors], b: Group[Anchors]) -> Anchors | Refuse:
        nodes, anchors = [*a.nodes, *b.nodes], (*a.form, *b.form)
        members = set(nodes)
        extent = self._anchored(anchors, members) or _extent(anchors, nodes, self.on)
        if isinstance(extent, Refuse):
            return extent
        refused = self._members(nodes, anchors, extent) or self._share(a, b, extent)
        if refused is None and len({x for n in nodes for x, _ in self.read[n] if x not in members}) > MOST_READS:
            refused = Refuse(f"together they read more than {MOST_READS} arrays")
        return refused or anchors

    def _anchored(self, anchors: Anchors, members: Collection[Node]) -> Refuse | None:
        """Refused where an anchor reads members in an order of its own."""
        for node in anchors:
            if by_rows(node) or not any(x in members for x, _ in self.read[node]):
                continue
            if window_axes(node):
                return Refuse("a window reads elements that other programs of the kernel compute")
            return Refuse(f"a {node.op.name} reads it in tiles, many times: stored, it is copied to them as it lies")
        return None

    def _members(self, nodes: list[Node], anchors: Anchors, extent: Extent) -> Refuse | None:
        """Refused unless all members have a granularity, and read each other at their own element or row."""
        if extent.split is not None and len(anchors) > 1 and any(n.op is ops.argmax for n in anchors):
            return Refuse("a choice is made of whole rows, and the other sums are taken in parts")
        if anchors and not by_rows(anchors[0]) and any(n in self.spread for n in nodes):
            return Refuse("a kernel asks windows for one element at a time: in no product, and in no other windows")
        levels: dict[Node, Granularity] = {}
        for node in nodes:
            level = _level(node, extent)
            if isinstance(level, Refuse):
                return level
            levels[node] = level
        for node in nodes:
            at = levels[node]
            if is_anchor(node) and extent.row is not None:
                at = "element" if at == "row" else "row"
            for x, by in self.read[node]:
                if x in levels and (refused := self._passed(node, at, x, levels[x], by, extent)):
                    return refused
        return self._overwritten(levels)

    def _passed(
        self, node: Node, at: Granularity, x: Node, level: Granularity, by: Expr | None, extent: Extent
    ) -> Refuse | None:
        """Refused unless a member reads another where that is computed by the same program, before it is read."""
        if by is None:
            return Refuse("the reader takes other elements than those that its program computes")
        if at == level and by == identity(int(x.type.count)):
            return None
        if at == "element" and level == "row" and by == extent.row:
            beside = self.deviations.get(node)
            if extent.split is not None and not (beside is not None and x in beside.between):
                return Refuse(_waits(extent, extent.split))
            return None
        if level == "scalar":
            return Refuse("a total is complete only when all programs of the kernel are done")
        return Refuse("the reader takes its elements in another order, or repeats them")

    def _overwritten(self, levels: dict[Node, Granularity]) -> Refuse | None:
        """Refused if a member reads state that another program of the kernel may have overwritten."""
        for node, level in levels.items():
            span = self.stores.writes.get(node)
            if span is None:
                continue
            for reader, other in levels.items():
                for x, by in self.read[reader]:
                    read = state_span(x)
                    if read is None or not read.meets(span):
                        continue
                    if read != span or other != level or by != identity(int(node.type.count)):
                        return Refuse("one reads elements of a state that the other has overwritten")
        return None

    def _share(self, a: Group[Anchors], b: Group[Anchors], extent: Extent) -> Refuse | None:
        """Refused unless one reads what the other makes, or both read an array element by element or row by row."""
        if self.small(a) and self.small(b):
            return None
        if self._takes(a, b.nodes) or self._takes(b, a.nodes):
            return None
        if any(n.op.name in HEAVY for n in (*a.form, *b.form)):
            return Refuse("a product reads the array in tiles of its own")
        if a.form and b.form:
            return None
        if extent.split is not None:
            return Refuse("a long sum is taken in parts, and what else reads the array may wait for it")
        first = {read for n in a.nodes for read in self.read[n]}
        if not any(by is not None and (x, by) in first for n in b.nodes for x, by in self.read[n]):
            return Refuse("they read the array in different orders")
        return None

    def _takes(self, group: Group[Anchors], made: Collection[Node]) -> bool:
        """Whether a group reads what is made elsewhere."""
        made = frozenset(made)
        return any(x in made for n in group.nodes for x, _ in self.read[n])

    def small(self, group: Group[Anchors]) -> bool:
        simple = not group.form and all(n.op.family == "pointwise" and n not in self.spread for n in group.nodes)
        return simple and group.nodes[0].type.count <= SMALL

    def known(self, groups: Groups[Anchors], nofuse: Collection[str]) -> set[Node]:
        return known_to_readers(groups, self.read, nofuse)

    def reason(self, group: Group[Anchors], reader: Node, passed: bool) -> str:
        return "passed on in registers" if passed else "read together, once"

    def tiling(self, group: Group[Anchors]) -> Tiling:
        return Tiling(0, dict.fromkeys(group.nodes))

    def kernel(self, body: Graph, axes: tuple[Axis, ...], length: int) -> tuple[Kind, Blocks]:
        return domain_of(body).kind, Blocks()


def reads(stores: Stores, node: Node) -> list[Read]:
    """The stored nodes that a node reads, from its own number; a sum from its operand's."""
    count = int((node.inputs[0] if by_rows(node) else node).type.count)
    return stores.reads_by(node, identity(count), _operands) or []


def _operands(node: Node, by: Expr | None) -> tuple[Expr | None, ...]:
    """The map by which each operand is read, None where there is none, of a node that is itself read by one."""
    found = by if by is None or by_rows(node) else access(node, by)
    return (found,) * len(operands(node))


def _extent(anchors: Anchors, nodes: list[Node], on: Device) -> Extent | Refuse:
    """What the anchors of a group iterate over."""
    products, windows, reductions = by_structure(anchors)
    if len(products) > 1:
        return Refuse("each has a product of its own, and a kernel has at most one")
    if sum(map(bool, (products, windows, reductions))) > 1:
        return Refuse("a product, a window and a reduction each loop over elements of their own")
    if products and any(n.op is ops.random for n in nodes):
        return Refuse("random numbers would take the registers that a product needs")
    if any(window(n) != window(windows[0]) for n in windows):
        return Refuse("they read windows of different sizes")
    if not reductions:
        return Extent(int((products or windows or nodes)[0].type.count))
    root = max(reductions, key=lambda n: n.inputs[0].type.count)
    x, axes = root.inputs[0], root.attrs["axes"]
    elements, rows = int(x.type.count), int(root.type.count)
    if elements == rows and len(nodes) > 1:
        return Refuse("nothing is summed: elements and rows cannot be told apart")
    split = waiting(rows_of(shape(x), axes, int(x.type.nbytes)), on)
    return Extent(elements, rows, projection(shape(x), axes), split)


def _waits(extent: Extent, split: Waiting) -> str:
    """Why what waits for the sums of rows is a kernel of its own."""
    one = f"{split.programs} program{'s' * (split.programs > 1)}"
    return (
        f"{extent.rows} rows of {extent.elements // extent.rows} elements are summed in parts by many programs, and "
        f"what waits for them follows: {split.parts * 1e6:.0f} us; in one kernel {one} would need "
        f"{split.whole * 1e6:.0f}"
    )


def _level(node: Node, extent: Extent) -> Granularity | Refuse:
    """The granularity of a member."""
    size = int(node.type.count)
    if extent.row is not None and by_rows(node):
        x = node.inputs[0]
        if x.type.count == extent.elements and projection(shape(x), node.attrs["axes"]) == extent.row:
            return "row"
        if x.type.count != extent.rows or size != 1:
            return Refuse("they sum over different axes")
        return "scalar" if divides(node.op) else Refuse("a choice among all rows is made by one program")
    if size == extent.elements:
        return "element"
    if extent.row is not None and size in (extent.rows, 1):
        return "row" if size == extent.rows else "scalar"
    return Refuse("they have different numbers of elements")
