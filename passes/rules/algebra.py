"""Laws of elementwise arithmetic, as rules. Each makes the graph cheaper or brings it into the form that others expect.

The form: a constant is the second operand and outermost in a product, so that constants meet; a sign is outside of
products and quotients; a value that is the same along an axis is computed once and repeated after.
"""

from __future__ import annotations

import math

from ...compiler import expr, ops
from ...compiler.graph import Node
from ...compiler.ops.source import splat
from .rewrite import SHARED, Match, Refuse, Rule, constant, number, of, var

_ROUNDING = (
    "the result is at least as near to that of real numbers; it may differ in the last place, and where a step between "
    "passes the largest number of the type, which x * y does from about 1e19 on in f32"
)
_ZERO_SIGN = "only the sign of a zero differs"
_INFINITE = "x may be infinite or NaN, which the result has to show"

X, Y, A, B, C, D = (var(name) for name in "xyabcd")
K, L = constant("k"), constant("l")


def _float(node: Node) -> bool:
    return node.type.is_float


def _value(node: Node) -> float:
    value = splat(node)
    assert value is not None
    return value


def like(node: Node, value: float) -> Node:
    """A number in the shape and type of a node."""
    return ops.const(value=value, shape=node.shape, dtype=node.dtype)


def _zero(m: Match) -> Node | Refuse:
    return Refuse(_INFINITE) if _float(m.node) else like(m.node, 0)


# Between these sizes a number and its reciprocal have all their digits, with a margin for what they are multiplied by.
_NORMAL = {"f16": (1e-3, 1e3), "f32": (1e-30, 1e30), "bf16": (1e-30, 1e30), "f64": (1e-200, 1e200)}


def _normal(m: Match, value: float) -> bool:
    """Whether a constant is well within the range of the node's type."""
    low, high = _NORMAL[m.node.dtype]
    return low < abs(value) < high


def _merged(m: Match, value: float) -> Node | None:
    """The merged constant, unless it comes near the end of its type's range."""
    return like(m.node, value) if value == 0 or _normal(m, value) else None


def _times(m: Match) -> Node | None:
    k = _merged(m, _value(m.k) * _value(m.l))
    return None if k is None else ops.mul(m.x, k)


def _plus(m: Match) -> Node | None:
    k = _merged(m, _value(m.k) + _value(m.l))
    return None if k is None else ops.add(m.x, k)


def _reciprocal(m: Match) -> Node | None:
    k = _value(m.k)
    return ops.mul(m.x, like(m.node, 1 / k)) if _normal(m, k) else None


def _unshared(m: Match, inner: Node, made: Node) -> Node | Refuse:
    return Refuse(SHARED) if m.shared(inner) else made


def _constant_second(m: Match) -> Node | None:
    first, second = m.node.inputs
    # k + -x stays: it is the difference k - x.
    if first.op is not ops.const or second.op in (ops.const, ops.neg):
        return None
    return m.node.op(second, first)


def _core(node: Node) -> Node:
    """What a broadcast repeats."""
    return node.inputs[0]


def _scaled_factor(m: Match) -> Node | Refuse:
    factor = ops.mul(_core(m.b), like(_core(m.b), _value(m.k)))
    return _unshared(m, m.p, ops.mul(m.y, ops.broadcast(factor, shape=m.node.shape)))


def _joined_factors(m: Match) -> Node | Refuse | None:
    shape = tuple(max(sizes) for sizes in zip(_core(m.a).shape, _core(m.b).shape, strict=True))
    if m.x.op in (ops.broadcast, ops.const) or math.prod(shape) == m.node.type.count:
        return None
    factor = ops.mul(expr.broadcast_to(_core(m.a), shape), expr.broadcast_to(_core(m.b), shape))
    return _unshared(m, m.p, ops.mul(m.x, ops.broadcast(factor, shape=m.node.shape)))


ORDER = (Rule("k + x = x + k, k * x = x * k", of((ops.add, ops.mul), constant("k"), X), _constant_second),)

