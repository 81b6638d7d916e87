"""Strides of arrays in memory, counted in elements, and what a reshape makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import ops
from ..graph import Node
from ..plan import Home
from .names import below_reshapes

Ints = tuple[int, ...]


def strides_of(shape: Sequence[int], order: Sequence[int] | None = None) -> Ints:
    """The strides of an array whose axes lie in memory in this order, the outermost first; without it row-major."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(range(len(shape)) if order is None else order):
        strides[axis] = step
        step *= int(shape[axis])
    return tuple(strides)


def order_of(shape: Sequence[int], strides: Sequence[int]) -> Ints:
    """The axes from the outermost to the innermost; axes of size 1 stay where they are among the others."""
    order = list(range(len(shape)))
    long = sorted((a for a in order if shape[a] > 1), key=lambda a: -abs(strides[a]))
    found = iter(long)
    return tuple(a if shape[a] <= 1 else next(found) for a in order)


def reshaped(shape: Sequence[int], strides: Sequence[int], target: Sequence[int]) -> Ints | None:
    """The strides of a reshape that is a view, or None: those that numpy gives, which it tells from 2.1 on only."""
    wanted = [int(n) for n in target]
    if 0 in shape:
        return strides_of(wanted)
    if wanted == [*shape]:
        return tuple(map(int, strides))
    if math.prod(shape) != math.prod(wanted):
        return None
    held = [(int(n), int(s)) for n, s in zip(shape, strides, strict=True) if n != 1]
    found: list[int] = []
    at = 0
    while held and at < len(wanted):
        # The fewest axes of each side that have as many elements: those held must lie one within the other.
        size, step = held.pop(0)
        end, count = at + 1, wanted[at]
        while count != size:
            if count < size:
                count *= wanted[end]
                end += 1
            else:
                more, inner = held.pop(0)
                if step != more * inner:
                    return None
                size, step = size * more, inner
        found += [step * math.prod(wanted[i + 1 : end]) for i in range(at, end)]
        at = end
    return (*found, *[found[-1] if found else 1] * (len(wanted) - at))


def viewed(node: Node, shape: Ints, strides: Ints) -> tuple[Ints, int] | None:
    """The strides of a reshape, slice or transpose of an array, and its first element there; None if it is no view."""
    attrs = node.attrs
    if node.op is ops.reshape:
        found = reshaped(shape, strides, node.shape)
        return None if found is None else (found, 0)
    if node.op is ops.transpose:
        return tuple(strides[p] for p in attrs["perm"]), 0
    first = sum(int(a) * t for a, t in zip(attrs["start"], strides, strict=True))
    return tuple(t * s for t, s in zip(strides, attrs["step"], strict=True)), first


def part_of(node: Node, home: Home, strides: Ints) -> tuple[Ints, int] | None:
    """The same of a value that lies inside of a concat, as `home` says; strides: of the concat."""
    assert home.parent is not None
    axis, at = home.parent.attrs["axis"], 0
    for operand in home.parent.inputs:
        if at == home.start and below_reshapes(operand) is node:
            found = reshaped(tuple(map(int, operand.shape)), strides, node.shape)
            return None if found is None else (found, at * strides[axis])
        at += int(operand.shape[axis])
    return None
