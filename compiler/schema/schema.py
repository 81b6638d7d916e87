"""Arguments against a Python signature: how every call of a `.net` file is checked.

The schema of a layer, filler, solver, schedule or data source is its signature. `bind` gives each argument its
parameter, reads it as the annotation wants it (`kinds.py`: words, whole numbers, lists, fillers, tensors) and reports
what does not fit, with its place. A value that is already known to be wrong is passed over in silence.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from ...grammar import tree
from ...grammar.source import SourceError, Span, suggest
from ..graph import Node
from ..packages import Registry
from ..spec import ColumnTransform, Filler
from ..types import single
from . import synonyms as foreign
from .settings import ANY, UNKNOWN, FillerKind, Kind, Mismatch, describe, in_single, kind_of


class Knower(Protocol):
    """Whoever knows names."""

    def knows(self, name: str) -> bool:
        """Whether a value of that name is bound."""


class Reader(Knower, Protocol):
    """What `bind` asks of whoever evaluates expressions."""

    def evaluate(self, expr: tree.Expr) -> Any:
        """The value of an expression, `UNKNOWN` where it has none (and that has been reported)."""

    def calls(self, name: str) -> bool:
        """Whether something of that name can be called for a value."""

    def report(self, error: SourceError) -> None:
        """Adds a problem."""


@dataclass(frozen=True)
class Argument:
    """One argument: `expr` as written, or a `value` that is there already (what is piped)."""

    span: Span
    name: tree.Name | None = None
    expr: tree.Expr | None = None
    value: Any = None


@dataclass
class Bound:
    """What `bind` found: values by parameter, the tensors of `*xs`, places of arguments, and whether all is well."""

    values: dict[str, Any] = field(default_factory=dict)
    rest: list[Any] = field(default_factory=list)
    places: dict[str, Span] = field(default_factory=dict)
    ok: bool = True

    def settings(self, signature: inspect.Signature) -> tuple[tuple[str, Any], ...]:
        """All settings in the order of the signature, defaults filled in."""
        return tuple((name, self.values.get(name, p.default)) for name, p in signature.parameters.items())

    def call(self, signature: inspect.Signature) -> tuple[list[Any], dict[str, Any]]:
        """The values as arguments of the function itself."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += self.rest
            elif parameter.kind is parameter.KEYWORD_ONLY:
                if name in self.values:
                    named[name] = self.values[name]
            else:
                positional.append(self.values.get(name, parameter.default))
        return positional, named


@cache
def slots(signature: inspect.Signature) -> dict[str, tuple[inspect.Parameter, Kind]]:
    """The parameters of a signature with what each takes."""
    return {name: (p, kind_of(p.annotation)) for name, p in signature.parameters.items()}


def public(name: str) -> str:
    """A parameter's name as the language has it: Python's own words carry an underscore (`global_`)."""
    return name.rstrip("_")


def arguments_of(args: Iterable[tree.Arg]) -> list[Argument]:
    """A call's arguments as written."""
    return [Argument(arg.value.span, arg.name, arg.value) for arg in args]


def unknown_setting(title: str, name: tree.Name, takes: Sequence[str]) -> SourceError:
    """E201, with the name that was probably meant and the list of what is taken."""
    near = foreign.setting(name.name, takes)
    taken = f"{title} takes: {', '.join(takes)}" if takes else f"{title} takes no settings"
    return SourceError("E201", f"{title}: `{name.name}` is not a setting", name.span, foreign.then(near, taken))


