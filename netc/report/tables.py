"""Tables for a terminal and for a notebook: one description, rich for the one and HTML for the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..grammar.source import printable


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings; a heading that begins with `>` is right-aligned. foot: a last row, or nothing."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[str] = ()

    def show(self) -> None:
        """Print to standard output; a terminal's width is kept to, a file's lines are as long as they need be."""
        import sys

        sys.stdout.write(f"{self}\n")

    def __str__(self) -> str:
        import shutil
        import sys

        from rich.console import Console

        wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else 240
        console = Console(file=sys.stdout, width=wide, highlight=False, markup=False, emoji=False)
        with console.capture() as captured:
            console.print(self._rich())
        lines = [line.rstrip() for line in captured.get().splitlines()]
        return "\n".join(line for line in lines if line)

    def _rich(self) -> Any:
        from rich import box
        from rich.table import Table as RichTable

        table = RichTable(
            title=self.title or None, box=box.SIMPLE_HEAD, title_justify="left", show_footer=bool(self.foot)
        )
        foot = self.foot or [""] * len(self.head)
        for heading, below in zip(self.head, foot, strict=True):
            right = heading.startswith(">")
            table.add_column(
                heading.removeprefix(">"), below, justify="right" if right else "left", no_wrap=right, overflow="fold"
            )
        for row in self.rows:
            table.add_row(*map(printable, row))  # with names of files in it
        return table

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
