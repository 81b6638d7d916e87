"""One run of the parser over a source, and how it goes on after an error.

After an error the parser's stack is cut back to the body in which the statement stands (or to the top of the file), and
the lexer is set to the end of the statement. A statement that is wrong before its `{` is taken for a right one, so that
its body is read as well. The `lark` objects behind `InteractiveParser` are used for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lark import Token
from lark.exceptions import UnexpectedInput
from lark.parsers.lalr_interactive_parser import InteractiveParser

from .lexing import CLOSING, OPENING
from .source import Source, Span, nearest

UNFINISHED = {"PLUS", "MINUS", "STAR", "SLASH", "POWER", "RELATION", "PIPE", "EQUAL", "COMMA", "COLON"}
DEFINITIONS = ("import", "const", "op", "block", "net", "data", "train")
HEADS = {True: ("net", "block", "train"), False: ("for", "if", "else")}  # what has a body: at the top, in a body

_BRACKETS = re.compile(r'"[^"\n]*"?|#[^\n]*|[()\[\]{}]|\n')
_CONTINUES = re.compile(r"(?:\r?\n[ \t]*+(?:#[^\n]*+)?+)++(?:\|>|else\b)")
OPENS_NEXT = re.compile(r"\s*\{")
_LINE_ENDS = re.compile(r"\{[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
_NEW_STATEMENT = re.compile(
    r"""[ \t]*(?:
        (?:import|const|op|block|net|data|train|input|param|loss|metric|output|for|if|return)\b[ \t]*["@A-Za-z_(]
        | else\b | @ | \}
        | [A-Za-z_]\w*(?:[ \t]*,[ \t]*[A-Za-z_]\w*)*[ \t]*=(?!=)
    )""",
    re.VERBOSE,
)
_SETTING = re.compile(r"[ \t]*[A-Za-z_]\w*[ \t]*:")


class Opening(NamedTuple):
    """A bracket that is open, and the statement's tokens up to it."""

    token: Token
    words: tuple[Token, ...]


