"""Data layout on GPUs: activations lie as N,H,W,C, so that a product's innermost run is channels.

State lies as it is fed, row-major; so does a value whose axes behind the batch a reader joins (a linear layer after the
convolutions): then that reader's runs are whole rows, and the writer's are one image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...compiler import ops
from ...compiler.codegen.loops.place import MemRef
from ...compiler.codegen.strides import part_of, strides_of, viewed
from ...compiler.graph import Graph, GraphError, Node
from ...compiler.kernel import HEAVY, bodies
from ...compiler.plan import Home, Orders
from ...compiler.program import Decision
from .memory import flattened, homes_of

CONVOLUTIONS = HEAVY - {"dot"}


def orders(graph: Graph) -> dict[Node, tuple[int, ...]]:
    """The order of the axes, outermost first, of each item and concat of a graph of kernels."""
    homes = homes_of(graph)
    rows = {node for node, _ in flattened(graph, inner=False)}
    ranks = _convolved(graph)
    found: dict[Node, tuple[int, ...]] = {}
    for node in graph.order:
        if node not in homes:
            continue
        home = homes[node]
        rank = len(node.shape)
        base = ranks.get(rank, 0) if home.space == "arena" and node not in rows and not _weights(node) else 0
        found[node] = (0, *range(2, base), 1, *range(base, rank)) if base else tuple(range(rank))
    for node in graph.order:
        parent = homes[node].parent if node in homes else None
        if parent is not None and len(node.shape) == len(parent.shape):
            found[node] = found[parent]
    return found


def place_of(node: Node, orders: Orders, homes: Mapping[Node, Home]) -> MemRef:
    """Where a stored value or a view of one lies in its memory, as far as strides tell."""
    shape = tuple(map(int, node.shape))
    home = homes.get(node)
    if home is not None and home.parent is not None:
        found = part_of(node, home, place_of(home.parent, orders, homes).strides)
    elif home is None and node.inputs:
        below = place_of(node.inputs[0], orders, homes)
        found = viewed(node, below.shape, below.strides)
    else:
        found = strides_of(shape, orders.get(node, range(len(shape)))), 0
    if found is None:
        raise GraphError(f"{node} does not lie in one piece in what it is a part or a view of")
    return MemRef("", shape, found[0], node.dtype)


def decisions(graph: Graph) -> Iterator[Decision]:
    """For the ledger: values of convolutional nets that lie row-major, and what that costs their writers."""
    ranks, seen = _convolved(graph), set[Node]()
    for node, _ in flattened(graph, inner=False):
        base = ranks.get(len(node.shape), 0)
        if node in seen or not base or int(node.shape[1]) == 1 or node.op is not ops.item:
            continue
        seen.add(node)
        run = int(node.shape[base - 1])
        reason = (
            f"lies as N,C,H,W since a reader joins these axes: written in runs of {run} elements, "
            f"not of {int(node.shape[1])} channels"
        )
        yield Decision(node.scope or "value", "its readers", (node.scope,) if node.scope else (), False, reason, 0)


def _convolved(graph: Graph) -> dict[int, int]:
    """The ranks of activations (also with the axes of a window that was reduced), and where their spatial axes end."""
    found = {len(n.shape) for body in bodies(graph).values() for n in body.order if n.op.name in CONVOLUTIONS}
    return {2 * rank - 2: rank for rank in found} | {rank: rank for rank in found}


def _weights(node: Node) -> bool:
    """Whether an item is the gradient of a convolution's weights."""
    if node.op is not ops.item:
        return False
    body: Graph = node.inputs[0].attrs["body"]
    return any(n.op is ops.conv_weight_grad for n in body.order)
