"""A conformance case as one graph of ours: forward values, loss, updates and the gradients that Caffe computed.

Its net is read as any other prototxt is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from netc.compiler import expr, ops
from netc.compiler.build import build as build_net
from netc.compiler.build import load
from netc.compiler.graph import Graph, Node
from netc.compiler.net import Net
from netc.grammar import tree
from netc.grammar.source import Source
from netc.passes.rules.simplify import simplify
from netc.passes.training.gradient import cotangents, erase_surrogate
from support import numpy_program

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
# What runs a graph: (graph, feeds by name) -> (outputs, next values of state).
Evaluate = Callable[[Graph, Mapping[str, Array]], tuple[Arrays, Arrays]]

_AT = re.compile(r"@(\d+)")  # of a key: the number of the pass
# What Caffe calls the copies of a blob that several layers read.
_SPLIT = re.compile(r"(.+?)_.+_\d+_split_\d+$")


@dataclass(frozen=True)
class Case:
    """A file of the folder `layers`; text: its prototxt."""

    name: str
    arrays: Arrays
    meta: dict[str, Any]
    text: str

    @staticmethod
    def read(path: Path) -> Case:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        meta, text = json.loads(str(arrays.pop("meta"))), str(arrays.pop("prototxt"))
        return Case(path.stem, arrays, meta, text)

    def under(self, prefix: str) -> Arrays:
        """The arrays whose key is `prefix/…`, by what follows."""
        return {k.removeprefix(prefix + "/"): v for k, v in self.arrays.items() if k.startswith(prefix + "/")}

    def net(self) -> Net:
        """The net in the case's phase, with every blob of Caffe's that the case has among its outputs."""
        experiment = load(Source(f"{self.name}.prototxt", self.text))
        name = experiment.default_net()
        mode: Literal["train", "test"] = "train" if self.meta["phase"] == "TRAIN" else "test"
        roles = [one for one in experiment.net(name).definition.body if isinstance(one, tree.Role)]
        losses = [one.name.name for one in roles if one.kind == "loss"]
        blobs = [_SPLIT.sub(r"\1", key) for key in self.under("out")] or list(self.under("in"))
        made = {"l": tuple(map(np.shape, self.under("out").values()))[-self._filtered() :]} if self._filtered() else {}
        return build_net(
            experiment, name, mode=mode, outputs=[*dict.fromkeys([*blobs, *losses])], made=made, python=True
        )

    def _filtered(self) -> int:
        """How many blobs a Filter makes, in whose size the data have a say."""
        return (
            sum(name in self.meta["outputs"] for name in self.under("out")) if self.meta.get("type") == "Filter" else 0
        )


def state_names(net: Net) -> dict[str, str]:
    """Our names of state by Caffe's `layer/i`."""
    named = {f"{row.name}/{i}": name for row in net.layers for i, name in enumerate(row.params)}
    return {**{f"{info.name}/0": info.name for info in net.state if info.layer == info.name}, **named}


@dataclass
class Built:
    """The graph of a case. wanted: output name -> (Caffe's key, its array); state: our name -> first value."""

    graph: Graph
    wanted: dict[str, tuple[str, Array]]
    state: Arrays
    feeds: list[Arrays]


def build(case: Case) -> Built:
    """The case's net in its phase; SourceErrors where our layers refuse it."""
    net = case.net()
    params = state_names(net)
    passes = ["", *(f"@{k}" for k in range(1, case.meta["steps"]))]
    outputs: dict[str, Node] = {}
    wanted: dict[str, tuple[str, Array]] = {}

    def want(key: str, node: Node, value: Array) -> None:
        outputs[_AT.sub("", key)] = node
        wanted[key] = (key, value)

    loss = _added([net.named[name] * weight for name, weight in net.losses.items()])
    for at in passes:
        for name, value in case.under(f"out{at}").items():
            want(f"out{at}/{name}", net.named[_SPLIT.sub(r"\1", name)], value)
        want(f"loss{at}", loss, case.arrays[f"loss{at}"])
    feeds = [case.under(f"in{at}") for at in passes]
    seeds: Arrays = {}
    terms: list[Node] = []
    for name, value in case.under("topdiff").items():
        seed = ops.input_(name=f"topdiff/{name}", shape=value.shape, dtype="f32")
        seeds[f"topdiff/{name}"] = value
        terms.append(expr.sum(net.named[name] * seed))
    nodes = net.graph.params
    inputs = net.graph.inputs  # a blob may be another by the end: layers change it in its place
    wrt = {f"diff/{k}": (inputs.get(k, net.named[k]), v) for k, v in case.under("diff").items()}
    kinds = {info.name: info.kind for info in net.state}
    for key, value in case.under("pdiff").items():
        if kinds[params[key]] == "parameter":
            wrt[f"pdiff/{key}"] = (nodes[params[key]], value)
        else:
            assert not value.any(), "Caffe has a gradient for what is a statistic here"
    if wrt:
        objective = _added(terms)
        graph = Graph({"objective": objective, **outputs}, net.graph.updates)
        found = cotangents(graph, objective, [node for node, _ in wrt.values()])
        for key, (node, value) in wrt.items():
            want(key, expr.reshape(found[node], value.shape), value)
    state = {params[k]: v.reshape(nodes[params[k]].shape) for k, v in case.under("param").items()}
    state |= {info.name: np.zeros(info.type.shape) for info in net.state if info.kind == "carried"}
    for key, value in case.under("param_after").items():
        wanted[f"update/{params[key]}"] = (f"param_after/{key}", value)
    graph = erase_surrogate(Graph(outputs, net.graph.updates)).verify()
    return Built(graph, wanted, state, [{**f, **seeds} for f in feeds])


def _added(terms: list[Node]) -> Node:
    total = ops.const(value=0.0, shape=(), dtype="f32")
    for term in terms:
        total = total + term
    return total


def run(built: Built, evaluate: Evaluate) -> Arrays:
    """What our graph gives for each of `wanted`: values of the pass that its key names, gradients of the last one."""
    state = dict(built.state)
    outputs: list[Arrays] = []
    needed = {*built.graph.inputs, *built.graph.params}
    for feeds in built.feeds:
        fed = {k: v for k, v in {**state, **feeds}.items() if k in needed}
        found, updates = evaluate(built.graph, fed)
        outputs.append(found)
        state |= updates
    got: Arrays = {}
    for key in built.wanted:
        at = _AT.search(key)
        number = int(at[1]) if at else 0 if key.split("/")[0] in ("out", "loss") else -1
        name = _AT.sub("", key)
        got[key] = outputs[number][name] if name in outputs[number] else state[key.removeprefix("update/")]
    return got


def on_numpy(*, fused: bool, threads: int = 1) -> Evaluate:
    """A graph as a program of the numpy target."""

    def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
        graph = simplify(graph) if fused else graph
        return numpy_program.run(graph, feeds, threads=threads, fused=fused)

    return evaluate
