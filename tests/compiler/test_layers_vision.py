"""Convolution and pooling: sizes, geometry against the definition, and the sentences for what does not fit."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler.interpret import interpret
from netc.compiler.ops import TypeRuleError
from netc.compiler.types import Dim
from support.standalone import Standalone, normal, tensor


def shape(kind: str, *sizes: int, **keywords: Any) -> tuple[int, ...]:
    result: tuple[int, ...] = Standalone().call(kind, tensor("x", *sizes), **keywords).shape
    return result


def test_lenet_has_its_sizes() -> None:
    context = Standalone()
    x = tensor("image", Dim(64, "N"), 1, 28, 28)
    found = []
    for i, (kind, settings_) in enumerate(
        [
            ("conv", {"out": 20, "kernel": 5}),
            ("max_pool", {"kernel": 2}),
            ("conv", {"out": 50, "kernel": 5}),
            ("max_pool", {"kernel": 2}),
            ("linear", {"out": 500}),
            ("linear", {"out": 10}),
        ]
    ):
        x = context.call(kind, x, layer=f"l{i}", **settings_)
        found.append(str(x.type))
    assert found == ["f32[N,20,24,24]", "f32[N,20,12,12]", "f32[N,50,8,8]", "f32[N,50,4,4]", "f32[N,500]", "f32[N,10]"]
    assert sum(math.prod(p.shape) for p in context.parameters.values()) == 431_080


@pytest.mark.parametrize(
    ("kind", "sizes", "keywords", "expected"),
    [
        ("conv", (2, 3, 227, 227), {"out": 96, "kernel": 11, "stride": 4}, (2, 96, 55, 55)),
        ("max_pool", (2, 96, 55, 55), {"kernel": 3, "stride": 2}, (2, 96, 27, 27)),
        ("max_pool", (2, 64, 112, 112), {"kernel": 3, "stride": 2}, (2, 64, 56, 56)),
        ("max_pool", (2, 64, 112, 112), {"kernel": 3, "stride": 2, "round": "floor"}, (2, 64, 55, 55)),
        ("max_pool", (2, 8, 2, 2), {"kernel": 3, "stride": 2}, (2, 8, 1, 1)),
        ("avg_pool", (2, 1024, 7, 7), {"kernel": 7, "stride": 1}, (2, 1024, 1, 1)),
        ("avg_pool", (2, 1024, 7, 5), {"global_": True}, (2, 1024, 1, 1)),
        ("deconv", (2, 21, 16, 16), {"out": 21, "kernel": 64, "stride": 32}, (2, 21, 544, 544)),
        ("conv", (2, 3, 4, 6, 5), {"out": 3, "kernel": 3, "axis": 2}, (2, 3, 3, 4, 3)),
        ("conv", (3, 6, 5), {"out": 2, "kernel": 3, "axis": 0}, (2, 4, 3)),
        ("spp", (2, 8, 9, 7), {"height": 3}, (2, 8 * 21)),
        ("im2col", (2, 2, 5, 6), {"kernel": 3, "stride": 2, "pad": 1}, (2, 18, 3, 3)),
    ],
)
def test_sizes(kind: str, sizes: tuple[int, ...], keywords: dict[str, Any], expected: tuple[int, ...]) -> None:
    assert shape(kind, *sizes, **keywords) == expected


@pytest.mark.parametrize(
    ("kind", "sizes", "keywords", "message"),
    [
        ("conv", (2, 50, 4, 4), {"out": 64, "kernel": 5}, "kernel 5 is larger than its input, 4 x 4"),
        (
            "conv",
            (2, 3, 4, 5),
            {"out": 6, "kernel": (3, 2), "dilation": 3, "pad": (1, 0)},
            "kernel 3 x 2 with dilation 3 is larger than its input, 4 x 5 with pad 1 x 0",
        ),
        ("conv", (2, 3, 8, 8), {"out": 6, "kernel": (3, 2, 1)}, "kernel has 3 values for 2 axes"),
        ("conv", (2, 3, 8, 8), {"out": 6, "kernel": 0}, "kernel is 0 x 0, it must be at least 1"),
        ("conv", (2, 3, 8, 8), {"out": 6, "kernel": 3, "pad": -1}, "pad is -1 x -1, it must be at least 0"),
        (
            "conv",
            (2, 3, 8, 8),
            {"out": 6, "kernel": 3, "group": 2},
            "3 channels of the input do not divide into 2 groups",
        ),
        (
            "conv",
            (2, 4, 8, 8),
            {"out": 5, "kernel": 3, "group": 2},
            "5 channels of the result do not divide into 2 groups",
        ),
        ("conv", (2,), {"out": 5, "kernel": 3}, "axis 1 is outside 1 axes"),
        ("deconv", (2, 4, 1, 1), {"out": 5, "kernel": 3, "pad": 2}, "pad 2 leaves nothing of the result, -1 x -1"),
        ("max_pool", (2, 3, 4, 4), {"kernel": 9, "stride": 2}, "kernel 9 is larger than its input, 4 x 4"),
        ("max_pool", (2, 3, 4, 4), {}, "the kernel is missing"),
        ("max_pool", (2, 3, 4, 4), {"kernel": 2, "pad": 2}, "pad 2 x 2 is not smaller than the kernel, 2 x 2"),
        ("max_pool", (2, 3, 4, 4), {"kernel": 2, "global_": True}, "global pooling takes no kernel"),
        ("max_pool", (2, 3), {"kernel": 2}, r"the input is f32\[2,3\], it has no axes of space"),
        (
            "avg_pool",
            (2, 3, 6, 5),
            {"kernel": 1, "stride": 2},
            "the last of 4 windows begins at 6, outside of its input, 6 x 5: stride 2 is larger than kernel 1; "
            "use round: floor",
        ),
        ("avg_pool", (1, 1, 4), {"kernel": 2**31, "stride": 1, "pad": 2**31 - 1}, "2147483651 windows are too many"),
        ("spp", (2, 3, 4, 4), {"height": 0}, "`height` takes a whole number from 1 up"),
        ("linear", (2, 3), {"out": 0}, "`out` takes a whole number from 1 up"),
    ],
)
def test_what_does_not_fit_is_said_with_its_numbers(
    kind: str, sizes: tuple[int, ...], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeRuleError, match=message):
        shape(kind, *sizes, **keywords)


def caffes_windows(n: int, k: int, s: int, p: int, ceil: bool, padded: bool) -> list[tuple[int, int]] | None:
    """Begin and end of each window along an axis, by Caffe's source; None where one lies outside."""
    out = (math.ceil((n + 2 * p - k) / s) if ceil else math.floor((n + 2 * p - k) / s)) + 1
    if padded and (out - 1) * s >= n + p:
        out -= 1
    windows = [(i * s - p, min(i * s - p + k, n + p)) for i in range(out)]
    return windows if windows and all(begin < n and end > 0 for begin, end in windows) else None


