"""Frames of the triton target in the interpreter: layers with their gradients, in blocks that fit and that do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph
from netc.compiler.kernel import Blocks
from netc.compiler.net import OBJECTIVE
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import gradient
from support.numpy_program import made_up
from support.standalone import Standalone, layer, softmax, tensor, with_gradient
from support.triton_program import assert_like_oracle, in_blocks, program_of, run

WHOLE = Blocks(rows=4, depth=1 << 12)
# Blocks in which rows and elements are left over, of one row and of several.
ROW, ROWS = Blocks(rows=1, depth=8), Blocks(rows=4, depth=16)
SPLIT = Blocks(rows=2, depth=8, split=3)


@pytest.mark.parametrize("blocks", [WHOLE, ROW, ROWS], ids=["whole", "row", "rows"])
@pytest.mark.parametrize("shape", [(5, 10), (3, 50), (1, 20)])
def test_softmax(shape: tuple[int, int], blocks: Blocks) -> None:
    with in_blocks(blocks):
        assert_like_oracle(softmax(*shape))


@pytest.mark.parametrize(
    ("after", "blocks"),
    [(False, WHOLE), (True, ROW), (True, ROWS), (False, SPLIT)],
    ids=["whole", "row", "rows", "split"],
)
def test_batch_norm(after: bool, blocks: Blocks) -> None:
    """Forward, backward and the running statistics, which are written over the old ones."""
    with in_blocks(blocks):
        assert_like_oracle(layer("batch_norm", 3, 6, 3, 4, after=after), tolerance=1e-4)


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 2},
        {"kernel": 3, "stride": 2},
        {"kernel": 3, "stride": 2, "pad": 1},
        {"kernel": 3, "stride": 1, "pad": 1, "round": "floor"},
        {"kernel": 2, "stride": 3},
        {"kernel": 7, "stride": 7},
    ],
    ids=["2", "3/2", "3/2+1", "3/1+1", "2/3", "7"],
)
def test_pooling(kind: str, settings: dict[str, Any]) -> None:
    assert_like_oracle(layer(kind, 2, 3, 7, 8, after=settings["kernel"] == 3, **settings))


@pytest.mark.parametrize(
    "settings", [{"size": 3}, {"size": 5, "alpha": 0.5, "k": 2.0}, {"size": 3, "region": "within"}]
)
def test_response_normalization(settings: dict[str, Any]) -> None:
    assert_like_oracle(layer("lrn", 2, 6, 4, 5, after=settings["size"] == 3, **settings), tolerance=1e-4)


def test_dilated_windows() -> None:
    attrs = {"axes": (1, 2), "sizes": (3, 2), "strides": (2, 1), "dilations": (2, 3)}
    x = tensor("x", 3, 11, 9)
    seen = ops.window(x, **attrs)
    y = ops.reshape(expr.sum(seen * seen, (3, 4)), shape=seen.shape[:3])
    graph = with_gradient(Standalone(), x, y)
    for fused in (False, True):
        assert_like_oracle(graph, fused=fused)


@pytest.mark.parametrize("blocks", [WHOLE, ROW, ROWS, SPLIT], ids=["whole", "row", "rows", "split"])
def test_totals_are_finished_in_a_fixed_order(blocks: Blocks) -> None:
    """Sums over all rows, of several programs: a loss and an accuracy over one softmax."""
    x, label = tensor("x", 7, 10), tensor("label", 7, dtype="i32")
    context = Standalone()
    loss = context.call("softmax_loss", x, label)
    right = context.call("accuracy", x, label, layer="a")
    graph = simplify(gradient(["x"])(context.graph({OBJECTIVE: loss, "accuracy": right})))
    with in_blocks(blocks):
        assert_like_oracle(graph)
        feeds = made_up(graph)
        first, second = run(graph, feeds)[0], run(graph, feeds)[0]
        assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("blocks", [WHOLE, ROW, ROWS, SPLIT], ids=["whole", "row", "rows", "split"])
def test_several_outputs_of_all_levels(blocks: Blocks) -> None:
    """Elements, rows and totals from one kernel; sums, a maximum and its place, of elements that have another shape."""
    x, b = tensor("x", 6, 4, 5), tensor("b", 6)
    wide = ops.reshape(ops.exp(x), shape=(6, 20)) + expr.reshape(b, (6, 1))
    rows = expr.sum(wide, 1, keepdims=True)
    outputs = {
        "elements": ops.neg(wide),
        "rows": ops.reshape(rows, shape=(6,)) * 2.0,
        "best": ops.max_reduce(wide, axes=(1,)),
        "total": expr.sum(rows, (0, 1)) * 0.5,
    }
    with in_blocks(blocks):
        assert_like_oracle(Graph(outputs))
        assert_like_oracle(Graph({**outputs, "where": ops.argmax(wide, axes=(1,))}))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (1, 2), (0, 1, 2)])
def test_choices_number_elements_as_they_lie_logically(axes: tuple[int, ...]) -> None:
    """Equal numbers: the first wins, in blocks too."""
    x = tensor("x", 5, 6, 7)
    graph = Graph({"which": ops.argmax(x, axes=axes), "best": ops.max_reduce(x, axes=axes)})
    feeds = {"x": np.random.default_rng(3).integers(0, 3, (5, 6, 7)).astype(np.float32)}
    for blocks in (WHOLE, ROWS) if len(axes) > 1 else (WHOLE, ROW):
        with in_blocks(blocks):
            assert_like_oracle(graph, feeds=feeds)


def test_parts_of_a_concat_are_written_in_place() -> None:
    x = tensor("x", 2, 3, 4, 5)
    w = ops.param(name="w", shape=(4, 3, 1, 1), dtype="f32")
    conv = ops.conv(x, w, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1)
    pooled = Standalone().call("max_pool", x, kernel=3, stride=1, pad=1)
    joined = ops.concat(ops.exp(x), conv, pooled, axis=1)
    graph = Graph({"joined": joined, "next": ops.neg(joined)})
    assert_like_oracle(graph)
    program = program_of(graph)
    parts = [buffer for buffer in program.buffers if buffer.base == "joined"]
    assert len(parts) == 3
    assert not any(launch.function.startswith("copy") for launch in program.launches)


def test_concats_that_are_read_element_by_element() -> None:
    a, b, c = tensor("a", 3, 4), tensor("b", 2, 4), tensor("c", 1, 4)
    joined = ops.concat(ops.pad(a, low=(1, 0), high=(0, 0), interior=(0, 0), value=2.0), b, c, axis=0)
    cut = ops.slice_(joined, start=(1, 0), stop=(7, 4), step=(2, 3))
    assert_like_oracle(Graph({"y": ops.exp(cut), "z": expr.sum(joined, 0)}))


def test_state_is_written_over_the_old_one() -> None:
    """The update of two flat buffers, and the counter, in one step."""
    w, h = (ops.param(name=name, shape=(1000,), dtype="f32") for name in ("w", "h"))
    step = ops.param(name="step", shape=(), dtype="i64")
    g = tensor("g", 1000)
    following = h * 0.9 + (g + w * 0.0005) * 0.01
    graph = Graph({"old": expr.sum(w, 0)}, {"h": following, "w": w - following, "step": step + 1.0})
    assert_like_oracle(graph)
    program = program_of(graph)
    assert {argument for launch in program.launches for argument in launch.arguments} >= {"w", "h", "g", "step"}


def test_rows_of_a_table() -> None:
    index = tensor("index", 3, 4, dtype="i64")
    table = ops.param(name="table", shape=(5, 2, 3), dtype="f32")
    rows = ops.gather(table, index)
    back = ops.scatter_add(index, rows * 2.0, size=5)
    graph = Graph({"rows": ops.exp(rows), "back": ops.neg(back)})
    feeds = made_up(graph)
    feeds["index"] = np.array([[0, 4, 4, -3], [9, 1, 0, 2], [4, 4, 1, 1]])
    for fused in (False, True):
        assert_like_oracle(graph, feeds=feeds, fused=fused)


def test_constant_arrays_are_buffers() -> None:
    from netc.compiler.types import Literal

    weights = np.arange(12.0).reshape(3, 4)
    table = ops.const(value=Literal.of(weights, "f32"), shape=(3, 4), dtype="f32")
    x = tensor("x", 2, 3, 4)
    y = ops.mul(x, ops.broadcast(ops.reshape(table, shape=(1, 3, 4)), shape=(2, 3, 4)))
    z = ops.add(ops.exp(y), ops.broadcast(ops.reshape(table, shape=(1, 3, 4)), shape=(2, 3, 4)))
    graph = Graph({"y": y, "z": z})
    assert_like_oracle(graph)
    program = program_of(graph)
    assert [constant.shape for constant in program.constants.values()] == [(3, 4)]


def test_nothing_is_computed_of_empty_tensors() -> None:
    x = tensor("x", 0, 4)
    graph = Graph({"y": ops.exp(x), "sum": ops.sum_(x, axes=(0,))})
    assert_like_oracle(graph)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_precision_is_summed_in_single(dtype: str) -> None:
    x = tensor("x", 3, 400, dtype=dtype)
    y = ops.sum_(ops.mul(x, x), axes=(1,))
    graph = Graph({"y": y, "double": ops.add(x, x)})
    feeds = {"x": np.full((3, 400), 0.125, np.float32 if dtype == "bf16" else np.float16)}
    for blocks in (WHOLE, ROWS):
        with in_blocks(blocks):
            assert_like_oracle(graph, feeds=feeds)