class Run:
    """The parser at work: what it has read, what is open, and, once stuck, where."""

    def __init__(self, source: Source, parser: InteractiveParser) -> None:
        self.source = source
        self.text = source.text
        self.at = 0
        self.token: Token | None = None
        self.statement: list[Token] = []  # the tokens since the statement began
        self.previous: Token | None = None
        self.open: list[Opening] = []
        self.suspect: Token | None = None  # a `{` whose `}` stands further left than its line
        self.begun = False  # whether a first line, or its head, is read
        self.resumed = -1
        self._parser: Any = parser  # Lark types it in part

    # Forward

    def tokens(self) -> Iterator[Token]:
        """The tokens from where the lexer stands, each to be fed before the next is asked for."""
        tokens: Iterator[Token] = self._parser.lexer_thread.lex(self._parser.parser_state)
        return tokens

    def feed(self, token: Token) -> None:
        """Hands a token to the parser, which raises UnexpectedToken where it does not fit."""
        self._parser.feed_token(token)
        kind = token.type
        if kind in OPENING:
            self.open.append(Opening(token, tuple(self.statement)))
        elif kind in CLOSING:
            opening = self.open.pop().token
            if kind == "RBRACE" and self.suspect is None and self._outdented(opening, token):
                self.suspect = opening
        self.previous = token
        self.begun = self.begun or kind in ("LBRACE", "RBRACE") or (kind == "_NL" and bool(self.statement))
        if kind in ("_NL", "LBRACE", "RBRACE"):
            self.statement = []
        else:
            self.statement.append(token)

    def finish(self) -> Any:
        """The parser's result at the end of the text."""
        return self._parser.feed_eof(self.previous)

    def stuck(self, token: Token | None) -> None:
        """Remembers the token that did not fit; None is the end of the text."""
        self.token = token
        self.at = len(self.text) if token is None else token.start_pos or 0

    def stuck_at(self, offset: int) -> None:
        """Remembers the place where no token begins."""
        self.token = None
        self.at = offset

    # Looking around

    @property
    def kind(self) -> str:
        """The kind of the token that does not fit; "" where there is none."""
        return self.token.type if self.token is not None else ""

    @property
    def previous_kind(self) -> str:
        """The kind of the last token that did fit."""
        return self.previous.type if self.previous is not None else "_NL"

    @property
    def ends(self) -> bool:
        """Whether the text is at its end."""
        return self.token is None and self.at >= len(self.text)

    @property
    def here(self) -> Span:
        """The place of what does not fit; at the end of a line or of the text, of what stands before."""
        if self.token is not None and self.token.type != "_NL":
            return self.span(self.token)
        if self.previous is not None and (self.ends or self.kind == "_NL"):
            return self.span(self.previous)
        return self.source.span(self.at)

    @property
    def words(self) -> list[Token]:
        """The statement's tokens without its directives, and with the one that does not fit."""
        words = [*self.statement, *([self.token] if self.token is not None else [])]
        while len(words) > 1 and words[0].type == "AT":
            after = 2
            if len(words) > 2 and words[2].type == "LPAR":
                after = next((i for i, token in enumerate(words) if token.type == "RPAR"), len(words)) + 1
            words = words[after:]
        return words

    @property
    def first(self) -> str:
        """The word with which the statement begins."""
        words = self.words
        return str(words[0]) if words else ""

    @property
    def in_train(self) -> bool:
        """Whether the innermost body is that of a `train`."""
        braces = self.braces
        return bool(braces and braces[-1].words) and str(braces[-1].words[0]) == "train"

    @property
    def accepts(self) -> set[str]:
        """The kinds of token that would fit."""
        fitting: set[str] = self._parser.accepts()
        return fitting

    @property
    def braces(self) -> list[Opening]:
        """The open `{`, outermost first."""
        return [opening for opening in self.open if opening.token.type == "LBRACE"]

    @property
    def bracket(self) -> Opening | None:
        """The innermost open `(` or `[` of the statement."""
        return self.open[-1] if self.open and self.open[-1].token.type != "LBRACE" else None

    @property
    def leaves_body(self) -> bool:
        """Whether the statement is a definition, though a body is open: a `}` is missing before it."""
        words = self.words
        if not self.braces or self.bracket or not words or words[0].value not in DEFINITIONS:
            return False
        return words[0].value not in ("data", "train") or (len(words) == 2 and words[1].type == "NAME")

    @property
    def breaks_off(self) -> bool:
        """Whether the line ends after an operator, and the next one does not look like a statement."""
        if self.kind != "_NL" or self.previous_kind not in UNFINISHED:
            return False
        following = self.text.find("\n", self.at) + 1
        return following < len(self.text) and not _NEW_STATEMENT.match(self.text, following)

    @property
    def leaves_bracket(self) -> bool:
        """Whether a statement begins on this line, though a ( or [ of a line before is open."""
        start = self.text.rfind("\n", 0, self.at) + 1
        if self.bracket is None or (self.bracket.token.start_pos or 0) >= start:
            return False
        begins = _NEW_STATEMENT.match(self.text, start)
        if self.in_train and self.bracket.token == "[":
            begins = begins or _SETTING.match(self.text, start)
        return bool(begins) and (not self.text[start : self.at].strip() or self.kind != "EQUAL")

    def span(self, token: Token) -> Span:
        """The place of a token."""
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)

    def line(self, token: Token) -> int:
        """The line of a token."""
        return self.span(token).line

    def _outdented(self, opening: Token, closing: Token) -> bool:
        """Whether a `}` begins its line further left than the line of its `{` begins."""
        start = self.text.rfind("\n", 0, closing.start_pos or 0) + 1
        before = self.text[start : closing.start_pos]
        line = self.source.line(self.line(opening))
        return not before.strip() and len(before) < len(line) - len(line.lstrip())

    # Going on

    def go_on(self, depth: int, offset: int) -> None:
        """Forgets all but the first `depth` open bodies and goes on reading at `offset`."""
        state = self._parser.parser_state
        keep = 0
        if depth:
            brace = self.braces[depth - 1].token
            keep = next(index for index, value in enumerate(state.value_stack) if value is brace) + 1
            self.open = self.open[: next(i for i, opening in enumerate(self.open) if opening.token is brace) + 1]
        else:
            self.open = []
            self.suspect = None
        del state.value_stack[keep:]
        del state.state_stack[keep + 1 :]
        self.move(offset)
        self.statement = []

    def move(self, offset: int) -> None:
        """Sets the lexer to `offset`, or further where that would read the same place twice."""
        offset = min(max(offset, self.resumed + 1), len(self.text))
        self.resumed = offset
        self._parser.lexer_thread.state.line_ctr.char_pos = offset

    def pretend(self, kinds: tuple[str, ...]) -> bool:
        """Feeds tokens that are not in the text; False where they do not fit."""
        try:
            for kind in kinds:
                self.feed(Token(kind, kind.lower(), start_pos=self.at, end_pos=self.at))
        except UnexpectedInput:
            return False
        return True


