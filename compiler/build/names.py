"""The names of layers: a contract with weight files, so the rule is written down here once.

A call that is labelled (`as conv1`) has that name; by `as "/conv1"` it is `conv1` wherever it stands. Any other takes
the name that its statement binds (`y = …`, a role's name), and stands in one of these cases:

1. In a block, or in one turn of a loop, whose text has one call with parameters: that call has the name of the use
   (of the turn), so `fc6 = x |> fc(4096)` has `fc6.weight` although `fc` is a block.
2. In a statement that has one call with parameters: that call has the bound name: `y = x |> conv(8, 3) |> relu` has
   `y.weight`.
3. Else it is `<bound name>.<callee>`: `y.relu`. In a `return`, which binds nothing, it is `<callee>`.

All this is inside the name of the block's use and of the loop's turn, counted 1, 2, 3 whatever the items are:
`layer1.2.conv1.weight`. What has parameters is read off the text: a layer that can make some or hold statistics, or
a block that contains one, labelled or not; of the arms of an `if` the one with the most counts. So names do not change
with a `|> relu`, a setting or the mode. A name that is taken gets `.2`, `.3`, …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...grammar import tree
from ...grammar.source import Span
from ..graph import Node
from ..layers import LAYERS
from ..schema.fillers import FILLERS

if TYPE_CHECKING:
    from .module import Function, Module


@dataclass(eq=False)
class LayerEntry:
    """A layer by its whole name, and the parameters it has. broken: it was wrong, so nothing is known about it."""

    name: str
    kind: str
    span: Span
    params: dict[str, Node] = field(default_factory=dict)
    broken: bool = False


@dataclass(eq=False)
class Scope:
    """A net, the use of a block, or one turn of a loop: what the names of the layers in it begin with.

    single: one call of its text has parameters. entries: what it holds, by raw name and how many had that name before:
    the same in every use of a block, which is how `share:` finds the other use's layers (`twin`).
    """

    name: str
    single: bool = False
    parent: Scope | None = None
    function: Function | None = None
    twin: Scope | None = None
    broken: bool = False
    entries: dict[tuple[str, int], LayerEntry | Scope] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def key(self, raw: str) -> tuple[str, int]:
        """The next key of a raw name."""
        self.counts[raw] = self.counts.get(raw, 0) + 1
        return raw, self.counts[raw]


def join(*parts: str) -> str:
    """Parts of a name with points between, empty ones left out."""
    return ".".join(part for part in parts if part)


def canonical(name: str) -> str:
    """A name as it is compared: `/` and `.` count as the same."""
    return name.replace("/", ".")


class Taken:
    """The names given so far in a net."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, name: str) -> str:
        """The name itself, or with the first of `.2`, `.3`, … that is free."""
        if not name:
            return name
        free, number = name, self._next.get(name, 1)
        while canonical(free) in self._names:
            number += 1
            free = f"{name}.{number}"
        self._next[name] = number
        self._names.add(canonical(free))
        return free


class Counts:
    """How many calls with parameters the texts of statements and bodies have; each counted once.

    position: what of the file is seen from there, as in `Frame`.
    """

    def __init__(self) -> None:
        # What is counted is kept beside its count, so that its id stays its own.
        self._found: dict[int, tuple[object, int]] = {}

    def body(self, body: Sequence[tree.AnyStatement], module: Module, position: int) -> int:
        """The calls with parameters of a body; of a choice the arm with the most."""
        found = self._found.get(id(body))
        if found is None:
            count = sum(self._statement(part, module, position) for part in body)
            found = self._found[id(body)] = body, count
        return found[1]

    def _statement(self, statement: tree.AnyStatement, module: Module, position: int) -> int:
        if isinstance(statement, tree.Bind | tree.Role):
            return self.expression(statement.value, module, position)
        if isinstance(statement, tree.Return):
            return sum(self.expression(value, module, position) for value in statement.values)
        if isinstance(statement, tree.For):
            return self.body(statement.body, module, position)
        if isinstance(statement, tree.If):
            arms = [*(arm.body for arm in statement.arms), statement.otherwise or ()]
            return max(self.body(body, module, position) for body in arms)
        return 0

    def expression(self, expr: tree.Expr, module: Module, position: int) -> int:
        """The calls with parameters in an expression."""
        found = self._found.get(id(expr))
        if found is None:
            count = 0
            waiting: list[tree.Node] = [expr]
            while waiting:
                part = waiting.pop()
                if isinstance(part, tree.Call):
                    count += self.has_parameters(part.callee.name, module, position)
                waiting += tree.children(part)
            found = self._found[id(expr)] = expr, count
        return found[1]

    def has_parameters(self, callee: str, module: Module, position: int) -> bool:
        """Whether a call of that name has parameters; blocks above a block are counted before it (see load.py)."""
        entry = module.functions.get(callee)
        if entry is None or entry.position >= position:
            # A setting's filler is a call by its form only: to look among packages for a layer of its name takes 12 ms.
            return callee not in FILLERS and callee in LAYERS and bool(LAYERS[callee].params)
        function = entry.value
        if isinstance(function.definition, tree.OpDef):
            return False
        return self.body(function.definition.body, function.module, function.position) > 0


def raw_name(
    callee: str, has_parameters: bool, label: str | None, *, scope: Scope, base: str | None, alone: bool
) -> str:
    """A call's name inside its scope, by the rule above; empty: the scope's own."""
    if label is not None:
        return label
    if has_parameters and scope.single and scope.name and ("", 1) not in scope.entries:
        return ""
    if has_parameters and alone and base is not None:
        return base
    return join(base or "", callee)
