"""Idioms: primitives that are one node of ONNX together, found from the last of them back.

Each is an identity between the primitives of a layer and an operator, told by patterns of the rewrite engine. None is
needed, as every primitive has a row; they make models short, and fast. What else reads a value inside of an idiom has
it written again.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.layers.activation import erf
from ..compiler.ops.source import splat
from ..passes.rules.pattern import Pattern, constant, number, of, var
from . import idioms_of_norms as norms
from . import idioms_of_windows as windows
from .matching import X, alike, bare, edges, known, match, spread, vector
from .rows import conv, conv_transpose
from .writer import Idiom, Spelling, Value, Writer


def _unary(op: str, pattern: Pattern, **attrs: str) -> Idiom:
    """An elementwise operator of x. attrs: numbers of the pattern by the operator's attribute."""

    def idiom(w: Writer, node: Node) -> Spelling | None:
        found = match(node, pattern)
        if found is None or not node.type.is_float:
            return None
        numbers = {key: splat(found[name]) for key, name in attrs.items()}
        return Spelling([found["x"]], lambda w: w.elementwise(op, [w.loose(found["x"])], **numbers))

    return idiom


_HALF = number(0.5)
_POSITIVE = of(ops.less, number(0.0), X)
RELU = _unary("Relu", of(ops.maximum, number(0.0), X))
SIGMOID = _unary("Sigmoid", of(ops.add, of(ops.mul, of(ops.tanh, of(ops.mul, X, _HALF)), _HALF), _HALF))
LEAKY = _unary("LeakyRelu", of(ops.where, _POSITIVE, X, of(ops.mul, X, constant("slope"))), alpha="slope")
_GROWN = of(ops.add, of(ops.exp, of(ops.minimum, X, number(0.0))), of(ops.neg, number(1.0)))
ELU = _unary("Elu", of(ops.where, _POSITIVE, X, of(ops.mul, _GROWN, constant("alpha"))), alpha="alpha")
_FALLEN = of(ops.where, _POSITIVE, of(ops.neg, X), X)
SOFTPLUS = _unary(
    "Softplus",
    of(ops.add, of(ops.where, _POSITIVE, X, number(0.0)), of(ops.log, of(ops.add, of(ops.exp, _FALLEN), number(1.0)))),
)


def _clip(w: Writer, node: Node) -> Spelling | None:
    """max(min(x, high), low)"""
    found = match(node, of(ops.maximum, of(ops.minimum, X, constant("high")), constant("low")))
    if found is None or node.dtype != "f32":
        return None

    def write(w: Writer) -> Value:
        name, shape = w.loose(found["x"])
        bounds = [w.number(splat(found[key]) or 0.0, node)[0] for key in ("low", "high")]
        return w.node("Clip", [name, *bounds]), shape

    return Spelling([found["x"]], write)


def _erf(w: Writer, node: Node) -> Spelling | None:
    """The layer `erf`: what it makes of the same operand."""
    found = match(node, of(ops.mul, of(ops.maximum, of(ops.minimum, X, number(4.0)), number(-4.0)), of(ops.div)))
    if found is None or not alike(node, erf(found["x"])):
        return None
    return Spelling([found["x"]], lambda w: w.elementwise("Erf", [w.loose(found["x"])]))


def _sub(w: Writer, node: Node) -> Spelling | None:
    """a + -b"""
    found = match(node, of(ops.add, var("a"), of(ops.neg, var("b")))) or match(
        node, of(ops.add, var("a"), spread(of(ops.neg, var("b"))))
    )
    if found is None or node.dtype not in ("f32", "f64", "i32", "i64"):
        return None
    a, b = found["a"], found["b"]
    return Spelling([a, b], lambda w: w.elementwise("Sub", [w.loose(a), w.loose(b)]))


def _prelu(w: Writer, node: Node) -> Spelling | None:
    """x where x > 0, else x * slope, one for each channel"""
    found = match(node, of(ops.where, _POSITIVE, X, of(ops.mul, X, var("slope"))))
    if found is None or not w.fixed(bare(found["slope"])):
        return None
    x, slope = found["x"], bare(found["slope"])
    return Spelling([x, slope], lambda w: (w.node("PRelu", [w.full(x), w.loose(slope)[0]]), w.sizes.shape(node)))


# Products


def _conv_bias(w: Writer, node: Node) -> Spelling | None:
    """A convolution, of what may be padded, plus a number for each channel."""
    found = match(node, of(ops.add, of((ops.conv, ops.conv_data_grad), name="y"), var("b")))
    if found is None:
        return None
    bias = vector(w, found["b"], 1, len(node.shape))
    return None if bias is None else _convolution(node, found["y"], bias)


def _conv_padded(w: Writer, node: Node) -> Spelling | None:
    """A convolution of what is padded with zeros."""
    return _convolution(node, node, None) if edges(node.inputs[0]) else None


def _convolution(node: Node, y: Node, bias: Node | None) -> Spelling:
    x, weight = y.inputs
    low: Sequence[int] = ()
    high: Sequence[int] = ()
    if y.op is ops.conv and edges(x):
        low, high, x = x.attrs["low"][2:], x.attrs["high"][2:], x.inputs[0]

    def write(w: Writer) -> Value:
        operands = [w.full(x), w.full(weight), *([known(w, bias)] if bias is not None else [])]
        found = conv(w, y, operands, low, high) if y.op is ops.conv else conv_transpose(w, y, operands)
        return found, w.sizes.shape(node)

    return Spelling([x, weight], write)


_ROWS = of(ops.dot, X, of(ops.transpose, var("w"), name="turned"), name="y")


def _gemm(w: Writer, node: Node) -> Spelling | None:
    """x w' + b, or x w + b"""
    found = match(node, of(ops.add, of(ops.dot, X, var("w"), name="y"), var("b")))
    if found is None or len(node.shape) != 2:
        return None
    bias = vector(w, found["b"], 1, 2)
    if bias is None:
        return None
    x, weight = found["x"], found["w"]
    turned = weight.op is ops.transpose
    weight = weight.inputs[0] if turned else weight

    def write(w: Writer) -> Value:
        return w.node("Gemm", [w.full(x), w.full(weight), known(w, bias)], transB=int(turned)), w.sizes.shape(node)

    return Spelling([x, weight], write)


def _gemm_plain(w: Writer, node: Node) -> Spelling | None:
    """x w'"""
    found = match(node, _ROWS)
    if found is None or len(node.shape) != 2:
        return None
    x, weight = found["x"], found["w"]
    return Spelling([x, weight], lambda w: (w.node("Gemm", [w.full(x), w.full(weight)], transB=1), w.sizes.shape(node)))


IDIOMS: dict[str, tuple[Idiom, ...]] = {
    "add": (SIGMOID, SOFTPLUS, _conv_bias, _gemm, *norms.ADD, _sub),
    "mul": (_erf, *norms.MUL, *windows.MUL),
    "div": (*norms.DIV, *windows.DIV),
    "max": (RELU, _clip),
    "where": (LEAKY, _prelu, ELU),
    "reshape": windows.RESHAPE,
    "conv": (_conv_padded,),
    "dot": (_gemm_plain,),
}
