"""Activations: elementwise, with the gradient that Caffe gives at the kinks.

A constant stands first in `maximum` and `minimum` where the gradient at the kink is 0, and then only the result is kept
for the backward pass; it stands second where the gradient there is 1.
"""

from __future__ import annotations

from .. import expr, ops
from ..graph import Node
from ..schema.fillers import constant
from .axes import along, refuse
from .base import layer, parameter


@layer("ReLU", elementwise=True, policy="narrow")
def relu(x: Node, *, negative_slope: float = 0.0) -> Node:
    """max(x, 0) + negative_slope * min(x, 0)   (Caffe: ReLU)

    The gradient at 0 is the slope.
    """
    if negative_slope == 0.0:
        return expr.maximum(0.0, x)
    return expr.where(x > 0.0, x, x * negative_slope)


@layer("PReLU", params=("weight",), policy="narrow")
def prelu(x: Node, *, channel_shared: bool = False) -> Node:
    """max(x, 0) + weight * min(x, 0)   (Caffe: PReLU)

    weight has one number for each channel (axis 1), or one for all with `channel_shared`; 0.25 at first.
    """
    refuse(len(x.shape) < 2, f"the input is {x.type}, it has no axis 1 for channels")
    slope = parameter("weight", () if channel_shared else (x.shape[1],), constant(value=0.25))
    return expr.where(x > 0.0, x, x * along(slope, len(x.shape), 0 if channel_shared else 1))


@layer("ELU", elementwise=True, policy="narrow")
def elu(x: Node, *, alpha: float = 1.0) -> Node:
    """x where x > 0, else alpha * (exp(x) - 1)   (Caffe: ELU)"""
    # The exponential is taken of min(x, 0), so that large x does not make infinity times 0 in the gradient.
    return expr.where(x > 0.0, x, (ops.exp(expr.minimum(x, 0.0)) - 1.0) * alpha)


@layer("Sigmoid", elementwise=True, policy="narrow")
def sigmoid(x: Node) -> Node:
    """1 / (1 + exp(-x))   (Caffe: Sigmoid)"""
    return expr.sigmoid(x)


@layer("TanH", elementwise=True, policy="narrow")
def tanh(x: Node) -> Node:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))   (Caffe: TanH)"""
    return ops.tanh(x)


@layer("BNLL", elementwise=True, policy="narrow")
def softplus(x: Node) -> Node:
    """log(1 + exp(x))   (Caffe: BNLL)"""
    # Both choices take the branch of x = 0 whose gradients add up to 1/2 there, as |x| would not.
    positive = x > 0.0
    return expr.where(positive, x, 0.0) + ops.log(ops.exp(expr.where(positive, -x, x)) + 1.0)


# x P(x^2) / Q(x^2), to 7e-8 up to |x| = 4, beyond which f32 has 1. Source: Eigen, `generic_fast_erf_float`.
_ERF_P = (
    *(-2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5),
    *(-7.34990630326855e-4, -2.95459980854025e-3, -1.60960333262415e-2),
)
_ERF_Q = (-1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3, -1.42647390514189e-2)


@layer(elementwise=True, policy="f32")
def erf(x: Node) -> Node:
    """2 / sqrt(pi) * the integral of exp(-t ** 2) from 0 to x"""
    near = expr.maximum(expr.minimum(x, 4.0), -4.0)
    square = near * near
    top, bottom = (expr.add(expr.mul(square, of[0]), of[1]) for of in (_ERF_P, _ERF_Q))
    for coefficient in _ERF_P[2:]:
        top = top * square + coefficient
    for coefficient in _ERF_Q[2:]:
        bottom = bottom * square + coefficient
    return near * (top / bottom)


@layer("Swish", elementwise=True, policy="narrow")
def swish(x: Node, *, beta: float = 1.0) -> Node:
    """x * sigmoid(beta * x)   (Caffe: Swish)"""
    return x * expr.sigmoid(x if beta == 1.0 else x * beta)


@layer("Clip", elementwise=True, policy="narrow")
def clip(x: Node, *, min: float, max: float) -> Node:
    """min(max(x, min), max)   (Caffe: Clip)

    The gradient is 1 from min to max, both included.
    """
    refuse(min > max, f"min {min} is above max {max}")
    return expr.maximum(expr.minimum(x, max), min)


@layer("Threshold", elementwise=True, policy="narrow")
def threshold(x: Node, *, threshold: float = 0.0) -> Node:
    """1 where x > threshold, else 0   (Caffe: Threshold)

    No gradient flows through it.
    """
    return expr.cast(x > threshold, x.dtype)


@layer("AbsVal", name="abs", elementwise=True)
def absolute(x: Node) -> Node:
    """|x|   (Caffe: AbsVal)

    The gradient at 0 is 0.
    """
    return ops.abs_(x)
