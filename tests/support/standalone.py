"""Layers without the builder: a context that makes parameters and statistics as `param` nodes.

context = Standalone(training=True)
y = context.call("conv", x, out=3, kernel=3)     # its parameters are l.weight and l.bias
context.graph({"y": y})
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node, at
from netc.compiler.host import HostFunction, Sizes, find_layer
from netc.compiler.layers import LAYERS, building
from netc.compiler.net import OBJECTIVE, SEED, STEP
from netc.compiler.ops import TypeRuleError
from netc.compiler.schema.settings import Mismatch, kind_of
from netc.compiler.spec import Filler
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import gradient


class Standalone:
    """A LayerContext.

    parameters, statistics and what is left for the next pass: state name -> node; fillers: those asked for; updates:
    what was committed.
    """

    def __init__(self, *, training: bool = True) -> None:
        self.training, self.processes = training, 1
        self.layer = "l"
        self.parameters: dict[str, Node] = {}
        self.fillers: dict[str, Filler] = {}
        self.statistics: dict[str, Node] = {}
        self.left: dict[str, Node] = {}
        self.updates: dict[str, Node] = {}
        self.counters: dict[str, Node] = {}
        self.streams = 0

    def call(self, kind: str, *inputs: Any, layer: str = "l", **settings: Any) -> Any:
        """The result of one layer; its scope and the prefix of its parameters is `layer`.

        Settings are held against the signature, as in a call of a file; TypeRuleError for what it does not take.
        """
        self.layer = layer
        for name, value in settings.items():
            taken = kind_of(LAYERS[kind].signature.parameters[name].annotation)
            try:
                taken.convert(value)
            except Mismatch:
                raise TypeRuleError(f"`{name}` takes {taken.text}, not {value}") from None
        with building(self), at(None, layer):
            return LAYERS[kind].function(*inputs, **settings)

    def across(self, x: Node, what: str) -> Node:
        return x

    def graph(self, outputs: dict[str, Node]) -> Graph:
        """The graph of some results, verified, with the commits made so far."""
        return Graph(outputs, self.updates).verify()

    def parameter(self, name: str, shape: tuple[int, ...], filler: Filler) -> Node:
        key = f"{self.layer}.{name}"
        self.fillers[key] = filler
        return self.parameters.setdefault(key, ops.param(name=key, shape=shape, dtype="f32"))

    def read_from(self, name: str, shape: tuple[int, ...], file: str) -> Node:
        self.fillers[f".{self.layer}.{name}"] = Filler("file", (("path", file),))
        return self.left.setdefault(f"{self.layer}.{name}", ops.param(name=f".{name}", shape=shape, dtype="f32"))

    def statistic(self, name: str, shape: tuple[int, ...], value: float) -> Node:
        key = f"{self.layer}.{name}"
        return self.statistics.setdefault(key, ops.param(name=key, shape=shape, dtype="f32"))

    def commit(self, name: str, value: Node) -> None:
        assert f"{self.layer}.{name}" in self.statistics, f"{name} is no statistic"
        self.updates[f"{self.layer}.{name}"] = value

    def carried(self, name: str, shape: tuple[int, ...]) -> Node:
        key = f".{self.layer}.{name}"
        return self.left.setdefault(key, ops.param(name=key, shape=shape, dtype="f32"))

    def carry(self, name: str, value: Node) -> None:
        self.updates[f".{self.layer}.{name}"] = value

    def host_function(self, text: str, settings: str) -> tuple[HostFunction, Sizes | None]:
        return HostFunction(self.layer, find_layer(text, settings, Path())), None

    def random_bits(self, shape: tuple[int, ...]) -> Node:
        self.streams += 1
        counters = (self.counters.setdefault(n, ops.param(name=n, shape=(), dtype="i64")) for n in (SEED, STEP))
        return ops.random(*counters, shape=shape, stream=self.streams)


def tensor(name: str, *shape: int, dtype: str = "f32") -> Node:
    """An input."""
    return ops.input_(name=name, shape=shape, dtype=dtype)


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seeded normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def with_gradient(context: Standalone, x: Node, y: Node, **more: Node) -> Graph:
    """A result, and the gradients of its product with given numbers by the data and all parameters."""
    weight = tensor("g", *map(int, y.shape))
    total = ops.reshape(expr.sum(ops.mul(y, weight), tuple(range(len(y.shape)))), shape=())
    graph = context.graph({"y": y, OBJECTIVE: total, **more})
    graph = gradient([x.attrs["name"], *context.parameters])(graph)
    return simplify(graph.with_roots({k: v for k, v in graph.outputs.items() if k != OBJECTIVE}))


def layer(kind: str, *sizes: int, **settings: Any) -> Graph:
    """One layer and its gradients. after: behind a convolution."""
    context, x = Standalone(), tensor("x", *sizes)
    # A layer before it, so that the result of that may be stored in any order and fused with this one.
    before = (
        context.call("conv", x, layer="before", out=sizes[1], kernel=1, bias=False)
        if settings.pop("after", False)
        else x
    )
    return with_gradient(context, x, context.call(kind, before, **settings))


def softmax(rows: int, length: int) -> Graph:
    """Of each row, and its gradient."""
    x = tensor("x", rows, length)
    e = ops.exp(x - expr.max(x, 1, keepdims=True))
    y = e / expr.sum(e, 1, keepdims=True)
    return with_gradient(Standalone(), x, y)
