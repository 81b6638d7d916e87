"""Compilation unit of lowering: a graph on its way to kernels, and what is known of its nodes besides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ..compiler.graph import Graph, GraphError, Node
from ..compiler.plan import Orders, Plan
from ..compiler.program import Decision

if TYPE_CHECKING:
    from .lowering.choice import Measured


@dataclass(frozen=True)
class Choices:
    """What decides how a graph becomes kernels.

    fused: False leaves every op a kernel of its own. nofuse: layers that stay apart from others. threads: of a CPU.
    arch: the GPU for which tile sizes are chosen. precision: of products of f32 on a GPU. measured: schedules that go
    before the cost model's. The order of sums, and so the last bits of results, depends on all of them.
    """

    fused: bool = True
    nofuse: Collection[str] = ()
    threads: int = 1
    arch: str = "cuda:90"
    precision: Literal["ieee", "tf32"] = "ieee"
    measured: Measured | None = None


@dataclass(frozen=True)
class Unit:
    """What a stage of lowering takes and gives.

    graph: of primitives until `fuse`, then of kernels. ledger: what was fused and what not, and why. recomputed: nodes
    that each reader computes for itself. inner: whether the batch is the innermost axis of activations. orders: of the
    axes of stored values; None where kernels choose them as they are written. plan: where values lie, once it is made.
    """

    graph: Graph
    choices: Choices = field(default_factory=Choices)
    ledger: tuple[Decision, ...] = ()
    recomputed: frozenset[Node] = frozenset()
    inner: bool = False
    orders: Orders | None = None
    plan: Plan | None = None

    def verify(self) -> Unit:
        """Itself, or GraphError: the graph is valid, and all else is about nodes that it has."""
        self.graph.verify()
        known = set(self.graph.order)
        tables = {
            "recomputed": self.recomputed,
            "orders": self.orders or {},
            "plan": self.plan.homes if self.plan else {},
        }
        for name, nodes in tables.items():
            if not known.issuperset(nodes):
                raise GraphError(f"`{name}` is about nodes that the graph does not have")
        return self

    def rescheduled(self, graph: Graph) -> Unit:
        """The unit with other schedules: a graph of the same kernels, node by node."""
        now = dict(zip(self.graph.order, graph.order, strict=True))
        orders = {now[node]: order for node, order in self.orders.items()} if self.orders is not None else None
        return replace(self, graph=graph, orders=orders)
