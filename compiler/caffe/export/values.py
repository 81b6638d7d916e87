"""Value numbering of one mode of a net: which calls are needed, and whose result each of their operands is.

A value is a call's name and the number of its result, an input, or a parameter of the net itself. A layer may give its
operand back (dropout in test mode): what reads it afterwards is taken to read that layer, as in the other mode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ....grammar.source import SourceError
from ... import ops
from ...build.state import NetState, Row
from ...graph import Graph, Node
from .making import NoLayer


@dataclass(frozen=True)
class Value:
    """A result of a call by its number; where `kind` is not empty an input or a parameter of that name."""

    name: str
    index: int = 0
    kind: str = ""


@dataclass(frozen=True)
class Read:
    """A value as an operand; down: a gradient flows through it."""

    value: Value
    down: bool = True


@dataclass
class Step:
    """A call that is needed, its operands (numbers as they are) and results."""

    row: Row
    operands: list[tuple[str, Read | float]]
    results: tuple[Value, ...]

    @property
    def name(self) -> str:
        return self.row.info.name

    @property
    def reads(self) -> Iterator[Read]:
        return (one for _, one in self.operands if isinstance(one, Read))


@dataclass(frozen=True)
class Role:
    """A loss, metric or output: its name and kind, the value that it is, and its weight."""

    name: str
    kind: str
    read: Read
    weight: float


@dataclass
class Values:
    """One mode of a net in terms of values.

    titles: the names of what is wanted. nodes: what each value is in the graph. errors: about what Caffe cannot say.
    """

    state: NetState
    titles: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    nodes: dict[Value, Node] = field(default_factory=dict)
    reads: Counter[Value] = field(default_factory=Counter)
    errors: list[SourceError] = field(default_factory=list)
    _current: dict[Node, Read] = field(default_factory=dict)

    @property
    def sources(self) -> list[Value]:
        """The inputs and parameters of the net that are read, in their order."""
        read = {read.value for step in self.steps for read in step.reads} | {one.read.value for one in self.roles}
        return [value for value in self.nodes if value.kind and value in read]

    def enter(self, row: Row) -> None:
        """One more call, if its operands are values."""
        if row.applied is None:
            what, hint = f"`{row.info.kind}` is an op of the net's own", "make it a block, whose layers are written"
            raise NoLayer(SourceError("E730", what, row.info.span, hint))
        operands = [(key, self._read(one, row) if isinstance(one, Node) else one) for key, one in row.applied.operands]
        settings = dict(row.info.settings)
        first = operands[0][1] if operands else None
        if row.info.kind == "detach" and isinstance(first, Read):
            self._current[row.tops[0]] = Read(first.value, down=False)
            return
        if row.info.kind == "cast" and isinstance(first, Read) and settings.get("to") == "f32":
            self._current[row.tops[0]] = first  # all of Caffe's numbers are such
            return
        values = tuple(Value(row.info.name, i) for i in range(len(row.tops)))
        for value, node in zip(values, row.tops, strict=True):
            self._current[node] = Read(value)
            self.nodes[value] = node
        step = Step(row, operands, values)
        self.reads.update(read.value for read in step.reads)
        self.steps.append(step)

    def _read(self, node: Node, row: Row) -> Read:
        if node in self._current:
            return self._current[node]
        if node.op is ops.param and self.state.state[node.attrs["name"]].layer == node.attrs["name"]:
            value = Value(node.attrs["name"], kind="param")
            self.nodes[value] = node
            self._current[node] = Read(value)
            return self._current[node]
        what = f"`{row.info.name}` reads a value that no layer gives"
        hint = "a parameter of a layer is no blob of Caffe's, but for layers that share it"
        raise NoLayer(SourceError("E730", what, row.info.span, hint))

    def role(self, name: str, kind: str, node: Node, weight: float) -> None:
        """One of the values that are wanted."""
        inner = node if node in self._current else node.inputs[0] if node.op is ops.reshape else node
        if inner in self._current:
            self.roles.append(Role(name, kind, self._current[inner], weight))
            return
        what = f"the {kind} `{name}` is a value that no layer gives"
        place = self.state.role_places.get(name, node.span)
        assert place is not None
        self.errors.append(SourceError("E730", what, place))


def values_of(state: NetState, wanted: Mapping[str, tuple[str, Node, float]]) -> Values:
    """The values that are needed. wanted: those that are asked for by their names, each with its role and weight."""
    found = Values(state, titles=[*wanted])
    nodes = {name: node for name, (_, node, _) in wanted.items()}
    reached = set(Graph(nodes).order)
    for name, node in state.inputs.items():
        value = Value(name, kind="input")
        found.nodes[value] = node
        found._current[node] = Read(value)
    for row in state.rows:
        if any(top in reached for top in row.tops):
            try:
                found.enter(row)
            except NoLayer as error:
                found.errors.append(error.error)
                found._current |= {top: Read(Value(row.info.name, i)) for i, top in enumerate(row.tops)}
    for name, (kind, node, weight) in wanted.items():
        found.role(name, kind, node, weight)
    _losses_in_order(found)
    return found


def _losses_in_order(found: Values) -> None:
    """Losses are added in the order of their roles: their layers stand so, where they do not yet."""
    losses = [one.read.value for one in found.roles if one.kind == "loss"]
    order = [step for value in losses for step in found.steps if value in step.results]
    if [step for step in found.steps if step in order] == order or any(found.reads[value] for value in losses):
        return
    found.steps = [*(step for step in found.steps if step not in order), *dict.fromkeys(order)]


def unify(first: Values, second: Values) -> None:
    """What a call reads is the same in both modes where its operands are, whatever layers gave them back."""
    known = {step.name: step for step in first.steps}
    for step in second.steps:
        other = known.get(step.name)
        if other is None or len(other.operands) != len(step.operands) or other.row.info.kind != step.row.info.kind:
            continue
        for i, ((key, ours), (_, theirs)) in enumerate(zip(step.operands, other.operands, strict=True)):
            if not isinstance(ours, Read) or not isinstance(theirs, Read) or ours == theirs:
                continue
            if second.nodes.get(ours.value) is second.nodes.get(theirs.value, ours):
                step.operands[i] = key, theirs
    second.reads = Counter(read.value for step in second.steps for read in step.reads)
