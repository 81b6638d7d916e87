"""Constants: what follows from constants alone is computed here, as far as its type holds it exactly and it is small.

One number everywhere stays one number, in double precision, whatever its shape. Rules for weights are in `weights.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...compiler import ops
from ...compiler.graph import Node
from ...compiler.ops.base import Array
from ...compiler.ops.source import splat
from ...compiler.types import Literal
from .rewrite import Match, Refuse, Rule, of

# A larger result would weigh more in the program's text than the work it saves.
MAX_ELEMENTS = 4096

_MOVED = (ops.reshape, ops.transpose, ops.broadcast, ops.slice_, ops.concat, ops.max_reduce)


def _all_splat(node: Node) -> bool:
    return all(splat(x) is not None for x in node.inputs)


def _all_constant(node: Node) -> bool:
    return all(x.op is ops.const for x in node.inputs)


def _wide(node: Node) -> Any:
    return np.float64 if node.type.is_float else node.type.numpy_dtype


def _number(node: Node, value: Any) -> Node:
    kind = float if node.type.is_float else bool if node.dtype == "bool" else int
    return ops.const(value=kind(value), shape=node.shape, dtype=node.dtype)


def _pointwise(m: Match) -> Node:
    values = (np.asarray(x.attrs["value"], _wide(x)) for x in m.node.inputs)
    return _number(m.node, np.asarray(m.node.op.numpy(*values, **m.node.attrs)).astype(_wide(m.node)))


def _moved(m: Match) -> Node | None:
    first = m.node.inputs[0].attrs["value"]
    if m.node.op is ops.max_reduce and math.isnan(first):
        return None
    same = all(x.attrs["value"] == first for x in m.node.inputs)
    return _number(m.node, first) if same else None


def _padded(m: Match) -> Node | None:
    value = m.node.inputs[0].attrs["value"]
    return _number(m.node, value) if value == m.node.attrs["value"] else None


def _summed(m: Match) -> Node:
    x = m.node.inputs[0]
    return _number(m.node, x.attrs["value"] * math.prod(x.shape[a] for a in m.node.attrs["axes"]))


def _array(m: Match) -> Node | Refuse:
    node = m.node
    if max(x.type.count for x in (node, *node.inputs)) > MAX_ELEMENTS:
        return Refuse(f"more than {MAX_ELEMENTS} elements")
    result: Array = np.asarray(node.op.numpy(*map(_held, node.inputs), **node.attrs)).astype(_wide(node))
    with np.errstate(all="ignore"):
        held = result.astype(node.type.numpy_dtype)
    if not np.array_equal(held.astype(result.dtype), result, equal_nan=node.type.is_float):
        return Refuse(f"{node.dtype} does not hold the result exactly")
    return ops.const(value=Literal.of(held, node.dtype), shape=node.shape, dtype=node.dtype)


def _held(x: Node) -> Array:
    value = x.attrs["value"]
    array = value.array() if isinstance(value, Literal) else np.full(x.shape, value)
    return array.astype(_wide(x))


CONSTANTS = (
    Rule("f(k, l) = the number", of("pointwise", when=_all_splat), _pointwise, "computed in double precision"),
    Rule("a moved number = the number", of(_MOVED, when=_all_splat), _moved),
    Rule("a number padded with itself = the number", of(ops.pad, when=_all_splat), _padded),
    Rule("sum(k) = k * n", of(ops.sum_, when=_all_splat), _summed, "computed in double precision"),
    Rule(
        "f(arrays) = the array",
        of(("pointwise", "movement", "reduce", "index", "overlap", ops.dot), when=_all_constant),
        _array,
    ),
)
