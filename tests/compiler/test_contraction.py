"""The one form of all products: summed element by element it is what the ops compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler import ops
from netc.compiler.graph import Node
from netc.compiler.loops.contraction import Contraction, contraction, size_of
from netc.compiler.loops.view import Expr, Pulled, Var, unflat

Sizes = tuple[int, ...]


def leaf(name: str, shape: Sizes) -> Node:
    return ops.input_(name=name, shape=shape, dtype="f32")


def products(x: Sizes, w: Sizes, **attrs: Any) -> list[Node]:
    """A convolution and its two gradients, on leaves."""
    data, weights = leaf("x", x), leaf("w", w)
    y = ops.conv(data, weights, **attrs)
    gradient = leaf("g", y.shape)
    return [
        y,
        ops.conv_data_grad(gradient, weights, size=x[2:], **attrs),
        ops.conv_weight_grad(data, gradient, kernel=w[2:], **attrs),
    ]


def elements(source: Pulled, array: np.ndarray, values: dict[Var, Any], shape: Sizes) -> np.ndarray:
    ok = np.ones(shape, bool)
    for guard in source.guards:
        ok &= guard.value(values)
    at = [np.broadcast_to(np.asarray(i.value(values)), shape) for i in source.index]
    for i, n in zip(at, array.shape, strict=True):
        assert ((i >= 0) & (i < n))[ok].all()
    return np.where(ok, array[tuple(np.where(ok, i, 0) for i in at)], 0)


def summed(c: Contraction, arrays: list[np.ndarray]) -> np.ndarray:
    """The product as the form says it, with all axes flattened to `batch`, `m`, `n`, `k` as a frame does."""
    numbers = [
        Var(name, size_of(axes)) for name, axes in zip("bmnk", (c.batch, c.rows, c.columns, c.reduced), strict=True)
    ]
    digits: dict[Var, Expr] = {}
    for number, axes in zip(numbers, (c.batch, c.rows, c.columns, c.reduced), strict=True):
        digits |= dict(zip(axes, unflat(Expr.of(number), [v.size for v in axes]), strict=True))
    c = c.substitute(digits)
    b, m, n, k = (v.size for v in numbers)

    def grid(*shape: int) -> dict[Var, Any]:
        return dict(zip(numbers, np.ix_(*(range(s) for s in shape)), strict=True))

    of = dict(zip(c.root.inputs, arrays, strict=True))
    left = elements(c.left, of[c.left.node], grid(b, m, 1, k), (b, m, 1, k))
    right = elements(c.right, of[c.right.node], grid(b, 1, n, k), (b, 1, n, k))
    total = (left[:, :, 0].astype(float)) @ right[:, 0].transpose(0, 2, 1)
    result = np.full(c.root.shape, np.nan)
    values = grid(b, m, n, 1)
    ok = np.ones((b, m, n, 1), bool)
    for guard in c.guards:
        ok &= guard.value(values)
    at = tuple(np.broadcast_to(np.asarray(i.value(values)), ok.shape)[ok] for i in c.result)
    assert np.isnan(result[at]).all()
    result[at] = total[..., None][ok]
    assert len(at[0]) == result.size, "each element of the result is computed once"
    return result


def agree(root: Node) -> None:
    arrays = [np.random.default_rng(i).standard_normal(x.shape) for i, x in enumerate(root.inputs)]
    np.testing.assert_allclose(summed(contraction(root), arrays), root.op.numpy(*arrays, **root.attrs), atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolutions(data: Any) -> None:
    rank = data.draw(st.sampled_from([1, 2, 2, 3]))

    def few(low: int, high: int) -> Sizes:
        return tuple(data.draw(st.integers(low, high)) for _ in range(rank))

    groups, channels, features = (data.draw(st.integers(1, 3)) for _ in range(3))
    kernel, stride, pad, dilation = few(1, 3), few(1, 3), few(0, 2), few(1, 2)
    reach = [max(d * (k - 1) + 1 - 2 * p, 1) for d, k, p in zip(dilation, kernel, pad, strict=True)]
    size = tuple(r + e for r, e in zip(reach, few(0, 4), strict=True))
    batch = data.draw(st.integers(1, 3))
    attrs = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
    for root in products((batch, groups * channels, *size), (groups * features, channels, *kernel), **attrs):
        agree(root)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_dot(batch: Sizes) -> None:
    agree(ops.dot(leaf("a", (*batch, 4, 5)), leaf("b", (*batch, 5, 3))))


def test_a_stride_makes_phases() -> None:
    """A gradient by the data of a strided convolution tries only the taps that can meet an element."""
    _, by_data, _ = products((2, 3, 11, 11), (4, 3, 3, 3), stride=(2, 2), pad=(1, 1), dilation=(1, 1), groups=1)
    c = contraction(by_data)
    assert [(v.name, v.size) for v in c.batch] == [("phase_row", 2), ("phase_column", 2)]
    assert [(v.name, v.size) for v in c.reduced] == [("tap_row", 2), ("tap_column", 2), ("feature", 4)]
    assert [str(g) for g in c.guards] == ["0 <= 2 * row + phase_row < 11", "0 <= 2 * column + phase_column < 11"]
    assert all(g.step == 1 for g in c.left.guards)


def test_a_convolution_by_one_point_is_a_plain_product() -> None:
    y, _, _ = products((2, 3, 5, 5), (4, 3, 1, 1), stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1)
    c = contraction(y)
    assert not c.left.guards
    assert [str(i) for i in c.left.index] == ["image", "channel", "row", "column"]


def test_only_products_have_the_form() -> None:
    with pytest.raises(ValueError, match="exp is no product"):
        contraction(ops.exp(leaf("x", (2, 2))))
