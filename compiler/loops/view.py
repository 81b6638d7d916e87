"""Access maps: which element of an operand a node reads, at an index; reads go through views, and nothing is moved.

`pull` goes from an element of a result to that of the operand; `push` goes from the operand to the result, where each
element is moved to one place. Where a result has elements that no operand has (padding), a guard says which they are.
Indices are canonical (`compiler.loops.index`), so that a way there and back is no way at all, and equal maps are equal:
as functions from number to number, both row-major, `access` composes them along a chain of nodes. Who reads an array
element by element does so by `identity`, who reads its row by `projection`, whatever stands between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..graph import Node
from .index import ZERO, Expr, Floor, Mod, Term, Var

__all__ = [
    "ZERO",
    "Expr",
    "Floor",
    "Guard",
    "Index",
    "Mod",
    "Pulled",
    "Term",
    "Var",
    "access",
    "behind",
    "flat",
    "identity",
    "projection",
    "pull",
    "pull_concat",
    "push",
    "reindex",
    "unflat",
]

Index = tuple[Expr, ...]


@dataclass(frozen=True)
class Guard:
    """low <= expr < high, and expr is a whole number of steps above low."""

    expr: Expr
    low: int
    high: int
    step: int = 1

    @property
    def always(self) -> bool:
        """Whether it holds for all values of its variables, as far as their ranges tell."""
        low, high = self.expr.bounds
        return self.low <= low and high < self.high and ((self.expr - self.low) % self.step).constant == 0

    @property
    def never(self) -> bool:
        low, high = self.expr.bounds
        return high < self.low or low >= self.high or bool(((self.expr - self.low) % self.step).bounds[0])

    def replace(self, values: Mapping[Var, Expr]) -> Guard:
        return Guard(self.expr.replace(values), self.low, self.high, self.step)

    def value(self, values: Mapping[Var, Any]) -> Any:
        """Whether it holds for these values."""
        e = self.expr.value(values)
        return (self.low <= e) & (e < self.high) & ((e - self.low) % self.step == 0)

    def __str__(self) -> str:
        text = f"{self.low} <= {self.expr} < {self.high}"
        return text if self.step == 1 else f"{text} by {self.step}"


@dataclass(frozen=True)
class Pulled:
    """An element of `node`: at `index` where all guards hold, else `fill`."""

    node: Node
    index: Index
    guards: tuple[Guard, ...] = ()
    fill: float | int = 0


def flat(index: Index, shape: Sequence[int]) -> Expr:
    """The row-major number of an element."""
    total = ZERO
    for i, n in zip(index, shape, strict=True):
        total = total * n + i
    return total


def unflat(number: Expr, shape: Sequence[int]) -> Index:
    """The index of the element with this row-major number, which is inside of the shape."""
    digits: list[Expr] = []
    axes = [a for a, n in enumerate(shape) if n > 1]
    found: dict[int, Expr] = {}
    for a in reversed(axes):
        if a == axes[0]:
            found[a] = number
        else:
            found[a], number = number % shape[a], number // shape[a]
    for a in range(len(shape)):
        digits.append(found.get(a, ZERO))
    return tuple(digits)


def reindex(index: Index, shape: Sequence[int], other: Sequence[int]) -> Index:
    """The index into `other` of the element that `index` is in `shape`; both have as many elements.

    Axes are matched in groups of equal products, so that an axis which both have keeps its index as it is.
    """
    ours = [a for a, n in enumerate(shape) if n != 1]
    theirs = [a for a, n in enumerate(other) if n != 1]
    result = [ZERO] * len(other)
    if math.prod(shape) == 0:
        return tuple(result)
    i = j = 0
    while i < len(ours):
        end_i, end_j = i + 1, j + 1
        a, b = shape[ours[i]], other[theirs[j]]
        while a != b:
            if a < b:
                a *= shape[ours[end_i]]
                end_i += 1
            else:
                b *= other[theirs[end_j]]
                end_j += 1
        group, target = ours[i:end_i], theirs[j:end_j]
        number = flat(tuple(index[x] for x in group), [shape[x] for x in group])
        for x, digit in zip(target, unflat(number, [other[x] for x in target]), strict=True):
            result[x] = digit
        i, j = end_i, end_j
    return tuple(result)


def pull(node: Node, index: Index) -> Pulled:
    """Which element of its operand a movement op's result is at `index`.

    Of reshape, transpose, broadcast, pad, slice and window; ValueError for others.
    """
    (x,) = node.inputs
    attrs = node.attrs
    if node.op is ops.reshape:
        return Pulled(x, reindex(index, node.shape, x.shape))
    if node.op is ops.transpose:
        moved = dict(zip(attrs["perm"], index, strict=True))
        return Pulled(x, tuple(moved[a] for a in range(len(index))))
    if node.op is ops.broadcast:
        return Pulled(x, _inside(index, x.shape))
    if node.op is ops.slice_:
        steps = zip(index, attrs["start"], attrs["step"], strict=True)
        return Pulled(x, _inside(tuple(i * step + start for i, start, step in steps), x.shape))
    if node.op is ops.pad:
        return _pull_pad(node, index)
    if node.op is ops.window:
        rank = len(x.shape)
        found = list(index[:rank])
        offsets = zip(attrs["axes"], index[rank:], attrs["strides"], attrs["dilations"], strict=True)
        for axis, offset, stride, dilation in offsets:
            found[axis] = index[axis] * stride + offset * dilation
        return Pulled(x, _inside(tuple(found), x.shape))
    raise ValueError(f"{node.op.name} does not read one element of one operand")


def _inside(index: Index, shape: Sequence[int]) -> Index:
    return tuple(ZERO if n == 1 else i for i, n in zip(index, shape, strict=True))


def _pull_pad(node: Node, index: Index) -> Pulled:
    (x,) = node.inputs
    attrs = node.attrs
    found: list[Expr] = []
    guards: list[Guard] = []
    axes = zip(index, x.shape, attrs["low"], attrs["high"], attrs["interior"], strict=True)
    for i, n, low, high, interior in axes:
        step = interior + 1 if n > 1 else 1
        if low or high or step > 1 or n == 0:
            guard = Guard(i, low, low + max(n - 1, 0) * step + min(n, 1), step)
            if not guard.always:
                guards.append(guard)
        found.append((i - low) // step)
    return Pulled(x, _inside(tuple(found), x.shape), tuple(guards), attrs["value"])


def behind(node: Node, index: Index, fill: float) -> Pulled:
    """The element that is read behind ops that move one operand, where all guards hold; else it is `fill`."""
    guards: list[Guard] = []
    while node.op.family == "movement" and len(node.inputs) == 1:
        pulled = pull(node, index)
        if pulled.guards and pulled.fill != fill:
            break
        guards += pulled.guards
        node, index = pulled.node, pulled.index
    return Pulled(node, index, tuple(guards), fill)


def pull_concat(node: Node, index: Index) -> list[tuple[Node, Index, Guard]]:
    """For each operand of a `concat`: which element the result has at `index`, and when that is this operand's."""
    axis = node.attrs["axis"]
    parts: list[tuple[Node, Index, Guard]] = []
    at = 0
    for x in node.inputs:
        n = x.shape[axis]
        inside = _inside((*index[:axis], index[axis] - at, *index[axis + 1 :]), x.shape)
        parts.append((x, inside, Guard(index[axis], at, at + n)))
        at += n
    return parts


