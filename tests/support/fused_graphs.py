"""Random graphs for what fuses: pointwise work, reductions, views, products and windows over a few values of one shape.

Where `random_graphs` looks for what laws take apart, this one looks for what joins.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from support.short_nodes import fed

UNARY: list[Callable[[Node], Node]] = [
    ops.tanh,
    ops.neg,
    ops.abs_,
    lambda x: x * 0.5,
    lambda x: x + 1.0,
    lambda x: expr.maximum(x, 0.0),
]
BINARY: list[Callable[[Node, Node], Node]] = [
    ops.add,
    ops.mul,
    ops.maximum,
    ops.minimum,
    lambda a, b: expr.where(a < b, a, b),
    lambda a, b: a - b,
]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Pointwise work, reductions, broadcasts, views, products, windows and concats in a random order."""
    n, c = draw(st.sampled_from([(4, 6), (16, 3), (5, 5), (1, 4)]))
    values = [fed("a", n, c), fed("b", n, c), ops.broadcast(fed("r", 1, c), shape=(n, c))]
    for _ in range(draw(st.integers(2, 12))):
        a, b = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.integers(0, 9))
        if kind <= 2:
            new = draw(st.sampled_from(BINARY))(a, b)
        elif kind <= 4:
            new = draw(st.sampled_from(UNARY))(a)
        elif kind == 5:
            axis = draw(st.integers(0, 1))
            reduce = draw(st.sampled_from([ops.sum_, ops.max_reduce]))
            new = ops.broadcast(reduce(a, axes=(axis,)), shape=(n, c)) * 0.25
        elif kind == 6:
            new = ops.reshape(ops.transpose(ops.reshape(a, shape=(n, c, 1)), perm=(0, 2, 1)), shape=(n, c))
        elif kind == 7:
            w = ops.param(name=f"w{len(values)}", shape=(c, c), dtype="f32")
            new = ops.dot(a, ops.transpose(w, perm=(1, 0))) * 0.25
        elif kind == 8:
            padded = ops.pad(a, low=(0, 1), high=(0, 1), interior=(0, 0), value=0.0)
            seen = ops.window(padded, axes=(1,), sizes=(3,), strides=(1,), dilations=(1,))
            new = ops.reshape(ops.sum_(seen, axes=(2,)), shape=(n, c)) * 0.3
        else:
            axis = draw(st.integers(0, 1))
            joined = ops.concat(a, b, axis=axis)
            start = tuple(1 if i == axis else 0 for i in range(2))
            stop = tuple(s + m for s, m in zip(start, (n, c), strict=True))
            new = ops.slice_(joined, start=start, stop=stop, step=(1, 1))
        values.append(new)
    roots = draw(st.lists(st.sampled_from(values[3:]), min_size=1, max_size=3, unique=True))
    return Graph({f"y{i}": root for i, root in enumerate(roots)})
