"""Weight folding, for programs that do not learn: what is linear after a convolution or product goes into its weights.

    conv(x, w) * s = conv(x, w * s)          so BatchNorm, Scale and Power after a convolution cost nothing,
    dot(x, w) * s = dot(x, w * s)            and their shifts become one bias.

`w * s` depends on state and constants alone: it is prepared once, not at each step. Source of the idea: Jacob et al.,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018, section 3.2.
"""

from __future__ import annotations

from ...compiler import expr, ops
from ...compiler.graph import Graph, Node, at
from ...compiler.ops.source import splat
from ..prepared import Prepared
from .pattern import Pattern
from .rewrite import SHARED, Ledger, Match, Refuse, Rule, of, var
from .simplify import RULES, to_the_end

_WHY = "the same products in another order of rounding"
# The weights of a product may be much larger than its result, and a second copy of them is kept.
_CHEAP = "one number costs less beside a product than in its weights"
_CONTRACT = (ops.conv, ops.conv_data_grad, ops.dot)

X = var("x")


def _core(factor: Node) -> Node | None:
    """The node that `factor` repeats; a number counts as one element."""
    if factor.op is ops.broadcast:
        return factor.inputs[0]
    value = splat(factor)
    return None if value is None else ops.const(value=value, shape=(1,) * len(factor.shape), dtype=factor.dtype)


def _scaled_conv(node: Node, scale: Node) -> Node | Refuse:
    """A convolution (or its gradient by data) with the scale of its result's channels in its weights."""
    x, w = node.inputs
    channels = scale.shape[1]
    if any(n != 1 for i, n in enumerate(scale.shape) if i != 1):
        return Refuse("the factor is not one number for each channel")
    if channels == 1:
        factor = expr.reshape(scale, (1,) * len(w.shape))
    elif node.op is ops.conv:
        factor = expr.reshape(scale, (channels,) + (1,) * (len(w.shape) - 1))
    else:
        groups = node.attrs["groups"]
        rest = (1,) * (len(w.shape) - 2)
        factor = expr.reshape(scale, (groups, 1, w.shape[1], *rest))
        factor = expr.broadcast_to(factor, (groups, w.shape[0] // groups, w.shape[1], *rest))
        factor = expr.reshape(factor, (w.shape[0], w.shape[1], *rest))
    return node.op(x, expr.mul(w, factor), **node.attrs)


def _scaled_dot(node: Node, scale: Node, prepared: Prepared) -> Node | Refuse:
    a, b = node.inputs
    if scale.type.count == 1:
        return Refuse(_CHEAP)
    if prepared(b) and scale.shape[-2] == 1:
        return ops.dot(a, expr.mul(b, scale))
    if prepared(a) and scale.shape[-1] == 1:
        return ops.dot(expr.mul(a, scale), b)
    return Refuse("the factor is not one number for each column of the weights")


def weight_rules() -> tuple[Rule, ...]:
    """The rules, for one graph: they remember which of its nodes depend on state and constants alone."""
    prepared = Prepared()

    def weighed(node: Node) -> bool:
        return any(prepared(x) for x in node.inputs) and not prepared(node)

    product: Pattern = of(_CONTRACT, name="p", when=weighed)
    factor = var("s", prepared)
    shift = var("b", prepared)

    def scaled(m: Match) -> Node | Refuse | None:
        """The product with the factor in its weights."""
        core = _core(m.s)
        if core is None:
            return None
        if m.shared(m.p):
            return Refuse(SHARED)
        if m.p.op is not ops.dot and not prepared(m.p.inputs[1]):
            return Refuse("the weights are computed from the input")
        # The product stays the layer's that made it; the factor's layer is added.
        with at(m.p.span, m.p.scope):
            return _scaled_dot(m.p, core, prepared) if m.p.op is ops.dot else _scaled_conv(m.p, core)

    def distribute(m: Match) -> Node | Refuse | None:
        if m.shared(m.y):
            return Refuse(SHARED)
        product = scaled(m)
        return ops.add(product, ops.mul(m.b, m.s)) if isinstance(product, Node) else product

    def invert(m: Match) -> Node | None:
        return None if prepared(m.x) else ops.mul(m.x, ops.div(expr.constant(1.0, m.s), m.s))

    def scale_before(m: Match) -> Node | Refuse:
        core = _core(m.s)
        if core is None or core.type.count != 1:
            return Refuse("the factor is not one number")
        if m.node.op is ops.dot:
            return Refuse(_CHEAP)
        return m.node.op(m.x, expr.mul(m.w, expr.reshape(core, (1,) * len(m.w.shape))), **m.node.attrs)

    def gather(m: Match) -> Node | None:
        return None if prepared(m.x) else ops.add(m.x, ops.add(m.b, m.c))

    shifted = of(ops.add, product, shift, name="y")
    return (
        Rule("conv(x, w) * s = conv(x, w * s), and so for dot", of(ops.mul, product, factor), scaled, _WHY),
        Rule(
            "(conv(x, w) + b) * s = conv(x, w * s) + b * s, and so for dot",
            of(ops.mul, shifted, factor),
            distribute,
            _WHY,
        ),
        Rule(
            "conv(x * k, w) = conv(x, w * k)",
            of(_CONTRACT, of(ops.mul, X, factor), var("w", prepared)),
            scale_before,
            _WHY,
        ),
        Rule("x / s = x * (1 / s)", of(ops.div, X, factor), invert, "one rounding more"),
        Rule("(x + b) + c = x + (b + c)", of(ops.add, of(ops.add, X, shift), var("c", prepared)), gather, _WHY),
    )


def fold_weights(graph: Graph, ledger: Ledger | None = None) -> Graph:
    """The graph with factors and shifts after convolutions and products folded into weights and one bias.

    Only for a program that leaves its parameters as they are; all laws of `simplify` run along.
    """
    return to_the_end(graph, (*weight_rules(), *RULES), ledger)
