"""Which element of an operand a reader takes, as digits of the reader's row-major number.

A `Digits` is a list of (size, stride), the outermost first: the reader's number is cut into digits of these sizes,
and the operand's number is the sum of digit times stride. Reshapes, transposes and broadcasts are such lists, and their
compositions are; in the form that `joined` gives, equal lists are the same choice. Whoever reads the same elements in
the same order reads by `same(count)`; a broadcast has strides of 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .. import ops
from ..graph import Node

Digits = tuple[tuple[int, int], ...]


def joined(digits: Iterable[tuple[int, int]]) -> Digits:
    """The shortest list that says the same."""
    found: list[tuple[int, int]] = []
    for size, stride in digits:
        if size == 1:
            continue
        if found and found[-1][1] == size * stride:
            found[-1] = found[-1][0] * size, stride
        else:
            found.append((size, stride))
    return tuple(found)


def same(count: int) -> Digits:
    """Every element by its own number."""
    return joined([(count, 1)])


def strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def projection(shape: Sequence[int], axes: Iterable[int]) -> Digits:
    """From an element of `shape` to its row, when `axes` are reduced and rows are numbered by the axes that stay."""
    gone = frozenset(axes)
    steps = strides([1 if i in gone else n for i, n in enumerate(shape)])
    return joined((int(n), 0 if i in gone else int(steps[i])) for i, n in enumerate(shape))


def composed(outer: Digits, inner: Digits) -> Digits | None:
    """First `outer`, which makes a number, then `inner`, which reads that number; None if that is no list of digits."""
    found: list[tuple[int, int]] = []
    for size, stride in reversed(outer):
        if stride == 0:
            found.append((size, 0))
            continue
        unit = 1
        for width, step in reversed(inner):
            if size == 1:
                break
            if stride < unit * width:
                if stride % unit or width % (stride // unit):
                    return None
                skip = stride // unit
                take = min(size, width // skip)
                if size % take:
                    return None
                found.append((take, step * skip))
                size //= take
                stride = unit * width
            unit *= width
        if size > 1:
            return None
    return joined(reversed(found))


def through(node: Node) -> Digits | None:
    """How a movement op reads its operand; None where that is no list of digits (slices, padding, windows)."""
    x = node.inputs[0]
    if node.op is ops.reshape:
        return same(int(x.type.count))
    steps = strides(x.shape)
    if node.op is ops.transpose:
        return joined((int(n), int(steps[p])) for n, p in zip(node.shape, node.attrs["perm"], strict=True))
    if node.op is ops.broadcast:
        return joined((int(n), int(s) if n == m else 0) for n, m, s in zip(node.shape, x.shape, steps, strict=True))
    return None
