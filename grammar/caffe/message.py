"""Protobuf messages with places: what a text gave, field by field, each with the offsets at which it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..source import Source, Span
from .schema import fields_of


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value of a field that is no message; an enumeration's value is its name."""

    value: Any
    span: Span


@dataclass(slots=True, eq=False)
class Message:
    """A message of a type; `span` reaches from its field's name to its closing bracket.

    fields: what was given, in the order of the text. A field that was not given has its default.
    """

    type: str
    span: Span
    fields: dict[str, list[Item]] = field(default_factory=dict)

    @property
    def source(self) -> Source:
        return self.span.source

    def has(self, name: str) -> bool:
        """Whether a field is given."""
        return name in self.fields

    def items(self, name: str) -> list[Item]:
        """What was given for a field, with places."""
        return self.fields.get(name, [])

    def get(self, name: str) -> Any:
        """The value of a field that is not repeated: what is given, else its default."""
        given = self.fields.get(name)
        if not given:
            return fields_of(self.type)[name].default
        last = given[-1]
        return last.value if isinstance(last, Scalar) else last

    def all(self, name: str) -> list[Any]:
        """The values of a repeated field."""
        return [item.value if isinstance(item, Scalar) else item for item in self.fields.get(name, ())]

    def messages(self, name: str) -> list[Message]:
        """The messages of a repeated field."""
        return [item for item in self.fields.get(name, ()) if isinstance(item, Message)]

    def sub(self, name: str) -> Message:
        """The message of a field; where it is not given, an empty one in this one's place."""
        given = self.fields.get(name)
        if given and isinstance(given[-1], Message):
            return given[-1]
        return Message(fields_of(self.type)[name].type, self.span)

    def place(self, name: str) -> Span:
        """Where a field is given, else the place of the message."""
        given = self.fields.get(name)
        return given[-1].span if given else self.span

    def add(self, name: str, item: Item) -> None:
        """One more value of a field."""
        self.fields.setdefault(name, []).append(item)

    def without(self, names: Iterable[str]) -> Message:
        """The same message without some of its fields."""
        gone = set(names)
        return Message(self.type, self.span, {key: value for key, value in self.fields.items() if key not in gone})


Item: TypeAlias = Scalar | Message
