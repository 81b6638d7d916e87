"""A solver trajectory of Caffe's as programs of ours: the net, its layout, the step and, with iter_size, the update."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.build import build, load
from netc.compiler.graph import Graph
from netc.compiler.interpret import evaluate
from netc.compiler.net import OBJECTIVE, RATE, STEP
from netc.compiler.program import StateInfo
from netc.compiler.spec import Use
from netc.passes import pipeline
from netc.passes.manager import run
from netc.passes.training.flatten import flat_layout, length
from netc.passes.training.update import apply, solver_state
from netc.runtime.learning_rate import rate
from support.caffe.cases import state_names

Arrays = dict[str, np.ndarray[Any, Any]]


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
    def read(path: Path, folder: Path) -> Trajectory:
        """The case of a file; its texts are written into a folder, and read as a user's are."""
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
        (folder / "net.prototxt").write_text(str(arrays["net"]))
        (folder / "solver.prototxt").write_text(str(arrays["solver"]))
        experiment = load(folder / "solver.prototxt")
        (spec,) = experiment.trains
        net = build(experiment, spec.net, mode="train")
        blobs = {key: name for key, name in state_names(net).items() if f"init/{key}" in arrays}
        graph = Graph({OBJECTIVE: net.graph.outputs[OBJECTIVE]}, net.graph.updates)
        layout = flat_layout(net.state)
        return Trajectory(
            arrays, graph, layout, blobs, spec.solver, spec.schedule, spec.steps, spec.clip, spec.accumulate
        )

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