SUMS = (
    Rule("x + 0 = x", of(ops.add, X, number(0)), lambda m: m.x, _ZERO_SIGN),
    Rule("x - x = 0", of(ops.add, X, of(ops.neg, X)), _zero),
    Rule("(x + k) + l = x + (k + l)", of(ops.add, of(ops.add, X, K), L, when=_float), _plus, _ROUNDING),
    Rule("x + x = x * 2", of(ops.add, X, X, when=_float), lambda m: ops.mul(m.x, like(m.node, 2.0))),
    Rule(
        "(a + x) + x = a + x * 2",
        of(ops.add, of(ops.add, A, X, name="p"), X, when=_float),
        lambda m: _unshared(m, m.p, ops.add(m.a, ops.mul(m.x, like(m.node, 2.0)))),
        _ROUNDING,
    ),
    Rule(
        "x * k + x * l = x * (k + l)",
        of(ops.add, of(ops.mul, X, K), of(ops.mul, X, L), when=_float),
        lambda m: ops.mul(m.x, like(m.node, _value(m.k) + _value(m.l))),
        _ROUNDING,
    ),
    Rule(
        "x * k + x = x * (k + 1)",
        of(ops.add, of(ops.mul, X, K), X, when=_float),
        lambda m: ops.mul(m.x, like(m.node, _value(m.k) + 1.0)),
        _ROUNDING,
    ),
    Rule(
        "a * c + b * c = (a + b) * c",
        of(ops.add, of(ops.mul, A, C, name="p"), of(ops.mul, B, C, name="q"), when=_float),
        lambda m: Refuse(SHARED) if m.shared(m.p) or m.shared(m.q) else ops.mul(ops.add(m.a, m.b), m.c),
        _ROUNDING,
    ),
    Rule(
        "-a + -b = -(a + b)",
        of(ops.add, of(ops.neg, A), of(ops.neg, B)),
        lambda m: ops.neg(ops.add(m.a, m.b)),
    ),
)

PRODUCTS = (
    Rule("x * 1 = x", of(ops.mul, X, number(1)), lambda m: m.x),
    Rule("x * 0 = 0", of(ops.mul, X, number(0)), _zero),
    Rule("x * -1 = -x", of(ops.mul, X, number(-1)), lambda m: ops.neg(m.x)),
    Rule("(x * k) * l = x * (k * l)", of(ops.mul, of(ops.mul, X, K), L, when=_float), _times, _ROUNDING),
    Rule(
        "-x * k = x * -k",
        of(ops.mul, of(ops.neg, X), K, when=_float),
        lambda m: ops.mul(m.x, like(m.node, -_value(m.k))),
    ),
    Rule("-x * -y = x * y", of(ops.mul, of(ops.neg, X), of(ops.neg, Y)), lambda m: ops.mul(m.x, m.y)),
    Rule("-x * y = -(x * y)", of(ops.mul, of(ops.neg, X), Y), lambda m: ops.neg(ops.mul(m.x, m.y))),
    Rule(
        "(x * k) * y = (x * y) * k",
        of(ops.mul, of(ops.mul, X, K, name="p"), Y, when=_float),
        lambda m: None if splat(m.y) is not None else _unshared(m, m.p, ops.mul(ops.mul(m.x, m.y), m.k)),
        _ROUNDING,
    ),
    Rule(
        "(y * broadcast(a)) * k = y * broadcast(a * k)",
        of(ops.mul, of(ops.mul, Y, of(ops.broadcast, name="b"), name="p"), K, when=_float),
        _scaled_factor,
        _ROUNDING,
    ),
    Rule(
        "(x * broadcast(a)) * broadcast(b) = x * broadcast(a * b)",
        of(ops.mul, of(ops.mul, X, of(ops.broadcast, name="a"), name="p"), of(ops.broadcast, name="b"), when=_float),
        _joined_factors,
        _ROUNDING,
    ),
    Rule("-(-x) = x", of(ops.neg, of(ops.neg, X)), lambda m: m.x),
    Rule(
        "-(x * k) = x * -k",
        of(ops.neg, of(ops.mul, X, K, name="p"), when=_float),
        lambda m: _unshared(m, m.p, ops.mul(m.x, like(m.node, -_value(m.k)))),
    ),
)

