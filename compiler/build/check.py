"""The nets of a file run with made-up sizes: for their mistakes and warnings, and for what `train` blocks must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...grammar import tree
from ...grammar.source import SourceError
from ..graph import Graph
from ..program import TensorType
from .experiment import Experiment
from .limits import MAX_ELEMENTS
from .module import NetEntry
from .nets import checked_sizes, plain, run
from .problems import Problems
from .state import NetState, Usage

MODES = {"train": True, "test": False}


@dataclass(frozen=True, eq=False)
class Trial:
    """A net as it came out: inputs that losses and metrics need, the names of its layers, uses of blocks and
    free parameters.

    learns: it has a loss. ok: it had no errors. decay: the largest by which a parameter multiplies the solver's. roles:
    its losses and metrics, each with which it is.
    """

    inputs: Mapping[str, TensorType]
    names: tuple[str, ...]
    learns: bool
    ok: bool
    decay: float
    roles: Mapping[str, str]


class Trials:
    """Each net of a file with each set of settings, run once."""

    def __init__(self, experiment: Experiment, problems: Problems, dims: Mapping[str, int]) -> None:
        self.experiment = experiment
        self.problems = problems
        self.dims = dims
        self._done: dict[tuple[str, tuple[tuple[str, Any], ...]], Trial] = {}

    def get(self, name: str, settings: Mapping[str, Any]) -> Trial:
        """The trial of a net; its mistakes are reported at the first asking."""
        key = name, tuple(sorted(settings.items()))
        if key not in self._done:
            self._done[key] = self._run(self.experiment.module.nets[name].value, settings)
        return self._done[key]

    def _run(self, entry: NetEntry, settings: Mapping[str, Any]) -> Trial:
        before = len(self.problems.errors)
        usage, counts = Usage(), self.experiment.counts
        sizes = checked_sizes(entry)
        if "N" in sizes and (batch := _batch(self.experiment, entry.definition.name.name)) is not None:
            sizes["N"] = batch
        # A size that is none is `build`'s to refuse.
        sizes.update((key, size) for key, size in self.dims.items() if key in sizes and 1 <= size <= MAX_ELEMENTS)
        title = entry.definition.name.name
        modes = [training for mode, training in MODES.items() if (title, mode) not in entry.module.refused]
        state, _ = run(entry, self.problems, counts, usage, modes[0], sizes, settings)
        if usage.mode_matters and len(modes) > 1:
            run(entry, self.problems, counts, usage, modes[1], sizes, settings)
        ok = len(self.problems.errors) == before
        if ok:
            for name in usage.unused():
                hint = "nobody reads this value; a name that begins with `_` is not asked about"
                self.problems.add(SourceError("W601", f"`{name.name}` is never used", name.span, hint))
        free = (info.name for info in state.state.values() if info.layer == info.name)
        decay = max((info.decay for info in state.state.values()), default=0.0)
        roles = {name: kind for name, (kind, _, _) in state.roles.items() if kind != "output"}
        learns = "loss" in roles.values()
        return Trial(_needed(state), (*state.layers, *state.uses, *free), learns, ok, decay, roles)


def _batch(experiment: Experiment, net: str) -> int | None:
    """The batch of the first data that a `train` block of a net names; such a net may be right for no other."""
    for item in experiment.file.definitions:
        if not isinstance(item, tree.TrainDef) or item.net.name != net:
            continue
        for setting in item.settings:
            value = (
                setting.value.items[0]
                if isinstance(setting.value, tree.List) and setting.value.items
                else setting.value
            )
            data = experiment.data.get(value.name) if isinstance(value, tree.Name) else None
            if setting.key.name == "from" and data is not None:
                return int(data.get("batch"))
    return None


def _needed(state: NetState) -> dict[str, TensorType]:
    """The inputs that losses and metrics read."""
    nodes = {key: node for key, (kind, node, _) in state.roles.items() if kind != "output" and node is not None}
    read = Graph(nodes).inputs
    return {key: node.type for key, node in state.inputs.items() if key in read}


def check_nets(experiment: Experiment, problems: Problems, dims: Mapping[str, int]) -> Trials:
    """Runs every net of the file itself as it stands, where each of its parameters has a value."""
    trials = Trials(experiment, problems, dims)
    for name, entry in experiment.module.own("nets"):
        definition: tree.NetDef = entry.value.definition
        formals = entry.value.formals
        given = {key: plain(value) for key, value in experiment.settings.items() if key in formals}
        trained = any(isinstance(item, tree.TrainDef) and item.net.name == name for item in experiment.file.definitions)
        # A net that needs settings is run with those of its `train` blocks; without any, unknown values stand for them.
        if not trained or all(f.default is not None or f.name.name in given for f in definition.formals):
            trials.get(name, given)
    return trials
