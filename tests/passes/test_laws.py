"""Each law: a case in which it applies, the graph before and after as text, and equal values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph
from netc.compiler.text import print_graph
from netc.compiler.text_reader import read_graph
from netc.passes.rules import fold_weights as weights
from netc.passes.rules.rewrite import SHARED, Ledger, Rule, rewrite
from netc.passes.rules.simplify import RULES, simplify
from support import law_cases
from support.equality import check_passes, feeds_for

Golden = Callable[[Path, str], None]
FOLDER = Path(__file__).parent / "golden"
SIMPLIFY = {**law_cases.ALGEBRA, **law_cases.MOVEMENT, **law_cases.CONSTANTS}
WEIGHTS = {**law_cases.WEIGHTS, **law_cases.TOGETHER}
WEIGHT_RULES = weights.weight_rules()


def _shown(cases: dict[str, law_cases.Build], apply: Callable[[Graph], Graph]) -> str:
    texts = []
    for name, build in cases.items():
        before = law_cases.graph(build)
        after = print_graph(apply(before), comments=False)
        texts.append(f"== {name}\n{print_graph(before, comments=False)}->\n{after}")
    return "\n".join(texts)


@pytest.mark.parametrize("family", ["ALGEBRA", "MOVEMENT", "CONSTANTS"])
def test_before_and_after(family: str, golden: Golden) -> None:
    golden(FOLDER / f"{family.lower()}.txt", _shown(getattr(law_cases, family), simplify))


def test_weights_before_and_after(golden: Golden) -> None:
    golden(FOLDER / "weights.txt", _shown(WEIGHTS, weights.fold_weights))


def test_every_law_has_a_case() -> None:
    assert {rule.law for rule in RULES} == set(SIMPLIFY)
    assert {rule.law for rule in WEIGHT_RULES} == set(law_cases.WEIGHTS)


@pytest.mark.parametrize("rule", [*RULES, *WEIGHT_RULES], ids=lambda rule: rule.law)
def test_a_law_applies_alone_and_keeps_values(rule: Rule) -> None:
    build = SIMPLIFY.get(rule.law) or WEIGHTS[rule.law]
    before, ledger = law_cases.graph(build), Ledger()
    after = rewrite(before, [rule], ledger)
    assert ledger.fired.get(rule.law), "the law does not apply to its case"
    with np.errstate(all="ignore"):
        check_passes(before, [(rule.law, lambda _: after)], feeds_for(before))


@pytest.mark.parametrize("name", [*SIMPLIFY, *WEIGHTS])
def test_all_laws_together_keep_values(name: str) -> None:
    graph = law_cases.graph(SIMPLIFY.get(name) or WEIGHTS[name])
    with np.errstate(all="ignore"):
        check_passes(graph, [("simplify", simplify), ("fold weights", weights.fold_weights)], feeds_for(graph))


def test_texts_read_back() -> None:
    for build in SIMPLIFY.values():
        text = print_graph(law_cases.graph(build), comments=False)
        assert print_graph(read_graph(text), comments=False) == text


def _refusals(graph: Graph, apply: Callable[[Graph, Ledger], Graph]) -> set[tuple[str, str]]:
    ledger = Ledger()
    apply(graph, ledger)
    return set(ledger.refused)


def test_what_may_be_infinite_is_not_cancelled() -> None:
    x = law_cases.x()
    graph = Graph({"zero": x * 0.0, "difference": x - x})
    reason = "x may be infinite or NaN, which the result has to show"
    assert {("x * 0 = 0", reason), ("x - x = 0", reason)} <= _refusals(graph, simplify)
    out = simplify(graph).outputs
    assert out["zero"].op is ops.mul
    assert out["difference"].op is ops.add


def test_weights_of_a_result_used_twice_stay() -> None:
    y = law_cases.conv(law_cases.x(2, 3, 5, 5), law_cases.w(4, 3, 3, 3))
    graph = Graph({"raw": y, "scaled": y * law_cases.channels(law_cases.w(4, name="s"))})
    law = "conv(x, w) * s = conv(x, w * s), and so for dot"
    assert (law, SHARED) in _refusals(graph, weights.fold_weights)
    assert sum(n.op is ops.conv for n in weights.fold_weights(graph).order) == 1


def test_batch_norm_costs_nothing_after_a_convolution() -> None:
    graph = law_cases.graph(law_cases.TOGETHER["batch norm after a convolution"])
    out = weights.fold_weights(graph).outputs["out"]
    assert out.op is ops.add
    assert {x.op for x in out.inputs} == {ops.conv, ops.broadcast}


def test_a_factor_that_depends_on_the_input_stays() -> None:
    product = ops.dot(law_cases.x(), law_cases.w(3, 4))
    graph = Graph({"out": product * expr.sum(law_cases.x(), 1, keepdims=True)})
    assert weights.fold_weights(graph).outputs["out"].op is ops.mul
