"""Domains of bodies: the space of a kernel, how often its values are computed, and what is no single kernel; digits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.compiler import expr, ops
from netc.compiler.codegen.loops.place import MemRef
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.kernel import Blocks
from netc.compiler.loops.domain import Domain, domain_of
from netc.compiler.loops.index import Expr
from netc.compiler.loops.view import access, identity, projection
from support import toy_target
from support.short_nodes import fed

CONV: dict[str, Any] = {"stride": (1, 1), "pad": (1, 1), "dilation": (1, 1), "groups": 1}


def domain(**outputs: Node) -> Domain:
    return domain_of(Graph(outputs))


def test_a_map_has_the_space_of_its_results() -> None:
    x, y = fed("in0", 4, 6), fed("in1", 4, 6)
    first = ops.exp(x)
    found = domain(out0=first, out1=expr.reshape(first * y, (24,)))
    assert (found.kind, found.space, found.reduced) == ("map", (4, 6), ())
    assert set(found.granularity.values()) == {"element"}


def test_what_is_broadcast_in_a_map_has_no_granularity() -> None:
    row = ops.tanh(fed("in1", 1, 6))
    found = domain(out0=fed("in0", 4, 6) + row)
    assert row not in found.granularity


def test_softmax_has_rows_between_its_elements() -> None:
    x = fed("in0", 4, 6)
    most = expr.max(x, 1, keepdims=True)
    e = ops.exp(x - most)
    total = expr.sum(e, 1, keepdims=True)
    found = domain(out0=e / total)
    assert (found.kind, found.space, found.reduced) == ("reduce", (4, 6), (1,))
    assert found.granularity[most] == found.granularity[total] == "row"


def test_a_pass_over_a_row_waits_for_the_one_before() -> None:
    x = fed("in0", 4, 6)
    most = expr.max(x, 1, keepdims=True)
    e = ops.exp(x - most)
    total = expr.sum(e, 1, keepdims=True)
    found = domain(out0=e / total, out1=e)
    assert (found.phase(most), found.phase(total), found.passes, found.waiting) == (0, 1, 2, 2)
    quotient, exponential = found.outputs
    assert [found.written(n, over=False) for n in (quotient, exponential)] == [2, 1]
    assert found.written(exponential, over=True) == 2  # the last pass still reads what lies there


def test_rows_are_cut_in_parts_where_one_pass_reduces_them() -> None:
    x = fed("in0", 4, 6)
    mean = expr.mean(x, 1, keepdims=True)
    away = ops.add(x, ops.broadcast(ops.neg(mean), shape=(4, 6)))
    squares = ops.sum_(away * away, axes=(1,))
    found = domain(out0=mean, out1=squares)
    assert found.squares == {squares: found.reductions("row")[0]}
    assert (found.passes, found.beside.passes, found.splits) == (2, 1, True)
    assert not domain(out0=away).splits  # an element waits
    assert not domain(out0=ops.argmax(x, axes=(1,))).splits
    assert not domain(out0=expr.sum(ops.exp(x - expr.max(x, 1, keepdims=True)), 1)).splits
    assert domain(out0=ops.sum_(x, axes=(1,)), out1=ops.max_reduce(x, axes=(1,))).splits
    whole = ops.sum_(ops.cast(x, dtype="i32"), axes=(1,))
    assert not domain(out0=ops.sum_(x, axes=(1,)), out1=whole).splits  # sums of two types


def test_channels_are_rows_of_a_batch_norm() -> None:
    x = fed("in0", 2, 3, 4, 4)
    mean = expr.mean(x, (0, 2, 3), keepdims=True)
    running = expr.reshape(mean, (3,)) * 0.1 + fed("in1", 3)
    found = domain(out0=x - mean, out1=running)
    assert found.reduced == (0, 2, 3)
    assert found.granularity[running] == "row"


def test_a_loss_ends_in_a_total() -> None:
    x = fed("in0", 4, 6)
    rows = ops.log(ops.sum_(ops.exp(x), axes=(1,)))
    loss = expr.reshape(ops.sum_(rows, axes=(0,)), ()) * 0.25
    found = domain(out0=loss, out1=x - rows)
    assert found.granularity[loss] == "scalar"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda x: {"a": ops.sum_(x, axes=(0,)), "b": ops.sum_(x, axes=(1,))}, "other axes"),
        (lambda x: {"a": ops.dot(ops.dot(x, x), x)}, "two products"),
        (lambda x: {"a": ops.dot(ops.sum_(x, axes=(1,)), ops.sum_(x, axes=(0,)))}, "do not share"),
        (lambda x: {"a": ops.exp(x), "b": ops.exp(fed("in1", 3, 3))}, "9 elements"),
    ],
)
def test_what_is_no_single_nest(wrong: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        domain(**wrong(fed("in0", 6, 6)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x - ops.broadcast(ops.sum_(ops.sum_(x, axes=(1,)), axes=(0,)), shape=(6, 6)),
        lambda x: ops.transpose(expr.max(x, 1, keepdims=True) + x, perm=(1, 0)) + x,
    ],
    ids=["a total in elements", "rows of other elements"],
)
def test_a_reduction_that_is_read_elsewhere_is_done_again_there(wrong: Any) -> None:
    """Whatever the fuser lets into a kernel is right."""
    place = MemRef("in0", (6, 6), (6, 1), "f32")
    body = Graph({"out0": wrong(fed("in0", 6, 6))})
    written = toy_target.write_kernel(body, "reduce", Blocks(), [place], [replace(place, name="out0")])
    names: dict[str, Any] = {"inf": math.inf}
    exec(written.text, names)
    x = np.random.default_rng(0).random((6, 6), np.float32)
    y = np.zeros((6, 6), np.float32)
    names["NAME"](x.ravel(), y.reshape(-1))
    np.testing.assert_allclose(y, evaluate(body, {"in0": x})[0]["out0"], rtol=1e-6)


def test_a_product_with_an_epilogue_in_other_axes() -> None:
    x, w = fed("in0", 2, 3, 5, 5), fed("in1", 4, 3, 3, 3)
    y = ops.conv(x, w, **CONV)
    moved = ops.transpose(expr.maximum(y, 0.0), perm=(0, 2, 3, 1))
    found = domain(out0=ops.tanh(moved))
    assert (found.kind, found.space, found.root) == ("conv", (2, 4, 5, 5), y)
    assert all(of == "element" for of in found.granularity.values())


def test_windows_of_the_same_sizes_share_a_kernel() -> None:
    seen = ops.window(fed("in0", 2, 3, 6, 6), axes=(2, 3), sizes=(2, 2), strides=(2, 2), dilations=(1, 1))
    most, where = ops.max_reduce(seen, axes=(4, 5)), ops.argmax(seen, axes=(4, 5))
    found = domain(out0=expr.maximum(expr.reshape(most, (2, 3, 3, 3)), 0.0), out1=where)
    assert (found.kind, found.space) == ("window", (2, 3, 3, 3))


def test_windows_asked_for_an_element() -> None:
    rows = fed("in0", 2, 3, 3, 3, 2, 2)
    spread = ops.unwindow(rows, axes=(2, 3), lengths=(6, 6), sizes=(2, 2), strides=(2, 2), dilations=(1, 1))
    cut = ops.slice_(spread, start=(0, 0, 1, 1), stop=(2, 3, 6, 6), step=(1,) * 4)
    assert (domain(out0=cut).kind, domain(out0=cut).space) == ("window", (2, 3, 5, 5))
    assert domain(out0=cut, out1=ops.sum_(cut, axes=(0, 2, 3))).kind == "reduce"


def test_copies() -> None:
    found = domain(out0=expr.reshape(fed("in0", 4, 6), (24,)))
    assert (found.kind, found.space) == ("copy", (24,))
    assert domain(out0=ops.reshape(ops.const(value=0.0, shape=(5,), dtype="f32"), shape=(5,))).kind == "copy"


@st.composite
def chains(draw: st.DrawFn) -> tuple[Node, list[Node]]:
    """A node and what is read through above it."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)))
    x = y = fed("x", *shape)
    found = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 2))
        if kind == 0:
            y = ops.transpose(y, perm=tuple(draw(st.permutations(range(len(y.shape))))))
        elif kind == 1:
            count, cut = int(y.type.count), []
            for _ in range(draw(st.integers(0, 3))):
                cut.append(draw(st.sampled_from([d for d in range(1, count + 1) if count % d == 0])))
                count //= cut[-1]
            y = ops.reshape(y, shape=(*cut, count))
        else:
            y = ops.broadcast(y, shape=tuple(n if n > 1 else draw(st.sampled_from([1, 3])) for n in y.shape))
        found.append(y)
    return x, found


