"""The tokens of protobuf's text format, found by one regular expression."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..source import Source, SourceError, Span

_TOKEN = re.compile(
    r"""
    (?P<skip>(?:[\s]+|\#[^\n]*)+)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fF]?)(?![\w.]))
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<mark>[-{}<>\[\]:;,./])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(rb"\\(?:[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_SIMPLE = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_SIMPLE |= {mark: mark for mark in (b"\\", b"'", b'"', b"?")}


class Token(NamedTuple):
    """kind: word, number, string, mark, or end. text: as written."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def span(self, source: Source) -> Span:
        return Span(source, self.start, self.end)


def tokens(source: Source) -> list[Token]:
    """The tokens of a text, with one of the kind `end` as the last; SourceError E701 for what is none."""
    text, found, at = source.text, [], 0
    match = _TOKEN.match
    while at < len(text):
        part = match(text, at)
        if part is None:
            raise _no_token(source, at)
        if part.lastgroup != "skip":
            found.append(Token(part.lastgroup or "", part.group(), at))
        at = part.end()
    found.append(Token("end", "", len(text)))
    return found


def _no_token(source: Source, at: int) -> SourceError:
    character = source.text[at]
    if character in "\"'":
        return SourceError("E701", "this text has no end on its line", source.span(at), f"close it with {character}")
    if character.isdigit() or character == ".":
        word = re.compile(r"[\w.]+").match(source.text, at)
        end = word.end() if word else at + 1
        return SourceError("E701", f"`{source.text[at:end][:40]}` is no number", source.span(at, end))
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return SourceError("E701", f"`{shown}` has no meaning here", source.span(at))


def unquoted(token: Token, source: Source) -> bytes:
    """The bytes of a string as written, escapes read; SourceError E701 for an escape that there is not."""
    raw = token.text[1:-1].encode("utf-8", "surrogatepass")
    if b"\\" not in raw:
        return raw

    def one(found: re.Match[bytes]) -> bytes:
        hexadecimal, octal, short, long, simple = found.groups()
        if hexadecimal is not None:
            return bytes([int(hexadecimal, 16)])
        if octal is not None:
            return bytes([int(octal, 8) & 0xFF])
        if short is not None or long is not None:
            code = int(short or long, 16)
            if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                return chr(code).encode()
        elif simple in _SIMPLE:
            return _SIMPLE[simple]
        start = token.start + 1 + len(raw[: found.start()].decode("utf-8", "surrogatepass"))
        end = start + len(found.group().decode("utf-8", "replace"))
        raise SourceError("E701", f"there is no escape `{source.text[start:end]}`", source.span(start, end))

    return _ESCAPE.sub(one, raw)
