"""A conformance case as one graph of ours: forward values, loss, updates and the gradients that Caffe computed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler import expr, ops
from netc.compiler.graph import Graph, Node
from netc.compiler.spec import Filler
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import cotangents, erase_surrogate
from support import numpy_program
from support.caffe.layers import blob_names, convert
from support.caffe.prototxt import Message, parse
from support.standalone import Standalone

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
# What runs a graph: (graph, feeds by name) -> (outputs, next values of state).
Evaluate = Callable[[Graph, Mapping[str, Array]], tuple[Arrays, Arrays]]

_SPLIT = re.compile(r"(.+?)_.+_\d+_split_\d+$")


@dataclass(frozen=True)
class Case:
    """A file of the folder `layers`."""

    name: str
    arrays: Arrays
    meta: dict[str, Any]
    net: Message

    @staticmethod
    def read(path: Path) -> Case:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        meta, net = json.loads(str(arrays.pop("meta"))), parse(str(arrays.pop("prototxt")))
        return Case(path.stem, arrays, meta, net)

    @property
    def types(self) -> list[str]:
        return [layer["type"][0] for layer in self.net["layer"]]

    def under(self, prefix: str) -> Arrays:
        """The arrays whose key is `prefix/…`, by what follows."""
        return {k.removeprefix(prefix + "/"): v for k, v in self.arrays.items() if k.startswith(prefix + "/")}


class _Shared(Standalone):
    """A context in which parameters of one Caffe name are one; another shape is another view (PERMISSIVE)."""

    names: tuple[str, ...] = ()

    def parameter(self, name: str, shape: tuple[int, ...], filler: Filler) -> Node:
        at = ("weight", "bias").index(name)
        if at >= len(self.names):
            return super().parameter(name, shape, filler)
        key = f"{self.layer}.{name}"
        owner = self.parameters.setdefault(f"={self.names[at]}", ops.param(name=key, shape=shape, dtype="f32"))
        self.parameters[key] = owner
        return expr.reshape(owner, shape)


@dataclass
class Built:
    """The graph of a case. wanted: output name -> (Caffe's key, its array); state: our name -> first value."""

    graph: Graph
    wanted: dict[str, tuple[str, Array]]
    state: Arrays
    feeds: list[Arrays]


def build(case: Case) -> Built:
    """The case's net in its phase; TypeRuleError where our layers refuse it."""
    context = _Shared(training=case.meta["phase"] == "TRAIN")
    inputs = {name: ops.input_(name=name, shape=a.shape, dtype="f32") for name, a in case.under("in").items()}
    blobs = dict(inputs)
    loss: list[Node] = []
    params: dict[str, str] = {}
    for layer in case.net["layer"]:
        if layer["type"][0] == "Input" or _left_out(layer, case.meta["phase"]):
            continue
        bottoms = [blobs[_SPLIT.sub(r"\1", b)] for b in layer.get("bottom", [])]
        context.names = tuple(p["name"][0] for p in layer.get("param", []) if "name" in p)
        names = blob_names(layer, len(bottoms) == 2)
        params |= {f"{layer['name'][0]}/{i}": f"{layer['name'][0]}.{n}" for i, n in enumerate(names)}
        tops = convert(context, layer, bottoms)
        weights = layer.get("loss_weight", [1.0] if layer["type"][0].endswith("Loss") else [])
        blobs |= dict(zip(layer.get("top", []), tops, strict=True))
        loss += [expr.sum(node) * float(w) for node, w in zip(tops, weights, strict=False)]
    return _with_gradients(case, context, inputs, blobs, loss, params)


def _left_out(layer: Message, phase: str) -> bool:
    return any(rule.get("phase", [phase.lower()])[0] != phase.lower() for rule in layer.get("include", []))


def _with_gradients(
    case: Case,
    context: _Shared,
    inputs: dict[str, Node],
    blobs: dict[str, Node],
    loss: list[Node],
    params: dict[str, str],
) -> Built:
    last = "" if case.meta["steps"] == 1 else f"@{case.meta['steps'] - 1}"
    outputs: dict[str, Node] = {}
    wanted: dict[str, tuple[str, Array]] = {}

    def want(key: str, node: Node, value: Array) -> None:
        outputs[key] = node
        wanted[key] = (key, value)

    for name, value in case.under(f"out{last}").items():
        want(f"out{last}/{name}", blobs[_SPLIT.sub(r"\1", name)], value)
    want(f"loss{last}", _added(loss), case.arrays[f"loss{last}"])
    feeds = [case.under("in"), *(case.under(f"in@{k}") for k in range(1, case.meta["steps"]))]
    seeds: Arrays = {}
    terms: list[Node] = []
    for name, value in case.under("topdiff").items():
        seed = ops.input_(name=f"topdiff/{name}", shape=value.shape, dtype="f32")
        seeds[f"topdiff/{name}"] = value
        terms.append(expr.sum(blobs[name] * seed))
    wrt = {f"diff/{k}": (inputs[k], v) for k, v in case.under("diff").items()}
    for key, value in case.under("pdiff").items():
        if params[key] in context.parameters:
            wrt[f"pdiff/{key}"] = (context.parameters[params[key]], value)
        else:
            assert not value.any(), "Caffe has a gradient for what is a statistic here"
    if wrt:
        objective = _added(terms)
        graph = Graph({"objective": objective, **outputs}, context.updates)
        found = cotangents(graph, objective, [node for node, _ in wrt.values()])
        for key, (node, value) in wrt.items():
            want(key, expr.reshape(found[node], value.shape), value)
    state = {params[k]: v for k, v in case.under("param").items()}
    for key, value in case.under("param_after").items():
        wanted[f"update/{params[key]}"] = (f"param_after/{key}", value)
    graph = erase_surrogate(Graph(outputs, context.updates)).verify()
    return Built(graph, wanted, state, [{**f, **seeds} for f in feeds])


def _added(terms: list[Node]) -> Node:
    total = ops.const(value=0.0, shape=(), dtype="f32")
    for term in terms:
        total = total + term
    return total


def run(built: Built, evaluate: Evaluate) -> Arrays:
    """What our graph gives for each of `wanted`, after the last forward pass."""
    state = dict(built.state)
    outputs: Arrays = {}
    needed = {*built.graph.inputs, *built.graph.params}
    for feeds in built.feeds:
        fed = {k: v for k, v in {**state, **feeds}.items() if k in needed}
        outputs, updates = evaluate(built.graph, fed)
        state |= updates
    return {k: outputs[k] if k in outputs else state[k.removeprefix("update/")] for k in built.wanted}


def on_numpy(*, fused: bool, threads: int = 1) -> Evaluate:
    """A graph as a program of the numpy target."""

    def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        graph = simplify(graph) if fused else graph
        return numpy_program.run(graph, feeds, threads=threads, fused=fused)

    return evaluate
