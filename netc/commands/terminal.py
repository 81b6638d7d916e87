"""Messages on a terminal: problems in colour and their number; the same texts, plain, in a file or a pipe.

Colours are left out where NO_COLOR is set (https://no-color.org), on terminals that are dumb, and in files and pipes.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import click

from ..grammar.source import printable, printable_lines

COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}
HEAD = re.compile(r"(.*?:\d+:\d+:) ((?:error|warning|note)\[\w+\]:)(.*)", re.DOTALL)
CARET = re.compile(r"( +\| *)(\^.*)")


class Told(Protocol):
    """A problem of a file."""

    @property
    def severity(self) -> str: ...


def coloured(err: bool) -> bool:
    """Whether a stream shows colours."""
    stream = sys.stderr if err else sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def told(text: str, severity: str, *, err: bool) -> None:
    """A problem as `SourceError.render` words it."""
    shown = printable_lines(text)
    if coloured(err):
        shown = "\n".join(_painted(line, COLOURS[severity]) for line in shown.split("\n"))
    click.echo(shown, err=err, color=coloured(err))


def _painted(line: str, colour: str) -> str:
    if found := HEAD.fullmatch(line):
        place, kind, message = found.groups()
        return f"{click.style(place, bold=True)} {click.style(kind, fg=colour, bold=True)}{message}"
    if found := CARET.fullmatch(line):
        return found[1] + click.style(found[2], fg=colour)
    return line


def failed(message: str) -> None:
    """A mistake that has no place in a file: a line to standard error. What it quotes cannot drive a terminal."""
    head = click.style("error:", fg="red", bold=True) if coloured(True) else "error:"
    click.echo(f"netc: {head} {printable(message)}", err=True, color=coloured(True))


def counted(problems: Iterable[Told]) -> None:
    """How many problems there were, on a terminal, where the first may have left the screen."""
    if not sys.stderr.isatty():
        return
    count = Counter(problem.severity for problem in problems)
    parts = [f"{count[kind]} {kind}{'s' if count[kind] > 1 else ''}" for kind in ("error", "warning") if count[kind]]
    if parts:
        click.echo(", ".join(parts), err=True)
