"""Pretty printing of protobuf texts: one field a line, two blanks a level; comments, and the spelling of values, stay.

A message that stands on one line in the text stays on one where that fits. It is read back to the same tokens, but for
the marks that protobuf does not need: `:` before a message, `;` and `,` after a field, `<` for `{`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..source import Source
from .lexing import Token, tokens

WIDTH = 100
INDENT = "  "


@dataclass
class _Field:
    """A field: what stands above it, its name and value, or the fields of its message, and what stands beside it.

    above, below: comments, and an empty text for a blank line between. flat: the message stood on one line.
    """

    name: str
    above: list[str] = field(default_factory=list)
    value: str = ""
    inner: list[_Field] | None = None
    beside: str = ""
    below: list[str] = field(default_factory=list)
    flat: bool = False


def format_prototxt(source: Source) -> str:
    """A text of protobuf's in its form. It must have been read without a mistake before."""
    reader = _Reader(source, tokens(source))
    fields, rest = reader.fields()
    lines = [line for one in fields for line in _lines(one, 0, one is fields[0])]
    lines += _comments(_trimmed(_trimmed(rest, top=not fields), top=False), 0)
    return "\n".join([*lines, ""]) if lines else ""


class _Reader:
    """The tokens in turn; between them stand comments."""

    def __init__(self, source: Source, found: list[Token]) -> None:
        self.text, self.tokens, self.at = source.text, found, 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def between(self) -> tuple[str, list[str]]:
        """What stands before the token: a comment on the line of the one before, and lines of comments and blanks."""
        start = self.tokens[self.at - 1].end if self.at else 0
        first, *rest = self.text[start : self.token.start].split("\n")
        if not self.at:
            first, rest = "", [first, *rest]
        lines = [line.strip() for line in rest]
        lines = lines[:-1] if lines and not lines[-1] else lines  # what stands before the token on its own line
        return first.strip(), [line for i, line in enumerate(lines) if line or not i or lines[i - 1]]

    def fields(self) -> tuple[list[_Field], list[str]]:
        """The fields up to what closes them, and the comments before that."""
        found: list[_Field] = []
        while True:
            beside, above = self.between()
            if beside and found:
                found[-1].beside = f"{found[-1].beside} {beside}".strip()
            elif beside:
                above.insert(0, beside)
            if self.token.kind == "end" or self.token.text in ("}", ">"):
                return found, above
            if self.token.text in (";", ",") and found:
                found[-1].below += above
                self.at += 1
                continue
            found.append(self.field(above))

    def field(self, above: list[str]) -> _Field:
        made = _Field(self.token.text, above)
        self.at += 1
        if self.token.text == ":":
            self.skip(made)
        if self.token.text in ("{", "<"):
            opened = self.token.start
            self.at += 1
            made.inner, made.below = self.fields()
            made.flat = "\n" not in self.text[opened : self.token.start]
            self.at += 1
        elif self.token.text == "[":
            self.list(made)
        else:
            made.value = self.scalar(made)
        return made

    def skip(self, made: _Field) -> None:
        """Past a token that the form writes itself; comments after it go above the field."""
        self.at += 1
        self.keep(made)

    def keep(self, made: _Field) -> None:
        beside, above = self.between()
        made.above += [line for line in (beside, *above) if line]

    def scalar(self, made: _Field) -> str:
        self.keep(made)
        parts = [self.token.text]
        self.at += 1
        if parts == ["-"]:
            self.keep(made)
            parts = [f"-{self.token.text}"]
            self.at += 1
        while self.token.kind == "string" and self.tokens[self.at - 1].kind == "string":
            self.keep(made)
            parts.append(self.token.text)
            self.at += 1
        return " ".join(parts)

    def list(self, made: _Field) -> None:
        """`[1, 2]` stays a list of values; messages in a list become a field each."""
        values: list[str] = []
        self.skip(made)
        while self.token.text != "]":
            if self.token.text == ",":
                self.skip(made)
            elif self.token.text in ("{", "<"):
                self.at += 1
                inner, rest = self.fields()
                made.above += [*_all_comments(inner), *rest]
                values.append(_flat(inner))
                self.at += 1
            else:
                values.append(self.scalar(made))
        self.at += 1
        made.value = f"[{', '.join(values)}]"


def _flat(inner: list[_Field]) -> str:
    """A message on one line."""
    return "{ " + " ".join(_one(one) for one in inner) + " }" if inner else "{ }"


def _one(one: _Field) -> str:
    return f"{one.name} {_flat(one.inner)}" if one.inner is not None else f"{one.name}: {one.value}"


def _commented(one: _Field) -> bool:
    return any((*one.above, one.beside, *one.below)) or any(map(_commented, one.inner or ()))


def _all_comments(fields: list[_Field]) -> list[str]:
    """The comments of fields that are written on one line, in their order."""
    found: list[str] = []
    for one in fields:
        found += [*one.above, one.beside, *_all_comments(one.inner or []), *one.below]
    return [line for line in found if line]


def _comments(found: list[str], level: int) -> list[str]:
    return [INDENT * level + line if line else "" for line in found]


def _trimmed(found: list[str], *, top: bool) -> list[str]:
    """Comments without blank lines at an end."""
    while found and not found[0 if top else -1]:
        found = found[1:] if top else found[:-1]
    return found


def _lines(one: _Field, level: int, first: bool) -> list[str]:
    lead = INDENT * level
    lines = _comments(_trimmed(one.above, top=True) if first else one.above, level)
    beside = f"  {one.beside}" if one.beside else ""
    inside = one.inner or []
    if one.inner is None:
        return [*lines, f"{lead}{_one(one)}{beside}", *_comments(one.below, level)]
    below = _trimmed(_trimmed(one.below, top=not inside), top=False)
    if (one.flat or not inside) and not below and not any(map(_commented, inside)):
        flat = f"{lead}{_one(one)}{beside}"
        if len(flat) <= WIDTH:
            return [*lines, flat]
    lines.append(f"{lead}{one.name} {{")
    lines += [line for part in inside for line in _lines(part, level + 1, part is inside[0])]
    lines += _comments(below, level + 1)
    return [*lines, f"{lead}}}{beside}"]
