"""Views: what is read through a chain of movement ops is what numpy moves, and indices are simple where they can be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler import ops
from netc.compiler.graph import Node
from netc.compiler.loops.view import (
    Expr,
    Floor,
    Guard,
    Index,
    Mod,
    Var,
    flat,
    pull,
    pull_concat,
    push,
    reindex,
    unflat,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]


def leaf(shape: tuple[int, ...]) -> Node:
    return ops.input_(name="x", shape=shape, dtype="f32")


def variables(shape: tuple[int, ...]) -> tuple[Var, ...]:
    return tuple(Var(f"i{a}", n) for a, n in enumerate(shape))


def index_of(shape: tuple[int, ...]) -> Index:
    return tuple(Expr.of(v) for v in variables(shape))


def everywhere(shape: tuple[int, ...]) -> dict[Var, Any]:
    """All elements of a shape, as values of its variables."""
    return dict(zip(variables(shape), np.indices(shape), strict=True))


def read(array: np.ndarray, index: Index, ok: Any, values: dict[Var, Any], shape: tuple[int, ...]) -> np.ndarray:
    """array[index] where ok; what lies elsewhere must not matter, so it is an element that is there."""
    at = [np.broadcast_to(np.asarray(i.value(values)), shape) for i in index]
    ok = np.broadcast_to(np.asarray(ok), shape)
    for i, n in zip(at, array.shape, strict=True):
        assert ((i >= 0) & (i < n))[ok].all(), "an index outside, where the guards say it is inside"
    return array[tuple(np.where(ok, i, 0) for i in at)]


def draw_movement(x: Node, draw: Draw) -> Node:
    rank, shape = len(x.shape), x.shape

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in shape)

    kind = draw(st.sampled_from(["reshape", "transpose", "broadcast", "pad", "slice", "window"]))
    if kind == "reshape":
        primes: list[int] = []
        rest = x.type.count
        for p in (2, 3, 5, 7, 11, 13):
            while rest % p == 0:
                primes.append(p)
                rest //= p
        axes = [rest] + [1] * draw(st.integers(0, 3))
        for p in primes:
            axes[draw(st.integers(0, len(axes) - 1))] *= p
        return ops.reshape(x, shape=tuple(axes))
    if kind == "transpose":
        return ops.transpose(x, perm=tuple(draw(st.permutations(range(rank)))))
    if kind == "broadcast":
        return ops.broadcast(x, shape=tuple(draw(st.integers(1, 3)) if n == 1 else n for n in shape))
    if kind == "pad":
        value = draw(st.sampled_from([0.0, -1.5]))
        return ops.pad(x, low=each(0, 2), high=each(0, 2), interior=each(0, 2), value=value)
    if kind == "slice":
        start = tuple(draw(st.integers(0, n - 1)) for n in shape)
        stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
        return ops.slice_(x, start=start, stop=stop, step=each(1, 3))
    axis = draw(st.integers(0, rank - 1))
    size = draw(st.integers(1, min(3, shape[axis])))
    dilation = draw(st.integers(1, 2)) if 2 * (size - 1) < shape[axis] else 1
    return ops.window(x, axes=(axis,), sizes=(size,), strides=(draw(st.integers(1, 3)),), dilations=(dilation,))


def evaluated(node: Node, array: np.ndarray) -> np.ndarray:
    """numpy's meaning of a chain."""
    if not node.inputs:
        return array
    return np.asarray(node.op.numpy(evaluated(node.inputs[0], array), **node.attrs))


