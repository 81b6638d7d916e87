"""Variance in one pass: sums of squared deviations from a mean that is a sum of the same rows.

So it is for the variance of a normalization. A target that cuts rows in parts keeps sum and squares of each part, and
combines them exactly (Chan, Golub and LeVeque, 1983); as a difference of two large sums it would lose its digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from .. import ops
from ..graph import Node
from ..kernel import window_axes


@dataclass(frozen=True)
class Deviations:
    """What squares deviate from. total: the sum of the rows. between: from there to the mean, both included."""

    total: Node
    between: frozenset[Node]


def deviations(nodes: Iterable[Node]) -> dict[Node, Deviations]:
    """The nodes that are sums of squared deviations from the mean of the same rows."""
    found = ((node, _of(node)) for node in nodes if node.op is ops.sum_ and not window_axes(node))
    return {node: of for node, of in found if of is not None}


def _of(node: Node) -> Deviations | None:
    square = node.inputs[0]
    if square.op is not ops.mul or square.inputs[0] is not square.inputs[1] or square.inputs[0].op is not ops.add:
        return None
    first, second = square.inputs[0].inputs
    return _from(node, first, second) or _from(node, second, first)


def _from(node: Node, x: Node, mean: Node) -> Deviations | None:
    """The deviations, if `mean` is the negative mean of the rows of `x`, repeated."""
    axes = node.attrs["axes"]
    if mean.op is not ops.broadcast or mean.inputs[0].shape != node.shape:
        return None
    factor, between = 1.0, set[Node]()
    below = mean.inputs[0]
    while below.op is not ops.sum_:
        between.add(below)
        if below.op is ops.neg:
            factor = -factor
        elif below.op is ops.mul and (number := _number(below.inputs[1])) is not None:
            factor *= number
        elif below.op is not ops.reshape:
            return None
        below = below.inputs[0]
    if below.inputs[0] is not x or below.attrs["axes"] != axes:
        return None
    length = math.prod(int(x.shape[a]) for a in axes)
    if not math.isclose(factor * length, -1.0, rel_tol=1e-6):
        return None
    return Deviations(below, frozenset({*between, below}))


def _number(node: Node) -> float | None:
    """The number that a constant is."""
    value = node.attrs["value"] if node.op is ops.const else None
    return float(value) if isinstance(value, int | float) else None
