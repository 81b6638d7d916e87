"""Learned scales and shifts, and dropout's random ones: a small tensor spread over a large one."""

from __future__ import annotations

from .. import expr
from ..graph import Node
from ..schema.fillers import constant
from ..schema.ranges import Share
from .axes import along, refuse
from .base import layer, parameter, random_bits, training


def _span(x: Node, axis: int, num_axes: int) -> tuple[int, ...]:
    """The shape of what is spread over num_axes axes of x from `axis` on; -1: to the end."""
    end = len(x.shape) if num_axes == -1 else axis + num_axes
    refuse(num_axes < -1 or end > len(x.shape), f"{num_axes} axes from axis {axis} on are not in {x.type}")
    return x.shape[axis:end]


def _spread(small: Node, x: Node, axis: int) -> Node:
    refuse(
        x.shape[axis : axis + len(small.shape)] != small.shape,
        f"{small.type} does not lie along the axes of {x.type} from axis {axis} on",
    )
    return along(small, len(x.shape), axis)


@layer("Scale", params=("weight", "bias"), policy="narrow")
def scale(x: Node, *, axis: int = 1, num_axes: int = 1, bias: bool = False, by: Node | None = None) -> Node:
    """x * weight + bias, spread from axis on   (Caffe: Scale)

    weight and bias have the sizes of `num_axes` axes of x (-1: to the end, 0: one number). `by` is a tensor instead of
    the weight; its shape is then what counts.
    """
    at = expr.axis_of(axis, len(x.shape)) if x.shape else 0
    weight = parameter("weight", _span(x, at, num_axes), constant(value=1.0)) if by is None else by
    y = x * _spread(weight, x, at)
    return y + _spread(parameter("bias", weight.shape, constant()), x, at) if bias else y


@layer("Bias", params=("bias",), policy="narrow")
def bias(x: Node, *, axis: int = 1, num_axes: int = 1, by: Node | None = None) -> Node:
    """x + bias, spread from axis on   (Caffe: Bias)

    bias has the sizes of `num_axes` axes of x (-1: to the end, 0: one number). `by` is a tensor instead of it.
    """
    at = expr.axis_of(axis, len(x.shape)) if x.shape else 0
    return x + _spread(parameter("bias", _span(x, at, num_axes), constant()) if by is None else by, x, at)


@layer("Dropout", policy="narrow")
def dropout(x: Node, *, ratio: Share = 0.5) -> Node:
    """x * keep / (1 - ratio), keep 0 with probability ratio, else 1; x in test mode   (Caffe: Dropout)"""
    # The mask compares whole numbers, so it is the same on every target.
    limit = round(ratio * 2**32)
    if not training() or limit == 0:
        return x
    dropped = expr.less(random_bits(x.shape), min(limit, 2**32 - 1))
    return expr.where(dropped, 0.0, x) * (1.0 / (1.0 - ratio))
