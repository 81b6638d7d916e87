"""Recurrent layers, unrolled over the steps of time: x is (T, N, …), T steps of N sequences side by side.

`cont`, (T, N), is 0 where a sequence begins and 1 where it goes on: what is remembered is multiplied by it. Without
first values (`h0`) a pass goes on with the last values of the pass before it, as in Caffe; no gradient flows there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import expr, ops
from ..graph import Node
from ..schema.fillers import constant, xavier
from ..schema.ranges import AtLeastOne
from .axes import refuse
from .base import carried, carry, layer, parameter
from .shape import concat

MAX_STEPS = 2000  # each is a copy of the layer's operations


def _steps(x: Node, cont: Node) -> tuple[int, int]:
    """The steps and the sequences; TypeRuleError where x and cont do not fit together."""
    refuse(len(x.shape) < 2, f"x is {x.type}, it has no axes of steps and of sequences")
    refuse(cont.shape != x.shape[:2], f"cont is {cont.type}, {x.type} wants [{x.shape[0]}, {x.shape[1]}]")
    refuse(not 1 <= x.shape[0] <= MAX_STEPS, f"{x.shape[0]} steps; there may be 1 to {MAX_STEPS}")
    return x.shape[0], x.shape[1]


def _entered(x: Node, static: Node | None, gates: int) -> list[Node]:
    """What enters each step from outside, (N, gates): x W' + b, and what stays the same for all steps."""
    steps, many = x.shape[:2]
    inner = math.prod(x.shape[2:])
    flat = expr.reshape(x, (steps * many, inner))
    entered = ops.dot(flat, _turned("weight", gates, inner)) + parameter("bias", (gates,), constant())
    entered = expr.reshape(entered, (steps, many, gates))
    if static is not None:
        refuse(not static.shape or static.shape[0] != many, f"static is {static.type}, not one row for each of {many}")
        inner = math.prod(static.shape[1:])
        same = ops.dot(expr.reshape(static, (many, inner)), _turned("static_weight", gates, inner))
        entered = entered + expr.reshape(same, (1, many, gates))
    return [expr.reshape(expr.cut(entered, 0, t, t + 1), (many, gates)) for t in range(steps)]


def _turned(name: str, out: int, inner: int) -> Node:
    """The parameter (out, inner) as a product wants it."""
    return expr.transpose(parameter(name, (out, inner), xavier()), (1, 0))


def _going_on(cont: Node, x: Node) -> list[Node]:
    """cont by steps, (N, 1)."""
    steps, many = cont.shape
    flags = expr.stop(expr.cast(cont, x.dtype))
    return [expr.reshape(expr.cut(flags, 0, t, t + 1), (many, 1)) for t in range(steps)]


def _first(name: str, given: Node | None, many: int, out: int) -> Node:
    """The value before the first step, (N, out): what is given, else the last of the pass before."""
    shape = (1, many, out)
    if given is None:
        return expr.reshape(carried(name, shape), (many, out))
    refuse(given.shape != shape, f"{name}0 is {given.type}, not [1, {many}, {out}]")
    return expr.reshape(expr.stop(given), (many, out))


def _stacked(values: Sequence[Node]) -> Node:
    """Values of steps, (N, out), as (T, N, out)."""
    return concat(*(expr.reshape(value, (1, *value.shape)) for value in values), axis=0)


