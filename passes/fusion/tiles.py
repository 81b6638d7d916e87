"""Tiling legality, for numpy: calls may share a loop over tiles of one axis, and what they pass on stays in the cache.

The form of a group is its tilings: for each axis along which all its members can be cut into tiles together, the axis
of each member and of each value it reads. Two groups join where a tiling of one agrees with a tiling of the other on
what passes between them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ...compiler.graph import Graph, Node
from ...compiler.kernel import HEAVY, TOTAL, Kind, Schedule, kind_of
from ..rules.rewrite import Refuse
from .axes import Axis, Tiling, choices, pull
from .groups import Group, Groups
from .materialize import Stores, operands, state_span

# Arrays that one kernel may read: more would make a function that nobody reads, and fill the cache with rows of all.
MOST_READS = 40
# Values of a group that is not cut into tiles are held whole: beyond this size they would leave the cache.
LARGEST_WHOLE = 96 * 1024
# Below this many bytes moved and multiplications a kernel runs on one thread, untiled.
SMALL = 1 << 17


@dataclass
class Tilings:
    """The form of a group: how it may be tiled, and its products."""

    options: list[Tiling]
    products: list[Node] = field(default_factory=list)


class Tiles:
    """Groups whose members are computed tile by tile."""

    rounds = False

    def __init__(self, stores: Stores) -> None:
        self.stores = stores

    def alone(self, node: Node) -> Tilings:
        options = []
        for axis in choices(node):
            reads = self.reads(node, axis)
            if reads is not None and (length := _length(node, axis, reads)) > 1:
                options.append(Tiling(length, {node: axis}, reads))
        options.append(Tiling(0, {node: None}, self.reads(node, None) or {}))
        return Tilings(options, [node] if node.op.name in HEAVY else [])

    def reads(self, node: Node, axis: Axis) -> dict[Node, set[Axis]] | None:
        """The stored nodes that a node reads when tiled along an axis, with the axes in which it reads them."""
        reads = self.stores.reads_by(node, axis, _operands)
        if reads is None:
            return None
        found: dict[Node, set[Axis]] = {}
        for x, along in reads:
            found.setdefault(x, set()).add(along)
        return found

    def join(self, a: Group[Tilings], b: Group[Tilings]) -> Tilings | Refuse:
        joined = Tilings([], [*a.form.products, *b.form.products])
        why = Refuse("no axis along which both can be cut into the same tiles")
        for x in a.form.options:
            for y in b.form.options:
                if x.length != y.length or not (_agree(x, y) and _agree(y, x) and _meet(x, y)):
                    continue
                found = self._both(x, y, joined.products)
                if isinstance(found, Tiling):
                    joined.options.append(found)
                elif found is not None:
                    why = found
        return joined if joined.options else why

    def _both(self, x: Tiling, y: Tiling, products: list[Node]) -> Tiling | Refuse | None:
        """The tiling of two that agree, None where it would be of no use."""
        axes = {**x.axes, **y.axes}
        # Any number of those that are summed over the tiles.
        if sum(axes[n] != TOTAL for n in products) > 1:
            return Refuse("each has a product of its own, and a kernel has at most one")
        both = dict.fromkeys((*x.reads, *y.reads))
        reads = {n: x.reads.get(n, set()) | y.reads.get(n, set()) for n in both if n not in axes}
        if x.length == 0 and any(n.type.nbytes > LARGEST_WHOLE for n in (*axes, *both)):
            return None
        if not self._safe(axes, reads):
            return Refuse("one reads elements of a state that the other has overwritten")
        if len(reads) > MOST_READS:
            return Refuse(f"together they read more than {MOST_READS} arrays")
        return Tiling(x.length, axes, reads)

    def _safe(self, axes: dict[Node, Axis], reads: dict[Node, set[Axis]]) -> bool:
        """Whether what is written into a state is read, in this group, only in the tile that overwrites it."""
        for node in axes:
            span = self.stores.writes.get(node)
            if span is None:
                continue
            for x, along in reads.items():
                read = state_span(x)
                if read is None or not read.meets(span):
                    continue
                if read != span or along != {axes[node]} or x.shape != node.shape:
                    return False
        return True

    def reason(self, group: Group[Tilings], reader: Node, passed: bool) -> str:
        best = self.tiling(group)
        axis = best.axes.get(reader)
        cut = f"an axis of {best.length}" if axis is None or axis == TOTAL else f"axis {axis} ({reader.shape[axis]})"
        how = f"in tiles of {cut}" if best.length else "held whole, it is small"
        return f"{'passed on' if passed else 'read together'} {how}, it stays in the cache"

    def small(self, group: Group[Tilings]) -> bool:
        return False  # a call costs as much in one kernel as in two

    def known(self, groups: Groups[Tilings], nofuse: Collection[str]) -> set[Node]:
        return set()  # what is recomputed in one kernel would be stored in its scratch memory

    def tiling(self, group: Group[Tilings]) -> Tiling:
        """The best tiling: whole if the group is small; else the axis whose tiles need the fewest whole reads."""
        options = group.form.options
        whole = [o for o in options if o.length == 0]
        tiled = [o for o in options if o.length]
        moved = sum(n.type.nbytes for n in (*group.nodes, *options[0].reads))
        products = group.form.products
        work = max((n.op.flops(n.result, *(x.result for x in n.inputs), **n.attrs) for n in products), default=0)
        if whole and (not tiled or moved + work // 16 < SMALL):
            return whole[0]
        return min(tiled, key=_badness)

    def kernel(self, body: Graph, axes: tuple[Axis, ...], length: int) -> tuple[Kind, Schedule]:
        return kind_of(body), Schedule(axes, length)


def _operands(node: Node, axis: Axis) -> tuple[Axis, ...] | None:
    return (None,) * len(operands(node)) if axis is None else pull(node, axis)


def _length(node: Node, axis: int, reads: dict[Node, set[Axis]]) -> int:
    if axis != TOTAL:
        return node.shape[axis]
    return next((x.shape[a] for x, axes in reads.items() for a in axes if a is not None), 0)


def _agree(x: Tiling, y: Tiling) -> bool:
    """Whether y reads what x computes in the same tiles."""
    return not any(n in x.axes and (axes != {x.axes[n]} or x.axes[n] == TOTAL) for n, axes in y.reads.items())


def _meet(x: Tiling, y: Tiling) -> bool:
    """Whether the two pass something on, or read the same tiles: else they have nothing to share."""
    if x.length == 0 or any(n in x.axes for n in y.reads) or any(n in y.axes for n in x.reads):
        return True
    return any(x.reads.get(n) == axes and None not in axes for n, axes in y.reads.items())


def _badness(option: Tiling) -> tuple[int, int, int]:
    twice = sum(x.type.nbytes for x, axes in option.reads.items() if None in axes)
    totals = sum(n.type.nbytes for n, axis in option.axes.items() if axis == TOTAL)
    inner = sum(axis or 0 for axis in option.axes.values())
    # Beyond a handful of tiles the length does not matter.
    return -min(option.length, 8), twice + 4 * totals, inner
