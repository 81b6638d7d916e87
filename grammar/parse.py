"""A source's text to its tree, or to all its syntax errors at once.

Lark's LALR parser is driven token by token. Where it is stuck, `explain` writes the error and `recovery` finds the
place to go on: the next statement, the end of the body, or the body of a statement whose head is wrong.
"""

from __future__ import annotations

import stat
import threading
from functools import cache
from pathlib import Path
from typing import cast

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from . import tree
from .actions import Actions
from .lexing import TooDeep
from .recovery import Run, resume
from .source import Source, SourceError, SourceErrors, UserError
from .table import load_parser

MAX_SIZE = 500_000  # characters of a file
MAX_BYTES = 4 * MAX_SIZE + 4  # more are not read
MAX_ERRORS = 100  # of a file; a file with more is no .net

_lock = threading.Lock()


@cache
def _parser() -> tuple[Lark, Actions]:
    """The parser and the object that its reductions are called on; both serve one source at a time."""
    actions = Actions()
    return load_parser(actions), actions


def read_source(path: str | Path) -> Source:
    """The text of a `.net` file.

    Raises UserError for a file that is missing, unreadable, too large or no text at all, and SourceError E102 where a
    text is not UTF-8.
    """
    return decoded(str(path), file_bytes(Path(path), MAX_BYTES))


def file_bytes(path: Path, most: int) -> bytes:
    """The bytes of a file, at most so many; UserError for one that is missing or unreadable, a pipe or a device."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # to read a pipe might wait for ever
            raise UserError(f"{path}: this is a pipe or a device, not a file")
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:  # a null byte in the name
        raise UserError(f"{str(path)!r} is not a file name") from None


def decoded(path: str, data: bytes) -> Source:
    """The text of bytes that were read under a name; raises as `read_source`. More than a file may have is refused."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: this text is UTF-16; save it as UTF-8")
    if b"\0" in data:
        model = "; of an ONNX model `netc convert` makes a .net" if path.endswith(".onnx") else ""
        raise UserError(f"{path}: this is no text file (there is a null byte at offset {data.index(0)}){model}")
    if len(data) > 4 * MAX_SIZE:
        raise UserError(f"{path}: the file is larger than {MAX_SIZE:,} characters, the most that a .net file may have")
    try:
        return Source(path, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        offset = len(error.object[: error.start].decode("utf-8"))
        source = Source(path, error.object.decode("utf-8", errors="replace"))
        message = f"the file is not UTF-8: the byte 0x{error.object[error.start]:02x} is not text"
        raise SourceError("E102", message, source.span(offset), "save the file as UTF-8") from None


def parse(source: Source) -> tree.File:
    """The tree of a source; raises SourceErrors with all that is wrong in its syntax."""
    return parse_tokens(source)[0]


def parse_tokens(source: Source) -> tuple[tree.File, list[Token]]:
    """The tree of a source and the tokens that it was made of; newlines that end no statement are not among them."""
    if len(source.text) > MAX_SIZE:
        message = f"the text has {len(source.text):,} characters; a .net file may have {MAX_SIZE:,}"
        raise SourceErrors([SourceError("E502", message, source.span(0))])
    with _lock:
        lark, actions = _parser()
        actions.source, actions.errors = source, []
        tokens: list[Token] = []
        file, errors = _run(lark, source, tokens)
        explained = {error.span.start for error in errors}
        errors += [error for error in actions.errors if error.span.start not in explained]
    if not errors:
        _check_depth(file, errors)
    if errors:
        raise SourceErrors(errors)
    return file, tokens


def _run(lark: Lark, source: Source, tokens: list[Token]) -> tuple[tree.File, list[SourceError]]:
    run = Run(source, lark.parse_interactive(source.text))
    errors: list[SourceError] = []
    while True:
        try:
            for token in run.tokens():
                run.feed(token)
                tokens.append(token)
            return cast(tree.File, run.finish()), errors
        except UnexpectedToken as error:
            run.stuck(None if error.token.type == "$END" else error.token)
        except UnexpectedCharacters as error:
            run.stuck_at(error.pos_in_stream or 0)
        except TooDeep as error:
            message = f"brackets are nested more than {tree.MAX_DEPTH} deep"
            errors.append(SourceError("E501", message, source.span(error.offset), "bind a part of this to a name"))
            break
        from .explain import explain  # texts that are right need no words about mistakes

        found = explain(run)
        if all((error.code, error.span) != (found.code, found.span) for error in errors):
            errors.append(found)
        if len(errors) >= MAX_ERRORS or found.code == "E120" or not resume(run):
            break
    return tree.File(source.span(0), ()), errors


def _check_depth(file: tree.File, errors: list[SourceError]) -> None:
    """Adds an error for each definition in which nodes stand more than MAX_DEPTH deep; without recursion."""
    for definition in file.definitions:
        level: list[tree.Node] = [definition]
        for _ in range(tree.MAX_DEPTH + 1):
            level = [child for node in level for child in tree.children(node)]
            if not level:
                break
        else:
            message = f"this is nested more than {tree.MAX_DEPTH} deep"
            errors.append(SourceError("E501", message, level[0].span, "bind a part of this to a name"))
