"""Access maps: which element of an operand a node reads, as a function from number to number, both row-major.

A map is an expression over the number of the reader's element; a chain of nodes is the composition of theirs. As
expressions are canonical (`compiler.loops.index`), equal maps are equal: who reads an array element by element does so
by `identity`, who reads its row by `projection`, whatever reshapes, transposes and broadcasts stand between. Maps are
total. Through padding, slices, windows and concats not every element is read, or under a guard: `view` says which, at
an index, and here it is no map.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from .. import ops
from ..graph import Node
from .index import ZERO, Expr, Var
from .view import flat, unflat

REMEMBERED = 1 << 14


@lru_cache(REMEMBERED)
def identity(count: int) -> Expr:
    """Every element by its own number."""
    return Expr.of(Var("n", count))


def projection(shape: Sequence[int], axes: Iterable[int]) -> Expr:
    """From an element of `shape` to its row, when `axes` are reduced and rows are numbered by the axes that stay."""
    gone = frozenset(axes)
    return _moved(tuple(shape), tuple(1 if a in gone else n for a, n in enumerate(shape)), tuple(range(len(shape))))


def access(node: Node, by: Expr) -> Expr | None:
    """The map by which a node's operands are read where it is itself read by one; None where there is no such map."""
    if node.op.family == "pointwise" or node.op in (ops.after, ops.reshape):
        return by
    if node.op in (ops.transpose, ops.broadcast):
        axes = node.attrs.get("perm", range(len(node.shape)))
        return compose(by, _moved(tuple(node.shape), tuple(node.inputs[0].shape), tuple(axes)))
    return None


@lru_cache(REMEMBERED)
def _moved(shape: tuple[int, ...], below: tuple[int, ...], axes: tuple[int, ...]) -> Expr:
    """Axis `a` of an element of `shape` is axis `axes[a]` of the array below, which may have one element there."""
    index = [ZERO] * len(below)
    for a, i in zip(axes, unflat(identity(math.prod(shape)), shape), strict=True):
        index[a] = ZERO if below[a] == 1 else i
    return flat(tuple(index), below)


@lru_cache(REMEMBERED)
def compose(outer: Expr, inner: Expr) -> Expr:
    """First `outer`, which makes a number, then `inner`, which reads that number."""
    return inner.replace(dict.fromkeys(inner.vars, outer))
