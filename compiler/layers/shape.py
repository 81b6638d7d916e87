"""Layers that move elements and compute nothing."""

from __future__ import annotations

import math
from itertools import pairwise

from .. import expr, ops
from ..graph import Node
from ..schema.ranges import AtLeastOne
from .axes import per_axis, refuse
from .base import PerAxis, layer

MAX_PARTS = 1000


@layer("Concat", policy="narrow")
def concat(*xs: Node, axis: int = 1) -> Node:
    """x[0], x[1], … one after the other along axis   (Caffe: Concat)"""
    refuse(not xs, "nothing to join")
    at = expr.axis_of(axis, len(xs[0].shape))
    rest = [(x.dtype, len(x.shape), [n for i, n in enumerate(x.shape) if i != at]) for x in xs]
    for x, found in zip(xs, rest, strict=True):
        refuse(found != rest[0], f"{x.type} does not join {xs[0].type} along axis {at}")
    return xs[0] if len(xs) == 1 else ops.concat(*xs, axis=at)


@layer("Slice", policy="narrow")
def split(x: Node, *, parts: int | None = None, at: PerAxis | None = None, axis: int = 1) -> tuple[Node, ...]:
    """x[…, at[i-1] : at[i], …] along axis, or `parts` equal ones   (Caffe: Slice)"""
    along = expr.axis_of(axis, len(x.shape))
    size = int(x.shape[along])
    refuse((parts is None) == (at is None), "say either into how many equal parts, or at: where to cut")
    if parts is not None:
        refuse(parts < 1 or size % parts != 0, f"axis {along} of {x.type} does not divide into {parts} equal parts")
        refuse(parts > MAX_PARTS, f"{parts} parts are more than {MAX_PARTS}")
        cuts = tuple(range(size // parts, size, size // parts)) if size else ()
    else:
        cuts = (at,) if isinstance(at, int) else tuple(at or ())
    edges = (0, *cuts, size)
    refuse(
        any(a >= b for a, b in pairwise(edges)),
        f"at: {list(cuts)} are not ascending cuts inside an axis of {size}",
    )
    return tuple(expr.cut(x, along, a, b) for a, b in pairwise(edges))


@layer("Flatten", policy="narrow")
def flatten(x: Node, *, axis: int = 1, end_axis: int = -1) -> Node:
    """The axes from axis to end_axis become one   (Caffe: Flatten)"""
    rank = len(x.shape)
    first, last = expr.axis_of(axis, rank), expr.axis_of(end_axis, rank)
    refuse(last < first, f"end_axis {end_axis} comes before axis {axis}")
    return expr.reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


@layer("Reshape", policy="narrow")
def reshape(x: Node, *, shape: PerAxis, axis: int = 0, num_axes: int = -1) -> Node:
    """x in another shape; 0 keeps a size, -1 is what is left   (Caffe: Reshape)

    Only `num_axes` axes from `axis` on are replaced (-1: to the end). A negative axis counts from behind the last, as
    in Caffe: -1 appends.
    """
    rank = len(x.shape)
    start = axis if axis >= 0 else rank + axis + 1
    refuse(not 0 <= start <= rank, f"axis {axis} is outside {rank} axes")
    end = rank if num_axes == -1 else start + num_axes
    refuse(num_axes < -1 or end > rank, f"{num_axes} axes from axis {start} on are not in {x.type}")
    given = (shape,) if isinstance(shape, int) else tuple(shape)
    refuse(any(n < -1 for n in given) or given.count(-1) > 1, f"{list(given)}: one -1 at most, and nothing below it")
    kept = [i for i, n in enumerate(given) if n == 0]
    refuse(any(start + i >= end for i in kept), f"{list(given)} keeps more axes than {x.type} has")
    sizes = [x.shape[start + i] if n == 0 else n for i, n in enumerate(given)]
    count = math.prod(x.shape[start:end])
    known = math.prod(n for n in sizes if n != -1)
    refuse(
        known != count if -1 not in sizes else known == 0 or count % known != 0,
        f"{math.prod(x.shape)} elements of {x.type} do not fit {[*x.shape[:start], *sizes, *x.shape[end:]]}",
    )
    return expr.reshape(x, (*x.shape[:start], *(count // known if n == -1 else n for n in sizes), *x.shape[end:]))


@layer(policy="narrow")
def transpose(x: Node, *, order: tuple[int, ...]) -> Node:
    """Axis i of the result is axis order[i] of x"""
    rank = len(x.shape)
    found = tuple(expr.axis_of(axis, rank) for axis in order)
    refuse(sorted(found) != list(range(rank)), f"{list(order)} is no order of the {rank} axes of {x.type}")
    return expr.transpose(x, found)


@layer(policy="narrow")
def pad(x: Node, *, low: PerAxis = 0, high: PerAxis = 0, value: float = 0.0) -> Node:
    """x with `low` elements of `value` before, and `high` after, each of its last axes

    One number stands for all axes of space (from the third on), a list for as many of the last axes as it has.
    """
    rank = len(x.shape)
    refuse(not x.type.is_float, f"the input is {x.type}, cast it to f32 first")
    edges = []
    for what, given in (("low", low), ("high", high)):
        last = (given,) * max(rank - 2, 0) if isinstance(given, int) else tuple(given)
        refuse(len(last) > rank, f"{what} has {len(last)} values, {x.type} has {rank} axes")
        refuse(any(n < 0 for n in last), f"{what} is {list(last)}, it must be at least 0")
        edges.append((0,) * (rank - len(last)) + last)
    return ops.pad(x, low=edges[0], high=edges[1], interior=(0,) * rank, value=value)


@layer("Tile", policy="narrow")
def tile(x: Node, *, tiles: AtLeastOne, axis: int = 1) -> Node:
    """x, x, … tiles times along axis   (Caffe: Tile)"""
    at = expr.axis_of(axis, len(x.shape))
    before, after = x.shape[:at], x.shape[at:]
    many = expr.broadcast_to(expr.reshape(x, (*before, 1, *after)), (*before, tiles, *after))
    return expr.reshape(many, (*before, tiles * after[0], *after[1:]))


@layer("Crop", policy="narrow")
def crop(x: Node, like: Node, *, axis: int = 2, offset: PerAxis = 0) -> Node:
    """x[…, offset : offset + size, …], sizes as those of `like` from axis on   (Caffe: Crop)"""
    at = expr.axis_of(axis, len(x.shape))
    refuse(len(like.shape) != len(x.shape), f"{like.type} has not as many axes as {x.type}")
    offsets = (0,) * at + per_axis(offset, len(x.shape) - at, "offset", least=0)
    sizes = (*x.shape[:at], *like.shape[at:])
    refuse(
        any(o + n > m for o, n, m in zip(offsets, sizes, x.shape, strict=True)),
        f"{x.type} has no {list(sizes)} from {list(offsets)} on",
    )
    stop = tuple(o + n for o, n in zip(offsets, sizes, strict=True))
    return ops.slice_(x, start=offsets, stop=stop, step=(1,) * len(stop))


@layer("BatchReindex", policy="narrow")
def batch_reindex(x: Node, index: Node) -> Node:
    """x[index]: items of the batch chosen by number, also several times   (Caffe: BatchReindex)"""
    refuse(len(index.shape) != 1, f"the index is {index.type}, it must have one axis")
    return ops.gather(x, expr.cast(index, "i32"))
