"""Schedules of GPU kernels: what is cut in parts and what is not, few programs for the interpreter; layouts.

That all tile sizes are legal is for `test_tiles.py`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.kernel import Blocks
from netc.passes.lowering import layout
from netc.passes.lowering.cost.reductions import RowReduction, fastest, rows_of, waiting
from netc.passes.lowering.machines import DEVICES, device
from netc.passes.lowering.pack_weights import packed_weights
from netc.passes.lowering.schedule import blocks_of
from support.short_nodes import fed
from support.triton_program import nests

EXAMPLES = Path(__file__).parents[2] / "examples"
GPUS = [name for name, gpu in DEVICES.items() if not gpu.large]
CONV: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 1}


def blocks(output: Node, name: str = "cuda:90", precision: Any = "ieee") -> Blocks:
    body = Graph({"out0": output})
    return blocks_of(body, name, precision)


def test_a_product_with_few_results_is_split() -> None:
    g, x = fed("in0", 64, 50, 8, 8), fed("in1", 64, 20, 8, 8)
    wide = fed("in0", 4096, 4096)
    assert blocks(ops.conv_weight_grad(x, g, kernel=(3, 3), **CONV)).split > 1
    assert blocks(ops.dot(wide, fed("in1", 4096, 4096))).split == 1


def test_long_sums_are_taken_in_parts() -> None:
    bias = ops.sum_(fed("in0", 256, 96, 27, 27), axes=(0, 2, 3))
    assert blocks(bias).split > 1
    norm = ops.sum_(fed("in0", 10_000_000), axes=(0,))
    assert blocks(norm).split > 1


def test_what_waits_for_a_row_is_not_taken_in_parts() -> None:
    x = fed("in0", 256, 96, 27, 27)
    assert blocks(x - expr.mean(x, (0, 2, 3), keepdims=True)).split == 1


def rows(space: tuple[int, ...], reduced: tuple[int, ...]) -> RowReduction:
    return rows_of(space, reduced, 4 * math.prod(space))


NORM = (0, 2, 3)


@pytest.mark.parametrize("name", GPUS)
def test_few_long_rows_do_not_keep_others_waiting(name: str) -> None:
    """The norm after ResNet's first convolution; one over many rows does, and one that a program sums at once."""
    found = waiting(rows((64, 64, 112, 112), NORM), device(name))
    assert found is not None
    assert found.parts < found.whole
    assert found.programs < device(name).units
    for space, reduced in (((4096, 8192), (1,)), ((8, 4, 5, 5), NORM)):
        assert waiting(rows(space, reduced), device(name)) is None


def test_the_interpreter_takes_no_parts() -> None:
    of = rows((64, 64, 112, 112), NORM)
    assert waiting(of, device("interpreter")) is None
    assert fastest(of, device("interpreter"), parts=True)[1].split == 1


def test_a_small_loss_is_one_program() -> None:
    x = fed("in0", 64, 10)
    total = ops.sum_(ops.sum_(ops.exp(x), axes=(1,)), axes=(0,))
    found = blocks(total)
    assert found.rows >= 64
    assert found.depth >= 10


def test_the_interpreter_gets_few_programs() -> None:
    few = blocks(ops.exp(fed("in0", 1 << 15)), "interpreter")
    assert few.columns == 1 << 15
    product = blocks(ops.dot(fed("in0", 256, 256), fed("in1", 256, 256)), "interpreter")
    assert (product.rows, product.columns, product.depth, product.split) == (256, 256, 256, 1)


def test_other_devices_are_like_the_nearest_older_one() -> None:
    assert device("cuda:89") is DEVICES["cuda:80"]
    assert device("cuda:120") is DEVICES["cuda:100"]
    assert device("hip:gfx90a") is DEVICES["hip:gfx942"]


def test_channels_are_innermost_except_where_a_reader_joins_the_axes() -> None:
    x, w = fed("x", 4, 3, 8, 8), fed("w", 16, 3, 3, 3)
    first = ops.conv(x, w, **CONV)
    second = ops.conv(ops.tanh(first), fed("v", 8, 16, 3, 3), **CONV)
    flat = ops.dot(expr.reshape(ops.tanh(second), (4, 512)), fed("u", 512, 10))
    fused = nests(Graph({"y": flat}))
    orders = layout.orders(fused.graph)
    found = {n.shape[1]: order for n, order in orders.items() if len(n.shape) == 4}
    assert found == {16: (0, 2, 3, 1), 8: (0, 1, 2, 3)}
    assert any("lies as N,C,H,W" in d.reason for d in fused.ledger)


def test_concats_and_their_parts_lie_alike() -> None:
    x = fed("x", 4, 8, 6, 6)
    parts = [ops.conv(x, fed(f"w{i}", 8, 8, 3, 3), **CONV) for i in range(2)]
    joined = ops.concat(*parts, axis=1)
    orders = layout.orders(nests(Graph({"y": ops.conv(joined, fed("v", 4, 16, 3, 3), **CONV)})).graph)
    assert set(orders.values()) == {(0, 2, 3, 1)}


def flat_weight(dtype: str) -> Node:
    flat = ops.param(name="flat", shape=(8 * 16 * 9 + 5,), dtype="f32")
    held = flat if dtype == "f32" else ops.cast(flat, dtype=dtype)
    cut = ops.slice_(held, start=(5,), stop=(8 * 16 * 9 + 5,), step=(1,))
    return ops.reshape(cut, shape=(8, 16, 3, 3))


def test_weights_for_matrix_units_are_values_with_channels_innermost() -> None:
    y = ops.conv(fed("x", 4, 16, 6, 6, dtype="bf16"), flat_weight("bf16"), **CONV)
    orders = layout.orders(nests(Graph({"y": y})).graph)
    assert {n.shape: order for n, order in orders.items()}[8, 16, 3, 3] == (0, 2, 3, 1)


def test_weights_for_other_units_stay_where_they_are() -> None:
    graph = Graph({"y": ops.conv(fed("x", 4, 16, 6, 6), flat_weight("f32"), **CONV)})
    assert packed_weights(graph, "ieee") is graph
    assert packed_weights(graph, "tf32") is not graph
