"""Layers that bring numbers to a common measure. Each is a few reductions over the same axes and elementwise work."""

from __future__ import annotations

import math
from typing import Literal

from .. import expr, ops
from ..graph import Node
from ..schema.fillers import constant
from ..schema.ranges import AtLeastOne, NotNegative, Part
from .axes import along, refuse
from .base import across, commit, layer, parameter, processes, statistic, training


@layer("Softmax", policy="f32")
def softmax(x: Node, *, axis: int = 1) -> Node:
    """exp(x - max x) / sum exp(x - max x), along axis   (Caffe: Softmax)"""
    # The maximum is stopped: the result does not depend on it.
    e = ops.exp(x - expr.stop(expr.max(x, axis, keepdims=True)))
    return e * (1.0 / expr.sum(e, axis, keepdims=True))


def _moments(x: Node, axes: tuple[int, ...], *, together: bool = False) -> tuple[Node, Node, Node]:
    """The mean, x minus it, and the mean of the squares of that; the axes stay with size 1.

    The mean is stopped inside the squares: its share of their gradient is 0, and would cost a pass over x. together: of
    all processes.
    """
    mean = expr.mean(x, axes, keepdims=True)
    mean = across(mean, "batch_mean") if together else mean
    deviation = x - expr.stop(mean)
    variance = expr.mean(deviation * deviation, axes, keepdims=True)
    return mean, x - mean, across(variance, "batch_variance") if together else variance


@layer("BatchNorm", params=("weight", "bias", "mean", "variance", "factor"), policy="narrow")
def batch_norm(
    x: Node,
    *,
    affine: bool = True,
    eps: NotNegative = 1e-5,
    moving_average_fraction: Part = 0.999,
    use_global_stats: bool | None = None,
    synchronized: bool = False,
) -> Node:
    """(x - mean) / sqrt(variance + eps) * weight + bias, for each channel   (Caffe: BatchNorm)

    In training mean and (biased) variance are the batch's; in test mode, or with use_global_stats: true, the running
    ones. Those are sums, as in Caffe: f = moving_average_fraction, m elements a channel:
    factor = f * factor + 1, mean = f * mean + batch mean, variance = f * variance + batch variance * m / (m - 1);
    they are divided by factor where used (by nothing where it is 0: then they count as 0). weight and bias, one number
    a channel, are left out by affine: false, which is Caffe's layer. synchronized: where several processes train
    together, the batch is that of all of them.
    """
    refuse(len(x.shape) < 2, f"the input is {x.type}, it has no axis 1 for channels")
    channels, rank = x.shape[1], len(x.shape)
    axes = tuple(i for i in range(rank) if i != 1)
    running_mean, running_variance = statistic("mean", (channels,), 0.0), statistic("variance", (channels,), 0.0)
    factor = statistic("factor", (1,), 0.0)
    weight = along(parameter("weight", (channels,), constant(value=1.0)), rank, 1) if affine else None
    shift = along(parameter("bias", (channels,), constant()), rank, 1) if affine else None
    if not training() if use_global_stats is None else use_global_stats:
        # As x * scale + shift, so that it folds into a convolution before it.
        known = expr.where(expr.equal(factor, 0.0), 0.0, 1.0 / factor)
        scale = along(1.0 / ops.sqrt(running_variance * known + eps), rank, 1)
        scale = scale if weight is None else scale * weight
        shifted = -(along(running_mean * known, rank, 1) * scale)
        return x * scale + (shifted if shift is None else shifted + shift)
    count = math.prod(x.shape[a] for a in axes)
    refuse(count < 1, f"{x.type} has no elements to normalize")
    mean, centred, variance = _moments(x, axes, together=synchronized)
    count *= processes() if synchronized else 1
    scale = 1.0 / ops.sqrt(variance + eps)
    y = centred * (scale if weight is None else scale * weight)
    unbiased = count / (count - 1) if count > 1 else 1.0
    f = moving_average_fraction
    commit("mean", running_mean * f + expr.reshape(mean, (channels,)))
    commit("variance", running_variance * f + expr.reshape(variance * unbiased, (channels,)))
    commit("factor", factor * f + 1.0)
    return y if shift is None else y + shift


@layer("MVN", policy="narrow")
def mvn(x: Node, *, normalize_variance: bool = True, across_channels: bool = False, eps: NotNegative = 1e-9) -> Node:
    """(x - mean) / (sqrt(variance) + eps), for each item and channel   (Caffe: MVN)

    Over the axes after the channels', or the channels' too with `across_channels`. The gradient divides by
    sqrt(variance) + eps throughout, as Caffe's: that of a constant patch is finite.
    """
    axes = tuple(range(1 if across_channels else 2, len(x.shape)))
    refuse(not axes or math.prod(x.shape[a] for a in axes) == 0, f"{x.type} has nothing to normalize over")
    _, centred, variance = _moments(x, axes)
    if not normalize_variance:
        return centred
    deviation = ops.sqrt(variance) + eps
    return centred * (1.0 / ops.surrogate(deviation, variance * (0.5 / expr.stop(deviation))))


@layer(params=("weight", "bias"), policy="narrow")
def layer_norm(x: Node, *, axis: int = -1, affine: bool = True, eps: NotNegative = 1e-5) -> Node:
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the axes from `axis` on

    weight and bias have the sizes of these axes; affine: false leaves them out. Source: Ba, Kiros and Hinton, 2016.
    """
    first = expr.axis_of(axis, len(x.shape))
    axes = tuple(range(first, len(x.shape)))
    refuse(math.prod(x.shape[a] for a in axes) == 0, f"{x.type} has nothing to normalize over")
    _, centred, variance = _moments(x, axes)
    y = centred * (1.0 / ops.sqrt(variance + eps))
    if not affine:
        return y
    shape = tuple(x.shape[first:])
    weight, shift = parameter("weight", shape, constant(value=1.0)), parameter("bias", shape, constant())
    return y * along(weight, len(x.shape), first) + along(shift, len(x.shape), first)


@layer("LRN", policy="narrow")
def lrn(
    x: Node,
    *,
    size: AtLeastOne = 5,
    alpha: NotNegative = 1.0,
    beta: float = 0.75,
    k: NotNegative = 1.0,
    region: Literal["across", "within"] = "across",
) -> Node:
    """x * (k + alpha / n * sum of x ** 2 over a window) ** -beta   (Caffe: LRN)

    The window is `size` channels around each (n = size), or with region: within, where k is 1, a square of space
    (n = size for each axis, multiplied); both reach over the edge, where x is 0.
    """
    refuse(size % 2 == 0, f"size is {size}, it must be odd")
    first, last = (1, 2) if region == "across" else (2, len(x.shape))
    axes = tuple(range(first, last))
    refuse(len(x.shape) < last or not axes, f"the input is {x.type}, it has no axes to take windows over")
    # As far as there is anything: beyond it a window holds zeros alone, however long it is.
    reach = {i: min(size // 2, int(x.shape[i]) - 1) for i in axes}
    edge = tuple(reach.get(i, 0) for i in range(len(x.shape)))
    squares = ops.pad(x * x, low=edge, high=edge, interior=(0,) * len(edge), value=0.0)
    each = (1,) * len(axes)
    sizes = tuple(2 * reach[i] + 1 for i in axes)
    seen = ops.window(squares, axes=axes, sizes=sizes, strides=each, dilations=each)
    total = expr.sum(seen, tuple(range(len(x.shape), len(seen.shape))))
    base = total * (alpha / size ** len(axes)) + (k if region == "across" else 1.0)
    return x * expr.pow(base, -beta)
