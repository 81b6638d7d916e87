"""Split reductions as a stage: two kernels compute what one did, each verified, placed and launched as any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.codegen.triton.templates import write_kernel
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.kernel import Blocks
from netc.compiler.ops.partial import Parts, undivided
from netc.passes import manager
from netc.passes.lowering import memory
from netc.passes.lowering.split import FINISH
from netc.passes.lowering.stages import split
from netc.passes.unit import Unit
from support import graph_cases
from support.lone_products import LAST, convolutions, leaf, lone
from support.lowered import kernels_of, program_of
from support.numpy_program import made_up

ORDERS: list[Mapping[str, Sequence[int]]] = [{}, {"in0": LAST, "out0": LAST}, {"in0": LAST, "in1": LAST}]


def test_text(golden: graph_cases.Golden) -> None:
    graph_cases.check("split", golden, target="triton")


def kernels(unit: Unit) -> list[Node]:
    return [node for node in unit.graph.order if node.op is ops.kernel]


def halves(body: Graph, blocks: Blocks, orders: Mapping[str, Sequence[int]]) -> tuple[Node, Node]:
    """The two kernels that a body becomes."""
    first, second = kernels(lone(body, blocks, orders))
    return first, second


@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        pytest.param((2, 32, 5, 5), (20, 32, 3, 3), {"pad": (1, 1)}, id="taps are one number a step"),
        pytest.param((2, 4, 9, 9), (6, 2, 3, 3), {"groups": 2, "stride": (2, 2), "pad": (1, 0)}, id="groups, stride"),
        pytest.param((3, 2, 9, 9), (3, 2, 3, 2), {"dilation": (2, 3), "stride": (1, 2)}, id="dilation"),
        pytest.param((5, 20, 1, 1), (18, 20, 1, 1), {}, id="one position"),
    ],
)
def test_each_term_of_a_convolution_is_in_one_part(
    x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any]
) -> None:
    """Whatever lies where, and in however many parts: they add up to the whole."""
    cut = 0
    for body, orders, wanted in product(convolutions(x, w, **attrs), ORDERS, (2, 3, 100)):
        unit = lone(body, Blocks(16, 16, 16, wanted), orders)
        feeds = made_up(unit.graph)
        for found in kernels(unit):
            parts = [node.attrs["parts"] for node in found.attrs["body"].order if node.op is ops.partial]
            cut += len(parts)
            assert all(1 < one.count <= wanted for one in parts)
        before = evaluate(lone(body, Blocks(16, 16, 16), orders).graph, feeds)[0]
        after = evaluate(unit.graph, feeds)[0]
        np.testing.assert_allclose(after["out0"], before["out0"], rtol=1e-12, atol=1e-12)
    assert cut > 9


def test_partial_results_live_until_they_are_added() -> None:
    """Their bytes and operations are counted where they are written and read; the memory plan has them."""
    body = Graph({"out0": ops.tanh(ops.dot(leaf(0, (20, 208)), leaf(1, (208, 10))))})
    unit = lone(body, Blocks(16, 16, 16, 4), {})
    (partial,) = (node for node in unit.graph.order if node.op is ops.item and node.type.rank == 3)
    plan = memory.plan(unit.graph, threads=1, inner=False, orders=unit.orders, pitches=unit.pitches)
    assert plan.lives[partial] == (0, 1)
    assert plan.orders[partial] == (0, 1, 2)
    first, second = program_of(unit, "triton").launches
    y = body.outputs["out0"].result
    assert (first.flops, second.flops) == (2 * 20 * 208 * 10, 4 * 200 + ops.tanh.flops(y, y))
    assert first.bytes == 4 * (20 * 208 + 208 * 10 + 4 * 200)
    assert second.bytes == 4 * (4 * 200 + 200)


def test_each_half_reads_what_it_computes_with() -> None:
    y = ops.dot(leaf(0, (20, 208)), ops.exp(leaf(1, (208, 10))))
    body = Graph({"out0": ops.add(y, leaf(2, y.shape)), "out1": ops.mul(y, leaf(3, y.shape))})
    first, second = halves(body, Blocks(16, 16, 16, 4), {})
    assert [len(kernel.inputs) for kernel in (first, second)] == [2, 3]
    assert second.attrs["kind"] == FINISH
    assert first.attrs["schedule"].split == 4
    assert second.attrs["schedule"].split == 1


def test_what_is_split_is_not_split_again() -> None:
    unit = lone(Graph({"out0": ops.dot(leaf(0, (20, 208)), leaf(1, (208, 10)))}), Blocks(16, 16, 16, 4), {})
    again = manager.run(unit, [("split", split)])
    assert again.text() == unit.text()
    assert [*again.pitches.values()] == [(10, 16)]


def test_the_whole_of_what_is_in_parts() -> None:
    """A final reduction of a variance reads sums and squares; the nest that finds them is that of the whole."""
    x = leaf(0, (4, 16, 16, 16))
    total = ops.sum_(x, axes=(0, 2, 3))
    mean = ops.mul(total, ops.const(value=-1 / 1024, shape=total.shape, dtype="f32"))
    away = ops.add(x, ops.broadcast(mean, shape=x.shape))
    body = Graph({"out0": total, "out1": ops.sum_(ops.mul(away, away), axes=(0, 2, 3))})
    first, _ = halves(body, Blocks(rows=2, depth=64, split=4), {"in0": LAST})
    whole, parts = undivided(first.attrs["body"])
    assert {one.count for one in parts.values()} == {4}
    feeds = {"in0": np.random.default_rng(0).normal(size=x.shape)}
    for name, wanted in evaluate(body, feeds)[0].items():
        np.testing.assert_allclose(evaluate(whole, feeds)[0][name], wanted, rtol=1e-12)


def test_a_schedule_whose_parts_the_body_does_not_have_is_refused() -> None:
    body = Graph({"out0": ops.dot(leaf(0, (20, 208)), leaf(1, (208, 10)))})
    with pytest.raises(ValueError, match="is to be summed in 4 parts, which its body does not have"):
        write_kernel(body, "dot", Blocks(16, 16, 16, 4), [], [])


def test_what_cannot_be_taken_in_parts() -> None:
    x = leaf(0, (4, 64))
    mean = ops.broadcast(ops.sum_(x, axes=(1,)), shape=x.shape)
    with pytest.raises(manager.PassFailed, match="cannot be reduced in parts"):
        lone(Graph({"out0": ops.exp(mean)}), Blocks(rows=1, depth=16, split=2), {})


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (Parts(2, 2, 0, ((0, 1, 6),)), "6 terms are not 2 shares"),
        (Parts(4, 2, 0, ((0, 1, 6),)), "6 terms are not 4 shares"),
        (Parts(3, 2, 0, ((2, 1, 6),)), "a digit is of no axis"),
        (Parts(3, 2, 1, ((0, 1, 6),)), "there is no operand 1"),
    ],
)
def test_parts_that_are_none(parts: Parts, told: str) -> None:
    from netc.compiler.ops import TypeRuleError

    with pytest.raises(TypeRuleError, match=told):
        ops.partial(leaf(0, (6, 4)), of="sum", parts=parts, axes=(0,))


def test_a_choice_over_all_rows_is_no_total_of_parts() -> None:
    """It is a kernel of its own, which one program computes."""
    x = ops.input_(name="x", shape=(4096, 10), dtype="f32")
    rows = ops.sum_(x, axes=(1,))
    graph = Graph({"rows": rows, "first": ops.argmax(rows, axes=(0,))})
    program = program_of(kernels_of(graph, "triton", arch="cuda:90"), "triton")
    grids = [prod(launch.grid) for launch in program.launches]
    assert min(grids) == 1 < max(grids)
