"""Elementwise primitives. Operands have one shape and (but for `where`, `cast`) one element type: `expr` broadcasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..graph import Node
from ..types import FLOATS, NUMPY_DTYPES, Dim, TensorType
from .base import Array, Op, Policy, Spelled, Vjp, check, register
from .rounding import (
    DIVISION,
    ELEMENTARY,
    POWER,
    ROOT,
    Bound,
    Evaluation,
    Rounding,
    bilinear,
    first,
    larger,
    reach,
    stepped,
    undecided,
    units,
)
from .source import const, splat


def same(*types: TensorType) -> TensorType:
    check(all(t == types[0] for t in types), lambda: f"operands differ: {', '.join(map(str, types))}")
    if 1 in types[0].shape:  # which may be a batch of one record, whose name one of them has
        return next((t for t in types if any(isinstance(n, Dim) for n in t.shape)), types[0])
    return types[0]


def floating(*types: TensorType) -> TensorType:
    check(types[0].is_float, lambda: f"needs floating-point numbers, not {types[0]}")
    return same(*types)


def _compared(*types: TensorType) -> TensorType:
    return same(*types).with_dtype("bool")


def pointwise(
    name: str,
    numpy: Callable[..., Any],
    vjp: Vjp | None,
    rounding: Rounding,
    *,
    infer: Callable[..., TensorType] = same,
    flops: int = 1,
    policy: Policy | None = None,
    commutes: bool = False,
    spelled: Mapping[str, Spelled] | None = None,
) -> Op:
    """Register an elementwise op: `flops` operations an element, in f32 where it rounds."""

    def cost(y: TensorType, *_: TensorType, **__: Any) -> int:
        return flops * y.count

    policy = policy or ("f32" if rounding.own else "exact")
    return register(Op(name, "pointwise", infer, numpy, vjp, cost, rounding, policy, commutes, spelled or {}))


def like(x: Node, value: float) -> Node:
    """The constant `value` in x's shape and element type."""
    return const(value=value, shape=x.shape, dtype=x.dtype)


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's meaning without its warnings: infinities and NaN are values here, as they are on a GPU."""

    def call(*arrays: Array) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return call


def _add_rounding(at: Evaluation) -> Array:
    """By the operands, not the result: a pass may have summed in another order, with larger partial sums."""
    return np.asarray(at.unit * (at.size(0) + at.size(1)))


add: Op = pointwise(
    "add", np.add, lambda g, y, a, b: (g, g), Rounding(lambda at, a, b: a + b, _add_rounding), commutes=True
)
mul: Op = pointwise(
    "mul",
    quiet(np.multiply),
    lambda g, y, a, b: (mul(g, b), mul(g, a)),
    Rounding(bilinear, units(1.0)),
    commutes=True,
)


def _div_spread(at: Evaluation, ea: Array, eb: Array) -> Array:
    top = ea + np.abs(at.value) * eb
    return np.where(top == 0, 0.0, top / np.maximum(at.size(1) - eb, 0.0))


div: Op = pointwise(
    "div",
    quiet(np.divide),
    lambda g, y, a, b: (div(g, b), neg(div(mul(g, y), b))),
    Rounding(_div_spread, units(DIVISION)),
    infer=floating,
    flops=4,
)
neg: Op = pointwise("neg", np.negative, lambda g, y, x: (neg(g),), Rounding(first))

# x log2(e) is rounded before 2 is raised to it: that is |x| units more.
exp: Op = pointwise(
    "exp",
    quiet(np.exp),
    lambda g, y, x: (mul(g, y),),
    Rounding(lambda at, e: at.value * np.expm1(e), lambda at: (ELEMENTARY + at.size(0)) * at.rounded),
    infer=floating,
    flops=8,
)


def _log_spread(at: Evaluation, e: Array) -> Array:
    x = at.size(0)
    return np.where(e == 0, 0.0, np.where(e < x, -np.log1p(-e / x), np.inf))


