"""Fusion: nodes become kernels, each a group whose inside values never leave the cache.

Pairs of groups are tried in the order of the bytes that joining them saves; each decision is written to the ledger.
With `enabled=False` every op stays a kernel of its own (views still fold into their readers): `profile`'s baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from ...compiler.kernel import TOTAL, Kind, Schedule, kind_of
from ...compiler.program import Decision
from ..lowering.tiling import (
    WORTH_SPLITTING,
    WORTH_SPLITTING_CALL,
    WORTH_SPLITTING_ITEM,
    batch_of,
    inner_tile,
    seconds,
    tile_of,
)
from .axes import Axis, pull
from .groups import Group, Groups, Option
from .materialize import Stores, placed

# Arrays that one kernel may read: more would make a function that nobody reads, and fill the cache with rows of all.
MOST_READS = 40
# Nodes of a kernel, many more than any net's need: joining costs as many, and long chains must not take their square.
MOST_NODES = 400
# Below this many bytes moved and multiplications a kernel runs on one thread, untiled.
SMALL = 1 << 17


@dataclass(frozen=True)
class Fused:
    """The graph of kernels for some threads, and why it is as it is.

    inner: whether the batch is the innermost axis of activations.
    """

    graph: Graph
    ledger: tuple[Decision, ...]
    inner: bool
    threads: int


def fuse(graph: Graph, *, enabled: bool = True, nofuse: Collection[str] = (), threads: int = 1) -> Fused:
    """The graph as kernels for some threads. nofuse: layers (scopes) whose nodes stay apart from other layers'."""
    stores = placed(graph)
    groups = Groups(stores)
    ledger: list[Decision] = []
    if enabled:
        for saved, producer, consumer in pairs(groups):
            ledger.append(attempt(groups, producer, consumer, saved, frozenset(nofuse), _tiles))
    inner = inner_tile(graph.order)
    batch = batch_of(graph.order)

    def scheduled(body: Graph, axes: tuple[Axis, ...], option: Option) -> tuple[Kind, Schedule]:
        return kind_of(body), _schedule(body, axes, option.length, inner, batch, threads)

    return Fused(kernels_from(groups, choose, scheduled), tuple(ledger), bool(inner), threads)


def pairs(groups: Groups) -> Iterator[tuple[int, Node, Node]]:
    """Candidates: (bytes, producer, consumer) or two readers of one value, the largest first."""
    stores = groups.stores
    found: list[tuple[int, int, int, Node, Node]] = []
    readers: dict[Node, list[Node]] = {}
    place = {node: i for i, node in enumerate(stores.graph.order)}
    for node in place:
        if not stores.computed(node):
            continue
        for x in stores.reads(node):
            readers.setdefault(x, []).append(node)
    for x, users in readers.items():
        size = x.type.nbytes
        if stores.computed(x):
            saved = 2 * size if len(users) == 1 else size
            found += [(-saved, place[x], place[user], x, user) for user in users]
        found += [(-size, place[a], place[b], a, b) for a, b in pairwise(users)]
    for saved, _, _, a, b in sorted(found, key=lambda item: item[:3]):
        yield -saved, a, b


def attempt(
    groups: Groups,
    producer: Node,
    consumer: Node,
    saved: int,
    nofuse: frozenset[str],
    how: Callable[[Group, Node, bool], str],
) -> Decision:
    """Join the groups of two nodes if that is allowed, and say what was decided.

    how: why joining pays, given the new group, the reader, and whether that reads what the other makes.
    """
    layers = tuple(dict.fromkeys(n.scope for n in (producer, consumer) if n.scope))

    def decide(fused: bool, reason: str) -> Decision:
        return Decision(name_of(producer), name_of(consumer), layers, fused, reason, saved if fused else 0)

    a, b = groups.of[producer], groups.of[consumer]
    if a == b:
        return decide(True, "already in one kernel")
    apart = nofuse.intersection(layers)
    if apart and len(layers) > 1:
        return decide(False, f"@nofuse on {', '.join(sorted(apart))}")
    if len(groups.groups[a].nodes) + len(groups.groups[b].nodes) > MOST_NODES:
        return decide(False, f"together they compute more than {MOST_NODES} values")
    options = groups.joined(a, b, most=MOST_READS)
    if isinstance(options, str):
        return decide(False, options)
    groups.merge(a, b, options)
    return decide(True, how(groups.groups[a], consumer, producer in set(groups.stores.reads(consumer))))


def _tiles(group: Group, consumer: Node, passed: bool) -> str:
    best = choose(group)
    how = f"in tiles of {_axis_name(best, consumer)}" if best.length else "held whole, it is small"
    return f"{'passed on' if passed else 'read together'} {how}, it stays in the cache"


def _axis_name(option: Option, node: Node) -> str:
    axis = option.axes.get(node)
    if axis is None or axis == TOTAL:
        return f"an axis of {option.length}"
    return f"axis {axis} ({node.shape[axis]})"


def name_of(node: Node) -> str:
    """A node in the ledger."""
    return f"{node.scope}.{node.op.name}" if node.scope else node.op.name


