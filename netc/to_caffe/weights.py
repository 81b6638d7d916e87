"""Weights of a net as a `.caffemodel`, and differential testing of what was written: both nets on random input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler.build.dims import symbols
from ..compiler.graph import Node
from ..driver import Compilation
from ..grammar.source import UserError
from ..onnx.comparing import Difference, difference
from ..request import Request
from ..runtime.state import State
from ..verification.subject import made_up_inputs
from .files import Files
from .nets import Mode

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Pair:
    """A net and what was written of it, in test mode and with the same weights."""

    ours: Compilation
    theirs: Compilation
    state: State
    other: State


def pair(files: Files, request: Request) -> Pair:
    """Both nets, in test mode, with first values."""
    path = files.whole
    written = files.nets[path]
    phase = written.phases.get("test") or written.phases["train"]
    wanted = tuple(phase.wanted)
    dims = {key: int(size) for key, size in phase.dims.items()}
    mode: Mode = "train" if phase.state.training else "test"
    want = replace(request, mode=mode, net=written.name, dims=dims, outputs=wanted, update=False)
    ours = Compilation(files.experiment, want)
    titles = tuple(phase.titles.get(one, one) for one in wanted)
    sizes = {"N": dims["N"]} if "N" in dims and _is_free(files, path) else {}
    theirs = Compilation(
        files.read[path], Request(mode=want.mode, dims=sizes, outputs=titles, update=False, python=want.python)
    )
    return Pair(ours, theirs, ours.new_state(), theirs.new_state())


def _is_free(files: Files, path: Path) -> bool:
    """Whether the batch of what was written is that of its data."""
    experiment = files.read[path]
    return "N" in symbols(experiment.net(experiment.default_net()).definition.body, set())


def carry(files: Files, made: Pair) -> None:
    """The weights of the net into what was written."""
    moved = files.nets[files.whole].moved
    named = {name.replace("/", "."): name for name in made.other}
    for name in made.state:
        new = named.get(moved.get(name, name).replace("/", "."))
        if new is not None:
            made.other[new][...] = made.state[name]
    made.other.touch()


def save(files: Files, made: Pair, path: Path) -> None:
    """Write the weights as Caffe's, and read them back; UserError where they come back as others."""
    made.other.save(path)
    again = State(made.theirs.state)
    again.load(path, strict=True)
    for name in made.other:
        if not np.array_equal(again[name], made.other[name], equal_nan=True):
            raise UserError(f"{path}: `{name}` does not come back as it was written")


def compare(files: Files, made: Pair, seed: int = 0) -> list[Difference]:
    """The largest difference of each layer, on random input, in units of its largest value."""
    written = files.nets[files.whole]
    rows = _rows(made.ours, made.theirs, written.layers)
    feeds = made_up_inputs(made.ours, np.random.default_rng(seed))
    theirs = {name: np.asarray(value, np.float32) for name, value in feeds.items() if name in made.theirs.net.inputs}
    first = _keeping(made.ours, {name: node for name, (node, _) in rows.items()})
    second = _keeping(made.theirs, {name: node for name, (_, node) in rows.items()})
    ours = first.executables(made.state)[0].run(feeds)
    other = second.executables(made.other)[0].run(theirs)
    return [Difference(name, difference(np.asarray(ours[name]), np.asarray(other[name]))) for name in rows]


def _rows(ours: Compilation, theirs: Compilation, layers: Mapping[str, str]) -> dict[str, tuple[Node, Node]]:
    """The first results of layers that both nets have."""
    found = {}
    for name, layer in layers.items():
        if name in ours.net.tops and layer in theirs.net.tops and ours.net.tops[name] and theirs.net.tops[layer]:
            nodes = ours.net.tops[name][0], theirs.net.tops[layer][0]
            if all(node.type.is_float for node in nodes):
                found[name] = nodes
    return found


def _keeping(made: Compilation, nodes: dict[str, Node]) -> Compilation:
    graph = made.net.graph.with_roots({**made.net.graph.outputs, **nodes})
    return made.part(lambda net: replace(net, graph=graph))