# The GPU's logarithm has an absolute error near 1.
log: Op = pointwise(
    "log",
    quiet(np.log),
    lambda g, y, x: (div(g, x),),
    Rounding(_log_spread, lambda at: ELEMENTARY * (at.rounded + at.unit)),
    infer=floating,
    flops=8,
)
sqrt: Op = pointwise(
    "sqrt",
    quiet(np.sqrt),
    lambda g, y, x: (div(mul(g, like(g, 0.5)), y),),
    Rounding(lambda at, e: np.fmin(np.sqrt(e), e / at.value), units(ROOT)),
    infer=floating,
    flops=4,
)
tanh: Op = pointwise(
    "tanh",
    np.tanh,
    lambda g, y, x: (mul(g, add(like(y, 1.0), neg(mul(y, y)))),),
    Rounding(lambda at, e: e * (1 - np.tanh(np.maximum(at.size(0) - e, 0.0)) ** 2), units(ELEMENTARY)),
    infer=floating,
    flops=8,
)
floor: Op = pointwise("floor", np.floor, None, Rounding(turned=lambda at: stepped(at, np.floor)), infer=floating)


def _compared_turned(at: Evaluation) -> Bound:
    """1 where the margin of a comparison lies within the bounds of its sides.

    `less(a, max(a, b))` is `less(a, b)`: a maximum that is one of its sides is no doubt, but where b is near.
    """
    a, b = at.node.inputs
    if a is b:
        return None
    found = undecided(at)
    for side, other, bounded in ((a, b, at.operands[1]), (b, a, at.operands[0])):
        if side in other.inputs and bounded.near is not None:
            found = bounded.near
    return np.where(found, 1.0, 0.0) if np.any(found) else None


less: Op = pointwise("less", np.less, None, Rounding(turned=_compared_turned), infer=_compared)
equal: Op = pointwise("equal", np.equal, None, Rounding(turned=_compared_turned), infer=_compared, commutes=True)

# The gradient goes to the larger operand; to the first where both are equal. It is told by the result: `less(a, y)` is
# `less(a, b)`, and where `a` is a constant the second operand need not be kept for the backward pass.
maximum: Op = pointwise(
    "max",
    np.maximum,
    lambda g, y, a, b: (where(less(a, y), like(g, 0.0), g), where(less(a, y), g, like(g, 0.0))),
    Rounding(larger, near=undecided),
)
minimum: Op = pointwise(
    "min",
    np.minimum,
    lambda g, y, a, b: (where(less(y, a), like(g, 0.0), g), where(less(y, a), g, like(g, 0.0))),
    Rounding(larger, near=undecided),
)


