"""A solver trajectory of Caffe's as programs of ours: the net, its layout, the step and, with iter_size, the update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler import ops
from netc.compiler.graph import Graph, Node
from netc.compiler.interpret import evaluate
from netc.compiler.net import OBJECTIVE, RATE, STEP
from netc.compiler.program import StateInfo
from netc.compiler.spec import Filler, Use
from netc.passes import pipeline
from netc.passes.manager import run
from netc.passes.training.flatten import flat_layout, length
from netc.passes.training.update import apply, solver_state
from netc.runtime.learning_rate import rate
from support.caffe.layers import blob_names, convert
from support.caffe.prototxt import Message, parse
from support.standalone import Standalone

Arrays = dict[str, np.ndarray[Any, Any]]

# Caffe's solver fields by our settings, and Caffe's defaults where ours differ.
TYPES: dict[str, tuple[str, dict[str, str], dict[str, float]]] = {
    "SGD": ("sgd", {"momentum": "momentum"}, {"momentum": 0.0}),
    "NESTEROV": ("nesterov", {"momentum": "momentum"}, {"momentum": 0.0}),
    "ADAGRAD": ("adagrad", {"delta": "delta"}, {"delta": 1e-8}),
    "RMSPROP": ("rmsprop", {"rms_decay": "rms_decay", "delta": "delta"}, {"rms_decay": 0.99, "delta": 1e-8}),
    "ADADELTA": ("adadelta", {"momentum": "momentum", "delta": "delta"}, {"delta": 1e-8}),
    "ADAM": (
        "adam",
        {"momentum": "momentum", "momentum2": "momentum2", "delta": "delta"},
        {"momentum2": 0.999, "delta": 1e-8},
    ),
}


class SharedParameters(Standalone):
    """A context in which parameters of one Caffe name are one, under the name of the first layer that has it."""

    shared: dict[str, Node]
    names: tuple[str, ...]

    def parameter(self, name: str, shape: tuple[int, ...], filler: Filler) -> Node:
        at = ("weight", "bias").index(name)
        if at >= len(self.names) or not self.names[at]:
            return super().parameter(name, shape, filler)
        key = self.names[at]
        if key not in self.shared:
            self.shared[key] = super().parameter(name, shape, filler)
        return self.shared[key]


@dataclass(frozen=True)
class Trajectory:
    """A file of the folder `solvers`. blobs: Caffe's `layer/i` -> our state name."""

    arrays: Arrays
    net: Graph
    layout: tuple[StateInfo, ...]
    blobs: dict[str, str]
    solver: Use
    schedule: Use
    steps_planned: int
    clip: float | None
    batches: int

    @staticmethod
    def read(path: Path) -> Trajectory:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        text, net = parse(str(arrays["solver"])), parse(str(arrays["net"]))
        graph, state, blobs = _net(net, arrays)
        clip = float(text["clip_gradients"][0]) if "clip_gradients" in text else None
        steps = int(text["max_iter"][0])
        batches = int(text.get("iter_size", [1])[0])
        layout = flat_layout(state)
        return Trajectory(arrays, graph, layout, blobs, _solver(text), _schedule(text), steps, clip, batches)

    @property
    def iterations(self) -> int:
        return len(self.arrays["lr_after"])

    def rates(self) -> list[float]:
        """The rate of each iteration, and of the one that would follow."""
        return [rate(self.schedule, self.solver["lr"], i, self.steps_planned) for i in range(self.iterations + 1)]

    def steps(self) -> Iterator[tuple[list[float], Arrays]]:
        """Run our programs; after each iteration its losses and the state by physical name."""
        clip, batches = self.clip, self.batches
        step = run(self.net, pipeline.train(self.net, self.solver, self.layout, clip=clip, batches=batches))
        graph = apply(self.solver, self.layout, clip=clip, batches=batches)
        update = run(graph, pipeline.apply()) if batches > 1 else None
        state = self.first()
        for i, now in enumerate(self.rates()[:-1]):
            losses = []
            for k in range(i * self.batches, (i + 1) * self.batches):
                feeds = {name: self.arrays[f"data/{name}"][k] for name in step.inputs if name != RATE}
                outputs, updates = evaluate(step, {**state, **feeds, RATE: now})
                losses.append(float(outputs[OBJECTIVE]))
                state |= updates
            if update is not None:
                state |= evaluate(update, {**state, RATE: now})[1]
            yield losses, state

    def first(self) -> Arrays:
        buffers = {i.buffer: np.zeros(length(self.layout, i.buffer)) for i in self.layout if i.kind == "parameter"}
        state: Arrays = {i.name: np.zeros(i.type.shape) for i in solver_state(self.solver, self.layout, batches=2)}
        state |= {".parameters": np.zeros(0), STEP: np.array(0), **buffers}
        for key, name in self.blobs.items():
            self.view(state, name)[...] = self.arrays[f"init/{key}"]
        return state

    def view(self, state: Arrays, name: str, flat: str = "") -> np.ndarray[Any, Any]:
        """A tensor in the state, or (flat) at its place in another flat buffer."""
        info = next(i for i in self.layout if i.name == name)
        if info.kind != "parameter":
            return state.setdefault(name, np.zeros(info.type.shape))
        buffer = state[flat or info.buffer]
        return buffer[info.offset : info.offset + info.type.count].reshape(info.type.shape)


