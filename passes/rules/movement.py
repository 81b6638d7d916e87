"""Laws of movement and of sums over moved elements, as rules: views of views become one view, or none.

Sizes shrink before elements move: a sum over repeated elements is a product, a slice is taken before a broadcast.
"""

from __future__ import annotations

import math
from itertools import pairwise

from ...compiler import expr, ops
from ...compiler.graph import Node
from ...compiler.ops.source import splat
from .algebra import like
from .rewrite import SHARED, Match, Refuse, Rule, constant, of, var

X, Y = var("x"), var("y")
Shape = tuple[int, ...]
MOST_PARTS = 128  # of a concat that laws make


def _order(x: Node, perm: Shape) -> Shape:
    """The axes of more than one element, in the order in which a transpose puts them."""
    return tuple(p for p in perm if x.shape[p] != 1)


def _transpose(m: Match) -> Node | None:
    order = _order(m.x, m.node.attrs["perm"])
    if order != tuple(sorted(order)):
        return None
    return m.x if m.node.attrs["perm"] == tuple(range(len(m.x.shape))) else expr.reshape(m.x, m.node.shape)


def _transposes(m: Match) -> Node:
    inner, outer = m.y.attrs["perm"], m.node.attrs["perm"]
    return expr.transpose(m.x, tuple(inner[p] for p in outer))


def _transposed_dot(m: Match) -> Node | Refuse | None:
    rank = len(m.node.shape)
    swap = (*range(rank - 2), rank - 1, rank - 2)
    if m.node.attrs["perm"] != swap:
        return None
    if m.shared(m.y):
        return Refuse(SHARED)
    return ops.dot(ops.transpose(m.b, perm=swap), ops.transpose(m.a, perm=swap), **m.y.attrs)


def regrouped(source: Shape, wide: Shape, target: Shape) -> Shape | None:
    """The shape of `source` whose broadcast is `target`, where `target` is `wide`, a broadcast of `source`, reshaped.

    None where an axis that is repeated melts with one that is not.
    """
    found: list[int] = []
    i = j = 0
    while i < len(wide) or j < len(target):
        first, second = i, j
        a = b = 1
        while True:
            if a <= b and i < len(wide):
                a *= wide[i]
                i += 1
            elif j < len(target):
                b *= target[j]
                j += 1
            else:
                break
            if a == b and a > 1:
                break
        kept = [(s, w) for s, w in zip(source[first:i], wide[first:i], strict=True) if w != 1]
        if all(s == 1 for s, _ in kept):
            found += [1] * (j - second)
        elif all(s == w for s, w in kept):
            found += target[second:j]
        else:
            return None
    return tuple(found)


def _reshape_broadcast(m: Match) -> Node | Refuse:
    if 0 in m.node.shape:
        return Refuse("there are no elements")
    shape = regrouped(m.x.shape, m.y.shape, m.node.shape)
    if shape is None:
        return Refuse("a repeated axis melts with another")
    return expr.broadcast_to(expr.reshape(m.x, shape), m.node.shape)


def _slice_broadcast(m: Match) -> Node:
    starts, stops, steps = [], [], []
    for n, a, b, s in zip(m.x.shape, *(m.node.attrs[k] for k in ("start", "stop", "step")), strict=True):
        # A repeated axis has one element in the source; only an empty slice of it is empty there too.
        starts.append(a if n != 1 else 0)
        stops.append(b if n != 1 else 1)
        steps.append(s if n != 1 else 1)
    small = ops.slice_(m.x, start=tuple(starts), stop=tuple(stops), step=tuple(steps))
    return expr.broadcast_to(small, m.node.shape)


def _slices(m: Match) -> Node:
    inner, outer = m.y.attrs, m.node.attrs
    axes = range(len(m.x.shape))
    # A slice of nothing may begin behind the last element.
    start = tuple(min(inner["start"][i] + outer["start"][i] * inner["step"][i], m.x.shape[i]) for i in axes)
    step = tuple(inner["step"][i] * outer["step"][i] for i in axes)
    stop = tuple(min(start[i] + max(m.node.shape[i] * step[i] - step[i] + 1, 0), m.x.shape[i]) for i in axes)
    stop = tuple(b if m.node.shape[i] else start[i] for i, b in enumerate(stop))
    return ops.slice_(m.x, start=start, stop=stop, step=step)


def _slice_concat(m: Match) -> Node | Refuse:
    """A slice that lies in one of the parts."""
    axis = m.y.attrs["axis"]
    low, high = m.node.attrs["start"][axis], m.node.attrs["stop"][axis]
    begin = 0
    for part in m.y.inputs:
        end = begin + part.shape[axis]
        if begin <= low and high <= end:
            start, stop = list(m.node.attrs["start"]), list(m.node.attrs["stop"])
            start[axis], stop[axis] = low - begin, high - begin
            return ops.slice_(part, start=tuple(start), stop=tuple(stop), step=m.node.attrs["step"])
        begin = end
    return Refuse("the slice reaches over several parts")


