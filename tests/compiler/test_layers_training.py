"""Layers that are another in training than in test mode, and how much work the gradient of normalization is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.compiler import expr
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate, interpret
from netc.compiler.net import SEED, STEP
from netc.compiler.ops import TypeRuleError
from netc.passes.training.gradient import cotangents, erase_surrogate
from support.standalone import Standalone, normal, tensor


def dropped(step: int, ratio: float = 0.3, count: int = 20_000) -> np.ndarray[Any, Any]:
    context = Standalone()
    y = context.call("dropout", tensor("x", count), ratio=ratio)
    return interpret(context.graph({"y": y}), {"x": np.ones(count), SEED: 7, STEP: step})["y"]


def test_dropout_drops_its_share_and_scales_the_rest() -> None:
    y = dropped(0)
    assert set(np.unique(y)) == {0.0, 1.0 / 0.7}
    # Five standard deviations of a binomial count.
    assert abs((y == 0).mean() - 0.3) < 5 * (0.3 * 0.7 / y.size) ** 0.5


def test_dropout_is_the_same_again_and_another_at_the_next_step() -> None:
    assert np.array_equal(dropped(3), dropped(3))
    assert not np.array_equal(dropped(3), dropped(4))


def test_two_dropouts_drop_differently() -> None:
    context = Standalone()
    x = tensor("x", 1000)
    graph = context.graph({"a": context.call("dropout", x), "b": context.call("dropout", x)})
    found = interpret(graph, {"x": np.ones(1000), SEED: 1, STEP: 1})
    assert not np.array_equal(found["a"], found["b"])


def test_dropouts_gradient_has_the_mask_of_its_value() -> None:
    context = Standalone()
    x = tensor("x", 100)
    objective = expr.sum(context.call("dropout", x))
    gradient = cotangents(Graph({"o": objective}), objective, [x])[x]
    feeds = {"x": np.full(100, 3.0), SEED: 1, STEP: 1}
    y, g = (interpret(Graph({"r": r}), feeds)["r"] for r in (context_value(objective), gradient))
    np.testing.assert_allclose(y, 3.0 * g)


def context_value(total: Node) -> Node:
    """What a `sum` sums."""
    while total.op.name != "sum":
        total = total.inputs[0]
    return total.inputs[0]


def test_dropout_does_nothing_in_test_mode_or_without_a_ratio() -> None:
    x = tensor("x", 4)
    assert Standalone(training=False).call("dropout", x) is x
    assert Standalone().call("dropout", x, ratio=0.0) is x
    with pytest.raises(TypeRuleError, match=r"`ratio` takes a number from 0 up and below 1, not 1\.0"):
        Standalone().call("dropout", x, ratio=1.0)


STATE = {"l.mean": np.array([1.0, 2.0]), "l.variance": np.array([3.0, 5.0]), "l.factor": np.array([2.0])}
AFFINE = {"l.weight": np.array([0.5, 2.0]), "l.bias": np.array([1.0, -1.0])}


def run(training: bool, **settings: Any) -> tuple[dict[str, Any], dict[str, Any], np.ndarray[Any, Any]]:
    context = Standalone(training=training)
    x = normal(6, 2, 3)
    graph = context.graph({"y": context.call("batch_norm", tensor("x", 6, 2, 3), **settings)})
    return *evaluate(graph, {"x": x, **STATE, **AFFINE}), x


def test_batch_norm_in_training_uses_the_batch_and_commits_running_sums() -> None:
    outputs, updates, x = run(True, eps=0.0, moving_average_fraction=0.9)
    axes = (0, 2)
    y = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    np.testing.assert_allclose(outputs["y"], y * [[0.5], [2.0]] + [[1.0], [-1.0]])
    np.testing.assert_allclose(updates["l.mean"], 0.9 * STATE["l.mean"] + x.mean(axes))
    np.testing.assert_allclose(updates["l.variance"], 0.9 * STATE["l.variance"] + x.var(axes, ddof=1))
    np.testing.assert_allclose(updates["l.factor"], [2.8])


@pytest.mark.parametrize(("training", "settings"), [(False, {}), (True, {"use_global_stats": True})])
def test_batch_norm_with_running_statistics_commits_nothing(training: bool, settings: dict[str, Any]) -> None:
    outputs, updates, x = run(training, eps=0.5, **settings)
    y = (x - [[0.5], [1.0]]) / np.sqrt(np.array([[1.5], [2.5]]) + 0.5)
    np.testing.assert_allclose(outputs["y"], y * [[0.5], [2.0]] + [[1.0], [-1.0]])
    assert updates == {}


def test_batch_norm_of_no_statistics_counts_them_as_zero() -> None:
    context = Standalone(training=False)
    graph = context.graph({"y": context.call("batch_norm", tensor("x", 3, 2), affine=False, eps=4.0)})
    x = normal(3, 2)
    np.testing.assert_allclose(interpret(graph, {"x": x, **STATE, "l.factor": np.zeros(1)})["y"], x / 2.0, rtol=1e-12)


def passes_over(gradient: Node, saved: set[Node], axes: tuple[int, ...]) -> int:
    """How many reductions over `axes`, one after the other, stand between what the forward pass made and a gradient."""
    depth: dict[Node, int] = {}
    for node in Graph({"g": gradient}).order:
        reduces = node.op.name == "sum" and set(node.attrs["axes"]) >= set(axes)
        depth[node] = 0 if node in saved else max((depth[x] for x in node.inputs), default=0) + reduces
    return depth[gradient]


@pytest.mark.parametrize(
    ("kind", "axes", "sizes", "settings"),
    [
        ("batch_norm", (0, 2), (6, 2, 3), {}),
        ("batch_norm", (0, 2), (6, 2, 3), {"affine": False}),
        ("mvn", (2,), (6, 2, 3), {}),
        ("softmax", (1,), (6, 4), {}),
    ],
)
def test_the_gradient_of_a_normalization_is_one_pass_of_sums(
    kind: str, axes: tuple[int, ...], sizes: tuple[int, ...], settings: dict[str, Any]
) -> None:
    """Followed through the mean inside the variance it would be two, one after the other."""
    context = Standalone()
    x, seed = tensor("x", *sizes), tensor("seed", *sizes)
    y = context.call(kind, x, **settings)
    objective = expr.sum(y * seed)
    found = cotangents(Graph({"o": objective}), objective, [x])
    graph = erase_surrogate(Graph({"g": found[x], "y": y}))
    forward = set(Graph({"y": graph.outputs["y"]}).order)
    assert passes_over(graph.outputs["g"], forward, axes) == 1
