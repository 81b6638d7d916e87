"""Weight packing: copies of convolutions' weights in the order in which products read them.

Parameters lie row-major in their flat buffer, O, I, kernel, so the channels of one weight lie a kernel apart, and no
run of them can be copied or read as a vector. Each weight that is read so is copied once a step (once in all where it
does not change), as a value of its own, which a layout puts in the reader's order. For matrix units (`packed_weights`)
that is O, kernel, I, and weights of 16 bits are cast by the way; for vectors of a CPU (`with_lanes`) the axis of the
result's channels is innermost, and each kind of reader has its own copy (`lane_orders`). Weights of matrix products and
of convolutions of many channels are copied in panels of columns, so that a tile reads them in order.
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
# From so many on a tile's columns lie so far apart, row after row, that they meet in few sets of the cache.
FEWEST_IN_PANELS = 128
READ_IN_PANELS = (ops.conv, ops.conv_data_grad, ops.dot)


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
                        many = groups == 1 and channels >= FEWEST_IN_PANELS
                        axis = 0 if node.op is ops.conv else 1
                        copies[weight, node.op] = _from_panels(weight, axis) if many else _copy(weight)
                inputs = (x, copies[weight, node.op])
        elif node.op is ops.dot and in_panels(node):
            x, weight = inputs
            if (weight, node.op) not in copies:
                with at(node.span, node.scope):
                    copies[weight, node.op] = _from_panels(weight, 1)
            inputs = (x, copies[weight, node.op])
        return node.with_inputs(inputs)

    return graph.mapped(make)


def _copy(weight: Node) -> Node:
    return ops.cast(weight, dtype=weight.dtype)


def _from_panels(weight: Node, axis: int) -> Node:
    """A weight as it is read from a copy of it: panel after panel of its columns, each row after row.

    axis: that of the columns. A row is of the other channels at one tap, the taps outermost.
    """
    shape = tuple(map(int, weight.shape))
    columns, rank = shape[axis], len(shape)
    count = -(-columns // PANEL)
    if columns % PANEL:
        high = tuple((count * PANEL - columns) * (a == axis) for a in range(rank))
        weight = ops.pad(weight, low=(0,) * rank, high=high, interior=(0,) * rank, value=0.0)
    whole = tuple(map(int, weight.shape))
    # The axis split in two, then its panels outermost and their columns innermost.
    split = ops.reshape(weight, shape=(*whole[:axis], count, PANEL, *whole[axis + 1 :]))
    taps = range(3, rank + 1)
    perm = (axis, *taps, 2 * (1 - axis), axis + 1)
    copy = _copy(ops.transpose(split, perm=perm))
    back = ops.transpose(copy, perm=tuple(perm.index(a) for a in range(rank + 1)))
    joined = ops.reshape(back, shape=whole)
    return ops.slice_(joined, start=(0,) * rank, stop=shape, step=(1,) * rank) if columns % PANEL else joined


def lane_orders(graph: Graph) -> dict[Node, tuple[int, ...]]:
    """The order of the axes, outermost first, of the weights that kernels read as vectors, and of tiles."""
    found: dict[Node, tuple[int, ...]] = {}
    for kernel, body in bodies(graph).items():
        for node in body.order:
            read = [kernel.inputs[operand_number(x)] if x.op is ops.input_ else x for x in node.inputs]
            if node.op is ops.winograd_product:
                found |= {value: tuple(range(len(value.shape))) for value in read if value.op is ops.item}
            elif node.op in READ_IN_PANELS and (copy := _panels_of(node)) is not None:
                found[kernel.inputs[operand_number(copy)]] = tuple(range(len(copy.shape)))
            elif node.op in (ops.conv, ops.conv_data_grad) and read[1].op is ops.item:
                taps = range(2, len(read[1].shape))
                found[read[1]] = (*taps, 1, 0) if node.op is ops.conv else (*taps, 0, 1)
    return found


def _panels_of(product: Node) -> Node | None:
    """The operand of a kernel whose panels a product in it reads, None if it reads none."""
    below, rank = product.inputs[1], len(product.inputs[1].shape) + 1
    while below.op in (ops.slice_, ops.reshape, ops.transpose):
        below = below.inputs[0]
    return below if below.op is ops.input_ and len(below.shape) == rank and below.shape[-1] == PANEL else None
