"""Mistakes in how a statement, a definition or a setting begins: its first word, `=` and `:`."""

from __future__ import annotations

import re

from .recovery import DEFINITIONS, Run
from .source import SourceError, Span, suggest

OPENS_STATEMENT = ("input", "param", "loss", "metric", "output")
STATEMENTS = (*OPENS_STATEMENT, "for", "if", "return")
FORMS = {
    "input": "`input NAME: f32[N, 10]`",
    "param": "`param NAME: f32[10] = constant(1)`",
    "loss": "`loss NAME = …`",
    "metric": "`metric NAME = …`",
    "output": "`output NAME = …`",
    "for": "`for NAME in 1..3 { … }`",
    "if": "`if CONDITION { … }`",
    "return": "`return VALUE`",
    "else": "`else { … }`",
    "import": '`import "FILE.net"`',
    "const": "`const NAME = …`",
    "op": "`op NAME(x) = …`",
    "block": "`block NAME(x) { … }`",
    "net": "`net NAME { … }`",
    "data": "`data NAME = SOURCE(…)`",
    "train": "`train NET { … }`",
}
ABSENT = {
    "while": "`for i in 1..3 { … }` repeats a known number of times",
    "def": "a piece of net is a `block`, an operator of your own an `op`",
    "function": "a piece of net is a `block`, an operator of your own an `op`",
    "class": "a piece of net to use many times is a `block`",
    "elif": "write `else if`",
    "elseif": "write `else if`",
    "let": "a value is bound by `NAME = …` alone",
    "var": "a value is bound by `NAME = …` alone",
    "from": 'a file is brought in whole: `import "FILE.net"`',
    "include": 'a file is brought in by `import "FILE.net"`',
}
CAFFE = ("layer", "layers", "input_shape", "net_param", "train_state", "test_state")
OPERATORS = ("PLUS", "MINUS", "STAR", "SLASH", "POWER", "RELATION")
_NEXT = re.compile(r"[A-Za-z_0-9]*[ \t]*([=:{(|.,+*/-]?)")


def directive(run: Run) -> SourceError | None:
    """A directive at the top of a file, or with nothing after it."""
    if run.kind == "AT" and not run.braces:
        hint = "directives stand before the statements of a net or a block"
        return SourceError("E119", "a directive cannot stand here", run.here, hint)
    if run.kind == "RBRACE" and run.braces and not run.bracket and "AT" in run.accepts:
        return SourceError("E119", "a directive stands before a statement", run.here, "there is none after this one")
    return None


def equal(run: Run) -> SourceError | None:
    """`=` where another sign stands, or where nothing can be bound."""
    words, first, here = run.statement, run.first, run.here
    if run.kind in OPERATORS and run.text[run.at + len(run.token or "") :].startswith("=") and len(words) == 1:
        span = Span(run.source, run.at, here.end + 1)
        return SourceError("E117", f"there is no `{run.token}=`", span, f"write `{first} = {first} {run.token} …`")
    if run.kind != "EQUAL" or not words:
        return None
    if run.previous is not None and run.previous.type == "EQUAL" and run.previous.end_pos == run.at:
        return SourceError("E111", "`==` compares", run.span(run.previous).to(here), f"write `{first} = …` to bind")
    if run.previous_kind == "RELATION" and run.previous is not None:
        span = run.span(run.previous).to(here)
        return SourceError("E101", f"`{run.previous}=` is no operator", span, "the comparisons are < > <= >= == !=")
    if run.bracket:
        hint = f"write `{run.previous}: …`" if run.previous_kind == "NAME" else ""
        return SourceError("E111", "a named setting takes `:`, not `=`", here, hint)
    if first in OPENS_STATEMENT and len(words) == 1:
        hint = f"write {FORMS[first]}, or choose another name"
        return SourceError("E112", f"`{first}` opens a statement here and cannot be bound", run.span(words[0]), hint)
    if first in ("input", "param"):
        return SourceError("E111", f"`{first}` takes a type after `:`", here, f"the form is {FORMS[first]}")
    if first in ("if", "for") and len(words) == 1:
        message, hint = (
            f"`{first}` is a word of the language and cannot be a name",
            f"choose another, such as `{first}_`",
        )
        return SourceError("E105", message, run.span(words[0]), hint)
    if first in ("if", "for"):
        return SourceError("E111", "`=` binds a name", here, "a comparison is `==`")
    if run.in_train:
        return SourceError("E111", "a setting takes `:`, not `=`", here, f"write `{first}: …`")
    if any(token.type == "EQUAL" for token in words):
        return SourceError("E101", "a statement has one `=`", here, "a comparison is `==`")
    return None


