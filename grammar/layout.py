"""Words and brackets on lines: spaces between words, and where a long line is broken.

A line may be broken before a `|>`, and inside brackets between items and before operators. Outside brackets the breaks
that the source has before `|>` are kept, since the steps of a chain are grouped by them; others are made where a line
would be longer than `WIDTH`.
"""

from __future__ import annotations

from collections.abc import Sequence

from .outline import Body, Bracket, Comment, Leaf, Part, first_leaf

WIDTH = 100
INDENT = 4
NAMES = {"NAME", "DATA", "TRAIN", "INPUT", "PARAM", "LOSS", "METRIC", "OUTPUT"}
ENDS_VALUE = NAMES | {"NUMBER", "STRING", "BOOLEAN", "INDEX", "RPAR", "RSQB"}
OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "POWER", "RELATION"}
TIGHTER = {"STAR", "SLASH", "POWER", "UPTO"}


class Writer:
    """The lines written so far; the last one is still open."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.current = ""
        self.indent = 0
        self._begun = False
        self._blank = False

    @property
    def column(self) -> int:
        """How many characters stand on the open line."""
        return len(self.current)

    def text(self, text: str) -> None:
        """Adds to the open line."""
        self.current += text
        self._begun = True

    def newline(self, indent: int) -> None:
        """Ends the open line, and begins one at `indent`."""
        if self._begun:
            self.lines.append(self.current.rstrip())
            if self._blank:
                self.lines.append("")
        self._blank = False
        self.indent = indent
        self.current = " " * indent

    def blank(self) -> None:
        """Leaves a blank line after the open one once that is ended."""
        self._blank = True

    def comment(self, comment: Comment, indent: int) -> None:
        """Writes a comment where it belongs; the open line must be ended after it."""
        if comment.trailing and self._begun:
            self.text(f"  {comment.text}")
        else:
            self.newline(indent)
            self.text(comment.text)

    def result(self) -> str:
        """The whole text."""
        lines = [*self.lines, self.current.rstrip()] if self._begun else []
        return "".join(f"{line}\n" for line in lines)


def flat(parts: Sequence[Part]) -> str | None:
    """Parts on one line, or None where a comment stands between them."""
    text = ""
    previous: Part | None = None
    for index, part in enumerate(parts):
        if previous is not None and first_leaf(part).comments:
            return None
        piece = _flat(part)
        if piece is None:
            return None
        text += space(parts, index) + piece
        previous = part
    return text


def _flat(part: Part) -> str | None:
    if isinstance(part, Leaf):
        return part.text
    if part.closing.comments:
        return None
    if isinstance(part, Body):
        if not part.lines:
            return "{}"
        line = None if first_leaf(part.lines[0][0]).comments or len(part.lines) > 1 else flat(part.lines[0])
        return line and f"{{ {line} }}"
    pieces = []
    for item in part.items:
        piece = None if first_leaf(item[0]).comments else flat(item)
        if piece is None:
            return None
        pieces.append(piece)
    return part.opening.text + ", ".join(pieces) + part.closing.text


def space(parts: Sequence[Part], index: int) -> str:
    """What stands between a part and the one before it when both are on one line."""
    if index == 0:
        return ""
    before, after = parts[index - 1], parts[index]
    left = before.kind if isinstance(before, Leaf) else before.closing.kind
    right = first_leaf(after).kind
    if right in ("COMMA", "COLON", "DOT", "UPTO") or left in ("DOT", "UPTO", "AT"):
        return ""
    if isinstance(after, Bracket) and left in NAMES:
        return ""
    if left == "MINUS" and not is_binary(parts, index - 1):
        return ""
    return "" if _tight(parts, index) or _tight(parts, index - 1) else " "


def is_binary(parts: Sequence[Part], index: int) -> bool:
    """Whether a part is an operator between two values."""
    part = parts[index]
    if not isinstance(part, Leaf) or part.kind not in OPERATORS or index == 0:
        return False
    before = parts[index - 1]
    return (before.kind if isinstance(before, Leaf) else before.closing.kind) in ENDS_VALUE


def _tight(parts: Sequence[Part], index: int) -> bool:
    """Whether a part is the `/` of a plain fraction, which is written `1/256`."""
    kinds = [part.kind if isinstance(part, Leaf) else "" for part in parts[max(index - 2, 0) : index + 3]]
    if index < 2:
        kinds = [""] * (2 - index) + kinds
    around = kinds[:1] + kinds[4:5]
    return kinds[1:4] == ["NUMBER", "SLASH", "NUMBER"] and not TIGHTER.intersection(around)


def write(writer: Writer, parts: Sequence[Part], indent: int, bracketed: bool, tail: int) -> None:
    """Writes parts from where the writer stands, on as many lines as they need.

    Lines after the first begin at `indent`; `tail` columns are kept free for what follows the last part.
    """
    for index, part in enumerate(parts):
        leaf = first_leaf(part)
        if index and leaf.comments:
            for comment in leaf.comments:
                writer.comment(comment, indent)
            writer.newline(indent)
        elif index and (leaf.kind == "PIPE" or (bracketed and is_binary(parts, index))):
            kept = leaf.kind == "PIPE" and leaf.newline and not bracketed
            if kept or not _fits(writer, parts, index, bracketed, tail):
                writer.newline(indent)
            else:
                writer.text(space(parts, index))
        else:
            writer.text(space(parts, index))
        if isinstance(part, Leaf):
            writer.text(part.text)
        elif isinstance(part, Bracket):
            _write_bracket(writer, parts, index, part, bracketed, tail)


def _fits(writer: Writer, parts: Sequence[Part], index: int, bracketed: bool, tail: int) -> bool:
    """Whether the parts from one on to the next place for a break fit on the open line."""
    end = index + 1
    while end < len(parts) and not _breaks(parts, end, bracketed):
        end += 1
    text = flat(parts[index:end])
    free = WIDTH - writer.column - len(space(parts, index)) - (tail if end == len(parts) else 0)
    return text is not None and len(text) <= free


def _breaks(parts: Sequence[Part], index: int, bracketed: bool) -> bool:
    return first_leaf(parts[index]).kind == "PIPE" or (bracketed and is_binary(parts, index))


def _write_bracket(
    writer: Writer, parts: Sequence[Part], index: int, bracket: Bracket, bracketed: bool, tail: int
) -> None:
    text = _flat(bracket)
    following = 0  # columns of what must stand on the line after the bracket
    end = index + 1
    while end < len(parts) and not _breaks(parts, end, bracketed) and not isinstance(parts[end], Bracket):
        following += len(space(parts, end)) + len(first_leaf(parts[end]).text)
        end += 1
    if end == len(parts):
        following += tail
    elif isinstance(parts[end], Bracket):
        following += 1 + len(space(parts, end))
    if text is not None and writer.column + len(text) + following <= WIDTH:
        writer.text(text)
        return
    outer = writer.indent
    inner = outer + INDENT
    writer.text(bracket.opening.text)
    fresh = True  # the next item begins a line
    for number, item in enumerate(bracket.items):
        comments = first_leaf(item[0]).comments
        for comment in comments:
            writer.comment(comment, inner)
        piece = flat(item)
        last = number == len(bracket.items) - 1
        room = WIDTH - writer.column - 1 - (0 if last else 1)
        if comments or fresh or piece is None or len(piece) > room:
            writer.newline(inner)
        else:
            writer.text(" ")
        count = len(writer.lines)
        write(writer, item, inner + INDENT, bracketed=True, tail=1)
        fresh = len(writer.lines) > count
        if not last:
            writer.text(",")
    for comment in bracket.closing.comments:
        writer.comment(comment, inner)
    writer.newline(outer)
    writer.text(bracket.closing.text)
