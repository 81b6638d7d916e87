"""How Triton writes each pointwise primitive: one line of the table each.

NaN and infinity mean what they mean in `compiler.ops`. Nothing here needs a device's own library, so that every line
runs under the interpreter and compiles for every architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ...ops.source import splat
from ..loops.place import ATOM, OTHER, PRODUCT, SIGN, SUM, WIDE, Value, number

if TYPE_CHECKING:
    from ..loops.body import Body

Spelling = Callable[["Body", Node, Sequence[Value]], Value]

TANH = '''@triton.jit
def tanh(x):
    """The hyperbolic tangent: by a polynomial near 0, where the quotient would cancel."""
    t = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - t) / (1.0 + t)
    s = x * x
    p = (((0.0157394409 * s - 0.0523025580) * s + 0.1331524700) * s - 0.3333276810) * s
    return tl.where(tl.abs(x) < 0.55, x + x * p, tl.where(x < 0.0, -far, far))
'''
TANH64 = '''@triton.jit
def tanh64(x):
    """The hyperbolic tangent in double precision."""
    t = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - t) / (1.0 + t)
    return tl.where(x < 0.0, -far, far)
'''
POWER = '''@triton.jit
def power(x, y):
    """x to the power y as in C: what is below 0 has only whole powers, x ** 0 and 1 ** y are 1."""
    size = tl.exp2(y * tl.log2(tl.abs(x)))
    whole = tl.floor(y) == y
    odd = whole & (tl.floor(y * 0.5) * 2.0 != y)
    negative = (x < 0.0) | (1.0 / x < 0.0)
    undefined = (x < 0.0) & ~whole & (x != -float("inf"))
    one = (y == 0.0) | (x == 1.0) | ((x == -1.0) & (tl.abs(y) == float("inf")))
    return tl.where(one, 1.0, tl.where(undefined, float("nan"), tl.where(negative & odd, -size, size)))
'''


def _ready(body: Body, values: Sequence[Value]) -> tuple[list[Value], frozenset[int], int]:
    """Operands in the type of the computation, with the dimensions and depth of the result."""
    wide = [body.floating(v) for v in values]
    axes = frozenset(a for v in wide for a in v.axes)
    level = max(v.level for v in wide)
    wide = [body.outside(v, level) for v in wide]
    if all(v.number is not None for v in wide):
        wide[0] = body.typed(wide[0])
    return wide, axes, level


def _operator(sign: str, tight: int, logical: str = "") -> Spelling:
    """An operator; `logical` is its sign for true and false."""

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        (a, b), axes, level = _ready(body, values)
        shown, binds = sign, tight
        dtype = "bool" if node.dtype == "bool" else a.dtype
        if a.dtype == "bool" and logical:
            shown, binds = logical, OTHER
        elif shown == "+":
            if a.tight == SIGN and b.tight != SIGN:
                a, b = b, a
            if b.tight == SIGN:
                shown, b = "-", b.but(text=b.text[1:], tight=ATOM)
        elif shown == "<" and a.number is not None:
            shown, a, b = ">", b, a
        elif shown == "*" and b.number is not None and a.tight == ATOM:
            a, b = b, a
        # Sums and products may follow one another without parentheses, in the order in which they are computed.
        text = f"{a.within(max(binds, SUM))} {shown} {b.within(binds + 1)}"
        return Value(text, dtype, axes, level, binds, hint=node.op.name)

    return spell


def _call(form: str, logical: str = "", exact: str = "") -> Spelling:
    """A function of its operands {0}, {1}, …; `logical` for true and false, `exact` for whole numbers."""

    def spell(body: Body, node: Node, values: Sequence[Value]) -> Value:
        wide, axes, level = _ready(body, values)
        if len(wide) == 2 and values[0].number is not None:
            wide.reverse()  # a maximum and a minimum do not mind, and readers expect the number last
        dtype = wide[0].dtype
        chosen = logical if dtype == "bool" and logical else exact if dtype[0] in "iu" and exact else form
        tight = OTHER if chosen is logical and logical else ATOM
        text = chosen.format(*(v.within(SIGN) if tight == OTHER else v.text for v in wide))
        return Value(text, dtype, axes, level, tight, hint=node.op.name)

    return spell


def _negated(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,), axes, level = _ready(body, values)
    return Value(f"-{x.within(ATOM)}", x.dtype, axes, level, SIGN, hint="neg")


def _less(body: Body, node: Node, values: Sequence[Value]) -> Value:
    if values[0].dtype != "bool":
        return _operator("<", OTHER)(body, node, values)
    (a, b), axes, level = _ready(body, values)
    return Value(f"~{a.within(ATOM)} & {b.within(SIGN)}", "bool", axes, level, OTHER, hint="less")


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
    return Value(f"tl.where({condition.text}, {a.text}, {b.text})", a.dtype, axes, level, hint="where")


def _tanh(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,), axes, level = _ready(body, values)
    name, text = ("tanh64", TANH64) if x.dtype == "f64" else ("tanh", TANH)
    body.helpers[name] = text
    return Value(f"{name}({x.text})", x.dtype, axes, level, hint="tanh")


def _power(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x, y), axes, level = _ready(body, values)
    exponent = splat(node.inputs[1])
    if exponent is None or (exponent.is_integer() and abs(exponent) > 4) or x.number is not None:
        body.helpers["power"] = POWER
        return Value(f"power({body.typed(x).text}, {body.typed(y).text})", x.dtype, axes, level, hint="pow")
    if exponent == 0.0:
        return number(1.0, node.dtype)
    x = body.settle(x, "base")
    factors = quarters(exponent, x.text)
    if factors is None:
        return Value(f"tl.exp2({y.within(PRODUCT)} * tl.log2({x.text}))", x.dtype, axes, level, hint="pow")
    text = " * ".join(factors)
    tight = PRODUCT if len(factors) > 1 else ATOM
    if exponent < 0:
        text, tight = f"1.0 / {text if tight == ATOM else f'({text})'}", PRODUCT
    return Value(text, x.dtype, axes, level, tight, hint="pow")


def quarters(exponent: float, x: str) -> list[str] | None:
    """The factors of x to the power |exponent| if that is a multiple of 1/4 up to 4: x itself and square roots."""
    count = abs(exponent) * 4
    if not count.is_integer() or count > 16:
        return None
    whole, rest = divmod(int(count), 4)
    factors = [x] * whole
    if rest & 2:
        factors.append(f"tl.sqrt({x})")
    if rest & 1:
        factors.append(f"tl.sqrt(tl.sqrt({x}))")
    return factors


def _cast(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,) = values
    dtype: str = node.dtype
    if dtype == "bool" and x.dtype != "bool":
        x = body.floating(x)
        if x.number is not None:
            return number(bool(x.number), "bool")
        return Value(f"{x.within(SUM)} != 0", "bool", x.axes, x.level, OTHER, hint="cast")
    if x.number is not None:
        if dtype[0] in "iu" and isinstance(x.number, float):
            return number(int(x.number), dtype)
        return number(x.number, dtype) if dtype not in WIDE else body.cast(body.typed(x), dtype)
    # A half-precision result is rounded here, as it would be if it were stored and read again.
    return body.cast(x, dtype).but(hint="cast")


def _value(body: Body, node: Node, values: Sequence[Value]) -> Value:
    return values[0]


SPELL: dict[str, Spelling] = {
    "add": _operator("+", SUM, logical="|"),
    "mul": _operator("*", PRODUCT, logical="&"),
    "div": _operator("/", PRODUCT),
    "max": _call("tl.maximum({0}, {1}, tl.PropagateNan.ALL)", logical="{0} | {1}", exact="tl.maximum({0}, {1})"),
    "min": _call("tl.minimum({0}, {1}, tl.PropagateNan.ALL)", logical="{0} & {1}", exact="tl.minimum({0}, {1})"),
    "pow": _power,
    "less": _less,
    "equal": _operator("==", OTHER),
    "where": _where,
    "surrogate": _value,
    "neg": _negated,
    "exp": _call("tl.exp({0})"),
    "log": _call("tl.log({0})"),
    "sqrt": _call("tl.sqrt({0})"),
    "tanh": _tanh,
    "floor": _call("tl.floor({0})"),
    "abs": _call("tl.abs({0})", logical="{0}"),
    "cast": _cast,
}
