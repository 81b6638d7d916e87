"""Message descriptors: what fields a message of Caffe has, of which type, with which default, under which number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from .fields import ENUMS, MESSAGES

WHOLE = {  # the smallest and the largest number of each whole type
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
REAL = ("float", "double")
SCALARS = (*WHOLE, *REAL, "bool", "string", "bytes")

_ROW = re.compile(r"(\w+) (\d+) ([\w.]+)(\*{0,2}|!)(?: = (.*))?")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    type: one of `SCALARS`, or the whole name of a message or an enumeration. default: its value where a text leaves it
    out; an enumeration's is its name, a message's None.
    """

    name: str
    number: int
    type: str
    repeated: bool
    packed: bool
    required: bool
    default: Any

    @property
    def is_message(self) -> bool:
        return self.type in MESSAGES

    @property
    def is_enum(self) -> bool:
        return self.type in ENUMS


@cache
def fields_of(message: str) -> Mapping[str, Field]:
    """The fields of a message by name, in the order of caffe.proto; KeyError for a message that there is not."""
    found: dict[str, Field] = {}
    for row in MESSAGES[message].split("; "):
        parts = _ROW.fullmatch(row)
        assert parts is not None, row
        name, number, type_, mark, default = parts.groups()
        type_ = type_ if type_ in SCALARS else _whole_name(message, type_)
        found[name] = Field(
            name, int(number), type_, mark.startswith("*"), mark == "**", mark == "!", _default(type_, default)
        )
    return found


@cache
def values_of(enum: str) -> Mapping[str, int]:
    """The numbers of an enumeration by the names of its values."""
    pairs = (row.split(" ") for row in ENUMS[enum].split("; "))
    return {name: int(number) for name, number in pairs}


def _whole_name(message: str, type_: str) -> str:
    """The name of a type as seen from a message: its own enumerations come first."""
    inner = f"{message}.{type_}"
    return inner if inner in ENUMS else type_


def _default(type_: str, text: str | None) -> Any:
    if type_ in MESSAGES:
        return None
    if type_ in ENUMS:
        return text if text is not None else next(iter(values_of(type_)))
    if type_ == "bool":
        return text == "true"
    if type_ in WHOLE:
        return int(text or 0)
    return float(text or 0.0) if type_ in REAL else text or ""
