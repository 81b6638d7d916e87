"""Delta debugging on the syntax tree: a smaller net that still fails.

Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002, with the tree's own parts for
their chunks (Misherghi and Su, "HDD: hierarchical delta debugging", 2006). A candidate counts if it parses and shows
the same fault, as the caller says: for `verifying` the same pass, or in the same program a wrong kernel or access
of one kind, the same failure of the target, or any fault of the memory plan or of a replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..grammar.format import format_file
from ..grammar.source import Source, SourceErrors
from .edits import LEVELS, edits

Fails = Callable[[str], bool]


def reduced(text: str, fails: Fails, seconds: float, notify: Callable[[str], None]) -> str:
    """The smallest text that was found to fail within so many seconds, in canonical form; it may be the text itself."""
    end = time.monotonic() + seconds
    tried: set[str] = set()
    before = None
    while text != before and time.monotonic() < end:
        before = text
        for level in LEVELS:
            place = 0
            while time.monotonic() < end:
                ways = edits(text, level)
                if place >= len(ways):
                    break
                candidate = ways[place].applied(text)
                if candidate not in tried and _parses(candidate):
                    tried.add(candidate)
                    notify(f"reducing: {len(text.split())} words, {len(tried)} nets tried")
                    if fails(candidate):
                        text = candidate
                        continue
                place += 1
    return _canonical(text)


def _parses(text: str) -> bool:
    try:
        edits(text, LEVELS[0])
    except SourceErrors:
        return False
    return True


def _canonical(text: str) -> str:
    """The text as `netc fmt` writes it, without comments, and without the blank lines that what was cut left behind."""
    lines = [_code(line) for line in text.split("\n")]
    return format_file(Source("", "\n".join(line for line in lines if line.strip()) + "\n"))


def _code(line: str) -> str:
    """A line without its comment; a `#` within quotes begins none."""
    parts = line.split("#")
    for i in range(1, len(parts)):
        if "#".join(parts[:i]).count('"') % 2 == 0:
            return "#".join(parts[:i])
    return line
