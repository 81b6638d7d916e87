"""Stages of lowering: one manager runs and verifies them; each keeps what the graph computes, and prints as text."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph, GraphError, Node
from netc.compiler.interpret import evaluate
from netc.compiler.plan import Home, Plan
from netc.compiler.text import print_graph
from netc.compiler.text_reader import read_graph
from netc.driver import Compilation, compilation
from netc.passes import manager
from netc.passes.manager import Stage
from netc.passes.pipeline import LOWER
from netc.passes.unit import Choices, Unit, stable_names
from netc.verification.subject import Subject
from support.equality import differences

EXAMPLES = Path(__file__).parents[2] / "examples"


def made(name: str, mode: str, target: str) -> Compilation:
    return compilation(EXAMPLES / f"{name}.net", mode=mode, dims={"N": 2}, target=target, arch="cuda:90", update=None)


CASES = [
    # Loops over the pixels of windows of three sizes are many nodes; the tiles of numpy keep windows whole.
    pytest.param(name, mode, target, marks=[pytest.mark.slow] if name == "cifar10_full" and target != "numpy" else [])
    for name, mode in (("lenet", "train"), ("cifar10_full", "train"), ("user_op", "test"))
    for target in LOWER
]


@pytest.mark.parametrize(("name", "mode", "target"), CASES)
def test_each_stage_keeps_values_and_reads_back(name: str, mode: str, target: str) -> None:
    program = made(name, mode, target)
    feeds = Subject(program, 0).feeds
    with np.errstate(all="ignore"):
        before = evaluate(program.simplified, feeds)
    assert [stage.name for stage in program.lowering] == [name for name, _ in LOWER[target]]
    for stage in program.lowering:
        after = stage.after
        with np.errstate(all="ignore"):
            values = evaluate(after.graph, feeds)
        assert not [*differences(before[0], values[0]), *differences(before[1], values[1])], stage.name
        text = print_graph(after.graph, comments=False)
        assert print_graph(read_graph(text), comments=False) == text
        assert print_graph(read_graph(after.text()), comments=False) == text


def test_what_is_known_of_nodes_stands_behind_them() -> None:
    stages = {stage.name: stage.after.text(comments=False) for stage in made("lenet", "train", "triton").lowering}
    assert "# recomputed by its readers\n" in stages["recompute"]
    assert "# axes 0, 2, 3, 1\n" in stages["layout"]
    assert "key='" in stages["schedule"]
    assert ")  # launch 0\n" in stages["plan"]
    assert "# state .parameters\n" in stages["plan"]
    assert "; arena; launches 0 to 1\n" in stages["plan"]
    assert "fused: passed on in registers\n" in stages["plan"]


def test_names_stay_where_nodes_come_and_go() -> None:
    x = ops.input_(name="x", shape=(2, 3), dtype="f32")
    before = stable_names(Graph({"y": ops.exp(ops.tanh(ops.exp(x)))}))
    after = stable_names(Graph({"y": ops.exp(ops.tanh(ops.neg(ops.exp(x))))}))
    assert [*before.values()] == ["%x", "%exp", "%tanh", "%exp.2"]
    assert [*after.values()] == ["%x", "%exp", "%neg", "%tanh", "%exp.2"]


def doubled() -> Unit:
    x = ops.input_(name="x", shape=(2, 3), dtype="f32")
    return Unit(Graph({"y": ops.mul(ops.exp(x), ops.exp(x))}), Choices())


def test_the_manager_verifies_after_each_stage_and_names_it() -> None:
    def broken(unit: Unit) -> Unit:
        """Make what its rule does not allow."""
        y = unit.graph.outputs["y"]
        return replace(unit, graph=Graph({"y": Node(ops.neg, (y,), {}, ops.sum_(y, axes=(0,)).result, y.origin)}))

    with pytest.raises(GraphError, match=r"pass spoil left an invalid graph: neg has type f32\[1,3\]"):
        manager.run(doubled(), [*LOWER["numpy"][:1], ("spoil", broken)])


GONE = ops.input_(name="gone", shape=(2,), dtype="f32")


@pytest.mark.parametrize(
    ("table", "left"),
    [
        ("recomputed", Unit(Graph({}), recomputed=frozenset({GONE}))),
        ("orders", Unit(Graph({}), orders={GONE: (0,)})),
        ("plan", Unit(Graph({}), plan=Plan((), frozenset(), {GONE: Home("arena")}, {}, {}, 1, inner=False))),
    ],
)
def test_a_stage_that_forgets_a_table_is_named(table: str, left: Unit) -> None:
    with pytest.raises(GraphError, match=f"pass forget left an invalid graph: `{table}` is about nodes"):
        manager.run(doubled(), [("forget", lambda _: left)])


def test_observers_see_names_docs_and_both_sides() -> None:
    seen: list[Stage[Unit]] = []
    after = manager.run(doubled(), LOWER["numpy"], seen.append)
    assert [stage.name for stage in seen] == ["materialize", "fuse", "schedule", "plan"]
    assert all(stage.what.endswith(".") and stage.seconds >= 0 for stage in seen)
    assert seen[-1].after is after
    assert all(a.after is b.before for a, b in pairwise(seen))
    for stages in LOWER.values():
        assert all(apply.__doc__ for _, apply in stages)
