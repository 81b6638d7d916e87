"""The nets of the examples keep their values through every pass, in training and in testing, at batch 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from equality import Array, check_passes, feeds_for, flat_feeds

from netc.compiler import ops
from netc.compiler.build import build, load
from netc.compiler.graph import Graph
from netc.compiler.net import Net
from netc.compiler.program import StateInfo, TrainSpec, Use
from netc.passes import pipeline
from netc.passes.manager import Pipeline, Stage, run
from netc.passes.training.flatten import PARAMETERS, flat_layout
from netc.passes.training.update import solver_state

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = {"caffenet", "googlenet", "resnet18"}
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.net"))
CASES = [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in NAMES]
SGD = Use("sgd", (("lr", 0.1), ("momentum", 0.9), ("weight_decay", 0.01), ("decay", "l2")))


def _built(name: str, mode: str) -> tuple[Net, TrainSpec | None]:
    experiment = load(EXAMPLES / f"{name}.net")
    net = experiment.default_net()
    spec = next((spec for spec in experiment.trains if spec.net == net), None)
    settings = dict(spec.settings) if spec else {}
    return build(experiment, net, mode="train" if mode == "train" else "test", dims={"N": 2}, settings=settings), spec


def _feeds(graph: Graph, layout: tuple[StateInfo, ...], solver: Use = SGD) -> dict[str, Array]:
    state = [ops.param(name=i.name, shape=i.type.shape, dtype=i.type.dtype) for i in solver_state(solver, layout)]
    rate = ops.input_(name=".rate", shape=(), dtype="f32")
    extra = feeds_for(Graph({str(i): node for i, node in enumerate([*state, rate])}))
    named = {**extra, **feeds_for(graph)}
    return {**named, **flat_feeds(named, layout)}


@pytest.mark.parametrize("name", CASES)
def test_training_keeps_its_values(name: str) -> None:
    net, spec = _built(name, "train")
    solver = spec.solver if spec else SGD
    layout = flat_layout(net.state)
    passes = pipeline.train(net.graph, solver, layout, clip=1.0)
    after = check_passes(net.graph, passes, _feeds(net.graph, layout, solver))
    assert {PARAMETERS, ".step"} <= set(after.updates)


@pytest.mark.parametrize("name", CASES)
def test_testing_keeps_its_values(name: str) -> None:
    net, _ = _built(name, "test")
    layout = flat_layout(net.state)
    after = check_passes(net.graph, pipeline.test(layout), _feeds(net.graph, layout))
    assert not after.updates


def test_gradients_without_an_update_keep_their_values() -> None:
    net, _ = _built("lenet", "train")
    layout = flat_layout(net.state)
    passes = pipeline.gradients(["image", "score.weight"], layout)
    after = check_passes(net.graph, passes, _feeds(net.graph, layout))
    assert after.outputs["image.grad"].type == net.graph.inputs["image"].type
    assert after.outputs["score.weight.grad"].shape == (10, 500)
    assert not after.updates


def _seconds(graph: Graph, passes: Pipeline) -> float:
    stages: list[Stage] = []
    run(graph, passes, stages.append)
    return sum(stage.seconds for stage in stages)


def test_the_passes_of_the_largest_net_take_little_of_fifteen_seconds() -> None:
    net, spec = _built("googlenet", "train")
    layout = flat_layout(net.state)
    assert _seconds(net.graph, pipeline.train(net.graph, spec.solver if spec else SGD, layout)) < 5.0


def test_no_work_of_batch_norm_is_left_in_a_test_program() -> None:
    net, _ = _built("resnet18", "test")
    graph = run(net.graph, pipeline.test(flat_layout(net.state)))
    batch = [n for n in graph.order if n.op is ops.mul and len(n.shape) == 4 and n.shape[0] == 2 and n.shape[2] > 1]
    assert not batch, "a product over activations is left"
    convs = [n for n in graph.order if n.op is ops.conv]
    assert all(len(graph.origins(n)) == 2 for n in convs), "a convolution names its layer and its batch norm"