QUOTIENTS = (
    Rule("x / 1 = x", of(ops.div, X, number(1)), lambda m: m.x),
    Rule("x / k = x * (1 / k)", of(ops.div, X, K), _reciprocal, "one rounding more, of a constant"),
    Rule("-x / y = -(x / y)", of(ops.div, of(ops.neg, X), Y), lambda m: ops.neg(ops.div(m.x, m.y))),
    Rule("x / -y = -(x / y)", of(ops.div, X, of(ops.neg, Y)), lambda m: ops.neg(ops.div(m.x, m.y))),
    Rule(
        "(x * k) / y = (x / y) * k",
        of(ops.div, of(ops.mul, X, K, name="p"), Y),
        lambda m: _unshared(m, m.p, ops.mul(ops.div(m.x, m.y), m.k)),
        _ROUNDING,
    ),
    Rule(
        "x / broadcast(d) = x * broadcast(1 / d)",
        of(ops.div, X, of(ops.broadcast, D, name="y")),
        lambda m: (
            ops.mul(m.x, ops.broadcast(ops.div(like(m.d, 1.0), m.d), shape=m.node.shape))
            if 4 * m.d.type.count <= m.node.type.count
            else Refuse("the divisor is not repeated often enough")
        ),
        "one rounding more, and a divisor below 1e-38 gives infinity; a division costs several products",
    ),
)


