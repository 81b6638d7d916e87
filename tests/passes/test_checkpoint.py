"""Gradient checkpointing: what is recomputed has the same values, waits for its gradient, and is not kept meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.build import build, load
from netc.compiler.graph import Graph, at
from netc.compiler.interpret import evaluate
from netc.compiler.net import OBJECTIVE, Net
from netc.passes import pipeline
from netc.passes.lowering.memory import plan
from netc.passes.manager import run
from netc.passes.rules.simplify import simplify
from netc.passes.training.flatten import flat_layout
from netc.passes.training.gradient import gradient
from netc.passes.unit import Unit
from support.equality import feeds_for
from support.example_nets import CASES, SGD, built, feeds
from support.numpy_program import run as run_numpy
from support.numpy_program import tiles
from support.triton_program import nests

DROPOUT = """net dropped {
    input image: f32[N, 12]
    input label: i32[N]
    x = image |> linear(16) as first
    @recompute x = x |> tanh |> dropout(0.5)
    loss nll = softmax_loss(x |> linear(3) as last, label)
}
"""


def regions(net: Net, size: int) -> dict[str, int]:
    """Each few layers of a net a region."""
    return {layer.name: i // size for i, layer in enumerate(net.layers)}


def count(graph: Graph, name: str) -> int:
    return sum(node.op.name == name for node in graph.order)


def chain(**marked: int) -> Graph:
    """The gradient of exp(exp(x)) * w, made by the layers `first`, `second` and `product`, some in regions."""
    x, w = (ops.input_(name=name, shape=(3,), dtype="f32") for name in "xw")
    with at(None, "first"):
        first = ops.exp(x)
    with at(None, "second"):
        second = ops.exp(first)
    with at(None, "product"):
        last = second * w
    return simplify(gradient(["x", "w"], regions=marked)(Graph({OBJECTIVE: expr.sum(last)})))


def edges(graph: Graph) -> list[str]:
    """What the values are that clones begin with."""
    return [node.inputs[0].op.name for node in graph.order if node.op is ops.after]


def test_a_clone_is_computed_from_the_edge_after_the_gradient() -> None:
    graph = chain(first=1)
    first, again = (node for node in graph.order if node.op is ops.exp and node.scope == "first")
    assert first.inputs == (graph.inputs["x"],)
    (edge,) = again.inputs
    assert edge.inputs[0] is graph.inputs["x"]
    below = Graph({"wait": edge.inputs[1]}).order
    assert graph.inputs["w"] in below, "the gradient that the layer is given comes first"


def test_regions_begin_where_others_end() -> None:
    assert edges(chain()) == []
    assert edges(chain(second=2)) == ["exp"]
    assert sorted(edges(chain(first=1, second=2))) == ["exp", "input"]
    assert edges(chain(first=1, second=1)) == ["input"]
    assert [count(chain(**marked), "exp") for marked in ({}, {"first": 1}, {"first": 1, "second": 1})] == [2, 3, 4]


@pytest.mark.parametrize("name", CASES)
def test_the_examples_learn_the_same(name: str) -> None:
    net, spec = built(name, "train")
    solver, layout = spec.solver if spec else SGD, flat_layout(net.state)
    known = feeds(net.graph, layout, solver)
    plain = evaluate(run(net.graph, pipeline.train(net.graph, solver, layout)), known)
    for size in (1, 3, 100):
        again = run(net.graph, pipeline.train(net.graph, solver, layout, regions=regions(net, size)))
        assert count(again, "after")
        for one, other in zip(plain, evaluate(again, known), strict=True):
            assert one.keys() == other.keys()
            for key in one:
                np.testing.assert_array_equal(one[key], other[key], err_msg=f"{size} layers a region: {key}")


def test_dropout_drops_the_same(tmp_path: Path) -> None:
    file = tmp_path / "dropped.net"
    file.write_text(DROPOUT, encoding="utf-8")
    net = build(load(file), "dropped", mode="train", dims={"N": 4})
    assert set(net.regions.values()) == {1}
    names = [info.name for info in net.state]
    plain, again = (
        run(net.graph, pipeline.gradients(names, flat_layout(net.state), regions=marked))
        for marked in ({}, net.regions)
    )
    assert (count(plain, "random"), count(again, "random")) == (1, 2)
    known = feeds_for(net.graph) | feeds_for(plain)
    for key, value in evaluate(plain, known)[0].items():
        np.testing.assert_array_equal(value, evaluate(again, known)[0][key], err_msg=key)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["lenet", "cifar10_full", "autoencoder"])
def test_a_program_learns_the_same(name: str, fused: bool) -> None:
    """To the bit where each op is a kernel; fused, a clone's sums may be taken in other tiles."""
    net, spec = built(name, "train")
    solver, layout = spec.solver if spec else SGD, flat_layout(net.state)
    plain, again = (
        run(net.graph, pipeline.train(net.graph, solver, layout, regions=marked)) for marked in ({}, regions(net, 3))
    )
    known = {key: np.asarray(value) for key, value in feeds(net.graph, layout, solver).items()}
    for one, other in zip(*(run_numpy(graph, known, fused=fused) for graph in (plain, again)), strict=True):
        for key in one:
            np.testing.assert_allclose(one[key], other[key], rtol=2e-6 * fused, atol=1e-6 * fused, err_msg=key)


@pytest.mark.parametrize("fused", [tiles, nests])
def test_a_clone_is_launched_in_the_backward_pass(fused: Callable[[Graph], Unit]) -> None:
    net = built("cifar10_full", "train")[0]
    graph = run(net.graph, pipeline.train(net.graph, SGD, flat_layout(net.state), regions=regions(net, 4)))
    kernels = fused(graph).graph.verify()
    placed = plan(kernels, threads=1, inner=False)
    when = [[(n.scope, n.op.name) for n in kernel.attrs["body"].order] for kernel in placed.kernels]
    first, again = (i for i, names in enumerate(when) if ("conv2", "conv") in names)
    loss = next(i for i, names in enumerate(when) if any(op == "log" for _, op in names))
    assert first < loss < again
    waiting = placed.kernels[again].inputs[-1]
    assert waiting.type.count == 0
