"""What to say where the parser is stuck: the mistakes that are certain to be typed by name, the rest by what would fit.

Each check looks at a stuck run and returns its error, or None where the mistake is another; the first that speaks wins.
"""

from __future__ import annotations

from collections.abc import Callable

from lark import Token

from .explain_characters import character, number, string
from .explain_statements import FORMS, colon, directive, either, equal, word
from .recovery import OPENS_NEXT, UNFINISHED, Run
from .source import SourceError, Span

OPERATORS = {"PLUS", "MINUS", "STAR", "SLASH", "POWER", "RELATION"}
BREAKS = UNFINISHED | {"AS", "IN", "UPTO", "DOT", "RETURN", "WITH", "EVERY", "FROM"}
VALUE = {"NAME", "NUMBER", "STRING", "LPAR", "LSQB", "MINUS", "BOOLEAN"}
VALUE_ENDS = {"NAME", "DATA", "TRAIN", "NUMBER", "STRING", "RPAR", "RSQB", "BOOLEAN", "INDEX"}
AFTER_VALUE = {"PIPE", "AS", "RELATION", "PLUS", "MINUS", "STAR", "SLASH", "POWER", "DOT"}
SHOWN = {
    "EQUAL": "`=`",
    "COLON": "`:`",
    "COMMA": "`,`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "PIPE": "`|>`",
    "UPTO": "`..`",
    "_NL": "the end of the line",
    "NAME": "a name",
    "STRING": "a string",
    "IN": "`in`",
    "WITH": "`with`",
    "EVERY": "`every`",
    "FROM": "`from`",
    "ELSE": "`else`",
}


def explain(run: Run) -> SourceError:
    """The error for the place where a run is stuck."""
    for check in CHECKS:
        error = check(run)
        if error:
            return error
    return _general(run)


def _unclosed(run: Run) -> SourceError | None:
    """A bracket without its other half, noticed by what cannot stand inside."""
    if run.leaves_body:
        begin = run.words[0]
        return _missing_brace(run, run.span(begin), f"`{begin}` cannot stand in a body: ")
    bracket = run.bracket
    if bracket and (run.ends or run.kind == "RBRACE" or run.leaves_bracket):
        close = "`)`" if bracket.token == "(" else "`]`"
        message = f"{close} is missing: this `{bracket.token}` is never closed"
        return SourceError("E106", message, run.span(bracket.token))
    if run.ends and run.braces and run.previous_kind in ("_NL", "RBRACE", "LBRACE"):
        return _missing_brace(run, run.here, "the file ends: ")
    if run.kind == "_NL" and "LBRACE" in run.accepts and OPENS_NEXT.match(run.text, run.at):
        return SourceError("E106", "the `{` must stand on this line", run.here, "move it up from the next line")
    return None


def _missing_brace(run: Run, span: Span, why: str) -> SourceError:
    opening = run.suspect if run.suspect is not None else run.braces[-1].token
    line = run.span(opening).line
    note = f"line {line}: {run.source.line(line).strip()[:100]}"
    return SourceError("E106", f"{why}`}}` is missing for the `{{` of line {line}", span, notes=[note])


def _closing(run: Run) -> SourceError | None:
    """A closing bracket that closes nothing, or another one."""
    if run.kind not in ("RPAR", "RSQB", "RBRACE"):
        return None
    if not (run.braces if run.kind == "RBRACE" else run.bracket):
        return SourceError("E107", f"this `{run.token}` closes nothing", run.here, "leave it out")
    if run.bracket and (run.kind == "RPAR") != (run.bracket.token == "("):
        hint = f"expected {'`)`' if run.bracket.token == '(' else '`]`'}"
        return SourceError("E107", f"`{run.token}` does not close `{run.bracket.token}`", run.here, hint)
    return None


def _unfinished(run: Run) -> SourceError | None:
    """A line or a body that ends where a value must follow."""
    if not (run.ends or run.kind in ("_NL", "RBRACE")) or run.previous_kind not in BREAKS:
        return None
    hint = "a value is missing after it"
    if run.breaks_off and run.previous_kind == "PIPE":
        hint = "begin the next line with `|>` instead"
    elif run.breaks_off:
        hint = "put the whole in parentheses to go on in the next line"
    return SourceError("E108", f"the line ends after `{run.previous}`", run.here, hint)


