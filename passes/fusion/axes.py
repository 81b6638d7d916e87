"""Tiling by one axis: how a tile of an op's result follows from tiles of its operands, as numpy can compute them.

An operand's tiled axis is a number, or None: the operand is read whole. A result that is summed over the tiled axis has
the axis TOTAL.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...compiler import ops
from ...compiler.graph import Node
from ...compiler.kernel import TOTAL

Axis = int | None
# A sum over tiles keeps a partial result a thread: beyond this many elements a product is better cut along its rows.
LARGEST_TOTAL = 1 << 18


@dataclass
class Tiling:
    """One way to cut nodes into tiles: length of the tiled axis (0: none), the axes of nodes and of what they read."""

    length: int
    axes: dict[Node, Axis]
    reads: dict[Node, set[Axis]] = field(default_factory=dict)


def same_axis(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int | None:
    """The axis of `before` that a reshape to `after` leaves as axis `axis`, or None."""
    outer = math.prod(after[:axis])
    for i, n in enumerate(before):
        if n == after[axis] and math.prod(before[:i]) == outer:
            return i
    return None


def pull(node: Node, axis: int) -> tuple[Axis, ...] | None:
    """The tiled axis of each operand when the result of `node` is tiled along `axis`; None if that cannot be."""
    name, family = node.op.name, node.op.family
    if axis == TOTAL:
        return _pull_total(node)
    if family == "pointwise":
        return (axis,) * len(node.inputs)
    if family == "reduce":
        return None if axis in node.attrs["axes"] else (axis,)
    if family in ("movement", "overlap"):
        return _pull_movement(node, axis)
    if name == "after":
        return (axis,)
    if name in ("const", "iota"):
        return ()
    if name == "random":
        return (None, None) if math.prod(node.shape[:axis]) == 1 else None
    if name in ("conv", "conv_data_grad"):
        if axis == 1 and name == "conv" and node.attrs["groups"] == 1:
            return None, 0
        return (0, None) if axis == 0 else None
    if name == "dot":
        rank = len(node.shape)
        return (axis, None) if axis == rank - 2 else (None, axis) if axis == rank - 1 else (axis, axis)
    if name == "gather":
        rank = len(node.inputs[1].shape)
        return (None, axis) if axis < rank else (axis - rank + 1, None)
    if name == "scatter_add":
        return (None, axis - 1 + len(node.inputs[0].shape)) if axis else None
    return None


def _pull_total(node: Node) -> tuple[Axis, ...] | None:
    """As `pull` for a sum over tiles; for `sum` the first axis that is summed and longer than one."""
    if node.op is ops.sum_:
        x = node.inputs[0]
        long = [a for a in node.attrs["axes"] if x.shape[a] > 1]
        return (long[0],) if long else None
    if node.type.count > LARGEST_TOTAL:
        return None
    if node.op is ops.conv_weight_grad:
        return (0, 0)
    if node.op is ops.dot and node.type.count <= LARGEST_TOTAL // 16:
        return (len(node.shape) - 1, len(node.shape) - 2)
    return None


def _pull_movement(node: Node, axis: int) -> tuple[Axis, ...] | None:
    name, attrs, x = node.op.name, node.attrs, node.inputs[0]
    if name == "reshape":
        found = same_axis(x.shape, node.shape, axis)
        return None if found is None else (found,)
    if name == "transpose":
        return (attrs["perm"][axis],)
    if name == "broadcast":
        return (axis if x.shape[axis] == node.shape[axis] else None,)
    if name == "pad":
        return None if attrs["low"][axis] or attrs["high"][axis] or attrs["interior"][axis] else (axis,)
    if name == "slice":
        whole = (attrs["start"][axis], attrs["stop"][axis], attrs["step"][axis]) == (0, x.shape[axis], 1)
        return (axis,) if whole else None
    if name == "concat":
        return None if axis == attrs["axis"] else (axis,) * len(node.inputs)
    if name in ("window", "unwindow"):
        return None if axis in attrs["axes"] or axis >= len(node.shape) or axis >= len(x.shape) else (axis,)
    return None


def choices(node: Node) -> Iterator[int]:
    """The axes along which a node may be tiled, the outermost first, and TOTAL for what can be summed over tiles."""
    if node.op is ops.sum_ or node.op is ops.conv_weight_grad or node.op is ops.dot:
        yield TOTAL
    for axis, n in enumerate(node.shape):
        if n > 1:
            yield axis
