"""Operator fusion, the driver: candidates are tried where joining saves most, and the ledger says what was decided.

Nodes become groups and groups become kernels, whose inside values never leave the cache or the registers. Which may be
one is said by a `Legality`: tilings for numpy, loop nests for GPUs. Without fusion every op stays a kernel of its own
(views still fold into their readers): `profile`'s baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Generic, TypeVar

from ...compiler.graph import Graph, Node
from ...compiler.program import Decision
from ..rules.rewrite import Refuse
from .groups import Groups, Legality
from .kernels import kernels_of
from .materialize import Stores
from .recompute import work

Form = TypeVar("Form")
Candidate = tuple[int, Node, Node]  # bytes that joining saves, producer, reader; or two readers of one value

# Nodes of a kernel, many more than any net's need: joining costs as many, and long chains must not take their square.
MOST_NODES = 400
# Of the readers of a value each is tried with the next ones, up to so many in a row.
MOST_APART = 8


def fuse(
    graph: Graph,
    legality: Callable[[Stores], Legality[Form]],
    *,
    enabled: bool = True,
    nofuse: Collection[str] = (),
    recomputed: Collection[Node] = (),
) -> tuple[Graph, tuple[Decision, ...]]:
    """A materialized graph as kernels, whose schedules have no numbers yet, and the ledger.

    nofuse: layers (scopes) whose nodes stay apart from other layers'. recomputed: nodes that their readers compute.
    """
    fusion = _Fusion(legality(Stores(graph, recomputed)), frozenset(nofuse))
    if not enabled:
        return kernels_of(fusion.groups, fusion.legality)[0], ()
    fusion.run()
    if known := fusion.legality.known(fusion.groups, nofuse):
        fusion = _Fusion(legality(Stores(graph, {*recomputed, *known})), frozenset(nofuse))
        fusion.run()
    kernels, apart = kernels_of(fusion.groups, fusion.legality)
    refused = (Decision(name_of(node), "its kernel", (node.scope,), False, reason, 0) for node, reason in apart)
    return kernels, (*fusion.ledger, *_recomputed(fusion.stores), *refused)


def _recomputed(stores: Stores) -> Iterator[Decision]:
    """What the ledger says of values that are not stored."""
    for node in (n for n in stores.graph.order if n in stores.recomputed and n.op.family == "pointwise"):
        users = [n for n in stores.graph.users[node] if n.scope != node.scope]
        layers = tuple(dict.fromkeys(n.scope for n in (node, *users) if n.scope))
        count = work(node)
        reason = f"its readers compute it again ({count} operation{'s' * (count > 1)} an element) from what they read"
        yield Decision(name_of(node), "its readers", layers, True, reason, node.type.nbytes)


def name_of(node: Node) -> str:
    """A node in the ledger."""
    return f"{node.scope}.{node.op.name}" if node.scope else node.op.name


class _Fusion(Generic[Form]):
    """The groups as they grow."""

    def __init__(self, legality: Legality[Form], nofuse: frozenset[str]) -> None:
        self.legality = legality
        self.stores = legality.stores
        self.nofuse = nofuse
        self.groups = Groups(legality)
        self.ledger: list[Decision] = []

    def run(self) -> None:
        """Join groups; in rounds while that saves bytes: what stood between two may have joined one of them."""
        tries = [*self._candidates()]
        if not self.legality.rounds:
            self.ledger = [self._attempt(*candidate) for candidate in tries]
            return
        found: dict[tuple[Node, Node], Decision] = {}
        while tries:
            before = len(self.groups.groups)
            for saved, a, b in tries:
                found[a, b] = self._attempt(saved, a, b)
            if len(self.groups.groups) < before:
                tries = [(saved, a, b) for saved, a, b in tries if not found[a, b].fused]
            else:
                tries = [candidate for candidate in self._readers_apart() if candidate[1:] not in found]
        self.ledger = [*found.values(), *self._launched_together()]

    def _candidates(self) -> Iterator[Candidate]:
        """Producers and readers, and readers next to each other, by the bytes that joining saves."""
        found: list[tuple[int, int, int, Node, Node]] = []
        place = {node: i for i, node in enumerate(self.stores.graph.order)}
        for x, users in self.stores.readers.items():
            size = x.type.nbytes
            if self.stores.computed(x):
                saved = 2 * size if len(users) == 1 else size
                found += [(-saved, place[x], place[user], x, user) for user in users]
            found += [(-size, place[a], place[b], a, b) for a, b in pairwise(users)]
        for saved, _, _, a, b in sorted(found, key=lambda item: item[:3]):
            yield -saved, a, b

    def _readers_apart(self) -> list[Candidate]:
        """Readers of one value that are in different groups, though not one after the other in the graph.

        Where nothing waits for a sum in its kernel, the readers of a gradient are in turn sums and what waits for them.
        """
        of = self.groups.of
        found = []
        for x, users in self.stores.readers.items():
            for i, a in enumerate(users):
                found += [(x.type.nbytes, a, b) for b in users[i + 2 : i + MOST_APART] if of[a] != of[b]]
        return sorted(found, key=lambda candidate: -candidate[0])

    def _launched_together(self) -> Iterator[Decision]:
        """Join small maps of as many elements, which need not read the same."""
        alike: dict[int, list[Node]] = {}
        for i in [i for i, group in self.groups.groups.items() if self.legality.small(group)]:
            node = self.groups.groups[i].nodes[0]
            for other in alike.setdefault(node.type.count, []):
                reason = f"a few values each ({node.type.count}), computed in one launch"
                decision = self._attempt(0, other, node, reason)
                yield decision
                if decision.fused:
                    break
            else:
                alike[node.type.count].append(node)

    def _attempt(self, saved: int, producer: Node, reader: Node, reason: str = "") -> Decision:
        """Join the groups of two nodes if that is allowed, and say what was decided. reason: why, if not as usual."""
        layers = tuple(dict.fromkeys(n.scope for n in (producer, reader) if n.scope))
        form = self._form(producer, reader, layers)
        if form is None:
            fused, told = True, "already in one kernel"
        elif isinstance(form, Refuse):
            fused, told = False, form.reason
        else:
            group = self.groups.merge(self.groups.of[producer], self.groups.of[reader], form)
            passed = not reason and producer in self.stores.reads(reader)
            fused, told = True, reason or self.legality.reason(group, reader, passed)
        return Decision(name_of(producer), name_of(reader), layers, fused, told, saved if fused else 0)

    def _form(self, producer: Node, reader: Node, layers: tuple[str, ...]) -> Form | Refuse | None:
        """The form of the groups of two nodes as one; None if they are one already."""
        i, j = self.groups.of[producer], self.groups.of[reader]
        if i == j:
            return None
        kept = self.nofuse.intersection(layers)
        if kept and len(layers) > 1:
            return Refuse(f"@nofuse on {', '.join(sorted(kept))}")
        a, b = self.groups.groups[i], self.groups.groups[j]
        if len(a.nodes) + len(b.nodes) > MOST_NODES:
            return Refuse(f"together they compute more than {MOST_NODES} values")
        return self.groups.apart(i, j) or self.legality.join(a, b)