class Binder:
    """The binding of one call."""

    def __init__(
        self,
        title: str,
        signature: inspect.Signature,
        reader: Reader,
        *,
        others: Sequence[str] = (),
        f32: bool = False,
    ) -> None:
        self.title = title
        self.f32 = f32
        self.table = slots(signature)
        self.by_name = {public(name): name for name in self.table}
        self.reader = reader
        self.others = others
        self.bound = Bound()
        self.reported = False

    @property
    def takes(self) -> list[str]:
        """The names that may stand before a colon."""
        named = [
            public(n) for n, (p, _) in self.table.items() if p.kind is not p.VAR_POSITIONAL and not _is_operand(p, n)
        ]
        optional = [n for n, (p, kind) in self.table.items() if _is_operand(p, n) and p.default is not p.empty]
        return [*named, *(name for name in self.others if name not in named), *optional]

    def fail(self, error: SourceError | None = None) -> None:
        self.bound.ok = False
        if error is not None:
            self.reported = True
            self.reader.report(error)

    def run(self, arguments: Sequence[Argument], span: Span, *, positional_settings: bool) -> Bound:
        waiting = [name for name, (p, _) in self.table.items()]
        if not positional_settings:
            waiting = [name for name in waiting if self.table[name][0].kind is not inspect.Parameter.KEYWORD_ONLY]
        named = {self.by_name[a.name.name] for a in arguments if a.name is not None and a.name.name in self.by_name}
        waiting = [name for name in waiting if name not in named]
        for argument in arguments:
            if argument.name is None:
                self._positional(argument, waiting)
        for argument in arguments:
            if argument.name is not None:
                self._named(argument.name, argument)
        if not self.reported:
            self._required(span)
        return self.bound

    def _positional(self, argument: Argument, waiting: list[str]) -> None:
        """Give a positional argument to the first parameter that may take it."""
        value: Any = argument.value
        evaluated = argument.expr is None
        while waiting:
            name = waiting[0]
            parameter, kind = self.table[name]
            if not evaluated and argument.expr is not None:
                early = read_word(kind, argument.expr, self.reader)
                if early is not None:
                    waiting.pop(0)
                    return self._store(name, argument, early[0])
                value, evaluated = self.reader.evaluate(argument.expr), True
            if value is UNKNOWN:
                self.bound.places[name] = argument.span
                if parameter.kind is parameter.VAR_POSITIONAL:
                    self.reported = True  # perhaps it was the first of the settings: nothing is missing for sure
                else:
                    waiting.pop(0)
                return self.fail()
            tensor = isinstance(value, Node)
            if parameter.kind is parameter.VAR_POSITIONAL:
                if tensor:
                    self.bound.rest.append(value)
                    return None
                if isinstance(value, str) and (text := self._text(waiting)) is not None:
                    waiting.remove(text)  # which may stand before the tensors: `host("module:name", x)`
                    return self._convert(text, argument, value)
                waiting.pop(0)
            elif kind.tensor and parameter.default is not parameter.empty and not _accepts(kind, value):
                waiting.pop(0)
            else:
                waiting.pop(0)
                return self._convert(name, argument, value)
        if not evaluated and argument.expr is not None:
            value = self.reader.evaluate(argument.expr)
        if value is UNKNOWN:
            return self.fail()
        message = f"{self.title}: {describe(value)} is one argument too many"
        hint = f"{self.title} takes {', '.join(map(public, self.table)) or 'nothing'}"
        return self.fail(SourceError("E205", message, argument.span, hint))

    def _text(self, waiting: Sequence[str]) -> str | None:
        """The text that a callee of any number of tensors must have, where it is not given yet."""
        required = (name for name in waiting if self.table[name][0].default is inspect.Parameter.empty)
        return next((name for name in required if _accepts(self.table[name][1], "")), None)

    def _named(self, name: tree.Name, argument: Argument) -> None:
        key = self.by_name.get(name.name)
        if key is None or self.table[key][0].kind is inspect.Parameter.VAR_POSITIONAL:
            return self.fail(unknown_setting(self.title, name, self.takes))
        if key in self.bound.places:
            message = f"{self.title}: `{name.name}` is given twice"
            return self.fail(SourceError("E206", message, name.span, "leave one of them out"))
        assert argument.expr is not None
        early = read_word(self.table[key][1], argument.expr, self.reader)
        if early is not None:
            return self._store(key, argument, early[0])
        value = self.reader.evaluate(argument.expr)
        if value is UNKNOWN:
            self.bound.places[key] = argument.span
            return self.fail()
        return self._convert(key, argument, value)

    def _convert(self, name: str, argument: Argument, value: Any) -> None:
        kind = self.table[name][1]
        try:
            found = kind.convert(value)
            if self.f32:
                _check_single(kind, found)
            self._store(name, argument, found)
        except Mismatch as mismatch:
            self.bound.places[name] = argument.span
            what = mismatch.text or f"not {describe(value)}"
            message = f"{self.title}: `{public(name)}` takes {kind.text}, {what}"
            self.fail(SourceError("E207", message, argument.span, mismatch.hint))

    def _store(self, name: str, argument: Argument, value: Any) -> None:
        self.bound.places[name] = argument.span
        if value is UNKNOWN:
            return self.fail()
        self.bound.values[name] = value
        return None

    def _settings(self) -> list[str]:
        return [name for name, (p, _) in self.table.items() if p.kind is p.KEYWORD_ONLY]

    def _required(self, span: Span) -> None:
        for name, (parameter, kind) in self.table.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                if not self.bound.rest and len(self.table) == 1 + len(self._settings()):
                    self.fail(SourceError("E204", f"{self.title}: a tensor is missing", span, "give one at least"))
            elif parameter.default is parameter.empty and name not in self.bound.places:
                hint = f"it takes {kind.text}"
                self.fail(SourceError("E204", f"{self.title}: `{public(name)}` is missing", span, hint))


def _accepts(kind: Kind, value: Any) -> bool:
    try:
        kind.convert(value)
    except Mismatch:
        return False
    return True


def _check_single(kind: Kind, value: Any) -> None:
    """Mismatch where f32 makes a number infinite or 0, or moves it out of the range that it was in."""
    items = value if isinstance(value, tuple) else (value,)
    for number in items:
        if isinstance(number, float) and number != 0:
            rounded = single(number)
            if rounded == 0 or math.isinf(rounded) or not (len(items) > 1 or _accepts(kind, rounded)):
                raise Mismatch(in_single(number))


def _is_operand(parameter: inspect.Parameter, name: str) -> bool:
    return parameter.kind is not parameter.KEYWORD_ONLY and kind_of(parameter.annotation).tensor


