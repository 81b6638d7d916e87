"""The functions of expressions, and the layers that say arithmetic with settings.

Those marked elementwise may stand in the body of an `op`. An operand may be a number where the signature says so.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from .. import expr, ops
from ..graph import Node
from ..ops.base import TypeRuleError
from ..schema.ranges import Positive
from .axes import refuse
from .base import PerAxis, layer

Number = Literal["f32", "f64", "f16", "bf16", "i32", "i64", "u8", "bool"]


def _affine(x: Node, scale: float, shift: float) -> Node:
    scaled = x if scale == 1.0 else x * scale
    return scaled if shift == 0.0 else scaled + shift


@layer("Exp", elementwise=True)
def exp(x: Node, *, base: Positive | None = None, scale: float = 1.0, shift: float = 0.0) -> Node:
    """base ** (shift + scale * x), base e unless given   (Caffe: Exp)"""
    if base is None:
        return ops.exp(_affine(x, scale, shift))
    return ops.exp(_affine(x, scale * math.log(base), shift * math.log(base)))


@layer("Log", elementwise=True)
def log(x: Node, *, base: Positive | None = None, scale: float = 1.0, shift: float = 0.0) -> Node:
    """log(shift + scale * x) / log(base), base e unless given   (Caffe: Log)"""
    natural = ops.log(_affine(x, scale, shift))
    if base is None:
        return natural
    refuse(base == 1.0, "there is no logarithm to base 1")
    return natural * (1.0 / math.log(base))


@layer("Power", elementwise=True)
def power(x: Node, *, power: float = 1.0, scale: float = 1.0, shift: float = 0.0) -> Node:
    """(shift + scale * x) ** power   (Caffe: Power)

    Where power * scale is 0 the result is a constant, whatever x is.
    """
    if power * scale == 0.0:
        with np.errstate(all="ignore"):
            value = float(np.power(np.float64(shift), power))
        refuse(not math.isfinite(value), f"{shift} ** {power} is no finite number")
        return expr.constant(value, x)
    inner = _affine(x, scale, shift)
    if power == 1.0:
        return inner
    if power == 2.0:
        return inner * inner
    if power == 0.5:
        return ops.sqrt(inner)
    return 1.0 / inner if power == -1.0 else expr.pow(inner, power)


@layer("DummyData")
def full(*, shape: PerAxis, value: float = 0.0) -> Node:
    """A tensor of one number everywhere   (Caffe: DummyData, constant)"""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    refuse(any(n < 1 for n in sizes), f"the sizes are {list(sizes)}, each must be at least 1")
    return ops.const(value=value, shape=sizes, dtype="f32")


@layer(elementwise=True)
def sqrt(x: Node) -> Node:
    """The square root of x, x ** 0.5"""
    return ops.sqrt(x)


@layer(elementwise=True)
def floor(x: Node) -> Node:
    """The largest whole number not above x

    No gradient flows through it.
    """
    return ops.floor(x)


@layer(elementwise=True)
def where(condition: Node, a: Node | float, b: Node | float) -> Node:
    """a where the condition holds, else b"""
    return expr.where(condition, a, b)


@layer(elementwise=True)
def detach(x: Node) -> Node:
    """x, with a gradient of 0"""
    return expr.stop(x)


@layer(elementwise=True)
def cast(x: Node, *, to: Number) -> Node:
    """x as another type of number; floats become whole numbers by cutting"""
    return expr.cast(x, to)


@layer(elementwise=True, name="sum")
def total(x: Node, *, axis: PerAxis | None = None, keepdims: bool = False) -> Node:
    """The sum of x over an axis, several, or all; kept with size 1 by keepdims: true"""
    return expr.sum(x, axis, keepdims=keepdims)


@layer(elementwise=True)
def mean(x: Node, *, axis: PerAxis | None = None, keepdims: bool = False) -> Node:
    """sum(x) / count, over an axis, several, or all"""
    return expr.mean(x, axis, keepdims=keepdims)


def _pair(a: Node | float, b: Node | float) -> tuple[Node | float, Node | float]:
    # A number stands first: the gradient at the kink is 0 and needs only the result, as relu's.
    return (b, a) if isinstance(a, Node) and not isinstance(b, Node) else (a, b)


def _alone(a: Node | float) -> Node:
    if not isinstance(a, Node):
        raise TypeRuleError("one number alone: give a tensor, or two operands")
    return a


@layer(elementwise=True, name="max")
def maximum(
    a: Node | float, b: Node | float | None = None, *, axis: PerAxis | None = None, keepdims: bool = False
) -> Node:
    """The larger of a and b, element by element; of a alone, its largest element over an axis, several, or all

    Of equal elements the first has the gradient; a number has none.
    """
    if b is None:
        return expr.max(_alone(a), axis, keepdims=keepdims)
    refuse(axis is not None or keepdims, "axis and keepdims are for the maximum of one tensor")
    return expr.maximum(*_pair(a, b))


@layer(elementwise=True, name="min")
def minimum(
    a: Node | float, b: Node | float | None = None, *, axis: PerAxis | None = None, keepdims: bool = False
) -> Node:
    """The smaller of a and b, element by element; of a alone, its smallest element over an axis, several, or all

    Of equal elements the first has the gradient; a number has none.
    """
    if b is None:
        return expr.min(_alone(a), axis, keepdims=keepdims)
    refuse(axis is not None or keepdims, "axis and keepdims are for the minimum of one tensor")
    return expr.minimum(*_pair(a, b))


@layer(elementwise=True)
def max_reduce(x: Node, *, axis: PerAxis | None = None, keepdims: bool = False) -> Node:
    """max(x): the largest element of x over an axis, several, or all"""
    return expr.max(x, axis, keepdims=keepdims)


@layer("Eltwise", policy="narrow")
def eltwise(
    *xs: Node, operation: Literal["sum", "prod", "max"] = "sum", coeff: tuple[float, ...] | None = None
) -> Node:
    """coeff[0] * x[0] + coeff[1] * x[1] + …, or the product, or the largest, element by element   (Caffe: Eltwise)

    All have one shape. Where the first two are equally large the second has the gradient, as in Caffe; a later one
    must be larger.
    """
    refuse(len(xs) < 2, f"{len(xs)} tensor given, two at least are needed")
    refuse(any(x.shape != xs[0].shape for x in xs), f"{' and '.join(str(x.type) for x in xs)} differ in shape")
    refuse(
        any(x.dtype == "bool" for x in xs) and operation != "max",
        f"a {operation} of true and false is no number: cast to f32 first",
    )
    refuse(coeff is not None and operation != "sum", f"coeff is for operation: sum, not for {operation}")
    refuse(coeff is not None and len(coeff) != len(xs), f"{len(coeff or ())} coefficients for {len(xs)} tensors")
    if operation == "max":
        y = expr.maximum(xs[1], xs[0])
        for x in xs[2:]:
            y = expr.maximum(y, x)
        return y
    terms = [_affine(x, c, 0.0) for x, c in zip(xs, coeff or (1.0,) * len(xs), strict=True)]
    y = terms[0]
    for term in terms[1:]:
        y = y + term if operation == "sum" else y * term
    return y


@layer("Reduction")
def reduction(
    x: Node, *, operation: Literal["sum", "asum", "sumsq", "mean"] = "sum", axis: int = 0, coeff: float = 1.0
) -> Node:
    """coeff * sum over the axes from `axis` on of x, |x| or x ** 2; or their mean   (Caffe: Reduction)"""
    axes = tuple(range(expr.axis_of(axis, len(x.shape)), len(x.shape)))
    count = math.prod(x.shape[a] for a in axes)
    refuse(operation == "mean" and count == 0, f"{x.type} has nothing to take the mean of")
    each = ops.abs_(x) if operation == "asum" else x * x if operation == "sumsq" else x
    return _affine(expr.sum(each, axes), coeff / count if operation == "mean" else coeff, 0.0)
