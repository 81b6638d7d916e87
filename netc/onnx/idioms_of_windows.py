"""Idioms of windows and reductions: pooling, global pooling, means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.ops.source import splat
from ..passes.rules.pattern import constant, of, var
from .matching import X, bare, edges, match
from .rows import padded, reduce_
from .writer import Idiom, Spelling, Value, Writer

# How far a factor that is computed may be from the one that an operator has.
CLOSE = 1e-6


@dataclass(frozen=True)
class _Pool:
    """Windows over the axes of space, each of which becomes one number. pad: the node around x, if there is one."""

    x: Node
    pad: Node | None
    window: Node

    def write(self, w: Writer, op: str, **attrs: Any) -> str:
        how, rank = self.window.attrs, len(self.x.shape) - 2
        low = [0] * rank if self.pad is None else [*self.pad.attrs["low"][2:]]
        high = [0] * rank if self.pad is None else [*self.pad.attrs["high"][2:]]
        name = w.full(self.x)
        far = any(p >= k for side in (low, high) for p, k in zip(side, how["sizes"], strict=True))
        if self.pad is not None and far:
            name = padded(w, name, self.pad.attrs["low"], self.pad.attrs["high"], self.pad)
            low = high = [0] * rank
        if op == "MaxPool":
            attrs["dilations"] = list(how["dilations"])
        attrs |= {"kernel_shape": list(how["sizes"]), "strides": list(how["strides"]), "pads": [*low, *high]}
        return w.node(op, [name], **attrs)

    @property
    def whole(self) -> bool:
        """Whether there is one window, all of space."""
        return self.pad is None and tuple(self.window.attrs["sizes"]) == tuple(map(int, self.x.shape[2:]))


def _pool(w: Writer, node: Node, reduce: ops.Op, fill: float) -> _Pool | None:
    """A reduction over all that windows hold, without the axes that are left with size 1."""
    found = match(node, of(ops.reshape, of(reduce, of(ops.window, var("x"), name="window"), name="reduced")))
    if found is None or node.dtype != "f32":
        return None
    x, window, reduced = found["x"], found["window"], found["reduced"]
    rank = len(x.shape)
    if not 3 <= rank <= 5 or window.attrs["axes"] != tuple(range(2, rank)):
        return None
    if reduced.attrs["axes"] != tuple(range(rank, 2 * rank - 2)) or tuple(node.shape) != tuple(window.shape[:rank]):
        return None
    return _Pool(x.inputs[0], x, window) if edges(x, fill) else _Pool(x, None, window)


def _max_pool(w: Writer, node: Node) -> Spelling | None:
    """The largest element of each window."""
    pool = _pool(w, node, ops.max_reduce, -math.inf)
    if pool is None:
        return None
    if pool.whole:
        return Spelling([pool.x], lambda w: (w.node("GlobalMaxPool", [w.full(pool.x)]), w.sizes.shape(node)))
    return Spelling([pool.x], lambda w: (pool.write(w, "MaxPool"), w.sizes.shape(node)))


def _average(w: Writer, node: Node) -> _Pool | None:
    pool = _pool(w, node, ops.sum_, 0.0)
    return pool if pool is not None and set(pool.window.attrs["dilations"]) == {1} else None


def _averaged(w: Writer, pool: _Pool) -> str:
    return (
        w.node("GlobalAveragePool", [w.full(pool.x)])
        if pool.whole
        else pool.write(w, "AveragePool", count_include_pad=1)
    )


def _sum_pool(w: Writer, node: Node) -> Spelling | None:
    """The sum of each window: its average, times its size."""
    pool = _average(w, node)
    if pool is None:
        return None
    size = float(math.prod(pool.window.attrs["sizes"]))

    def write(w: Writer) -> Value:
        return w.elementwise("Mul", [(_averaged(w, pool), w.sizes.shape(node)), w.number(size, node)])

    return Spelling([pool.x], write)


def _avg_pool(w: Writer, node: Node) -> Spelling | None:
    """The sum of each window times a number: what it is more than 1 / size is a factor."""
    found = match(node, of(ops.mul, var("sum"), constant("by")))
    pool = _average(w, found["sum"]) if found is not None else None
    if found is None or pool is None:
        return None
    factor = (splat(found["by"]) or 0.0) * math.prod(pool.window.attrs["sizes"])

    def write(w: Writer) -> Value:
        value = _averaged(w, pool), w.sizes.shape(node)
        return value if abs(factor - 1) < CLOSE else w.elementwise("Mul", [value, w.number(factor, node)])

    return Spelling([pool.x], write)


def _counted_pool(w: Writer, node: Node) -> Spelling | None:
    """The sum of each window over what is counted of it."""
    found = match(node, of(ops.div, var("sum"), var("counts")))
    pool = _average(w, found["sum"]) if found is not None else None
    if found is None or pool is None or not w.fixed(counts := bare(found["counts"])):
        return None
    size = math.prod(pool.window.attrs["sizes"])

    def write(w: Writer) -> Value:
        share = w.constant((size / w.array(counts)).astype(counts.type.numpy_dtype))
        return w.elementwise("Mul", [(_averaged(w, pool), w.sizes.shape(node)), (share, w.sizes.shape(counts))])

    return Spelling([pool.x], write)


def _reduced(w: Writer, node: Node) -> Spelling | None:
    """A sum or a maximum without the axes that are left with size 1."""
    reduced = node.inputs[0]
    if reduced.op not in (ops.sum_, ops.max_reduce):
        return None
    axes, x = reduced.attrs["axes"], reduced.inputs[0]
    if tuple(node.shape) != tuple(n for axis, n in enumerate(x.shape) if axis not in axes):
        return None
    name = "ReduceSum" if reduced.op is ops.sum_ else "ReduceMax"
    return Spelling([x], lambda w: (reduce_(w, reduced, name, keep=False), w.sizes.shape(node)))


def _mean(w: Writer, node: Node) -> Spelling | None:
    """A sum times 1 / count, with or without the axes that it leaves with size 1."""
    found = match(node, of(ops.mul, of(ops.sum_, X, name="sum"), constant("by"))) or match(
        node, of(ops.mul, of(ops.reshape, of(ops.sum_, X, name="sum")), constant("by"))
    )
    if found is None or node.dtype != "f32":
        return None
    x, axes, keep = found["x"], found["sum"].attrs["axes"], found["sum"].shape == node.shape
    count = math.prod(int(x.shape[axis]) for axis in axes)
    squeezed = tuple(n for axis, n in enumerate(x.shape) if axis not in axes)
    if abs((splat(found["by"]) or 0.0) * count - 1) > CLOSE or not (keep or node.shape == squeezed):
        return None

    def write(w: Writer) -> Value:
        return w.node("ReduceMean", [w.full(x), w.integers(axes)], keepdims=int(keep)), w.sizes.shape(node)

    return Spelling([x], write)


RESHAPE: tuple[Idiom, ...] = (_max_pool, _sum_pool, _reduced)
MUL: tuple[Idiom, ...] = (_avg_pool, _mean)
DIV: tuple[Idiom, ...] = (_counted_pool,)
