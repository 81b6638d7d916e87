"""Weight packing for vectors: copies of convolutions' weights whose innermost axis is that of the result's channels.

A convolution multiplies numbers of the data with vectors of weights over its output channels, its gradient by the data
with vectors over the input channels. Parameters lie row-major, O, I, kernel, where neither lie side by side; so each
weight is copied for each kind of reader, once a step, or once in all where it does not change.
"""

from __future__ import annotations

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from ...compiler.kernel import bodies, operand_number
from ...compiler.ops import Op

# Fewer channels of a group than these make no vector.
FEWEST = 4


def with_lanes(graph: Graph) -> Graph:
    """The graph with weights of convolutions as values of their own, one for each weight and kind of reader."""
    copies: dict[tuple[Node, Op], Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op in (ops.conv, ops.conv_data_grad):
            x, weight = inputs
            groups = node.attrs["groups"]
            channels = weight.shape[0] // groups if node.op is ops.conv else weight.shape[1]
            if groups == weight.shape[0]:
                channels = groups  # a channel of its own for each: vectors are over the groups
            if weight.dtype == "f32" and channels >= FEWEST:
                if (weight, node.op) not in copies:
                    with at(node.span, node.scope):
                        copies[weight, node.op] = ops.cast(weight, dtype=weight.dtype)
                inputs = (x, copies[weight, node.op])
        return node.with_inputs(inputs)

    return graph.mapped(make)


def lane_orders(graph: Graph) -> dict[Node, tuple[int, ...]]:
    """The order of the axes, outermost first, of the weights that kernels read as vectors, and of tiles."""
    found: dict[Node, tuple[int, ...]] = {}
    for kernel, body in bodies(graph).items():
        for node in body.order:
            read = [kernel.inputs[operand_number(x)] if x.op is ops.input_ else x for x in node.inputs]
            if node.op is ops.winograd_product:
                found |= {value: tuple(range(len(value.shape))) for value in read if value.op is ops.item}
            elif node.op in (ops.conv, ops.conv_data_grad) and read[1].op is ops.item:
                taps = range(2, len(read[1].shape))
                found[read[1]] = (*taps, 1, 0) if node.op is ops.conv else (*taps, 0, 1)
    return found
