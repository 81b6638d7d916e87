"""Mistakes that show in the characters: what no word begins with, unclosed strings, odd numbers."""

from __future__ import annotations

import re
import unicodedata

from .recovery import Run
from .source import SourceError, Span

_NUMBER = re.compile(r"[0-9.][0-9A-Za-z_.]*")
_QUOTED = re.compile(r"'([^'\n]*)'?")
_CHARACTERS = {
    "%": "there is no remainder; `floor` and `/` make one",
    "^": "a power is `**`",
    "\\": "inside parentheses a line goes on by itself",
    "?": "a choice is `if`, or `where(condition, a, b)`",
    "`": 'a string is `"…"`',
    "\r": "end lines with a line feed",
    "\u00a0": "this is a no-break space; type a plain one",
    "\u2013": "this is a dash; type `-`",
    "\u2014": "this is a dash; type `-`",
    "\u2212": "this is a minus sign; type `-`",
    "\u00d7": "type `*`",
    "\u2026": "these dots are one character; a range is `1..3`",
    "\u201c": 'type `"`',
    "\u201d": 'type `"`',
    "\u2018": 'a string is `"…"`',
    "\u2019": 'a string is `"…"`',
    "\u2264": "type `<=`",
    "\u2265": "type `>=`",
    "\u2260": "type `!=`",
}


def character(run: Run) -> SourceError | None:
    """A character with which nothing begins, or two that are something elsewhere."""
    if run.at >= len(run.text):
        return None
    text, span = run.text[run.at : run.at + 2], run.source.span(run.at)
    if text[0] == ";":
        return SourceError("E109", "a statement ends with its line", span, "leave out the `;`, or begin another line")
    if text in ("//", "/*") and not run.statement:
        return SourceError(
            "E102", f"`{text}` begins no comment", run.source.span(run.at, run.at + 2), "comments begin with `#`"
        )
    if text in ("&&", "||"):
        hint = "nest `if`s, or compute with `where`"
        return SourceError("E115", f"there is no `{text}`", run.source.span(run.at, run.at + 2), hint)
    if text[0] == "!":
        return SourceError("E115", "there is no `!`", span, "compare with `== false`")
    if text[0] == "|" and text != "|>":
        return SourceError("E102", "a pipe is `|>`", span, "write `|>`")
    if run.text[max(run.at - 1, 0) : run.at + 1] == "->":
        return SourceError("E102", "`->` is no operator", run.source.span(run.at - 1, run.at + 1), "a pipe is `|>`")
    if run.token is not None or text[0] in "\"'":
        return None
    return _unknown(run, text[0], span)


def _unknown(run: Run, mark: str, span: Span) -> SourceError:
    if mark.isalnum():
        end = run.at + 1
        while end < len(run.text) and (run.text[end].isalnum() or run.text[end] == "_"):
            end += 1
        hint = "names are made of a-z, A-Z, 0-9 and _"
        return SourceError("E102", f"`{mark}` cannot stand in a name", run.source.span(run.at, end), hint)
    shown = f"`{mark}`" if mark.isprintable() and not mark.isspace() else _code_point(mark)
    return SourceError("E102", f"{shown} has no meaning here", span, _CHARACTERS.get(mark, ""))


def _code_point(mark: str) -> str:
    name = unicodedata.name(mark, "").lower()
    return f"the character U+{ord(mark):04X}" + (f" ({name})" if name else "")


def string(run: Run) -> SourceError | None:
    """Strings in other quotes, and strings without an end."""
    if run.at >= len(run.text):
        return None
    quoted = _QUOTED.match(run.text, run.at)
    if quoted:
        hint = f'write `"{quoted[1]}"`'
        return SourceError("E103", "a string stands in double quotes", run.source.span(run.at, quoted.end()), hint)
    if run.text[run.at] != '"' or run.token is not None:
        return None
    end = re.compile(r'"[^"\n]*"?').match(run.text, run.at)
    stop = end.end() if end else run.at + 1
    span = run.source.span(run.at, stop)
    if stop > run.at + 1 and run.text[stop - 1] == '"':
        return SourceError("E103", "a string holds no control characters", span, "there is one in this string")
    return SourceError("E103", "this string has no end", span, 'a string ends on its line, with `"`')


def number(run: Run) -> SourceError | None:
    """`1.`, `0x1F`, `1_000`, `20x`: what begins like a number and goes on otherwise."""
    before = run.previous
    if before is None or before.type not in ("NUMBER", "INDEX") or before.end_pos != run.at or run.at >= len(run.text):
        return None
    start = before.start_pos or 0
    whole = _NUMBER.match(run.text, start)
    if whole is None or whole.end() <= run.at:
        return None
    text, span = whole.group(), run.source.span(start, whole.end())
    if ".." in text:
        return SourceError("E101", "a range stands only after `in`", span, "as in `for i in 1..3 { … }`")
    if text.endswith(".") and text.count(".") == 1:
        return SourceError("E104", "a number has digits after its point", span, f"write `{text}0` or `{text[:-1]}`")
    if re.fullmatch(r"[0-9]+(_[0-9]+)+", text):
        return SourceError("E104", "a number has no `_`", span, f"write `{text.replace('_', '')}`")
    if re.fullmatch(r"0[xX][0-9A-Fa-f]+|0[bB][01]+|0[oO][0-7]+", text):
        return SourceError("E104", "numbers are decimal", span, f"write `{int(text, 0)}`")
    return SourceError(
        "E104", f"`{text}` is no number", span, "numbers are 64, 0.5, .5 and 1e-3; a name begins with a letter"
    )