def pulled(node: Node, array: np.ndarray) -> np.ndarray:
    """The same by its index alone."""
    shape, values = node.shape, everywhere(node.shape)
    index = index_of(shape)
    filled = np.zeros(shape)
    ok: Any = np.ones(shape, bool)
    while node.inputs:
        source = pull(node, index)
        inside = ok.copy()
        for guard in source.guards:
            assert not guard.always
            inside &= guard.value(values)
        filled = np.where(ok & ~inside, source.fill, filled)
        node, index, ok = source.node, source.index, inside
    return np.where(ok, read(array, index, ok, values, shape), filled)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_chains_of_movement_read_what_numpy_moves(data: Any) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    array = np.arange(1.0, math.prod(shape) + 1, dtype=np.float32).reshape(shape)
    node = leaf(shape)
    for _ in range(data.draw(st.integers(1, 6))):
        wider = draw_movement(node, data.draw)
        node = wider if wider.type.count <= 5000 and len(wider.shape) < 8 else node
    np.testing.assert_array_equal(pulled(node, array), evaluated(node, array))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 2))
def test_parts_of_a_concat(lengths: list[int], axis: int) -> None:
    shapes = [tuple(n if a == axis else 3 for a in range(3)) for n in lengths]
    arrays = [np.random.default_rng(i).random(s) for i, s in enumerate(shapes)]
    node = ops.concat(*(leaf(s) for s in shapes), axis=axis)
    values = everywhere(node.shape)
    result = np.full(node.shape, np.nan)
    for array, x, (operand, index, guard) in zip(
        arrays, node.inputs, pull_concat(node, index_of(node.shape)), strict=True
    ):
        assert operand is x
        ok = guard.value(values)
        assert np.isnan(result[ok]).all()
        result = np.where(ok, read(array, index, ok, values, node.shape), result)
    np.testing.assert_array_equal(result, np.concatenate(arrays, axis))


def step(kind: str, x: Any, v: Any, n: int) -> Any:
    """One operation, on expressions and on arrays alike."""
    if kind == "+":
        return x + v + n
    if kind == "-":
        return x - v - n
    return x * n if kind == "*" else x // n if kind == "/" else x % n


def digits(e: Expr) -> list[Floor | Mod]:
    found = [t for _, t in e.terms if not isinstance(t, Var)]
    return [*found, *(d for t in found for d in digits(t.of))]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_arithmetic_is_exact(data: Any) -> None:
    names = (Var("a", 4), Var("b", 6), Var("c", 5))
    values = dict(zip(names, np.indices((4, 6, 5)), strict=True))
    e, expected = Expr.of(names[0]), values[names[0]]
    for _ in range(data.draw(st.integers(1, 9))):
        kind, v, n = (data.draw(s) for s in (st.sampled_from("+-*/%"), st.sampled_from(names), st.integers(1, 12)))
        e, expected = step(kind, e, Expr.of(v), n), step(kind, expected, values[v], n)
    found = np.broadcast_to(e.value(values), (4, 6, 5))
    np.testing.assert_array_equal(found, expected)
    low, high = e.bounds
    assert low <= expected.min()
    assert expected.max() <= high
    assert all(d.of.bounds[0] >= 0 for d in digits(e)), "C's division differs from Python's below 0"
    swapped = e.replace({names[0]: Expr.of(names[2]) * 2 - 3, names[1]: Expr.of(4)})
    there = {names[2]: values[names[2]], names[1]: 4, names[0]: values[names[2]] * 2 - 3}
    np.testing.assert_array_equal(
        np.broadcast_to(swapped.value(there), (4, 6, 5)), e.value(there) + 0 * values[names[0]]
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 1000))
def test_there_and_back(shape: list[int], more: int) -> None:
    index = index_of(tuple(shape))
    assert unflat(flat(index, shape), shape) == index
    number = Expr.of(Var("p", math.prod(shape)))
    assert flat(unflat(number, shape), shape) == number
    # Also below a batch that is cut the same way.
    below = Expr.of(Var("p", more * math.prod(shape)))
    assert flat(unflat(below, (more, *shape)), (more, *shape)) == below


