"""The nets of the examples keep their values through every pass, in training and in testing, at batch 2."""

from __future__ import annotations

import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.passes import pipeline
from netc.passes.manager import Pipeline, Stage, run
from netc.passes.training.flatten import PARAMETERS, flat_layout
from support.equality import check_passes
from support.example_nets import CASES, SGD, built, feeds


@pytest.mark.parametrize("name", CASES)
def test_training_keeps_its_values(name: str) -> None:
    net, spec = built(name, "train")
    solver = spec.solver if spec else SGD
    layout = flat_layout(net.state)
    passes = pipeline.train(net.graph, solver, layout, clip=1.0)
    after = check_passes(net.graph, passes, feeds(net.graph, layout, solver))
    assert {PARAMETERS, ".step"} <= set(after.updates)


@pytest.mark.parametrize("name", CASES)
def test_testing_keeps_its_values(name: str) -> None:
    net, _ = built(name, "test")
    layout = flat_layout(net.state)
    after = check_passes(net.graph, pipeline.test(layout), feeds(net.graph, layout))
    assert not after.updates


def test_gradients_without_an_update_keep_their_values() -> None:
    net, _ = built("lenet", "train")
    layout = flat_layout(net.state)
    passes = pipeline.gradients(["image", "score.weight"], layout)
    after = check_passes(net.graph, passes, feeds(net.graph, layout))
    assert after.outputs["image.grad"].type == net.graph.inputs["image"].type
    assert after.outputs["score.weight.grad"].shape == (10, 500)
    assert not after.updates


def _seconds(graph: Graph, passes: Pipeline) -> float:
    stages: list[Stage[Graph]] = []
    run(graph, passes, stages.append)
    return sum(stage.seconds for stage in stages)


def test_the_passes_of_the_largest_net_take_little_of_fifteen_seconds() -> None:
    net, spec = built("googlenet", "train")
    layout = flat_layout(net.state)
    assert _seconds(net.graph, pipeline.train(net.graph, spec.solver if spec else SGD, layout)) < 5.0


def test_no_work_of_batch_norm_is_left_in_a_test_program() -> None:
    net, _ = built("resnet18", "test")
    graph = run(net.graph, pipeline.test(flat_layout(net.state)))
    batch = [n for n in graph.order if n.op is ops.mul and len(n.shape) == 4 and n.shape[0] == 2 and n.shape[2] > 1]
    assert not batch, "a product over activations is left"
    convs = [n for n in graph.order if n.op is ops.conv]
    assert all(len(graph.origins(n)) == 2 for n in convs), "a convolution names its layer and its batch norm"
