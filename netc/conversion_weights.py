"""Weights of a prototxt for the `.net` that was made of it, and differential testing: both nets on random input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .compiler.build import Experiment, load
from .compiler.build.dims import symbols
from .compiler.build.nets import CHECKED_SIZES
from .compiler.graph import Node
from .conversion import Converted
from .driver import Compilation
from .grammar.parse import read_source
from .grammar.source import Source, UserError
from .onnx.comparing import Difference, difference
from .request import Mode, Request
from .runtime.state import State
from .verification.subject import made_up_inputs
from .weights import Weights

# The records of a batch that nothing gives.
RECORDS = 2
# More than rounding, in units of the largest value.
TOO_FAR = 1e-4


@dataclass(frozen=True)
class Twins:
    """A prototxt's net and that of the `.net`, in test mode if they have one, and with the same weights."""

    ours: Compilation
    theirs: Compilation
    state: State
    other: State
    moved: Mapping[str, str]

    def save(self, path: Path) -> None:
        """Write the weights, by the names that the `.net` knows them by."""
        self.other.save(path)

    def compare(self, seed: int = 0) -> list[Difference]:
        """The largest difference of each layer of the prototxt, on random input, in units of its largest value.

        Both graphs are one, node by node: it is what a conversion is held to. Where layers were merged, they are not.
        """
        rows = self._merged_rows() if self.moved else self._rows()
        feeds = made_up_inputs(self.ours, np.random.default_rng(seed))
        given = dict(
            zip(self.theirs.net.graph.inputs, (feeds[name] for name in self.ours.net.graph.inputs), strict=True)
        )
        theirs = {
            name: np.asarray(given[name], type_.numpy_dtype)
            for name, type_ in self.theirs.net.inputs.items()
            if name in given
        }
        first = _keeping(self.ours, {name: one for name, (one, _) in rows.items()})
        second = _keeping(self.theirs, {name: other for name, (_, other) in rows.items()})
        ours = first.executables(self.state)[0].run(feeds)
        found = second.executables(self.other)[0].run(theirs)
        return [Difference(name, difference(np.asarray(ours[name]), np.asarray(found[name]))) for name in rows]

    def _rows(self) -> dict[str, tuple[Node, Node]]:
        """The first results of layers in both: one graph, node by node."""
        same = dict(zip(self.ours.net.graph.order, self.theirs.net.graph.order, strict=True))
        return {
            name: (tops[0], same[tops[0]])
            for name, tops in self.ours.net.tops.items()
            if tops and tops[0] in same and tops[0].type.is_float and tops[0].op.family != "source"
        }

    def _merged_rows(self) -> dict[str, tuple[Node, Node]]:
        """Those of the layers that kept their names, of what became one the last, and the outputs."""
        tops = {name.replace("/", "."): nodes for name, nodes in self.theirs.net.tops.items()}
        found = {}
        for name, nodes in self.ours.net.tops.items():
            other = tops.get(_written(self.moved.get(name, name)))
            if nodes and other and name not in self.moved.values() and nodes[0].type.is_float:
                found[name] = nodes[0], other[0]
        ends = zip(self.ours.net.graph.outputs.items(), self.theirs.net.graph.outputs.values(), strict=True)
        return found | {name: (one, other) for (name, one), other in ends if one.type.is_float and name[0] != "."}


def pair(file: Path, made: Converted, request: Request, weights: Weights, notify: Callable[[str], None]) -> Twins:
    """Both nets, with the weights, else with the same first values. UserError where weights do not fit."""
    experiment = load(read_source(file), reading=request.reading)
    written = load(Source(f"{file.stem}.net", made.text))
    sizes = {"N": RECORDS, **{key: CHECKED_SIZES[key] for key in ("C", "H", "W")}}
    dims = {**{key: size for key, size in sizes.items() if key in _symbols(experiment)}, **request.dims}
    # A net that is complete in training alone computes its losses; Caffe's other tops are nobody's there.
    mode: Mode = "train" if (experiment.default_net(), "test") in experiment.module.refused else "test"
    want = replace(
        request,
        mode=mode,
        measured=mode == "train",
        dims=dims,
        outputs=None,
        update=False,
        device="cpu",
        target="numpy",
    )
    ours = Compilation(experiment, want)
    if "N" in _symbols(written) and "N" not in dims:
        first = next(iter(ours.net.inputs.values()))
        dims["N"] = int(first.shape[0])
    theirs = Compilation(written, replace(want, dims=dims, net=None))
    state, other = ours.new_state(), theirs.new_state()
    if weights:
        for line in weights.load(state):
            notify(line)
    elif made.moved:
        _made_up(state, request.seed or 0)
    named = {name.replace("/", "."): name for name in other}
    for name in state:
        layer, _, parameter = name.rpartition(".")
        new = named.get(_written(f"{made.moved.get(layer, layer)}.{parameter}"))
        if new is None:
            raise UserError(f"{file}: the parameter `{name}` has another name in what was written")
        other[new][...] = state[name]
    other.touch()
    return Twins(ours, theirs, state, other, made.moved)


def check_merged(made: Twins, file: Path, seed: int = 0) -> None:
    """UserError where a layer computes something else since layers were merged."""
    for one in made.compare(seed):
        if not one.size < TOO_FAR:
            raise UserError(f"{file}: with --merge the layer {one} from what it was; nothing is written")


def _written(name: str) -> str:
    """A name as a `.net` has it."""
    return "_".join(name.replace("/", ".").split())


def _made_up(state: State, seed: int) -> None:
    """Values of batch norms and scales that tell one order of operations from another."""
    rng = np.random.default_rng(seed)
    for name in state:
        if name.endswith(".factor"):
            state[name][...] = 1.0
        elif name.endswith((".mean", ".variance")):
            state[name][...] = rng.uniform(0.5, 1.5, state[name].shape)
    state.touch()


def _symbols(experiment: Experiment) -> set[str]:
    return {*symbols(experiment.net(experiment.default_net()).definition.body, set())}


def _keeping(made: Compilation, nodes: dict[str, Node]) -> Compilation:
    graph = made.net.graph.with_roots({**made.net.graph.outputs, **nodes})
    return made.part(lambda net: replace(net, graph=graph))
