"""Elementwise primitives. Operands have one shape and (but for `where`, `cast`) one element type: `expr` broadcasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Node
from ..types import FLOATS, NUMPY_DTYPES, TensorType
from .base import Array, Op, Vjp, check, register
from .source import const, splat


def _same(*types: TensorType) -> TensorType:
    check(all(t == types[0] for t in types), f"operands differ: {', '.join(map(str, types))}")
    return types[0]


def _float(*types: TensorType) -> TensorType:
    check(types[0].is_float, f"needs floating-point numbers, not {types[0]}")
    return _same(*types)


def _compared(*types: TensorType) -> TensorType:
    return _same(*types).with_dtype("bool")


def pointwise(
    name: str,
    numpy: Callable[..., Any],
    vjp: Vjp | None,
    *,
    infer: Callable[..., TensorType] = _same,
    flops: int = 1,
) -> Op:
    """Register an elementwise op: `flops` operations an element."""
    return register(Op(name, "pointwise", infer, numpy, vjp, lambda y, *_, **__: flops * y.count))


def like(x: Node, value: float) -> Node:
    """The constant `value` in x's shape and element type."""
    return const(value=value, shape=x.shape, dtype=x.dtype)


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """numpy's meaning without its warnings: infinities and NaN are values here, as they are on a GPU."""

    def call(*arrays: Array) -> Any:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return call


add: Op = pointwise("add", np.add, lambda g, y, a, b: (g, g))
mul: Op = pointwise("mul", _quiet(np.multiply), lambda g, y, a, b: (mul(g, b), mul(g, a)))
div: Op = pointwise(
    "div", _quiet(np.divide), lambda g, y, a, b: (div(g, b), neg(div(mul(g, y), b))), infer=_float, flops=4
)
neg: Op = pointwise("neg", np.negative, lambda g, y, x: (neg(g),))
exp: Op = pointwise("exp", _quiet(np.exp), lambda g, y, x: (mul(g, y),), infer=_float, flops=8)
log: Op = pointwise("log", _quiet(np.log), lambda g, y, x: (div(g, x),), infer=_float, flops=8)
sqrt: Op = pointwise("sqrt", _quiet(np.sqrt), lambda g, y, x: (div(mul(g, like(g, 0.5)), y),), infer=_float, flops=4)
tanh: Op = pointwise(
    "tanh", np.tanh, lambda g, y, x: (mul(g, add(like(y, 1.0), neg(mul(y, y)))),), infer=_float, flops=8
)
floor: Op = pointwise("floor", np.floor, None, infer=_float)

less: Op = pointwise("less", np.less, None, infer=_compared)
equal: Op = pointwise("equal", np.equal, None, infer=_compared)

# The gradient goes to the larger operand; to the first where both are equal. It is told by the result: `less(a, y)` is
# `less(a, b)`, and where `a` is a constant the second operand need not be kept for the backward pass.
maximum: Op = pointwise(
    "max",
    np.maximum,
    lambda g, y, a, b: (where(less(a, y), like(g, 0.0), g), where(less(a, y), g, like(g, 0.0))),
)
minimum: Op = pointwise(
    "min",
    np.minimum,
    lambda g, y, a, b: (where(less(y, a), like(g, 0.0), g), where(less(y, a), g, like(g, 0.0))),
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


pow_: Op = pointwise("pow", _quiet(np.power), _pow_vjp, infer=_float, flops=16)


def _abs_vjp(g: Node, y: Node, x: Node) -> tuple[Node]:
    zero = like(x, 0.0)
    return (where(less(x, zero), neg(g), where(less(zero, x), g, like(g, 0.0))),)


abs_: Op = pointwise("abs", np.abs, _abs_vjp)


def _where_type(c: TensorType, a: TensorType, b: TensorType) -> TensorType:
    check(c.dtype == "bool" and c.shape == a.shape, f"the condition is {c}, the values are {a}")
    return _same(a, b)


where: Op = pointwise(
    "where",
    np.where,
    lambda g, y, c, a, b: (None, where(c, g, like(g, 0.0)), where(c, like(g, 0.0), g)),
    infer=_where_type,
)

# The value of the first operand; the gradient goes to the second only. `stop(x)` is `surrogate(x, 0)`.
surrogate: Op = pointwise("surrogate", lambda value, path: value, lambda g, y, value, path: (None, g), flops=0)


def _cast_type(x: TensorType, *, dtype: str) -> TensorType:
    check(dtype in NUMPY_DTYPES, f"{dtype} is no element type")
    return x.with_dtype(dtype)


def _cast(x: Array, *, dtype: str) -> Array:
    # Floats become integers by truncation, as in C.
    return x if dtype in FLOATS else x.astype(NUMPY_DTYPES[dtype])


def _cast_vjp(g: Node, y: Node, x: Node, *, dtype: str) -> tuple[Node | None]:
    return (cast(g, dtype=x.dtype) if x.type.is_float and y.type.is_float else None,)


cast: Op = pointwise("cast", _cast, _cast_vjp, infer=_cast_type)