def colon(run: Run) -> SourceError | None:
    """`:` where `=` stands."""
    if run.kind != "COLON" or run.previous_kind not in ("NAME", "DATA", "TRAIN"):
        return None
    first, here = run.first, run.here
    if run.bracket and first in ("op", "block", "net"):
        return SourceError("E111", "a default takes `=`, not `:`", here, f"write `{run.previous} = …`")
    binds = first in ("loss", "metric", "output", "const", "data") or (run.braces and len(run.statement) == 1)
    if not run.bracket and binds:
        return SourceError("E111", "a name is bound with `=`, not `:`", here, f"write `{run.previous} = …`")
    return None


def word(run: Run) -> SourceError | None:
    """Words that begin no statement, or not here."""
    words = run.words
    if run.bracket or not 1 <= len(words) <= 2 or not re.match(r"[A-Za-z_]", str(words[0])):
        return None
    begin, top, follows = str(words[0]), not run.braces, _follows(run)
    span = run.span(words[0])
    if run.previous_kind == "RBRACE" and len(words) == 1 and "ELSE" in run.accepts and suggest(begin, ["else"]):
        return SourceError("E118", f"`{begin}` does not go on after a `}}`", span, "did you mean `else`?")
    if top and not run.begun and (follows == ":" or (begin in CAFFE and follows == "{")) and begin not in FORMS:
        hint = "a .net says `net NAME { … }`; `netc explain E120` says more"
        return SourceError("E120", "this looks like a Caffe .prototxt, not like a .net", span, hint)
    if begin in ABSENT and not run.in_train:
        return SourceError("E117", f"`{begin}` begins no statement", span, ABSENT[begin])
    if begin == "else" and (len(words) == 1 or words[0].type == "NAME"):
        return SourceError("E118", "this `else` follows no `if`", span)
    if begin in FORMS and len(words) == 2 and not run.in_train and (begin in DEFINITIONS) == top:
        if follows == "" and run.kind == "_NL":
            return None
        return SourceError(
            "E101", f"`{begin}` is not followed by `{run.token}`", run.here, f"the form is {FORMS[begin]}"
        )
    if top:
        return _at_top(begin, span, follows)
    if len(words) == 2 and run.kind in ("LPAR", "PIPE", *OPERATORS) and not run.in_train:
        return SourceError("E118", "this value is bound to no name", span, "write `NAME = …`")
    if len(words) == 2 and run.kind not in ("EQUAL", "COLON", "COMMA", "LSQB"):
        if run.in_train:
            return SourceError("E118", f"`{begin}` begins no setting", span, "the form is `NAME: VALUE`")
        hint = suggest(begin, STATEMENTS) or f"expected `NAME = …` or {either(STATEMENTS)}"
        return SourceError("E118", f"`{begin}` begins no statement", span, hint)
    return None


def _at_top(begin: str, span: Span, follows: str) -> SourceError | None:
    if begin in DEFINITIONS:
        return None
    if begin in STATEMENTS:
        return SourceError("E118", f"`{begin}` stands in a net or a block", span, "not at the top of a file")
    if follows in ("=", ","):
        return SourceError("E118", "a value is bound in a net or a block", span, "at the top: `const NAME = …`")
    hint = suggest(begin, DEFINITIONS) or f"expected {either(DEFINITIONS)}"
    return SourceError("E118", f"`{begin}` begins no definition", span, hint)


def _follows(run: Run) -> str:
    """The character after the statement's first word, where it is a sign."""
    match = _NEXT.match(run.text, run.words[0].start_pos or 0)
    return match[1] if match else ""


def either(words: tuple[str, ...] | list[str]) -> str:
    """The words as a choice: "a, b or c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
