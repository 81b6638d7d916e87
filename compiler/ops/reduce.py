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
from .source import iota


def _reduced(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    canonical_axes(axes, x.rank)
    return x.with_shape(tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


def _of_some(x: TensorType, *, axes: tuple[int, ...]) -> TensorType:
    check(all(x.shape[a] > 0 for a in axes), f"nothing to choose from in {x}, axes {axes}")
    return _reduced(x, axes=axes)


def _flops(y: TensorType, x: TensorType, **_: Any) -> int:
    return x.count


sum_: Op = register(
    Op(
        "sum",
        "reduce",
        _reduced,
        lambda x, *, axes: x.sum(axes, keepdims=True),
        lambda g, y, x, *, axes: (broadcast(g, shape=x.shape),),
        _flops,
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


# The row-major index, over the reduced axes, of the first largest element; NaN never wins.
argmax: Op = register(
    Op("argmax", "reduce", lambda x, *, axes: _of_some(x, axes=axes).with_dtype("i32"), _argmax, None, _flops)
)


def _max_vjp(g: Node, y: Node, x: Node, *, axes: tuple[int, ...]) -> tuple[Node]:
    chosen = broadcast(argmax(x, axes=axes), shape=x.shape)
    here = equal(chosen, iota(shape=x.shape, axes=axes, dtype="i32"))
    spread = broadcast(g, shape=x.shape)
    return (where(here, spread, like(spread, 0.0)),)


max_reduce: Op = register(Op("max_reduce", "reduce", _of_some, _max, _max_vjp, _flops))
