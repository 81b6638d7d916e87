"""The flat layout and the solvers as graphs: formulas that Caffe has not, clipping, accumulation, groups, text."""

from __future__ import annotations

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, GraphError
from netc.compiler.interpret import evaluate
from netc.compiler.net import OBJECTIVE
from netc.compiler.program import StateInfo
from netc.compiler.schema.solvers import SOLVERS
from netc.compiler.types import TensorType
from netc.passes import pipeline
from netc.passes.manager import run
from netc.passes.training.flatten import FROZEN, PARAMETERS, flat_layout, flatten, ranges
from netc.passes.training.formulas import FORMULAS
from netc.passes.training.update import accumulate, apply, solver_state, update
from support import graph_cases
from support.solver_steps import STATE, end_to_end, fed_with, first_state, learned_info, objective, solver_of, stepped


def test_equal_multipliers_lie_together_and_frozen_parameters_apart() -> None:
    layout = {i.name: (i.buffer, i.offset) for i in flat_layout(STATE)}
    assert layout == {
        "a.weight": (PARAMETERS, 0),
        "c.weight": (PARAMETERS, 6),
        "a.bias": (PARAMETERS, 11),
        "b.weight": (FROZEN, 0),
    }
    assert [(r.start, r.stop, r.lr, r.decay) for r in ranges(flat_layout(STATE))] == [
        (0, 11, 1.0, 1.0),
        (11, 13, 2.0, 0.0),
    ]


def test_the_layout_keeps_the_order_of_the_state_and_other_buffers() -> None:
    state = (*STATE, StateInfo("bn.mean", TensorType((3,), "f32"), "statistic"))
    layout = flat_layout(state)
    assert [i.name for i in layout] == [i.name for i in state]
    assert (layout[-1].buffer, layout[-1].offset) == ("bn.mean", 0)


def test_parameters_of_other_types_are_refused() -> None:
    with pytest.raises(GraphError, match="flat buffers hold f32"):
        flat_layout((StateInfo("w", TensorType((2,), "f16")),))


def test_flatten_reads_each_parameter_at_its_place() -> None:
    layout = flat_layout(STATE)
    graph = flatten(layout)(objective(STATE)).verify()
    assert set(graph.params) == {PARAMETERS, FROZEN}
    fed = fed_with(STATE, 0)
    state = first_state(solver_of("sgd", lr=0.1), layout)
    wanted = sum(
        float((fed[f"d/{i.name}"].ravel() * state[i.buffer][i.offset : i.offset + i.type.count]).sum()) for i in layout
    )
    assert float(evaluate(graph, {**fed, **state})[0][OBJECTIVE]) == pytest.approx(wanted)


def test_flatten_refuses_a_layout_of_another_net() -> None:
    layout = flat_layout((learned_info("a.weight", 3, 3), *STATE[1:]))
    with pytest.raises(GraphError, match="its layout says"):
        flatten(layout)(objective(STATE))


def test_clipping_bounds_the_norm_over_all_parameters() -> None:
    solver = solver_of("sgd", lr=0.1)
    layout = flat_layout(STATE)
    for scale in (0.01, 10.0):
        fed = fed_with(STATE, 3, scale)
        g = end_to_end(layout, fed)
        moved = first_state(solver, layout)[PARAMETERS] - stepped(solver, [fed], clip=1.0)[PARAMETERS]
        rate = np.repeat([0.1, 0.2], [11, 2])
        np.testing.assert_allclose(moved, rate * g / max(1.0, float(np.linalg.norm(g))), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [*SOLVERS.own])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_accumulated_batches_are_one_batch_of_their_mean(name: str, clip: float | None) -> None:
    solver = solver_of(name, lr=0.1, weight_decay=0.05)
    layout = flat_layout(STATE)
    parts = [fed_with(STATE, seed) for seed in range(3)]
    mean = {k: np.mean([p[k] for p in parts], axis=0) for k in parts[0]}
    # Clipping looks at the sum, which is three times the mean.
    whole = stepped(solver, [mean], clip=clip / 3 if clip else None)
    graph = run(objective(STATE), pipeline.train(objective(STATE), solver, layout, clip=clip, batches=3))
    final = run(apply(solver, layout, batches=3, clip=clip), pipeline.apply())
    state = first_state(solver, layout)
    for fed in parts:
        state |= evaluate(graph, {**state, **fed})[1]
    state |= evaluate(final, {**state, ".rate": 0.1})[1]
    assert int(state[".step"]) == 3
    assert not state[".gradients"].any()
    for key in whole:
        if key.startswith((".param", ".history")):
            np.testing.assert_allclose(state[key], whole[key], rtol=1e-9, atol=1e-12, err_msg=key)


