"""Where laws must not apply: the graph keeps its op, its values, and the ledger has the reason where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph
from netc.passes.rules.fold_weights import fold_weights
from netc.passes.rules.rewrite import Ledger
from netc.passes.rules.simplify import simplify
from support.equality import check_passes, feeds_for
from support.short_nodes import Build, cond, conv, cut, graph, number, pad, w, wide, x, y


def _large() -> np.ndarray:
    return np.arange(5000, dtype=np.float32).reshape(50, 100)


# What stays, and why: (a case, the op that is left, the reason in the ledger or "").
SIMPLIFY: dict[str, tuple[Build, ops.Op, str]] = {
    "a divisor near the smallest number": (lambda: x() / 1e-35, ops.div, ""),
    "a power that is no quarter": (lambda: x() ** 0.3, ops.pow_, ""),
    "a high power": (lambda: x() ** 8.0, ops.pow_, ""),
    "a divisor whose reciprocal f16 does not hold": (lambda: ops.cast(x(), dtype="f16") / 1e-5, ops.div, ""),
    "a divisor repeated twice only": (
        lambda: x(2, 2) / wide(y(2, 1), 2, 2),
        ops.div,
        "the divisor is not repeated often enough",
    ),
    "a cast to a narrower type between": (
        lambda: ops.cast(ops.cast(x(), dtype="i32"), dtype="f32"),
        ops.cast,
        "i32 does not hold every f32",
    ),
    "choices without a zero": (
        lambda: expr.where(cond(), x(), y()) + expr.where(cond(), y(), 0.0),
        ops.where,
        "",
    ),
    "factors that repeat along different axes": (
        lambda: x() * wide(y(2, 1), 2, 3) * wide(x(1, 3, name="z"), 2, 3),
        ops.broadcast,
        "",
    ),
    "operands that repeat along different axes": (lambda: wide(x(2, 1), 2, 3) + wide(y(1, 3), 2, 3), ops.broadcast, ""),
    "a product with another reader": (
        lambda: ops.concat(x() * 3.0, (x() * 3.0) * y(), axis=0),
        ops.concat,
        "the inner result is used elsewhere too",
    ),
    "a matrix product with another reader": (
        lambda: ops.concat(ops.dot(x(2, 2), y(2, 2)), expr.transpose(ops.dot(x(2, 2), y(2, 2)), (1, 0)), axis=0),
        ops.transpose,
        "the inner result is used elsewhere too",
    ),
    "a transpose of the batch": (lambda: expr.transpose(ops.dot(x(2, 3, 4), y(2, 4, 5)), (1, 0, 2)), ops.transpose, ""),
    "a repeated axis that melts": (
        lambda: expr.reshape(wide(x(2, 1), 2, 3), (6,)),
        ops.reshape,
        "a repeated axis melts with another",
    ),
    "half of one axis and half of another": (
        lambda: expr.reshape(wide(x(1, 6), 4, 6), (3, 8)),
        ops.reshape,
        "a repeated axis melts with another",
    ),
    "no elements": (lambda: expr.reshape(wide(x(0, 1), 0, 3), (3, 0)), ops.reshape, "there are no elements"),
    "a slice over two parts": (
        lambda: cut(ops.concat(x(), y(), axis=1), (0, 2), (1, 5)),
        ops.concat,
        "the slice reaches over several parts",
    ),
    "a slice with padding": (lambda: cut(pad(x(), (1, 0), (0, 2)), (0, 3), (0, 3)), ops.pad, "padding is in the slice"),
    "paddings of two values": (
        lambda: pad(pad(x(), (1, 0), (0, 2)), (0, 1), (0, 0), 1.0),
        ops.pad,
        "the paddings differ",
    ),
    "slices in another order": (
        lambda: ops.concat(cut(x(), (0, 2), (1, 3)), cut(x(), (0, 2), (0, 1)), axis=1),
        ops.concat,
        "",
    ),
    "slices of different rows": (
        lambda: ops.concat(cut(x(4, 4), (0, 2), (0, 2)), cut(x(4, 4), (2, 4), (2, 4)), axis=1),
        ops.concat,
        "",
    ),
    "slices with steps": (
        lambda: ops.concat(cut(x(8), (0, 4), step=2), cut(x(8), (4, 8), step=2), axis=0),
        ops.concat,
        "",
    ),
    "a sum over some of what is reshaped": (lambda: ops.sum_(expr.reshape(x(), (3, 2)), axes=(0,)), ops.reshape, ""),
    "a factor that changes over the sum": (lambda: ops.sum_(x() * wide(y(1, 3), 2, 3), axes=(1,)), ops.sum_, ""),
    "a product whose factor changes over the sum": (
        lambda: ops.sum_(x() * wide(y(1, 3), 2, 3) * x(name="z"), axes=(1,)),
        ops.sum_,
        "",
    ),
    "a large constant array": (
        lambda: x(100, 50) + expr.transpose(expr.array(_large()), (1, 0)),
        ops.transpose,
        "more than 4096 elements",
    ),
    "a constant that single precision does not hold": (
        lambda: x(2) + ops.exp(expr.array(np.array([1.0, 2.0]))),
        ops.exp,
        "f32 does not hold the result exactly",
    ),
    "parts of two numbers": (lambda: x(4, 3) + ops.concat(number(1.0), number(2.0), axis=0), ops.add, ""),
}

WEIGHTS: dict[str, tuple[Build, ops.Op, str]] = {
    "a factor for each place": (
        lambda: conv(x(2, 3, 5, 5), w(4, 3, 3, 3)) * wide(w(1, 1, 3, 3, name="s"), 2, 4, 3, 3),
        ops.mul,
        "the factor is not one number for each channel",
    ),
    "a factor for each row": (
        lambda: ops.dot(x(), w(3, 4)) * wide(w(2, 1, name="s"), 2, 4),
        ops.mul,
        "the factor is not one number for each column of the weights",
    ),
    "a factor for each element": (lambda: ops.dot(x(), w(3, 4)) * w(2, 4, name="s"), ops.mul, ""),
    "weights computed from the input": (
        lambda: conv(w(2, 3, 5, 5), ops.tanh(x(4, 3, 3, 3))) * wide(w(1, 4, 1, 1, name="s"), 2, 4, 3, 3),
        ops.mul,
        "the weights are computed from the input",
    ),
    "a factor for each channel of the data": (
        lambda: conv(x(2, 3, 5, 5) * wide(w(1, 3, 1, 1, name="s"), 2, 3, 5, 5), w(4, 3, 3, 3)),
        ops.mul,
        "the factor is not one number",
    ),
    "a factor of every element of the data": (
        lambda: ops.dot(x() * w(2, 3, name="s"), w(3, 4)),
        ops.mul,
        "the factor is not one number",
    ),
    "a number after a matrix product": (
        lambda: ops.dot(x(), w(3, 4)) * 0.5,
        ops.mul,
        "one number costs less beside a product than in its weights",
    ),
    "a number after a shifted matrix product": (
        lambda: (ops.dot(x(), w(3, 4)) + w(2, 4, name="b")) * 0.5,
        ops.mul,
        "one number costs less beside a product than in its weights",
    ),
    "a factor for each element after a shifted product": (
        lambda: (ops.dot(x(), w(3, 4)) + w(2, 4, name="b")) * w(2, 4, name="s"),
        ops.mul,
        "",
    ),
    "a number before a matrix product": (
        lambda: ops.dot(x() * 0.5, w(3, 4)),
        ops.mul,
        "one number costs less beside a product than in its weights",
    ),
    "a shifted product with another reader": (
        lambda: (lambda z: ops.concat(z, z * wide(w(1, 4, name="s"), 2, 4), axis=0))(
            ops.dot(x(), w(3, 4)) + wide(w(1, 4, name="b"), 2, 4)
        ),
        ops.concat,
        "the inner result is used elsewhere too",
    ),
}


def _check(case: tuple[Build, ops.Op, str], apply: object, name: str) -> None:
    build, left, reason = case
    before, ledger = graph(build), Ledger()
    after = apply(before, ledger)  # type: ignore[operator]
    assert any(node.op is left for node in after.order), f"{name}: no {left.name} is left in\n{after}"
    assert not reason or reason in {why for _, why in ledger.refused}
    with np.errstate(all="ignore"):
        check_passes(before, [(name, lambda _: after)], feeds_for(before))


@pytest.mark.parametrize("name", SIMPLIFY)
def test_simplify_leaves(name: str) -> None:
    _check(SIMPLIFY[name], simplify, name)


@pytest.mark.parametrize(("dtype", "factor"), [("f32", 1e-20), ("f32", 1e20), ("f16", 1e3), ("f16", 1e-2)])
def test_factors_whose_product_leaves_the_type_stay_two(dtype: str, factor: float) -> None:
    before = Graph({"out": (ops.cast(x(), dtype=dtype) * factor) * factor})
    assert [node.op for node in simplify(before).order].count(ops.mul) == 2


@pytest.mark.parametrize("name", WEIGHTS)
def test_fold_weights_leaves(name: str) -> None:
    _check(WEIGHTS[name], fold_weights, name)


def test_weights_on_the_left_of_a_product_take_a_factor_for_each_row() -> None:
    before = Graph({"out": ops.dot(w(4, 2), x()) * wide(w(4, 1, name="s"), 4, 3)})
    out = fold_weights(before).outputs["out"]
    assert out.op is ops.dot
    check_passes(before, [("fold weights", fold_weights)], feeds_for(before))


def test_a_number_goes_into_the_weights_of_a_convolution() -> None:
    before = Graph({"out": conv(x(2, 3, 5, 5), w(4, 3, 3, 3)) * 0.5})
    out = fold_weights(before).outputs["out"]
    assert out.op is ops.conv
    check_passes(before, [("fold weights", fold_weights)], feeds_for(before))
