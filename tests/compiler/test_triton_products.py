"""Products for Triton: run in its interpreter, they agree with numpy; and their text is what one would write."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from netc.compiler import ops
from netc.compiler.graph import Graph
from netc.compiler.kernel import Blocks
from netc.compiler.types import Literal
from support.lone_products import LAST, Sizes, biased, check, convolutions, leaf, lone, relu


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    ("x", "w", "attrs"),
    [
        pytest.param((2, 3, 8, 7), (5, 3, 3, 3), {"pad": (1, 1)}, id="padded"),
        pytest.param((2, 4, 9, 9), (6, 2, 3, 3), {"groups": 2, "stride": (2, 2), "pad": (1, 0)}, id="groups, stride"),
        pytest.param((1, 2, 9, 9), (3, 2, 3, 2), {"dilation": (2, 3), "stride": (1, 2)}, id="dilation"),
        pytest.param((2, 3, 11), (4, 3, 4), {"stride": (3,), "pad": (2,)}, id="one axis"),
        pytest.param((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), {"pad": (0, 1, 1)}, id="three axes"),
        pytest.param((3, 1, 1, 1), (1, 1, 1, 1), {}, id="one element"),
    ],
)
def test_convolutions(which: int, x: Sizes, w: Sizes, attrs: dict[str, Any]) -> None:
    check(convolutions(x, w, **attrs)[which])


@pytest.mark.parametrize("which", range(3))
def test_channels_last(which: int) -> None:
    """As activations are stored; enough channels that each tap of the window takes steps of its own."""
    graph = convolutions((1, 32, 4, 4), (16, 32, 2, 2), pad=(1, 1))[which]
    orders = [{"in0": LAST, "out0": LAST}, {"in0": LAST, "out0": LAST}, {"in0": LAST, "in1": LAST}]
    kernel = check(graph, Blocks(rows=64, columns=32, depth=16), **orders[which])
    assert ("step" in kernel.text) == (which < 2)


def test_dot_in_batches_and_transposed() -> None:
    a, b = leaf(0, (2, 70, 5)), leaf(1, (2, 5, 33))
    check(Graph({"out0": ops.dot(a, b)}))
    swapped = ops.transpose(leaf(0, (70, 20)), perm=(1, 0))
    check(Graph({"out0": ops.dot(swapped, leaf(1, (70, 3)))}))
    check(Graph({"out0": ops.dot(leaf(0, (1, 70)), ops.transpose(leaf(1, (1, 70)), perm=(1, 0)))}))


def test_what_follows_on_the_tile() -> None:
    """Bias, activation, residual, scale, a mask, another type; several results, one of them in another shape."""
    y = biased(convolutions((2, 3, 6, 6), (4, 3, 3, 3))[0].outputs["out0"], 2)
    mask = ops.less(leaf(3, y.shape), ops.const(value=0.0, shape=y.shape, dtype="f32"))
    kept = ops.where(mask, relu(y), leaf(4, y.shape))
    flat = ops.reshape(ops.mul(kept, ops.const(value=0.5, shape=y.shape, dtype="f32")), shape=(2, 64))
    swapped = ops.transpose(flat, perm=(1, 0))
    check(Graph({"out0": relu(y), "out1": mask, "out2": flat, "out3": swapped}), out0=LAST, in0=LAST)


def test_values_carried_through_a_reshape_where_the_tile_hangs_over() -> None:
    """The phases of an odd axis: the last of one has no element."""
    by_data = convolutions((1, 2, 5, 5), (3, 2, 3, 3), stride=(2, 2))[1].outputs["out0"]
    flat = ops.reshape(relu(by_data), shape=(1, 50))
    kernel = check(Graph({"out0": ops.add(flat, leaf(2, flat.shape))}))
    # Nor is read what lies behind the end of an operand.
    assert re.search(r"tl.load\(in2 \+ .*mask=", kernel.text)


def test_a_constant_of_many_values() -> None:
    y = ops.dot(leaf(0, (5, 20)), leaf(1, (20, 6)))
    counts = Literal.of(np.arange(1, 7, dtype=np.float32).reshape(1, 6), "f32")
    held = ops.broadcast(ops.const(value=counts, shape=(1, 6), dtype="f32"), shape=y.shape)
    check(Graph({"out0": ops.div(y, held)}))


def test_what_is_computed_on_the_operands_as_they_are_read() -> None:
    x, w = leaf(0, (1, 4, 5, 5)), leaf(1, (3, 4, 3, 3))
    attrs = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 1}
    # exp(0) is 1: padding is 0 after what is computed, not before.
    y = ops.conv(ops.exp(x), ops.mul(w, ops.broadcast(leaf(2, (3, 1, 1, 1)), shape=w.shape)), **attrs)
    check(Graph({"out0": y}))
    flat = ops.reshape(relu(leaf(0, (2, 3, 4, 5))), shape=(2, 60))
    check(Graph({"out0": ops.dot(flat, ops.transpose(leaf(1, (7, 60)), perm=(1, 0)))}), in0=LAST)
    ones = ops.const(value=1.0, shape=(60, 5), dtype="f32")
    check(Graph({"out0": ops.dot(flat, ones)}), in0=LAST)


def test_phases_of_a_stride_whose_taps_are_one_number_a_step() -> None:
    """Whether a tap exists is one truth for the whole block."""
    graph = convolutions((1, 16, 4, 5), (16, 16, 3, 2), stride=(2, 2), pad=(1, 1))[1]
    kernel = check(graph, Blocks(16, 16, 16), in0=LAST, out0=LAST)
    assert "for step" in kernel.text


def test_operands_that_do_not_vary_along_a_side() -> None:
    column = ops.broadcast(leaf(0, (20, 1)), shape=(20, 40))
    check(Graph({"out0": ops.dot(column, leaf(1, (40, 18)))}))
    row = ops.broadcast(leaf(0, (1, 40)), shape=(20, 40))
    check(Graph({"out0": ops.dot(row, ops.broadcast(leaf(1, (1, 18)), shape=(40, 18)))}))
    number = ops.iota(shape=(20, 40), axes=(1,), dtype="i32")
    below = ops.cast(ops.less(number, ops.const(value=9, shape=(20, 40), dtype="i32")), dtype="f32")
    check(Graph({"out0": ops.dot(below, leaf(1, (40, 18)))}))


def test_rows_of_a_table_as_an_operand() -> None:
    rows = ops.const(value=Literal.of(np.array([3, 0, 4, 3, 1]), "i32"), shape=(5,), dtype="i32")
    check(Graph({"out0": ops.dot(ops.gather(leaf(0, (6, 20)), rows), leaf(1, (20, 7)))}))


@pytest.mark.parametrize(("split", "parts"), [(2, 2), (3, 2), (100, 4)])
def test_a_split_product_is_finished_in_order(split: int, parts: int) -> None:
    """In four steps; parts have as many each."""
    graph = convolutions((2, 3, 7, 7), (5, 3, 3, 3))[2]
    kernel = check(graph, Blocks(rows=16, columns=32, depth=16, split=split), in0=LAST, in1=LAST)
    assert kernel.grid[2] == parts
    y = relu(biased(ops.dot(leaf(0, (20, 90)), leaf(1, (90, 10))), 2))
    check(Graph({"out0": y}), Blocks(rows=32, columns=16, depth=16, split=split))


def test_a_split_along_the_taps() -> None:
    graph = convolutions((1, 16, 4, 4), (16, 16, 3, 1))[0]
    kernel = check(graph, Blocks(rows=16, columns=16, depth=16, split=2), in0=LAST, out0=LAST)
    assert "tl.minimum(part * 2 + 2, 3)" in kernel.text


def test_half_precision_is_summed_in_single() -> None:
    a, b = leaf(0, (20, 40), "bf16"), leaf(1, (40, 18), "bf16")
    check(Graph({"out0": ops.cast(ops.dot(a, b), dtype="f32")}))
    check(Graph({"out0": ops.dot(a, b, dtype="f32")}))
    check(Graph({"out0": ops.dot(ops.exp(a), b)}))


def test_many_tiles() -> None:
    """Programs are numbered in groups of rows; each tile is computed once."""
    for rows in (16 * 8, 16 * 11 - 3):
        kernel = check(Graph({"out0": ops.dot(leaf(0, (rows, 4)), leaf(1, (4, 40)))}), Blocks(16, 16, 16))
        assert kernel.grid == (math.ceil(rows / 16) * 3,)


def test_parts_of_which_fewer_do_and_a_single_column() -> None:
    """13 steps in parts of 2 are 7 parts, not the 8 asked for; a sum of one column takes no more room than itself."""
    blocks = Blocks(16, 16, 16, 8)
    for columns, pitches in ((1, []), (10, [(10, 16)])):
        body = Graph({"out0": ops.dot(leaf(0, (20, 208)), leaf(1, (208, columns)))})
        assert check(body, blocks).grid[-1] == 7
        assert [*lone(body, blocks, {}).pitches.values()] == pitches