@layer("RNN", params=("weight", "bias", "static_weight", "hidden_weight", "out_weight", "out_bias"), policy="f32")
def rnn(
    x: Node, cont: Node, *, out: AtLeastOne, static: Node | None = None, h0: Node | None = None
) -> Node | tuple[Node, Node]:
    """h = tanh(W x + U (cont * h) + b); y = tanh(V h + c), step by step   (Caffe: RNN)

    weight is (out, …), W; hidden_weight (out, out), U; out_weight (out, out), V. `static` (N, …), the same for all
    steps, is multiplied by static_weight and added. With h0, (1, N, out), the second result is the last h.
    """
    steps, many = _steps(x, cont)
    entered, flags = _entered(x, static, out), _going_on(cont, x)
    hidden = _turned("hidden_weight", out, out)
    h = _first("h", h0, many, out)
    each = []
    for t in range(steps):
        h = ops.tanh(ops.dot(h * flags[t], hidden) + entered[t])
        each.append(h)
    flat = expr.reshape(_stacked(each), (steps * many, out))
    y = ops.tanh(ops.dot(flat, _turned("out_weight", out, out)) + parameter("out_bias", (out,), constant()))
    y = expr.reshape(y, (steps, many, out))
    last = expr.stop(expr.reshape(h, (1, many, out)))
    if h0 is not None:
        return y, last
    carry("h", last)
    return y


def _unit(c: Node, gates: Node, cont: Node) -> tuple[Node, Node]:
    """c and h after a step; c is (…, out), gates (…, 4 out), cont (…, 1)."""
    axis, out = len(c.shape) - 1, c.shape[-1]
    i, f, o, g = (expr.cut(gates, axis, k * out, (k + 1) * out) for k in range(4))
    c = cont * expr.sigmoid(f) * c + expr.sigmoid(i) * ops.tanh(g)
    return c, expr.sigmoid(o) * ops.tanh(c)


@layer("LSTM", params=("weight", "bias", "static_weight", "hidden_weight"), policy="f32")
def lstm(
    x: Node,
    cont: Node,
    *,
    out: AtLeastOne,
    static: Node | None = None,
    h0: Node | None = None,
    c0: Node | None = None,
) -> Node | tuple[Node, Node, Node]:
    """c = cont * f * c + i * g; h = o * tanh(c), of the gates i, f, o, g = W x + U (cont * h) + b   (Caffe: LSTM)

    i, f and o are sigmoids, g a tanh, in this order in the rows of weight (4 out, …), W, and of hidden_weight
    (4 out, out), U. `static` (N, …), the same at all steps, is multiplied by static_weight and added. The result is h,
    (T, N, out). With h0 and c0, (1, N, out), it is followed by the last h and the last c, for the next pass.
    """
    refuse((h0 is None) != (c0 is None), "h0 and c0 are given together")
    steps, many = _steps(x, cont)
    entered, flags = _entered(x, static, 4 * out), _going_on(cont, x)
    hidden = _turned("hidden_weight", 4 * out, out)
    h, c = _first("h", h0, many, out), _first("c", c0, many, out)
    each = []
    for t in range(steps):
        c, h = _unit(c, ops.dot(h * flags[t], hidden) + entered[t], flags[t])
        each.append(h)
    last = [expr.stop(expr.reshape(value, (1, many, out))) for value in (h, c)]
    if h0 is not None:
        return _stacked(each), last[0], last[1]
    carry("h", last[0])
    carry("c", last[1])
    return _stacked(each)


@layer("LSTMUnit", policy="f32")
def lstm_unit(c: Node, gates: Node, cont: Node) -> tuple[Node, Node]:
    """One step of lstm: c' = cont * f * c + i * g and h = o * tanh(c')   (Caffe: LSTMUnit)

    c is (1, N, out), gates (1, N, 4 out) before their sigmoids and tanh, cont (1, N).
    """
    refuse(len(c.shape) != 3 or c.shape[0] != 1, f"c is {c.type}, not [1, N, out]")
    wanted = (*c.shape[:2], 4 * c.shape[2])
    refuse(gates.shape != wanted, f"the gates are {gates.type}, {c.type} wants {list(wanted)}")
    refuse(cont.shape != c.shape[:2], f"cont is {cont.type}, {c.type} wants {list(c.shape[:2])}")
    flag = expr.stop(expr.cast(expr.reshape(cont, (*cont.shape, 1)), c.dtype))
    return _unit(c, gates, flag)
