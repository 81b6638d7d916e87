"""Types, nodes, graphs and their text form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, GraphError, Node, Origin, at
from netc.compiler.interpret import evaluate, interpret
from netc.compiler.kernel import Blocks, Schedule
from netc.compiler.ops import TypeRuleError
from netc.compiler.text import print_graph
from netc.compiler.text_reader import read_graph
from netc.compiler.types import Dim, Literal, TensorType


def x(shape: tuple[int, ...] = (2, 3), name: str = "x", dtype: str = "f32") -> Node:
    return ops.input_(name=name, shape=shape, dtype=dtype)


def test_a_named_dimension_is_an_int_that_prints_its_name() -> None:
    n = Dim(64, "N")
    assert str(TensorType((n, 20, 24, 24))) == "f32[N,20,24,24]"
    assert TensorType((n, 20)) == TensorType((64, 20))
    assert type(n * 2) is int


def test_an_ill_typed_node_cannot_be_made_and_says_where() -> None:
    with at(None, "conv1"), pytest.raises(TypeRuleError, match=r"add: operands differ: f32\[2,3\], f32\[3,2\]"):
        ops.add(x(), x((3, 2), "y"))


def test_nodes_are_equal_only_to_themselves() -> None:
    a = x()
    assert ops.neg(a) != ops.neg(a)


def test_order_has_operands_first_and_is_the_same_each_time() -> None:
    a = x()
    b = ops.add(a, ops.neg(a))
    graph = Graph({"y": ops.mul(b, b)})
    position = {n: i for i, n in enumerate(graph.order)}
    assert all(position[i] < position[n] for n in graph.order for i in n.inputs)
    assert [n.op.name for n in graph.order] == ["input", "neg", "add", "mul"]
    assert [n.op.name for n in graph.users[a]] == ["neg", "add"]
    assert graph.index.number_of_edges() == 5


def test_a_chain_of_any_depth_is_ordered() -> None:
    node = x()
    for _ in range(5000):
        node = ops.neg(node)
    assert len(Graph({"y": node}).order) == 5001


def test_rebuild_replaces_and_keeps_the_places_of_what_it_replaced() -> None:
    with at(None, "a"):
        a = ops.neg(x())
    with at(None, "b"):
        b = ops.neg(a)
    with at(None, "c"):
        c = ops.exp(b)
    graph = Graph({"y": c}).rebuild({b: a.inputs[0]})
    assert graph.outputs["y"].inputs[0].op.name == "input"
    assert Origin(None, "b") in graph.origins(graph.outputs["y"].inputs[0])
    assert graph.origins(graph.outputs["y"]) == (Origin(None, "c"),)


def test_the_verifier_asks_each_type_rule_again() -> None:
    a = x()
    wrong = Node(ops.add, (a, a), {}, TensorType((9,)), Origin())
    with pytest.raises(GraphError, match=r"add has type f32\[9\], its rule says f32\[2,3\]"):
        Graph({"y": wrong}).verify()
    with pytest.raises(GraphError, match="two nodes for input x"):
        Graph({"y": ops.add(x(), x())}).verify()
    state = ops.param(name="w", shape=(2, 3), dtype="f32")
    with pytest.raises(GraphError, match=r"update of w is f32\[2,1\]"):
        Graph({"y": state}, {"w": ops.sum_(state, axes=(1,))}).verify()
    unhashable = Node(ops.reshape, (a,), {"shape": [3, 2]}, TensorType((3, 2)), Origin())
    with pytest.raises(GraphError):
        Graph({"y": unhashable}).verify()


def test_the_verifier_looks_into_kernels_and_says_in_which() -> None:
    inside = ops.input_(name="in0", shape=(2, 3), dtype="f32")
    wrong = Node(ops.neg, (ops.exp(inside),), {}, TensorType((2, 3), "f64"), Origin())
    with at(None, "score"):
        kernel = ops.kernel(x(), kind="map", body=Graph({"out0": wrong}))
    with pytest.raises(GraphError, match=r"in a kernel of score: neg has type f64\[2,3\], its rule says f32"):
        Graph({"y": ops.item(kernel, index=0)}).verify()


def test_a_kernel_is_verified_once_however_many_graphs_hold_it() -> None:
    asked = []

    def infer(type_: TensorType) -> TensorType:
        asked.append(type_)
        return type_

    inside = ops.input_(name="in0", shape=(2, 3), dtype="f32")
    body = Graph({"out0": replace(ops.exp, infer=infer)(inside)})
    asked.clear()
    for _ in range(3):  # as after each stage
        Graph({"y": ops.item(ops.kernel(x(), kind="map", body=body), index=0)}).verify()
    assert len(asked) == 1


def test_the_text_form_reads_back_to_the_same_text() -> None:
    n = Dim(2, "N")
    a = ops.input_(name="x", shape=(n, 3), dtype="f32")
    table = ops.const(value=Literal.of(np.arange(3.0), "f32"), shape=(3,), dtype="f32")
    y = expr.where(a > 0, a + table, -2.5) * expr.constant(float("-inf"), a)
    body = Graph({"out0": ops.neg(x(name="in0"))})
    schedule = Schedule(axes=(0, None), length=2, tile=1, split=True)
    fused = ops.item(ops.kernel(y, kind="map", body=body, schedule=schedule), index=0)
    fused = ops.item(ops.kernel(fused, kind="map", body=body, schedule=Blocks(columns=64, key="0a")), index=0)
    state = ops.param(name=".step", shape=(), dtype="i64")
    graph = Graph({"y": fused, "odd name": y}, {".step": expr.add(state, 1)})
    text = print_graph(graph)
    assert print_graph(read_graph(text)) == text
    feeds = {"x": np.array([[1.0, -2, 3], [0, 5, -6]]), ".step": 4}
    before, after = evaluate(graph, feeds), evaluate(read_graph(text), feeds)
    np.testing.assert_array_equal(before[0]["y"], after[0]["y"])
    assert after[1][".step"] == 5


def test_comments_name_the_layers_and_are_dropped_by_the_reader() -> None:
    with at(None, "conv#1"):
        graph = Graph({"y": ops.neg(x())})
    assert "# conv#1" in print_graph(graph)
    assert print_graph(read_graph(print_graph(graph))) == print_graph(graph, comments=False)


def test_interpret_computes_in_the_declared_type_or_wide() -> None:
    a = x((1,))
    graph = Graph({"y": ops.add(a, ops.const(value=1e-9, shape=(1,), dtype="f32"))})
    assert interpret(graph, {"x": [1.0]})["y"][0] == 1 + 1e-9
    assert interpret(graph, {"x": [1.0]}, wide=False)["y"][0] == 1
    with pytest.raises(ValueError, match="the graph wants"):
        interpret(graph, {"x": [1.0, 2.0]})
    with pytest.raises(KeyError):
        interpret(graph, {})


def test_random_bits_are_those_of_philox() -> None:
    seed, step = (ops.param(name=n, shape=(), dtype="i64") for n in (".seed", ".step"))
    graph = Graph({"y": ops.random(seed, step, shape=(5,), stream=3)})
    got = interpret(graph, {".seed": 7, ".step": 2})["y"]
    raw = np.random.Philox(key=[7, 0], counter=[0, 2, 3, 0]).random_raw(3)
    halves = [h for word in raw for h in (int(word) & 0xFFFFFFFF, int(word) >> 32)]
    assert [int(v) for v in got] == halves[:5]