def test_l1_decay_leaves_zeros_alone() -> None:
    solver = solver_of("sgd", lr=1.0, weight_decay=0.5, decay="l1")
    layout = flat_layout((learned_info("w", 3),))
    graph = run(objective(layout), pipeline.train(objective(layout), solver, layout))
    state = {PARAMETERS: np.array([2.0, 0.0, -3.0]), ".step": 0, ".rate": 0.1, "d/w": np.zeros(3)}
    np.testing.assert_allclose(evaluate(graph, state)[1][PARAMETERS], [1.95, 0.0, -2.95])


def test_a_parameter_that_nothing_reads_only_decays() -> None:
    solver = solver_of("sgd", lr=1.0, weight_decay=0.5)
    state = (learned_info("used", 2), learned_info("unused", 2))
    layout = flat_layout(state)
    graph = run(objective(state[:1]), pipeline.train(objective(state[:1]), solver, layout))
    feeds = {PARAMETERS: np.array([1.0, 1.0, 2.0, 4.0]), ".step": 0, ".rate": 0.1, "d/used": np.array([1.0, 0.0])}
    np.testing.assert_allclose(evaluate(graph, feeds)[1][PARAMETERS], [0.85, 0.95, 1.9, 3.8])


def test_a_net_without_learned_parameters_only_counts() -> None:
    layout = flat_layout((learned_info("w", 3, lr=0.0),))
    solver = solver_of("adam")
    graph = update(solver, layout)(objective(layout))
    assert set(graph.updates) == {".step"}
    assert [i.name for i in solver_state(solver, layout, batches=2)] == [".step"]
    assert accumulate(layout)(objective(layout)).updates == {}
    assert apply(solver, layout, batches=2).updates == {}


def test_the_rate_and_the_counter_that_dropout_reads_are_one_node() -> None:
    layout = flat_layout((learned_info("w", 3),))
    step = ops.param(name=".step", shape=(), dtype="i64")
    bits = ops.random(ops.param(name=".seed", shape=(), dtype="i64"), step, shape=(3,), stream=0)
    mask = expr.less(bits, ops.const(value=2**31, shape=(3,), dtype="u32"))
    w = ops.param(name="w", shape=(3,), dtype="f32")
    net = Graph({OBJECTIVE: expr.sum(expr.where(mask, w, 0.0))})
    graph = run(net, pipeline.train(net, solver_of("adam"), layout))
    assert evaluate(graph, {PARAMETERS: np.ones(3), ".history0": np.zeros(3), ".history1": np.zeros(3),
                            ".rate": 0.1, ".step": 4, ".seed": 1})[1][".step"] == 5  # fmt: skip


def test_every_schema_has_a_formula() -> None:
    assert set(FORMULAS.own) == set(SOLVERS.own)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_before_and_after(name: str, golden: graph_cases.Golden) -> None:
    layout = flat_layout(STATE[:2])
    solver = solver_of(name, lr=0.1, momentum=0.9, weight_decay=0.01)
    passes = {"update": update(solver, layout, clip=1.0), "flatten": flatten(layout)}
    graph_cases.check(f"update_{name}", golden, passes)


def test_accumulating_before_and_after(golden: graph_cases.Golden) -> None:
    layout = flat_layout(STATE[:2])
    own = apply(solver_of("sgd", lr=0.1, momentum=0.9), layout, batches=4)
    graph_cases.check(
        "accumulate", golden, {"accumulate": accumulate(layout), "apply, a graph of its own": lambda _: own}
    )
