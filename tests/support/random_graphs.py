"""Random small graphs for hypothesis: ops of every family on small shapes, with the constants that laws look for."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node

NUMBERS = (0.0, 1.0, -1.0, 2.0, 0.5, -3.0)
SHAPES = ((2, 3), (1, 3), (2, 1), (4,), (2, 2, 3), ())


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to twelve ops over two inputs, parameters and constants; several outputs."""
    shape = draw(st.sampled_from(SHAPES))
    nodes: list[Node] = [
        ops.input_(name="x", shape=shape, dtype="f32"),
        ops.input_(name="y", shape=draw(st.sampled_from(SHAPES)), dtype="f32"),
        ops.param(name="w", shape=shape, dtype="f32"),
        ops.const(value=draw(st.sampled_from(NUMBERS)), shape=shape, dtype="f32"),
        expr.array(np.arange(math.prod(shape), dtype=np.float32).reshape(shape) - 1),
    ]
    for _ in range(draw(st.integers(1, 12))):
        nodes.append(draw(_applied(nodes)))
    count = draw(st.integers(1, 3))
    return Graph({f"out{i}": node for i, node in enumerate(nodes[-count:])})


@st.composite
def _applied(draw: st.DrawFn, nodes: list[Node]) -> Node:
    x = draw(st.sampled_from(nodes))
    kind = draw(st.sampled_from(_KINDS))
    if x.dtype == "bool":
        kind = draw(st.sampled_from(("where", "not", "move", "cast")))
    if kind == "binary":
        y = draw(st.sampled_from([n for n in nodes if n.type == x.type]))
        return draw(st.sampled_from((ops.add, ops.mul, ops.maximum, ops.minimum, ops.less, ops.equal)))(x, y)
    if kind == "number":
        value = draw(st.sampled_from(NUMBERS))
        op = draw(st.sampled_from((expr.add, expr.mul, expr.sub)))
        return op(x, value) if draw(st.booleans()) else op(value, x)
    if kind == "divide":
        return expr.div(x, draw(st.sampled_from((1.0, 2.0, -4.0))))
    if kind == "unary":
        return draw(st.sampled_from((ops.neg, ops.tanh, ops.abs_)))(x)
    if kind == "power":
        base = expr.add(ops.abs_(x), 0.5)
        return expr.pow(base, draw(st.sampled_from((0.0, 1.0, 2.0, 0.5, -1.0, -0.75, 1.75, 0.3))))
    if kind == "where":
        condition = x if x.dtype == "bool" else ops.less(x, expr.constant(0.5, x))
        arms = [n for n in nodes if n.shape == condition.shape and n.dtype == "f32"]
        arms += [ops.const(value=v, shape=condition.shape, dtype="f32") for v in (0.0, 1.0)]
        return ops.where(condition, draw(st.sampled_from(arms)), draw(st.sampled_from(arms)))
    if kind == "not":
        return expr.logical_not(x)
    if kind == "cast":
        return expr.cast(x, draw(st.sampled_from(("f32", "f64")))) if x.dtype != "f64" else expr.cast(x, "f32")
    if kind == "dot":
        rows = expr.reshape(x, (1, x.type.count)) if len(x.shape) != 2 else x
        inner, out = rows.shape[1], draw(st.sampled_from((1, 2, 3)))
        y = ops.dot(expr.cast(rows, "f32"), ops.param(name=f"w{inner}x{out}", shape=(inner, out), dtype="f32"))
        return y if draw(st.booleans()) else y + ops.param(name=f"b{out}", shape=(out,), dtype="f32")
    if kind == "factor":
        shape = (1,) * (len(x.shape) - 1) + x.shape[-1:]
        factor = expr.cast(ops.param(name=f"s{len(shape)}x{shape[-1:]}", shape=shape, dtype="f32"), x.dtype)
        return draw(st.sampled_from((expr.mul, expr.add, expr.sub)))(x, factor)
    if kind == "sum":
        axes = draw(st.sets(st.integers(0, max(0, len(x.shape) - 1)))) if x.shape else set()
        return ops.sum_(x, axes=tuple(sorted(axes)))
    return draw(_moved(x, nodes))


_KINDS = (
    "binary",
    "number",
    "divide",
    "unary",
    "power",
    "where",
    "cast",
    "sum",
    "dot",
    "factor",
    "move",
    "move",
)


@st.composite
def _moved(draw: st.DrawFn, x: Node, nodes: list[Node]) -> Node:
    rank = len(x.shape)
    kind = draw(st.sampled_from(("reshape", "transpose", "broadcast", "slice", "pad", "concat")))
    if kind == "reshape" or not rank:
        return ops.reshape(x, shape=draw(st.sampled_from(_factorings(x.type.count))))
    if kind == "transpose":
        return ops.transpose(x, perm=tuple(draw(st.permutations(range(rank)))))
    if kind == "broadcast":
        return ops.broadcast(x, shape=tuple(draw(st.sampled_from((1, 3))) if n == 1 else n for n in x.shape))
    if kind == "slice":
        cuts = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in x.shape]
        steps = tuple(draw(st.sampled_from((1, 1, 2))) for _ in x.shape)
        return ops.slice_(x, start=tuple(a for a, _ in cuts), stop=tuple(b for _, b in cuts), step=steps)
    widths = st.tuples(*(st.integers(0, 2) for _ in x.shape))
    if kind == "pad" and x.type.count < 200:
        interior = draw(st.sampled_from(((0,) * rank, draw(widths))))
        value = False if x.dtype == "bool" else draw(st.sampled_from((0.0, 1.0)))
        return ops.pad(x, low=draw(widths), high=draw(widths), interior=interior, value=value)
    axis = draw(st.integers(0, rank - 1))
    others = [n for n in nodes if n.dtype == x.dtype and _joins(n.shape, x.shape, axis)]
    parts = draw(st.lists(st.sampled_from(others), max_size=2))
    return ops.concat(x, *parts, axis=axis)


def _joins(a: tuple[int, ...], b: tuple[int, ...], axis: int) -> bool:
    return len(a) == len(b) and all(m == n for i, (m, n) in enumerate(zip(a, b, strict=True)) if i != axis)


def _factorings(count: int) -> list[tuple[int, ...]]:
    found = [(count,), (1, count), (count, 1)]
    found += [(f, count // f) for f in range(2, count) if count % f == 0]
    found += [(f, 1, count // f, 1) for f in range(2, count) if count % f == 0]
    return [*found, ()] if count == 1 else found
