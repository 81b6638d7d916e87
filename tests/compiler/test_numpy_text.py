"""The generated text: expected functions for a few kernels of each kind, and what holds for all modules."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, at
from netc.compiler.program import Program
from support.numpy_program import program_of
from support.short_nodes import fed, state

GOLDEN = Path(__file__).parent / "golden" / "numpy"


def conv_pool() -> Graph:
    x, w, b = fed("x", 64, 1, 28, 28), state("w", 20, 1, 5, 5), state("b", 20)
    y = ops.conv(x, w, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1) + expr.reshape(b, (1, 20, 1, 1))
    seen = ops.window(y, axes=(2, 3), sizes=(2, 2), strides=(2, 2), dilations=(1, 1))
    return Graph({"y": ops.max_reduce(seen, axes=(4, 5)), "chosen": ops.argmax(seen, axes=(4, 5))})


def conv_gradients() -> Graph:
    x, w, g = fed("x", 32, 8, 16, 16), state("w", 16, 8, 3, 3), fed("g", 32, 16, 14, 14)
    attrs = {"stride": (1, 1), "pad": (0, 0), "dilation": (1, 1), "groups": 1}
    masked = expr.where(g > 0.0, g, 0.0)
    back = ops.conv_data_grad(masked, w, size=(16, 16), **attrs)
    return Graph({"x": back, "w": ops.conv_weight_grad(x, masked, kernel=(3, 3), **attrs)})


def linear_relu() -> Graph:
    x, w, b = fed("x", 128, 784), state("w", 500, 784), state("b", 500)
    return Graph({"y": expr.maximum(ops.dot(x, ops.transpose(w, perm=(1, 0))) + expr.reshape(b, (1, 500)), 0.0)})


def softmax() -> Graph:
    x = fed("x", 4096, 100)
    e = ops.exp(x - expr.max(x, 1, keepdims=True))
    return Graph({"y": e / expr.sum(e, 1, keepdims=True)})


def momentum() -> Graph:
    w, h, g = state("w", 400_000), state("h", 400_000), fed("g", 400_000)
    following = h * 0.9 + (g + w * 0.0005) * 0.01
    return Graph({}, {"h": following, "w": w - following})


def within_channels() -> Graph:
    x = fed("x", 64, 8, 16, 16)
    w = state("w", 8, 8, 1, 1)
    y = ops.conv(x, w, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1)
    edge = (0, 0, 1, 1)
    squares = ops.pad(y * y, low=edge, high=edge, interior=(0,) * 4, value=0.0)
    seen = ops.window(squares, axes=(2, 3), sizes=(3, 3), strides=(1, 1), dilations=(1, 1))
    total = ops.reshape(ops.sum_(seen, axes=(4, 5)), shape=y.shape)
    return Graph({"y": y * expr.pow(total * 0.1 + 1.0, -0.75)})


def padded_pool() -> Graph:
    edge = (0, 0, 1, 1)
    x = ops.pad(fed("x", 32, 64, 14, 14), low=edge, high=edge, interior=(0,) * 4, value=float("-inf"))
    seen = ops.window(x, axes=(2, 3), sizes=(3, 3), strides=(1, 1), dilations=(1, 1))
    return Graph({"y": ops.max_reduce(seen, axes=(4, 5)), "chosen": ops.argmax(seen, axes=(4, 5))})


def embedding() -> Graph:
    index = ops.input_(name="index", shape=(64, 20), dtype="i32")
    return Graph({"y": ops.gather(state("table", 1000, 50), index)})


GRAPHS = [conv_pool, conv_gradients, linear_relu, softmax, momentum, within_channels, padded_pool, embedding]


@pytest.mark.parametrize("make", GRAPHS, ids=lambda f: f.__name__)
def test_functions(make: Callable[[], Graph], golden: Callable[[Path, str], None]) -> None:
    program = program_of(make(), threads=2)
    golden(GOLDEN / f"{make.__name__}.txt", "\n\n".join(one.source for one in program.functions))


@pytest.mark.parametrize("make", GRAPHS, ids=lambda f: f.__name__)
def test_modules_import_numpy_alone(make: Callable[[], Graph]) -> None:
    tree = ast.parse(program_of(make()).source)
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert names == {"numpy", "numpy.lib.stride_tricks", "functools"}


def two_layers() -> Program:
    x = fed("x", 256, 256)
    for name in ("first", "second"):
        with at(None, name):
            x = expr.maximum(ops.dot(x, state(name, 256, 256)), 0.0)
    return program_of(Graph({"y": x}))


def test_equal_kernels_are_one_function() -> None:
    program = two_layers()
    assert len(program.functions) == 1
    assert [launch.layers for launch in program.launches] == [("first",), ("second",)]


def test_each_call_says_its_layers() -> None:
    notes = re.findall(r"    # (\w+)\n    step\.append", two_layers().source)
    assert notes == ["first", "second"]


def test_the_text_is_the_same_each_time() -> None:
    assert two_layers().source == two_layers().source


def test_costs_of_launches() -> None:
    program = two_layers()
    assert all(launch.flops >= 2 * 256**3 for launch in program.launches)
    assert all(launch.bytes == 3 * 256 * 256 * 4 for launch in program.launches)
