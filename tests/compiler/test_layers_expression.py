"""Functions of expressions, activations at their kinks, and the layers that only move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import interpret
from netc.compiler.layers import LAYERS
from netc.compiler.ops import TypeRuleError
from netc.passes.training.gradient import gradient
from support.standalone import Standalone, normal, tensor

Array = np.ndarray[Any, Any]


def call(kind: str, *operands: Any, **settings: Any) -> Any:
    return Standalone().call(kind, *operands, **settings)


def value(node: Node, **feeds: Any) -> Array:
    return interpret(Graph({"y": node}).verify(), feeds)["y"]


def slope(function: Callable[[Node], Node], at: list[float]) -> list[float]:
    """The gradient of the sum of an elementwise function, element by element."""
    x = tensor("x", len(at))
    graph = gradient(["x"], "y")(Graph({"y": expr.sum(function(x))}))
    return [float(g) for g in interpret(graph, {"x": np.array(at)})["x.grad"]]


@pytest.mark.parametrize(
    ("kind", "settings", "at_zero"),
    [
        ("relu", {}, 0.0),
        ("relu", {"negative_slope": 0.1}, 0.1),
        ("elu", {"alpha": 0.5}, 0.5),
        ("abs", {}, 0.0),
        ("softplus", {}, 0.5),
        ("clip", {"min": 0.0, "max": 1.0}, 1.0),
        ("clip", {"min": -1.0, "max": 0.0}, 1.0),
        ("sigmoid", {}, 0.25),
        ("threshold", {}, 0.0),
    ],
)
def test_the_gradient_at_zero_is_caffes(kind: str, settings: dict[str, float], at_zero: float) -> None:
    assert slope(lambda x: call(kind, x, **settings), [0.0]) == [pytest.approx(at_zero)]


@pytest.mark.parametrize("kind", ["elu", "softplus", "sigmoid", "tanh", "swish"])
def test_activations_are_finite_far_out(kind: str) -> None:
    x = np.array([-1e4, 1e4])
    assert np.isfinite(value(call(kind, tensor("x", 2)), x=x)).all()
    assert np.isfinite(slope(lambda node: call(kind, node), [-1e4, 1e4])).all()


def test_relus_gradient_needs_only_its_result() -> None:
    x = tensor("x", 4)
    y = call("relu", x)
    graph = gradient(["x"], "o")(Graph({"o": expr.sum(y), "y": y}))
    backward = [n for n in Graph({"g": graph.outputs["x.grad"]}).order if n.op.name == "less"]
    assert backward
    assert all(x not in n.inputs for n in backward)


def test_max_and_min_of_a_tensor_and_a_number_or_of_two_or_of_one() -> None:
    a, b = tensor("a", 2, 3), tensor("b", 3)
    x, y = normal(2, 3), normal(3, seed=1)
    np.testing.assert_array_equal(value(call("max", a, 0.0), a=x), np.maximum(x, 0))
    np.testing.assert_array_equal(value(call("min", 0.5, a), a=x), np.minimum(x, 0.5))
    np.testing.assert_array_equal(value(call("max", a, b), a=x, b=y), np.maximum(x, y))
    np.testing.assert_array_equal(value(call("min", a, axis=1), a=x), x.min(1))
    assert value(call("max", a), a=x) == x.max()
    with pytest.raises(TypeRuleError, match="axis and keepdims are for the maximum of one tensor"):
        call("max", a, b, axis=1)
    with pytest.raises(TypeRuleError, match="one number alone"):
        call("min", 3.0)


@pytest.mark.parametrize("dtype", ["u8", "i32", "i64", "bool"])
def test_the_smallest_of_whole_numbers_is_found_at_the_ends_of_the_type(dtype: str) -> None:
    a = ops.input_(name="a", shape=(2, 3), dtype=dtype)
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(a.type.numpy_dtype).min, np.iinfo(a.type.numpy_dtype).max)
    x = np.array([[high, low, high], [high, high, high]], a.type.numpy_dtype)
    np.testing.assert_array_equal(value(call("min", a, axis=1), a=x), [low, high])
    np.testing.assert_array_equal(value(call("max", a, axis=1), a=x), [high, high])


@pytest.mark.parametrize(
    ("dtype", "number", "held"),
    [
        ("u8", 255, True),
        ("u8", 256, False),
        ("u8", -1, False),
        ("i32", -(2**31), True),
        ("i32", 2**31, False),
        ("i32", 0.5, False),
        ("f16", 65504.0, True),
        ("f16", 65520.0, False),
        ("f32", 3.4e38, True),
        ("f32", -3.5e38, False),
        ("bf16", 3.38e38, True),
        ("bf16", 3.4e38, False),
        ("f64", 1e300, True),
        ("f16", -np.inf, True),
        ("bool", 1, True),
        ("bool", 2, False),
    ],
)
def test_a_number_beside_a_tensor_fits_into_its_type(dtype: str, number: float, held: bool) -> None:
    x = ops.input_(name="x", shape=(2,), dtype=dtype)
    if held:
        assert expr.constant(number, x).type == x.type
    else:
        with pytest.raises(TypeRuleError, match=rf"among {dtype}\[2\]: (cast to f32 first|it is too large)"):
            expr.constant(number, x)


@pytest.mark.parametrize("kind", ["sum", "mean", "reduction"])
@pytest.mark.parametrize("dtype", ["bool", "u8"])
def test_nothing_is_summed_in_a_type_too_small_for_it(kind: str, dtype: str) -> None:
    with pytest.raises(TypeRuleError, match=f"{dtype} does not hold the sum of several"):
        call(kind, ops.input_(name="x", shape=(2, 3), dtype=dtype))


def test_eltwise_calculates_with_no_booleans() -> None:
    a, b = (ops.input_(name=name, shape=(2,), dtype="bool") for name in "ab")
    for operation in ("sum", "prod"):
        with pytest.raises(TypeRuleError, match="true and false is no number"):
            call("eltwise", a, b, operation=operation)
    assert value(call("eltwise", a, b, operation="max"), a=[True, False], b=[False, False]).tolist() == [True, False]


def test_the_gradient_of_max_with_a_number_is_relus() -> None:
    assert slope(lambda x: call("max", x, 0.0), [-1.0, 0.0, 2.0]) == [0.0, 0.0, 1.0]
    assert slope(lambda x: call("min", x, 0.0), [-1.0, 0.0, 2.0]) == [1.0, 0.0, 0.0]


def test_where_of_two_numbers_detach_and_cast() -> None:
    a = tensor("a", 3)
    x = np.array([-1.0, 0.0, 2.7])
    np.testing.assert_array_equal(value(call("where", a > 0.0, 1.0, -1.0), a=x), [-1, -1, 1])
    assert slope(lambda n: call("detach", n) * n, [3.0]) == [3.0]
    cut = call("cast", a, to="i32")
    assert str(cut.type) == "i32[3]"
    np.testing.assert_array_equal(value(cut, a=x), [-1, 0, 2])


def test_sums_and_means_over_axes() -> None:
    a, x = tensor("a", 2, 3, 4), normal(2, 3, 4)
    np.testing.assert_allclose(value(call("sum", a, axis=(0, -1)), a=x), x.sum((0, 2)))
    np.testing.assert_allclose(value(call("mean", a, axis=1, keepdims=True), a=x), x.mean(1, keepdims=True))
    with pytest.raises(TypeRuleError, match="axis 3 is outside 3 axes"):
        call("sum", a, axis=3)
    with pytest.raises(TypeRuleError, match=r"f32\[0\] has nothing to take the mean of"):
        call("mean", tensor("e", 0))


def test_power_with_nothing_of_x_in_it_is_a_constant() -> None:
    for settings, constant in (({"power": 2.0, "scale": 0.0, "shift": 3.0}, 9.0), ({"power": 0.0}, 1.0)):
        graph = Graph({"y": call("power", tensor("x", 2), **settings)})
        assert not graph.inputs
        np.testing.assert_array_equal(interpret(graph, {})["y"], [constant, constant])
    with pytest.raises(TypeRuleError, match=r"0\.0 \*\* -1\.0 is no finite number"):
        call("power", tensor("x", 2), power=-1.0, scale=0.0)


@pytest.mark.parametrize("base", [0.0, -2.0])
def test_bases_of_exp_and_log_are_positive(base: float) -> None:
    for kind in ("exp", "log"):
        with pytest.raises(TypeRuleError, match="a number above 0 or none"):
            call(kind, tensor("x", 2), base=base)


def test_what_an_op_may_call() -> None:
    named = {name for name, layer in LAYERS.items() if layer.elementwise}
    wanted = [
        "exp",
        "log",
        "sqrt",
        "tanh",
        "sigmoid",
        "abs",
        "floor",
        "where",
        "sum",
        "mean",
        "max",
        "min",
        "detach",
        "max_reduce",
    ]
    assert set(wanted) <= named
    assert all(not LAYERS[name].params for name in named)


def test_eltwise_max_gives_the_gradient_of_a_first_tie_to_the_second_and_of_a_later_to_the_earlier() -> None:
    nodes = {name: tensor(name, 1) for name in "abc"}
    y = call("eltwise", *nodes.values(), operation="max")
    graph = gradient(list(nodes), "y")(Graph({"y": expr.sum(y)}))
    found = interpret(graph, {"a": [1.0], "b": [1.0], "c": [1.0]})
    assert [float(found[f"{n}.grad"][0]) for n in "abc"] == [0.0, 1.0, 0.0]


def test_split_in_parts_and_at_cuts() -> None:
    x = tensor("x", 5, 6)
    assert [y.shape for y in call("split", x, parts=3)] == [(5, 2), (5, 2), (5, 2)]
    a, b, c = call("split", x, at=(1, 3), axis=0)
    whole = normal(5, 6)
    np.testing.assert_array_equal(value(ops.concat(a, b, c, axis=0), x=whole), whole)
    assert [y.shape[0] for y in (a, b, c)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("kind", "shapes", "settings", "message"),
    [
        ("split", ((2, 5),), {"parts": 2}, r"axis 1 of f32\[2,5\] does not divide into 2 equal parts"),
        ("split", ((2, 5),), {"at": (3, 3)}, r"at: \[3, 3\] are not ascending cuts inside an axis of 5"),
        ("split", ((2, 5),), {"at": 5}, "are not ascending cuts inside an axis of 5"),
        ("split", ((2, 5),), {}, "say either into how many equal parts, or at: where to cut"),
        ("split", ((2, 5000),), {"parts": 5000}, "5000 parts are more than 1000"),
        ("concat", ((2, 3), (3, 3)), {}, r"f32\[3,3\] does not join f32\[2,3\] along axis 1"),
        ("reshape", ((2, 6),), {"shape": (5, -1)}, r"12 elements of f32\[2,6\] do not fit \[5, -1\]"),
        ("reshape", ((2, 6),), {"shape": (0, 0, 0)}, r"\[0, 0, 0\] keeps more axes than f32\[2,6\] has"),
        ("reshape", ((2, 6),), {"shape": (-1, -1)}, "one -1 at most"),
        ("flatten", ((2, 6),), {"axis": 1, "end_axis": 0}, "end_axis 0 comes before axis 1"),
        ("tile", ((2, 6),), {"tiles": 0}, "`tiles` takes a whole number from 1 up, not 0"),
        (
            "crop",
            ((1, 1, 4, 4), (1, 1, 3, 3)),
            {"offset": 2},
            r"f32\[1,1,4,4\] has no \[1, 1, 3, 3\] from \[0, 0, 2, 2\]",
        ),
        ("eltwise", ((2, 3), (3, 2)), {}, r"f32\[2,3\] and f32\[3,2\] differ in shape"),
        ("eltwise", ((2, 3), (2, 3)), {"coeff": (1.0,)}, "1 coefficients for 2 tensors"),
        ("scale", ((2, 3, 4),), {"num_axes": 3}, r"3 axes from axis 1 on are not in f32\[2,3,4\]"),
        ("lrn", ((2, 3, 4, 4),), {"size": 4}, "size is 4, it must be odd"),
        ("mvn", ((2, 3),), {}, r"f32\[2,3\] has nothing to normalize over"),
        ("batch_norm", ((2,),), {}, r"the input is f32\[2\], it has no axis 1 for channels"),
    ],
)
def test_what_does_not_fit_is_said_with_its_numbers(
    kind: str, shapes: tuple[tuple[int, ...], ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeRuleError, match=message):
        call(kind, *(tensor(f"x{i}", *s) for i, s in enumerate(shapes)), **settings)


def test_scale_by_a_tensor_takes_its_shape() -> None:
    x, s = normal(2, 3, 4), normal(3, 4, seed=1)
    y = call("scale", tensor("x", 2, 3, 4), axis=1, by=tensor("s", 3, 4))
    np.testing.assert_allclose(value(y, x=x, s=s), x * s)
    with pytest.raises(TypeRuleError, match=r"f32\[4\] does not lie along the axes of f32\[2,3,4\] from axis 1 on"):
        call("scale", tensor("x", 2, 3, 4), by=tensor("s", 4))
