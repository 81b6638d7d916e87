"""Pointwise primitives as most languages write them: operators, calls, choices, casts; each a function of operands.

`COMMON` is the table of those that need nothing else; a dialect adds its own names for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ...ops import Op
from ...types import wide
from .place import ATOM, OTHER, PRODUCT, SUM, UNARY, Value

if TYPE_CHECKING:
    from .body import Body

Spelling = Callable[["Body", Node, Sequence[Value]], Value]


def ready(body: Body, values: Sequence[Value]) -> tuple[list[Value], frozenset[int], int]:
    """Operands in the type of the computation, with the dimensions and depth of the result."""
    wide = [body.floating(v) for v in values]
    axes = frozenset(a for v in wide for a in v.axes)
    level = max(v.level for v in wide)
    wide = [body.outside(v, level) for v in wide]
    if all(v.number is not None for v in wide):
        wide[0] = body.typed(wide[0])
    return wide, axes, level


def _minus(value: Value) -> bool:
    return value.tight == UNARY and value.text.startswith("-")


def spelled(op: Op, target: str) -> Spelling:
    """How an op of a package is written, as it says itself; UserError where it does not."""
    found = op.written(target)

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        operands, axes, level = ready(body, values)
        if found.helper:
            body.helpers[op.name] = found.helper
        dtype = "bool" if node.dtype == "bool" else operands[0].dtype
        return Value(found.text.format(*(v.text for v in operands)), dtype, axes, level, hint=op.name)

    return spell


def operator(sign: str, tight: int, logical: str = "") -> Spelling:
    """An operator; `logical` is its sign for true and false."""

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        (a, b), axes, level = ready(body, values)
        shown, binds = sign, tight
        dtype = "bool" if node.dtype == "bool" else a.dtype
        if a.dtype == "bool" and logical:
            shown, binds = logical, OTHER
        elif shown == "+":
            if _minus(a) and not _minus(b):
                a, b = b, a
            if _minus(b):
                shown, b = "-", b.but(text=b.text[1:], tight=ATOM)
        elif shown == "<" and a.number is not None:
            shown, a, b = ">", b, a
        elif shown == "*" and b.number is not None and a.tight == ATOM:
            a, b = b, a
        # Sums and products may follow one another without parentheses, in the order in which they are computed.
        text = f"{a.within(max(binds, SUM))} {shown} {b.within(binds + 1)}"
        return Value(text, dtype, axes, level, binds, hint=node.op.name)

    return spell


def call(form: str, logical: str = "", exact: str = "") -> Spelling:
    """A function of its operands {0}, {1}, …; `logical` for true and false, `exact` for whole numbers."""

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        wide, axes, level = ready(body, values)
        if len(wide) == 2 and values[0].number is not None:
            wide.reverse()  # a maximum and a minimum do not mind, and readers expect the number last
        dtype = wide[0].dtype
        chosen = logical if dtype == "bool" and logical else exact if dtype[0] in "iu" and exact else form
        tight = OTHER if chosen is logical and logical else ATOM
        text = chosen.format(*(v.within(UNARY) if tight == OTHER else v.text for v in wide))
        return Value(text, dtype, axes, level, tight, hint=node.op.name)

    return spell


def _negated(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,), axes, level = ready(body, values)
    return Value(f"-{x.within(ATOM)}", x.dtype, axes, level, UNARY, hint="neg")


def _less(body: Body, node: Node, values: Sequence[Value]) -> Value:
    if values[0].dtype != "bool":
        return operator("<", OTHER)(body, node, values)
    (a, b), axes, level = ready(body, values)
    return Value(f"~{a.within(ATOM)} & {b.within(UNARY)}", "bool", axes, level, OTHER, hint="less")


def _where(body: Body, node: Node, values: Sequence[Value]) -> Value:
    condition, a, b = (body.floating(v) for v in values)
    axes, level = condition.axes | a.axes | b.axes, max(condition.level, a.level, b.level)
    condition, a, b = (body.outside(v, level) for v in (condition, a, b))
    if condition.number is not None:
        return (a if condition.number else b).but(filled=frozenset(), fill=None)
    if a.number is not None and b.number is not None and a.dtype != "f32":
        a = body.typed(a)
    if a.dtype == "bool" and b.number is not None and not b.number:
        text = f"{condition.within(SUM)} & {a.within(SUM)}"
        return Value(text, "bool", axes, level, OTHER, hint="both")
    return Value(body.dialect.select(condition, a, b), a.dtype, axes, level, hint="where")


def _cast(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,) = values
    dtype: str = node.dtype
    if dtype == "bool" and x.dtype != "bool":
        x = body.floating(x)
        if x.number is not None:
            return body.number(bool(x.number), "bool")
        return Value(f"{x.within(SUM)} != 0", "bool", x.axes, x.level, OTHER, hint="cast")
    if x.number is not None:
        if dtype[0] in "iu" and isinstance(x.number, float):
            return body.number(int(x.number), dtype)
        return body.number(x.number, dtype) if dtype == wide(dtype) else body.cast(body.typed(x), dtype)
    # A half-precision result is rounded here, as it would be if it were stored and read again.
    return body.cast(x, dtype).but(hint="cast")


def _value(body: Body, node: Node, values: Sequence[Value]) -> Value:
    return values[0]


def roots(exponent: float, x: str, root: str, one: str) -> tuple[str, int] | None:
    """x to a power that is a multiple of 1/4 up to 4 or above -4, and how tightly that binds; None for other powers.

    It is a product of x and of its square roots. root: how that of {0} is written. one: the number 1.
    """
    count = abs(exponent) * 4
    if not count.is_integer() or not 0 < count <= 16:
        return None
    whole, rest = divmod(int(count), 4)
    half = root.format(x)
    factors = [x] * whole + [half] * (rest // 2) + [root.format(half)] * (rest % 2)
    text, tight = " * ".join(factors), PRODUCT if len(factors) > 1 else ATOM
    if exponent > 0:
        return text, tight
    return f"{one} / {text if tight == ATOM else f'({text})'}", PRODUCT


COMMON: dict[str, Spelling] = {
    "add": operator("+", SUM, logical="|"),
    "mul": operator("*", PRODUCT, logical="&"),
    "div": operator("/", PRODUCT),
    "less": _less,
    "equal": operator("==", OTHER),
    "where": _where,
    "surrogate": _value,
    "neg": _negated,
    "cast": _cast,
}
