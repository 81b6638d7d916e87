"""Fusion: what joins, what must not, and that nothing changes in value. Random graphs meet it in many shapes."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node, at
from netc.compiler.interpret import evaluate
from netc.compiler.kernel import TOTAL
from support.fused_graphs import graphs
from support.numpy_program import assert_like_oracle, made_up, small_tiles, tiles
from support.short_nodes import fed


def kernels(graph: Graph) -> list[Node]:
    return [n for n in graph.order if n.op is ops.kernel]


def large(*shape: int) -> Node:
    return fed("x", *shape)


def test_a_chain_is_one_kernel_and_reads_its_operands_once() -> None:
    x = large(512, 512)
    found = kernels(tiles(Graph({"y": ops.tanh(ops.exp(x) * 2.0 + x)})).graph)
    assert len(found) == 1
    assert len(found[0].inputs) == 1


def test_unfused_keeps_an_op_a_kernel() -> None:
    x = large(8, 8)
    assert len(kernels(tiles(Graph({"y": ops.tanh(ops.exp(x) * 2.0 + x)}), enabled=False).graph)) == 4


def test_softmax_is_one_kernel() -> None:
    x = large(4096, 100)
    e = ops.exp(x - expr.max(x, 1, keepdims=True))
    (kernel,) = kernels(tiles(Graph({"y": e / expr.sum(e, 1, keepdims=True)})).graph)
    assert kernel.attrs["kind"] == "reduce"
    assert kernel.attrs["schedule"].length == 4096


def test_batch_norm_is_one_kernel_over_the_channels() -> None:
    x = large(64, 32, 20, 20)
    mean = expr.mean(x, (0, 2, 3), keepdims=True)
    centred = x - mean
    variance = expr.mean(centred * centred, (0, 2, 3), keepdims=True)
    (kernel,) = kernels(tiles(Graph({"y": centred / ops.sqrt(variance + 1e-5)})).graph)
    assert kernel.attrs["schedule"].length == 32


def test_a_sum_over_the_tiles_ends_a_kernel() -> None:
    x = large(400_000)
    y = ops.exp(x)
    total = ops.sum_(y, axes=(0,))
    found = kernels(tiles(Graph({"y": y, "z": ops.broadcast(total, shape=x.shape) + x})).graph)
    assert len(found) == 2
    assert TOTAL in found[0].attrs["schedule"].axes


def test_two_products_stay_apart() -> None:
    x, a, b = large(256, 256), fed("a", 256, 256), fed("b", 256, 256)
    fused = tiles(Graph({"y": ops.dot(ops.dot(x, a), b)}))
    assert len(kernels(fused.graph)) == 2
    assert any(not d.fused and "product" in d.reason for d in fused.ledger)


def test_convex_groups_that_would_wait_for_each_other_stay_apart() -> None:
    """a1 -> a2, b1 -> b2, a1 -> b2, b1 -> a2: {a1, a2} and {b1, b2} are convex, but need each other."""
    x, y, v = large(512, 300), fed("y", 512, 300), fed("v", 512, 300)
    a1, b1 = ops.sum_(ops.exp(x), axes=(0,)), ops.sum_(ops.exp(y), axes=(0,))
    a2 = ops.tanh(x) + ops.broadcast(b1, shape=x.shape)
    b2 = ops.tanh(y) + ops.broadcast(a1, shape=x.shape)
    graph = Graph({"a2": a2 * v, "b2": b2 * v})
    fused = tiles(graph).graph
    assert nx.is_directed_acyclic_graph(fused.index)
    assert_like_oracle(graph, threads=2)


def test_nofuse_keeps_a_layer_apart_from_others() -> None:
    x = large(512, 512)
    with at(None, "first"):
        y = ops.exp(ops.tanh(x))
    with at(None, "second"):
        z = ops.sqrt(ops.abs_(y))
    fused = tiles(Graph({"z": z}), nofuse=["second"])
    assert len(kernels(fused.graph)) == 2
    (apart,) = [d for d in fused.ledger if not d.fused]
    assert apart.layers == ("first", "second")
    assert "@nofuse" in apart.reason
    assert apart.bytes_saved == 0


def test_the_ledger_counts_what_fusion_saves() -> None:
    x = large(512, 512)
    (decision,) = tiles(Graph({"y": ops.tanh(ops.exp(x))})).ledger
    assert decision.fused
    assert decision.bytes_saved == 2 * 512 * 512 * 4


def test_gradients_of_one_convolution_share_a_kernel() -> None:
    x, w, g = large(32, 8, 16, 16), fed("w", 16, 8, 3, 3), fed("g", 32, 16, 14, 14)
    attrs: dict[str, Any] = {"stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "groups": 1}
    masked = ops.where(g > 0.0, g, expr.constant(0.0, g))
    graph = Graph(
        {
            "x": ops.conv_data_grad(masked, w, size=(16, 16), **attrs),
            "w": ops.conv_weight_grad(x, masked, kernel=(3, 3), **attrs),
            "b": ops.sum_(masked, axes=(0, 2, 3)),
        }
    )
    (kernel,) = kernels(tiles(graph).graph)
    assert kernel.attrs["kind"] == "conv"
    assert_like_oracle(graph, threads=2, tolerance=2e-4)


def test_windows_are_never_written() -> None:
    x = large(16, 4, 12, 12)
    seen = ops.window(x, axes=(2, 3), sizes=(3, 3), strides=(2, 2), dilations=(1, 1))
    for enabled in (True, False):
        graph = tiles(Graph({"y": ops.max_reduce(seen, axes=(4, 5))}), enabled=enabled).graph
        assert all(x.type.rank < 6 for kernel in kernels(graph) for x in kernel.inputs)


@given(graphs(), st.integers(1, 3), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_graphs_like_the_oracle(graph: Graph, threads: int, tiled: bool) -> None:
    feeds = made_up(graph)
    wanted = evaluate(graph, feeds, wide=False)[0]
    for enabled in (True, False):
        fused = tiles(graph, enabled=enabled, threads=threads).graph.verify()
        for name, got in evaluate(fused, feeds, wide=False)[0].items():
            np.testing.assert_array_equal(got, wanted[name])
    if tiled:
        with small_tiles():
            assert_like_oracle(graph, threads=threads, tolerance=1e-4)
    else:
        assert_like_oracle(graph, threads=threads, tolerance=1e-4)


@pytest.mark.parametrize("inner", [16, 5])
def test_pooling_picks_the_first_of_equal_elements(inner: int) -> None:
    x = fed("x", inner, 2, 7, 7)
    padded = ops.pad(x, low=(0, 0, 1, 1), high=(0, 0, 1, 1), interior=(0,) * 4, value=-np.inf)
    seen = ops.window(padded, axes=(2, 3), sizes=(3, 3), strides=(2, 2), dilations=(1, 1))
    graph = Graph({"largest": ops.max_reduce(seen, axes=(4, 5)), "where": ops.argmax(seen, axes=(4, 5))})
    few = np.random.default_rng(3).integers(0, 3, x.shape).astype(np.float32)
    with small_tiles():
        assert_like_oracle(graph, feeds={"x": few}, threads=2)


def test_a_choice_between_one_value_and_itself_is_that_value() -> None:
    """Also where it is computed into the memory of both."""
    y = ops.dot(fed("x", 40, 60), fed("w", 60, 60)) * 0.25
    assert_like_oracle(Graph({"y": ops.transpose(ops.where(ops.less(y, y), y, y), perm=(1, 0))}), tolerance=1e-4)
