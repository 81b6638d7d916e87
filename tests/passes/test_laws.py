"""Each law: a case in which it applies, the graph before and after as text, and equal values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph
from netc.passes.rules import fold_weights as weights
from netc.passes.rules.rewrite import SHARED, Ledger, Rule, rewrite
from netc.passes.rules.simplify import RULES, simplify
from support import graph_cases, short_nodes
from support.equality import check_passes, feeds_for

FILES = ("algebra", "movement", "constants", "weights")
CASES = {name: case for file in FILES for name, case in graph_cases.cases(file).items()}
WEIGHT_RULES = weights.weight_rules()


@pytest.mark.parametrize("file", FILES)
def test_before_and_after(file: str, golden: graph_cases.Golden) -> None:
    graph_cases.check(file, golden)


@pytest.mark.parametrize("rule", [*RULES, *WEIGHT_RULES], ids=lambda rule: rule.law)
def test_a_law_has_a_case_applies_alone_and_keeps_values(rule: Rule) -> None:
    before, ledger = CASES[rule.law].graph, Ledger()
    after = rewrite(before, [rule], ledger)
    assert ledger.fired.get(rule.law), "the law does not apply to its case"
    with np.errstate(all="ignore"):
        check_passes(before, [(rule.law, lambda _: after)], feeds_for(before))


@pytest.mark.parametrize("name", CASES)
def test_all_laws_together_keep_values(name: str) -> None:
    graph = CASES[name].graph
    with np.errstate(all="ignore"):
        check_passes(graph, [("simplify", simplify), ("fold weights", weights.fold_weights)], feeds_for(graph))


def _refusals(graph: Graph, apply: Callable[[Graph, Ledger], Graph]) -> set[tuple[str, str]]:
    ledger = Ledger()
    apply(graph, ledger)
    return set(ledger.refused)


def test_what_may_be_infinite_is_not_cancelled() -> None:
    x = short_nodes.x()
    graph = Graph({"zero": x * 0.0, "difference": x - x})
    reason = "x may be infinite or NaN, which the result has to show"
    assert {("x * 0 = 0", reason), ("x - x = 0", reason)} <= _refusals(graph, simplify)
    out = simplify(graph).outputs
    assert out["zero"].op is ops.mul
    assert out["difference"].op is ops.add


def test_weights_of_a_result_used_twice_stay() -> None:
    y = short_nodes.conv(short_nodes.x(2, 3, 5, 5), short_nodes.w(4, 3, 3, 3))
    graph = Graph({"raw": y, "scaled": y * short_nodes.channels(short_nodes.w(4, name="s"))})
    law = "conv(x, w) * s = conv(x, w * s), and so for dot"
    assert (law, SHARED) in _refusals(graph, weights.fold_weights)
    assert sum(n.op is ops.conv for n in weights.fold_weights(graph).order) == 1


def test_batch_norm_costs_nothing_after_a_convolution() -> None:
    graph = CASES["batch norm after a convolution"].graph
    out = weights.fold_weights(graph).outputs["out"]
    assert out.op is ops.add
    assert {x.op for x in out.inputs} == {ops.conv, ops.broadcast}


def test_a_factor_that_depends_on_the_input_stays() -> None:
    product = ops.dot(short_nodes.x(), short_nodes.w(3, 4))
    graph = Graph({"out": product * expr.sum(short_nodes.x(), 1, keepdims=True)})
    assert weights.fold_weights(graph).outputs["out"].op is ops.mul
