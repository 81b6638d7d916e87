"""Fusion for GPUs keeps what a graph computes: random graphs, random training steps and the nets of the examples."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.compiler.kernel import Blocks
from netc.compiler.loops.domain import Domain, domain_of
from netc.passes import pipeline
from netc.passes.fusion import nests as nests_module
from netc.passes.lowering import layout
from netc.passes.lowering.memory import plan
from netc.passes.manager import run
from netc.passes.training.flatten import flat_layout
from support.build_texts import built as built_text
from support.equality import differences
from support.example_nets import CASES, SGD, built
from support.example_nets import feeds as feeds_of
from support.fused_graphs import graphs
from support.numpy_program import made_up
from support.random_steps import training_step
from support.triton_program import nests


def check_kernels(graph: Graph) -> None:
    """Each kernel is of the kind that its body is, writes only what has a level, and has a place for each value."""
    for kernel in graph.order:
        if kernel.op is ops.kernel:
            domain = domain_of(kernel.attrs["body"])
            assert domain.kind == kernel.attrs["kind"]
            assert all(node in domain.granularity for node in kernel.attrs["body"].outputs.values())
            assert isinstance(kernel.attrs["schedule"], Blocks)
    placed = plan(graph, threads=1, inner=False, orders=layout.orders(graph))
    assert all(sorted(placed.orders[n]) == list(range(len(n.shape))) for n in placed.homes)


@given(graphs(), st.booleans())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_graphs(graph: Graph, enabled: bool) -> None:
    feeds = made_up(graph)
    fused = nests(graph, enabled=enabled).graph.verify()
    check_kernels(fused)
    wanted, got = evaluate(graph, feeds)[0], evaluate(fused, feeds)[0]
    assert not differences(wanted, got)


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_training_steps(seed: int, enabled: bool) -> None:
    graph = training_step(Random(seed))
    feeds = {name: np.asarray(value * 0.3) for name, value in made_up(graph, seed % 1000).items()}
    fused = nests(graph, enabled=enabled).graph.verify()
    check_kernels(fused)
    before, after = evaluate(graph, feeds), evaluate(fused, feeds)
    assert not differences(before[0], after[0])
    assert not differences(before[1], after[1])


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("name", CASES)
def test_the_examples_keep_their_values(name: str, mode: str) -> None:
    net, spec = built(name, mode)
    solver = spec.solver if spec else SGD
    layout_ = flat_layout(net.state)
    passes = pipeline.train(net.graph, solver, layout_, clip=1.0) if mode == "train" else pipeline.test(layout_)
    graph = run(net.graph, passes)
    feeds = feeds_of(net.graph, layout_, solver)
    fused = nests(graph).graph.verify()
    check_kernels(fused)
    before, after = evaluate(graph, feeds), evaluate(fused, feeds)
    assert not differences(before[0], after[0])
    assert not differences(before[1], after[1])


def test_a_scalar_read_through_what_is_recomputed_is_one_nest() -> None:
    """Batch norm under a sum of each image: the gradient reads a total through a row that nobody stores."""
    text = "p = image |> conv(4, 3) |> batch_norm\n loss l = mean(sum(p, axis: [1, 2, 3]) ** 2)"
    net = built_text(text, mode="train", dims={"N": 2})
    names = [info.name for info in net.state if info.kind == "parameter"]
    graph = run(net.graph, pipeline.gradients(names, flat_layout(net.state)))
    fused = nests(graph).graph.verify()
    check_kernels(fused)
    feeds = {name: np.asarray(value) for name, value in made_up(graph).items()}
    assert not differences(evaluate(graph, feeds)[0], evaluate(fused, feeds)[0])


def test_a_group_that_is_no_nest_after_all_becomes_its_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = ops.input_(name="x", shape=(8, 12), dtype="f32")
    graph = Graph({"y": ops.exp(ops.sum_(ops.tanh(x), axes=(1,))), "z": ops.neg(ops.tanh(x))})
    found = domain_of

    def strict(body: Graph) -> Domain:
        if len(body.outputs) > 1:
            raise ValueError("as a test has it")
        return found(body)

    monkeypatch.setattr(nests_module, "domain_of", strict)
    unit = nests(graph)
    assert [d.reason for d in unit.ledger if not d.fused][-1] == "as a test has it"
    assert all(len(k.attrs["body"].outputs) == 1 for k in unit.graph.order if k.op is ops.kernel)
    feeds = made_up(graph)
    assert not differences(evaluate(graph, feeds)[0], evaluate(unit.graph, feeds)[0])