N, M = Expr.of(Var("n", 8)), Expr.of(Var("m", 64 * 24 * 24))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (N * 3 + 2, "3 * n + 2"),
        (N - N, "0"),
        (Expr.of(Var("one", 1)) + 4, "4"),
        (M // 1, "m"),
        (M % 1, "0"),
        (N // 8, "0"),
        (N % 8, "n"),
        ((N + 8) % 8, "n"),
        ((M * 8 + N) // 8, "m"),
        ((M * 8 + N) % 8, "n"),
        ((M * 8 + N) // 16, "m // 2"),
        ((M * 8 + N) % 16, "8 * (m % 2) + n"),
        (M // 24 // 24, "m // 576"),
        (M // 24 % 24, "m // 24 % 24"),
        (M % 576 // 24, "m // 24 % 24"),
        (M % 576 % 24, "m % 24"),
        (M // 576 * 576 + M % 576, "m"),
        (M // 576 * 576 + M // 24 % 24 * 24 + M % 24, "m"),
        ((M // 24 * 24 + M % 24 + N) // 24, "(m + n) // 24"),
        ((N * -1 + 7) // 8, "0"),
        ((N - 3) // 4, "(n + 1) // 4 - 1"),
        ((N * 6 + 1) // 4, "(3 * n) // 2"),
        ((N * 6 + 1) // 2, "3 * n"),
    ],
)
def test_simplified(made: Expr, expected: str) -> None:
    assert str(made) == expected


def test_a_batch_axis_passes_a_reshape_untouched() -> None:
    n, c, h, w = (Expr.of(Var(name, size)) for name, size in (("n", 5), ("c", 6), ("h", 7), ("w", 7)))
    # w - 1 may be outside of the axis: nothing is known of it but that a guard asks.
    index = (n, c, h, w - 1)
    assert [str(i) for i in reindex(index, (5, 6, 7, 7), (5, 2, 3, 7, 7))] == ["n", "c // 3", "c % 3", "h", "w - 1"]
    assert reindex(reindex(index, (5, 6, 7, 7), (5, 2, 3, 7, 7)), (5, 2, 3, 7, 7), (5, 6, 7, 7)) == index
    assert reindex((n, c), (5, 6), (1, 5, 1, 6)) == (Expr.of(0), n, Expr.of(0), c)
    assert reindex((), (), (1, 1)) == (Expr.of(0), Expr.of(0))


def test_push_is_the_way_back() -> None:
    x = leaf((4, 6, 5))
    for node in (ops.reshape(x, shape=(2, 2, 30)), ops.transpose(x, perm=(2, 0, 1)), ops.exp(x)):
        index = push(node, index_of(x.shape))
        values = everywhere(x.shape)
        array = np.arange(120).reshape(x.shape)
        moved = array if node.op is ops.exp else node.op.numpy(array, **node.attrs)
        np.testing.assert_array_equal(moved[tuple(np.broadcast_to(i.value(values), x.shape) for i in index)], array)
    with pytest.raises(ValueError, match="broadcast does not keep"):
        push(ops.broadcast(leaf((1,)), shape=(3,)), (Expr.of(0),))
    with pytest.raises(ValueError, match="exp does not read"):
        pull(ops.exp(x), index_of(x.shape))


def test_guards_know_what_the_ranges_tell() -> None:
    i = Expr.of(Var("i", 6))
    assert Guard(i, 0, 6).always
    assert not Guard(i - 1, 0, 6).always
    assert not Guard(i, 0, 6, 2).always
    assert Guard(i * 2, 0, 12, 2).always
    assert Guard(i * 2 + 1, 0, 12, 2).never
    assert Guard(i + 6, 0, 6).never
    assert not Guard(i + 5, 0, 6).never
    assert str(Guard(i - 1, 0, 6, 2)) == "0 <= i - 1 < 6 by 2"


def test_long_chains_are_quick() -> None:
    """Thousands of nodes of large nets: a step of a chain costs microseconds, however long the chain."""
    x = leaf((128, 64, 56, 56))
    start = time.process_time()
    index = index_of(x.shape)
    for _ in range(1000):
        a = ops.reshape(x, shape=(128, 8, 8, 56 * 56))
        b = ops.transpose(a, perm=(0, 3, 1, 2))
        index = pull(b, push(b, push(a, index))).index
        index = pull(a, index).index
    assert index == index_of(x.shape)
    assert time.process_time() - start < 2
