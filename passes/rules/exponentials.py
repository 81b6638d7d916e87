"""Laws against overflow: what is finite is computed without the exponential of a large number on its way.

They are applied before gradients are taken, where infinity by infinity would be NaN, and among all laws after.
"""

from __future__ import annotations

from ...compiler import ops
from ...compiler.graph import Node
from ...compiler.layers.activation import softplus
from ...compiler.ops.source import splat
from .rewrite import Match, Rule, number, of, var

_WHY = "exp(x) is infinite from x = 88.7 on in f32, the value is not; below that a few roundings more"


def _bounded(x: Node) -> bool:
    """Whether a number is one of these laws' own: `where(0 < a, -a, a)`, never above 0."""
    while x.op.family == "movement":
        x = x.inputs[0]
    if x.op is not ops.where or x.inputs[0].op is not ops.less:
        return False
    zero, compared = x.inputs[0].inputs
    return splat(zero) == 0.0 and compared is x.inputs[2]


def _softplus(m: Match) -> Node | None:
    return None if _bounded(m.x) else softplus(m.x)


def _logistic(m: Match) -> Node | None:
    if _bounded(m.x):
        return None
    positive = m.x > 0.0
    small = ops.exp(ops.where(positive, -m.x, m.x))
    one = ops.const(value=1.0, shape=small.shape, dtype=small.dtype)
    return m.y * ops.where(positive, small, one) / (small + one)


_ONE_MORE = of(ops.add, of(ops.exp, var("x")), number(1.0))

EXPONENTIALS = (
    Rule("log(1 + exp(x)) = softplus(x)", of(ops.log, _ONE_MORE), _softplus, _WHY),
    Rule(
        "y / (1 + exp(x)) = y * where(x > 0, e, 1) / (1 + e), e = exp(-|x|)",
        of(ops.div, var("y"), _ONE_MORE),
        _logistic,
        _WHY,
    ),
)
