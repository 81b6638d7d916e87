"""Gradients of composed graphs against finite differences, and what the pass does at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, GraphError, Node, at
from netc.compiler.interpret import interpret
from netc.compiler.net import OBJECTIVE
from netc.compiler.text import print_graph
from netc.grammar.source import Source
from netc.passes.rules.rewrite import merge_equal
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import erase_surrogate, gradient
from support import graph_cases
from support.equality import check_passes, feeds_for
from support.random_graphs import graphs


def _x(*shape: int, name: str = "x") -> Node:
    return ops.input_(name=name, shape=shape, dtype="f32")


def _w(*shape: int, name: str = "w") -> Node:
    return ops.param(name=name, shape=shape, dtype="f32")


NETS = (
    "mlp",
    "pooled_conv",
    "deconvolution",
    "response_norm",
    "softmax_loss",
    "batch_norm",
    "shared_and_moved",
    "gathered",
)


def net(name: str) -> Graph:
    """A graph with an objective."""
    return graph_cases.cases(f"gradient_{name}")[f"gradient_{name}"].graph


def _slope(graph: Graph, feeds: dict[str, np.ndarray], step: dict[str, np.ndarray], size: float) -> float:
    ends = [float(interpret(graph, {k: v + s * step.get(k, 0.0) for k, v in feeds.items()})[OBJECTIVE])
            for s in (size, -size)]  # fmt: skip
    return (ends[0] - ends[1]) / (2 * size)


@pytest.mark.parametrize("name", NETS)
def test_finite_differences_in_one_direction(name: str) -> None:
    graph = erase_surrogate(net(name))
    feeds = feeds_for(graph)
    names = list(feeds)
    found = interpret(gradient(names)(net(name)), feeds)
    rng = np.random.default_rng(1)
    step = {k: np.asarray(rng.standard_normal(v.shape)) for k, v in feeds.items()}
    slope = sum(float((found[f"{k}.grad"] * step[k]).sum()) for k in names)
    assert slope == pytest.approx(_slope(graph, feeds, step, 1e-6), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", NETS)
def test_simplified_gradients_are_equal(name: str) -> None:
    graph = net(name)
    feeds = feeds_for(graph)
    names = sorted(feeds)
    after = check_passes(graph, [("gradient", gradient(names)), ("simplify", simplify)], feeds)
    assert set(after.outputs) == {OBJECTIVE, *(f"{n}.grad" for n in names)}


@pytest.mark.parametrize("name", NETS)
def test_before_and_after(name: str, golden: graph_cases.Golden) -> None:
    graph_cases.check(f"gradient_{name}", golden)


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_random_graphs_differentiate_to_equal_values(graph: Graph) -> None:
    total = expr.sum(expr.cast(list(graph.outputs.values())[-1], "f32"))
    graph = merge_equal(Graph({OBJECTIVE: total}))
    names = list({**graph.params, **graph.inputs})
    with np.errstate(all="ignore"):
        feeds = feeds_for(graph)
        check_passes(graph, [("gradient", gradient(names)), ("simplify", simplify)], feeds)


def test_fan_in_is_summed() -> None:
    x = _x(3)
    found = interpret(gradient(["x"])(Graph({OBJECTIVE: expr.sum(x * x * x + x)})), {"x": [1.0, 2.0, -1.0]})
    np.testing.assert_allclose(found["x.grad"], [4.0, 13.0, 4.0])


def test_what_the_objective_does_not_reach_gets_zeros() -> None:
    graph = Graph({OBJECTIVE: expr.sum(_x(3)), "other": _w(2) * 2.0})
    found = interpret(gradient(["w"])(graph), {"x": np.ones(3), "w": np.ones(2)})
    assert found["w.grad"].tolist() == [0.0, 0.0]


def test_surrogate_gives_the_value_forward_and_the_path_backward() -> None:
    x = _x(3)
    graph = gradient(["x"])(Graph({OBJECTIVE: expr.sum(ops.surrogate(expr.minimum(x, 1.0), x * 5.0))}))
    assert all(node.op is not ops.surrogate for node in graph.order)
    found = interpret(graph, {"x": [0.0, 1.0, 2.0]})
    assert found[OBJECTIVE] == 2.0
    assert found["x.grad"].tolist() == [5.0, 5.0, 5.0]


def test_no_gradient_flows_through_stop() -> None:
    x = _x(2)
    found = interpret(gradient(["x"])(Graph({OBJECTIVE: expr.sum(x * expr.stop(x))})), {"x": [3.0, 4.0]})
    assert found["x.grad"].tolist() == [3.0, 4.0]


def test_backward_nodes_carry_place_and_layer() -> None:
    span = Source("a.net", "y = tanh(x)").span(4, 11)
    with at(span, "act"):
        y = ops.tanh(_x(3))
    graph = gradient(["x"])(Graph({OBJECTIVE: expr.sum(y)}))
    backward = [n for n in graph.order if n.op is ops.mul]
    assert backward
    assert all((n.span, n.scope) == (span, "act") for n in backward)


def test_the_same_graph_gives_the_same_text() -> None:
    def text() -> str:
        return print_graph(gradient(["x", "w"])(net("shared_and_moved")))

    assert text() == text()


def test_only_what_lies_between_is_differentiated() -> None:
    graph = gradient(["w"])(net("mlp"))
    assert set(graph.outputs) == {OBJECTIVE, "w.grad"}
    assert sum(node.op is ops.dot for node in graph.order) == 2


def test_unknown_names_and_objectives_are_refused() -> None:
    with pytest.raises(GraphError, match="no gradient by nope"):
        gradient(["nope"])(Graph({OBJECTIVE: expr.sum(_x(3))}))
    with pytest.raises(GraphError, match="not one number"):
        gradient(["x"])(Graph({OBJECTIVE: _x(3)}))


def test_ops_without_a_derivative_are_refused() -> None:
    body = Graph({"out": ops.input_(name="in0", shape=(3,), dtype="f32") * 2.0})
    y = ops.item(ops.kernel(_x(3), kind="map", body=body), index=0)
    with pytest.raises(GraphError, match="kernel cannot be differentiated"):
        gradient(["x"])(Graph({OBJECTIVE: expr.sum(y)}))


def test_powers_of_zero_have_finite_gradients() -> None:
    """0 ** 0 and 0 ** 2 are flat in the base or nearly so, and 0 ** y is in y: no 0 * infinity."""
    x, y = _x(3), _x(3, name="y")
    graph = gradient(["x", "y"], "o")(Graph({"o": expr.sum(expr.pow(x, y) + expr.pow(x, 0.0))}))
    found = interpret(graph, {"x": np.array([0.0, 0.0, 2.0]), "y": np.array([2.0, 1.0, 3.0])})
    np.testing.assert_allclose(found["x.grad"], [0.0, 1.0, 12.0])
    np.testing.assert_allclose(found["y.grad"], [0.0, 0.0, 8 * np.log(2.0)])