def bind(
    title: str,
    signature: inspect.Signature,
    arguments: Sequence[Argument],
    span: Span,
    reader: Reader,
    *,
    others: Sequence[str] = (),
    positional_settings: bool = True,
    f32: bool = False,
) -> Bound:
    """Arguments bound to the parameters of a signature.

    title: the callee's name in messages. span: the place of what is missing. others: settings that the caller has
    taken out already, for the list of what is taken. Without positional_settings, keyword-only parameters are named.
    f32: what the numbers are for is computed in that type.
    """
    binder = Binder(title, signature, reader, others=others, f32=f32)
    return binder.run(arguments, span, positional_settings=positional_settings)


def read_word(kind: Kind, expr: tree.Expr, reader: Reader) -> tuple[Any] | None:
    """What a setting reads off the text itself: bare words, fillers, and lists of words; None: evaluate it."""
    if isinstance(expr, tree.Name):
        if (word := kind.word(expr.name)) is not None:
            return word
        if (isinstance(kind, FillerKind) or kind.filler) and means_filler(expr.name, reader):
            return (read_filler(expr, reader),)
        if kind.words and expr.name != "none" and not reader.knows(expr.name):
            listed = ", ".join(kind.words)
            near = suggest(expr.name, kind.words)
            reader.report(
                SourceError(
                    "E207", f"`{expr.name}` is none of the words taken here", expr.span, f"{near} {listed}".strip()
                )
            )
            return (UNKNOWN,)
    if isinstance(expr, tree.Call) and kind.filler:
        from .fillers import FILLERS

        if expr.callee.name in FILLERS or not (kind.tensor and reader.calls(expr.callee.name)):
            return (read_filler(expr, reader),)
    if isinstance(expr, tree.Call) and kind.columns:
        return (read_column(expr, reader),)
    if isinstance(expr, tree.List) and (inner := kind.list_of_words) is not None:
        items = [read_word(inner, item, reader) or (reader.evaluate(item),) for item in expr.items]
        values = [value for (value,) in items]
        if any(value is UNKNOWN for value in values):
            return (UNKNOWN,)
        try:
            return (kind.convert(tuple(values)),)
        except Mismatch:
            return None
    return None


def read_column(expr: tree.Call, reader: Reader) -> Any:
    """`image(scale: 1/256)` as a ColumnTransform, `UNKNOWN` where it is wrong (and that has been reported)."""
    from .sources import COLUMN

    bound = bind(expr.callee.name, COLUMN, arguments_of(expr.args), expr.span, reader, positional_settings=False)
    return ColumnTransform(expr.callee.name, bound.settings(COLUMN)) if bound.ok else UNKNOWN


def means_filler(name: str, reader: Knower) -> bool:
    """Whether a bare name, where a filler may stand, is one or was meant to be."""
    from .fillers import FILLERS

    return name in FILLERS or (not reader.knows(name) and bool(foreign.use(name, FILLERS)))


def read_filler(expr: tree.Name | tree.Call, reader: Reader) -> Any:
    """`gaussian(std: 0.01)` or `xavier` as a Filler, `UNKNOWN` where it is wrong (and that has been reported)."""
    from .fillers import FILLERS

    found = read_use(expr, FILLERS, "filler", reader)
    return UNKNOWN if found is None else Filler(*found)


def read_use(
    expr: tree.Expr, table: Mapping[str, Any], what: str, reader: Reader
) -> tuple[str, tuple[tuple[str, Any], ...]] | None:
    """A name with settings out of a table of functions (fillers, solvers, schedules), bound; None where it is wrong."""
    callee = expr.callee if isinstance(expr, tree.Call) else expr
    if not isinstance(callee, tree.Name):
        hint = f"one of {', '.join(table)}"
        reader.report(SourceError("E207", f"a {what} is wanted here", expr.span, hint))
        return None
    if callee.name not in table:
        near = foreign.use(callee.name, table)
        near = table.credited(near) if isinstance(table, Registry) else near
        hint = foreign.then(near, f"{what}s: {', '.join(table)}")
        reader.report(SourceError("E203", f"`{callee.name}` is not a {what}", callee.span, hint))
        return None
    if isinstance(expr, tree.Call) and expr.label is not None:
        reader.report(SourceError("E217", f"a {what} has no name", expr.label.span, "leave the `as` out"))
    signature = signature_of(table[callee.name])
    arguments = arguments_of(expr.args) if isinstance(expr, tree.Call) else []
    bound = bind(callee.name, signature, arguments, callee.span, reader, f32=True)
    return (callee.name, bound.settings(signature)) if bound.ok else None


def signature_of(entry: Any) -> inspect.Signature:
    """The signature of an entry of a table: the function itself, or something that has one."""
    found = getattr(entry, "signature", None)
    if isinstance(found, inspect.Signature):
        return found
    function = getattr(entry, "function", entry)
    return _signature(function)


@cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function, eval_str=not hasattr(function, "__signature__"))


__all__ = ["ANY", "UNKNOWN", "Argument", "Bound", "Reader", "arguments_of", "bind", "read_filler", "read_use"]
