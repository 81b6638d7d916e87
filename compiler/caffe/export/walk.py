"""One mode of a net as the layers of one phase of Caffe's: calls become layers, values blobs with names of their own.

Layers with parameters keep their names, in which `/` stands for the points between blocks; so do those that were named
by `as`. Others are called as Caffe's users do, by their kind and a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ....grammar.caffe.message import Message
from ....grammar.source import SourceError, Span, suggest
from ...graph import Node
from ...layers import LAYERS
from ..layer import Row
from ..rows import ROWS
from .expressions import EXPRESSIONS
from .forms import parameter, plain
from .making import Call, NoLayer, Operand, Style, named_layer, put, sub
from .values import Read, Step, Value, Values

Feeds: TypeAlias = Callable[[Mapping[str, tuple[int, ...]]], list[Message]]

# What layers without a name are called.
WORDS = {
    "max_pool": "pool",
    "avg_pool": "pool",
    "stochastic_pool": "pool",
    "dropout": "drop",
    "lrn": "norm",
    "softmax": "prob",
    "split": "slice",
    "add": "sum",
    "sub": "diff",
    "mul": "prod",
    "accuracy": "accuracy",
}
TYPES: dict[str, str] = {"avg_pool": "Pooling", "stochastic_pool": "Pooling"}
for _type, _row in ROWS.items():
    TYPES.setdefault(_row.callee, _type)


@dataclass
class Naming:
    """The names of layers and blobs, which both phases share.

    roles: names of the net's outputs by the values that have them as their blob's.
    """

    taken: set[str] = field(default_factory=set)
    layers: dict[str, str] = field(default_factory=dict)
    blobs: dict[Value, str] = field(default_factory=dict)
    roles: dict[Value, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def free(self, name: str) -> str:
        """A name that is not taken, which it is afterwards."""
        found, number = name, 1
        while found in self.taken:
            number += 1
            found = f"{name}_{number}"
        self.taken.add(found)
        return found

    def claim(self, *modes: Values) -> None:
        """The values that have names of roles: those that nobody reads, and losses."""
        named: set[str] = set()
        for mode in modes:
            self.taken |= {*mode.titles, *mode.state.inputs}
        for mode in modes:
            for role in mode.roles:
                value = role.read.value
                alone = not any(other.reads[value] for other in modes)
                if role.name in named or value.kind or value in self.roles or not (alone or role.kind == "loss"):
                    continue
                self.roles[value] = role.name
                named.add(role.name)

    def keep(self, *modes: Values) -> None:
        """Names that are a contract with files of weights, before any other."""
        for step in {step.name: step for mode in modes for step in mode.steps}.values():
            applied, name = step.row.applied, step.name
            assert applied is not None
            if not applied.label and not applied.params:
                continue
            label = applied.label if name.endswith(applied.label) else ""
            scope = name[: len(name) - len(label)] if label else name
            self.layers[name] = scope.replace(".", "/") + label
            if not any(value in self.roles for value in step.results):
                self.taken.add(self.layers[name])

    def layer(self, step: Step) -> str:
        """The name of a layer."""
        if step.name not in self.layers:
            applied = step.row.applied
            assert applied is not None
            scope = f"{applied.scope.replace('.', '/')}/" if applied.scope else ""
            word = scope + WORDS.get(step.row.info.kind, step.row.info.kind)
            role = self.roles.get(step.results[0]) if step.results else None
            if role is None:
                self.counts[word] += 1
                role = self.free(f"{word}{self.counts[word]}")
            self.layers[step.name] = role
        return self.layers[step.name]

    def blob(self, value: Value, layer: str = "") -> str:
        """The name of a blob; layer: of that which makes it."""
        if value not in self.blobs:
            if value.kind == "input":
                self.blobs[value] = value.name
            elif value in self.roles:
                self.blobs[value] = self.roles[value]
            elif value.index or not layer:
                self.blobs[value] = self.free(f"{layer or value.name}_{value.index + 1}" if layer else value.name)
            else:
                self.blobs[value] = layer
        return self.blobs[value]


@dataclass(frozen=True)
class Rewritten:
    """A call that is written as layers which compute the same in another way: the first of them and the last.

    operands, tops: what the call reads and gives in the graph. said: how it differs.
    """

    name: str
    operands: tuple[Node, ...]
    tops: tuple[Node, ...]
    first: str
    last: str
    said: str


@dataclass
class Written:
    """The layers of a phase. titles: names of roles in Caffe's net that are other than in the net, by the net's."""

    layers: list[Message] = field(default_factory=list)
    rewritten: list[Rewritten] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    errors: list[SourceError] = field(default_factory=list)


class Walk:
    """The writing of one phase."""

    def __init__(self, values: Values, naming: Naming, style: Style, place: Span) -> None:
        self.values, self.naming, self.style, self.place = values, naming, style, place
        self.found = Written(errors=list(values.errors))
        self.losses = {one.read.value: one for one in values.roles if one.kind == "loss"}

    def run(self, feeds: Feeds) -> Written:
        """feeds: the layers that bring the inputs of these shapes."""
        if self.found.errors:  # of which others would follow
            return self.found
        nodes, layers = self.values.nodes, self.found.layers
        sources = self.values.sources
        layers += feeds({one.name: tuple(map(int, nodes[one].shape)) for one in sources if one.kind == "input"})
        for value in sources:
            if value.kind == "param":
                info = self.values.state.state[value.name]
                if self.style.learning and info.filler.get("value", None) != 0.0:
                    self._error(f"the parameter `{value.name}` begins as {info.filler}", "in Caffe with 0")
                name = value.name.replace(".", "/")
                shape = [int(n) for n in info.type.shape]
                layers.append(parameter(name, self.naming.blob(value), shape, (info.lr, info.decay), self.place))
        for step in self.values.steps:
            try:
                self._step(step)
            except NoLayer as error:
                self.found.errors.append(error.error)
            except ValueError as error:
                what = f"`{step.name}`: {error}"
                hint = "Caffe's layers take tensors of one shape, or one spread over the first axes: scale(by:)"
                self.found.errors.append(SourceError("E730", what, step.row.info.span, hint))
        self._ends()
        return self.found

    def _error(self, message: str, hint: str) -> None:
        self.found.errors.append(SourceError("E730", message, self.place, hint))

    def _step(self, step: Step) -> None:
        info, applied = step.row.info, step.row.applied
        assert applied is not None
        kind = TYPES.get(info.kind, "")
        name = self.naming.layer(step)
        tops = [self.naming.blob(value, name) for value in step.results]
        loss = self._titled(step, kind, tops)
        operands = [(key, self._operand(one) if isinstance(one, Read) else one) for key, one in step.operands]
        row, state = ROWS[kind] if kind else Row(""), self.values.state.state
        call = Call(info, applied, name, operands, tops, step.row.tops, state, self.style, row, kind)
        back = (row.back or plain) if kind else EXPRESSIONS.get(info.kind)
        if back is None:
            near = suggest(info.kind, TYPES)
            hint = near or "--output chooses values that do not need it; else it is to be said by layers that Caffe has"
            raise call.fail(f"Caffe has no layer for `{info.kind}`", hint)
        if any(not isinstance(one, Operand) for _, one in operands) and kind:
            raise call.fail("a number stands for a tensor", "Caffe's layers take tensors: full(shape:, value:) is one")
        made = back(call)
        if loss:
            put(made[-1], "loss_weight", loss, self.place)
        self.found.layers += made
        if call.said:
            first, last = (str(made[i].get("name")) for i in (0, -1))
            nodes = tuple(one.node for one in call.bottoms)
            self.found.rewritten.append(Rewritten(step.name, nodes, step.row.tops, first, last, call.said))

    def _titled(self, step: Step, kind: str, tops: list[str]) -> list[float]:
        """The weights of its tops in the objective, where they have to be said."""
        roles = [self.losses.get(value) for value in step.results]
        own = bool(kind) and ROWS[kind].loss
        weights = [one.weight if one is not None else 0.0 for one in roles]
        for i, role in enumerate(roles):
            if role is not None and not (own and i == 0):
                short = role.name.removesuffix("_loss")
                if tops[i] == role.name != short and short not in self.naming.taken:
                    tops[i] = self.naming.blobs[step.results[i]] = self.naming.free(short)
                self.found.titles[role.name] = f"{tops[i]}_loss"
        usual = [1.0, *(0.0 for _ in weights[1:])] if own else [0.0 for _ in weights]
        return weights if weights != usual else []

    def _operand(self, read: Read) -> Operand:
        return Operand(self.naming.blob(read.value), self.values.nodes[read.value], read.down)

    def _ends(self) -> None:
        """What nobody reads is an output in Caffe: a Silence hides it; what is read and wanted gets a Split."""
        wanted = set()
        for role in self.values.roles:
            value = role.read.value
            wanted.add(value)
            if self.naming.roles.get(value) == role.name:
                continue
            if role.kind == "loss":
                self._error(f"the loss `{role.name}` is a value that is another's already", "a loss has its own layer")
                continue
            layer = named_layer("Split", role.name, [self.naming.blob(value)], [role.name], self.place)
            self.found.layers.append(layer)
        made = [value for step in self.values.steps for value in step.results]
        idle = [self.naming.blob(value) for value in made if not self.values.reads[value] and value not in wanted]
        if idle:
            self.found.layers.append(named_layer("Silence", self.naming.free("silence"), idle, [], self.place))


def input_layers(shapes: Mapping[str, tuple[int, ...]], place: Span) -> list[Message]:
    """An Input for each."""
    made = []
    for name, shape in shapes.items():
        layer = named_layer("Input", name, [], [name], place)
        put(sub(sub(layer, "input_param"), "shape"), "dim", shape, place)
        made.append(layer)
    return made


def shared_names(modes: list[Values], naming: Naming) -> dict[str, str]:
    """Parameters that several layers have, each with a name of its own."""
    users: dict[str, dict[str, str]] = {}
    for mode in modes:
        for step in mode.steps:
            assert step.row.applied is not None
            for key, node in step.row.applied.params.items():
                if node.op.name == "param" and key in LAYERS[step.row.info.kind].params:
                    users.setdefault(node.attrs["name"], {})[step.name] = key
    found = {}
    for name, layers in users.items():
        if len(layers) > 1:
            owner = next(iter(layers))
            found[name] = f"{naming.layers.get(owner, owner)}/{layers[owner]}"
    return found
