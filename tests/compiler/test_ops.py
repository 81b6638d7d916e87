"""All primitives by one test: the type rule against numpy, the gradient against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import interpret
from netc.compiler.ops import OPS, TypeRuleError
from netc.compiler.types import NUMPY_DTYPES, TensorType, TupleType
from netc.passes.training.gradient import cotangents, erase_surrogate
from support.op_samples import SAMPLES, Array, Sample

# Ops through which no gradient flows. Any other has a rule, and the test below asks it.
FLAT = {"input", "param", "const", "iota", "random", "floor", "less", "equal", "argmax", "kernel", "partial"}
FLAT |= {"winograd_data", "winograd_weights", "winograd_product"}  # lowering makes them, behind all gradients

CASES = [(n, i, s) for n, some in SAMPLES.items() for i, s in enumerate(some)]
each_sample = pytest.mark.parametrize(("name", "sample"), [pytest.param(n, s, id=f"{n}-{i}") for n, i, s in CASES])
each_with_gradient = pytest.mark.parametrize(
    "sample", [pytest.param(s, id=f"{n}-{i}") for n, i, s in CASES if n not in FLAT and s.differentiable]
)


def test_every_op_has_a_sample_of_itself() -> None:
    assert set(SAMPLES) == set(OPS.own)
    for name, samples in SAMPLES.items():
        assert samples
        assert all(sample.call(*sample.nodes()).op.name == name for sample in samples)


def test_the_ops_without_a_gradient_are_known() -> None:
    assert {name for name, op in OPS.own.items() if op.vjp is None} == FLAT
    # Of a host's call the items are asked.
    assert {name for name, _, s in CASES if s.differentiable} >= set(OPS.own) - FLAT - {"host"}


@each_sample
def test_the_type_rule_says_what_numpy_makes(name: str, sample: Sample) -> None:
    node = sample.call(*sample.nodes())
    assert Graph({"y": node if isinstance(node.result, TensorType) else ops.item(node, index=0)}).verify()
    assert node.op.flops(node.result, *(x.result for x in node.inputs), **node.attrs) >= 0
    if name in ("input", "param"):
        return
    operands = [_value(x, sample.feeds()) for x in node.inputs]
    value = node.op.numpy(*operands, **node.attrs)
    types = node.result.items if isinstance(node.result, TupleType) else (node.result,)
    for type_, result in zip(types, value if isinstance(node.result, TupleType) else (value,), strict=True):
        assert np.shape(result) == type_.shape
        if type_.is_float:
            # float64 operands stay so: the oracle's wide arithmetic is not cut on the way.
            assert np.asarray(result).dtype == np.float64 or name == "const"
        else:
            assert np.array_equal(np.asarray(result).astype(NUMPY_DTYPES[type_.dtype]), result)


def _value(x: Node, feeds: Mapping[str, Array]) -> Any:
    if isinstance(x.result, TupleType):
        return x.op.numpy(*(_value(i, feeds) for i in x.inputs), **x.attrs)
    return interpret(Graph({"x": x}), feeds)["x"]


@each_with_gradient
def test_the_gradient_is_the_finite_difference_in_a_random_direction(sample: Sample) -> None:
    inputs = sample.nodes()
    feeds = sample.feeds()
    y = sample.call(*inputs)
    floats = [x for x in inputs if x.type.is_float]
    weights = ops.input_(name="weights", shape=y.shape, dtype=y.dtype)
    rng = np.random.default_rng(1)
    fed = {**feeds, "weights": rng.standard_normal(y.shape)}
    objective = expr.sum(ops.mul(y, weights))
    found = cotangents(Graph({"o": objective}), objective, floats)
    gradients = interpret(erase_surrogate(Graph({x.attrs["name"]: found[x] for x in floats})), fed)
    direction = {x.attrs["name"]: rng.standard_normal(x.shape) for x in floats}
    step = 1e-6

    def at(distance: float) -> float:
        moved = {k: v + distance * direction[k] if k in direction else v for k, v in fed.items()}
        return float(interpret(Graph({"o": objective}), moved)["o"])

    measured = (at(step) - at(-step)) / (2 * step)
    derived = sum(float((gradients[k] * d).sum()) for k, d in direction.items())
    assert abs(derived) > 1e-3
    assert derived == pytest.approx(measured, rel=1e-6, abs=1e-7)


def _x(text: str = "f32[2,3]") -> Node:
    return Sample((text,), lambda x: x).nodes()[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.add(_x(), _x("f32[3,2]")), r"add: operands differ: f32\[2,3\], f32\[3,2\]"),
        (lambda: ops.exp(_x("i32[2]")), r"exp: needs floating-point numbers, not i32\[2\]"),
        (lambda: ops.sum_(_x(), axes=(1, 0)), r"sum: axes \(1, 0\) are not different, ascending and below 2"),
        (lambda: ops.max_reduce(_x("f32[2,0]"), axes=(1,)), r"max_reduce: nothing to choose from in f32\[2,0\]"),
        (lambda: ops.reshape(_x(), shape=(4, 2)), r"reshape: f32\[2,3\] has 6 elements, \[4, 2\] has 8"),
        (lambda: ops.slice_(_x(), start=(0, 2), stop=(2, 5), step=(1, 1)), "slice: 2:5:1 is no slice of an axis of 3"),
        (lambda: ops.concat(_x(), _x("f32[3,3]"), axis=1), r"concat: f32\[3,3\] does not join f32\[2,3\] along axis 1"),
        (lambda: ops.dot(_x(), _x("f32[2,3]")), "dot: the inner sizes of .* differ"),
        (lambda: ops.window(_x(), axes=(1,), sizes=(4,), strides=(1,), dilations=(1,)), "a window of 4 is larger"),
        (lambda: ops.where(_x(), _x(), _x()), r"where: the condition is f32\[2,3\]"),
        (lambda: ops.gather(_x(), _x()), "gather: cannot take rows"),
        (lambda: ops.cast(_x(), dtype="f8"), "cast: f8 is no element type"),
        (lambda: ops.random(_x("i32[]"), _x("i64[]"), shape=(2,), stream=0), r"random: seed and step must be i64\[\]"),
    ],
)
def test_a_type_rule_refuses_with_the_numbers(call: Callable[[], Node], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        call()


SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(a=SHAPES, b=SHAPES)
def test_arithmetic_broadcasts_as_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x = ops.input_(name="x", shape=a, dtype="f32")
    y = ops.input_(name="y", shape=b, dtype="f32")
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(TypeRuleError, match="do not broadcast together"):
            expr.sub(x, y)
        return
    result = expr.sub(x, y)
    assert result.shape == expected
    feeds = {"x": np.arange(float(np.prod(a))).reshape(a), "y": np.arange(float(np.prod(b))).reshape(b)}
    assert np.array_equal(interpret(Graph({"r": result}), feeds)["r"], feeds["x"] - feeds["y"])


@given(shape=SHAPES, data=st.data())
def test_reductions_take_axes_as_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = (
        data.draw(st.lists(st.integers(-len(shape), len(shape) - 1), unique_by=lambda a: a % len(shape)))
        if shape
        else []
    )
    keepdims = data.draw(st.booleans())
    x = ops.input_(name="x", shape=shape, dtype="f32")
    feeds = {"x": np.arange(float(np.prod(shape))).reshape(shape)}
    result = expr.sum(x, axes, keepdims=keepdims)
    expected = feeds["x"].sum(tuple(axes), keepdims=keepdims)
    assert result.shape == expected.shape
    assert np.array_equal(interpret(Graph({"r": result}), feeds)["r"], expected)
