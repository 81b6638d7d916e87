"""Convolution on the numpy target in all its layouts: batch innermost or not, blocks of rows, ragged tiles, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.codegen.numpy import columns, convolution
from netc.compiler.graph import Graph, Node
from netc.passes.lowering import tiling as layout
from support.numpy_program import assert_like_oracle, program_of, small_tiles

CASES: dict[str, dict[str, Any]] = {
    "plain": {"size": (9, 8), "kernel": (3, 3), "stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "groups": 1},
    "padded": {"size": (6, 6), "kernel": (5, 3), "stride": (1, 1), "pad": (2, 1), "dilation": (1, 1), "groups": 1},
    "strided": {"size": (11, 9), "kernel": (3, 2), "stride": (2, 3), "pad": (1, 0), "dilation": (1, 1), "groups": 1},
    "dilated": {"size": (9, 9), "kernel": (2, 3), "stride": (2, 1), "pad": (1, 2), "dilation": (3, 2), "groups": 1},
    "grouped": {"size": (7, 6), "kernel": (3, 3), "stride": (1, 2), "pad": (1, 1), "dilation": (1, 1), "groups": 2},
    "depthwise": {"size": (6, 6), "kernel": (3, 3), "stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 4},
    "pointwise": {"size": (5, 4), "kernel": (1, 1), "stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "groups": 1},
    "pointwise-grouped": {
        "size": (5, 4), "kernel": (1, 1), "stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "groups": 2,
    },
    "line": {"size": (12,), "kernel": (4,), "stride": (2,), "pad": (1,), "dilation": (1,), "groups": 1},
    "volume": {
        "size": (5, 4, 6), "kernel": (2, 3, 2), "stride": (1, 1, 2), "pad": (0, 1, 1), "dilation": (1,) * 3,
        "groups": 1,
    },
}  # fmt: skip


def step(batch: int, *, size: tuple[int, ...], kernel: tuple[int, ...], groups: int, **attrs: Any) -> Graph:
    """Convolution, bias and rectifier, and the gradients of all of it."""
    attrs["groups"] = groups
    x = ops.input_(name="x", shape=(batch, 4, *size), dtype="f32")
    w = ops.param(name="w", shape=(6 if groups < 4 else 8, 4 // groups, *kernel), dtype="f32")
    b = ops.param(name="b", shape=(w.shape[0],), dtype="f32")
    ones = (1,) * len(size)
    y = expr.maximum(ops.conv(x, w, **attrs) + expr.reshape(b, (1, w.shape[0], *ones)), 0.0)
    g = ops.input_(name="g", shape=y.shape, dtype="f32")
    back = expr.where(y > 0.0, g, 0.0)
    space = tuple(range(2, 2 + len(size)))
    return Graph(
        {
            "y": y,
            "x": ops.conv_data_grad(back, w, size=size, **attrs),
            "w": ops.conv_weight_grad(x, back, kernel=kernel, **attrs),
            "b": ops.sum_(back, axes=(0, *space)),
        }
    )


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("case", CASES)
def test_like_oracle(case: str, batch: int) -> None:
    graph = step(batch, **CASES[case])
    for fused in (True, False):
        assert_like_oracle(graph, fused=fused, tolerance=1e-4)
    with small_tiles(1 << 12):
        for threads in (1, 3):
            assert_like_oracle(graph, threads=threads, tolerance=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_batch_in_front(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large items keep the batch behind the channels; tiles of a few items, the last one smaller."""
    monkeypatch.setattr(layout, "LARGEST_ITEM", 0)
    monkeypatch.setattr(layout, "COLUMN_BYTES", 1 << 13)
    for batch in (17, 32):
        graph = step(batch, **CASES[case])
        with small_tiles(1 << 12):
            assert_like_oracle(graph, threads=2, tolerance=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_blocks_of_rows(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "COLUMNS", 1)
    monkeypatch.setattr(columns, "POSITIONS", 1)
    graph = step(32, **CASES[case])
    program = program_of(graph)
    if len(CASES[case]["size"]) > 1 and "pointwise" not in case:
        assert "for r in range" in program.source
    assert_like_oracle(graph, threads=2, tolerance=1e-4)


@pytest.mark.parametrize("positions", [1, 50])
@pytest.mark.parametrize("case", CASES)
def test_blocks_of_items(case: str, positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the batch behind the channels, columns are made for some items of a tile, and for some of their rows."""
    monkeypatch.setattr(layout, "LARGEST_ITEM", 0)
    monkeypatch.setattr(columns, "COLUMNS", 1)
    monkeypatch.setattr(columns, "POSITIONS", positions)
    monkeypatch.setattr(convolution, "SUMMED", positions)
    graph = step(6, **CASES[case])
    for fused in (True, False):
        if positions == 1 and "pointwise" not in case:
            assert "for m in range" in program_of(graph, fused=fused).source
        assert_like_oracle(graph, fused=fused, tolerance=1e-4)
    for batch in (6, 17):
        with small_tiles(1 << 12):
            assert_like_oracle(step(batch, **CASES[case]), threads=2, tolerance=1e-4)


@pytest.mark.parametrize("outputs", [6, 7, 35])
def test_one_item_is_split_by_its_results(outputs: int) -> None:
    x = ops.input_(name="x", shape=(1, 3, 9, 9), dtype="f32")
    w = ops.param(name="w", shape=(outputs, 3, 3, 3), dtype="f32")
    attrs: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 1}
    g = ops.input_(name="g", shape=(1, outputs, 9, 9), dtype="f32")
    graph = Graph({"y": ops.conv(x, w, **attrs), "w": ops.conv_weight_grad(x, g, kernel=(3, 3), **attrs)})
    with small_tiles():
        for threads in (1, 2, 4):
            assert_like_oracle(graph, threads=threads, tolerance=1e-4)


def pooled(x: Node, kernel: int, stride: int, pad: int, fill: float) -> Node:
    padded = ops.pad(x, low=(0, 0, pad, pad), high=(0, 0, pad + 1, pad + 1), interior=(0,) * 4, value=fill)
    return ops.window(padded, axes=(2, 3), sizes=(kernel, kernel), strides=(stride, stride), dilations=(1, 1))


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (7, 7, 0)]
)
def test_pooling_and_its_gradient(batch: int, kernel: int, stride: int, pad: int) -> None:
    x = ops.input_(name="x", shape=(batch, 3, 9, 9), dtype="f32")
    w = ops.param(name="w", shape=(4, 3, 2, 2), dtype="f32")
    y = ops.conv(x, w, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1)
    seen = pooled(y, kernel, stride, pad, -np.inf)
    best, chosen = ops.max_reduce(seen, axes=(4, 5)), ops.argmax(seen, axes=(4, 5))
    g = ops.input_(name="g", shape=best.shape, dtype="f32")
    here = ops.equal(ops.broadcast(chosen, shape=seen.shape), ops.iota(shape=seen.shape, axes=(4, 5), dtype="i32"))
    spread = expr.where(here, ops.broadcast(g, shape=seen.shape), 0.0)
    sizes = {"axes": (2, 3), "sizes": (kernel,) * 2, "strides": (stride,) * 2, "dilations": (1, 1)}
    back = ops.unwindow(spread, lengths=tuple(n + 2 * pad + 1 for n in y.shape[2:]), **sizes)
    mean = ops.sum_(pooled(y, kernel, stride, pad, 0.0), axes=(4, 5)) * (1.0 / kernel**2)
    flat = ops.unwindow(ops.broadcast(g, shape=seen.shape), lengths=back.shape[2:], **sizes)
    graph = Graph({"best": best, "chosen": chosen, "back": back, "mean": mean, "flat": flat})
    for fused in (True, False):
        assert_like_oracle(graph, fused=fused, tolerance=1e-4)
    with small_tiles(1 << 11):
        assert_like_oracle(graph, threads=2, tolerance=1e-4)


def test_a_channel_concat_is_written_by_its_operands() -> None:
    x = ops.input_(name="x", shape=(32, 4, 6, 6), dtype="f32")
    parts = []
    for i, k in enumerate((1, 3, 5)):
        w = ops.param(name=f"w{i}", shape=(3 + i, 4, k, k), dtype="f32")
        conv = ops.conv(x, w, stride=(1, 1), pad=(k // 2, k // 2), dilation=(1, 1), groups=1)
        parts.append(expr.maximum(conv, 0.0))
    joined = ops.concat(*parts, axis=1)
    last = ops.param(name="last", shape=(5, 12, 3, 3), dtype="f32")
    y = ops.conv(joined, last, stride=(1, 1), pad=(1, 1), dilation=(1, 1), groups=1)
    graph = Graph({"y": y})
    program = program_of(graph, threads=2)
    assert all(one.kind == "conv" for one in program.functions)
    assert len(program.launches) == 4
    assert_like_oracle(graph, threads=2, tolerance=1e-4)


def test_a_block_of_columns_is_never_a_sliver() -> None:
    """13 rows have no smaller blocks than one row; a product of 13 columns would be slow, so all rows are one block."""
    x = ops.input_(name="x", shape=(1, 256, 13, 13), dtype="f32")
    w = ops.param(name="w", shape=(8, 256, 3, 3), dtype="f32")
    graph = Graph({"y": ops.conv(x, w, stride=(1, 1), pad=(1, 1), dilation=(1, 1), groups=1)})
    assert "for r in range" not in program_of(graph).source
    assert_like_oracle(graph, threads=1, tolerance=1e-4)
