"""The rewrite engine and the manager: fixed point, merging, origins, the ledger, faults, speed."""

from __future__ import annotations

import time

import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, GraphError, Node, at
from netc.passes.manager import Stage, run
from netc.passes.rules.rewrite import Ledger, Match, Refuse, Rule, constant, merge_equal, number, of, rewrite, var
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import erase_surrogate
from support import graph_cases


def _x(name: str = "x", *shape: int) -> Node:
    return ops.input_(name=name, shape=shape or (2,), dtype="f32")


ONE = Rule("x * 1 = x", of(ops.mul, var("x"), number(1)), lambda m: m.x)
TWICE = Rule("-(-x) = x", of(ops.neg, of(ops.neg, var("x"))), lambda m: m.x)


def test_what_a_rule_makes_is_rewritten_too() -> None:
    split = Rule(
        "tanh(x) = -(-(x * 1))",
        of(ops.tanh, var("x")),
        lambda m: ops.neg(ops.neg(ops.mul(m.x, ops.const(value=1.0, shape=m.x.shape, dtype="f32")))),
    )
    x = _x()
    assert rewrite(Graph({"y": ops.tanh(x)}), [ONE, TWICE, split]).outputs["y"] is x


def test_equal_nodes_become_one_and_commuted_ones_too() -> None:
    x, y = _x(), _x("y")
    graph = merge_equal(Graph({"a": ops.add(x, y), "b": ops.add(y, x), "c": ops.maximum(x, y), "d": ops.maximum(y, x)}))
    out = graph.outputs
    assert out["a"] is out["b"]
    assert out["c"] is not out["d"]


def test_constants_that_differ_stay_two() -> None:
    zero = [ops.const(value=v, shape=(2,), dtype="f32") for v in (0.0, -0.0, 0)]
    graph = merge_equal(Graph({str(i): ops.div(_x(), z) for i, z in enumerate(zero)}))
    assert graph.outputs["0"] is not graph.outputs["1"]


def _bits(stream: int) -> Node:
    seed, step = (ops.param(name=n, shape=(), dtype="i64") for n in (".seed", ".step"))
    return ops.random(seed, step, shape=(2,), stream=stream)


def test_two_dropouts_stay_two() -> None:
    out = merge_equal(Graph({"a": _bits(0), "b": _bits(1), "c": _bits(0)})).outputs
    assert out["a"] is not out["b"]
    assert out["a"] is out["c"]


def test_merged_and_replaced_nodes_keep_all_their_layers() -> None:
    x = _x()
    with at(None, "first"):
        a = ops.tanh(x)
    with at(None, "second"):
        b = ops.tanh(x)
    with at(None, "third"):
        c = b * 1.0
    graph = rewrite(Graph({"a": a, "c": c}), [ONE])
    assert graph.outputs["a"] is graph.outputs["c"]
    assert [o.scope for o in graph.origins(graph.outputs["a"])] == ["first", "second", "third"]
    again = merge_equal(graph)
    assert [o.scope for o in again.origins(again.outputs["a"])] == ["first", "second", "third"]


def test_what_a_rule_makes_belongs_to_the_layer_it_replaces() -> None:
    x = _x()
    with at(None, "act"):
        y = ops.tanh(x)
    rule = Rule("tanh(x) = exp(-x)", of(ops.tanh, var("x")), lambda m: ops.exp(ops.neg(m.x)))
    graph = rewrite(Graph({"y": y}), [rule])
    assert [n.scope for n in graph.order] == ["", "act", "act"]


def test_a_name_that_stands_twice_matches_one_value() -> None:
    same = Rule("max(x, x) = x", of(ops.maximum, var("x"), var("x")), lambda m: m.x)
    x, y = _x(), _x("y")
    graph = rewrite(Graph({"a": ops.maximum(ops.tanh(x), ops.tanh(x)), "b": ops.maximum(x, y)}), [same])
    assert graph.outputs["a"].op is ops.tanh
    assert graph.outputs["b"].op is ops.maximum


def test_every_order_of_a_commuting_operand_is_tried() -> None:
    factor = Rule(
        "a * c + b * c = (a + b) * c",
        of(ops.add, of(ops.mul, var("a"), var("c")), of(ops.mul, var("b"), var("c"))),
        lambda m: ops.mul(ops.add(m.a, m.b), m.c),
    )
    a, b, c = _x("a"), _x("b"), _x("c")
    for left in (a * c, c * a):
        for right in (b * c, c * b):
            out = rewrite(Graph({"y": left + right}), [factor]).outputs["y"]
            assert out.op is ops.mul
            assert out.inputs[1] is c


