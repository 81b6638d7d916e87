"""The program under test: one of a net, the numbers that it is run on, and the same with taps at its layers.

A tap is an output that is there to be looked at: the value of a layer's top, or the gradient that reaches it. Taps
change what is fused; so a program is verified as users run it, kernel by kernel, and taps only tell where layers stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler import ops
from ..compiler.graph import Graph, Node
from ..compiler.net import OBJECTIVE, RATE, SEED, STEP
from ..compiler.program import StateInfo
from ..compiler.value_ranges import value_ranges
from ..driver import Compilation
from ..grammar.source import UserError
from ..passes import manager, pipeline
from ..passes.training.flatten import learned
from ..passes.training.gradient import GRADIENT, cotangents, erase_surrogate
from ..passes.training.scaling import SCALE, fixed_scale, scale_of
from ..passes.training.update import apply
from ..runtime.memory import available
from ..runtime.state import State
from .compare import Kind

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
# Passes that say what a program does; all others keep values as they are.
MEANT = ("update", "accumulate", "unscale")


@dataclass(frozen=True)
class Tap:
    """An output that is looked at: what the table calls it, and the layer that it belongs to."""

    name: str
    layer: str
    kind: Kind


@dataclass(frozen=True)
class Tapped:
    """A graph with taps. exact: its meaning, before any pass but the solver's; passes: the others, in order."""

    made: Compilation
    exact: Graph
    passes: manager.Pipeline
    taps: dict[str, Tap]

    @cached_property
    def stations(self) -> dict[str, Graph]:
        """The graph before the passes (`build`) and after each."""
        return _stations(self.exact, self.passes)

    @property
    def final(self) -> Graph:
        """The graph after all passes."""
        return [*self.stations.values()][-1]

    @cached_property
    def stages(self) -> dict[str, Graph]:
        """The graph before the passes, and after each pass and each stage of lowering."""
        return {**self.stations, **_lowered(self.made, self.final)}


class Subject:
    """One program of a net with made-up numbers. step: which of the two where an update follows several batches."""

    def __init__(self, made: Compilation, seed: int, *, step: bool = True) -> None:
        self.made = made
        self.seed = seed
        self.step = step

    @property
    def title(self) -> str:
        """What the program does."""
        if not self.step:
            return "update"
        return "test" if self.made.request.mode == "test" else "training step" if self.made.learns else "gradients"

    @cached_property
    def start(self) -> Graph:
        """The graph before any pass."""
        if self.step:
            return self.made.net.graph
        spec = self.made.training
        return apply(spec.solver, self.made.layout, batches=spec.accumulate, clip=spec.clip, scaling=self.made.scaling)

    @cached_property
    def passes(self) -> manager.Pipeline:
        return self.made.pipeline if self.step else pipeline.apply()

    @cached_property
    def stations(self) -> dict[str, Graph]:
        """The graph before any pass (`build`) and after each."""
        return _stations(self.start, self.passes)

    @property
    def final(self) -> Graph:
        """The graph after all passes, which is fused."""
        return [*self.stations.values()][-1]

    @cached_property
    def stages(self) -> dict[str, Graph]:
        """The graph before any pass, and after each pass and each stage of lowering."""
        return {**self.stations, **_lowered(self.made, self.final)}

    @cached_property
    def feeds(self) -> Arrays:
        """Numbers for inputs and state, by logical and by physical name, in the types that the program reads.

        UserError where the oracle would not fit into the memory of this machine.
        """
        need = 8 * sum(n.type.count for n in self.final.order if n.op.family not in ("movement", "source"))
        if need > 0.8 * available():
            raise UserError(
                f"the oracle of {self.made.net.name} needs {need / 1e9:.1f} GB of memory, this machine has "
                f"{available() / 1e9:.1f} GB; a smaller --batch needs less"
            )
        rng = np.random.default_rng([self.seed, 20])
        state = State(self.made.state)  # not the compilation's way, which makes the program: that may be what fails
        state.fill(self.seed)
        for info in self.made.state:
            _disturb(info, _part(state.buffers, info), rng)
        found = dict(state.buffers)
        found.update({info.name: _part(state.buffers, info) for info in self.made.state})
        found.update(made_up_inputs(self.made, rng))
        found[RATE] = np.array(0.1, np.float32)
        return found

    @cached_property
    def tapped(self) -> Tapped:
        """The program with taps at its layers."""
        if not self.step:
            return Tapped(self.made, self.start, self.passes, {})
        made, net = self.made, self.made.net
        taps: dict[str, Tap] = {}
        outputs = dict(net.graph.outputs)
        known = set(outputs.values())
        tops = list(_tops(made))
        for layer, name, node in tops:
            if node not in known and node.op.family != "source":
                known.add(node)
                outputs[f".value{len(taps)}"] = node
                taps[f".value{len(taps)}"] = Tap(name, layer, "value")
        differentiated = "gradient" in dict(self.passes)
        forward = net.graph.with_roots(outputs)
        if differentiated:
            self._gradients(forward, tops, outputs, taps)
        exact = erase_surrogate(forward.with_roots(outputs)) if differentiated else forward
        own = net.graph.outputs
        taps.update({name: Tap(name, node.scope, "value") for name, node in own.items()})
        rest = []
        for name, one in self.passes:
            if name in MEANT:
                exact = one(exact)
            elif name != "gradient":
                rest.append((name, one))
        return Tapped(made, exact, tuple(rest), taps)

    def _gradients(
        self, forward: Graph, tops: list[tuple[str, str, Node]], outputs: dict[str, Node], taps: dict[str, Tap]
    ) -> None:
        """Add the gradients of tops, parameters and inputs to the outputs."""
        params = {i.name: forward.params[i.name] for i in learned(self.made.layout) if i.name in forward.params}
        owners = {info.name: info.layer for info in self.made.layout}
        wanted = [(name, owners.get(name, name), node) for name, node in params.items()]
        wanted += [(name, name, node) for name, node in forward.inputs.items() if node.type.is_float]
        wanted += [top for top in tops if top[2].type.is_float and top[2].op.family != "source"]
        wanted = list({node: (name, layer, node) for name, layer, node in wanted}.values())
        scale = None
        if self.made.scaling is not None:
            scale = scale_of(forward)
        elif "unscale" in dict(self.passes):
            scale = fixed_scale(forward)
        found = cotangents(forward, forward.outputs[OBJECTIVE], [node for _, _, node in wanted], scale)
        seen: set[Node] = set()
        for name, layer, node in wanted:
            if found[node].op is not ops.const and found[node] not in seen:
                seen.add(found[node])
                outputs[f".gradient{len(taps)}"] = found[node]
                taps[f".gradient{len(taps)}"] = Tap(f"{name}{GRADIENT}", layer, "gradient")
        asked = params if self.made.learns or self.made.request.update is None else {}
        outputs.update({f"{name}{GRADIENT}": found[node] for name, node in asked.items()})


