"""The rules of the error analysis, one for each primitive: what becomes of operands' errors, what is added.

`SPREAD[op](node, operands, value, parts)` takes a bound for each operand (None: exact) and gives that of the result;
errors and choices go through it alike, since both are bounds on a difference. `FRESH[op]` is the op's own rounding.
`TURNED[op]` is the difference that undecided choices make. A completeness test names an op without a rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.ops.source import splat
from ..compiler.types import FLOATS
from .budget import SMALLEST, TF32, Arithmetic, Array, Bounded

Parts = Sequence[Array | None]
Spread = Callable[[Node, Sequence[Bounded], Array, Parts], "Array | None"]
Fresh = Callable[[Node, Sequence[Bounded], Array, Arithmetic], "Array | None"]

# Units of rounding of what is no single correctly rounded operation: numpy's vector loops and the GPU's fast ones are
# at most so far off.
DIVISION, ROOT, ELEMENTARY, POWER = 3.0, 2.0, 4.0, 8.0


def bounds_of(
    node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic
) -> tuple[Array | None, Array | None]:
    """The error and the choice of a node's value."""
    name = node.op.name
    spread = SPREAD.get(name, _none)
    inexact = any(x.error is not None for x in operands)
    chosen = any(x.choice is not None for x in operands)
    error = spread(node, operands, value, [x.error for x in operands]) if inexact else None
    choice = spread(node, operands, value, [x.choice for x in operands]) if chosen else None
    if node.dtype in FLOATS and name in FRESH:
        error = _sum(error, _rounded(node, value, FRESH[name](node, operands, value, arithmetic)))
    if name in TURNED and (inexact or chosen):
        choice = _sum(choice, TURNED[name](node, operands, value, arithmetic))
    return (error if node.dtype in FLOATS else None), choice


