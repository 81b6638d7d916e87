"""Pretty printing of protobuf messages: a message as the text that would be read to it.

A field a line; a message that holds nothing but values, or one such message, stands on one line where that fits.
"""

from __future__ import annotations

from typing import Any

from .format import INDENT
from .message import Item, Message
from .schema import Field, fields_of

WIDTH = 100
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text_of(message: Message) -> str:
    """The text of a message; its layers, and whatever is long, over several lines."""
    return "".join(f"{line}\n" for line in _lines(message, 0))


def _lines(message: Message, depth: int) -> list[str]:
    table, lines, lead = fields_of(message.type), list[str](), INDENT * depth
    for name, items in message.fields.items():
        for item in items:
            flat = _flat(name, item, table[name])
            fits = len(lead) + len(flat) <= WIDTH and not (name == "layer" and depth == 0)
            if not isinstance(item, Message) or (fits and _is_short(item)):
                lines.append(lead + flat)
            else:
                lines += [f"{lead}{name} {{", *_lines(item, depth + 1), f"{lead}}}"]
    return lines


def _is_short(message: Message) -> bool:
    """Whether a message reads well on one line: it is no deeper than `shape { dim: 1 }` in another."""
    inner = [item for items in message.fields.values() for item in items if isinstance(item, Message)]
    return all(not any(isinstance(x, Message) for found in one.fields.values() for x in found) for one in inner)


def _flat(name: str, item: Item, field: Field) -> str:
    if not isinstance(item, Message):
        return f"{name}: {_value(item.value, field)}"
    table = fields_of(item.type)
    parts = [_flat(key, one, table[key]) for key, items in item.fields.items() for one in items]
    return " ".join([f"{name} {{", *parts, "}"])


def _value(value: Any, field: Field) -> str:
    if field.type in ("string", "bytes"):
        return f'"{"".join(ESCAPES.get(c) or (c if c.isprintable() else _escaped(c)) for c in str(value))}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _escaped(character: str) -> str:
    """What is not printed, by its bytes in octal digits."""
    return "".join(f"\\{byte:03o}" for byte in character.encode())
