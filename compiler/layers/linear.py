"""Layers that multiply by a learned matrix, or read its rows."""

from __future__ import annotations

import math

from .. import expr, ops
from ..graph import Node
from ..schema.fillers import constant, xavier
from ..schema.ranges import AtLeastOne
from .axes import refuse
from .base import layer, parameter


@layer("InnerProduct", params=("weight", "bias"), policy="narrow")
def linear(x: Node, *, out: AtLeastOne, bias: bool = True, axis: int = 1, transpose: bool = False) -> Node:
    """y = x W' + b   (Caffe: InnerProduct)

    The axes from `axis` on are flattened to K; weight is (out, K), or (K, out) with `transpose`; bias (out).
    """
    at = expr.axis_of(axis, len(x.shape))
    batch, inner = x.shape[:at], math.prod(x.shape[at:])
    flat = expr.reshape(x, (batch[0] if len(batch) == 1 else math.prod(batch), inner))
    weight = parameter("weight", (inner, out) if transpose else (out, inner), xavier())
    y = ops.dot(flat, weight if transpose else expr.transpose(weight, (1, 0)))
    if bias:
        y = y + parameter("bias", (out,), constant())
    return expr.reshape(y, (*batch, out))


@layer(policy="narrow")
def matmul(a: Node, b: Node) -> Node:
    """y[i, k] = sum over j of a[i, j] * b[j, k], over the last two axes; those before them broadcast"""
    for x in (a, b):
        refuse(len(x.shape) < 2, f"{x.type} is no matrix")
    refuse(a.shape[-1] != b.shape[-2], f"{a.type} has {a.shape[-1]} columns, {b.type} has {b.shape[-2]} rows")
    heads = [ops.const(value=0.0, shape=x.shape[:-2], dtype="f32") for x in (a, b)]
    batch = expr.common_shape(*heads)
    return ops.dot(*(expr.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b)))


@layer("Embed", params=("weight", "bias"), policy="narrow")
def embed(x: Node, *, size: AtLeastOne, out: AtLeastOne, bias: bool = True) -> Node:
    """y[i] = W[x[i]] + b   (Caffe: Embed)

    x holds whole numbers below `size`, the result has an axis of `out` more. weight is (size, out), bias (out). Of an
    input, other numbers are refused; for those that a net computes the nearest row is taken.
    """
    y = ops.gather(parameter("weight", (size, out), xavier()), expr.cast(x, "i32"))
    return y + parameter("bias", (out,), constant()) if bias else y