def _slice_pad(m: Match) -> Node | Refuse:
    """A slice that leaves out all that was padded."""
    outer, inner = m.node.attrs, m.y.attrs
    start, stop = [], []
    for i, n in enumerate(m.x.shape):
        low, a, b = inner["low"][i], outer["start"][i], outer["stop"][i]
        untouched = not (low or inner["high"][i] or inner["interior"][i])
        if not untouched and (inner["interior"][i] or a < low or b > low + n):
            return Refuse("padding is in the slice")
        start.append(a - low)
        stop.append(b - low)
    return ops.slice_(m.x, start=tuple(start), stop=tuple(stop), step=outer["step"])


def _full_slice(m: Match) -> Node | None:
    return m.x if m.x.shape == m.node.shape and set(m.node.attrs["step"]) <= {1} else None


def _no_padding(m: Match) -> Node | None:
    a = m.node.attrs
    return m.x if m.x.shape == m.node.shape and not any((*a["low"], *a["high"])) else None


def _pads(m: Match) -> Node | Refuse:
    inner, outer = m.y.attrs, m.node.attrs
    if inner["value"] != outer["value"] or any((*inner["interior"], *outer["interior"])):
        return Refuse("the paddings differ")
    low = tuple(a + b for a, b in zip(inner["low"], outer["low"], strict=True))
    high = tuple(a + b for a, b in zip(inner["high"], outer["high"], strict=True))
    return ops.pad(m.x, low=low, high=high, interior=inner["interior"], value=inner["value"])


def _concats(m: Match) -> Node | Refuse | None:
    axis = m.node.attrs["axis"]
    parts: list[Node] = []
    for x in m.node.inputs:
        parts += x.inputs if x.op is ops.concat and x.attrs["axis"] == axis else (x,)
    if len(parts) > max(MOST_PARTS, len(m.node.inputs)):  # a chain of concats of a value with itself doubles them
        return Refuse(f"it would have more than {MOST_PARTS} parts")
    return None if len(parts) == len(m.node.inputs) else ops.concat(*parts, axis=axis)


def _rejoined(m: Match) -> Node | None:
    """Neighbouring slices of one node, joined again."""
    axis, parts = m.node.attrs["axis"], m.node.inputs
    if any(x.op is not ops.slice_ or x.inputs[0] is not parts[0].inputs[0] for x in parts):
        return None
    first, last = parts[0].attrs, parts[-1].attrs
    for x, y in pairwise(parts):
        if x.attrs["stop"][axis] != y.attrs["start"][axis]:
            return None
    for x in parts:
        same = all(
            i == axis or all(x.attrs[k][i] == first[k][i] for k in ("start", "stop", "step"))
            for i in range(len(x.shape))
        )
        if not same or x.attrs["step"][axis] != 1:
            return None
    stop = tuple(last["stop"][i] if i == axis else b for i, b in enumerate(first["stop"]))
    return ops.slice_(parts[0].inputs[0], start=first["start"], stop=stop, step=first["step"])


def _sum_axes(m: Match) -> Node | None:
    axes = tuple(a for a in m.node.attrs["axes"] if m.x.shape[a] != 1)
    if axes == m.node.attrs["axes"]:
        return None
    return ops.sum_(m.x, axes=axes) if axes else m.x


def _sums(m: Match) -> Node:
    return ops.sum_(m.x, axes=tuple(sorted({*m.y.attrs["axes"], *m.node.attrs["axes"]})))


def _sum_broadcast(m: Match) -> Node:
    axes = m.node.attrs["axes"]
    count = math.prod(m.y.shape[a] for a in axes if m.x.shape[a] != m.y.shape[a])
    total = ops.sum_(m.x, axes=axes)
    if count != 1:
        total = ops.mul(total, like(total, count))
    return expr.broadcast_to(total, m.node.shape)


def _sum_all_reshaped(m: Match) -> Node | None:
    if m.node.type.count != 1:
        return None
    return expr.reshape(ops.sum_(m.x, axes=tuple(range(len(m.x.shape)))), m.node.shape)


def _sum_scaled(m: Match) -> Node:
    total = ops.sum_(m.x, axes=m.node.attrs["axes"])
    value = splat(m.k)
    assert value is not None
    return ops.mul(total, like(total, value))


def _sum_weighted(m: Match) -> Node | None:
    """A factor that is the same over all that is summed."""
    axes = m.node.attrs["axes"]
    if m.node.type.count == m.p.type.count or any(m.y.shape[a] != 1 for a in axes):
        return None
    return ops.mul(ops.sum_(m.x, axes=axes), expr.broadcast_to(m.y, m.node.shape))