def subjects(made: Compilation, seed: int) -> Iterator[Subject]:
    """The programs of a compilation: where an update follows several batches, that is the second."""
    yield Subject(made, seed)
    if made.learns and made.training.accumulate > 1 and learned(made.layout):
        yield Subject(made, seed, step=False)


def _stations(graph: Graph, passes: manager.Pipeline) -> dict[str, Graph]:
    found = {"build": graph}
    manager.run(graph, passes, lambda stage: found.update({stage.name: stage.after}))
    return found


def _lowered(made: Compilation, graph: Graph) -> dict[str, Graph]:
    """The graph after each stage of lowering, up to one that fails: that is a crash, which is found by itself."""
    found: dict[str, Graph] = {}
    with suppress(Exception):
        made.fuse(graph, lambda stage: found.update({stage.name: stage.after.graph}))
    return found


def _tops(made: Compilation) -> Iterator[tuple[str, str, Node]]:
    """(layer, name of the value, node) of the tops; the first layer that gives a node has it."""
    rows = {row.name: row for row in made.net.layers}
    seen: set[Node] = set()
    for layer, nodes in made.net.tops.items():
        for i, node in enumerate(nodes):
            if node not in seen:
                seen.add(node)
                names = [name for name, type_ in rows[layer].tops if type_ == node.type]
                yield layer, (names[0] if len(nodes) == 1 and names else f"{layer}.{i + 1}"), node


def _part(buffers: Mapping[str, Array], info: StateInfo) -> Array:
    """The elements of a tensor of state, as a view of its buffer."""
    flat = buffers[info.buffer or info.name].reshape(-1)
    return flat[info.offset : info.offset + info.type.count].reshape([int(n) for n in info.type.shape])


def _disturb(info: StateInfo, value: Array, rng: np.random.Generator) -> None:
    """What a filler leaves constant is moved a little, so that each term counts: biases, histories, statistics."""
    if info.name == STEP:
        value[...] = 2
    elif info.name == SCALE:
        value[...] = 2.0**8  # where a run would have halved it to, so that f16 holds the gradients
    elif info.name == SEED or value.dtype.kind != "f":
        return
    elif info.kind == "statistic":
        value[...] = rng.uniform(0.5, 1.5, value.shape)
    elif info.kind in ("history", "gradient"):
        value[...] = rng.uniform(0.0, 0.01, value.shape)
    elif (value.size > 1 and np.all(value == value.flat[0])) or value.size == 1:
        value += rng.uniform(-0.1, 0.1, value.shape).astype(value.dtype)


def made_up_inputs(made: Compilation, rng: np.random.Generator) -> Arrays:
    """Floats are normal; whole numbers are labels within the classes of the layers that read them, else 0 or 1."""
    classes: dict[str, int] = {}
    for one in value_ranges(made.net):
        classes[one.input] = min(one.count, classes.get(one.input, one.count))
    found: Arrays = {}
    for name, type_ in made.net.inputs.items():
        shape, dtype = [int(n) for n in type_.shape], type_.numpy_dtype
        if type_.is_float and name not in classes:
            found[name] = rng.standard_normal(shape).astype(dtype)
        else:
            found[name] = rng.integers(0, classes.get(name, 2), shape).astype(dtype)
    return found
