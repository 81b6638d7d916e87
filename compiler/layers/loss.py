"""Losses: one number to make small. Each is a few reductions over the same axes and elementwise work between them.

Labels are whole numbers, i32 or (as Caffe has them) floats, which are cut. A batch is the first axis.
"""

from __future__ import annotations

import math
from typing import Literal

from .. import expr, ops
from ..graph import Node
from ..schema.ranges import NotNegative
from .activation import softplus
from .axes import refuse, rows
from .base import layer, read_from

Normalization = Literal["full", "valid", "batch_size", "none"]

# Caffe clamps the probability of the label at FLT_MIN before its logarithm.
_LARGEST_LOSS = -math.log(1.17549435e-38)
# That of the losses on probabilities.
_LEAST_PROBABILITY = 1e-20


def labels(label: Node, like: Node, axis: int) -> Node:
    """Labels as i32 in the shape of `like` with one element along `axis`; TypeRuleError if their number differs."""
    wanted = tuple(1 if i == axis else n for i, n in enumerate(like.shape))
    refuse(
        [n for n in label.shape if n != 1] != [n for n in wanted if n != 1],
        f"the labels are {label.type}, the scores {like.type} want one label for each of {_places(wanted, axis)}",
    )
    return expr.reshape(expr.cast(label, "i32"), wanted)


def _places(shape: tuple[int, ...], axis: int) -> str:
    kept = [str(n) for i, n in enumerate(shape) if i != axis]
    return f"[{', '.join(kept)}]"


def chosen(label: Node, like: Node, axis: int) -> Node:
    """Where the index along `axis` is the label: bool in the shape of `like`."""
    return expr.equal(ops.iota(shape=like.shape, axes=(axis,), dtype="i32"), label)


def log_sum_exp(x: Node, axis: int) -> tuple[Node, Node]:
    """x minus its largest element along the axis, and the log of the sum of their exponentials.

    The maximum is stopped: it cancels in the gradient, which would else be followed through it for nothing.
    """
    shifted = x - expr.stop(expr.max(x, axis, keepdims=True))
    return shifted, ops.log(expr.sum(ops.exp(shifted), axis, keepdims=True))


def normalized(each: Node, valid: Node | None, normalization: Normalization, batch: int) -> Node:
    """The sum of `each` where valid, divided as Caffe's LossParameter says; at least by 1.

    each: one loss a place; valid: bool of the same shape, or None where all count.
    """
    if valid is not None:
        each = expr.where(valid, each, 0.0)
    total = expr.sum(each)
    if normalization == "none":
        return total
    if normalization == "valid" and valid is not None:
        count = expr.sum(expr.cast(valid, each.dtype))
        return total / expr.maximum(1.0, count)
    return total * (1.0 / max(1, batch if normalization == "batch_size" else each.type.count))


def unignored(label: Node, ignore: int | None) -> Node | None:
    """Where the label is not the one to ignore."""
    return None if ignore is None else expr.logical_not(expr.equal(label, ignore))


@layer("SoftmaxWithLoss", policy="f32")
def softmax_loss(
    x: Node,
    label: Node,
    *,
    axis: int = 1,
    ignore: int | None = None,
    normalization: Normalization = "valid",
) -> Node:
    """-sum log(softmax(x)[label]) / n   (Caffe: SoftmaxWithLoss)

    x: scores, classes along `axis`; label: one for each other place. `ignore` is a label that counts for nothing.
    n: `full` all places, `valid` those not ignored, `batch_size` the places before `axis`, `none` 1. A loss is at
    most 87.3365 (probability FLT_MIN); the gradient, softmax(x) - 1 at the label, is not clamped.
    """
    at = expr.axis_of(axis, len(x.shape))
    target = labels(label, x, at)
    shifted, total = log_sum_exp(x, at)
    picked = expr.sum(expr.where(chosen(target, x, at), shifted, 0.0), at, keepdims=True)
    loss = total - picked
    loss = ops.surrogate(expr.minimum(loss, _LARGEST_LOSS), loss)
    return normalized(loss, unignored(target, ignore), normalization, math.prod(x.shape[:at]))


@layer("SigmoidCrossEntropyLoss", policy="f32")
def sigmoid_loss(
    x: Node, target: Node, *, ignore: int | None = None, normalization: Normalization = "batch_size"
) -> Node:
    """-sum (t * log(sigmoid(x)) + (1 - t) * log(1 - sigmoid(x))) / n   (Caffe: SigmoidCrossEntropyLoss)

    x: scores; target: probabilities or 0 and 1, as many. n as in softmax_loss, each element a place of its own.
    """
    t = _alike(target, x)
    valid = unignored(expr.cast(t, "i32"), ignore)
    t = expr.cast(t, x.dtype)
    return normalized(softplus(x) - x * t, valid, normalization, x.shape[0] if x.shape else 1)


