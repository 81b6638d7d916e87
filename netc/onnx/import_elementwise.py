"""Elementwise operators and reductions, as expressions of the language."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .folding import whole_numbers
from .import_values import Known, Tensor, Untranslated, Value, shortest
from .translating import Translator

Row = Callable[[Translator], Value | list[Tensor]]


def binary(sign: str) -> Row:
    def row(t: Translator) -> Tensor:
        return t.binary(sign, t.operand(0), t.operand(1))

    return row


def add(t: Translator) -> Tensor:
    """A sum; of a product with weights and numbers for its columns it is that layer with a bias."""
    a, b = t.operand(0), t.operand(1)
    for x, bias in ((a, b), (b, a)):
        if isinstance(x, Tensor) and isinstance(bias, Known) and bias.arrays[0].shape == x.shapes[0][-1:]:
            found = t.biased(x, bias.same)
            if found is not None:
                return found
    return t.binary("+", a, b)


def multiply(t: Translator) -> Tensor:
    """A product; of x and its own sigmoid it is `swish`."""
    a, b = t.operand(0), t.operand(1)
    for x, gate in ((a, b), (b, a)):
        if isinstance(x, Tensor) and isinstance(gate, Tensor) and t.gates(gate, "sigmoid", x):
            return t.call("swish", [x])
        if isinstance(x, Tensor) and isinstance(gate, Known) and (found := t.rescaled(x, gate.arrays[0])) is not None:
            return found
    return t.binary("*", a, b)


def several(sign: str) -> Row:
    """A sum (`+`) of any number of operands."""

    def row(t: Translator) -> Tensor:
        y: Value = t.operand(0)
        for index in range(1, len(t.node.inputs)):
            y = t.binary(sign, y, t.operand(index))
        return t.as_tensor(y)

    return row


def extreme(layer: str) -> Row:
    """The largest or the smallest of several operands."""

    def row(t: Translator) -> Tensor:
        y: Value = t.operand(0)
        for index in range(1, len(t.node.inputs)):
            other = t.operand(index)
            first, second = (other, y) if isinstance(other, Tensor) and not isinstance(y, Tensor) else (y, other)
            number = t.scalar(second)
            y = t.call(layer, [t.as_tensor(first), t.as_tensor(second) if number is None else number])
        return t.as_tensor(y)

    return row


def compare(relation: str) -> Row:
    def row(t: Translator) -> Tensor:
        return t.compare(relation, t.operand(0), t.operand(1))

    return row


def layer(name: str) -> Row:
    """A layer of one tensor, without settings."""
    return lambda t: t.call(name, [t.tensor(0)])


def neg(t: Translator) -> Tensor:
    return t.binary("*", t.tensor(0), -1.0)


def reciprocal(t: Translator) -> Tensor:
    return t.binary("/", 1.0, t.tensor(0))


def leaky_relu(t: Translator) -> Tensor:
    return t.call("relu", [t.tensor(0)], negative_slope=t.number("alpha", 0.01))


def elu(t: Translator) -> Tensor:
    alpha = t.number("alpha", 1.0)
    return t.call("elu", [t.tensor(0)], alpha=alpha if alpha != 1 else None)


def selu(t: Translator) -> Tensor:
    y = t.call("elu", [t.tensor(0)], alpha=t.number("alpha", 1.67326319))
    return t.binary("*", y, t.number("gamma", 1.05070102))


def clip(t: Translator) -> Tensor:
    """Its bounds are attributes before version 11, operands since."""
    x = t.tensor(0)
    if t.opset < 11:
        low, high = t.attr("min"), t.attr("max")
    else:
        low, high = (t.scalar(value) if (value := t.known(index)) is not None else None for index in (1, 2))
    low, high = (None if n is None or abs(n) > 3e38 or not math.isfinite(n) else float(n) for n in (low, high))
    if low is not None and high is not None:
        return t.call("clip", [x], min=shortest(low), max=shortest(high))
    if low is not None:
        return t.call("relu", [x]) if low == 0 else t.call("max", [x, low])
    return t.call("min", [x, high]) if high is not None else x


def hard_sigmoid(t: Translator) -> Tensor:
    return _hard(t, t.tensor(0), t.number("alpha", 0.2), t.number("beta", 0.5))


def _hard(t: Translator, x: Tensor, alpha: float, beta: float) -> Tensor:
    return t.call("clip", [t.binary("+", t.binary("*", x, alpha), beta)], min=0, max=1)


def hard_swish(t: Translator) -> Tensor:
    x = t.tensor(0)
    t.bound(x)
    return t.binary("*", x, _hard(t, x, 1 / 6, 0.5))


def gelu(t: Translator) -> Tensor:
    x = t.tensor(0)
    t.bound(x)
    if t.attr("approximate", "none") == "tanh":
        inner = t.binary("*", t.binary("+", x, t.binary("*", t.binary("**", x, 3.0), 0.044715)), math.sqrt(2 / math.pi))
        bent = t.call("tanh", [inner])
    else:
        bent = t.call("erf", [t.binary("*", x, math.sqrt(0.5))])
    return t.binary("*", t.binary("*", x, 0.5), t.binary("+", bent, 1.0))


def power(t: Translator) -> Value:
    exponent = t.scalar(t.operand(1))
    if exponent == 2.0:
        x = t.tensor(0)
        t.bound(x)
        return t.binary("*", x, x)
    if exponent == 0.5:
        return t.call("sqrt", [t.tensor(0)])
    return t.binary("**", t.operand(0), t.operand(1))


def where(t: Translator) -> Tensor:
    condition = t.tensor(0)
    sides = [t.operand(1), t.operand(2)]
    numbers = [t.scalar(x) for x in sides]
    operands = [t.as_tensor(x) if n is None else n for x, n in zip(sides, numbers, strict=True)]
    if condition.nodes[0].dtype != "bool":
        raise Untranslated(f"its condition is of {condition.nodes[0].dtype}")
    return t.call("where", [condition, *operands])


NAMES = {1: "f32", 2: "u8", 6: "i32", 7: "i64", 9: "bool", 11: "f64"}


def cast(t: Translator) -> Tensor:
    """To an element type of the language; floats of 16 bits stay f32, since the whole net is."""
    x, to = t.tensor(0), t.integer("to", 0)
    dtype = "f32" if to in (10, 16) else NAMES.get(to)
    if dtype is None:
        raise Untranslated(f"element type {to}")
    return x if x.nodes[0].dtype == dtype else t.call("cast", [x], to=dtype)


def logical_not(t: Translator) -> Tensor:
    return t.call("where", [t.call("cast", [t.tensor(0)], to="bool"), 0.0, 1.0])


def reduce(name: str) -> Row:
    """A reduction over axes, which are an attribute or, later, an operand."""

    def row(t: Translator) -> Tensor:
        x = t.tensor(0)
        axes = reduced_axes(t, x)
        keep = bool(t.integer("keepdims", 1))
        if axes == [] and t.integer("noop_with_empty_axes", 0):
            return x
        over = None if not axes or len(axes) == x.rank else axes[0] if len(axes) == 1 else axes
        if name == "mean" and keep and x.rank > 2 and axes == list(range(2, x.rank)):
            return t.call("avg_pool", [x], global_=True)
        return t.call(name, [x], axis=over, keepdims=True if keep else None)

    return row


def reduced_axes(t: Translator, x: Tensor) -> list[int]:
    given = t.known(1)
    axes = whole_numbers(given.same) if given is not None else list(t.integers("axes", ()))
    if any(not isinstance(a, int) or not -x.rank <= a < x.rank for a in axes):
        raise Untranslated(f"axes {axes[:40]} of {x.rank}")
    return sorted({a % x.rank for a in axes})


def norm(t: Translator) -> Tensor:
    """The root of the sum of squares."""
    x = t.tensor(0)
    t.bound(x)
    axes = reduced_axes(t, x) or list(range(x.rank))
    total = t.call("sum", [t.binary("*", x, x)], axis=axes, keepdims=True if t.integer("keepdims", 1) else None)
    return t.call("sqrt", [total])


def identity(t: Translator) -> Value:
    return t.operand(0)


def dropout(t: Translator) -> Value:
    """As it is in test mode; of what is known to train, an error."""
    training = t.known(2)
    if training is not None and bool(np.any(training.same)):
        raise Untranslated("it drops, as in training")
    if isinstance(t.operand(0), Known):
        return t.operand(0)
    ratio = t.scalar(given) if (given := t.known(1)) is not None else t.attr("ratio", 0.5)
    share = float(ratio) if ratio is not None else 0.5
    if not 0 <= share < 1:
        raise Untranslated(f"it drops a share of {share}")
    return t.call("dropout", [t.tensor(0)], [shortest(share)] if share != 0.5 else [])
