"""Metrics and choices: how often a net is right, and what it chose."""

from __future__ import annotations

from .. import expr, ops
from ..graph import Node
from ..types import least
from .axes import refuse, rows
from .base import layer
from .loss import chosen, labels, unignored
from .shape import concat

# Each of the top_k is a search of its own.
MAX_TOP = 1000


@layer("Accuracy", policy="f32")
def accuracy(
    x: Node, label: Node, *, top_k: int = 1, axis: int = 1, ignore: int | None = None, per_class: bool = False
) -> Node | tuple[Node, Node]:
    """#{places where fewer than top_k other classes score as high as the label} / #places   (Caffe: Accuracy)

    A tie counts against the label. Labels to `ignore` count nowhere; without any other the result is 0.
    With `per_class` the second result is the accuracy of each class, 0 for a class without examples.
    """
    at = expr.axis_of(axis, len(x.shape))
    refuse(not 1 <= top_k <= x.shape[at], f"top_k is {top_k}, there are {x.shape[at]} classes")
    target = labels(label, x, at)
    here = chosen(target, x, at)
    score = expr.sum(expr.where(here, x, 0.0), at, keepdims=True)
    behind = expr.less(x, score)
    ahead = expr.where(here, 0.0, expr.where(behind, 0.0, expr.constant(1.0, x)))
    right = expr.less(expr.sum(ahead, at, keepdims=True), top_k)
    valid = unignored(target, ignore)
    if valid is not None:
        right, here = expr.logical_and(right, valid), expr.logical_and(here, valid)
    hits = expr.cast(right, x.dtype)
    if valid is None:
        value = expr.mean(hits)
    else:
        value = expr.sum(hits) / expr.maximum(1.0, expr.sum(expr.cast(valid, x.dtype)))
    if not per_class:
        return value
    others = tuple(i for i in range(len(x.shape)) if i != at)
    seen = expr.sum(expr.cast(here, x.dtype), others)
    found = expr.sum(expr.cast(expr.logical_and(here, right), x.dtype), others)
    return value, found / expr.maximum(1.0, seen)


@layer("ArgMax", policy="f32")
def argmax(x: Node, *, top_k: int = 1, axis: int | None = None, values: bool = False) -> Node | tuple[Node, Node]:
    """The index of the largest element, of the next largest, … top_k of them   (Caffe: ArgMax)

    Along `axis`, whose size becomes top_k; without one, over each item's elements in row-major order, as (N, 1, top_k).
    Indices are i32 (floats in Caffe); of equal elements the larger index comes first. With `values` the second result
    is the elements themselves.
    """
    if axis is None:
        flat = rows(x)
        x, at = expr.reshape(flat, (flat.shape[0], 1, flat.shape[1])), 2
    else:
        at = expr.axis_of(axis, len(x.shape))
    refuse(not 1 <= top_k <= x.shape[at], f"top_k is {top_k}, there are {x.shape[at]} elements to choose from")
    refuse(top_k > MAX_TOP, f"top_k is {top_k}, {MAX_TOP} are the most that are searched for")
    position = ops.iota(shape=x.shape, axes=(at,), dtype="i32")
    indices: list[Node] = []
    largest: list[Node] = []
    for i in range(top_k):
        if i > 0:
            # What was taken has the least value and no position: it loses to another element of that value too.
            taken = expr.equal(position, indices[-1])
            x, position = expr.where(taken, least(x.dtype), x), expr.where(taken, -1, position)
        largest.append(expr.max(x, at, keepdims=True))
        indices.append(expr.max(expr.where(expr.equal(x, largest[-1]), position, -1), at, keepdims=True))
    index = concat(*indices, axis=at)
    return (index, concat(*largest, axis=at)) if values else index
