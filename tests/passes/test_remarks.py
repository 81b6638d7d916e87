"""Optimization remarks of the laws: which were applied where, which were refused there and why."""

from __future__ import annotations

from netc.compiler import ops
from netc.compiler.graph import Graph, Node, at
from netc.passes.manager import Pipeline
from netc.passes.rules.fold_weights import fold_weights
from netc.passes.rules.remarks import remarks
from netc.passes.rules.rewrite import SHARED
from netc.passes.rules.simplify import simplify
from support.short_nodes import channels, conv, number, w, x

PASSES: Pipeline = (("simplify", simplify), ("fold weights", fold_weights))


def told(outputs: dict[str, Node], passes: Pipeline = PASSES) -> list[tuple[str, str, str, str, int]]:
    """Stage, law, layer, why refused, and how often."""
    found = remarks(Graph(outputs), passes)
    return [(one.stage, one.law, one.origin.scope, one.refused, one.times) for one in found]


def test_what_is_applied_has_its_pass_and_layer() -> None:
    with at(None, "first"):
        y = ops.neg(ops.neg(x())) * 1.0
    with at(None, "second"):
        z = ops.tanh(y) * 1.0
    assert told({"z": z}) == [
        ("simplify", "-(-x) = x", "first", "", 1),
        ("simplify", "x * 1 = x", "first", "", 1),
        ("simplify", "x * 1 = x", "second", "", 1),
    ]


LAW = "conv(x, w) * s = conv(x, w * s), and so for dot"


def scaled(y: Node) -> Node:
    with at(None, "scale"):
        return y * channels(w(4, name="s"))


def test_a_refusal_has_its_reason() -> None:
    y = conv(x(2, 3, 5, 5), w(4, 3, 3, 3))
    assert told({"raw": y, "scaled": scaled(y)}) == [("fold weights", LAW, "scale", SHARED, 1)]


def test_what_is_refused_at_first_and_applied_in_another_round_is_not_refused() -> None:
    """The second reader of the product is never chosen, and gone after the first round."""
    y = conv(x(2, 3, 5, 5), w(4, 3, 3, 3))
    never = ops.where(number(True, *y.shape, dtype="bool"), x(*y.shape, name="chosen"), y)
    rows = told({"scaled": scaled(y), "other": ops.tanh(never)}, PASSES[1:])
    assert [row[2:] for row in rows if row[1] == LAW] == [("scale", "", 1)]


def test_why_a_law_is_allowed_comes_along() -> None:
    found = remarks(Graph({"y": (x() * 2.0) * 3.0, "z": x() + 0.0}), PASSES)
    whys = {one.law: one.why for one in found}
    assert "last place" in whys["(x * k) * l = x * (k * l)"]
    assert whys["x + 0 = x"] == "only the sign of a zero differs"