def _solver(text: Message) -> Use:
    kind = str(text.get("type", text.get("solver_type", ["SGD"]))[0]).upper()
    name, fields, defaults = TYPES[kind]
    settings: dict[str, Any] = {ours: float(text.get(f, [defaults.get(f)])[0]) for f, ours in fields.items()}
    settings["lr"] = float(text["base_lr"][0])
    settings["weight_decay"] = float(text.get("weight_decay", [0.0])[0])
    settings["decay"] = str(text.get("regularization_type", ["L2"])[0]).lower()
    return Use(name, tuple(settings.items()))


def _schedule(text: Message) -> Use:
    policy = str(text["lr_policy"][0])
    fields = {"gamma": "gamma", "power": "power", "stepsize": "at" if policy == "sigmoid" else "every"}
    settings: dict[str, Any] = {ours: text[field][0] for field, ours in fields.items() if field in text}
    if policy == "multistep":
        settings["at"] = tuple(text["stepvalue"])
    return Use(policy, tuple(settings.items()))


def _net(net: Message, arrays: Arrays) -> tuple[Graph, list[StateInfo], dict[str, str]]:
    context = SharedParameters(training=True)
    context.shared = {}
    tops: dict[str, Node] = {}
    multipliers: dict[str, tuple[float, float]] = {}
    blobs: dict[str, str] = {}
    for layer in net["layer"]:
        if layer["type"][0] == "Input":
            top = layer["top"][0]
            tops[top] = ops.input_(name=top, shape=arrays[f"data/{top}"].shape[1:], dtype="f32")
            continue
        params = layer.get("param", [])
        context.names = tuple(p.get("name", [""])[0] for p in params)
        made = set(context.parameters)
        results = convert(context, layer, [tops[b] for b in layer["bottom"]])
        tops |= dict(zip(layer["top"], results, strict=True))
        for i, blob in enumerate(blob_names(layer, two_bottoms=False)):
            name, key = f"{layer['name'][0]}.{blob}", f"{layer['name'][0]}/{i}"
            if f"init/{key}" not in arrays:
                continue
            blobs[key] = name
            if name in context.parameters and name not in made:
                given = params[i] if i < len(params) else {}
                multipliers[name] = (float(given.get("lr_mult", [1])[0]), float(given.get("decay_mult", [1])[0]))
    state = [
        StateInfo(name, node.type, lr=multipliers[name][0], decay=multipliers[name][1])
        for name, node in context.parameters.items()
    ]
    state += [StateInfo(name, node.type, "statistic") for name, node in context.statistics.items()]
    return Graph({OBJECTIVE: tops["loss"]}, context.updates), state, blobs
