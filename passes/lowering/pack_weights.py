"""Weight packing: copies of convolutions' weights in the order in which products read them.

Parameters lie row-major in their flat buffer, so the channels of one weight lie a kernel apart, and no run of them can
be copied as a vector. For matrix units each such weight is copied once a step (once in all where it does not change),
as a value of its own, which `layout` puts in the order O, kernel, I; weights of 16 bits are cast by the way.
"""

from __future__ import annotations

import math
from typing import Literal

from ...compiler import ops
from ...compiler.graph import Graph, Node, at
from .pad_channels import HALF

# With fewer channels there is no run worth a copy.
FEWEST_CHANNELS = 8


def packed_weights(graph: Graph, precision: Literal["ieee", "tf32"]) -> Graph:
    """The graph with weights that matrix units read as values of their own."""
    packed: dict[Node, Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op in (ops.conv, ops.conv_data_grad):
            x, weight, *rest = inputs
            if math.prod(weight.shape[2:]) > 1 and weight.shape[1] >= FEWEST_CHANNELS:
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
