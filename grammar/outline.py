"""A source as lines, brackets and words with their comments: what `format` lays out.

Made of the parser's tokens. Comments and blank lines are found in the gaps between tokens, which hold nothing else;
each belongs to the token that follows it. Commas are not kept: they stand between the items of a bracket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lark import Token

CLOSING = {"LPAR": "RPAR", "LSQB": "RSQB"}


@dataclass(slots=True)
class Comment:
    """`# …`, on the line of the token before it or on its own."""

    text: str
    trailing: bool
    blank: bool  # a blank line stands before it


@dataclass(slots=True)
class Leaf:
    """One token, with the comments before it, and whether a new or a blank line stands before it."""

    kind: str
    text: str
    comments: list[Comment] = field(default_factory=list)
    newline: bool = False
    blank: bool = False


@dataclass(slots=True)
class Bracket:
    """`( … )` or `[ … ]`: its items, between commas."""

    opening: Leaf
    items: list[list[Part]]
    closing: Leaf


@dataclass(slots=True)
class Body:
    """`{ … }`; `inline` where it stands on one line in the source."""

    opening: Leaf
    lines: list[Line]
    closing: Leaf
    inline: bool


Part: TypeAlias = Leaf | Bracket | Body
Line: TypeAlias = list[Part]


def outline(text: str, tokens: Sequence[Token]) -> tuple[list[Line], Leaf]:
    """The lines at the top of a file, and a leaf without text that holds the comments at its end."""
    reader = _Reader(text, tokens)
    return reader.lines(), reader.leaf()


def first_leaf(part: Part) -> Leaf:
    """The first token of a part."""
    return part if isinstance(part, Leaf) else part.opening


class _Reader:
    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._end = 0  # of the last token that was made a leaf

    @property
    def _kind(self) -> str:
        return self._tokens[self._at].type if self._at < len(self._tokens) else ""

    def leaf(self) -> Leaf:
        """The next token, or the end of the text."""
        if self._at == len(self._tokens):
            made = Leaf("", "")
            start = end = len(self._text)
        else:
            token = self._tokens[self._at]
            made = Leaf(token.type, str(token))
            start, end = token.start_pos or 0, token.end_pos or 0
        self._read_gap(made, self._text[self._end : start])
        self._at += 1
        self._end = end
        return made

    def _read_gap(self, leaf: Leaf, gap: str) -> None:
        lines = gap.split("\n")
        leaf.newline = len(lines) > 1
        blank = False
        for number, line in enumerate(lines):
            comment = line.strip()
            if comment:
                leaf.comments.append(Comment(comment, trailing=number == 0 and self._end > 0, blank=blank))
            blank = not comment and number > 0
        # The last line of the gap is what stands before the token itself.
        leaf.blank = len(lines) > 2 and not lines[-2].strip()

    def lines(self) -> list[Line]:
        """Lines up to a closing brace or the end."""
        found: list[Line] = []
        line: Line = []
        while self._kind not in ("", "RBRACE"):
            if self._kind == "_NL":
                self._at += 1
                if line:
                    found.append(line)
                line = []
            else:
                line.append(self._part())
        return [*found, line] if line else found

    def _part(self) -> Part:
        if self._kind == "LBRACE":
            start = self._end
            opening = self.leaf()
            lines = self.lines()
            closing = self.leaf()
            return Body(opening, lines, closing, "\n" not in self._text[start : self._end])
        if self._kind in CLOSING:
            return self._bracket()
        return self.leaf()

    def _bracket(self) -> Bracket:
        close = CLOSING[self._kind]
        opening = self.leaf()
        items: list[list[Part]] = []
        item: list[Part] = []
        moved: list[Comment] = []  # comments before a comma, which come to stand after it
        while self._kind != close:
            if self._kind == "COMMA":
                moved += self.leaf().comments
                items.append(item)
                item = []
                continue
            part = self._part()
            if not item:
                leaf = first_leaf(part)
                leaf.comments = moved + leaf.comments
                moved = []
            item.append(part)
        closing = self.leaf()
        closing.comments = moved + closing.comments
        return Bracket(opening, [*items, item] if item else items, closing)
