"""Reductions. Reduced axes stay, with size 1: the result broadcasts back without a word, and `reshape` drops them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node
from ..types import TensorType
from .base import Array, Op, canonical_axes, check, register
from .movement import broadcast
from .pointwise import equal, like, where
from .rounding import Bound, Evaluation, Rounding, likely, reach
from .source import iota


def _reduced(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    canonical_axes(axes, x.rank)
    return x.with_shape(tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _of_some(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    check(all(x.shape[a] > 0 for a in axes), f"nothing to choose from in {x}, axes {axes}")
    return _reduced(x, axes=axes)


def _flops(y: TensorType, x: TensorType, **_: Any) -> int:
    return x.count


def _sum(x: Array, *, axes: tuple[int, ...]) -> Array:
    return np.asarray(x.sum(axes, keepdims=True))


def _sum_rounding(at: Evaluation) -> Bound:
    x, attrs, inner = at.x(0), at.node.attrs, at.arithmetic.inner(at.node.dtype)
    n = math.prod(x.shape[a] for a in attrs["axes"])
    if n < 2:
        return None
    magnitudes = _sum(np.abs(x), **attrs)
    bound = np.fmin(likely(inner, n, at.value, magnitudes, _sum(x * x, **attrs)), (n - 1) * inner * magnitudes)
    # The last rounding is that of the result's own type.
    return np.asarray(bound + at.rounded)


sum_: Op = register(
    Op(
        "sum",
        "reduce",
        _reduced,
        _sum,
        lambda g, y, x, *, axes: (broadcast(g, shape=x.shape),),
        _flops,
        Rounding(lambda at, e: _sum(e, **at.node.attrs), _sum_rounding),
    )
)


def _rows(x: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[int, ...]]:
    """x with the reduced axes flattened at the end, and the reduced shape."""
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    flat = x.transpose(*kept, *axes).reshape(*(x.shape[i] for i in kept), math.prod(x.shape[a] for a in axes))
    return flat, shape


def _argmax(x: Array, *, axes: tuple[int, ...]) -> Array:
    rows, shape = _rows(x, axes)
    if np.issubdtype(rows.dtype, np.floating):
        rows = np.where(np.isnan(rows), -np.inf, rows)
    first: Array = np.argmax(rows, axis=-1)
    return first.reshape(shape)


def _max(x: Array, *, axes: tuple[int, ...]) -> Array:
    # Caffe's comparison `v > best` never takes a NaN; what is NaN throughout is -FLT_MAX there, -inf here.
    return np.fmax.reduce(x, axis=axes, keepdims=True, initial=-np.inf if np.issubdtype(x.dtype, np.floating) else None)


def _argmax_turned(at: Evaluation) -> Bound:
    """The number of elements, where another could be the largest as well."""
    x, axes = np.asarray(at.x(0), np.float64), at.node.attrs["axes"]
    far = reach(at.operands[0], at)
    best = _max(x, axes=axes)
    of_best = np.max(np.where(x == best, far, 0.0), axis=axes, keepdims=True)
    rivals = (x + far + of_best >= best) & (far + of_best > 0)
    undecided = rivals.sum(axes, keepdims=True) > 1
    return np.where(undecided, float(math.prod(x.shape[a] for a in axes)), 0.0) if np.any(undecided) else None


# The row-major index, over the reduced axes, of the first largest element; NaN never wins.
argmax: Op = register(
    Op(
        "argmax",
        "reduce",
        lambda x, *, axes: _of_some(x, axes=axes).with_dtype("i32"),
        _argmax,
        None,
        _flops,
        Rounding(turned=_argmax_turned),
        "exact",
    )
)


def _max_vjp(g: Node, y: Node, x: Node, *, axes: tuple[int, ...]) -> tuple[Node]:
    chosen = broadcast(argmax(x, axes=axes), shape=x.shape)
    here = equal(chosen, iota(shape=x.shape, axes=axes, dtype="i32"))
    spread = broadcast(g, shape=x.shape)
    return (where(here, spread, like(spread, 0.0)),)


max_reduce: Op = register(
    Op(
        "max_reduce",
        "reduce",
        _of_some,
        _max,
        _max_vjp,
        _flops,
        Rounding(lambda at, e: e.max(at.node.attrs["axes"], keepdims=True)),
        "exact",
    )
)