def _logic(run: Run) -> SourceError | None:
    for token in (run.token, run.previous):
        if token is not None and token.type == "NAME" and str(token) in ("and", "or", "not"):
            hint = "nest `if`s, or compute with `where`"
            return SourceError("E115", f"there is no `{token}`", run.span(token), hint)
    return None


def _after_value(run: Run) -> SourceError | None:
    """What cannot follow the value before it."""
    if run.previous_kind not in VALUE_ENDS or not run.statement:
        return None
    if run.kind == "LSQB" and run.first != "input":
        hint = "`split(x, at: [1, 3])` cuts a tensor along axis 1 into parts; `axis: 0` cuts the batch"
        if str(run.previous) in ("shape", "size"):
            hint = "nothing asks for a size: in `reshape(x, shape: [0, -1])` 0 keeps one, -1 is what is left"
        return SourceError("E113", "there is no indexing", run.here, hint)
    if run.kind == "AS":
        return SourceError("E116", "`as` names the call just before it", run.here, "there is no call before this one")
    if run.kind not in OPERATORS or "PIPE" not in run.accepts:
        return None
    if run.kind == "RELATION" and not _piped(run.statement):
        return SourceError("E114", "comparisons do not chain", run.here, "compare in two steps")
    message = f"`|>` binds loosest: `{run.token}` cannot follow a piped call"
    return SourceError("E110", message, run.here, f"put the pipe in parentheses: `(x |> f) {run.token} …`")


def _piped(statement: list[Token]) -> bool:
    """Whether the expression that ends a statement so far holds a `|>`, outside its brackets."""
    depth = 0
    for token in reversed(statement):
        if token.type in ("RPAR", "RSQB"):
            depth += 1
        elif token.type in ("LPAR", "LSQB"):
            depth -= 1
        if depth < 0 or (not depth and token.type in ("COMMA", "COLON", "EQUAL")):
            return False
        if not depth and token.type == "PIPE":
            return True
    return False


def _brace(run: Run) -> SourceError | None:
    if run.kind == "LBRACE" and run.accepts >= VALUE and run.first not in ("for", "if"):
        return SourceError("E117", "`{` opens no value: there are no dictionaries", run.here, "a list is `[1, 2]`")
    return None


def _second_statement(run: Run) -> SourceError | None:
    """Something that follows a whole statement on its line."""
    if run.token is None or run.kind == "_NL" or run.bracket or "_NL" not in run.accepts:
        return None
    if run.kind in ("DOT", "LPAR") or "EQUAL" in run.accepts or not (run.statement or run.previous_kind == "RBRACE"):
        return None
    hint = "begin another line, or put an operator or `|>` between"
    if run.kind == "COMMA":
        last = run.text[run.at + 1 :].lstrip(" \t")[:1] in ("\n", "#", "")
        between = (
            "each setting stands on a line of its own, a list is `[1, 2]`" if run.in_train else "a list is `[1, 2]`"
        )
        hint = "leave it out" if last else between
    elif run.previous_kind == "RBRACE":
        hint = "begin another line"
    return SourceError("E109", f"the statement ends before `{run.token}`", run.here, hint)


def _general(run: Run) -> SourceError:
    accepts = run.accepts
    found = "the end of the file" if run.ends else "the end of the line" if run.kind == "_NL" else f"`{run.token}`"
    parts = []
    if "NAME" in accepts:
        accepts -= {"WITH", "FROM"}  # which are names there
    if accepts >= VALUE:
        parts.append("a value")
        accepts -= VALUE
    if accepts >= AFTER_VALUE - {"AS", "DOT"}:
        parts.append("an operator")
        accepts -= {"LPAR"}
    accepts -= AFTER_VALUE
    parts += [text for kind, text in SHOWN.items() if kind in accepts]
    hint = f"expected {either(parts[:5])}" if parts else ""
    notes = [f"the form is {FORMS[run.first]}"] if run.first in FORMS and not run.bracket else []
    return SourceError("E101", f"{found} does not fit here", run.here, hint, notes)


CHECKS: tuple[Callable[[Run], SourceError | None], ...] = (
    character,
    number,
    string,
    directive,
    _unclosed,
    _closing,
    _unfinished,
    _logic,
    equal,
    colon,
    word,
    _after_value,
    _brace,
    _second_statement,
)
