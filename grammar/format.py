"""The canonical form of a source (`netc fmt`).

Four blanks a level, one space between words, at most one blank line, at most `layout.WIDTH` columns where a line can be
broken. Comments, blank lines between statements, and the breaks of chains before `|>` are kept. A body that stands on
one line stays there while it fits.
"""

from __future__ import annotations

from .layout import INDENT, WIDTH, Writer, flat, write
from .outline import Body, Comment, Leaf, Line, Part, first_leaf, outline
from .parse import parse_tokens
from .source import Source


def format_file(source: Source) -> str:
    """The text of a source in canonical form: it says the same, and is its own canonical form.

    Raises SourceErrors where the source has syntax errors.
    """
    _, tokens = parse_tokens(source)
    lines, end = outline(source.text, tokens)
    writer = Writer()
    _write_lines(writer, lines, end.comments, 0)
    return writer.result()


def _write_lines(writer: Writer, lines: list[Line], after: list[Comment], indent: int) -> None:
    """Writes the lines of a body, or of the file, each on a new line, and the comments after the last."""
    first = True
    for line in lines:
        leaf = first_leaf(line[0])
        first = _write_comments(writer, leaf.comments, indent, first)
        if leaf.blank and not first:
            writer.blank()
        writer.newline(indent)
        first = False
        _write_line(writer, line, indent)
    _write_comments(writer, after, indent, first)


def _write_comments(writer: Writer, comments: list[Comment], indent: int, first: bool) -> bool:
    """Writes comments before a line; returns whether that line is still the first of its body."""
    for comment in comments:
        if comment.blank and not first:
            writer.blank()
        writer.comment(comment, indent)
        first = first and comment.trailing
    return first


def _write_line(writer: Writer, line: Line, indent: int) -> None:
    bodies = [part for part in line if isinstance(part, Body)]
    text = flat(line)
    broken = any(isinstance(part, Leaf) and part.kind == "PIPE" and part.newline for part in line)
    fits = text is not None and indent + len(text) <= WIDTH and not broken
    if text is not None and fits and all(_on_one_line(body) for body in bodies):
        writer.text(text)
        return
    head: list[Part] = []
    for part in line:
        if not isinstance(part, Body):
            head.append(part)
            continue
        _write_head(writer, head, indent, tail=2)
        head = []
        if part.lines or part.closing.comments:
            writer.text(" {")
            _write_lines(writer, part.lines, part.closing.comments, indent + INDENT)
            writer.newline(indent)
            writer.text("}")
        else:
            writer.text(" {}")
    if head:
        _write_head(writer, head, indent, tail=0)


def _on_one_line(body: Body) -> bool:
    return not body.lines or (
        body.inline and all(_on_one_line(part) for part in body.lines[0] if isinstance(part, Body))
    )


def _write_head(writer: Writer, head: list[Part], indent: int, tail: int) -> None:
    """Writes what stands before a body, or a line without one; an `else` goes on after the `}` before it."""
    leaf = first_leaf(head[0])
    if leaf.kind == "ELSE":
        for comment in leaf.comments:
            writer.comment(comment, indent)
        if leaf.comments:
            writer.newline(indent)
        else:
            writer.text(" ")
    write(writer, head, indent + INDENT, bracketed=False, tail=tail)
