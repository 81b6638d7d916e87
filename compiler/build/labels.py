"""Templates: names of layers, and texts given to blocks, in which constants stand for a part.

`{…}` in the text after `as`, of `share:`, and in a text that a block of the file is given, is a constant expression, a
text or a whole number. Braces around anything else, such as the settings of a host layer, are left as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, TypeVar

from ...grammar import tree
from ...grammar.parse import parse
from ...grammar.source import Source, SourceError, SourceErrors, Span
from ..graph import Node
from ..schema.settings import UNKNOWN, describe
from . import constants, expressions
from .frame import Frame
from .limits import MAX_TEXT, limit

MAX_LABEL = 200
# What can be a constant expression: names, numbers and arithmetic. `{'size': 3}` is none.
HOLE = re.compile(r"\{([\w\s+\-*/.()]*\w[\w\s+\-*/.()]*)\}", re.ASCII)
HEAD = "const hole = "

Item = TypeVar("Item", bound=tree.Node)


def filled(frame: Frame, text: tree.String) -> str | None:
    """A text with the values of its constants in their places; None (reported) where one has none."""
    parts, at, size = [], 0, 0
    for found in HOLE.finditer(text.value):
        value = _value(frame, text, found)
        if value is None:
            return None
        parts += [text.value[at : found.start()], value]
        at = found.end()
        size += len(value)
        if size > MAX_TEXT:
            frame.report(limit("E515", f"a text may have {MAX_TEXT:,} characters", text.span))
            return None
    return "".join([*parts, text.value[at:]])


def label_of(frame: Frame, node: tree.Call) -> tuple[str, bool] | None:
    """The name after `as`, checked, without the `/` in front that makes it absolute, and whether it is that."""
    if node.label is None:
        return None
    if isinstance(node.label, tree.Name):
        return node.label.name, False
    if frame.module.foreign:
        return node.label.value, False
    text = filled(frame, node.label)
    if text is None:
        return None
    bare = text.removeprefix("/")
    if not bare.isprintable() or bare != bare.strip("./ ") or not 0 < len(bare) <= MAX_LABEL or " " in bare:
        message = f'"{text[:40]}" cannot be the name of a layer'
        hint = "letters, digits and marks, without blanks; only a `/` may stand in front, and no `.` or `/` at the end"
        frame.report(SourceError("E217", message, node.label.span, hint))
        return None
    return bare, bare != text


def key_of(label: tree.Name | tree.String) -> str:
    """A label as it is written, by which the uses of a block know their layers from each other."""
    return label.name if isinstance(label, tree.Name) else label.value


def _value(frame: Frame, text: tree.String, found: re.Match[str]) -> str | None:
    """What stands for a hole."""
    expr = _parsed(found[1])
    if expr is None:
        message, hint = f"`{found[0]}` is no constant expression", "such as {name} or {i + 1}"
        frame.report(SourceError("E217", message, text.span, hint))
        return None
    whole = text.span.text == f'"{text.value}"'  # else it was read from another language
    first = text.span.start + 1 + found.start(1) - len(HEAD)
    place = (
        (lambda span: Span(text.span.source, span.start + first, span.end + first)) if whole else lambda _: text.span
    )
    value: Any = expressions.evaluate(frame, _moved(expr, place))
    if value is UNKNOWN:
        return None
    if isinstance(value, str):
        return value
    if constants.is_number(value) and float(value).is_integer():
        return str(int(value))
    what = "a tensor" if isinstance(value, Node) else describe(value)
    message = f"a part of a name is a text or a whole number, and `{found[1].strip()}` is {what}"
    frame.report(SourceError("E217", message, text.span))
    return None


@lru_cache(512)
def _parsed(text: str) -> tree.Expr | None:
    """A constant expression, its places counted from `HEAD`."""
    try:
        file = parse(Source("", f"{HEAD}{text}\n"))
    except SourceErrors:
        return None
    alone = len(file.definitions) == 1 and isinstance(file.definitions[0], tree.Const)
    return file.definitions[0].value if alone else None  # type: ignore[union-attr]


def _moved(item: Item, place: Callable[[Span], Span]) -> Item:
    """A tree in another place."""
    changes: dict[str, Any] = {}
    for field in fields(item):
        value = getattr(item, field.name)
        if isinstance(value, Span):
            changes[field.name] = place(value)
        elif isinstance(value, tree.Node):
            changes[field.name] = _moved(value, place)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(_moved(one, place) if isinstance(one, tree.Node) else one for one in value)
    return replace(item, **changes)
