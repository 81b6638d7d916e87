"""Sources, places and errors: what every other part of netc uses to say where in a `.net` file something stands.

A place is a `Span` (two offsets into a `Source`); lines and columns, both from 1, are looked up when somebody asks.
A mistake in a file is a `SourceError`, several at once are `SourceErrors`; one in a flag or file name is a `UserError`.
"""

from __future__ import annotations

import difflib
import os
import reprlib
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]

TAB = "    "
LINE_SHOWN = 160  # a longer line is cut around the caret
LONG_LIST = 6  # a hint with more parts between commas is said once
CUT = "…"
TEXT = "<text>"  # the path of a source that lies in no file


class Source:
    """The text of one file under the name that errors show; compared by identity."""

    __slots__ = ("_starts", "path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self._starts: list[int] | None = None

    def __repr__(self) -> str:
        return f"Source({self.path!r}, {len(self.text)} characters)"

    @property
    def line_starts(self) -> list[int]:
        """The offset at which each line begins."""
        if self._starts is None:
            starts = [0]
            find = self.text.find
            at = find("\n")
            while at >= 0:
                starts.append(at + 1)
                at = find("\n", at + 1)
            self._starts = starts
        return self._starts

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its line end."""
        starts = self.line_starts
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].removesuffix("\r")

    def span(self, start: int = 0, end: int | None = None) -> Span:
        """The place from `start` up to `end`; without an end, one character."""
        return Span(self, start, min(start + 1, len(self.text)) if end is None else end)


@dataclass(frozen=True, slots=True)
class Span:
    """The place `source.text[start:end]`."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """The line of the first character, from 1."""
        return self.source.place(self.start)[0]

    @property
    def column(self) -> int:
        """The column of the first character, from 1, counted in characters."""
        return self.source.place(self.start)[1]

    @property
    def file(self) -> str:
        """The file's name as the user gave it."""
        return self.source.path

    @property
    def text(self) -> str:
        """What stands there."""
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this place to the end of another of the same source."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        line, column = self.source.place(self.start)
        return f"{self.source.path}:{line}:{column}"

    def __repr__(self) -> str:
        return f"<{self}>"


class UserError(Exception):
    """A mistake in a flag, a file name or a file that is no `.net`: one line, no place in a source.

    A file's name, and what a message quotes of a file, may hold what would drive a terminal: it is shown as a mark.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class SourceError(Exception):
    """One problem in a source: its place, what is wrong, and what to do about it.

    `code` stands in `grammar.codes`. `hint` follows the caret, each of `notes` is a line that begins with `=`.
    Without a `severity`, a code that begins with W is a warning and every other one an error.
    """

    def __init__(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str = "",
        notes: Iterable[str] = (),
        severity: Severity | None = None,
    ) -> None:
        super().__init__(code, message, span)
        self.code = code
        self.message = printable(message)  # what it quotes of a file may hold anything
        self.span = span
        self.hint = hint
        self.notes: tuple[str, ...] = tuple(notes)
        self.severity: Severity = severity or ("warning" if code.startswith("W") else "error")

    @property
    def sort_key(self) -> tuple[str, int, int]:
        """Orders problems by file, then by place."""
        return self.span.file, self.span.start, self.span.end

    def render(self, hint: str | None = None) -> str:
        """The text that a user reads: place and message, the line, a caret under the place with the hint, the notes.

        hint: instead of its own.
        """
        number, column = self.span.source.place(self.span.start)
        line = self.span.source.line(number)
        first = min(column - 1, len(line))
        last = min(first + max(self.span.end - self.span.start, 1), max(len(line), first + 1))
        shown, before, width = _excerpt(line, first, last)
        gutter = " " * (len(str(number)) + 2)
        caret = f"{gutter}| {' ' * before}{'^' * width} {self.hint if hint is None else hint}".rstrip()
        head = f"{self.span}: {self.severity}[{self.code}]: {self.message}"
        text = f" {number} | {shown}".rstrip()
        # Names of files are in it, and they may hold what would drive a terminal.
        return printable_lines("\n".join([head, text, caret, *(f"{gutter}= {note}" for note in self.notes)]))

    def __str__(self) -> str:
        return self.render()


class Absent(UserError):
    """What a file names is not on this machine."""


class PlacedError(UserError):
    """A mistake in what a `.net` file names, its data or weights, with the place where it does."""

    def __init__(self, code: str, cause: UserError, span: Span) -> None:
        self.error = SourceError(code, str(cause), span)
        self.absent = isinstance(cause, Absent)
        super().__init__(self.error.message)

    def render(self) -> str:
        """As of a `SourceError`."""
        return self.error.render()

    def __str__(self) -> str:
        return self.render()


@contextmanager
def placed(code: str, span: Span | None) -> Iterator[None]:
    """A `UserError` that leaves gets the place of what it is about, where that stands in a file."""
    try:
        yield
    except PlacedError:
        raise
    except UserError as error:
        if span is None:
            raise
        raise PlacedError(code, error, span) from None


class SourceErrors(Exception):
    """All the problems of a compilation, in the order of their places; at least one."""

    def __init__(self, errors: Iterable[SourceError]) -> None:
        self.errors: tuple[SourceError, ...] = tuple(sorted(errors, key=lambda error: error.sort_key))
        super().__init__(f"{len(self.errors)} problems")

    def render(self) -> str:
        """The texts of all of them, one after the other."""
        return "\n".join(rendered(self.errors))

    def __str__(self) -> str:
        return self.render()


def rendered(errors: Iterable[SourceError]) -> list[str]:
    """The texts of problems; what a list in a hint says, such as all the keys there are, is said once in a file."""
    first: dict[tuple[str, str], int] = {}
    texts = []
    for error in errors:
        line = first.setdefault((error.span.file, error.hint), error.span.line)
        again = error.hint.count(", ") >= LONG_LIST and line < error.span.line
        texts.append(error.render(f"as at line {line}" if again else None))
    return texts


def printable(text: str, most: int | None = None) -> str:
    """A text as a terminal may show it: no control characters, and not longer than `most`."""
    shown = text[:most]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return shown + (CUT if most is not None and len(text) > most else "")


def shown(value: object) -> str:
    """A value in a message: short and printable, whatever it is."""
    return printable(_SHORT.repr(value), 60)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def path_of(name: str, value: object) -> Path:
    """A path that a caller gives as the argument `name`; UserError for what cannot be one."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else b""
    if not isinstance(text, str) or not text or "\0" in text:
        raise UserError(f"`{name}` takes the path of a file, not {shown(value)}")
    return Path(text)


def printable_lines(text: str) -> str:
    """The same of a text of several lines, which may have tabs."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate that a word may have been meant to be, or nothing where none is near."""
    return among(word, tuple(candidates))


# A statement in a loop or a block is evaluated many times, and each time its mistake is worded anew.
@lru_cache(maxsize=1024)
def among(word: str, names: tuple[str, ...]) -> str:
    """The same of names that are held."""
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near:  # another case of the same letters is near, however short the word
        near = [name for name in names if name.lower() == word.lower()][:1]
    return near[0] if near else ""


def suggest(word: str, candidates: Iterable[str]) -> str:
    """ "did you mean `x`?" for the candidate nearest to a word, or nothing where none is near."""
    near = nearest(word, candidates)
    return f"did you mean `{near}`?" if near else ""


def _excerpt(line: str, first: int, last: int) -> tuple[str, int, int]:
    """A line as a terminal shows it, with the caret's offset and width in columns for the characters [first, last)."""
    start = 0
    if len(line) > LINE_SHOWN:
        start = max(0, min(first - LINE_SHOWN // 2, len(line) - LINE_SHOWN))
        end = min(start + LINE_SHOWN, len(line))
        cells = [_cell(character) for character in line[start:end]]
        if start:
            cells[0] = CUT
        if end < len(line):
            cells[-1] = CUT
        last = min(last, end)
    else:
        cells = [_cell(character) for character in line]
    before = sum(map(_columns, cells[: first - start]))
    width = sum(map(_columns, cells[first - start : last - start]))
    return "".join(cells), before, max(width, 1)


def _cell(character: str) -> str:
    """One character as shown: tabs as blanks, control characters as a mark, so that no file drives a terminal."""
    if character == "\t":
        return TAB
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return "�"
    return character


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(cell: str) -> int:
    """How many columns of a terminal a cell takes."""
    if len(cell) > 1:
        return len(cell)
    if unicodedata.combining(cell):
        return 0
    return 2 if unicodedata.east_asian_width(cell) in "WF" else 1