def _pow_vjp(g: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    if splat(b) == 0.0:
        # 0 * a ** -1 would be NaN at 0, where a ** 0 is as flat as anywhere.
        return None, None
    base = mul(g, mul(b, pow_(a, add(b, like(b, -1.0)))))
    # A constant exponent asks for no gradient, and log of a negative base would make one of NaN.
    if b.op is const:
        return base, None
    # 0 ** b is flat in b, although log(0) is not finite.
    return base, mul(g, mul(y, log(where(equal(a, like(a, 0.0)), like(a, 1.0), a))))


def _pow_spread(at: Evaluation, ea: Array, eb: Array) -> Array:
    """|y| (exp(|b| l + eb (|log a| + l)) - 1) with l = -log(1 - ea/|a|); (|a| + ea)^b where a may be 0."""
    a, b = at.size(0), at.x(1)
    known = np.where(a > 0, a, 1.0)
    near = np.where(ea < a, -np.log1p(-np.where(ea < a, ea / known, 0.0)), np.inf)
    logs = np.where(eb == 0, 0.0, eb * (np.abs(np.log(known)) + near))
    grown = np.abs(at.value) * np.expm1(np.where(b == 0, 0.0, np.abs(b) * near) + logs)
    at_zero = np.where(b > 0, (a + ea) ** np.abs(b), np.inf)
    return np.where((ea == 0) & (eb == 0), 0.0, np.where(ea < a, grown, at_zero))


def _pow_rounding(at: Evaluation) -> Array:
    a = at.size(0)
    return np.asarray((POWER + 2 * np.abs(at.x(1) * np.log2(np.where(a > 0, a, 1.0)))) * at.rounded)


pow_: Op = pointwise("pow", quiet(np.power), _pow_vjp, Rounding(_pow_spread, _pow_rounding), infer=floating, flops=16)


def _abs_vjp(g: Node, y: Node, x: Node) -> tuple[Node]:
    zero = like(x, 0.0)
    return (where(less(x, zero), neg(g), where(less(zero, x), g, like(g, 0.0))),)


abs_: Op = pointwise("abs", np.abs, _abs_vjp, Rounding(first))


def _where_type(c: TensorType, a: TensorType, b: TensorType) -> TensorType:
    check(c.dtype == "bool" and c.shape == a.shape, lambda: f"the condition is {c}, the values are {a}")
    return same(a, b)


def _where_spread(at: Evaluation, _: Array, a: Array, b: Array) -> Array:
    found, doubt = np.where(at.x(0), a, b), at.operands[0].choice
    return found if doubt is None else np.where(doubt > 0, np.maximum(a, b), found)


def _where_turned(at: Evaluation) -> Bound:
    """The distance between the two values, where it is in doubt which is chosen."""
    doubt = at.operands[0].choice
    if doubt is None:
        return None
    return np.where(doubt > 0, np.abs(np.subtract(at.x(1), at.x(2), dtype=np.float64)), 0.0)


where: Op = pointwise(
    "where",
    np.where,
    lambda g, y, c, a, b: (None, where(c, g, like(g, 0.0)), where(c, like(g, 0.0), g)),
    Rounding(_where_spread, turned=_where_turned),
    infer=_where_type,
)

# The value of the first operand; the gradient goes to the second only. `stop(x)` is `surrogate(x, 0)`.
surrogate: Op = pointwise(
    "surrogate", lambda value, path: value, lambda g, y, value, path: (None, g), Rounding(first), flops=0
)


def _cast_type(x: TensorType, *, dtype: str) -> TensorType:
    check(dtype in NUMPY_DTYPES, f"{dtype} is no element type")
    return x.with_dtype(dtype)


def _cast(x: Array, *, dtype: str) -> Array:
    # Floats become integers by truncation, as in C.
    return x if dtype in FLOATS else x.astype(NUMPY_DTYPES[dtype])


def _cast_vjp(g: Node, y: Node, x: Node, *, dtype: str) -> tuple[Node | None]:
    return (cast(g, dtype=x.dtype) if x.type.is_float and y.type.is_float else None,)


def _cast_spread(at: Evaluation, e: Array) -> Bound:
    """Between floats an error stays; what becomes whole is a matter of choice."""
    return e if at.node.type.is_float or not at.node.inputs[0].type.is_float else None


def _cast_rounding(at: Evaluation) -> Bound:
    source = at.node.inputs[0]
    if source.type.is_float:
        return at.rounded if at.unit > at.arithmetic.unit(source.dtype) else None
    return np.where(at.rounded > 0.5, at.rounded, 0.0)


def _cast_turned(at: Evaluation) -> Bound:
    if at.node.type.is_float or not at.node.inputs[0].type.is_float:
        return None
    if at.node.dtype != "bool":
        return stepped(at, np.trunc)
    far = reach(at.operands[0], at)
    return np.where((at.size(0) <= far) & (far > 0), 1.0, 0.0)


cast: Op = pointwise(
    "cast",
    _cast,
    _cast_vjp,
    Rounding(_cast_spread, _cast_rounding, _cast_turned),
    infer=_cast_type,
    policy="exact",
)
