"""Spellings that depend on what an operand is: numbers, powers, choices, repeated axes, work inside of windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.types import Literal
from support.numpy_program import assert_like_oracle, made_up, program_of, small_tiles
from support.short_nodes import fed


def both(graph: Graph, **feeds: np.ndarray) -> None:
    """Whole and in tiles, on one thread and two, fused and not."""
    given = {**made_up(graph), **feeds}
    for fused in (True, False):
        assert_like_oracle(graph, feeds=given, fused=fused)
        with small_tiles():
            assert_like_oracle(graph, feeds=given, fused=fused, threads=2)


POWERS = [0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 0.25, 0.75, -0.75, 1.5, 1.75, -1.75, 2.25, 0.3, 4.0]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("exponent", POWERS)
def test_powers(exponent: float, dtype: str) -> None:
    x = fed("x", 6, 5, dtype=dtype)
    values = np.random.default_rng(0).random((6, 5)) + 0.1
    # Alone, in place of a value that dies, and of one that is needed again.
    y = expr.pow(x, exponent)
    z = expr.pow(x * 2.0, exponent)
    both(Graph({"y": y, "z": z, "u": expr.pow(y + 1.0, exponent) * y}), x=values.astype(x.type.numpy_dtype))


def test_powers_of_negative_numbers() -> None:
    x = fed("x", 4)
    values = np.array([-2.0, -0.5, 0.0, 3.0], np.float32)
    both(Graph({"square": expr.pow(x, 2.0), "cube": expr.pow(x, 3.0), "root": expr.pow(x, 0.75)}), x=values)


SIDES: list[Callable[[Node], Node]] = [
    lambda x: x,
    lambda x: ops.add(x, x),
    lambda x: expr.constant(0.0, x),
    lambda x: expr.constant(-2.0, x),
]


@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "i64", "f16"])
@pytest.mark.parametrize("left", range(4))
@pytest.mark.parametrize("right", range(4))
def test_choices(left: int, right: int, dtype: str) -> None:
    for shape in ((6, 5), (19, 23)):  # few elements are chosen by `copyto`, many by their bits
        x, y = fed("x", *shape, dtype=dtype), fed("y", *shape, dtype=dtype)
        both(Graph({"z": ops.where(ops.less(x, y), SIDES[left](x), SIDES[right](y))}))


@pytest.mark.parametrize("size", [4, 20])
def test_choices_over_one_of_their_operands(size: int) -> None:
    """An operand whose memory is taken may be read a second time, turned; a state is overwritten by its next value."""
    x, y, w = fed("x", size, size), fed("y", size, size), ops.param(name="w", shape=(size, size), dtype="f32")
    condition = ops.less(x, y)
    for turned in (True, False):
        t = ops.exp(x)
        sides = (ops.transpose(t, perm=(1, 0)), t) if turned else (t, ops.transpose(t, perm=(1, 0)))
        both(Graph({"z": ops.where(condition, *sides)}))
        both(Graph({"z": expr.where(condition, sides[0], 0.0) + 1.0, "u": expr.where(condition, 0.0, sides[1])}))
        following = (w - x, w) if turned else (w, w - x)
        both(Graph({}, {"w": ops.where(condition, *following)}))


def test_the_sum_of_chosen_elements() -> None:
    """What is not chosen does not count, be it NaN; a label that is no class chooses nothing."""
    x, label = fed("x", 9, 7), fed("label", 9, 1, dtype="i32")
    classes = ops.iota(shape=x.shape, axes=(1,), dtype="i32")
    here = ops.equal(classes, ops.broadcast(label, shape=x.shape))
    chosen = expr.where(here, ops.log(x), 0.0)
    values = np.random.default_rng(0).standard_normal((9, 7)).astype(np.float32)
    labels = np.array([[0], [6], [3], [7], [-1], [2], [2], [5], [1]], np.int32)
    for axes in ((1,), (0,), (0, 1)):
        graph = Graph({"y": ops.sum_(chosen, axes=axes) * 2.0})
        assert "where=" in program_of(graph).source
        both(graph, x=values, label=labels)
    both(Graph({"y": ops.sum_(chosen, axes=(1,)), "chosen": chosen, "here": here}), x=values, label=labels)


def test_memory_that_is_still_read_is_not_taken() -> None:
    x = fed("x", 6, 50)
    t = ops.tanh(x)
    # A difference reads what it takes away after the exponential has been computed.
    both(Graph({"y": ops.add(ops.neg(t), ops.exp(t))}))
    # A value may lie in the result that its last reader writes, not in one that another writes before.
    both(Graph({"y": ops.tanh(t) * t}))
    both(Graph({"y": ops.transpose(t, perm=(1, 0)) * 2.0, "z": ops.sum_(t, axes=(1,)) * t}))
    square = ops.exp(fed("s", 20, 20))
    both(Graph({"y": ops.tanh(square) * ops.transpose(square, perm=(1, 0)) + square}))


def test_choices_keep_what_is_not_chosen_out() -> None:
    """0 * NaN is NaN, a choice is not."""
    x = fed("x", 4)
    graph = Graph({"y": expr.where(x > 0.0, ops.log(x), 0.0), "z": expr.where(x > 0.0, 0.0, ops.log(-x))})
    both(graph, x=np.array([-1.0, 2.0, -3.0, 4.0], np.float32))


def test_choices_of_bools() -> None:
    a, b, c = (fed(name, 3, 4, dtype="bool") for name in "abc")
    both(Graph({"and": expr.logical_and(a, b), "choice": ops.where(a, b, c), "not": expr.logical_not(a)}))


def test_choices_by_numbers_and_repeated_conditions() -> None:
    x, rows = fed("x", 6, 5), fed("rows", 6, 1)
    condition = ops.broadcast(ops.less(rows, expr.constant(0.0, rows)), shape=x.shape)
    always = ops.const(value=True, shape=x.shape, dtype="bool")
    both(
        Graph(
            {
                "rows": ops.where(condition, x, -x),
                "always": ops.where(always, x, -x),
                "ends": expr.where(condition, 1.0, 2.0),
            }
        )
    )


def test_bounds() -> None:
    x, k = fed("x", 6, 5), fed("k", 6, 5, dtype="i32")
    both(Graph({"low": expr.maximum(x, 0.1), "high": expr.minimum(0.2, x), "whole": expr.maximum(k, 2)}))


def test_numbers_through_views() -> None:
    x = fed("x", 4, 6)
    number = ops.const(value=1.5, shape=(6, 4), dtype="f32")
    moved = ops.transpose(number, perm=(1, 0))
    part = ops.slice_(ops.reshape(number, shape=(4, 6)), start=(0, 0), stop=(4, 3), step=(1, 1))
    padded = ops.pad(part, low=(0, 1), high=(0, 2), interior=(0, 0), value=-1.0)
    summed = ops.broadcast(ops.sum_(moved, axes=(1,)), shape=(4, 6))
    product = ops.dot(x, number)
    both(Graph({"y": x + moved + padded * summed, "p": product, "n": ops.exp(moved)}))


def test_repeated_axes_through_views() -> None:
    r = fed("r", 1, 6)
    wide = ops.broadcast(r, shape=(4, 6))
    x = fed("x", 4, 6)
    both(
        Graph(
            {
                "flat": ops.reshape(wide, shape=(24,)) * 2.0,
                "split": ops.reshape(wide, shape=(2, 2, 6)) * 2.0,
                "turned": ops.transpose(wide, perm=(1, 0)) * 2.0,
                "sliced": ops.slice_(wide, start=(1, 2), stop=(3, 6), step=(1, 2)) * 2.0,
                "summed": ops.sum_(ops.exp(wide), axes=(0,)) + ops.sum_(x, axes=(0,)),
                "product": ops.dot(wide, ops.transpose(x, perm=(1, 0))),
                "joined": ops.concat(wide, x, axis=1),
            }
        )
    )


def test_constant_arrays() -> None:
    x = fed("x", 6, 20)
    short = ops.const(value=Literal.of(np.array([[1.0, -np.inf, np.inf, 0.5] * 5]), "f32"), shape=(1, 20), dtype="f32")
    long = ops.const(
        value=Literal.of(np.random.default_rng(0).random((6, 20)).astype(np.float32), "f32"), shape=(6, 20), dtype="f32"
    )
    graph = Graph({"y": x * long, "z": expr.minimum(expr.maximum(x, expr.broadcast_to(short, x.shape)), 2.0)})
    both(graph)
    assert "frombuffer" in program_of(graph).source


def seen(x: Node, size: int = 3, stride: int = 1) -> Node:
    return ops.window(x, axes=(1,), sizes=(size,), strides=(stride,), dilations=(1,))


def test_work_inside_of_windows() -> None:
    x, w = fed("x", 6, 9), fed("w", 1, 1, 3)
    windows = seen(x)
    weighted = windows * ops.broadcast(w, shape=windows.shape)
    mean = ops.broadcast(ops.sum_(windows, axes=(2,)), shape=windows.shape) * (1.0 / 3.0)
    index = ops.cast(ops.iota(shape=windows.shape, axes=(2,), dtype="i32"), dtype="f32")
    weights = ops.const(value=Literal.of(np.array([[[1.0, 2.0, -1.0]]]), "f32"), shape=(1, 1, 3), dtype="f32")
    both(
        Graph(
            {
                "weighted": ops.sum_(weighted, axes=(2,)),
                "variance": ops.sum_((windows - mean) * (windows - mean), axes=(2,)),
                "largest": ops.max_reduce(ops.exp(weighted), axes=(2,)),
                "first": ops.argmax(ops.abs_(weighted), axes=(2,)),
                "numbered": ops.sum_(windows * index, axes=(2,)),
                "literal": ops.sum_(windows * ops.broadcast(weights, shape=windows.shape), axes=(2,)),
            }
        )
    )


def test_windows_as_values() -> None:
    x = fed("x", 6, 9)
    windows = seen(x, 3, 2)
    both(Graph({"windows": windows, "turned": ops.exp(ops.transpose(windows, perm=(2, 1, 0)))}))


def test_windows_of_whole_numbers_and_other_padding() -> None:
    k, x = fed("k", 6, 9, dtype="i32"), fed("x", 6, 9)
    padded = ops.pad(x, low=(0, 1), high=(0, 1), interior=(0, 0), value=0.5)
    both(
        Graph(
            {
                "sum": ops.sum_(seen(k), axes=(2,)),
                "max": ops.max_reduce(seen(k), axes=(2,)),
                "padded": ops.max_reduce(seen(padded), axes=(2,)),
                "mean": ops.sum_(seen(padded), axes=(2,)),
                "single": ops.sum_(seen(x, 1), axes=(2,)),
            }
        )
    )


def test_large_windows_keep_wide_numbers() -> None:
    x = fed("x", 4, 400)
    both(Graph({"max": ops.max_reduce(seen(x, 300, 50), axes=(2,)), "at": ops.argmax(seen(x, 300, 50), axes=(2,))}))


def test_random_bits_in_tiles() -> None:
    seed, step = fed("seed", dtype="i64"), fed("step", dtype="i64")
    bits = ops.random(seed, step, shape=(50, 33), stream=3)
    keep = ops.less(bits, ops.const(value=2**31, shape=bits.shape, dtype="u32"))
    x = fed("x", 50, 33)
    both(Graph({"bits": bits, "kept": expr.where(keep, x * 2.0, 0.0)}), seed=np.array(-5), step=np.array(7))
    large = ops.random(seed, step, shape=(60_000,), stream=1)
    assert_like_oracle(Graph({"bits": large}), feeds={"seed": np.array(2**62), "step": np.array(1)})


def test_rows_by_number() -> None:
    table, index = fed("table", 7, 5), fed("index", 4, 3, dtype="i32")
    rows = ops.gather(ops.transpose(ops.transpose(table, perm=(1, 0)), perm=(1, 0)), index)
    outside = np.array([[0, -3, 6], [9, 2, 2], [1, 1, 5], [4, 0, 3]], np.int32)
    both(Graph({"rows": rows, "back": ops.scatter_add(index, rows * 2.0, size=7)}), index=outside)
