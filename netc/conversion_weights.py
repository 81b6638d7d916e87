"""Weights of a prototxt for the `.net` that was made of it, and differential testing: both nets on random input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .compiler.build import Experiment, load
from .compiler.build.dims import symbols
from .compiler.build.nets import CHECKED_SIZES
from .compiler.graph import Node
from .driver import Compilation
from .grammar.parse import read_source
from .grammar.source import Source, UserError
from .onnx.comparing import Difference, difference
from .request import Request
from .runtime.state import State
from .verification.subject import made_up_inputs
from .weights import Weights

# The records of a batch that nothing gives.
RECORDS = 2


@dataclass(frozen=True)
class Twins:
    """A prototxt's net and that of the `.net`, in test mode and with the same weights."""

    ours: Compilation
    theirs: Compilation
    state: State
    other: State

    def save(self, path: Path) -> None:
        """Write the weights, by the names that the `.net` knows them by."""
        self.other.save(path)

    def compare(self, seed: int = 0) -> list[Difference]:
        """The largest difference of each layer of the prototxt, on random input, in units of its largest value.

        Both graphs are one, node by node: it is what a conversion is held to.
        """
        same = dict(zip(self.ours.net.graph.order, self.theirs.net.graph.order, strict=True))
        rows = {
            name: tops[0]
            for name, tops in self.ours.net.tops.items()
            if tops and tops[0] in same and tops[0].type.is_float and tops[0].op.family != "source"
        }
        feeds = made_up_inputs(self.ours, np.random.default_rng(seed))
        given = {same[node].attrs["name"]: feeds[name] for name, node in self.ours.net.graph.inputs.items()}
        theirs = {
            name: np.asarray(given[name], type_.numpy_dtype)
            for name, type_ in self.theirs.net.inputs.items()
            if name in given
        }
        first = _keeping(self.ours, rows).executables(self.state)[0].run(feeds)
        second = _keeping(self.theirs, {name: same[node] for name, node in rows.items()})
        other = second.executables(self.other)[0].run(theirs)
        return [Difference(name, difference(np.asarray(first[name]), np.asarray(other[name]))) for name in rows]


def pair(file: Path, text: str, request: Request, weights: Weights, notify: Callable[[str], None]) -> Twins:
    """Both nets, with the weights, else with one first value for each. UserError where weights do not fit."""
    experiment = load(read_source(file), reading=request.reading)
    written = load(Source(f"{file.stem}.net", text))
    sizes = {"N": RECORDS, **{key: CHECKED_SIZES[key] for key in ("C", "H", "W")}}
    dims = {**{key: size for key, size in sizes.items() if key in _symbols(experiment)}, **request.dims}
    if (experiment.default_net(), "test") in experiment.module.refused:
        raise UserError(f"{file}: both run in test mode, in which this net is not complete")
    want = replace(request, mode="test", dims=dims, outputs=None, update=False, device="cpu", target="numpy")
    ours = Compilation(experiment, want)
    if "N" in _symbols(written) and "N" not in dims:
        first = next(iter(ours.net.inputs.values()))
        dims["N"] = int(first.shape[0])
    theirs = Compilation(written, replace(want, dims=dims, net=None))
    state, other = ours.new_state(), theirs.new_state()
    if weights:
        for line in weights.load(state):
            notify(line)
    named = {name.replace("/", "."): name for name in other}
    for name in state:
        new = named.get("_".join(name.replace("/", ".").split()))
        if new is None:
            raise UserError(f"{file}: the parameter `{name}` has another name in what was written")
        other[new][...] = state[name]
    other.touch()
    return Twins(ours, theirs, state, other)


def _symbols(experiment: Experiment) -> set[str]:
    return {*symbols(experiment.net(experiment.default_net()).definition.body, set())}


def _keeping(made: Compilation, nodes: dict[str, Node]) -> Compilation:
    graph = made.net.graph.with_roots({**made.net.graph.outputs, **nodes})
    return made.part(lambda net: replace(net, graph=graph))
