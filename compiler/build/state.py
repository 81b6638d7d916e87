"""What a net gathers while it is built: layers, state, roles, dimensions, the history of sizes, and what was used."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...grammar import tree
from ...grammar.source import SourceError, Span
from .. import ops
from ..graph import Node, at
from ..host import Across, HostFunction, HostLayer, Sizes, find_layer
from ..net import SEED, STEP, LayerInfo
from ..program import StateInfo
from ..spec import Filler
from ..types import Dim, TensorType
from .chain import History
from .limits import MAX_AXES, MAX_ELEMENTS, MAX_LAYERS, MAX_WORK, Stop, limit
from .names import Counts, LayerEntry, Scope, Taken, canonical, join
from .problems import Problems

Place = tuple[object, int]
Found = TypeVar("Found", LayerEntry, Scope)


class Usage:
    """Which bindings are read by anybody, over all expansions of their places and over both modes."""

    def __init__(self) -> None:
        self.bound: dict[Place, tree.Name] = {}
        self.used: set[Place] = set()
        self.mode_matters = False
        self.expanded: set[int] = set()  # ids of the definitions of blocks and ops that some net uses

    def bind(self, name: tree.Name) -> None:
        self.bound[name.span.source, name.span.start] = name

    def use(self, span: Span) -> None:
        self.used.add((span.source, span.start))

    def unused(self) -> list[tree.Name]:
        """The names that were bound and never read; those that begin with `_` are meant so."""
        return [n for place, n in self.bound.items() if place not in self.used and not n.name.startswith("_")]


@dataclass(frozen=True, eq=False)
class Python:
    """The layers in Python of a file. allowed: whether they may run. made: kept from one building to the next, for a
    layer may remember something. sizes: of their results, where another call gave others than `shapes` says. across:
    the processes that train the net together, which layers of the language ask.
    """

    allowed: bool
    made: dict[Hashable, HostLayer]
    sizes: Mapping[str, Sizes]
    across: Across | None = None

    def layer(self, key: Hashable, text: str, settings: str, file: str) -> HostLayer:
        """A layer of a net; HostError where it cannot be had."""
        key = key, text, settings
        if key not in self.made:
            self.made[key] = find_layer(text, settings, Path(file).parent)
        return self.made[key]


@dataclass(frozen=True, eq=False)
class Applied:
    """A call as it was evaluated, for whoever writes a net in another language.

    operands: tensors (of an operation numbers, too) in the order of the signature, each with its parameter's name.
    params: what it learns, by its own names, tied tensors among them; permissive: those of another shape. scope: of
    the use or the turn that it stands in. label: what `as` called it.
    """

    operands: tuple[tuple[str, Any], ...] = ()
    params: Mapping[str, Node] = field(default_factory=dict)
    permissive: frozenset[str] = frozenset()
    scope: str = ""
    label: str = ""


@dataclass(eq=False)
class Row:
    """A row of the layer table with the nodes it gave, by which it is known whether an output needs it.

    applied: how it was called; None for an op, which stands for several operations.
    """

    info: LayerInfo
    tops: tuple[Node, ...]
    applied: Applied | None = None


@dataclass(eq=False)
class NetState:
    """One net under construction. dims: the values of its symbols; missing: those that nobody gave.

    python: whether layers in Python may run; None where a file is only checked, so that what they make is not known.
    scopes: names of uses of blocks that no layer has.
    """

    name: str
    training: bool
    problems: Problems
    counts: Counts
    usage: Usage
    dims: dict[str, int]
    symbols: dict[str, tree.Name]
    root: Scope = field(default_factory=lambda: Scope(""))
    taken: Taken = field(default_factory=Taken)
    history: History = field(default_factory=History)
    layers: dict[str, LayerEntry] = field(default_factory=dict)
    uses: dict[str, Scope] = field(default_factory=dict)
    scopes: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    inputs: dict[str, Node] = field(default_factory=dict)
    counters: dict[str, Node] = field(default_factory=dict)
    state: dict[str, StateInfo] = field(default_factory=dict)
    state_names: set[str] = field(default_factory=set)
    updates: dict[str, tuple[Node, str]] = field(default_factory=dict)
    roles: dict[str, tuple[Literal["loss", "metric", "output"], Node | None, float]] = field(default_factory=dict)
    role_places: dict[str, Span] = field(default_factory=dict)
    directives: dict[str, frozenset[str]] = field(default_factory=dict)
    regions: int = 0  # statements under `@recompute`
    python: Python | None = None
    streams: int = 0
    work: int = 0

    @property
    def processes(self) -> int:
        """How many processes train the net together."""
        return self.python.across.ranks if self.python is not None and self.python.across is not None else 1

    def across(self, x: Node, name: str) -> Node:
        """The mean of a value over these processes, by a call of that name."""
        if self.python is None or self.python.across is None:
            return x
        function = HostFunction(name, self.python.across.layer())
        return ops.item(ops.host(x, function=function, results=(x.type,)), index=0)

    def spend(self, span: Span, count: int = 1) -> None:
        """Counts work; past the limit reports E511 and stops."""
        self.work += count
        if self.work > MAX_WORK:
            message = f"the net `{self.name}` expands to too much (over {MAX_WORK:,} units of work)"
            self.problems.add(limit("E511", message, span, "a loop or blocks inside blocks multiply here"))
            raise Stop

    def symbol(self, name: str) -> Dim | None:
        """The value of a symbolic dimension."""
        return Dim(self.dims[name], name) if name in self.symbols and name in self.dims else None

    def check_size(self, type_: TensorType, span: Span, what: str) -> bool:
        """Whether a tensor is within the limits; reports E514 where it is not."""
        if type_.rank > MAX_AXES:
            self.problems.add(limit("E514", f"{what} has {type_.rank} axes; a tensor may have {MAX_AXES}", span))
            return False
        if type_.count > MAX_ELEMENTS:
            message = f"{what} has {type_.count:,} elements; a tensor may have 2 ** 31 - 1"
            self.problems.add(limit("E514", message, span))
            return False
        return True

    def add_row(
        self, info: LayerInfo, tops: tuple[Node, ...], directives: frozenset[str], applied: Applied | None = None
    ) -> None:
        """Enters a layer (or an operation between tensors) in the table; E511 past the limit."""
        self.rows.append(Row(info, tops, applied))
        if directives:
            self.directives[info.name] = directives
        if len(self.rows) > MAX_LAYERS:
            message = f"the net `{self.name}` has more than {MAX_LAYERS:,} layers"
            self.problems.add(limit("E511", message, info.span, "a loop or blocks inside blocks multiply here"))
            raise Stop

    def add_layer(self, entry: LayerEntry) -> None:
        self.layers[canonical(entry.name)] = entry

    def parameter(self, info: StateInfo, span: Span) -> Node:
        """A new tensor of state; E209 where the name is taken, E316 for a parameter that is not f32."""
        if canonical(info.name) in self.state_names:
            message = f"there is a parameter `{info.name}` already"
            self.problems.add(SourceError("E209", message, span, "name the layer with `as`, or rename the `param`"))
            raise Stop
        if info.kind == "parameter" and info.type.dtype != "f32":
            # They lie end to end in one flat buffer of f32, so that one kernel updates them all.
            message = f"the parameter `{info.name}` would be {info.type}; parameters are f32"
            self.problems.add(SourceError("E316", message, span, "give the layer `cast(x, f32)`, or declare it f32"))
        self.state_names.add(canonical(info.name))
        self.state[info.name] = info
        node = ops.param(name=info.name, shape=info.type.shape, dtype=info.type.dtype)
        self.history.name(node, info.name)
        return node

    def counter(self, name: str) -> Node:
        """A counter that random numbers read: the seed or the step."""
        if name not in self.state:
            zero = Filler("constant", (("value", 0.0),))
            self.state[name] = StateInfo(name, TensorType((), "i64"), "counter", zero, lr=0.0, decay=0.0)
            with at(None, ""):
                self.counters[name] = ops.param(name=name, shape=(), dtype="i64")
        return self.counters[name]

    def random_bits(self, shape: tuple[int, ...]) -> Node:
        """Random bits from a stream of their own."""
        seed, step = self.counter(SEED), self.counter(STEP)
        self.streams += 1
        return ops.random(seed, step, shape=shape, stream=self.streams - 1)

    def find_layer(self, scope: Scope | None, name: str) -> LayerEntry | None:
        """The layer of a name as seen from a scope: its own layers, those of loops around it, up to the block's use.

        One that begins with `/` is the whole name.
        """
        return _find(self.layers, scope, name)

    def find_use(self, scope: Scope | None, name: str) -> Scope | None:
        """The use of a block by its name, as `find_layer`."""
        return _find(self.uses, scope, name)


def _find(table: Mapping[str, Found], scope: Scope | None, name: str) -> Found | None:
    absolute = canonical(name[1:]) if name.startswith("/") else ""
    while scope is not None:
        found = table.get(canonical(join(scope.name, name)))
        if found is not None:
            return found
        scope = scope.parent
    return table.get(absolute)
