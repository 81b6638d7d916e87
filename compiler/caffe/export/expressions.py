"""Instruction selection for arithmetic: operations between tensors, and layers that Caffe lacks, by layers it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....grammar.caffe.message import Message
from .making import Call, Operand, put, sub, trimmed

APART = "Caffe's layers take tensors of one shape, or one that is spread over the first axes: use scale(by:)"


def add(call: Call) -> list[Message]:
    """x + y, x + 2."""
    return _sum(call, 1.0)


def subtract(call: Call) -> list[Message]:
    """x - y, x - 2, 2 - x."""
    call.said = "a difference is a sum with a factor of -1"
    return _sum(call, -1.0)


def _sum(call: Call, sign: float) -> list[Message]:
    a, b = _pair(call)
    if isinstance(a, Operand) and isinstance(b, Operand):
        small = _spread(a, b)
        if small is not None and sign == 1.0:
            return [_by(call, "Bias", *small)]
        return [_eltwise(call, "SUM", (a, b), [] if sign == 1.0 else [1, -1])]
    if isinstance(b, Operand):
        if sign == 1.0 and not isinstance(a, Operand):
            return [_power(call, b, shift=a)]
        assert not isinstance(a, Operand)
        return [_power(call, b, scale=-1.0, shift=a)]
    assert isinstance(a, Operand)
    return [_power(call, a, shift=sign * b)]


def multiply(call: Call) -> list[Message]:
    """x * y, x * 2."""
    a, b = _pair(call)
    if isinstance(a, Operand) and isinstance(b, Operand):
        small = _spread(a, b)
        return [_by(call, "Scale", *small)] if small is not None else [_eltwise(call, "PROD", (a, b))]
    if isinstance(a, Operand):
        assert not isinstance(b, Operand)
        return [_power(call, a, scale=b)]
    assert isinstance(b, Operand)
    return [_power(call, b, scale=a)]


def negate(call: Call) -> list[Message]:
    """-x."""
    call.said = "-x is a product with -1"
    return [_power(call, call.bottoms[0], scale=-1.0)]


def divide(call: Call) -> list[Message]:
    """x / 2, 2 / x."""
    a, b = _pair(call)
    if isinstance(a, Operand) and not isinstance(b, Operand):
        call.said = "a quotient is a product with the inverse"
        return [_power(call, a, scale=1.0 / b)]
    if not isinstance(a, Operand):
        assert isinstance(b, Operand)
        if a == 0.0:
            raise call.fail("0 is divided by a tensor", "write its value")
        call.said = "a number over a tensor is a power of -1"
        return [_power(call, b, scale=1.0 / a, power=-1.0)]
    raise call.fail("a tensor is divided by a tensor", "write x * y ** -1")


def power(call: Call) -> list[Message]:
    """x ** 2."""
    a, b = _pair(call)
    if not isinstance(a, Operand) or isinstance(b, Operand):
        raise call.fail("a tensor is an exponent", "Caffe raises to powers of a number, and Exp has a base of one")
    return [_power(call, a, power=b)]


def root(call: Call) -> list[Message]:
    """sqrt(x)."""
    return [_power(call, call.bottoms[0], power=0.5)]


def largest(call: Call) -> list[Message]:
    """max(x, y); max(x, 0)."""
    if len(call.bottoms) == 2 and call.bottoms[0].node.shape == call.bottoms[1].node.shape:
        return [_eltwise(call, "MAX", call.bottoms[::-1])]
    if len(call.bottoms) == 1 and call.setting("axis") is None and 0.0 in (call.setting("a"), call.setting("b")):
        return [call.layer("ReLU")]
    raise call.fail("this maximum is no layer of Caffe's", "it has those of tensors of one shape, and ReLU")


def reduction(call: Call) -> list[Message]:
    """sum(x) and mean(x), over all axes or the last ones."""
    (x,) = call.bottoms
    rank, axis = len(x.node.shape), call.setting("axis")
    axes = range(rank) if axis is None else sorted(n % rank for n in (axis if isinstance(axis, tuple) else [axis]))
    first = axes[0] if len(axes) else 0
    if call.setting("keepdims") or [*axes] != [*range(first, rank)]:
        raise call.fail("axes are summed that others follow, or are kept", "a Reduction is over the last axes of all")
    layer = call.layer("Reduction")
    own = sub(layer, "reduction_param")
    if call.info.kind == "mean":
        put(own, "operation", "MEAN", call.place)
    if first:
        put(own, "axis", first, call.place)
    return [trimmed(layer)]


EXPRESSIONS: dict[str, Callable[[Call], list[Message]]] = {
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "neg": negate,
    "div": divide,
    "pow": power,
    "sqrt": root,
    "max": largest,
    "sum": reduction,
    "mean": reduction,
}


def _pair(call: Call) -> tuple[Operand | float, Operand | float]:
    return call.operands[0][1], call.operands[1][1]


def _spread(a: Operand, b: Operand) -> tuple[Operand, Operand, int] | None:
    """The large and the small one of two tensors, and the axis from which on the small one lies along the large one.

    None for tensors of one shape; ValueError where Caffe has no layer for it.
    """
    large, small = (a, b) if len(a.node.shape) >= len(b.node.shape) else (b, a)
    shapes = large.node.shape, small.node.shape
    if shapes[0] == shapes[1]:
        return None
    axis = len(shapes[0]) - len(shapes[1])
    if shapes[0][axis:] != shapes[1]:
        raise ValueError(f"{large.node.type} and {small.node.type} differ in shape")
    return large, small, axis


def _by(call: Call, kind: str, large: Operand, small: Operand, axis: int) -> Message:
    layer = call.layer(kind, bottoms=[large, small])
    own = sub(layer, f"{kind.lower()}_param")
    if axis != 1:
        put(own, "axis", axis, call.place)
    return trimmed(layer)


def _eltwise(call: Call, operation: str, operands: Sequence[Operand], coefficients: Sequence[int] = ()) -> Message:
    if operands[0].node.shape != operands[1].node.shape:
        raise ValueError(f"{operands[0].node.type} and {operands[1].node.type} differ in shape")
    layer = call.layer("Eltwise", bottoms=operands)
    own = sub(layer, "eltwise_param")
    if operation != "SUM":
        put(own, "operation", operation, call.place)
    put(own, "coeff", [*coefficients], call.place)
    return trimmed(layer)


def _power(
    call: Call,
    x: Operand,
    *,
    power: float = 1.0,
    scale: float = 1.0,
    shift: float = 0.0,
) -> Message:
    layer = call.layer("Power", bottoms=[x])
    own = sub(layer, "power_param")
    for field, value, usual in (("power", power, 1.0), ("scale", scale, 1.0), ("shift", shift, 0.0)):
        if value != usual:
            put(own, field, value, call.place)
    return trimmed(layer)