def resume(run: Run) -> bool:
    """Brings a run that is stuck to the place where it can go on; False at the end of the text."""
    if run.at >= len(run.text):
        return False
    depth = len(run.braces)
    if run.leaves_body:
        begin = run.statement[0] if run.statement else run.token
        run.go_on(0, (begin.start_pos or 0) if begin else run.at)
        return True
    if run.leaves_bracket:
        run.go_on(depth, run.text.rfind("\n", 0, run.at))
        return True
    if run.token is not None and run.token.type == "_NL" and "LBRACE" in run.accepts:
        following = OPENS_NEXT.match(run.text, run.at)
        if following:
            run.move(following.end() - 1)
        else:
            run.pretend(("LBRACE",))
            run.move(run.at)
        return True
    head = run.words[0] if run.words else run.token
    kind, end = _end_of_statement(run.text, run.at + run.breaks_off, 1 if run.bracket else 0)
    if kind == "close" and not depth:
        run.go_on(0, end + 1)
    elif kind == "open" and not _enter(run, depth, head, end):
        run.go_on(depth, _after_braces(run.text, end))
    elif kind != "open":
        run.go_on(depth, end)
    return True


def _enter(run: Run, depth: int, head: Token | None, brace: int) -> bool:
    """Goes on with the body at `brace` as if its head were right; False where the head is none, or only a value."""
    top = depth == 0
    word = nearest(str(head), HEADS[top]) if head is not None else ""
    if not word:
        return False
    run.go_on(depth, brace)
    if top:
        return run.pretend(("TRAIN", "NAME") if word == "train" else ("NET", "NAME"))
    return run.pretend(("IF", "NAME"))


def _end_of_statement(text: str, at: int, depth: int) -> tuple[str, int]:
    """With what the statement around `at` ends, and where: its "line", the "close" of its body, the "open" of one."""
    braces = 0
    for match in _BRACKETS.finditer(text, at):
        what, offset = match.group(), match.start()
        if what == "{":
            if not depth or _LINE_ENDS.match(text, offset):
                return "open", offset
            braces += 1
        elif what == "}":
            if not braces:
                return "close", offset
            braces -= 1
        elif what in "([":
            depth += 1
        elif what in ")]":
            depth = max(depth - 1, 0)
        elif (
            what == "\n"
            and (_NEW_STATEMENT.match(text, offset + 1) or not depth)
            and not _CONTINUES.match(text, offset)
        ):
            return "line", offset
    return "line", len(text)


def _after_braces(text: str, brace: int) -> int:
    """The offset after the `}` that closes the `{` at `brace`."""
    depth = 0
    for match in _BRACKETS.finditer(text, brace):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if not depth:
            return match.end()
    return len(text)
