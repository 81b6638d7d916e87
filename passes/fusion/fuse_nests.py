"""Fusion for GPUs: nodes become kernels, each with one structure (see `compiler.form`) and pointwise work around it.

With `enabled=False` every op stays a kernel of its own (views still fold into their readers): `profile`'s baseline.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, Kind
from ...compiler.loops.domain import form_of
from ...compiler.program import Decision
from ..lowering import layout
from ..lowering.join_ranges import whole_buffers
from ..lowering.machines import device as figures
from ..lowering.pack_weights import packed_weights
from ..lowering.pad_channels import padded_channels
from ..lowering.schedule import blocks_of
from .fuse import Fused, attempt, kernels_from, name_of, pairs
from .groups import Group, Option
from .known import known_to_readers
from .materialize import Stores, placed
from .nests import BlockGroups
from .recompute import computed_again, work

# Of the readers of a value each is tried with the next ones, up to so many in a row.
MOST_APART = 8


def fuse_blocks(
    graph: Graph,
    *,
    enabled: bool = True,
    nofuse: Collection[str] = (),
    device: str = "cuda:90",
    precision: Literal["ieee", "tf32"] = "ieee",
) -> Fused:
    """The graph as kernels for a GPU. nofuse: layers (scopes) whose nodes stay apart from other layers'."""
    on = figures(device)
    graph = packed_weights(padded_channels(graph, precision), precision)
    stores = placed(whole_buffers(graph) if enabled else graph)
    if not enabled:
        return Fused(_kernels(BlockGroups(stores, on), device, precision), (), inner=False, threads=1)
    stores.compute_again(computed_again(stores, nofuse))
    groups = BlockGroups(stores, on)
    ledger = _grow(groups, frozenset(nofuse))
    if known := known_to_readers(groups, nofuse):
        stores.compute_again(known)
        groups = BlockGroups(stores, on)
        ledger = _grow(groups, frozenset(nofuse))
    kernels = _kernels(groups, device, precision)
    return Fused(kernels, (*ledger, *_again(stores), *layout.decisions(kernels)), inner=False, threads=1)


def _again(stores: Stores) -> Iterator[Decision]:
    """What the ledger says of values that are not stored."""
    for node in (n for n in stores.graph.order if n in stores.again and n.op.family == "pointwise"):
        users = [n for n in stores.graph.users[node] if n.scope != node.scope]
        layers = tuple(dict.fromkeys(n.scope for n in (node, *users) if n.scope))
        count = work(node)
        reason = f"its readers compute it again ({count} operation{'s' * (count > 1)} an element) from what they read"
        yield Decision(name_of(node), "its readers", layers, True, reason, node.type.nbytes)


def _grow(groups: BlockGroups, nofuse: frozenset[str]) -> tuple[Decision, ...]:
    """Join groups while that saves bytes: what stood between two groups may have joined one of them meanwhile."""
    found: dict[tuple[Node, Node], Decision] = {}
    tries = [*pairs(groups)]
    while tries:
        before = len(groups.groups)
        for saved, a, b in tries:
            found[a, b] = attempt(groups, a, b, saved, nofuse, _how)
        if len(groups.groups) < before:
            tries = [(saved, a, b) for saved, a, b in tries if not found[a, b].fused]
        else:
            tries = [pair for pair in _readers_apart(groups) if pair[1:] not in found]
    return (*found.values(), *_launched_together(groups, nofuse))


def _readers_apart(groups: BlockGroups) -> Iterator[tuple[int, Node, Node]]:
    """Candidates: readers of one value that are in different groups, though not one after the other in the graph.

    Where nothing waits for a sum in its kernel, the readers of a gradient are in turn sums and what waits for them.
    """
    readers: dict[Node, list[Node]] = {}
    for node in groups.of:
        for x in dict.fromkeys(x for x, _ in groups.read.get(node, ())):
            readers.setdefault(x, []).append(node)
    found = []
    for x, users in readers.items():
        for i, a in enumerate(users):
            others = [b for b in users[i + 2 : i + MOST_APART] if groups.of[a] != groups.of[b]]
            found += [(int(x.type.nbytes), a, b) for b in others]
    yield from sorted(found, key=lambda pair: -pair[0])


def _launched_together(groups: BlockGroups, nofuse: frozenset[str]) -> Iterator[Decision]:
    """Join small maps of as many elements, which need not read the same."""
    alike: dict[int, list[Node]] = {}
    for i in [i for i in groups.groups if groups.small(i)]:
        node = groups.groups[i].nodes[0]
        for other in alike.setdefault(node.type.count, []):
            decision = attempt(groups, other, node, 0, nofuse, _small)
            yield decision
            if decision.fused:
                break
        else:
            alike[node.type.count].append(node)


def _small(group: Group, consumer: Node, passed: bool) -> str:
    return f"a few values each ({consumer.type.count}), computed in one launch"


def _how(group: Group, consumer: Node, passed: bool) -> str:
    return "passed on in registers" if passed else "read together, once"


def _kernels(groups: BlockGroups, device: str, precision: Literal["ieee", "tf32"]) -> Graph:
    """The graph of kernels with their blocks."""

    def whole(group: Group) -> Option:
        return Option(0, dict.fromkeys(group.nodes), {})

    def scheduled(body: Graph, *_: object) -> tuple[Kind, Blocks]:
        form = form_of(body)
        return form.kind, blocks_of(body, form, device, precision)

    return kernels_from(groups, whole, scheduled)
