"""What the builder returns: the graph of one net in one mode, and the tables about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..grammar.source import UserError, suggest
from .graph import Graph, Node
from .program import StateInfo
from .types import TensorType

if TYPE_CHECKING:
    from ..grammar.source import SourceError, Span

# The output that is differentiated: the weighted sum of the losses. No name of the language begins with a point.
OBJECTIVE = ".objective"
# State that every program with random numbers reads, and that a training step counts up.
SEED = ".seed"
STEP = ".step"
# The rate, an input of a training step.
RATE = ".rate"


@dataclass(frozen=True)
class LayerInfo:
    """One row of the layer table. bottoms and tops are (name, type); params are state names."""

    name: str
    kind: str
    bottoms: tuple[tuple[str, TensorType], ...]
    tops: tuple[tuple[str, TensorType], ...]
    params: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]
    span: Span


@dataclass(frozen=True)
class Net:
    """A built net.

    graph.outputs holds every loss, metric, output and asked-for name, and `.objective` where the net has a loss;
    graph.updates the next values of running statistics (training mode). state lists parameters and statistics in the
    order of their making; inputs are those the graph reads. directives (`nofuse`, `recompute:2`, `dtype:bf16`) hold for
    the nodes of a scope, the name of a layer. tops: the nodes of each layer's tops, by the layer's name. named: every
    tensor that can be asked for, by roles, bound names and layers, also those that no output needs.
    """

    name: str
    mode: str
    graph: Graph
    inputs: Mapping[str, TensorType]
    state: tuple[StateInfo, ...]
    layers: tuple[LayerInfo, ...]
    losses: Mapping[str, float]
    metrics: tuple[str, ...]
    outputs: tuple[str, ...]
    dims: Mapping[str, int]
    warnings: tuple[SourceError, ...] = field(default=())
    directives: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tops: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)
    named: Mapping[str, Node] = field(default_factory=dict)

    @property
    def regions(self) -> dict[str, int]:
        """The layers under `@recompute`, each with the number of its statement: what is recomputed together."""
        words = ((layer, word.partition(":")) for layer, found in self.directives.items() for word in found)
        return {layer: int(number) for layer, (name, _, number) in words if name == "recompute"}

    def recomputing(self, regions: Mapping[str, int]) -> Net:
        """The net with more layers to recompute, by the numbers of those that go together."""
        last, said = max(self.regions.values(), default=0), self.directives
        more = {layer: said.get(layer, frozenset()) | {f"recompute:{last + k}"} for layer, k in regions.items()}
        return replace(self, directives={**said, **more})

    def require_outputs(self) -> None:
        """UserError for a net that computes nothing in its mode."""
        if not self.graph.outputs:
            why = "it has no loss or metric; use --mode test" if self.mode == "train" else "it has no output"
            raise UserError(f"`{self.name}` computes nothing in {self.mode} mode: {why}, or name a value with --output")

    def tensor(self, name: str) -> Node:
        """The tensor of a bound name or a layer; UserError for a name that the net does not have."""
        return find_tensor(self.named, name, self.name)

    def differentiable(self, wrt: Sequence[str]) -> dict[str, Node]:
        """The tensors of floats by these names; UserError where the outputs hold no loss, or do not depend on one."""
        graph = self.graph
        if OBJECTIVE not in graph.outputs:
            raise UserError(f"there is no loss among the outputs of `{self.name}` in {self.mode} mode")
        named = {name: node for name, node in self.named.items() if node in graph.users}
        known = {name: x for name, x in {**named, **graph.params, **graph.inputs}.items() if x.type.is_float}
        for name in wrt:
            if name not in known:
                hint = suggest(name, known) or f"there are {', '.join(known)}"
                raise UserError(f"`{name}` is no input, parameter or value that the outputs depend on; {hint}")
        return {name: known[name] for name in wrt}


def find_tensor(named: Mapping[str, Node], name: str, net: str) -> Node:
    """One of a net's tensors by name (see `Net.named`)."""
    if name not in named:
        near = suggest(name, named) or f"it binds {', '.join(key for key in named if key.isidentifier())}"
        raise UserError(f"the net `{net}` binds no tensor `{name}`; {near}")
    return named[name]