def _sum(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else a + b


def _rounded(node: Node, value: Array, fresh: Array | None) -> Array | None:
    """The rounding of a result; an infinity is exact, and below the smallest number a result may become zero."""
    if fresh is None:
        return None
    return np.where(np.isfinite(value), fresh + np.where(value != 0, SMALLEST[node.dtype], 0.0), 0.0)


def _filled(operands: Sequence[Bounded], parts: Parts) -> list[Array]:
    return [np.zeros(x.value.shape) if p is None else p for x, p in zip(operands, parts, strict=True)]


def _none(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    return None


def _first(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    return parts[0]


def _added(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    return _sum(parts[0], parts[1])


def _bilinear(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    """(|a| + ea) eb + ea |b|, for products of any kind."""
    a, b = (np.abs(x.value) for x in operands)
    ea, eb = parts
    found = None
    if eb is not None:
        found = _magnitudes(node, a if ea is None else a + ea, eb)
    if ea is not None:
        found = _sum(found, _magnitudes(node, ea, b))
    return found


def _magnitudes(node: Node, a: Array, b: Array) -> Array:
    """The node's op on what is not negative, in single precision, since a bound needs few digits.

    Both are scaled to at most 1, so that nothing overflows; what is infinite stays so.
    """
    if node.op.name == "mul":
        return np.asarray(a * b)
    sizes = [float(x.max(initial=0.0)) for x in (a, b)]
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        return np.asarray(node.op.numpy(a, b, **node.attrs))
    scaled = ((x / size).astype(np.float32) for x, size in zip((a, b), sizes, strict=True))
    found: Array = np.maximum(node.op.numpy(*scaled, **node.attrs).astype(np.float64), 0.0) * (sizes[0] * sizes[1])
    return found


def _divided(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    ea, eb = _filled(operands, parts)
    top = ea + np.abs(value) * eb
    return np.where(top == 0, 0.0, top / np.maximum(np.abs(operands[1].value) - eb, 0.0))


def _exp(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    e = parts[0]
    return None if e is None else value * np.expm1(e)


def _log(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    e, x = parts[0], operands[0].value
    return None if e is None else np.where(e == 0, 0.0, np.where(e < np.abs(x), -np.log1p(-e / np.abs(x)), np.inf))


def _sqrt(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    e = parts[0]
    return None if e is None else np.fmin(np.sqrt(e), e / value)


def _tanh(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    e = parts[0]
    return None if e is None else e * (1 - np.tanh(np.maximum(np.abs(operands[0].value) - e, 0.0)) ** 2)


def _pow(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    """|y| (exp(|b| l + eb (|log a| + l)) - 1) with l = -log(1 - ea/|a|); (|a| + ea)^b where a may be 0."""
    ea, eb = _filled(operands, parts)
    a, b = np.abs(operands[0].value), operands[1].value
    near = np.where(ea < a, -np.log1p(-np.where(ea < a, ea / np.where(a > 0, a, 1.0), 0.0)), np.inf)
    logs = np.where(eb == 0, 0.0, eb * (np.abs(np.log(np.where(a > 0, a, 1.0))) + near))
    grown = np.abs(value) * np.expm1(np.where(b == 0, 0.0, np.abs(b) * near) + logs)
    at_zero = np.where(b > 0, (a + ea) ** np.abs(b), np.inf)
    return np.where((ea == 0) & (eb == 0), 0.0, np.where(ea < a, grown, at_zero))


def _larger(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    a, b = _filled(operands, parts)
    return np.maximum(a, b)


def _chosen(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    a, b = _filled(operands[1:], parts[1:])
    found: Array = np.where(operands[0].value, a, b)
    undecided = operands[0].choice
    return found if undecided is None else np.where(undecided > 0, np.maximum(a, b), found)


def _moved(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    """Bounds are moved as values are, and padded with zeros."""
    attrs = {**node.attrs, "value": 0.0} if node.op is ops.pad else node.attrs
    return np.asarray(node.op.numpy(*_filled(operands, parts), **attrs))


def _summed(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    e = parts[0]
    return None if e is None else e.sum(node.attrs["axes"], keepdims=True)


def _largest(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    e = parts[0]
    return None if e is None else e.max(node.attrs["axes"], keepdims=True)


def _converted(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    """Between floats an error stays; what becomes whole is a matter of choice (`_truncated`)."""
    return parts[0] if node.dtype in FLOATS or not node.inputs[0].type.is_float else None


def _taken(node: Node, operands: Sequence[Bounded], value: Array, parts: Parts) -> Array | None:
    """Rows by number; with a number in doubt anything may be meant."""
    index = 1 if node.op is ops.gather else 0
    rows, doubt = parts[1 - index], parts[index]
    if doubt is not None and np.any(doubt > 0):
        return np.full(value.shape, np.inf)
    if rows is None:
        return None
    number = operands[index].value
    pair = (rows, number) if index else (number, rows)
    return np.asarray(node.op.numpy(*pair, **node.attrs))


SPREAD: dict[str, Spread] = {
    **dict.fromkeys(("add",), _added),
    **dict.fromkeys(("mul", "dot", "conv", "conv_data_grad", "conv_weight_grad"), _bilinear),
    "div": _divided,
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "tanh": _tanh,
    "pow": _pow,
    **dict.fromkeys(("neg", "abs", "surrogate"), _first),
    **dict.fromkeys(("max", "min"), _larger),
    "where": _chosen,
    "cast": _converted,
    **dict.fromkeys(("reshape", "transpose", "broadcast", "pad", "slice", "concat", "window", "unwindow"), _moved),
    "sum": _summed,
    "max_reduce": _largest,
    **dict.fromkeys(("gather", "scatter_add"), _taken),
    **dict.fromkeys(("const", "iota", "random", "floor", "less", "equal", "argmax"), _none),
}


def _units(count: float) -> Fresh:
    def fresh(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
        return count * arithmetic.unit(node.dtype) * np.abs(value)

    return fresh


def _add(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
    """By the operands, not the result: a pass may have summed in another order, with larger partial sums."""
    return arithmetic.unit(node.dtype) * (np.abs(operands[0].value) + np.abs(operands[1].value))


def _exponential(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
    """x log2(e) is rounded before 2 is raised to it: that is |x| units more."""
    return arithmetic.unit(node.dtype) * (ELEMENTARY + np.abs(operands[0].value)) * np.abs(value)


def _logarithm(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
    """The GPU's logarithm has an absolute error near 1."""
    return ELEMENTARY * arithmetic.unit(node.dtype) * (np.abs(value) + 1.0)


def _power(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
    a = np.abs(operands[0].value)
    exponent = np.abs(operands[1].value * np.log2(np.where(a > 0, a, 1.0)))
    found: Array = arithmetic.unit(node.dtype) * (POWER + 2 * exponent) * np.abs(value)
    return found


def _held(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    """A constant is rounded to its type, unless the type holds it."""
    number = splat(node)
    if number is None or (node.dtype == "f32" and float(np.float32(number)) == number) or node.dtype == "f64":
        return None
    return arithmetic.unit(node.dtype) * np.abs(value)


def _cast(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    source, unit = node.inputs[0], arithmetic.unit(node.dtype)
    if source.type.is_float:
        return unit * np.abs(value) if unit > arithmetic.unit(source.dtype) else None
    return np.where(np.abs(value) * unit > 0.5, unit * np.abs(value), 0.0)


def _sums(unit: float, n: int, total: Array, magnitudes: Array, squares: Array) -> Array:
    """u sqrt(n) (S + S1/4 + Q), from the sums of the terms, of their magnitudes and of their squares."""
    found: Array = unit * math.sqrt(n) * (np.abs(total) + magnitudes / 4 + np.sqrt(np.maximum(squares, 0.0)))
    return found


def _sum_rounding(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    x, axes = operands[0].value, node.attrs["axes"]
    n = math.prod(x.shape[a] for a in axes)
    if n < 2:
        return None
    magnitudes = np.abs(x).sum(axes, keepdims=True)
    likely = _sums(arithmetic.inner(node.dtype), n, value, magnitudes, (x * x).sum(axes, keepdims=True))
    certain = (n - 1) * arithmetic.inner(node.dtype) * magnitudes
    # The last rounding is that of the result's own type.
    found: Array = np.fmin(likely, certain) + arithmetic.unit(node.dtype) * np.abs(value)
    return found


def _terms(node: Node) -> int:
    """How many products an element of a contraction sums."""
    a, b = node.inputs
    if node.op is ops.dot:
        return int(a.shape[-1])
    if node.op is ops.conv:
        return math.prod(b.shape[1:])
    if node.op is ops.conv_data_grad:
        return math.prod((b.shape[0] // node.attrs["groups"], *b.shape[2:]))
    return math.prod((b.shape[0], *b.shape[2:]))


def _product(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
    a, b = (np.abs(x.value) for x in operands)
    squares, magnitudes = _magnitudes(node, a * a, b * b), _magnitudes(node, a, b)
    found = _sums(arithmetic.inner(node.dtype), max(_terms(node), 1), value, magnitudes, squares)
    if arithmetic.tf32 and node.inputs[0].dtype == "f32":
        found = found + 2 * TF32 * np.sqrt(squares)
    return found + arithmetic.unit(node.dtype) * np.abs(value)


def _overlapping(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array:
    """Elements that several windows share, or rows that several numbers name, are summed."""
    if node.op is ops.unwindow:
        x = operands[0].value
        n = math.prod(-(-k // s) for k, s in zip(node.attrs["sizes"], node.attrs["strides"], strict=True))
        magnitudes, squares = (node.op.numpy(part, **node.attrs) for part in (np.abs(x), x * x))
    else:
        index, x = operands[0].value, operands[1].value
        n = int(np.bincount(np.clip(index.ravel(), 0, node.attrs["size"] - 1), minlength=1).max())
        magnitudes, squares = (node.op.numpy(index, part, **node.attrs) for part in (np.abs(x), x * x))
    likely = _sums(arithmetic.inner(node.dtype), n, value, magnitudes, squares)
    return likely + arithmetic.unit(node.dtype) * np.abs(value)


FRESH: dict[str, Fresh] = {
    "add": _add,
    "mul": _units(1.0),
    "div": _units(DIVISION),
    "exp": _exponential,
    "log": _logarithm,
    "sqrt": _units(ROOT),
    "tanh": _units(ELEMENTARY),
    "pow": _power,
    "const": _held,
    "cast": _cast,
    "sum": _sum_rounding,
    **dict.fromkeys(("dot", "conv", "conv_data_grad", "conv_weight_grad"), _product),
    **dict.fromkeys(("unwindow", "scatter_add"), _overlapping),
}


def _reach(x: Bounded, arithmetic: Arithmetic) -> Array:
    found = x.reach(arithmetic.safety)
    return np.zeros(x.value.shape) if found is None else found


def near_of(node: Node, operands: Sequence[Bounded], arithmetic: Arithmetic) -> Array | None:
    """Where the operands of a maximum or minimum are so near to each other that either may be taken."""
    if node.op not in (ops.maximum, ops.minimum):
        return None
    return _undecided(operands[0], operands[1], arithmetic)


def _undecided(a: Bounded, b: Bounded, arithmetic: Arithmetic) -> Array:
    total = _reach(a, arithmetic) + _reach(b, arithmetic)
    found: Array = (np.abs(np.subtract(a.value, b.value, dtype=np.float64)) <= total) & (total > 0)
    return found


def _compared(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    """1 where the margin of a comparison lies within the bounds of its sides.

    `less(a, max(a, b))` is `less(a, b)`: a maximum that is one of its sides is no doubt, but where b is near.
    """
    a, b = node.inputs
    if a is b:
        return None
    undecided = _undecided(operands[0], operands[1], arithmetic)
    for side, other, found in ((a, b, operands[1]), (b, a, operands[0])):
        if side in other.inputs and found.near is not None:
            undecided = found.near
    return np.where(undecided, 1.0, 0.0) if np.any(undecided) else None


def _switched(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    """The distance between the two values, where it is in doubt which is chosen."""
    undecided = operands[0].choice
    if undecided is None:
        return None
    a, b = (np.asarray(x.value, np.float64) for x in operands[1:])
    return np.where(undecided > 0, np.abs(a - b), 0.0)


def _stepped(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    """Steps of one that lie within the bounds of the operand."""
    if node.op is ops.cast and (node.dtype in FLOATS or not node.inputs[0].type.is_float):
        return None
    x, reach = operands[0].value, _reach(operands[0], arithmetic)
    whole = np.floor if node.op is ops.floor else np.trunc
    found: Array = np.abs(whole(x + reach) - whole(x - reach))
    if node.dtype == "bool":
        found = ((np.abs(x) <= reach) & (reach > 0)).astype(np.float64)
    return found if np.any(found) else None


def _ranked(node: Node, operands: Sequence[Bounded], value: Array, arithmetic: Arithmetic) -> Array | None:
    """The number of elements, where another could be the largest as well."""
    x, axes = np.asarray(operands[0].value, np.float64), node.attrs["axes"]
    reach = _reach(operands[0], arithmetic)
    best = np.fmax.reduce(x, axis=axes, keepdims=True)
    of_best = np.max(np.where(x == best, reach, 0.0), axis=axes, keepdims=True)
    rivals = (x + reach + of_best >= best) & (reach + of_best > 0)
    undecided = rivals.sum(axes, keepdims=True) > 1
    n = math.prod(x.shape[a] for a in axes)
    return np.where(undecided, float(n), 0.0) if np.any(undecided) else None


TURNED: dict[str, Fresh] = {
    **dict.fromkeys(("less", "equal"), _compared),
    "where": _switched,
    **dict.fromkeys(("floor", "cast"), _stepped),
    "argmax": _ranked,
}
