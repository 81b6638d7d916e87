"""The contract of a reader, as an oracle for fuzzing: whatever a file holds, it is read, or refused in words.

Refused is a `UserError` of one printable line, or `SourceError`s with places inside their texts, each once. Anything
else that is raised is a fault, and so is what the worker sees: too much time or memory, a write outside of the folder,
a process that was started, a file that was left behind.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netc.grammar.source import SourceError, SourceErrors, UserError

Kind = Literal["read", "refused", "fault"]
HERE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """What became of a case. said: the message, or what the fault is. where: what two cases of one fault share."""

    kind: Kind
    said: str = ""
    where: str = ""


class Broken(AssertionError):
    """A reader gave what it must not give, though it raised nothing."""


def judged(read: Callable[[], object], refuses: tuple[type[Exception], ...] = ()) -> Outcome:
    """The outcome of a call that reads a case. refuses: errors that are this reader's own way to refuse."""
    try:
        read()
    except (SourceError, SourceErrors) as error:
        return _of_errors([error] if isinstance(error, SourceError) else list(error.errors))
    except UserError as error:
        return _of_line(str(error))
    except Exception as error:
        if refuses and type(error) in refuses:
            return _of_line(str(error))
        return Outcome("fault", f"{type(error).__name__}: {_short(error)}", place_of(error))
    return Outcome("read")


def _of_line(text: str) -> Outcome:
    if "this is a fault of netc" in text:
        return Outcome("fault", text, "a program that is not proved")
    if not text.isprintable() or not text.strip():
        return Outcome("fault", f"the message is no printable line: {text!r}", "message of a UserError")
    return Outcome("refused", text)


def _of_errors(errors: list[SourceError]) -> Outcome:
    wrong = next(_wrong_with(errors), "")
    if wrong:
        return Outcome("fault", wrong, f"errors of a source: {wrong.partition(':')[0]}")
    return Outcome("refused", f"{errors[0].code} {errors[0].message}")


def _wrong_with(errors: list[SourceError]) -> Iterator[str]:
    seen = set()
    if not errors or all(error.severity != "error" for error in errors):
        yield "no error: the source is refused for none"
    for error in errors:
        start, end, text = error.span.start, error.span.end, error.span.source.text
        if not 0 <= start <= end <= len(text):
            yield f"place outside of the text: {error.code} at {start} to {end} of {len(text)}"
        if "\n" in error.message or error.message not in error.render():
            yield f"message that is not shown whole: {error.code} {error.message!r}"
        key = (error.code, error.message, error.span.file, start, end)
        if key in seen:
            yield f"error that is reported twice: {error.code} {error.message}"
        seen.add(key)


def place_of(error: BaseException) -> str:
    """The type of an error, and the innermost function of the project that it went through."""
    found = "outside of netc"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename).resolve()
        if path.is_relative_to(HERE) and not path.is_relative_to(HERE / "tests"):
            found = f"{path.relative_to(HERE)}: {frame.name}"
    return f"{type(error).__name__} in {found}"


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