@given(chains())
def test_maps_are_what_numpy_moves(chain: tuple[Node, list[Node]]) -> None:
    x, views = chain
    count = int(views[-1].type.count)
    found = identity(count)
    for view in reversed(views):
        step = access(view, found)
        assert step is not None
        found = step
    array = np.arange(math.prod(x.shape)).reshape(x.shape)
    for view in views:
        array = view.op.numpy(array, **view.attrs)
    numbers = np.broadcast_to(found.value({v: np.arange(count) for v in found.vars}), (count,))
    np.testing.assert_array_equal(numbers, array.ravel())


def test_equal_maps_are_equal() -> None:
    x = fed("x", 2, 3, 4)
    there = ops.transpose(x, perm=(2, 0, 1))
    back = ops.transpose(ops.reshape(there, shape=(4, 2, 3)), perm=(1, 2, 0))
    found: Expr | None = identity(24)
    for node in (back, back.inputs[0], there):
        assert found is not None
        found = access(node, found)
    assert found == identity(24)
    assert projection((4, 6), (1,)) == projection((2, 2, 6), (2,))
    assert projection((4, 6), (1,)) != projection((4, 6), (0,))
    row = access(ops.broadcast(fed("r", 1, 3, 1, 1), shape=(2, 3, 4, 4)), identity(96))
    assert row == projection((2, 3, 4, 4), (0, 2, 3))


def test_what_has_guards_or_leaves_elements_out_is_no_map() -> None:
    x = fed("x", 4, 6)
    padded = ops.pad(x, low=(1, 0), high=(0, 0), interior=(0, 0), value=0.0)
    cut = ops.slice_(x, start=(0, 0), stop=(2, 6), step=(1, 1))
    assert [access(node, identity(1)) for node in (padded, cut, ops.concat(x, x, axis=0))] == [None] * 3
