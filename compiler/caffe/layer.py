"""One layer of a prototxt while it is translated: its bottoms as operands, its fields as arguments, its statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ...grammar import tree
from ...grammar.caffe.message import Message, Scalar
from ...grammar.source import SourceError, Span
from . import writer

if TYPE_CHECKING:
    from .export.making import Call

Report = Callable[[SourceError], None]


MANY = 1_000_000
Counts: TypeAlias = tuple[int, int]  # the least and the most


@dataclass(frozen=True)
class Param:
    """A parameter of a layer of ours, in the order of Caffe's blobs.

    filler: the field of the layer's message with its first values. zero: without a filler Caffe's are 0, ours are not.
    first: what those of both are without a filler.
    """

    name: str
    filler: str
    zero: bool = False
    first: float = 0.0


@dataclass(frozen=True)
class Row:
    """A type of layer of Caffe's.

    callee: our layer. message: the field with its settings. settings: ours by Caffe's field; with `*` after ours it is
    the whole list, with `~` the value of an enumeration as a word. bottoms, tops: how many it takes. params: all it may
    have. form: writes its statements, where not a call with these settings is all. loss: its first top weighs 1 in the
    objective unless the net says otherwise. metric: it is a number to watch.
    """

    callee: str
    message: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    bottoms: Counts = (1, 1)
    tops: Counts = (1, 1)
    params: tuple[Param, ...] = ()
    form: Callable[[Layer], None] | None = None
    back: Callable[[Call], list[Message]] | None = None
    loss: bool = False
    metric: bool = False


@dataclass(frozen=True, eq=False)
class Owner:
    """A parameter that several layers have by its name: the first of them, with the multipliers that hold for all."""

    layer: str
    parameter: str
    lr: float
    decay: float


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of one phase of a net.

    training: of the phase, or of the layer's own `phase`. owners: parameters with names. report: takes its mistakes.
    sources: of what it brings beside values of its own.
    """

    message: Message
    row: Row
    training: bool
    owners: Mapping[str, Owner]
    report: Report
    statements: list[tree.AnyStatement] = field(default_factory=list)
    sources: list[tree.Call] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.message.get("type"))

    @property
    def name(self) -> str:
        return str(self.message.get("name"))

    @property
    def place(self) -> Span:
        """Where messages about the whole layer point: its type."""
        return self.message.place("type" if self.message.has("type") else "name")

    @property
    def bottoms(self) -> list[str]:
        return self.message.all("bottom")

    @property
    def tops(self) -> list[str]:
        return self.message.all("top")

    @property
    def targets(self) -> list[tree.Name]:
        """The names that its tops bind; a layer without a top binds a hidden one."""
        names = [writer.name(item.value, item.span) for item in self.message.items("top") if isinstance(item, Scalar)]
        return names or [writer.name(f"_{self.name or self.kind}", self.place)]

    @property
    def operands(self) -> list[tree.Expr]:
        """Its bottoms as values; through one that `propagate_down` excepts no gradient flows."""
        down = self.message.all("propagate_down")
        found: list[tree.Expr] = []
        for i, item in enumerate(self.message.items("bottom")):
            assert isinstance(item, Scalar)
            value: tree.Expr = writer.name(item.value, item.span)
            if i < len(down) and not down[i]:
                value = writer.call("detach", [writer.arg("", value, item.span)], item.span)
            found.append(value)
        return found

    @property
    def given(self) -> Message:
        """The message with the settings of its type."""
        return self.message.sub(self.row.message) if self.row.message else Message("", self.place)

    def settings(self) -> list[tree.Arg]:
        """The arguments that the row names, where their fields are given."""
        given, args = self.given, []
        for caffe, ours in self.row.settings.items():
            if not given.has(caffe):
                continue
            value: Any = given.all(caffe) if ours.endswith("*") else given.get(caffe)
            args.append(self.arg(ours.rstrip("*~"), given, caffe, value.lower() if ours.endswith("~") else value))
        return args

    def fail(self, code: str, message: str, place: Span | None = None, hint: str = "") -> None:
        self.report(SourceError(code, f"{self.kind}: {message}", place or self.place, hint))

    def call(self, callee: str, args: Sequence[tree.Arg], label: str | None = None) -> tree.Call:
        """A call of our layer under the layer's name."""
        return writer.call(callee, args, self.place, self.name if label is None else label)

    def bind(self, value: tree.Expr, targets: Sequence[tree.Name] | None = None) -> None:
        self.statements.append(writer.bind(self.targets if targets is None else targets, value, self.message.span))

    def positional(self, values: Sequence[tree.Expr]) -> list[tree.Arg]:
        return [writer.arg("", value, value.span) for value in values]

    def arg(self, ours: str, message: Message, caffe: str, value: Any = None) -> tree.Arg:
        """`ours: …` in the place of a field, with its value unless another is given."""
        return writer.arg(ours, message.get(caffe) if value is None else value, message.place(caffe))
