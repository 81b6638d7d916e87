"""Table layout: columns as wide as a terminal allows, words whole; the same rows as HTML for a notebook."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..grammar.source import columns_of, printable

INDENT = 3
TALL = 1.5  # so many lines for one of a list are too many
UNLIMITED = 240  # columns of a file or a pipe


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; a heading that begins with `>` is right-aligned. foot: a last row, or nothing."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[str] = ()

    def show(self) -> None:
        """Print to standard output, as wide as it is."""
        sys.stdout.write(f"{self}\n")

    def __str__(self) -> str:
        wide = width()
        rows = [[printable(cell) for cell in row] for row in self.rows]  # with names of files in it
        return "\n".join([*wrapped(self.title, wide), *(line.rstrip() for line in self._lines(rows, wide))])

    def _lines(self, rows: Sequence[Sequence[str]], wide: int) -> list[str]:
        """A line for each row, or cells of several lines side by side, or the same under each row's name, or a list.

        In columns no word is broken; in a list, which fits everywhere, one that is longer than a line.
        """
        if widths := self._widths(rows, 0, wide, 3):
            return self._columns(rows, 0, widths, 3, wide)
        beside = [(first, widths) for first in (0, 1) if (widths := self._widths(rows, first, wide, 2))]
        columns = min((self._columns(rows, first, widths, 2, wide) for first, widths in beside), key=len, default=None)
        listed = self._list(rows, wide)
        return listed if columns is None or len(columns) > TALL * len(listed) else columns

    def _widths(self, rows: Sequence[Sequence[str]], first: int, wide: int, gap: int) -> list[int]:
        """Widths of the columns from `first` on, narrowed down to their words; none if that is too much."""
        room = wide - 2 - gap * (len(self.head) - 1 - first) - (INDENT if first else 0)
        names = [row[0] for row in (*rows, self._foot)] if first else []
        if any(columns_of(name) > wide - 1 for name in names):
            return []
        whole, least = [], []
        for heading, *cells in list(zip(self.head, *rows, self._foot, strict=True))[first:]:
            right = heading.startswith(">")
            title = heading.removeprefix(">")
            whole.append(max(map(columns_of, (title, *cells))))
            # Numbers stay on a line with their units.
            parts = [*title.split(), *(cells if right else (word for cell in cells for word in cell.split()))]
            least.append(max(map(columns_of, parts), default=0))
        if sum(least) > room or (gap > 2 and sum(whole) > room):
            return []
        most = max(whole, default=0)
        while sum(found := [max(low, min(most, high)) for low, high in zip(least, whole, strict=True)]) > room:
            most -= 1
        return found

    @property
    def _foot(self) -> Sequence[str]:
        return self.foot or [""] * len(self.head)

    def _columns(
        self, rows: Sequence[Sequence[str]], first: int, widths: Sequence[int], gap: int, wide: int
    ) -> list[str]:
        """Cells side by side; `first`: 1 where the first of a row stands above the others."""
        edge = " " * (2 + (INDENT if first else 0))

        def beside(row: Sequence[str]) -> list[str]:
            cells = [wrapped(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
            lines = []
            for i in range(max(map(len, cells), default=0)):
                texts = []
                for heading, cell, size in zip(self.head[first:], cells, widths, strict=True):
                    text = cell[i] if i < len(cell) else ""
                    blank = " " * (size - columns_of(text))
                    texts.append(blank + text if heading.startswith(">") else text + blank)
                lines.append(edge + (" " * gap).join(texts))
            return [line for line in lines if line.strip()]

        head = [heading.removeprefix(">") for heading in self.head]
        long = min(sum(widths) + gap * (len(widths) - 1) + len(edge), wide - 1)
        lines = [f"  {head[0]}"] if first and head[0] else []
        lines += [*beside(head[first:]), f" {'─' * long}"]
        for row in [*rows, *([self.foot] if self.foot else [])]:
            lines += [f"  {row[0]}"] if first and row[0] else []
            lines += beside(row[first:])
        return lines

    def _list(self, rows: Sequence[Sequence[str]], wide: int) -> list[str]:
        """A line for each cell, with its heading; the first of a row alone."""
        lines = []
        for row in [*rows, *([self.foot] if self.foot else [])]:
            for i, (heading, cell) in enumerate(zip(self.head, row, strict=True)):
                if cell:
                    name = heading.removeprefix(">")
                    text = f"{name}: {cell}" if i and name else cell
                    before, hang = (INDENT, INDENT) if i else (1, 0)
                    begin, *more = wrapped(text, wide - before - hang)
                    lines += [" " * before + begin, *(" " * (before + hang) + line for line in more)]
        return lines

    def html(self) -> str:
        """The table for a notebook."""

        def line(cells: Sequence[str], tag: str) -> str:
            style = [" style='text-align:right'" if h.startswith(">") else "" for h in self.head]
            inner = "".join(f"<{tag}{s}>{escape(c)}</{tag}>" for c, s in zip(cells, style, strict=True))
            return f"<tr>{inner}</tr>"

        head = line([h.removeprefix(">") for h in self.head], "th")
        body = "".join(line(row, "td") for row in self.rows)
        foot = line(self.foot, "th") if self.foot else ""
        return (
            f"<table><caption style='text-align:left'>{escape(self.title)}</caption><thead>{head}</thead>"
            f"<tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"
        )


def width() -> int:
    """The columns of standard output: of a terminal, or as COLUMNS says; lines of a file may be long."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return max(20, shutil.get_terminal_size().columns)
    return UNLIMITED


def wrapped(text: str, wide: int) -> list[str]:
    """A text in lines, between words; only a word that is longer than a line is broken. None of an empty text."""
    if columns_of(text) <= wide:
        return [text] if text else []
    lines, line = [], ""
    for word in text.split():
        if line and columns_of(line) + 1 + columns_of(word) <= wide:
            line += f" {word}"
            continue
        if line:
            lines.append(line)
        while columns_of(word) > wide:
            fits = wide
            while columns_of(word[:fits]) > wide:
                fits -= 1
            lines.append(word[: max(1, fits)])
            word = word[max(1, fits) :]
        line = word
    return [*lines, line] if line else lines


def size(count: float) -> str:
    """Bytes with a unit: 1.5 MB is 1,500,000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def operations(count: float) -> str:
    """Floating-point operations with a unit."""
    for unit, scale in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count:.0f} FLOP"
