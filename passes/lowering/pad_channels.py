"""Channel padding: images of a few channels get some of zeros, so that matrix units read runs of four.

The three channels of a pixel are a run of 6 bytes in 16 bits: no asynchronous copy takes that, so each element is
loaded on its own, with an address of its own. With a fourth channel a pixel is one copy, at the price of a third more
products with zero. An image is copied anyway, into the order N,H,W,C and into 16 bits, and its weights are copied once
a step (see `pack_weights`). The gradient by the weights is computed with the fourth channel and cut.
"""

from __future__ import annotations

import math
from typing import Literal

from ...compiler import ops
from ...compiler.graph import Graph, Node, at

HALF = ("f16", "bf16")
# Channels come in multiples of so many.
RUN = 4
# Products with zero that are put up with: at most half as many more.
MOST = 1.5


def padded_channels(graph: Graph, precision: Literal["ieee", "tf32"]) -> Graph:
    """The graph whose convolutions of images have channels in multiples of four."""
    images = dict(_images(graph, precision))
    padded: dict[Node, Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        x = node.inputs[0] if node.op in (ops.conv, ops.conv_weight_grad) else None
        if x is None or x not in images:
            return node.with_inputs(inputs)
        more = images[x] - int(x.shape[1])
        if x not in padded:
            padded[x] = _padded(inputs[0], more)
        with at(node.span, node.scope):
            if node.op is ops.conv:
                return ops.conv(padded[x], _padded(inputs[1], more), **node.attrs)
            whole = ops.conv_weight_grad(padded[x], *inputs[1:], **node.attrs)
            stop = tuple(map(int, node.shape))
            return ops.slice_(whole, start=(0,) * len(stop), stop=stop, step=(1,) * len(stop))

    return graph.mapped(make)


def _images(graph: Graph, precision: Literal["ieee", "tf32"]) -> list[tuple[Node, int]]:
    """What convolutions on matrix units, and nobody else, read with a few channels, and how many it gets."""
    found = []
    for x in graph.order:
        matrix_units = x.dtype in HALF or (x.dtype == "f32" and precision == "tf32")
        if len(x.shape) < 3 or not matrix_units:
            continue
        channels = int(x.shape[1])
        wanted = -(-channels // RUN) * RUN
        users = graph.users[x]
        read = all(
            n.op in (ops.conv, ops.conv_weight_grad)
            and n.inputs[0] is x
            and x not in n.inputs[1:]
            and n.attrs["groups"] == 1
            and math.prod(n.inputs[1].shape[2:] if n.op is ops.conv else n.attrs["kernel"]) > 1
            for n in users
        )
        if channels < wanted <= MOST * channels and users and read and _fed(x):
            found.append((x, wanted))
    wanted_elsewhere = set(graph.outputs.values()) | set(graph.updates.values())
    return [(x, n) for x, n in found if x not in wanted_elsewhere]


def _fed(node: Node) -> bool:
    """Whether a value is computed element by element from what is fed."""
    while node.op.family == "pointwise":
        large = [x for x in node.inputs if x.type.count == node.type.count]
        if len(large) != 1:
            return False
        node = large[0]
    return node.op is ops.input_


def _padded(node: Node, more: int) -> Node:
    """A value with channels of zeros, stored in its type."""
    below = node.inputs[0] if node.op is ops.cast else node
    rank = len(node.shape)
    high = tuple(more if a == 1 else 0 for a in range(rank))
    none = (0,) * rank
    with at(node.span, node.scope):
        return ops.cast(ops.pad(below, low=none, high=high, interior=none, value=0.0), dtype=node.dtype)