def choose(group: Group) -> Option:
    """The best option of a group: whole when it is small; else the axis whose tiles need the fewest whole reads."""
    whole = [o for o in group.options if o.length == 0]
    tiled = [o for o in group.options if o.length]
    moved = sum(n.type.nbytes for n in (*group.nodes, *group.options[0].reads)) if group.options else 0
    work = max((n.op.flops(n.result, *(x.result for x in n.inputs), **n.attrs) for n in group.heavy), default=0)
    if whole and (not tiled or moved + work // 16 < SMALL):
        return whole[0]
    return min(tiled, key=_badness)


def _badness(option: Option) -> tuple[int, int, int]:
    twice = sum(x.type.nbytes for x, axes in option.reads.items() if None in axes)
    totals = sum(n.type.nbytes for n, axis in option.axes.items() if axis == TOTAL)
    inner = sum(axis or 0 for axis in option.axes.values())
    # Beyond a handful of tiles the length does not matter.
    return -min(option.length, 8), twice + 4 * totals, inner


def kernels_from(
    groups: Groups,
    option_of: Callable[[Group], Option],
    scheduled: Callable[[Graph, tuple[Axis, ...], Option], tuple[Kind, object]],
) -> Graph:
    """The graph of kernel nodes and items. scheduled: the kind and the schedule of a body, given its tiled axes."""
    stores = groups.stores
    graph = stores.graph
    wanted = set(graph.outputs.values()) | set(graph.updates.values())
    readers: dict[Node, set[int]] = {}
    for node, i in groups.of.items():
        for x in stores.reads(node):
            readers.setdefault(x, set()).add(i)
    made: dict[Node, Node] = {}

    def outside(node: Node) -> Node:
        """A stored node, or what stands between stored nodes and a root or concat, in the new graph."""
        if node not in made:
            made[node] = node.with_inputs(outside(x) for x in node.inputs)
        return made[node]

    for i in groups.order():
        group = groups.groups[i]
        if group.nodes[0].op is ops.concat:
            outside(group.nodes[0])
            continue
        option = option_of(group)
        results = [n for n in group.nodes if n in wanted or readers.get(n, set()) - {i}]
        body, operands, axes = _body(stores, graph, group, option, results)
        kind, schedule = scheduled(body, axes, option)
        with at(group.nodes[-1].span, group.nodes[-1].scope):
            node = ops.kernel(*(outside(x) for x in operands), kind=kind, body=body, schedule=schedule)
            for k, result in enumerate(results):
                with at(result.span, result.scope):
                    made[result] = ops.item(node, index=k)
    return Graph({k: outside(v) for k, v in graph.outputs.items()}, {k: outside(v) for k, v in graph.updates.items()})


def _schedule(body: Graph, axes: tuple[Axis, ...], length: int, inner: int, batch: int, threads: int) -> Schedule:
    """Tiles, and whether threads share them."""
    if not length:
        return Schedule(axes)
    flops = sum(n.op.flops(n.result, *(x.result for x in n.inputs), **n.attrs) for n in body.order)
    moved = sum(n.type.nbytes for n in body.order if n.op.family != "movement")
    if all(n.op.family in ("source", "movement", "pointwise") for n in body.order):
        # What pointwise work hands on within a tile stays in the nearest cache.
        outside = {*body.inputs.values(), *body.outputs.values()}
        moved -= sum(4 * n.type.nbytes // 5 for n in body.order if n.op.family == "pointwise" and n not in outside)
    by_result = any(n.op is ops.conv and axis == 1 for n, axis in zip(body.order, axes, strict=True))
    share = tile_of(body, axes, length, inner=inner, batch=batch, threads=threads)
    calls = -(-length // (share * threads)) * sum(n.op.family not in ("movement", "source") for n in body.order)
    least = WORTH_SPLITTING_ITEM if by_result else WORTH_SPLITTING + WORTH_SPLITTING_CALL * calls
    split = threads > 1 and share < length and seconds(flops, moved) > least
    tile = share if split else tile_of(body, axes, length, inner=inner, batch=batch, threads=1)
    return Schedule(axes, int(length), int(tile), split)


def _body(
    stores: Stores, graph: Graph, group: Group, option: Option, results: list[Node]
) -> tuple[Graph, list[Node], tuple[Axis, ...]]:
    """The body of a kernel, its operands, and the tiled axis of each node of the body."""
    members = set(group.nodes)
    operands: dict[tuple[Node, Axis], Node] = {}
    clones: dict[tuple[Node, Axis], Node] = {}
    axes: dict[Node, Axis] = {}

    def clone(node: Node, axis: Axis) -> Node:
        if node in members:
            axis = option.axes[node]
        elif stores.stored(node):
            # What is read both whole and in tiles is two operands.
            if (node, axis) not in operands:
                with at(node.span, node.scope):
                    name = f"in{len(operands)}"
                    operands[node, axis] = ops.input_(name=name, shape=node.shape, dtype=node.dtype)
                axes[operands[node, axis]] = axis
            return operands[node, axis]
        if (node, axis) not in clones:
            pulled = (None,) * len(node.inputs) if axis is None else pull(node, axis)
            if pulled is None:
                raise AssertionError(f"{node.op.name} cannot be tiled along {axis}")
            inputs = [clone(x, a) for x, a in zip(node.inputs, pulled, strict=True)]
            with at(node.span, node.scope):
                new = node.op(*inputs, **node.attrs)
            clones[node, axis] = new
            axes[new] = axis
        return clones[node, axis]

    # Operands first, so that the recursion stays shallow.
    for node in (n for n in graph.order if n in members):
        clone(node, option.axes[node])
    outputs = {f"out{k}": clone(node, option.axes[node]) for k, node in enumerate(results)}
    origins = {new: graph.origins(n) for (n, _), new in clones.items() if len(graph.origins(n)) > 1}
    body = Graph(outputs, origins=origins)
    return body, [node for node, _ in operands], tuple(axes[n] for n in body.order)
