"""Winograd's minimal filtering in the place of convolutions, and a rule that says where it takes less time.

The rule estimates what each moves and multiplies on a core with vectors: see the figures below. A convolution of stride
1 with a square kernel of 3 or 5, and its gradient by the data, become three primitives (`compiler/ops/winograd.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from ...compiler import ops
from ...compiler.graph import Graph, Node, at

# Fewer channels than these do not fill a vector.
FEWEST = 16
# What one core does, measured on a Zen 5 with AVX-512: operations a second in register tiles of direct sums, and of
# tiles that are transformed back; bytes a second of transforms that write, and of weights that are read.
DIRECT, TILED = 250e9, 190e9
WRITTEN, READ = 9e9, 30e9
# Rows of a register tile: fewer tiles than that take as long.
ROWS = 14
# Tiles by the size of the kernel, those that save more first.
CHOICES = {3: (4, 2), 5: (2,)}


def transformed(graph: Graph, tile_of: Callable[[Node], int]) -> Graph:
    """The graph with Winograd's primitives.

    tile_of: the side of a node's tiles, one of `tiles`; 0 for direct sums.
    """
    made: dict[tuple[Node, int, bool], Node] = {}

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        tile = tile_of(node)
        if not tile:
            return node.with_inputs(inputs)
        x, weight = inputs
        groups = node.attrs["groups"]
        turned, kernel = node.op is ops.conv_data_grad, weight.shape[2]
        with at(node.span, node.scope):
            if (weight, tile, turned) not in made:
                made[weight, tile, turned] = ops.winograd_weights(weight, tile=tile, groups=groups, turned=turned)
            data = ops.winograd_data(x, tile=tile, kernel=kernel, pad=padding(node))
            sizes = {"images": node.shape[0], "channels": node.shape[1], "size": tuple(node.shape[2:])}
            transformed = made[weight, tile, turned]
            return ops.winograd_product(data, transformed, tile=tile, kernel=kernel, groups=groups, **sizes)

    return graph.mapped(make)


def tiles(node: Node) -> tuple[int, ...]:
    """The sides of tiles in which a node can be computed, those that save more first; none where it cannot."""
    if node.op not in (ops.conv, ops.conv_data_grad) or node.dtype != "f32" or len(node.shape) != 4:
        return ()
    attrs, (x, weight) = node.attrs, node.inputs
    kernel = tuple(weight.shape[2:])
    plain = attrs["stride"] == attrs["dilation"] == (1, 1)
    if not plain or x.dtype != "f32" or kernel[0] != kernel[1] or kernel[0] not in CHOICES:
        return ()
    if max(attrs["pad"]) >= kernel[0] or min(x.shape[1], node.shape[1]) < FEWEST * attrs["groups"]:
        return ()
    return CHOICES[kernel[0]]


def choice(node: Node, *, learns: bool) -> int:
    """The side of the tiles in which a node is fastest by the rule; 0 where direct sums are.

    learns: weights are transformed once a step, else once in all.
    """
    best = min(tiles(node), key=lambda tile: _seconds(node, tile, learns=learns), default=0)
    return best if best and _seconds(node, best, learns=learns) < _direct(node) else 0


def _direct(node: Node) -> float:
    """Seconds of direct sums, which leave padding out."""
    x, weight = node.inputs
    flops = 2 * node.type.count * x.shape[1] // node.attrs["groups"]
    for n, size, pad in zip(x.shape[2:], node.shape[2:], padding(node), strict=True):
        flops *= sum(0 <= at + tap - pad < n for at in range(size) for tap in range(weight.shape[2])) / size
    return float(flops / DIRECT + 4 * weight.type.count / READ)


def padding(node: Node) -> tuple[int, ...]:
    """The zeros before the data of a convolution; of its gradient by the data, as a convolution of the other one."""
    kernel = node.inputs[1].shape[2]
    return tuple(kernel - 1 - p if node.op is ops.conv_data_grad else p for p in node.attrs["pad"])


def _seconds(node: Node, tile: int, *, learns: bool) -> float:
    """Seconds in tiles: the products, and what the transforms write and the products read."""
    x, weight = node.inputs
    channels, features, groups = x.shape[1], node.shape[1], node.attrs["groups"]
    cells = (tile + weight.shape[2] - 1) ** 2
    count = node.shape[0] * -(-node.shape[2] // tile) * -(-node.shape[3] // tile)
    flops = 2 * cells * -(-count // ROWS) * ROWS * channels * features // groups
    weights = 4 * cells * channels * features // groups
    written = 4 * cells * channels * count + weights * learns
    return float(flops / TILED + written / WRITTEN + weights / READ)
