"""Arithmetic on constants: numbers, texts, booleans and lists, folded while a file is read.

`/` is true division, so `1/256` is no 0; whole numbers that are wanted whole are made so where they are used. Results
are finite and below 2 ** 63: nothing that a file says can make a number that takes long to compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..schema.settings import describe
from .limits import MAX_WHOLE

Constant = bool | int | float | str | tuple[Any, ...] | None
Number = int | float


class FoldError(Exception):
    """An operation that has no value: its code, what is wrong, and a hint."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def negate(value: Constant) -> Number:
    """-value."""
    if not is_number(value):
        raise FoldError("E301", f"`-` wants a number, not {describe(value)}")
    assert isinstance(value, (int, float))
    return -value


def arithmetic(sign: str, left: Constant, right: Constant) -> Number:
    """left sign right for `+ - * / **`."""
    for value in (left, right):
        if not is_number(value):
            raise FoldError("E301", f"`{sign}` wants numbers, not {describe(value)}")
    assert isinstance(left, (int, float))
    assert isinstance(right, (int, float))
    try:
        return _checked(_OPERATIONS[sign](left, right))
    except ZeroDivisionError:
        raise FoldError("E302", f"{describe(left)} {sign} {describe(right)}: division by zero") from None
    except OverflowError:
        raise FoldError("E515", f"{describe(left)} {sign} {describe(right)} is too large") from None


def _power(base: Number, exponent: Number) -> Number:
    if base == 0 and exponent < 0:
        raise ZeroDivisionError
    if base < 0 and not float(exponent).is_integer():
        raise FoldError("E302", f"({describe(base)}) ** {describe(exponent)} is no real number")
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        # The size of the result is known before it is computed.
        if abs(base) > 1 and exponent * (abs(base).bit_length() - 1) >= 64:
            raise OverflowError
        small = exponent if abs(base) > 1 or exponent < 2 else 2 + exponent % 2
        return int(base**small)
    real: float = float(base) ** float(exponent)
    return real


_OPERATIONS: dict[str, Callable[[Any, Any], Number]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": _power,
}


def _checked(value: int | float) -> int | float:
    if isinstance(value, int):
        if abs(value) > MAX_WHOLE:
            raise OverflowError
    elif not math.isfinite(value):
        raise OverflowError
    return value


def compare(relation: str, left: Constant, right: Constant) -> bool:
    """left relation right; `==` and `!=` for any two constants, the others for numbers."""
    if relation in ("==", "!="):
        same = bool(left == right) and isinstance(left, bool) == isinstance(right, bool)
        return same if relation == "==" else not same
    for value in (left, right):
        if not is_number(value):
            raise FoldError("E301", f"`{relation}` wants numbers, not {describe(value)}")
    assert isinstance(left, (int, float))
    assert isinstance(right, (int, float))
    return {"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}[relation]


# The elementwise functions of one number that an `op` may meet with a constant.
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "abs": abs,
    "floor": math.floor,
    "sigmoid": lambda x: 0.5 * math.tanh(0.5 * x) + 0.5,
}


def function(name: str, value: Number) -> Number:
    """An elementwise function of a constant."""
    try:
        return _checked(FUNCTIONS[name](value))
    except (ValueError, OverflowError):
        raise FoldError("E302", f"{name}({describe(value)}) is no finite number") from None
