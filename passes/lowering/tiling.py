"""Loop tiling for CPUs: how many elements a tile has, and whether the batch is the innermost axis of activations.

Values of convolutional nets lie with the batch innermost where the batch is large and the images small: then every copy
into columns, every pooling window and every channel of an LRN is a long run, whatever its stride. Else they lie as
C,N,H,W: one product over the columns of some images lands in place, and a tile may be a single image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import TOTAL, Schedule, bodies, with_schedules

CONVOLUTIONS = frozenset({"conv", "conv_data_grad", "conv_weight_grad"})
# Items of a tile where the batch is innermost, the best first (runs of 16 floats are a cache line), and where an item
# has more elements than LARGE_ITEM; with more than LARGEST_ITEM even the smallest tiles leave the cache.
INNER_TILES = (16, 20, 24, 25, 12, 10, 8)
INNER_TILES_OF_LARGE = (8, 10, 12, 16, 20)
LARGE_ITEM = 16_384
LARGEST_ITEM = 80_000
# Bytes of one value in a tile, of one in a tile of a product, and of the columns of a convolution. A product packs its
# other operand for each tile, which a few rows do not pay for.
TILE_BYTES = 1 << 16
PRODUCT_TILE_BYTES = 1 << 17
COLUMN_BYTES = 1 << 20
# Under this estimate, in seconds, sharing a kernel between threads costs more than it saves: waking a thread takes
# 20 us, on some virtual machines 150, and each call of numpy's waits for the interpreter, which the other thread may
# have. A convolution of one item, split by its results, makes its columns on each thread.
WORTH_SPLITTING = 400e-6
WORTH_SPLITTING_CALL = 10e-6
WORTH_SPLITTING_ITEM = 800e-6


def tiled(graph: Graph, threads: int) -> tuple[Graph, int]:
    """The kernels with tiles, which threads share where that pays; items a tile if the batch is innermost, else 0."""
    nodes = [n for body in bodies(graph).values() for n in body.order]
    inner, batch = inner_tile(nodes), batch_of(nodes)

    def scheduled(kernel: Node) -> Schedule:
        chosen: Schedule = kernel.attrs["schedule"]
        return _schedule(kernel.attrs["body"], chosen.axes, chosen.length, inner, batch, threads)

    return with_schedules(graph, scheduled), inner


def _schedule(body: Graph, axes: tuple[int | None, ...], length: int, inner: int, batch: int, threads: int) -> Schedule:
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


def inner_tile(nodes: Iterable[Node]) -> int:
    """Items a tile if the batch should be innermost, else 0."""
    found = [n for n in nodes if n.op.name in CONVOLUTIONS]
    batches = {int(n.inputs[0].shape[0]) for n in found}
    largest = max(
        (
            x.type.count // max(1, int(x.shape[0]))
            for n in found
            for x in (n, n.inputs[0])
            if n.op is not ops.conv_weight_grad or x is not n
        ),
        default=0,
    )
    if len(batches) != 1 or largest > LARGEST_ITEM:
        return 0
    (batch,) = batches
    tiles = INNER_TILES if largest <= LARGE_ITEM else INNER_TILES_OF_LARGE
    return next((t for t in tiles if batch % t == 0 and batch >= 2 * t), 0)


def batch_of(nodes: Iterable[Node]) -> int:
    """The batch of the convolutions among the nodes, 0 if there are none."""
    return next((int(n.inputs[0].shape[0]) for n in nodes if n.op.name in CONVOLUTIONS), 0)


def seconds(flops: int, moved: int) -> float:
    """A rough time on one core, assumed to do 60 GFLOP/s and to move 8 GB/s."""
    return flops / 60e9 + moved / 8e9


def tile_of(body: Graph, axes: tuple[int | None, ...], length: int, *, inner: int, batch: int, threads: int) -> int:
    """Elements of the tiled axis in a tile."""
    along = dict(zip(body.order, axes, strict=True))
    columns = 0
    widest = 1
    for node, axis in along.items():
        if axis is not None and axis != TOTAL and node.op.family not in ("movement", "overlap", "source"):
            widest = max(widest, node.type.nbytes // length)
        if node.op.name in CONVOLUTIONS:
            shape = node.inputs[1].shape if node.op.name != "conv_weight_grad" else node.shape
            out = (
                node.shape
                if node.op.name == "conv"
                else node.inputs[1 if node.op.name == "conv_weight_grad" else 0].shape
            )
            item = math.prod(shape[1:]) * node.attrs["groups"] * math.prod(out[2:]) * 4
            columns = max(columns, item if axis in (0, TOTAL) else 0)
    if inner and length == batch and any(n.type.rank >= 3 for n in body.order):
        return inner
    share = -(-length // threads)
    by_weights = any(
        n.op.name in CONVOLUTIONS and along[n] == (0 if n.op is ops.conv_weight_grad else 1) for n in body.order
    )
    if any(n.op is ops.dot and along[n] is not None for n in body.order):
        most = PRODUCT_TILE_BYTES // widest
        if most * threads >= length:  # together they would hold all of it, and save no memory
            most = TILE_BYTES // widest
        found = even(length, threads, min(share, max(8, most)))
        if not by_weights or length % found == 0:
            return found
    tile = TILE_BYTES // widest
    if columns:
        tile = min(tile, COLUMN_BYTES // columns)
    if by_weights:
        # Results of a convolution, of which each tile has equally many: their weights are read as a matrix.
        exact = _largest_divisor(length, share)
        return exact if 4 * exact >= share else length
    return even(length, threads, max(1, min(tile, share)))


def even(length: int, threads: int, most: int) -> int:
    """Elements of a tile, at most so many, of which each thread gets as many where that can be."""
    return divisor(length // threads if length % threads == 0 else length, most)


def divisor(length: int, most: int) -> int:
    """The largest divisor of length up to `most` if it is at least half of that, else `most`."""
    found = _largest_divisor(length, most) if length < 1 << 16 else 0
    return found if 2 * found >= most else most


def _largest_divisor(length: int, most: int) -> int:
    """The largest divisor of a length up to `most`, 1 or more."""
    return max(d for k in range(1, math.isqrt(length) + 1) if length % k == 0 for d in (k, length // k) if d <= most)
