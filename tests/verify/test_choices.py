"""Decisions within an error bound: what they may change is a flip, and counted; anything else is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.ops.rounding import Arithmetic, Bounded
from netc.verification.budget import analyse, measured
from netc.verification.compare import Compared, compare

Array = np.ndarray[Any, Any]
ARITHMETIC = Arithmetic()


def against(node: Node, feeds: dict[str, Array], got: Array) -> Compared:
    found: list[Compared] = []

    def seen(of: Node, want: Bounded) -> Bounded:
        found.append(compare(of, want, got, ARITHMETIC, name="y", layer="", kind="value"))
        return want

    analyse(Graph({"y": node}), feeds, ARITHMETIC, [node], seen)
    return found[0]


def vector(name: str, size: int = 4) -> Node:
    return ops.input_(name=name, shape=(size,), dtype="f32")


def zeros(like: Node) -> Node:
    return ops.const(value=0.0, shape=like.shape, dtype=like.dtype)


def gate() -> tuple[Node, dict[str, Array]]:
    """The gradient of a rectifier whose operand is a difference: where that is next to nothing, it may be either."""
    a, b, g = vector("a"), vector("b"), vector("g")
    difference = ops.add(a, ops.neg(b))
    node = ops.where(ops.less(zeros(a), difference), g, zeros(g))
    # 2 - (2 + 2^-22) is a rounding away from 0, the others are not.
    feeds = {
        "a": np.array([2.0, 1.0, 1.0, 0.0], np.float32),
        "b": np.array([2.0 + 2.0**-22, 3.0, 0.5, 0.0], np.float32),
        "g": np.array([5.0, 5.0, 5.0, 5.0], np.float32),
    }
    return node, feeds


def test_a_decision_within_its_bounds_is_a_flip() -> None:
    node, feeds = gate()
    right = against(node, feeds, np.array([0.0, 0.0, 5.0, 0.0], np.float32))
    assert right.ok
    assert right.flips == 0
    turned = against(node, feeds, np.array([5.0, 0.0, 5.0, 0.0], np.float32))
    assert turned.ok
    assert turned.flips == 1


def test_a_decision_outside_its_bounds_is_wrong() -> None:
    node, feeds = gate()
    assert against(node, feeds, np.array([0.0, 5.0, 5.0, 0.0], np.float32)).wrong == 1
    assert against(node, feeds, np.array([0.0, 0.0, 0.0, 0.0], np.float32)).wrong == 1


def test_a_flip_is_no_licence() -> None:
    """What no decision explains is wrong at an undecided element as well."""
    node, feeds = gate()
    assert against(node, feeds, np.array([9.0, 0.0, 5.0, 0.0], np.float32)).wrong == 1


def test_an_exact_tie_is_decided() -> None:
    """Zeros behind a rectifier are equal without any rounding: the first wins, on every target."""
    x = ops.input_(name="x", shape=(2, 3), dtype="f32")
    kept = ops.where(ops.less(zeros(x), x), x, zeros(x))
    node = ops.argmax(kept, axes=(1,))
    feeds: dict[str, Array] = {"x": np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, 0.5]], np.float32)}
    assert against(node, feeds, np.array([[0], [1]])).flips == 0
    assert not against(node, feeds, np.array([[1], [1]])).ok


def test_a_near_tie_of_an_argmax_is_not() -> None:
    x, one = ops.input_(name="x", shape=(2, 3), dtype="f32"), ops.input_(name="one", shape=(2, 3), dtype="f32")
    node = ops.argmax(ops.mul(x, one), axes=(1,))
    feeds: dict[str, Array] = {
        "x": np.array([[1.0, 1.0 + 2.0**-23, 0.0], [3.0, 1.0, 2.0]], np.float32),
        "one": np.ones((2, 3)),
    }
    assert against(node, feeds, np.array([[0], [0]])).flips == 1
    assert not against(node, feeds, np.array([[0], [2]])).ok


def test_the_operand_of_a_maximum_is_told_from_the_other_operand() -> None:
    """`less(a, max(a, b))` where a is chosen compares equal numbers, and is in no doubt unless b is near."""
    a, b, g = vector("a", 3), vector("b", 3), vector("g", 3)
    product = ops.mul(a, a)
    node = ops.where(ops.less(product, ops.maximum(product, b)), g, zeros(g))
    feeds = {
        "a": np.array([3.0, 1.0, 1.5], np.float32),
        "b": np.array([1.0, 8.0, 2.25 - 2.0**-22], np.float32),
        "g": np.array([7.0, 7.0, 7.0], np.float32),
    }
    assert against(node, feeds, np.array([0.0, 7.0, 0.0], np.float32)).flips == 0
    assert not against(node, feeds, np.array([7.0, 7.0, 0.0], np.float32)).ok
    assert against(node, feeds, np.array([0.0, 7.0, 7.0], np.float32)).flips == 1


def test_a_measured_value_starts_anew() -> None:
    """What follows a value of the target is judged by that value, so that a fault is found where it arose."""
    x, w = ops.input_(name="x", shape=(8, 8), dtype="f32"), ops.input_(name="w", shape=(8, 8), dtype="f32")
    first = ops.dot(x, w)
    second = ops.dot(first, w)
    rng = np.random.default_rng(3)
    feeds = {"x": rng.standard_normal((8, 8)), "w": rng.standard_normal((8, 8))}
    wrong = feeds["x"] @ feeds["w"] * 1.01
    given = {first: wrong, second: wrong @ feeds["w"]}
    found: dict[Node, Compared] = {}

    def seen(node: Node, want: Bounded) -> Bounded:
        found[node] = compare(node, want, given[node], ARITHMETIC, name="y", layer="", kind="value")
        return measured(node, given[node], ARITHMETIC)

    analyse(Graph({"y": second}), feeds, ARITHMETIC, [first, second], seen)
    assert not found[first].ok
    assert found[second].ok


def test_infinities_and_what_is_no_number() -> None:
    x = vector("x")
    node = ops.log(x)
    feeds = {"x": np.array([0.0, -1.0, 1.0, 2.0], np.float32)}
    good = np.array([-np.inf, np.nan, 0.0, np.log(2.0)], np.float32)
    assert against(node, feeds, good).ok
    for i, value in ((0, 1.0), (1, 0.0), (2, np.nan), (3, np.inf)):
        bad = good.copy()
        bad[i] = value
        assert against(node, feeds, bad).wrong == 1


def test_what_is_too_large_for_the_type_may_be_infinite() -> None:
    x = vector("x", 2)
    feeds = {"x": np.array([1e30, 1.0], np.float32)}
    assert against(ops.mul(x, x), feeds, np.array([np.inf, 1.0], np.float32)).ok
    assert not against(ops.mul(x, x), feeds, np.array([-np.inf, 1.0], np.float32)).ok