@given(
    n=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    k=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    s=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    p=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    ceil=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_pooling_is_caffes_loop(
    n: tuple[int, int], k: tuple[int, int], s: tuple[int, int], p: tuple[int, int], ceil: bool
) -> None:
    context = Standalone()
    x = tensor("x", 1, 2, *n)
    keywords: dict[str, Any] = {"kernel": k, "stride": s, "pad": p, "round": "ceil" if ceil else "floor"}
    axes = [caffes_windows(*geometry, ceil, any(p)) for geometry in zip(n, k, s, p, strict=True)]
    if any(q >= r for q, r in zip(p, k, strict=True)) or None in axes:
        with pytest.raises(TypeRuleError):
            context.call("max_pool", x, **keywords)
        return
    largest = context.call("max_pool", x, **keywords)
    average = context.call("avg_pool", x, **keywords)
    value = normal(1, 2, *n)
    found = interpret(context.graph({"max": largest, "avg": average}), {"x": value})
    rows, columns = (a or [] for a in axes)
    for i, j in itertools.product(range(len(rows)), range(len(columns))):
        (top, bottom), (left, right) = rows[i], columns[j]
        seen = value[:, :, max(top, 0) : min(bottom, n[0]), max(left, 0) : min(right, n[1])]
        np.testing.assert_allclose(found["max"][:, :, i, j], seen.max((2, 3)))
        np.testing.assert_allclose(found["avg"][:, :, i, j], seen.sum((2, 3)) / ((bottom - top) * (right - left)))
    assert found["max"].shape == (1, 2, len(rows), len(columns))


def test_deconv_is_the_adjoint_of_conv() -> None:
    context = Standalone()
    keywords: dict[str, Any] = {"kernel": (3, 2), "stride": 2, "pad": 1, "dilation": (1, 2), "group": 2, "bias": False}
    y = context.call("conv", tensor("x", 2, 4, 7, 7), out=6, layer="c", **keywords)
    back = context.call("deconv", tensor("g", *y.shape), out=4, layer="d", **keywords)
    feeds = {"x": normal(2, 4, 7, 7), "g": normal(*y.shape, seed=1), "c.weight": normal(6, 2, 3, 2, seed=2)}
    found = interpret(context.graph({"y": y, "back": back}), {**feeds, "d.weight": feeds["c.weight"]})
    assert back.shape == (2, 4, 7, 7)
    assert (found["y"] * feeds["g"]).sum() == pytest.approx((found["back"] * feeds["x"]).sum())


def test_fillers_by_default() -> None:
    context = Standalone()
    context.call("conv", tensor("x", 2, 4, 7, 7), out=6, kernel=3)
    assert str(context.fillers["l.weight"]) == "xavier(variance: fan_in)"
    assert str(context.fillers["l.bias"]) == "constant(value: 0.0)"