def test_the_ledger_counts_laws_and_reasons() -> None:
    never = Rule("x + k", of(ops.add, var("x"), constant("k")), lambda m: Refuse("not today"))
    ledger = Ledger()
    rewrite(Graph({"y": (_x() * 1.0 + 2.0) * 1.0}), [ONE, never], ledger)
    assert ledger.fired == {"x * 1 = x": 2}
    assert ledger.refused == {("x + k", "not today"): 1}


def test_readers_are_counted() -> None:
    seen: list[bool] = []

    def look(m: Match) -> None:
        seen.append(m.shared(m.x))

    rule = Rule("-x", of(ops.neg, of(ops.tanh, name="x")), look)
    once, twice = ops.tanh(_x()), ops.tanh(_x("y"))
    rewrite(Graph({"a": ops.neg(once), "b": ops.neg(twice), "c": twice}), [rule])
    assert seen == [False, True]


def test_rules_that_run_in_a_circle_are_a_fault() -> None:
    there = Rule("tanh to exp", of(ops.tanh, var("x")), lambda m: ops.exp(m.x))
    back = Rule("exp to tanh", of(ops.exp, var("x")), lambda m: ops.tanh(m.x))
    with pytest.raises(GraphError, match="circle"):
        rewrite(Graph({"y": ops.tanh(_x())}), [there, back])


def test_a_rule_that_changes_the_type_is_a_fault() -> None:
    wrong = Rule("tanh(x) = x < x", of(ops.tanh, var("x")), lambda m: ops.less(m.x, m.x))
    with pytest.raises(GraphError, match=r"made bool\[2\] of f32\[2\]"):
        rewrite(Graph({"y": ops.tanh(_x())}), [wrong])


def test_a_rule_says_where_it_begins() -> None:
    with pytest.raises(ValueError, match="does not say at which op"):
        rewrite(Graph({"y": _x()}), [Rule("x = x", var("x"), lambda m: m.x)])


def test_chains_of_surrogates_are_erased() -> None:
    x, y = _x(), _x("y")
    node = ops.surrogate(ops.tanh(ops.surrogate(ops.surrogate(x, y), y)), y)
    graph = erase_surrogate(Graph({"out": node}))
    assert [n.op for n in graph.order] == [ops.input_, ops.tanh]


def test_before_and_after(golden: graph_cases.Golden) -> None:
    graph_cases.check("merge", golden, {"merge": merge_equal})


def test_nine_thousand_nodes_take_about_a_second() -> None:
    y = _x()
    for i in range(3000):
        y = ops.tanh(y * (1.0 + i % 7)) + _x()
    graph = Graph({"y": y})
    assert len(graph.order) > 9000
    start = time.process_time()
    simplify(graph)
    # 0.6 s alone; coverage and busy machines multiply it, a quadratic pass would take minutes.
    assert time.process_time() - start < 6.0


def test_passes_run_in_order_and_are_observed() -> None:
    stages: list[Stage[Graph]] = []
    graph = Graph({"y": _x() * 1.0})
    after = run(graph, [("merge", merge_equal), ("simplify", simplify)], stages.append)
    assert [s.name for s in stages] == ["merge", "simplify"]
    assert stages[0].before is graph
    assert stages[0].after is stages[1].before
    assert stages[1].after is after
    assert after.outputs["y"].op is ops.input_
    assert all(s.seconds >= 0 for s in stages)


def test_a_pass_that_leaves_an_invalid_graph_is_named() -> None:
    def twins(graph: Graph) -> Graph:
        return Graph({"a": _x(), "b": _x()})

    with pytest.raises(GraphError, match="pass twins left an invalid graph: two nodes for input x"):
        run(Graph({"y": _x()}), [("twins", twins)])
    assert run(Graph({"y": _x()}), [("twins", twins)], verify=False).outputs.keys() == {"a", "b"}


def test_a_pass_that_makes_an_ill_typed_node_is_named() -> None:
    def bad(graph: Graph) -> Graph:
        return Graph({"y": ops.add(_x(), expr.zeros(ops.less(_x(), _x()).type))})

    with pytest.raises(GraphError, match="pass bad made an ill-typed node"):
        run(Graph({"y": _x()}), [("bad", bad)])