def push(node: Node, index: Index) -> Index:
    """Where element `index` of its operand is in the result of a reshape, a transpose or an op on single elements."""
    if node.op is ops.reshape:
        return reindex(index, node.inputs[0].shape, node.shape)
    if node.op is ops.transpose:
        return tuple(index[p] for p in node.attrs["perm"])
    if node.op.family == "pointwise":
        return index
    raise ValueError(f"{node.op.name} does not keep each element of its operand at one place")


def identity(count: int) -> Expr:
    """Every element by its own number."""
    return Expr.of(Var("n", count))


def projection(shape: Sequence[int], axes: Iterable[int]) -> Expr:
    """From an element of `shape` to its row, when `axes` are reduced and rows are numbered by the axes that stay."""
    gone = frozenset(axes)
    index, stay = unflat(identity(math.prod(shape)), shape), [a for a in range(len(shape)) if a not in gone]
    return flat(tuple(index[a] for a in stay), [shape[a] for a in stay])


def access(node: Node, by: Expr) -> Expr | None:
    """The map by which a node's operands are read where it is itself read by one; None where there is no such map.

    Maps are total: through padding, slices, windows and concats not every element is read, or under a guard.
    """
    if node.op.family == "pointwise" or node.op in (ops.after, ops.reshape):
        return by
    if node.op in (ops.transpose, ops.broadcast):
        return flat(pull(node, unflat(by, node.shape)).index, node.inputs[0].shape)
    return None
