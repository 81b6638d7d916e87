"""Where an expression stands while it is evaluated: the names it sees, the net it builds, the layer names around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ...grammar import tree
from ...grammar.source import SourceError, Span, suggest
from ..layers import LAYERS
from ..schema import foreign_layers as foreign
from ..schema.settings import UNKNOWN
from .module import EVERYTHING, Function, Module
from .names import Scope
from .problems import Problems

if TYPE_CHECKING:
    from .state import NetState

MAX_FRAMES_SHOWN = 4


@dataclass(frozen=True)
class Binding:
    """A value under a name, and where it was bound."""

    value: Any
    span: Span


@dataclass(frozen=True)
class Use:
    """A block or an op that is being expanded, and where it is used."""

    function: Function
    span: Span


@dataclass
class Frame:
    """The names and surroundings of the statement that is being run.

    position: how much of the file is seen. base: the name that the statement binds. alone: one call of it
    has parameters. layer: inside an op, the one layer that all its nodes belong to. condition: in the condition
    of an `if`, where `train` is the mode.
    """

    problems: Problems
    module: Module
    kind: Literal["file", "net", "block", "op"]
    position: int = EVERYTHING
    net: NetState | None = None
    scope: Scope | None = None
    env: dict[str, Binding] = field(default_factory=dict)
    uses: tuple[Use, ...] = ()
    base: str | None = None
    alone: bool = False
    directives: frozenset[str] = frozenset()
    layer: str | None = None
    condition: bool = False
    body: tuple[tree.AnyStatement, ...] = ()

    def with_(self, **changes: Any) -> Frame:
        """The same frame but for some fields; the names are shared."""
        return replace(self, **changes)

    def report(self, error: SourceError) -> None:
        """Adds a problem, with the uses of blocks that led to its place."""
        if self.uses:
            shown = [f"in {use.function.kind} `{use.function.name}`, used at {use.span}" for use in reversed(self.uses)]
            if len(shown) > MAX_FRAMES_SHOWN:
                shown[MAX_FRAMES_SHOWN:] = [f"and {len(shown) - MAX_FRAMES_SHOWN} uses around it"]
            error = SourceError(
                error.code, error.message, error.span, error.hint, (*error.notes, *shown), error.severity
            )
        self.problems.add(error)

    def function(self, name: str) -> Function | None:
        """The block or op of that name which is seen from here."""
        entry = self.module.functions.get(name)
        return entry.value if entry is not None and entry.position < self.position else None

    def value(self, name: str) -> Any:
        """The value of a name, `KeyError` where there is none."""
        if (binding := self.env.get(name)) is not None:
            if self.net is not None:
                self.net.usage.use(binding.span)
            return binding.value
        entry = self.module.consts.get(name)
        if entry is not None and entry.position < self.position:
            return entry.value
        if self.net is not None and (size := self.net.symbol(name)) is not None:
            return size
        if self.condition and name == "train" and self.net is not None:
            self.net.usage.mode_matters = True
            return self.net.training
        raise KeyError(name)

    def knows(self, name: str) -> bool:
        """Whether a value of that name is seen from here."""
        entry = self.module.consts.get(name)
        return name in self.env or (entry is not None and entry.position < self.position)

    def values(self) -> list[str]:
        """The names of all values seen from here."""
        above = [name for name, entry in self.module.consts.items() if entry.position < self.position]
        return [*self.env, *above]

    def callables(self) -> list[str]:
        """The names of all that can be called from here."""
        own = [name for name, entry in self.module.functions.items() if entry.position < self.position]
        return [*own, *LAYERS]

    def bind(self, name: tree.Name, value: Any, *, counts: bool = True) -> None:
        """Binds a name; one that counts is warned about when nobody uses it."""
        self.env[name.name] = Binding(value, name.span)
        if counts and self.net is not None:
            self.net.usage.bind(name)

    def unbind_all(self, names: Iterable[tree.Name]) -> None:
        """Makes names unknown: what would have bound them is wrong."""
        for name in names:
            self.env[name.name] = Binding(UNKNOWN, name.span)

    def unknown_value(self, name: tree.Name, words: bool = False) -> None:
        """Reports a name without a value; `words`: it was perhaps meant as a word."""
        # In a loop or a block the same name is met many times, and the search for a near one is costly.
        if self.module.incomplete or self.problems.told(name.span, "E202", "E216"):
            return None
        word, hint = name.name, suggest(name.name, self.values())
        later = self.module.consts.get(word)
        if word in self.module.functions or word in LAYERS:
            message = f"`{word}` is called, it is no value"
            hint = hint or f"write `{word}(…)`, or `|> {word}`"
            return self.report(SourceError("E216", message, name.span, hint))
        if later is not None:
            hint = f"it is defined below, at {later.span}"
        elif word in assigned(self.body):
            hint = f"it is bound at {assigned(self.body)[word].span}, which comes later or is not reached"
        if words and not hint:
            hint = f'blocks and ops take texts for words: "{word}"'
        self.report(SourceError("E202", f"`{word}` has no value here", name.span, hint))
        return None

    def unknown_function(self, callee: tree.Name) -> None:
        """Reports a callee that is nothing to call."""
        if self.problems.told(callee.span, "E203", "E210", "E216"):
            return None
        word = callee.name
        below = self.module.functions.get(word)
        if below is not None:
            itself = below.position == self.position
            message = f"{below.value.kind} `{word}` {'uses itself' if itself else 'is defined below'}"
            hint = "ops and blocks use what is defined above them, never themselves"
            return self.report(SourceError("E210", message, callee.span, hint))
        if self.module.incomplete:
            return None
        if word in self.module.nets:
            hint = "a net cannot be called; make the shared part a block"
            return self.report(SourceError("E216", f"`{word}` is a net", callee.span, hint))
        if self.knows(word):
            hint = f"there is no layer, op or block `{word}`; {suggest(word, self.callables())}".rstrip("; ")
            return self.report(SourceError("E216", f"`{word}` is a value and cannot be called", callee.span, hint))
        caffe = {name: LAYERS.own[name].caffe if name in LAYERS.own else () for name in LAYERS}
        hint = LAYERS.credited(foreign.call(word, caffe, self.callables()))
        self.report(SourceError("E203", f"there is no layer, op or block `{word}`", callee.span, hint))
        return None


def ends_with_return(frame: Frame, block: tree.BlockDef) -> bool:
    """Whether the last statement of a block is `return`; reports E212."""
    if block.body and isinstance(block.body[-1], tree.Return):
        return True
    early = next((statement for statement in block.body if isinstance(statement, tree.Return)), None)
    if early is not None:
        message, place, hint = "`return` cannot stand here", early.span, "it is the last statement of a block"
    else:
        message, place = f"block `{block.name.name}` returns nothing", block.name.span
        hint = "its last statement is `return` and what it gives"
    frame.report(SourceError("E212", message, place, hint))
    return False


def assigned(body: tuple[tree.AnyStatement, ...]) -> dict[str, tree.Name]:
    """The names that a body binds anywhere, loops and choices included."""
    found: dict[str, tree.Name] = {}
    for statement in body:
        if isinstance(statement, tree.Bind):
            names: Iterable[tree.Name] = statement.targets
        elif isinstance(statement, tree.Input | tree.Param | tree.Role):
            names = (statement.name,)
        elif isinstance(statement, tree.For):
            names = assigned(statement.body).values()
        elif isinstance(statement, tree.If):
            bodies = [arm.body for arm in statement.arms] + [statement.otherwise or ()]
            names = [name for part in bodies for name in assigned(part).values()]
        else:
            names = ()
        for name in names:
            found.setdefault(name.name, name)
    return found
