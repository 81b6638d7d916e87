"""Outlining: each group of nodes becomes a kernel node, whose body is a graph over the kernel's operands."""

from __future__ import annotations

from typing import TypeVar

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from .axes import Axis, Tiling, pull
from .groups import Group, Groups, Legality
from .materialize import Stores

Form = TypeVar("Form")


def kernels_of(groups: Groups[Form], legality: Legality[Form]) -> Graph:
    """The graph of kernel nodes and items; a kernel's schedule is without numbers."""
    stores = groups.stores
    graph = stores.graph
    wanted = set(graph.outputs.values()) | set(graph.updates.values())
    readers: dict[Node, set[int]] = {}
    for node, i in groups.of.items():
        for x in stores.reads(node):
            readers.setdefault(x, set()).add(i)
    made: dict[Node, Node] = {}
    least: dict[int, Node] = {}  # the smallest result of each group

    def outside(node: Node) -> Node:
        """A stored node, or what stands between stored nodes and a root or concat, in the new graph."""
        if node not in made:
            made[node] = node.with_inputs(outside(x) for x in node.inputs)
        return made[node]

    for i in groups.order():
        group = groups.groups[i]
        if group.nodes[0].op is ops.concat:
            least[i] = outside(group.nodes[0])
            continue
        tiling = legality.tiling(group)
        results = [n for n in group.nodes if n in wanted or readers.get(n, set()) - {i}]
        body, operands, axes = _body(stores, group, tiling, results)
        kind, schedule = legality.kernel(body, axes, int(tiling.length))
        waits = {groups.of[x] for n in group.nodes for x in stores.waits(n) if x in groups.of} - {i}
        with at(group.nodes[-1].span, group.nodes[-1].scope):
            given = [*map(outside, operands), *(_nothing(least[j]) for j in sorted(waits))]
            node = ops.kernel(*given, kind=kind, body=body, schedule=schedule)
            for k, result in enumerate(results):
                with at(result.span, result.scope):
                    made[result] = ops.item(node, index=k)
        least[i] = min((made[result] for result in results), key=lambda x: x.type.nbytes)
    return Graph({k: outside(v) for k, v in graph.outputs.items()}, {k: outside(v) for k, v in graph.updates.items()})


def _nothing(node: Node) -> Node:
    """A view of no element of a value: the operand of a kernel that has to wait for it."""
    whole = node if node.shape else ops.reshape(node, shape=(1,))
    rank = len(whole.shape)
    return ops.slice_(whole, start=(0,) * rank, stop=(0, *whole.shape[1:]), step=(1,) * rank)


def _body(
    stores: Stores, group: Group[Form], tiling: Tiling, results: list[Node]
) -> tuple[Graph, list[Node], tuple[Axis, ...]]:
    """The body of a kernel, its operands, and the tiled axis of each node of the body."""
    members = set(group.nodes)
    operands: dict[tuple[Node, Axis], Node] = {}
    clones: dict[tuple[Node, Axis], Node] = {}
    axes: dict[Node, Axis] = {}

    def clone(node: Node, axis: Axis) -> Node:
        if node in members:
            axis = tiling.axes[node]
        elif stores.stored(node):
            # What is read both whole and in tiles is two operands.
            if (node, axis) not in operands:
                with at(node.span, node.scope):
                    name = f"in{len(operands)}"
                    operands[node, axis] = ops.input_(name=name, shape=node.shape, dtype=node.dtype)
                axes[operands[node, axis]] = axis
            return operands[node, axis]
        elif node.op is ops.after:
            return clone(node.inputs[0], axis)
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
    for node in (n for n in stores.graph.order if n in members):
        clone(node, tiling.axes[node])
    outputs = {f"out{k}": clone(node, tiling.axes[node]) for k, node in enumerate(results)}
    origins = {new: stores.graph.origins(n) for (n, _), new in clones.items() if len(stores.graph.origins(n)) > 1}
    body = Graph(outputs, origins=origins)
    return body, [node for node, _ in operands], tuple(axes[n] for n in body.order)