def _alike(b: Node, a: Node) -> Node:
    """b in the shape of a: as many elements an item, in the same order."""
    refuse(a.type.count == 0, f"{a.type} holds no items to compare")
    refuse(
        not a.shape or a.shape[:1] != b.shape[:1] or a.type.count != b.type.count,
        f"{a.type} and {b.type} differ in their number of items or of elements",
    )
    return expr.reshape(b, a.shape)


@layer("EuclideanLoss", policy="f32")
def euclidean_loss(a: Node, b: Node) -> Node:
    """sum (a - b) ** 2 / (2 N)   (Caffe: EuclideanLoss)

    Both have a gradient.
    """
    difference = a - _alike(b, a)
    return expr.sum(difference * difference) * (0.5 / a.shape[0])


@layer("HingeLoss", policy="f32")
def hinge_loss(x: Node, label: Node, *, norm: Literal["l1", "l2"] = "l1") -> Node:
    """sum max(0, 1 - s * x) / N, or its squares with norm: l2; s is 1 at the label, else -1   (Caffe: HingeLoss)"""
    flat = rows(x)
    here = chosen(labels(label, flat, 1), flat, 1)
    margin = expr.maximum(0.0, expr.where(here, -flat, flat) + 1.0)
    return expr.sum(margin * margin if norm == "l2" else margin) * (1.0 / x.shape[0])


@layer("ContrastiveLoss", policy="f32")
def contrastive_loss(a: Node, b: Node, similar: Node, *, margin: NotNegative = 1.0, legacy: bool = False) -> Node:
    """sum (y * d ** 2 + (1 - y) * max(margin - d, 0) ** 2) / (2 N), d = |a - b|   (Caffe: ContrastiveLoss)

    similar: y, 1 or 0 for each pair. legacy: max(margin - d ** 2, 0) for dissimilar pairs. Their gradient divides by
    d + 1e-4, as Caffe's, so that it is finite for equal pairs.
    """
    difference = rows(a) - rows(_alike(b, a))
    square = expr.sum(difference * difference, 1, keepdims=True)
    if legacy:
        apart = expr.maximum(0.0, margin - square)
    else:
        distance = ops.sqrt(expr.stop(square))
        missing = expr.maximum(0.0, margin - distance)
        apart = ops.surrogate(missing * missing, square * -(missing / (distance + 1e-4)))
    refuse(similar.type.count != a.shape[0], f"similar is {similar.type}, not one number for each of {a.shape[0]}")
    different = expr.equal(expr.reshape(expr.cast(similar, "i32"), square.shape), 0)
    return expr.sum(expr.where(different, apart, square)) * (0.5 / a.shape[0])


@layer("InfogainLoss", policy="f32")
def infogain_loss(
    x: Node,
    label: Node,
    gain: Node | None = None,
    *,
    file: str = "",
    axis: int = 1,
    ignore: int | None = None,
    normalization: Normalization = "valid",
) -> Node:
    """-sum over k of gain[label, k] * log(softmax(x)[k]), summed / n   (Caffe: InfogainLoss)

    As softmax_loss, which is its case for the identity matrix; gain is (K, K), or is what a file (.binaryproto, .npy)
    holds. The probability is clamped at 1e-20, but not in the gradient.
    """
    at = expr.axis_of(axis, len(x.shape))
    classes = x.shape[at]
    refuse((gain is None) != bool(file), "its matrix is a third tensor, or lies in a `file`")
    if gain is None:
        gain = read_from("gain", (classes, classes), file)
    refuse(gain.shape != (classes, classes), f"gain is {gain.type}, {classes} classes want {classes} x {classes}")
    target = labels(label, x, at)
    shifted, total = log_sum_exp(x, at)
    each = total - shifted
    each = ops.surrogate(expr.minimum(each, -math.log(_LEAST_PROBABILITY)), each)
    # (places before, 1, places after, K) with K brought to where the classes are.
    weights = ops.gather(gain, target)
    last = len(x.shape)
    weights = expr.reshape(expr.transpose(weights, (*range(at), last, *range(at + 1, last), at)), x.shape)
    loss = expr.sum(weights * each, at, keepdims=True)
    return normalized(loss, unignored(target, ignore), normalization, math.prod(x.shape[:at]))


@layer("MultinomialLogisticLoss", policy="f32")
def multinomial_loss(p: Node, label: Node) -> Node:
    """-sum log(max(p[label], 1e-20)) / N   (Caffe: MultinomialLogisticLoss)

    p: probabilities, as softmax gives them. The gradient is -1 / max(p, 1e-20) / N, also where p is clamped.
    """
    flat = rows(p)
    here = chosen(labels(label, flat, 1), flat, 1)
    picked = expr.sum(expr.where(here, flat, 0.0), 1, keepdims=True)
    clamped = ops.surrogate(expr.maximum(_LEAST_PROBABILITY, picked), picked)
    return expr.sum(ops.log(clamped)) * (-1.0 / p.shape[0])
