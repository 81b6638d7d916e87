"""How Triton writes each pointwise primitive: one line of the table each.

NaN and infinity mean what they mean in `compiler.ops`. Nothing here needs a device's own library, so that every line
runs under the interpreter and compiles for every architecture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...graph import Node
from ...ops.source import splat
from ..loops.place import PRODUCT, Value
from ..loops.pointwise import COMMON, Spelling, call, ready, roots

if TYPE_CHECKING:
    from ..loops.body import Body

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


def _tanh(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x,), axes, level = ready(body, values)
    name, text = ("tanh64", TANH64) if x.dtype == "f64" else ("tanh", TANH)
    body.helpers[name] = text
    return Value(f"{name}({x.text})", x.dtype, axes, level, hint="tanh")


def _power(body: Body, node: Node, values: Sequence[Value]) -> Value:
    (x, y), axes, level = ready(body, values)
    exponent = splat(node.inputs[1])
    if exponent is None or (exponent.is_integer() and abs(exponent) > 4) or x.number is not None:
        body.helpers["power"] = POWER
        return Value(f"power({body.typed(x).text}, {body.typed(y).text})", x.dtype, axes, level, hint="pow")
    if exponent == 0.0:
        return body.number(1.0, node.dtype)
    x = body.settle(x, "base")
    found = roots(exponent, x.text, "tl.sqrt({0})", "1.0")
    if found is None:
        return Value(f"tl.exp2({y.within(PRODUCT)} * tl.log2({x.text}))", x.dtype, axes, level, hint="pow")
    return Value(found[0], x.dtype, axes, level, found[1], hint="pow")


SPELL: dict[str, Spelling] = {
    **COMMON,
    "max": call("tl.maximum({0}, {1}, tl.PropagateNan.ALL)", logical="{0} | {1}", exact="tl.maximum({0}, {1})"),
    "min": call("tl.minimum({0}, {1}, tl.PropagateNan.ALL)", logical="{0} & {1}", exact="tl.minimum({0}, {1})"),
    "pow": _power,
    "exp": call("tl.exp({0})"),
    "log": call("tl.log({0})"),
    "sqrt": call("tl.sqrt({0})"),
    "tanh": _tanh,
    "floor": call("tl.floor({0})"),
    "abs": call("tl.abs({0})", logical="{0}"),
}
