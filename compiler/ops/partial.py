"""Split reductions (split-K, `rfactor`): parts of a sum, a maximum or a product, each of a share of its terms.

`partial(x, of="sum", parts=…, axes=…)` is `sum(x, axes=…)` in parts, which lie along a new first axis; who adds them
has the sum. Terms are told by the elements of one operand: each element has a number, and `share` numbers are a part.
So a partial result means the same wherever it is computed: by the oracle, which leaves out all other terms, and by a
program of a kernel, which goes through its share of a loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Graph, Node, at
from ..types import TensorType, wide
from .base import Array, Op, check, register
from .contract import conv, conv_data_grad, conv_weight_grad, dot
from .movement import broadcast
from .pointwise import add, like, mul
from .reduce import max_reduce, sum_
from .rounding import TF32, Bound, Evaluation, Rounding, bilinear, likely


@dataclass(frozen=True)
class Parts:
    """Which terms belong to which of `count` parts: of the numbers of all terms, each part has `share`, the last fewer.

    A term's number has digits, the first the most significant: of the element of operand `operand` that is in the term,
    (axis, low, size) is its index along the axis // low % size.
    """

    count: int
    share: int
    operand: int
    digits: tuple[tuple[int, int, int], ...]

    def of(self, shape: tuple[int, ...]) -> Array:
        """The part of each element of the operand, broadcast along the axes that do not decide it."""
        found: Array = np.zeros((1,) * len(shape), np.int64)
        for axis, low, size in self.digits:
            along = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
            found = found * size + along // low % size
        return found // self.share


# What can be taken in parts. Deviations are squares of what rows deviate from their mean, each part from its own.
DEVIATIONS = "deviations"
_OPS: dict[str, Op] = {op.name: op for op in (sum_, max_reduce, dot, conv, conv_data_grad, conv_weight_grad)}


def divides(op: Op) -> bool:
    """Whether an op's result is combined from parts: a choice (argmax) is not."""
    return op.name in _OPS


def _whole_type(of: str, types: tuple[TensorType, ...], attrs: dict[str, Any]) -> TensorType:
    found = _OPS["sum" if of == DEVIATIONS else of].infer(*types, **attrs)
    assert isinstance(found, TensorType)
    return found


def _type(*types: TensorType, of: str, parts: Parts, **attrs: Any) -> TensorType:
    check(of in (DEVIATIONS, *_OPS), f"{of} is not taken in parts")
    whole = _whole_type(of, types, attrs)
    check(0 <= parts.operand < len(types), lambda: f"there is no operand {parts.operand}")
    shape = types[parts.operand].shape
    check(all(0 <= a < len(shape) and low > 0 < size for a, low, size in parts.digits), "a digit is of no axis")
    terms = math.prod(size for _, _, size in parts.digits)
    check(0 < terms - (parts.count - 1) * parts.share <= parts.share, f"{terms} terms are not {parts.count} shares")
    return TensorType((parts.count, *whole.shape), wide(whole.dtype))


def _partial(*xs: Array, of: str, parts: Parts, **attrs: Any) -> Array:
    which = parts.of(xs[parts.operand].shape)
    return np.stack([_part(of, xs, parts.operand, which == p, attrs) for p in range(parts.count)])


def _part(of: str, xs: tuple[Array, ...], operand: int, inside: Array, attrs: dict[str, Any]) -> Array:
    """The result of the terms inside."""
    x = xs[operand]
    if of == DEVIATIONS:
        count = np.broadcast_to(inside, x.shape).sum(attrs["axes"], keepdims=True)
        mean = np.where(inside, x, 0).sum(attrs["axes"], keepdims=True) / count
        return np.asarray((np.where(inside, x - mean, 0) ** 2).sum(attrs["axes"], keepdims=True))
    neutral: Any = x.dtype.type(0)
    if of == max_reduce.name and x.dtype.kind != "b":
        neutral = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    kept = [np.where(inside, y, neutral) if k == operand else y for k, y in enumerate(xs)]
    return np.asarray(_OPS[of].numpy(*kept, **attrs))


def _flops(y: TensorType, *types: TensorType, of: str, parts: Parts, **attrs: Any) -> int:
    if of == DEVIATIONS:
        return 3 * types[0].count
    return _OPS[of].flops(_whole_type(of, types, attrs), *types, **attrs)


