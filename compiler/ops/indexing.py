"""Gathers and scatters: primitives that read or write rows by computed numbers.

A choice along a reduced axis is not one of them: it is `sum(where(iota == label, x, 0))`, which fuses.
"""

from __future__ import annotations

import numpy as np

from ..graph import Node
from ..types import TensorType
from .base import Array, Op, check, no_flops, register
from .rounding import Evaluation, Rounding, overlapping


def _gather_type(table: TensorType, index: TensorType) -> TensorType:
    check(table.rank >= 1 and index.dtype in ("i32", "i64"), f"cannot take rows {index} of {table}")
    return table.with_shape((*index.shape, *table.shape[1:]))


def _gather(table: Array, index: Array) -> Array:
    rows: Array = table[np.clip(index, 0, len(table) - 1)]
    return rows


def _spread(at: Evaluation, rows: Array, doubt: Array) -> Array:
    """What becomes of bounds on rows: they move as rows do; with a number in doubt anything may be meant."""
    if np.any(doubt > 0):
        return np.full(at.value.shape, np.inf)
    return _gather(rows, at.x(1)) if at.node.op is gather else _scatter_add(at.x(0), rows, **at.node.attrs)


# Rows of a table by number; numbers outside are clipped to the nearest row, on every target.
gather: Op = register(
    Op(
        "gather",
        "index",
        _gather_type,
        _gather,
        lambda g, y, table, index: (scatter_add(index, g, size=table.shape[0]), None),
        no_flops,
        Rounding(_spread),
        "exact",
    )
)


def _scatter_type(index: TensorType, rows: TensorType, *, size: int) -> TensorType:
    check(index.dtype in ("i32", "i64"), f"{index} are no numbers of rows")
    check(rows.shape[: index.rank] == index.shape, f"{rows} has no row for each of {index}")
    return rows.with_shape((size, *rows.shape[index.rank :]))


def _scatter_add(index: Array, rows: Array, *, size: int) -> Array:
    y = np.zeros((size, *rows.shape[index.ndim :]), rows.dtype)
    np.add.at(y, np.clip(index, 0, size - 1), rows)
    return y


def _scatter_vjp(g: Node, y: Node, index: Node, rows: Node, *, size: int) -> tuple[Node | None, Node]:
    return None, gather(g, index)


def _scatter_rounding(at: Evaluation) -> Array:
    index, size = at.x(0), at.node.attrs["size"]
    n = int(np.bincount(np.clip(index.ravel(), 0, size - 1), minlength=1).max())
    return overlapping(at, n, lambda rows: _scatter_add(index, rows, size=size), at.x(1))


# The adjoint of `gather`: rows are added into a table of zeros, in the order of the index.
scatter_add: Op = register(
    Op(
        "scatter_add",
        "index",
        _scatter_type,
        _scatter_add,
        _scatter_vjp,
        lambda y, index, rows, **_: rows.count,
        Rounding(lambda at, doubt, rows: _spread(at, rows, doubt), _scatter_rounding),
    )
)