def _sum_weighted_product(m: Match) -> Node | None:
    """A factor, the same over all that is summed, of one of two factors."""
    axes = m.node.attrs["axes"]
    if m.node.type.count == m.p.type.count or any(m.y.shape[a] != 1 for a in axes):
        return None
    return ops.mul(ops.sum_(ops.mul(m.x, m.z), axes=axes), expr.broadcast_to(m.y, m.node.shape))


_ROUNDING = "the order of roundings changes, their number does not grow"

VIEWS = (
    Rule("reshape to the own shape = x", of(ops.reshape, X), lambda m: m.x if m.x.shape == m.node.shape else None),
    Rule(
        "reshape(reshape(x)) = reshape(x)",
        of(ops.reshape, of(ops.reshape, X)),
        lambda m: ops.reshape(m.x, shape=m.node.shape),
    ),
    Rule("transpose that moves nothing = reshape", of(ops.transpose, X), _transpose),
    Rule("transpose(transpose(x)) = transpose(x)", of(ops.transpose, of(ops.transpose, X, name="y")), _transposes),
    Rule(
        "transpose(dot(a, b)) = dot(transpose(b), transpose(a))",
        of(ops.transpose, of(ops.dot, var("a"), var("b"), name="y")),
        _transposed_dot,
    ),
    Rule("broadcast to the own shape = x", of(ops.broadcast, X), lambda m: m.x if m.x.shape == m.node.shape else None),
    Rule(
        "broadcast(broadcast(x)) = broadcast(x)",
        of(ops.broadcast, of(ops.broadcast, X)),
        lambda m: ops.broadcast(m.x, shape=m.node.shape),
    ),
    Rule(
        "reshape(broadcast(x)) = broadcast(reshape(x))",
        of(ops.reshape, of(ops.broadcast, X, name="y")),
        _reshape_broadcast,
    ),
    Rule(
        "transpose(broadcast(x)) = broadcast(transpose(x))",
        of(ops.transpose, of(ops.broadcast, X)),
        lambda m: ops.broadcast(ops.transpose(m.x, perm=m.node.attrs["perm"]), shape=m.node.shape),
    ),
    Rule("slice of everything = x", of(ops.slice_, X), _full_slice),
    Rule("slice(slice(x)) = slice(x)", of(ops.slice_, of(ops.slice_, X, name="y")), _slices),
    Rule("slice(broadcast(x)) = broadcast(slice(x))", of(ops.slice_, of(ops.broadcast, X)), _slice_broadcast),
    Rule("slice(concat(..., x, ...)) = slice(x)", of(ops.slice_, of(ops.concat, name="y")), _slice_concat),
    Rule("slice(pad(x)) = slice(x)", of(ops.slice_, of(ops.pad, X, name="y")), _slice_pad),
    Rule("pad by nothing = x", of(ops.pad, X), _no_padding),
    Rule("pad(pad(x)) = pad(x)", of(ops.pad, of(ops.pad, X, name="y")), _pads),
    Rule("concat(x) = x", of(ops.concat, X), lambda m: m.x),
    Rule("concat(concat(a, b), c) = concat(a, b, c)", of(ops.concat), _concats),
    Rule("concat(slices of x in order) = slice(x)", of(ops.concat), _rejoined),
)

SUMS = (
    Rule("sum over one element = x", of(ops.sum_, X), _sum_axes),
    Rule("sum(sum(x)) = sum(x)", of(ops.sum_, of(ops.sum_, X, name="y")), _sums, _ROUNDING),
    Rule(
        "sum(broadcast(x)) = broadcast(sum(x)) * n",
        of(ops.sum_, of(ops.broadcast, X, name="y")),
        _sum_broadcast,
        _ROUNDING,
    ),
    Rule("sum of all of reshape(x) = sum of all of x", of(ops.sum_, of(ops.reshape, X)), _sum_all_reshaped, _ROUNDING),
    Rule(
        "sum(-x) = -sum(x)", of(ops.sum_, of(ops.neg, X)), lambda m: ops.neg(ops.sum_(m.x, axes=m.node.attrs["axes"]))
    ),
    Rule("sum(x * k) = sum(x) * k", of(ops.sum_, of(ops.mul, X, constant("k"))), _sum_scaled, _ROUNDING),
    Rule(
        "sum(x * broadcast(y)) = sum(x) * y",
        of(ops.sum_, of(ops.mul, X, of(ops.broadcast, Y), name="p")),
        _sum_weighted,
        _ROUNDING,
    ),
    Rule(
        "sum((x * broadcast(y)) * z) = sum(x * z) * y",
        of(ops.sum_, of(ops.mul, of(ops.mul, X, of(ops.broadcast, Y)), var("z"), name="p")),
        _sum_weighted_product,
        _ROUNDING,
    ),
)

MOVEMENT = (*VIEWS, *SUMS)
