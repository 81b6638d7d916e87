"""Layers that slide learned weights over space. Relies on ops.conv and its gradient, which is deconvolution."""

from __future__ import annotations

import math

from .. import expr, ops
from ..graph import Node
from ..schema.fillers import constant, xavier
from ..schema.ranges import AtLeastOne
from .axes import along, per_axis, refuse, sizes, spatial
from .base import PerAxis, layer, parameter


def _folded(x: Node, axis: int) -> tuple[Node, tuple[int, ...]]:
    """x as (batch, channels, space...) and the axes that were folded into the batch."""
    channel = expr.axis_of(axis, len(x.shape))
    batch = x.shape[:channel]
    if len(batch) == 1:
        return x, batch
    return expr.reshape(x, (math.prod(batch), *x.shape[channel:])), batch


def _finished(y: Node, out: int, bias: bool, batch: tuple[int, ...]) -> Node:
    if bias:
        y = y + along(parameter("bias", (out,), constant()), len(y.shape), 1)
    return y if len(batch) == 1 else expr.reshape(y, (*batch, *y.shape[1:]))


def _divides(channels: int, group: int, what: str) -> None:
    refuse(channels % group != 0, f"{channels} {what} do not divide into {group} groups")


@layer("Convolution", params=("weight", "bias"), policy="narrow")
def conv(
    x: Node,
    *,
    out: AtLeastOne,
    kernel: PerAxis,
    stride: PerAxis = 1,
    pad: PerAxis = 0,
    group: AtLeastOne = 1,
    dilation: PerAxis = 1,
    bias: bool = True,
    axis: int = 1,
) -> Node:
    """y[o, p] = sum over c, k of w[o, c, k] * x[c, stride * p + dilation * k - pad] + b[o]   (Caffe: Convolution)

    x is (N, C, space...) with any number of axes of space; axes before `axis`, the channels', are batch. Sizes are
    floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1. weight is (out, C / group, kernel...), bias (out).
    """
    folded, batch = _folded(x, axis)
    space = spatial(folded, 1)
    k, s = per_axis(kernel, len(space), "kernel"), per_axis(stride, len(space), "stride")
    p, d = per_axis(pad, len(space), "pad", least=0), per_axis(dilation, len(space), "dilation")
    _divides(folded.shape[1], group, "channels of the input")
    _divides(out, group, "channels of the result")
    reach = [d_ * (k_ - 1) + 1 for k_, d_ in zip(k, d, strict=True)]
    padded = [n + 2 * p_ for n, p_ in zip(space, p, strict=True)]
    refuse(
        any(r > n for r, n in zip(reach, padded, strict=True)),
        f"kernel {_given(kernel)}{_if_not(1, 'dilation', dilation)} is larger than its input, "
        f"{sizes(space)}{_if_not(0, 'pad', pad)}",
    )
    weight = parameter("weight", (out, folded.shape[1] // group, *k), xavier())
    return _finished(ops.conv(folded, weight, stride=s, pad=p, dilation=d, groups=group), out, bias, batch)


@layer("Deconvolution", params=("weight", "bias"), policy="narrow")
def deconv(
    x: Node,
    *,
    out: AtLeastOne,
    kernel: PerAxis,
    stride: PerAxis = 1,
    pad: PerAxis = 0,
    group: AtLeastOne = 1,
    dilation: PerAxis = 1,
    bias: bool = True,
    axis: int = 1,
) -> Node:
    """y[o, stride * p + dilation * k - pad] += sum over c of w[c, o, k] * x[c, p], + b[o]   (Caffe: Deconvolution)

    The gradient of conv by its data, forward: sizes are stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad.
    weight is (C, out / group, kernel...), bias (out).
    """
    folded, batch = _folded(x, axis)
    space = spatial(folded, 1)
    k, s = per_axis(kernel, len(space), "kernel"), per_axis(stride, len(space), "stride")
    p, d = per_axis(pad, len(space), "pad", least=0), per_axis(dilation, len(space), "dilation")
    _divides(folded.shape[1], group, "channels of the input")
    _divides(out, group, "channels of the result")
    result = tuple(
        s_ * (n - 1) + d_ * (k_ - 1) + 1 - 2 * p_ for n, k_, s_, p_, d_ in zip(space, k, s, p, d, strict=True)
    )
    refuse(any(n < 1 for n in result), f"pad {_given(pad)} leaves nothing of the result, {sizes(result)}")
    weight = parameter("weight", (folded.shape[1], out // group, *k), xavier())
    y = ops.conv_data_grad(folded, weight, size=result, stride=s, pad=p, dilation=d, groups=group)
    return _finished(y, out, bias, batch)


@layer("Im2col", policy="narrow")
def im2col(x: Node, *, kernel: PerAxis, stride: PerAxis = 1, pad: PerAxis = 0, dilation: PerAxis = 1) -> Node:
    """y[c * K + k, p] = x[c, stride * p + dilation * k - pad]   (Caffe: Im2col)

    x is (N, C, space...), the result (N, C * K, out...), K the number of elements of the kernel.
    """
    space = spatial(x, 1)
    rank = len(space)
    k, s = per_axis(kernel, rank, "kernel"), per_axis(stride, rank, "stride")
    p, d = per_axis(pad, rank, "pad", least=0), per_axis(dilation, rank, "dilation")
    refuse(
        any(d_ * (k_ - 1) + 1 > n + 2 * p_ for n, k_, p_, d_ in zip(space, k, p, d, strict=True)),
        f"kernel {_given(kernel)} is larger than its input, {sizes(space)}{_if_not(0, 'pad', pad)}",
    )
    edge = (0, 0, *p)
    wide = ops.pad(x, low=edge, high=edge, interior=(0,) * (rank + 2), value=0.0)
    seen = ops.window(wide, axes=tuple(range(2, rank + 2)), sizes=k, strides=s, dilations=d)
    out = seen.shape[2 : rank + 2]
    first = expr.transpose(seen, (0, 1, *range(rank + 2, 2 * rank + 2), *range(2, rank + 2)))
    return expr.reshape(first, (x.shape[0], x.shape[1] * math.prod(k), *out))


def _given(value: PerAxis) -> str:
    return str(value) if isinstance(value, int) else sizes(value)


def _if_not(usual: int, what: str, value: PerAxis) -> str:
    return "" if value == usual else f" with {what} {_given(value)}"
