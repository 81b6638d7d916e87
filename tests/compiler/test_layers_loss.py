"""Losses and metrics: against their definition, at the clamps, with every form of labels, and their gradients there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import interpret
from netc.compiler.ops import TypeRuleError
from netc.passes.training.gradient import gradient
from support.standalone import Standalone, normal, tensor

Array = np.ndarray[Any, Any]


def evaluated(kind: str, operands: dict[str, tuple[Any, str]], **settings: Any) -> dict[str, Array]:
    """The value of a loss under `y` and its gradient by the first operand under its name."""
    nodes = {name: tensor(name, *np.shape(value), dtype=dtype) for name, (value, dtype) in operands.items()}
    y: Node = Standalone().call(kind, *nodes.values(), **settings)
    assert str(y.type) == "f32[]"
    first = next(iter(nodes))
    graph = gradient([first], "y")(Graph({"y": y})).verify()
    return interpret(graph, {name: value for name, (value, _) in operands.items() if name in graph.inputs})


def softmax(x: Array, axis: int = 1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    result: Array = e / e.sum(axis, keepdims=True)
    return result


@pytest.mark.parametrize("dtype", ["i32", "i64", "u8", "f32"])
def test_softmax_loss_takes_labels_of_every_type(dtype: str) -> None:
    x, label = normal(4, 3), np.array([2, 0, 1, 1])
    found = evaluated("softmax_loss", {"x": (x, "f32"), "label": (label, dtype)})
    p = softmax(x)
    assert found["y"] == pytest.approx(-np.log(p[np.arange(4), label]).mean())
    np.testing.assert_allclose(found["x.grad"], (p - np.eye(3)[label]) / 4)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 3, 4)])
def test_softmax_loss_takes_labels_with_or_without_the_axis_of_classes(shape: tuple[int, ...]) -> None:
    x, label = normal(2, 5, 3, 4), np.random.default_rng(1).integers(0, 5, shape)
    p = np.take_along_axis(softmax(x), label.reshape(2, 1, 3, 4), 1)
    for normalization, count in (("full", 24), ("valid", 24), ("batch_size", 2), ("none", 1)):
        found = evaluated("softmax_loss", {"x": (x, "f32"), "l": (label, "i32")}, normalization=normalization)
        assert found["y"] == pytest.approx(-np.log(p).sum() / count)


def test_softmax_loss_ignores_a_label() -> None:
    x, label = normal(4, 3), np.array([2, -1, 1, -1])
    operands = {"x": (x, "f32"), "l": (label, "i32")}
    each = -np.log(softmax(x)[[0, 2], [2, 1]])
    for normalization, count in (("full", 4), ("valid", 2), ("batch_size", 4), ("none", 1)):
        found = evaluated("softmax_loss", operands, ignore=-1, normalization=normalization)
        assert found["y"] == pytest.approx(each.sum() / count)
        assert not found["x.grad"][[1, 3]].any()
    nothing = evaluated("softmax_loss", {"x": (x, "f32"), "l": (np.full(4, -1), "i32")}, ignore=-1)
    assert nothing["y"] == 0.0
    assert not nothing["x.grad"].any()


def test_softmax_loss_is_clamped_and_its_gradient_is_not() -> None:
    x = np.array([[1000.0, 0.0, 0.0]])
    found = evaluated("softmax_loss", {"x": (x, "f32"), "l": (np.array([1]), "i32")})
    assert found["y"] == pytest.approx(87.3365447)
    np.testing.assert_allclose(found["x.grad"], [[1.0, -1.0, 0.0]])


@pytest.mark.parametrize(
    ("kind", "shapes", "message"),
    [
        (
            "softmax_loss",
            ((4, 3), (3,)),
            r"the labels are f32\[3\], the scores f32\[4,3\] want one label for each of \[4\]",
        ),
        ("softmax_loss", ((2, 5, 3, 4), (2, 4, 3)), r"want one label for each of \[2, 3, 4\]"),
        ("sigmoid_loss", ((4, 3), (4, 2)), r"f32\[4,3\] and f32\[4,2\] differ in their number of items or of elements"),
        ("euclidean_loss", ((4, 3), (2, 6)), "differ in their number of items"),
        ("contrastive_loss", ((4, 3), (4, 3), (3,)), r"similar is f32\[3\], not one number for each of 4"),
        ("infogain_loss", ((4, 3), (4,), (4, 4)), r"gain is f32\[4,4\], 3 classes want 3 x 3"),
        ("accuracy", ((4, 3), (5,)), r"want one label for each of \[4\]"),
    ],
)
def test_operands_that_do_not_belong_together(kind: str, shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        Standalone().call(kind, *(tensor(f"x{i}", *s) for i, s in enumerate(shapes)))


def test_sigmoid_loss_is_finite_far_out_and_has_its_gradient_at_zero() -> None:
    x, t = np.array([[-1000.0, 1000.0, 0.0]]), np.array([[1.0, 1.0, 1.0]])
    found = evaluated("sigmoid_loss", {"x": (x, "f32"), "t": (t, "f32")}, normalization="none")
    assert found["y"] == pytest.approx(1000.0 + np.log(2.0))
    np.testing.assert_allclose(found["x.grad"], [[-1.0, 0.0, -0.5]], atol=1e-12)


def test_euclidean_loss_does_not_broadcast_a_column_against_a_row() -> None:
    a, b = normal(4, 1), normal(4, seed=1)
    found = evaluated("euclidean_loss", {"a": (a, "f32"), "b": (b, "f32")})
    assert found["y"] == pytest.approx(((a[:, 0] - b) ** 2).sum() / 8)


def test_contrastive_loss_of_an_equal_dissimilar_pair_has_a_finite_gradient() -> None:
    a = normal(3, 2)
    b = a + np.array([[0.0, 0.0], [0.3, 0.4], [3.0, 4.0]])
    found = evaluated("contrastive_loss", {"a": (a, "f32"), "b": (b, "f32"), "s": (np.zeros(3), "i32")}, margin=1.0)
    assert found["y"] == pytest.approx((1.0 + 0.25) / 6)
    np.testing.assert_allclose(found["a.grad"][0], [0.0, 0.0])
    np.testing.assert_allclose(found["a.grad"][1], np.array([0.3, 0.4]) * 0.5 / 0.5001 / 3)
    np.testing.assert_allclose(found["a.grad"][2], [0.0, 0.0])


def test_infogain_loss_with_the_identity_is_softmax_loss() -> None:
    x, label = normal(2, 4, 3), np.array([[0, 3, 1], [2, 2, 0]])
    operands = {"x": (x, "f32"), "l": (label, "i32")}
    a = evaluated("infogain_loss", {**operands, "h": (np.eye(4), "f32")})
    b = evaluated("softmax_loss", operands)
    assert a["y"] == pytest.approx(b["y"])
    np.testing.assert_allclose(a["x.grad"], b["x.grad"], atol=1e-12)


def metric(kind: str, operands: dict[str, tuple[Any, str]], **settings: Any) -> list[Array]:
    nodes = [tensor(name, *np.shape(value), dtype=dtype) for name, (value, dtype) in operands.items()]
    result = Standalone().call(kind, *nodes, **settings)
    results = result if isinstance(result, tuple) else (result,)
    graph = Graph({str(i): y for i, y in enumerate(results)}).verify()
    return list(interpret(graph, {name: value for name, (value, _) in operands.items()}).values())


def test_accuracy_counts_a_tie_against_the_label() -> None:
    x = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    label = np.array([0, 1, 2])
    operands = {"x": (x, "f32"), "l": (label, "i32")}
    assert metric("accuracy", operands)[0] == pytest.approx(1 / 3)
    assert metric("accuracy", operands, top_k=2)[0] == pytest.approx(2 / 3)
    assert metric("accuracy", operands, top_k=3)[0] == 1.0
    assert metric("accuracy", operands, ignore=2)[0] == 0.5
    per_class = metric("accuracy", operands, per_class=True)[1]
    np.testing.assert_array_equal(per_class, [0.0, 1.0, 0.0])
    with pytest.raises(TypeRuleError, match="top_k is 4, there are 3 classes"):
        metric("accuracy", operands, top_k=4)


def test_accuracy_with_nothing_to_count_is_zero() -> None:
    x, label = normal(2, 3), np.array([7, 7])
    assert metric("accuracy", {"x": (x, "f32"), "l": (label, "i32")}, ignore=7)[0] == 0.0


def test_argmax_takes_the_larger_index_of_a_tie_and_is_whole() -> None:
    x = np.array([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    index, value = metric("argmax", {"x": (x, "f32")}, top_k=3, values=True)
    assert index.dtype == np.int32
    np.testing.assert_array_equal(index, [[[2, 1, 3]], [[3, 2, 1]]])
    np.testing.assert_array_equal(value, [[[3, 3, 2]], [[5, 5, 5]]])
    assert metric("argmax", {"x": (normal(2, 3, 4), "f32")}, axis=1)[0].shape == (2, 1, 4)
    assert metric("argmax", {"x": (normal(2, 3, 4), "f32")})[0].shape == (2, 1, 1)


def test_argmax_takes_each_element_once_also_where_it_is_the_least_of_its_type() -> None:
    for dtype, least in (("f32", -np.inf), ("i32", -(2.0**31)), ("u8", 0.0)):
        x = np.array([[least, 5, least, least]])
        index, found = metric("argmax", {"x": (x, dtype)}, top_k=3, values=True)
        assert index.ravel().tolist() == [1, 3, 2]
        assert found.ravel().tolist() == [5, least, least]
