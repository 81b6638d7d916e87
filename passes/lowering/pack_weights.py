"""Weight packing: copies of convolutions' weights in the order in which products read them.

Parameters lie row-major in their flat buffer, O, I, kernel, so the channels of one weight lie a kernel apart, and no
run of them can be copied or read as a vector. Each weight that is read so is copied once a step (once in all where it
does not change), as a value of its own, which a layout puts in the reader's order. For matrix units (`packed_weights`)
that is O, kernel, I, and weights of 16 bits are cast by the way; for vectors of a CPU (`with_lanes`) the axis of the
result's channels is innermost, and each kind of reader has its own copy (`lane_orders`). Weights of matrix products are
copied in panels of columns, so that a tile reads them in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from ...compiler.kernel import bodies, operand_number
from ...compiler.ops import Op
from ...compiler.ops.winograd import PANEL
from .pad_channels import HALF

# With fewer channels there is no run worth a copy for matrix units; and of a group there is no vector.
FEWEST_RUN, FEWEST_LANES = 8, 4


def packed_weights(graph: Graph, precision: Literal["ieee", "tf32"]) -> Graph:
    """The graph with weights that matrix units read as values of their own."""
    packed: dict[Node, Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op in (ops.conv, ops.conv_data_grad):
            x, weight, *rest = inputs
            if math.prod(weight.shape[2:]) > 1 and weight.shape[1] >= FEWEST_RUN:
                if weight not in packed:
                    packed[weight] = _packed(weight, precision)
                inputs = (x, packed[weight], *rest)
        return node.with_inputs(inputs)

    return graph.mapped(make)


def _packed(weight: Node, precision: Literal["ieee", "tf32"]) -> Node:
    """A copy of a weight that is a view of flat parameters, or of flat parameters in 16 bits; others as they are."""
    views: list[Node] = []
    below = weight
    while below.op in (ops.reshape, ops.slice_):
        views.append(below)
        below = below.inputs[0]
    if below.op is ops.cast and below.dtype in HALF:
        source = below.inputs[0]
        while source.op in (ops.reshape, ops.slice_):
            source = source.inputs[0]
        plain, start = source.op is ops.param, below.inputs[0]
    else:
        plain, start = below.op is ops.param and weight.dtype == "f32" and precision == "tf32", below
    if not (plain and views):
        return weight
    for view in reversed(views):
        start = view.with_inputs((start,)) if view.op is ops.slice_ else ops.reshape(start, shape=view.shape)
    with at(weight.span, weight.scope):
        return ops.cast(start, dtype=weight.dtype)


def with_lanes(graph: Graph, in_panels: Callable[[Node], bool]) -> Graph:
    """The graph with weights that vectors are read of as values of their own, one for each weight and kind of reader.

    A convolution multiplies numbers of the data with vectors of weights over its output channels, its gradient by the
    data with vectors over the input channels. in_panels: whether a `dot` takes its second factor so.
    """
    copies: dict[tuple[Node, Op], Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op in (ops.conv, ops.conv_data_grad):
            x, weight = inputs
            groups = node.attrs["groups"]
            channels = weight.shape[0] // groups if node.op is ops.conv else weight.shape[1]
            if groups == weight.shape[0]:
                channels = groups  # a channel of its own for each: vectors are over the groups
            if weight.dtype == "f32" and channels >= FEWEST_LANES:
                if (weight, node.op) not in copies:
                    with at(node.span, node.scope):
                        copies[weight, node.op] = ops.cast(weight, dtype=weight.dtype)
                inputs = (x, copies[weight, node.op])
        elif node.op is ops.dot and in_panels(node):
            x, weight = inputs
            if (weight, node.op) not in copies:
                with at(node.span, node.scope):
                    copies[weight, node.op] = _from_panels(weight)
            inputs = (x, copies[weight, node.op])
        return node.with_inputs(inputs)

    return graph.mapped(make)


def _from_panels(weight: Node) -> Node:
    """A matrix as it is read from a copy of it: panel after panel of its columns, each row after row."""
    depth, columns = map(int, weight.shape)
    count = -(-columns // PANEL)
    if columns % PANEL:
        weight = ops.pad(weight, low=(0, 0), high=(0, count * PANEL - columns), interior=(0, 0), value=0.0)
    split = ops.transpose(ops.reshape(weight, shape=(depth, count, PANEL)), perm=(1, 0, 2))
    copy = ops.cast(split, dtype=weight.dtype)
    joined = ops.reshape(ops.transpose(copy, perm=(1, 0, 2)), shape=(depth, count * PANEL))
    return ops.slice_(joined, start=(0, 0), stop=(depth, columns), step=(1, 1)) if columns % PANEL else joined


def lane_orders(graph: Graph) -> dict[Node, tuple[int, ...]]:
    """The order of the axes, outermost first, of the weights that kernels read as vectors, and of tiles."""
    found: dict[Node, tuple[int, ...]] = {}
    for kernel, body in bodies(graph).items():
        for node in body.order:
            read = [kernel.inputs[operand_number(x)] if x.op is ops.input_ else x for x in node.inputs]
            if node.op is ops.winograd_product:
                found |= {value: tuple(range(len(value.shape))) for value in read if value.op is ops.item}
            elif node.op is ops.dot and (copy := _panels_of(node)) is not None:
                found[kernel.inputs[operand_number(copy)]] = (0, 1, 2)
            elif node.op in (ops.conv, ops.conv_data_grad) and read[1].op is ops.item:
                taps = range(2, len(read[1].shape))
                found[read[1]] = (*taps, 1, 0) if node.op is ops.conv else (*taps, 0, 1)
    return found


def _panels_of(product: Node) -> Node | None:
    """The operand of a kernel whose panels a matrix product in it reads, None if it reads none."""
    below = product.inputs[1]
    while below.op in (ops.slice_, ops.reshape, ops.transpose):
        below = below.inputs[0]
    return below if below.op is ops.input_ and len(below.shape) == 3 and below.shape[2] == PANEL else None