def _power(x: Node, quarters: int) -> Node:
    """x to the power quarters / 4, of products and square roots."""
    whole, rest = divmod(quarters, 4)
    parts: list[Node] = []
    # Roots first: the gradient of a power has the same roots, and shares their product.
    if rest:
        root = ops.sqrt(x)
        parts += [root] * (rest >= 2) + [ops.sqrt(root)] * (rest % 2)
    if whole:
        square = ops.mul(x, x) if whole > 1 else x
        parts += [square] * (whole // 2) + [x] * (whole % 2)
    product = parts[0]
    for part in parts[1:]:
        product = ops.mul(product, part)
    return product


def _pow(m: Match) -> Node | None:
    k = _value(m.k)
    if k == 0.0:
        return like(m.node, 1.0)
    if k == 1.0:
        return m.x
    if not float(4 * k).is_integer() or abs(k) > 4:
        return None
    power = _power(m.x, abs(round(4 * k)))
    return power if k > 0 else ops.div(like(m.node, 1.0), power)


POWERS = (
    Rule(
        "x ** (n / 4) = products of x, sqrt(x) and sqrt(sqrt(x))",
        of(ops.pow_, X, K),
        _pow,
        "a few roundings in place of one; only for -inf is the result another (NaN); several times as fast",
    ),
)


def _where_sum(m: Match) -> Node | None:
    """The sum of two choices by one condition is one choice where each arm has a zero."""
    arms = []
    for a, b in ((m.a, m.b), (m.c, m.d)):
        if splat(a) == 0.0:
            arms.append(b)
        elif splat(b) == 0.0:
            arms.append(a)
        else:
            return None
    return ops.where(m.x, *arms)


CHOICES = (
    Rule("where(true, a, b) = a", of(ops.where, number(1), A, B), lambda m: m.a),
    Rule("where(false, a, b) = b", of(ops.where, number(0), A, B), lambda m: m.b),
    Rule("where(x, a, a) = a", of(ops.where, X, A, A), lambda m: m.a),
    Rule(
        "where(x, true, false) = x",
        of(ops.where, X, number(1), number(0), when=lambda n: n.dtype == "bool"),
        lambda m: m.x,
    ),
    Rule(
        "where(not x, a, b) = where(x, b, a)",
        of(ops.where, of(ops.equal, X, number(0), when=lambda n: n.inputs[0].dtype == "bool"), A, B),
        lambda m: ops.where(m.x, m.b, m.a),
    ),
    Rule(
        "not not x = x",
        of(ops.equal, of(ops.equal, X, number(0)), number(0), when=lambda n: n.inputs[0].dtype == "bool"),
        lambda m: m.x if m.x.dtype == "bool" else None,
    ),
    Rule(
        "where(x, where(x, a, b), c) = where(x, a, c)",
        of(ops.where, X, of(ops.where, X, A, B), C),
        lambda m: ops.where(m.x, m.a, m.c),
    ),
    Rule(
        "where(x, a, where(x, b, c)) = where(x, a, c)",
        of(ops.where, X, A, of(ops.where, X, B, C)),
        lambda m: ops.where(m.x, m.a, m.c),
    ),
    Rule(
        "where(x, a, 0) + where(x, 0, b) = where(x, a, b)",
        of(ops.add, of(ops.where, X, A, C), of(ops.where, X, B, D)),
        _where_sum,
        _ZERO_SIGN,
    ),
    Rule(
        "where(x, a, b) * k = where(x, a * k, b * k) for numbers a, b",
        of(ops.mul, of(ops.where, X, constant("a"), constant("b")), K, when=_float),
        lambda m: ops.where(m.x, like(m.node, _value(m.a) * _value(m.k)), like(m.node, _value(m.b) * _value(m.k))),
    ),
    Rule("max(x, x) = x", of((ops.maximum, ops.minimum), X, X), lambda m: m.x),
)

# Types that hold every value of another.
_WIDER = {
    "bool": {"u8", "u32", "i32", "i64", "f16", "bf16", "f32", "f64"},
    "u8": {"u32", "i32", "i64", "f16", "bf16", "f32", "f64"},
    "u32": {"i64", "f64"},
    "i32": {"i64", "f64"},
    "f16": {"f32", "f64"},
    "bf16": {"f32", "f64"},
    "f32": {"f64"},
}


def _cast_cast(m: Match) -> Node | Refuse | None:
    if m.y.dtype not in _WIDER.get(m.x.dtype, ()):
        return Refuse(f"{m.y.dtype} does not hold every {m.x.dtype}")
    return expr.cast(m.x, m.node.dtype)


CASTS = (
    Rule("cast to the own type = x", of(ops.cast, X), lambda m: m.x if m.x.dtype == m.node.dtype else None),
    Rule("cast(cast(x, wider), t) = cast(x, t)", of(ops.cast, of(ops.cast, X, name="y")), _cast_cast),
    Rule("abs(-x) = abs(x)", of(ops.abs_, of(ops.neg, X)), lambda m: ops.abs_(m.x)),
    Rule("abs(abs(x)) = abs(x)", of(ops.abs_, of(ops.abs_, X, name="y")), lambda m: m.y),
)


def _all_repeated(node: Node) -> bool:
    return any(x.op is ops.broadcast for x in node.inputs) and all(
        x.op is ops.broadcast or splat(x) is not None for x in node.inputs
    )


def _hoist(m: Match) -> Node | None:
    node = m.node
    sources = [x.inputs[0] for x in node.inputs if x.op is ops.broadcast]
    core = tuple(max(sizes) for sizes in zip(*(s.shape for s in sources), strict=True))
    if math.prod(core) == node.type.count:
        return None
    operands = [
        expr.broadcast_to(x.inputs[0], core)
        if x.op is ops.broadcast
        else ops.const(value=x.attrs["value"], shape=core, dtype=x.dtype)
        for x in node.inputs
    ]
    return ops.broadcast(node.op(*operands, **node.attrs), shape=node.shape)


REPEATED = (Rule("f(broadcast(a), broadcast(b)) = broadcast(f(a, b))", of("pointwise", when=_all_repeated), _hoist),)

ALGEBRA = (*ORDER, *SUMS, *PRODUCTS, *QUOTIENTS, *POWERS, *CHOICES, *CASTS, *REPEATED)
