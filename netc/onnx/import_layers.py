"""Operators with weights, and normalizations, as layers with the weights' names."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from .import_values import Array, Known, Tensor, Untranslated, Value
from .translating import Translator


def _weight(t: Translator, index: int) -> Known:
    value = t.operand(index)
    if not isinstance(value, Known):
        raise Untranslated(f"operand {index + 1} is computed by the net")
    return value


def gemm(t: Translator) -> Tensor:
    """alpha A' B' + beta C, where B and C are weights; products of two tensors are `matmul`."""
    alpha, beta = t.number("alpha", 1.0), t.number("beta", 1.0)
    x, b = t.tensor(0), t.operand(1)
    if t.integer("transA", 0):
        x = t.call("transpose", [x], [[1, 0]])
    turned = bool(t.integer("transB", 0))
    c = t.operand(2) if t.operand_name(2) else None
    if not isinstance(b, Known):
        b = t.call("transpose", [b], [[1, 0]]) if turned else b
        y = t.call("matmul", [x, b])
        y = y if alpha == 1.0 else t.binary("*", y, alpha)
        return y if c is None else t.binary("+", y, c if beta == 1.0 else t.binary("*", c, beta))
    weight = b.same * np.float32(alpha) if alpha != 1.0 else b.same
    if weight.ndim != 2:
        raise Untranslated("its weights are no matrix")
    out = weight.shape[0 if turned else 1]
    bias: Array | None = None
    if isinstance(c, Known) and c.same.size in (1, out) and c.same.shape[-1:] in ((), (1,), (out,)):
        bias = np.broadcast_to((c.same * np.float32(beta)).reshape(-1), (out,))
    y = linear(t, x, weight, bias, turned, b.source)
    if c is None or bias is not None:
        return y
    return t.binary("+", y, c if beta == 1.0 else t.binary("*", t.as_tensor(c), beta))


def linear(t: Translator, x: Tensor, weight: Array, bias: Array | None, turned: bool, source: str) -> Tensor:
    """A product of the last axis with weights."""
    settings: dict[str, Any] = {"bias": False} if bias is None else {}
    settings |= {"axis": -1} if x.rank != 2 else {}
    settings |= {} if turned else {"transpose": True}
    arrays = {"weight": weight, **({} if bias is None else {"bias": bias})}
    out = weight.shape[0 if turned else 1]
    label = t.label(source)
    y = t.call("linear", [x], [out], label=label, weights=arrays, **settings)
    y.unbiased = label if bias is None else ""
    return y


def matmul(t: Translator) -> Value:
    a, b = t.operand(0), t.operand(1)
    if isinstance(b, Known) and b.arrays[0].ndim == 2 and isinstance(a, Tensor):
        return linear(t, a, b.same, None, False, b.source)
    left, right = t.as_tensor(a), t.as_tensor(b)
    if min(left.rank, right.rank) < 2:
        raise Untranslated("a product with a vector")
    return t.call("matmul", [left, right])


def batch_norm(t: Translator) -> Tensor:
    x = t.tensor(0)
    if t.integer("training_mode", 0):
        raise Untranslated("it is in training mode")
    weight, bias, mean, variance = (_weight(t, index) for index in (1, 2, 3, 4))
    eps = t.number("epsilon", 1e-5)
    arrays = {"weight": weight.same, "bias": bias.same, "mean": mean.same, "variance": variance.same}
    arrays["factor"] = np.ones(1, np.float32)
    settings: dict[str, Any] = {"eps": eps} if eps != 1e-5 else {}
    return t.call("batch_norm", [x], label=t.label(weight.source), weights=arrays, **settings)


def lrn(t: Translator) -> Tensor:
    size = t.integer("size", 0)
    if size % 2 == 0:
        raise Untranslated(f"a window of {size} channels, netc has odd ones")
    settings: dict[str, Any] = {
        "alpha": t.number("alpha", 1e-4),
        "beta": t.number("beta", 0.75),
        "k": t.number("bias", 1.0),
    }
    settings = {name: value for name, value in settings.items() if value != {"alpha": 1, "beta": 0.75, "k": 1}[name]}
    return t.call("lrn", [t.tensor(0)], [size], **settings)


def layer_norm(t: Translator) -> Tensor:
    x, weight, bias = t.tensor(0), _weight(t, 1), t.known(2)
    first, eps = t.integer("axis", -1) % x.rank, t.number("epsilon", 1e-5)
    shift = np.zeros_like(weight.same) if bias is None else bias.same
    settings: dict[str, Any] = {"axis": first} if first != x.rank - 1 else {}
    settings |= {"eps": eps} if eps != 1e-5 else {}
    return t.call(
        "layer_norm", [x], label=t.label(weight.source), weights={"weight": weight.same, "bias": shift}, **settings
    )


def instance_norm(t: Translator) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over space, then scaled and shifted for each channel."""
    x, weight, bias = t.tensor(0), _weight(t, 1), t.known(2)
    t.bound(x)
    y = t.call("layer_norm", [x], axis=2, affine=False, eps=t.number("epsilon", 1e-5))
    shift = np.zeros_like(weight.same) if bias is None else bias.same
    arrays = {"weight": weight.same, "bias": shift}
    return t.call("scale", [y], label=t.label(weight.source), weights=arrays, bias=True)


