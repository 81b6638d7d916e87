"""Recursive descent over protobuf's text format, checked against the schema: a text to a message with places.

It accepts what Google's parser of the official schema accepts: comments, both quotes, adjacent strings, escapes, `:`
or none before a message, `{ }` or `< >`, `;` and `,` after a field, lists in brackets, enumerations by name or number.
A field that Caffe does not have, or a value that a field does not take, is reported and passed over, so that a text's
mistakes come all at once; what breaks the structure ends the reading.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NoReturn

from ..source import Source, SourceError, SourceErrors, Span, suggest
from .lexing import Token, tokens, unquoted
from .message import Item, Message, Scalar
from .schema import REAL, WHOLE, Field, fields_of, values_of

MAX_DEPTH = 100  # messages inside each other; Caffe's own go 6 deep, only unknown ones deeper
MAX_ERRORS = 100
TRUE, FALSE = ("true", "True", "t", "1"), ("false", "False", "f", "0")
CLOSES = {"{": "}", "<": ">"}


def read(source: Source, type_: str, *, lenient: bool = False) -> tuple[Message, list[SourceError]]:
    """A whole text as a message of a type, and warnings.

    lenient: fields and enumerations' values that Caffe does not have are passed over with a warning. Raises
    SourceErrors.
    """
    reader = Reader(source, lenient=lenient)
    try:
        message = reader.whole(type_)
    except SourceError as error:
        raise SourceErrors([*reader.errors, error]) from None
    if reader.errors:
        raise SourceErrors(reader.errors)
    return message, reader.warnings


def top_fields(source: Source) -> list[str]:
    """The names of the fields outside of all brackets, in order, as far as a text can be read."""
    found: list[str] = []
    try:
        given = tokens(source)
    except SourceError:
        return found
    depth = 0
    for token, after in pairwise(given):
        if token.kind == "mark" and token.text in "{<[":
            depth += 1
        elif token.kind == "mark" and token.text in "}>]":
            depth -= 1
        elif token.kind == "word" and depth == 0 and after.text in (":", "{", "<"):
            found.append(token.text)
    return found


class Reader:
    """The reading of one text."""

    def __init__(self, source: Source, *, lenient: bool) -> None:
        self.source, self.lenient = source, lenient
        self.errors: list[SourceError] = []
        self.warnings: list[SourceError] = []
        self.tokens: list[Token] = []
        self.at = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def whole(self, type_: str) -> Message:
        self.tokens = tokens(self.source)
        message = Message(type_, self.source.span(0, len(self.source.text)))
        self._fields(message, None, 1)
        return message

    def stop(self, message: str, token: Token, hint: str = "") -> NoReturn:
        raise SourceError("E701", message, token.span(self.source), hint)

    def report(self, code: str, message: str, span: Span, hint: str = "", *, tolerated: bool = False) -> None:
        if tolerated and self.lenient:
            if len(self.warnings) < MAX_ERRORS:
                self.warnings.append(SourceError("W604", message, span, hint))
            return
        self.errors.append(SourceError(code, message, span, hint))
        if len(self.errors) >= MAX_ERRORS:
            raise SourceErrors(self.errors)

    def _fields(self, message: Message, opened: Token | None, depth: int) -> None:
        """Fields up to what closes the message (`opened` is its bracket), or to the end of the text."""
        close = CLOSES[opened.text] if opened is not None else ""
        table = fields_of(message.type) if message.type else {}
        while True:
            token = self.token
            if token.text == close and token.kind in ("mark", "end"):
                self.at += 1
                return
            if token.kind != "word":
                self._no_field(token, opened)
            self.at += 1
            self._field(message, table.get(token.text), token, depth)
            if self.token.text in (";", ",") and self.token.kind == "mark":
                self.at += 1

    def _no_field(self, token: Token, opened: Token | None) -> NoReturn:
        if token.kind == "end":
            assert opened is not None
            line = self.source.place(opened.start)[0]
            self.stop(f"`{CLOSES[opened.text]}` is missing", token, f"the `{opened.text}` of line {line} is open")
        if token.kind == "mark" and token.text in ("}", ">", "]") and opened is None:
            self.stop(f"this `{token.text}` closes nothing", token)
        self.stop(f"the name of a field is wanted here, not `{token.text[:40]}`", token)

    def _field(self, message: Message, field: Field | None, name: Token, depth: int) -> None:
        if field is None:
            self._unknown(message, name)
        colon = self.token.text == ":" and self.token.kind == "mark"
        self.at += colon
        if self.token.text == "[" and self.token.kind == "mark":
            return self._list(message, field, name, depth, colon)
        item = self._value(field, name, depth, colon)
        if item is not None and field is not None:
            if not field.repeated and message.has(field.name):
                first = message.place(field.name)
                hint = f"the first is in line {first.line}"
                self.report("E704", f"`{field.name}` is given twice", name.span(self.source), hint)
            message.add(field.name, item)
        return None

    def _unknown(self, message: Message, name: Token) -> None:
        if not message.type:  # inside of a field that is unknown itself
            return
        known = fields_of(message.type)
        hint = suggest(name.text, known) or "Caffe's own schema does not have it; --lenient passes over such fields"
        shown = f"{_titled(message.type)} has no field `{name.text}`"
        self.report("E702", shown, name.span(self.source), hint, tolerated=True)

    def _list(self, message: Message, field: Field | None, name: Token, depth: int, colon: bool) -> None:
        """`[1, 2]`: several values of a repeated field."""
        if field is not None and not field.repeated:
            self.report("E703", f"`{field.name}` is one value, not a list", self.token.span(self.source))
        self.at += 1
        first = True
        while not (self.token.text == "]" and self.token.kind == "mark"):
            if not first:
                if self.token.text != "," or self.token.kind != "mark":
                    self.stop("`,` or `]` is wanted in this list", self.token)
                self.at += 1
            first = False
            item = self._value(field, name, depth, colon)
            if item is not None and field is not None:
                message.add(field.name, item)
        self.at += 1

    def _value(self, field: Field | None, name: Token, depth: int, colon: bool) -> Item | None:
        """One value; None (reported) where it does not fit."""
        token = self.token
        if token.kind == "mark" and token.text in CLOSES:
            if field is not None and not field.is_message:
                self.stop(f"`{field.name}` is {_kind(field)}, not a message", token)
            return self._message(field, name, token, depth)
        if field is not None and field.is_message:
            self.stop(f"`{field.name}` is a message: `{{` is wanted", token)
        if not colon:
            self.stop(f"`:` is wanted after `{name.text}`", token)
        if token.kind == "string":
            return self._string(field)
        minus = token.kind == "mark" and token.text == "-"
        start = token.start
        if minus:
            self.at += 1
            token = self.token
        if token.kind not in ("word", "number"):
            self.stop(f"`{name.text}` wants a value", token)
        self.at += 1
        span = self.source.span(start, token.end)
        return self._scalar(field, token, minus, span) if field is not None else Scalar(None, span)

    def _message(self, field: Field | None, name: Token, opened: Token, depth: int) -> Message:
        if depth >= MAX_DEPTH:
            raise SourceError("E501", f"messages are nested more than {MAX_DEPTH} deep", opened.span(self.source))
        self.at += 1
        message = Message(field.type if field is not None else "", name.span(self.source))
        self._fields(message, opened, depth + 1)
        message.span = self.source.span(name.start, self.tokens[self.at - 1].end)
        if field is not None:
            for needed in fields_of(field.type).values():
                if needed.required and not message.has(needed.name):
                    self.report("E704", f"{_titled(field.type)}: `{needed.name}` is missing", name.span(self.source))
        return message

    def _string(self, field: Field | None) -> Scalar | None:
        """A string, or several beside each other that are one."""
        first = last = self.token
        parts: list[bytes] = []
        while self.token.kind == "string":
            last = self.token
            parts.append(unquoted(last, self.source))
            self.at += 1
        span = self.source.span(first.start, last.end)
        if field is None:
            return Scalar(None, span)
        if field.type not in ("string", "bytes"):
            self.report("E703", f"`{field.name}` is {_kind(field)}, not a text", span)
            return None
        data = b"".join(parts)
        if field.type == "bytes":
            return Scalar(data, span)
        try:
            return Scalar(data.decode(), span)
        except UnicodeDecodeError:
            self.report("E703", f"`{field.name}` is no UTF-8 text", span)
            return None

    def _scalar(self, field: Field, token: Token, minus: bool, span: Span) -> Scalar | None:
        if field.is_enum:
            return self._enum(field, token, minus, span)
        value: Any = None
        if field.type == "bool" and not minus:
            value = True if token.text in TRUE else False if token.text in FALSE else None
        elif field.type in REAL:
            value = _real(token, minus)
        elif field.type in WHOLE and token.kind == "number":
            value = _whole(token, minus)
            if value is not None and not WHOLE[field.type][0] <= value <= WHOLE[field.type][1]:
                low, high = WHOLE[field.type]
                self.report("E703", f"`{field.name}` is a number from {low} to {high}, not {value}", span)
                return None
        if value is None:
            self.report("E703", f"`{field.name}` is {_kind(field)}, not `{span.text[:40]}`", span)
            return None
        return Scalar(value, span)

    def _enum(self, field: Field, token: Token, minus: bool, span: Span) -> Scalar | None:
        values = values_of(field.type)
        if token.kind == "word" and not minus and token.text in values:
            return Scalar(token.text, span)
        if token.kind == "number":
            number = _whole(token, minus)
            named = [name for name, known in values.items() if known == number]
            if named:
                return Scalar(named[0], span)
        hint = suggest(token.text, values) or f"there are {', '.join(values)}"
        message = f"`{field.name}` has no value `{span.text[:40]}`"
        self.report("E703", message, span, hint, tolerated=token.kind == "word")
        return None


def _real(token: Token, minus: bool) -> float | None:
    """A number, or inf and nan by name."""
    text = token.text
    if token.kind == "number":
        if text[:2] in ("0x", "0X") or (len(text) > 1 and text[0] == "0" and text.isdigit()):
            return None
        value = float(text.rstrip("fF"))
    else:
        word = text.lower()
        if word not in ("inf", "infinity", "nan"):
            return None
        value = math.nan if word == "nan" else math.inf
    return -value if minus else value


def _whole(token: Token, minus: bool) -> int | None:
    """A whole number: decimal, hexadecimal with 0x, octal with 0; None where it is none."""
    text = token.text
    if len(text) > 30:
        return None
    try:
        if text[:2] in ("0x", "0X"):
            value = int(text, 16)
        else:
            value = int(text, 8) if len(text) > 1 and text[0] == "0" else int(text)
    except ValueError:
        return None
    return -value if minus else value


def _titled(type_: str) -> str:
    """A message as users know it: `ConvolutionParameter`."""
    return type_.rpartition(".")[2]


def _kind(field: Field) -> str:
    """What a field takes."""
    if field.is_message:
        return "a message"
    if field.is_enum:
        return f"one of {', '.join(values_of(field.type))}"
    if field.type in WHOLE:
        return "a whole number" if WHOLE[field.type][0] else "a whole number from 0 up"
    return {"bool": "true or false", "string": "a text", "bytes": "a text"}.get(field.type, "a number")
