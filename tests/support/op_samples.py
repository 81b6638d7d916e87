"""One sample or more of every primitive: what the registry tests run. A new op needs a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.host import HostFunction, find_layer
from netc.compiler.ops.partial import Parts
from netc.compiler.types import Literal, TensorType

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """Operands by type, and the call. positive: the floating-point operands are above 0.5."""

    operands: tuple[str, ...]
    call: Callable[..., Node]
    positive: bool = False

    def nodes(self) -> list[Node]:
        return [ops.input_(name=f"x{i}", shape=t.shape, dtype=t.dtype) for i, t in enumerate(map(read, self.operands))]

    @property
    def differentiable(self) -> bool:
        """Whether the result and an operand are floating-point numbers."""
        y = self.call(*self.nodes())
        return isinstance(y.result, TensorType) and y.type.is_float and any(read(t).is_float for t in self.operands)

    def feeds(self, seed: int = 0) -> dict[str, Array]:
        """Seeded numbers: normal floats, far enough from kinks, and whole numbers from 0 to 4."""
        rng = np.random.default_rng(seed)
        feeds: dict[str, Array] = {}
        for i, type_ in enumerate(map(read, self.operands)):
            if type_.is_float:
                value = rng.standard_normal(type_.shape)
                feeds[f"x{i}"] = np.abs(value) + 0.5 if self.positive else value
            elif type_.dtype == "bool":
                feeds[f"x{i}"] = rng.random(type_.shape) < 0.5
            else:
                feeds[f"x{i}"] = rng.integers(0, 5, type_.shape).astype(type_.numpy_dtype)
        return feeds


def read(text: str) -> TensorType:
    """`f32[2,3]`."""
    dtype, _, sizes = text.rstrip("]").partition("[")
    return TensorType(tuple(int(n) for n in sizes.split(",") if n), dtype)


def _body() -> Graph:
    a, b = (ops.input_(name=f"in{i}", shape=(2, 3), dtype="f32") for i in range(2))
    return Graph({"sum": ops.add(a, b), "total": ops.sum_(ops.mul(a, b), axes=(1,))})


def _kernel(a: Node, b: Node) -> Node:
    return ops.kernel(a, b, kind="map", body=_body())


def _host(a: Node, b: Node) -> Node:
    function = HostFunction("mixed", find_layer("support.python_layers:Mixed", "3", Path()))
    return ops.host(a, b, function=function, results=(TensorType((2, 3)), TensorType((4, 3))))


def _parts(count: int, share: int, operand: int, *digits: tuple[int, int, int]) -> Parts:
    return Parts(count, share, operand, digits)


def _one(operand: str, call: Callable[..., Node], *, positive: bool = False) -> list[Sample]:
    return [Sample((operand,), call, positive)]


def _two(call: Callable[..., Node], *, positive: bool = False) -> list[Sample]:
    return [Sample(("f32[2,3]", "f32[2,3]"), call, positive)]


_1D = {"stride": (2,), "pad": (1,), "dilation": (1,), "groups": 1}
_2D = {"stride": (2, 1), "pad": (1, 0), "dilation": (1, 2), "groups": 2}
_LAST, _OUT = ((2, 1, 5), (0, 1, 3)), ((0, 1, 2), (2, 1, 3), (3, 1, 5))
_WINDOW = {"axes": (1, 2), "sizes": (3, 2), "strides": (2, 1), "dilations": (1, 2)}

SAMPLES: dict[str, list[Sample]] = {
    "input": _one("f32[2,3]", lambda x: x),
    "param": [Sample((), lambda: ops.param(name="w", shape=(2, 3), dtype="f32"))],
    "const": [
        Sample((), lambda: ops.const(value=1.5, shape=(2, 3), dtype="f32")),
        Sample((), lambda: ops.const(value=Literal.of(np.arange(6.0).reshape(2, 3), "f32"), shape=(2, 3), dtype="f32")),
    ],
    "iota": [Sample((), lambda: ops.iota(shape=(2, 3, 4), axes=(0, 2), dtype="i32"))],
    "random": [Sample(("i64[]", "i64[]"), lambda seed, step: ops.random(seed, step, shape=(3, 5), stream=2))],
    "add": _two(ops.add),
    "mul": _two(ops.mul),
    "div": _two(ops.div, positive=True),
    "pow": _two(ops.pow_, positive=True)
    + _one("f32[2,3]", lambda x: ops.pow_(x, ops.const(value=3.0, shape=(2, 3), dtype="f32"))),
    "max": _two(ops.maximum),
    "min": _two(ops.minimum),
    "less": _two(ops.less),
    "equal": [Sample(("i32[2,3]", "i32[2,3]"), ops.equal)],
    "neg": _one("f32[2,3]", ops.neg),
    "exp": _one("f32[2,3]", ops.exp),
    "log": _one("f32[2,3]", ops.log, positive=True),
    "sqrt": _one("f32[2,3]", ops.sqrt, positive=True),
    "tanh": _one("f32[2,3]", ops.tanh),
    "floor": _one("f32[2,3]", ops.floor),
    "abs": _one("f32[2,3]", ops.abs_),
    "where": [Sample(("bool[2,3]", "f32[2,3]", "f32[2,3]"), ops.where)],
    "surrogate": _one("f32[2,3]", lambda x: ops.surrogate(ops.tanh(x), ops.tanh(x))),
    "cast": _one("f32[2,3]", lambda x: ops.cast(x, dtype="f64")) + _one("f32[2,3]", lambda x: ops.cast(x, dtype="i32")),
    "sum": _one("f32[2,3,4]", lambda x: ops.sum_(x, axes=(0, 2))) + _one("f32[]", lambda x: ops.sum_(x, axes=())),
    "max_reduce": _one("f32[2,3,4]", lambda x: ops.max_reduce(x, axes=(0, 2)))
    + _one("i32[2,3]", lambda x: ops.max_reduce(x, axes=(1,))),
    "argmax": _one("f32[2,3,4]", lambda x: ops.argmax(x, axes=(0, 2))),
    "reshape": _one("f32[2,3,4]", lambda x: ops.reshape(x, shape=(4, 6))),
    "transpose": _one("f32[2,3,4]", lambda x: ops.transpose(x, perm=(2, 0, 1))),
    "broadcast": _one("f32[2,1,4,1]", lambda x: ops.broadcast(x, shape=(2, 3, 4, 5))),
    "pad": _one("f32[2,3]", lambda x: ops.pad(x, low=(1, 0), high=(0, 2), interior=(0, 1), value=7.0)),
    "slice": _one("f32[5,7]", lambda x: ops.slice_(x, start=(1, 0), stop=(4, 7), step=(1, 3)))
    + _one("f32[5,7]", lambda x: ops.slice_(x, start=(0, 2), stop=(5, 6), step=(2, 2))),
    "concat": [Sample(("f32[2,3]", "f32[2,1]", "f32[2,2]"), lambda *xs: ops.concat(*xs, axis=1))],
    "window": _one("f32[2,7,6]", lambda x: ops.window(x, **_WINDOW)),
    "unwindow": _one("f32[2,3,4,3,2]", lambda x: ops.unwindow(x, lengths=(7, 6), **_WINDOW))
    + _one("f32[2,3,4,3,2]", lambda x: ops.unwindow(x, lengths=(8, 6), **_WINDOW)),
    "dot": [Sample(("f32[4,3]", "f32[3,5]"), ops.dot), Sample(("f32[2,4,3]", "f32[2,3,5]"), ops.dot)],
    "conv": [
        Sample(("f32[2,4,6,7]", "f32[6,2,3,2]"), lambda x, w: ops.conv(x, w, **_2D)),
        Sample(("f32[2,3,9]", "f32[4,3,3]"), lambda x, w: ops.conv(x, w, **_1D)),
        Sample(("f32[2,3]", "f32[4,3]"), lambda x, w: ops.conv(x, w, stride=(), pad=(), dilation=(), groups=1)),
    ],
    "conv_data_grad": [
        Sample(("f32[2,6,3,5]", "f32[6,2,3,2]"), lambda g, w: ops.conv_data_grad(g, w, size=(6, 7), **_2D)),
    ],
    "conv_weight_grad": [
        Sample(("f32[2,4,6,7]", "f32[2,6,3,5]"), lambda x, g: ops.conv_weight_grad(x, g, kernel=(3, 2), **_2D)),
    ],
    "partial": [
        *_one("f32[3,4,5]", lambda x: ops.partial(x, of="sum", parts=_parts(3, 6, 0, *_LAST), axes=(0, 2))),
        *_one("f32[6,4]", lambda x: ops.partial(x, of="max_reduce", parts=_parts(2, 2, 0, (0, 2, 3)), axes=(0,))),
        *_one("f32[3,4,5]", lambda x: ops.partial(x, of="deviations", parts=_parts(2, 9, 0, *_LAST), axes=(0, 2))),
        Sample(("f32[4,3]", "f32[3,5]"), lambda a, b: ops.partial(a, b, of="dot", parts=_parts(2, 2, 1, (0, 1, 3)))),
        Sample(
            ("f32[2,4,6,7]", "f32[2,6,3,5]"),
            lambda x, g: ops.partial(x, g, of="conv_weight_grad", parts=_parts(4, 8, 1, *_OUT), kernel=(3, 2), **_2D),
        ),
    ],
    "winograd_data": _one("f32[2,3,7,9]", lambda x: ops.winograd_data(x, tile=4, kernel=3, pad=(1, 0)))
    + _one("f32[1,2,6,8]", lambda x: ops.winograd_data(x, tile=2, kernel=3, pad=(2, 1))),
    "winograd_weights": _one("f32[5,3,3,3]", lambda w: ops.winograd_weights(w, tile=4, groups=1, turned=False))
    + _one("f32[6,3,5,5]", lambda w: ops.winograd_weights(w, tile=2, groups=2, turned=True)),
    "winograd_product": [
        Sample(
            ("f32[36,8,3]", "f32[36,1,3,32]"),
            lambda v, u: ops.winograd_product(v, u, tile=4, kernel=3, groups=1, images=2, channels=5, size=(7, 6)),
        ),
        Sample(
            ("f32[16,6,4]", "f32[16,4,2,32]"),
            lambda v, u: ops.winograd_product(v, u, tile=2, kernel=3, groups=2, images=1, channels=80, size=(3, 5)),
        ),
    ],
    "gather": [Sample(("f32[5,3]", "i32[2,4]"), ops.gather)],
    "scatter_add": [Sample(("i32[2,4]", "f32[2,4,3]"), lambda i, rows: ops.scatter_add(i, rows, size=5))],
    "after": _two(ops.after),
    "kernel": _two(_kernel),
    "item": _two(lambda a, b: ops.item(_host(a, b), index=1)),
    "host": _two(_host),
}
