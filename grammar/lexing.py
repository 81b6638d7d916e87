"""What the lexer needs beyond the grammar's terminals: newlines inside brackets, and the limit on nesting."""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token

from .tree import MAX_DEPTH

OPENING = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSING = {close: opening for opening, close in OPENING.items()}


class TooDeep(Exception):
    """Brackets are nested more than `MAX_DEPTH` deep at `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Newlines:
    """Lark's hook between lexer and parser: drops the newlines inside ( ) and [ ], where a statement does not end."""

    always_accept = ("_NL",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The tokens of `stream` from the beginning of a statement on."""
        depth = 0
        for token in stream:
            kind = token.type
            if kind == "LPAR" or kind == "LSQB":
                depth += 1
                if depth > MAX_DEPTH:
                    raise TooDeep(token.start_pos or 0)
            elif kind == "RPAR" or kind == "RSQB":
                depth -= 1
            elif kind == "_NL" and depth > 0:
                continue
            yield token