def _spread(at: Evaluation, *bounds: Array) -> Bound:
    if len(bounds) > 1:
        return bilinear(at, *bounds)
    if at.node.attrs["of"] != DEVIATIONS:
        return _terms(at, bounds[0], of=at.node.attrs["of"])
    # What an element deviates moves by its own error and by that of the mean.
    return _squared(at, bounds[0] + _to_elements(at, _terms(at, bounds[0]) / _counts(at)))


def _own(at: Evaluation) -> Bound:
    attrs, inner = at.node.attrs, at.arithmetic.inner(at.node.dtype)
    of, sizes = attrs["of"], [at.size(i) for i in range(len(at.operands))]
    if of == max_reduce.name:
        return None
    if of == DEVIATIONS:
        x, counts = at.x(0), _counts(at)
        n = int(counts.max())
        total, magnitude = _terms(at, x), _terms(at, sizes[0])
        mean = _to_elements(at, likely(inner, n, total, magnitude, _terms(at, x * x)) / counts)
        away = inner * (sizes[0] + 2 * np.abs(_to_elements(at, total / counts))) + mean
        found = likely(inner, n, at.value, at.value, at.value * at.value) + _squared(at, away)
        return np.asarray(found + at.rounded)
    n = int(_terms(at, *(np.ones_like(x) for x in sizes), of=of).max(initial=1))
    squares = _terms(at, *(x * x for x in sizes), of=of)
    found = likely(inner, max(n, 1), at.value, _terms(at, *sizes, of=of), squares)
    if len(sizes) > 1 and at.arithmetic.tf32 and at.node.inputs[0].dtype == "f32":
        found = found + 2 * TF32 * np.sqrt(squares)
    return np.asarray(found + at.rounded)


def _terms(at: Evaluation, *xs: Array, of: str = sum_.name) -> Array:
    """Other numbers in the same parts."""
    return _partial(*xs, **{**at.node.attrs, "of": of})


def _counts(at: Evaluation) -> Array:
    """How many elements each part has."""
    return _terms(at, np.ones(at.x(0).shape))


def _to_elements(at: Evaluation, of_parts: Array) -> Array:
    """What is one number a part, at each of its elements."""
    parts, x = at.node.attrs["parts"], at.x(0)
    which, found = parts.of(x.shape), np.zeros(x.shape)
    for p in range(parts.count):
        found = np.where(which == p, of_parts[p], found)
    return found


def _squared(at: Evaluation, away: Array) -> Array:
    """What squares of deviations change where these change by so much."""
    deviate = np.abs(at.x(0) - _to_elements(at, _terms(at, at.x(0)) / _counts(at)))
    return _terms(at, (2 * deviate + away) * away)


partial: Op = register(Op("partial", "group", _type, _partial, None, _flops, Rounding(_spread, _own)))


def undivided(body: Graph) -> tuple[Graph, dict[Node, Parts]]:
    """A body with each `partial` as the op of which it is a part, and the parts of these."""
    found: dict[Node, Node] = {}
    for node in sorted(body.outputs.values(), key=lambda n: n.attrs.get("of") == DEVIATIONS):
        if node.op is not partial:
            continue
        attrs = {key: value for key, value in node.attrs.items() if key not in ("of", "parts")}
        with at(node.span, node.scope):
            if node.attrs["of"] == DEVIATIONS:
                found[node] = _deviations(node.inputs[0], attrs["axes"], [*found.values()])
            else:
                found[node] = _OPS[node.attrs["of"]](*node.inputs, **attrs)
    if not found:
        return body, {}
    return body.rebuild(found), {whole: node.attrs["parts"] for node, whole in found.items()}


def _deviations(x: Node, axes: tuple[int, ...], sums: list[Node]) -> Node:
    """The squares of what rows deviate from their mean, which is one of these sums of them divided."""
    total = next(n for n in sums if n.op is sum_ and n.inputs[0] is x and n.attrs["axes"] == axes)
    mean = mul(total, like(total, -1 / math.prod(x.shape[a] for a in axes)))
    away = add(x, broadcast(mean, shape=x.shape))
    return sum_(mul(away, away), axes=axes)
