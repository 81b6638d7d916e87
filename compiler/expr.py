"""Arithmetic on nodes as the language has it: numpy broadcasting, numbers beside tensors, negative axes.

Layers are written with these functions; the primitives below them want equal shapes and element types.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops
from .graph import Node
from .ops.arithmetic import Operand as Operand
from .ops.arithmetic import add as add
from .ops.arithmetic import broadcast_to as broadcast_to
from .ops.arithmetic import common_shape as common_shape
from .ops.arithmetic import constant as constant
from .ops.arithmetic import div as div
from .ops.arithmetic import equal as equal
from .ops.arithmetic import less as less
from .ops.arithmetic import maximum as maximum
from .ops.arithmetic import minimum as minimum
from .ops.arithmetic import mul as mul
from .ops.arithmetic import neg as neg
from .ops.arithmetic import pow as pow
from .ops.arithmetic import reshape as reshape
from .ops.arithmetic import sub as sub
from .ops.arithmetic import together as together
from .ops.base import TypeRuleError
from .types import Literal, TensorType


def where(condition: Node, a: Operand, b: Operand) -> Node:
    """a where the condition holds, else b, broadcast together; two numbers give f32."""
    if not isinstance(a, Node) and not isinstance(b, Node):
        a = ops.const(value=float(a), shape=(), dtype="f32")
    a, b = together(a, b)
    shape = common_shape(condition, a)
    return ops.where(broadcast_to(condition, shape), broadcast_to(a, shape), broadcast_to(b, shape))


def logical_not(x: Node) -> Node:
    false = ops.const(value=False, shape=x.shape, dtype="bool")
    return ops.equal(x, false)


def logical_and(a: Node, b: Node) -> Node:
    shape = common_shape(a, b)
    a, b = broadcast_to(a, shape), broadcast_to(b, shape)
    return ops.where(a, b, ops.const(value=False, shape=shape, dtype="bool"))


def stop(x: Node) -> Node:
    """x, through which no gradient flows."""
    return ops.surrogate(x, constant(0.0, x))


def cast(x: Node, dtype: str) -> Node:
    return x if x.dtype == dtype else ops.cast(x, dtype=dtype)


def axis_of(axis: int, rank: int) -> int:
    """A non-negative axis; TypeRuleError outside the rank."""
    if not -rank <= axis < rank:
        raise TypeRuleError(f"axis {axis} is outside {rank} axes")
    return axis % rank


def axes_of(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from 0, ascending; None stands for all."""
    if axes is None:
        return tuple(range(rank))
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    return tuple(sorted({axis_of(a, rank) for a in given}))


def _squeezed(x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    return x if keepdims else reshape(x, [n for i, n in enumerate(x.shape) if i not in axes])


def sum(x: Node, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Node:
    """The sum over some axes or all, in the type of x; TypeRuleError for a type that would not hold a few terms."""
    if x.dtype in ("bool", "u8"):
        raise TypeRuleError(f"{x.dtype} does not hold the sum of several: cast to f32 first")
    found = axes_of(axes, len(x.shape))
    return _squeezed(ops.sum_(x, axes=found) if found else x, found, keepdims)


def mean(x: Node, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Node:
    found = axes_of(axes, len(x.shape))
    count = math.prod(x.shape[a] for a in found)
    if count == 0:
        raise TypeRuleError(f"{x.type} has nothing to take the mean of")
    return mul(sum(x, found, keepdims=keepdims), 1.0 / count)


def max(x: Node, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Node:
    found = axes_of(axes, len(x.shape))
    return _squeezed(ops.max_reduce(x, axes=found), found, keepdims)


def min(x: Node, axes: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Node:
    """The smallest element over some axes or all, as the opposite of the largest of the opposites."""
    if x.dtype == "bool":
        return logical_not(max(logical_not(x), axes, keepdims=keepdims))
    if x.type.is_float:
        return neg(max(neg(x), axes, keepdims=keepdims))
    # -x leaves the type for the least element of a signed one, and for nearly all of u8; `last - x` never does.
    last = 255 if x.dtype == "u8" else -1
    return sub(last, max(sub(last, x), axes, keepdims=keepdims))


def sigmoid(x: Node) -> Node:
    """1 / (1 + exp(-x)), as tanh so that no exponential overflows."""
    return add(mul(ops.tanh(mul(x, 0.5)), 0.5), 0.5)


def sign(x: Node) -> Node:
    """-1, 0 or 1."""
    return where(x < 0.0, constant(-1.0, x), where(x > 0.0, constant(1.0, x), 0.0))


def transpose(x: Node, perm: Sequence[int]) -> Node:
    return x if tuple(perm) == tuple(range(len(x.shape))) else ops.transpose(x, perm=tuple(perm))


def cut(x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
    """x[..., start:stop:step, ...] along one axis."""
    at = axis_of(axis, len(x.shape))
    return ops.slice_(
        x,
        start=tuple(start if i == at else 0 for i in range(len(x.shape))),
        stop=tuple(stop if i == at else n for i, n in enumerate(x.shape)),
        step=tuple(step if i == at else 1 for i in range(len(x.shape))),
    )


def array(values: np.ndarray[Any, Any], dtype: str = "f32") -> Node:
    """A constant array as a node."""
    literal = Literal.of(values, dtype)
    return ops.const(value=literal, shape=values.shape, dtype=dtype)


def zeros(type_: TensorType) -> Node:
    return ops.const(value=0, shape=type_.shape, dtype=type_.dtype)
