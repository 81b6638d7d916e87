"""One small graph for each law of `simplify` and `fold weights`, in which that law applies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.passes.rules.rewrite import merge_equal


def x(*shape: int, name: str = "x", dtype: str = "f32") -> Node:
    return ops.input_(name=name, shape=shape or (2, 3), dtype=dtype)


def y(*shape: int, dtype: str = "f32") -> Node:
    return x(*shape, name="y", dtype=dtype)


def z(*shape: int) -> Node:
    return x(*shape, name="z")


def w(*shape: int, name: str = "w") -> Node:
    return ops.param(name=name, shape=shape, dtype="f32")


def _pair() -> tuple[Node, Node]:
    return x(), y()


def cond(name: str = "c") -> Node:
    return x(2, 3, name=name, dtype="bool")


def wide(node: Node, *shape: int) -> Node:
    return ops.broadcast(node, shape=shape)


def cut(node: Node, *ranges: tuple[int, int], step: int = 1) -> Node:
    return ops.slice_(
        node, start=tuple(a for a, _ in ranges), stop=tuple(b for _, b in ranges), step=(step,) * len(ranges)
    )


def pad(node: Node, low: tuple[int, ...], high: tuple[int, ...], value: float = 0.0) -> Node:
    return ops.pad(node, low=low, high=high, interior=(0,) * len(low), value=value)


def number(value: float | bool, *shape: int, dtype: str = "f32") -> Node:
    return ops.const(value=value, shape=shape or (2, 3), dtype=dtype)


def conv(data: Node, weight: Node, groups: int = 1, pad: int = 0) -> Node:
    return ops.conv(data, weight, stride=(1, 1), pad=(pad, pad), dilation=(1, 1), groups=groups)


def channels(node: Node, rank: int = 4) -> Node:
    return expr.reshape(node, (1, node.shape[0], *(1,) * (rank - 2)))


Build = Callable[[], Node]
ALGEBRA: dict[str, Build] = {
    "x + 0 = x": lambda: ops.tanh(x() + 0.0),
    "x - x = 0": lambda: x(dtype="i32") - x(dtype="i32"),
    "(x + k) + l = x + (k + l)": lambda: (x() + 2.0) + 0.25,
    "x + x = x * 2": lambda: x() + x(),
    "k + x = x + k, k * x = x * k": lambda: expr.add(2.0, expr.mul(3.0, x())),
    "(a + x) + x = a + x * 2": lambda: (y() + x()) + x(),
    "x * k + x * l = x * (k + l)": lambda: x() * 3.0 + x() * 0.5,
    "x * k + x = x * (k + 1)": lambda: x() * 3.0 + x(),
    "a * c + b * c = (a + b) * c": lambda: x() * z() + z() * y(),
    "-a + -b = -(a + b)": lambda: -x() + -y(),
    "x * 1 = x": lambda: ops.tanh(1.0 * x()),
    "x * 0 = 0": lambda: x(dtype="i32") * 0,
    "x * -1 = -x": lambda: x() * -1.0,
    "(x * k) * l = x * (k * l)": lambda: (x() * 3.0) * 0.5,
    "-x * k = x * -k": lambda: -x() * 3.0,
    "-x * -y = x * y": lambda: -x() * -y(),
    "-x * y = -(x * y)": lambda: y() * -x(),
    "(x * k) * y = (x * y) * k": lambda: (x() * 3.0) * y(),
    "(y * broadcast(a)) * k = y * broadcast(a * k)": lambda: (x() * wide(y(2, 1), 2, 3)) * 3.0,
    "(x * broadcast(a)) * broadcast(b) = x * broadcast(a * b)": lambda: (
        x() * wide(y(2, 1), 2, 3) * wide(x(2, 1, name="z"), 2, 3)
    ),
    "-(-x) = x": lambda: ops.neg(ops.neg(ops.tanh(x()))),
    "-(x * k) = x * -k": lambda: -(x() * 3.0),
    "x / 1 = x": lambda: ops.tanh(x() / 1.0),
    "x / k = x * (1 / k)": lambda: x() / 4.0,
    "-x / y = -(x / y)": lambda: -x() / y(),
    "x / -y = -(x / y)": lambda: x() / -y(),
    "(x * k) / y = (x / y) * k": lambda: (x() * 3.0) / y(),
    "x / broadcast(d) = x * broadcast(1 / d)": lambda: x(2, 8) / wide(y(2, 1), 2, 8),
    "x ** (n / 4) = products of x, sqrt(x) and sqrt(sqrt(x))": lambda: x() ** -1.75 + y() ** 2.0,
    "where(true, a, b) = a": lambda: ops.where(number(True, dtype="bool"), ops.tanh(x()), y()),
    "where(false, a, b) = b": lambda: ops.where(number(False, dtype="bool"), x(), ops.tanh(y())),
    "where(x, a, a) = a": lambda: ops.where(cond(), ops.tanh(x()), ops.tanh(x())),
    "where(x, true, false) = x": lambda: ops.where(x() < y(), number(True, dtype="bool"), number(False, dtype="bool")),
    "where(not x, a, b) = where(x, b, a)": lambda: ops.where(expr.logical_not(cond()), x(), y()),
    "not not x = x": lambda: expr.logical_not(expr.logical_not(x() < y())),
    "where(x, where(x, a, b), c) = where(x, a, c)": lambda: expr.where(cond(), expr.where(cond(), x(), y()), z()),
    "where(x, a, where(x, b, c)) = where(x, a, c)": lambda: expr.where(cond(), x(), expr.where(cond(), y(), z())),
    "where(x, a, 0) + where(x, 0, b) = where(x, a, b)": lambda: (
        expr.where(cond(), x(), 0.0) + expr.where(cond(), 0.0, y())
    ),
    "where(x, a, b) * k = where(x, a * k, b * k) for numbers a, b": lambda: (
        ops.where(cond(), number(1.0), number(0.0)) * 4.0
    ),
    "max(x, x) = x": lambda: expr.maximum(ops.tanh(x()), ops.tanh(x())),
    "cast to the own type = x": lambda: ops.cast(ops.tanh(x()), dtype="f32"),
    "cast(cast(x, wider), t) = cast(x, t)": lambda: ops.cast(ops.cast(x(dtype="u8"), dtype="i32"), dtype="f32"),
    "abs(-x) = abs(x)": lambda: ops.abs_(-x()),
    "abs(abs(x)) = abs(x)": lambda: ops.abs_(ops.abs_(x())),
    "f(broadcast(a), broadcast(b)) = broadcast(f(a, b))": lambda: wide(x(2, 1), 2, 3) * wide(y(2, 1), 2, 3) + 1.0,
}

MOVEMENT: dict[str, Build] = {
    "reshape to the own shape = x": lambda: ops.reshape(ops.tanh(x()), shape=(2, 3)),
    "reshape(reshape(x)) = reshape(x)": lambda: expr.reshape(expr.reshape(x(), (6,)), (3, 2)),
    "transpose that moves nothing = reshape": lambda: expr.transpose(x(2, 1, 3), (1, 0, 2)),
    "transpose(transpose(x)) = transpose(x)": lambda: expr.transpose(expr.transpose(x(2, 3, 4), (1, 2, 0)), (0, 2, 1)),
    "transpose(dot(a, b)) = dot(transpose(b), transpose(a))": lambda: expr.transpose(
        ops.dot(expr.transpose(x(), (1, 0)), y(2, 4)), (1, 0)
    ),
    "broadcast to the own shape = x": lambda: wide(ops.tanh(x()), 2, 3),
    "broadcast(broadcast(x)) = broadcast(x)": lambda: wide(wide(x(2, 1, 1), 2, 3, 1), 2, 3, 4),
    "reshape(broadcast(x)) = broadcast(reshape(x))": lambda: expr.reshape(wide(x(2, 6, 1), 2, 6, 4), (2, 3, 2, 4, 1)),
    "transpose(broadcast(x)) = broadcast(transpose(x))": lambda: expr.transpose(wide(x(2, 1, 3), 2, 4, 3), (2, 1, 0)),
    "slice of everything = x": lambda: cut(ops.tanh(x()), (0, 2), (0, 3)),
    "slice(slice(x)) = slice(x)": lambda: cut(cut(x(9), (1, 8), step=2), (1, 4), step=2),
    "slice(broadcast(x)) = broadcast(slice(x))": lambda: cut(wide(x(2, 1), 2, 4), (1, 2), (1, 3)),
    "slice(concat(..., x, ...)) = slice(x)": lambda: cut(ops.concat(x(), y(), axis=1), (0, 2), (4, 6)),
    "slice(pad(x)) = slice(x)": lambda: cut(pad(x(), (1, 0), (0, 2)), (1, 3), (0, 2)),
    "pad by nothing = x": lambda: pad(ops.tanh(x()), (0, 0), (0, 0)),
    "pad(pad(x)) = pad(x)": lambda: pad(pad(x(), (1, 0), (0, 2)), (0, 1), (0, 1)),
    "concat(x) = x": lambda: ops.concat(ops.tanh(x()), axis=0),
    "concat(concat(a, b), c) = concat(a, b, c)": lambda: ops.concat(ops.concat(x(), y(), axis=0), z(), axis=0),
    "concat(slices of x in order) = slice(x)": lambda: ops.concat(
        cut(x(), (0, 2), (0, 1)), cut(x(), (0, 2), (1, 3)), axis=1
    ),
    "sum over one element = x": lambda: ops.sum_(x(2, 1, 3), axes=(1, 2)),
    "sum(sum(x)) = sum(x)": lambda: ops.sum_(ops.sum_(x(), axes=(0,)), axes=(1,)),
    "sum(broadcast(x)) = broadcast(sum(x)) * n": lambda: ops.sum_(wide(x(2, 1, 3), 2, 4, 3), axes=(1, 2)),
    "sum of all of reshape(x) = sum of all of x": lambda: ops.sum_(expr.reshape(x(), (3, 2)), axes=(0, 1)),
    "sum(-x) = -sum(x)": lambda: ops.sum_(-x(), axes=(1,)),
    "sum(x * k) = sum(x) * k": lambda: ops.sum_(x() * 3.0, axes=(1,)),
    "sum(x * broadcast(y)) = sum(x) * y": lambda: ops.sum_(x() * wide(y(2, 1), 2, 3), axes=(1,)),
    "sum((x * broadcast(y)) * z) = sum(x * z) * y": lambda: ops.sum_(x() * wide(y(2, 1), 2, 3) * z(), axes=(1,)),
}

CONSTANTS: dict[str, Build] = {
    "f(k, l) = the number": lambda: x() + ops.exp(number(0.5)),
    "a moved number = the number": lambda: x() + wide(expr.reshape(number(0.5, 1), (1, 1)), 2, 3),
    "a number padded with itself = the number": lambda: x() + pad(number(0.5, 1, 2), (1, 0), (0, 1), 0.5),
    "sum(k) = k * n": lambda: x(1, 1) + ops.sum_(number(0.5), axes=(0, 1)),
    "f(arrays) = the array": lambda: x(2, 2) + expr.transpose(expr.array(np.array([[1.0, 2.0], [3.0, 4.0]])), (1, 0)),
}

_IMAGE = (2, 3, 5, 5)


def _batch_norm(product: Node) -> Node:
    variance, mean, scale, shift = (w(product.shape[1], name=name) for name in ("variance", "mean", "scale", "shift"))
    factor = 1.0 / ops.sqrt(variance + 1e-5) * scale
    return (product - channels(mean)) * channels(factor) + channels(shift)


WEIGHTS: dict[str, Build] = {
    "conv(x, w) * s = conv(x, w * s), and so for dot": lambda: (
        conv(x(*_IMAGE), w(4, 3, 3, 3)) * channels(w(4, name="s"))
    ),
    "(conv(x, w) + b) * s = conv(x, w * s) + b * s, and so for dot": lambda: (
        (ops.dot(x(), w(3, 4)) + w(1, 4, name="b")) * w(1, 4, name="s")
    ),
    "conv(x * k, w) = conv(x, w * k)": lambda: conv(x(*_IMAGE) * 0.5, w(4, 3, 3, 3), pad=1),
    "x / s = x * (1 / s)": lambda: ops.dot(x(), w(3, 4)) / w(1, 4, name="s"),
    "(x + b) + c = x + (b + c)": lambda: (x() + w(2, 3, name="b")) + w(2, 3, name="c"),
}

# What several laws do together.
TOGETHER: dict[str, Build] = {
    "batch norm after a convolution": lambda: _batch_norm(
        conv(x(*_IMAGE), w(4, 3, 3, 3)) + channels(w(4, name="bias"))
    ),
    "a factor of a grouped deconvolution": lambda: (
        ops.conv_data_grad(
            x(2, 4, 3, 3), w(4, 3, 3, 3), size=(5, 5), stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=2
        )
        * channels(w(6, name="s"))
    ),
    "power after a convolution": lambda: (conv(x(*_IMAGE), w(4, 3, 3, 3)) * 0.5 + 2.0) * 3.0,
}


def graph(build: Build) -> Graph:
    """The case as a graph with one output; equal inputs are one node."""
    return merge_equal(Graph({"out": build()}))
