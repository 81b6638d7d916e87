"""Outlining: each group of nodes becomes a kernel node, whose body is a graph over the kernel's operands."""

from __future__ import annotations

from typing import Generic, TypeVar

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from .axes import Axis, Tiling, pull
from .groups import Group, Groups, Legality
from .materialize import Stores

Form = TypeVar("Form")


def kernels_of(groups: Groups[Form], legality: Legality[Form]) -> tuple[Graph, list[tuple[Node, str]]]:
    """The graph of kernel nodes and items, whose schedules are without numbers.

    Besides the first node of each group that is no kernel after all, and why: each of its nodes becomes one.
    """
    return _Outlining(groups, legality).run()


class _Outlining(Generic[Form]):
    def __init__(self, groups: Groups[Form], legality: Legality[Form]) -> None:
        self.groups = groups
        self.legality = legality
        self.stores = stores = groups.stores
        concats = [node for node in groups.of if node.op is ops.concat]
        self.wanted = {*stores.graph.roots, *(x for node in concats for x in stores.reads(node))}
        self.made: dict[Node, Node] = {}
        self.least: dict[int, Node] = {}  # the smallest result of each group
        self.refused: list[tuple[Node, str]] = []

    def run(self) -> tuple[Graph, list[tuple[Node, str]]]:
        for i in self.groups.order():
            group = self.groups.groups[i]
            if group.nodes[0].op is ops.concat:
                self.least[i] = self.outside(group.nodes[0])
                continue
            results = [n for n in group.nodes if n in self.wanted or self._left(n, i)]
            try:
                self.kernel(i, group, results)
            except ValueError as refused:
                if len(group.nodes) == 1:
                    raise
                self.refused.append((group.nodes[0], str(refused)))
                for node in group.nodes:
                    self.kernel(i, Group([node], self.legality.alone(node)), [node])
        graph = self.stores.graph
        outputs, updates = ({k: self.outside(v) for k, v in d.items()} for d in (graph.outputs, graph.updates))
        return Graph(outputs, updates), self.refused

    def _left(self, node: Node, i: int) -> bool:
        """Whether a node is read outside of group i."""
        return any(self.groups.of[reader] != i for reader in self.stores.readers.get(node, ()))

    def outside(self, node: Node) -> Node:
        """A stored node, or what stands between stored nodes and a root or concat, in the new graph."""
        if node not in self.made:
            self.made[node] = node.with_inputs(self.outside(x) for x in node.inputs)
        return self.made[node]

    def kernel(self, i: int, group: Group[Form], results: list[Node]) -> None:
        """Make a kernel of the nodes of a group, or of a part of it."""
        of, stores = self.groups.of, self.stores
        tiling = self.legality.tiling(group)
        body, operands, axes = _body(stores, group, tiling, results)
        kind, schedule = self.legality.kernel(body, axes, int(tiling.length))
        waits = {of[x] for n in group.nodes for x in stores.waits(n) if x in of} - {i}
        with at(group.nodes[-1].span, group.nodes[-1].scope):
            given = [*map(self.outside, operands), *(_nothing(self.least[j]) for j in sorted(waits))]
            node = ops.kernel(*given, kind=kind, body=body, schedule=schedule)
            for k, result in enumerate(results):
                with at(result.span, result.scope):
                    self.made[result] = ops.item(node, index=k)
        made = [self.made[result] for result in results]
        self.least[i] = min(made, key=lambda x: x.type.nbytes, default=node)


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
