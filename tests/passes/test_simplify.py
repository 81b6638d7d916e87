"""Simplify on random graphs: equal values, a fixed point, and never more work."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.passes.rules.fold_weights import fold_weights
from netc.passes.rules.rewrite import merge_equal
from netc.passes.rules.simplify import simplify
from support.equality import check_passes, differences, feeds_for
from support.random_graphs import graphs


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_random_graphs_keep_their_values(graph: Graph) -> None:
    with np.errstate(all="ignore"):
        passes = [("merge", merge_equal), ("simplify", simplify), ("fold weights", fold_weights)]
        check_passes(merge_equal(graph), passes, feeds_for(graph))


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_simplified_is_a_fixed_point(graph: Graph) -> None:
    once = simplify(graph)
    assert len(simplify(once).order) == len(once.order)
    with np.errstate(all="ignore"):
        feeds = feeds_for(graph)
        assert not differences(evaluate(graph, feeds)[0], evaluate(simplify(once), feeds)[0])


def test_a_value_joined_with_itself_again_and_again_has_no_part_for_each_copy() -> None:
    y = ops.input_(name="x", shape=(2, 2), dtype="f32")
    for _ in range(12):
        y = ops.concat(y, y, axis=1)
    found = simplify(Graph({"y": ops.exp(y)}))
    assert len(found.order) < 20
    assert max(len(node.inputs) for node in found.order) <= 128


def test_an_empty_slice_of_a_slice_with_steps_is_empty() -> None:
    x = ops.input_(name="x", shape=(2, 1), dtype="f32")
    inner = ops.slice_(x, start=(0, 0), stop=(2, 1), step=(1, 2))
    outer = ops.slice_(inner, start=(0, 1), stop=(2, 1), step=(1, 1))
    assert simplify(Graph({"y": outer})).outputs["y"].shape == (2, 0)