def prelu(t: Translator) -> Tensor:
    x, slope = t.tensor(0), _weight(t, 1)
    array = slope.same
    weights: Array
    shared: bool | None
    if array.size == 1:
        weights, shared = array.reshape(()), True
    elif x.rank > 1 and array.size == x.size(1) == math.prod(array.shape) and array.ndim >= x.rank - 1:
        place = array.ndim - x.rank + 1
        if array.shape[place] != array.size:
            raise Untranslated(f"a slope of shape {list(array.shape)}")
        weights, shared = array.reshape(-1), None
    else:
        raise Untranslated(f"a slope of shape {list(array.shape)}")
    return t.call("prelu", [x], label=t.label(slope.source), weights={"weight": weights}, channel_shared=shared)


def softmax(t: Translator) -> Tensor:
    """Along an axis; before version 13 over all axes from that one on."""
    x = t.tensor(0)
    axis = t.integer("axis", 1 if t.opset < 13 else -1) % x.rank
    if t.opset >= 13 or all(n == 1 for shape in x.shapes for n in shape[axis + 1 :]):
        return t.call("softmax", [x], axis=axis if axis != 1 else None)
    flat = t.reshaped(x, [(math.prod(shape[:axis]), math.prod(shape[axis:])) for shape in x.shapes])
    return t.reshaped(t.call("softmax", [flat]), x.shapes)


def log_softmax(t: Translator) -> Tensor:
    return t.call("log", [softmax(t)])


def einsum(t: Translator) -> Tensor:
    """A sum of products of two tensors, as a product of matrices: axes of both, of one, and those that are summed."""
    text = re.sub(r"\s", "", str(t.attr("equation", "")))
    found = re.fullmatch(r"([A-Za-z]+),([A-Za-z]+)->([A-Za-z]*)", text)
    if found is None or len(t.node.inputs) != 2 or any(len(set(part)) < len(part) for part in found.groups()):
        raise Untranslated(f"the equation {text[:60]}")
    left, right, result = found.groups()
    a, b = t.tensor(0), t.tensor(1)
    batch = [c for c in left if c in right and c in result]
    summed = [c for c in left if c in right and c not in result]
    rows, columns = ([c for c in one if c not in other] for one, other in ((left, right), (right, left)))
    if (a.rank, b.rank) != (len(left), len(right)) or set(result) != {*batch, *rows, *columns} or not summed:
        raise Untranslated(f"the equation {text[:60]}")
    sizes = [
        dict(zip((*left, *right), (*x, *y), strict=True)) for x, y in zip(a.shapes, b.shapes, strict=True)
    ]  # of each letter, for each batch
    first = _matrix(t, a, left, [batch, rows, summed], sizes)
    second = _matrix(t, b, right, [batch, summed, columns], sizes)
    y = t.call("matmul", [first, second])
    whole = [*batch, *rows, *columns]
    y = t.reshaped(y, [tuple(size[c] for c in whole) for size in sizes])
    order = [whole.index(c) for c in result]
    return y if order == sorted(order) else t.call("transpose", [y], [order])


def _matrix(t: Translator, x: Tensor, letters: str, groups: list[list[str]], sizes: list[dict[str, int]]) -> Tensor:
    """A tensor with its axes in groups, the last two of which become one axis each."""
    order = [letters.index(c) for group in groups for c in group]
    x = x if order == sorted(order) else t.call("transpose", [x], [order])
    shapes = [
        (*(size[c] for c in groups[0]), *(math.prod(size[c] for c in group) for group in groups[1:])) for size in sizes
    ]
    return t.reshaped(x, shapes)
