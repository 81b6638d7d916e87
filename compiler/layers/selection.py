"""Selection of items by their data: how many there are is known only when the net runs, so Python counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..graph import Node
from ..host import HostLayer
from .axes import refuse
from .base import host_function, layer

Array = np.ndarray[Any, Any]


def _chosen(selector: Array) -> Array:
    return np.flatnonzero(selector.reshape(selector.shape[0], -1)[:, 0])


def _forward(*arrays: Array) -> tuple[Array, ...]:
    """x, …, selector to the items of each x where the selector is not 0."""
    at = _chosen(arrays[-1])
    return tuple(x[at] for x in arrays[:-1])


def _backward(*arrays: Array) -> tuple[Array | None, ...]:
    """The gradients by the results, then operands and results, to the gradients by the operands."""
    count = (len(arrays) - 1) // 3
    gradients, operands = arrays[:count], arrays[count : 2 * count + 1]
    at = _chosen(operands[-1])
    found: list[Array | None] = []
    for g, x in zip(gradients, operands, strict=False):
        back = np.zeros_like(x)
        back[at] = g
        found.append(back)
    return (*found, None)


def _shapes(*shapes: Sequence[int]) -> list[tuple[int, ...]]:
    """All items, as long as it is not known how many are chosen."""
    return [tuple(shape) for shape in shapes[:-1]]


FILTER = HostLayer(_forward, _backward, _shapes)


@layer("Filter", policy="f32")
def filter_(*xs: Node) -> Node | tuple[Node, ...]:
    """The items of x[0], x[1], … where the last operand is not 0   (Caffe: Filter)

    The last operand has one number for each item. How many items there are is known when the net runs.
    """
    refuse(len(xs) < 2, "tensors are wanted, and what says which of their items to keep")
    *values, selector = xs
    many = selector.shape[0] if selector.shape else 0
    refuse(selector.type.count != many or not many, f"the last is {selector.type}, not one number for each item")
    for x in values:
        refuse(not x.shape or x.shape[0] != many, f"{x.type} has not {many} items")
    called, sizes = host_function(f"{__name__}:FILTER", "")
    results = called.resized([x.type for x in values], sizes)
    node = ops.host(*xs, function=called, results=results)
    items = tuple(ops.item(node, index=i) for i in range(len(results)))
    return items[0] if len(items) == 1 else items
