"""Compilation unit of lowering: a graph on its way to kernels, and what is known of its nodes besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ..compiler.graph import Graph, GraphError, Node
from ..compiler.ops import kernel
from ..compiler.plan import Orders, Pitches, Plan
from ..compiler.program import Decision
from ..compiler.text import print_graph

if TYPE_CHECKING:
    from .lowering.measured import Measured


@dataclass(frozen=True)
class Choices:
    """What decides how a graph becomes kernels.

    fused: False leaves every op a kernel of its own. nofuse: layers that stay apart from others. threads: of a CPU.
    arch: the GPU for which tile sizes are chosen. precision: of products of f32 on a GPU. measured: schedules that go
    before the cost model's. winograd: convolutions may be filtered in tiles. The order of sums, and so the last bits of
    results, depends on all of them.
    """

    fused: bool = True
    nofuse: Collection[str] = ()
    threads: int = 1
    arch: str = "cuda:90"
    precision: Literal["ieee", "tf32"] = "ieee"
    measured: Measured | None = None
    winograd: bool = True


@dataclass(frozen=True)
class Unit:
    """What a stage of lowering takes and gives.

    graph: of primitives until `fuse`, then of kernels. ledger: what was fused and what not, and why. recomputed: nodes
    that each reader computes for itself. inner: whether the batch is the innermost axis of activations. orders: of the
    axes of stored values; None where kernels choose them as they are written. pitches: of those whose rows lie apart.
    plan: where values lie, once it is made.
    """

    graph: Graph
    choices: Choices = field(default_factory=Choices)
    ledger: tuple[Decision, ...] = ()
    recomputed: frozenset[Node] = frozenset()
    inner: bool = False
    orders: Orders | None = None
    pitches: Pitches = field(default_factory=dict)
    plan: Plan | None = None

    def verify(self, known: set[Node] | None = None) -> Unit:
        """Itself, or GraphError: the graph is valid (see `Graph.verify`), and all else is about nodes that it has."""
        self.graph.verify(known)
        own = set(self.graph.order)
        tables = {
            "recomputed": self.recomputed,
            "orders": self.orders or {},
            "pitches": self.pitches,
            "plan": self.plan.homes if self.plan else {},
        }
        for name, nodes in tables.items():
            if not own.issuperset(nodes):
                raise GraphError(f"`{name}` is about nodes that the graph does not have")
        return self

    def rescheduled(self, graph: Graph) -> Unit:
        """The unit with other schedules: a graph of the same kernels, node by node."""
        now = dict(zip(self.graph.order, graph.order, strict=True))
        orders = {now[node]: order for node, order in self.orders.items()} if self.orders is not None else None
        return replace(self, graph=graph, orders=orders)

    def text(self, *, comments: bool = True, named: Callable[[Graph], Mapping[Node, str]] | None = None) -> str:
        """The text of the graph, with all else as comments about its nodes, and the ledger in numbers at the end.

        comments: whether layers and places are said too. named: gives nodes other names than their numbers.
        """
        notes = {node: said for node in self.graph.order if (said := "; ".join(self._notes(node)))}
        joined = Counter((not decision.fused, decision.reason) for decision in self.ledger)
        told = [f"# {n} {'apart' if apart else 'fused'}: {why}\n" for (apart, why), n in sorted(joined.items())]
        return print_graph(self.graph, comments=comments, notes=notes, named=named) + "".join(told)

    def _notes(self, node: Node) -> Iterator[str]:
        """What is known of a node. An order of axes is said where it is another than that of the type."""
        if node in self.recomputed:
            yield "recomputed by its readers"
        order = self.orders.get(node, ()) if self.orders is not None else ()
        if order != tuple(sorted(order)):
            yield f"axes {', '.join(map(str, order))}"
        if node in self.pitches:
            yield "rows of {} elements, {} apart".format(*self.pitches[node])
        if self.plan is None:
            return
        if node.op is kernel:
            yield f"{'once, ' if node in self.plan.prepare else ''}launch {self.plan.kernels.index(node)}"
        if home := self.plan.homes.get(node):
            where = f"state {home.name}" if home.space == "state" else home.space
            yield where + (f" of a concat, from {home.start}" if home.space == "part" else "")
        if node in self.plan.lives:
            yield "launches {} to {}".format(*self.plan.lives[node])


def stable_names(graph: Graph) -> dict[Node, str]:
    """Names of nodes that stay as they are where others come and go: by the layer and the op, and a number of these."""
    seen: Counter[str] = Counter()
    names = {}
    for node in graph.order:
        name = str(node.attrs["name"]) if node.op.family == "source" and "name" in node.attrs else node.op.name
        name = name if name == node.attrs.get("name") or not node.scope else f"{node.scope}.{name}"
        seen[name] += 1
        names[node] = f"%{name}" if seen[name] == 1 else f"%{name}.{seen[name]}"
    return names
