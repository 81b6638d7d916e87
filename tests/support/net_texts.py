"""Valid `.net` texts by chance: every form of the language, with spaces, newlines and comments where they may stand."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import strategies as st

Words: TypeAlias = list[str]  # "\n" ends a line, "\0" is a place inside brackets where a line may be broken

PLAIN = st.sampled_from(["x", "y", "conv1", "classes", "relu", "a_b", "N", "from", "with", "test", "_"])
NAME = PLAIN | st.sampled_from(["data", "train", "input", "param", "loss", "metric", "output"])
TARGET = PLAIN | st.sampled_from(["data", "train"])
NUMBER = st.sampled_from(["0", "1", "64", "0.5", ".5", "1e-3", "2.50", "1E5", "9223372036854775807"])
STRING = st.sampled_from(['""', '"conv1/7x7_s2"', '"# no comment {"', '"ü |> (\\"'])


def many(items: st.SearchStrategy[Words], sign: str, most: int = 3) -> st.SearchStrategy[Words]:
    """Items with a sign between them, at least one."""

    def join(parts: list[Words]) -> Words:
        return [word for number, part in enumerate(parts) for word in ([sign, "\0"] if number else []) + part]

    return st.lists(items, min_size=1, max_size=most).map(join)


def bracketed(items: st.SearchStrategy[Words], opening: str, closing: str) -> st.SearchStrategy[Words]:
    """No items or some, in brackets, with a comma after the last by chance."""
    comma = st.sampled_from([[], [",", "\0"]])
    some = st.tuples(many(items, ","), comma).map(lambda parts: parts[0] + parts[1])
    return (st.just([]) | some).map(lambda words: [opening, "\0", *words, "\0", closing])


def chain(*parts: st.SearchStrategy[Words] | str) -> st.SearchStrategy[Words]:
    """Parts one after the other."""
    made = [st.just([part]) if isinstance(part, str) else part for part in parts]
    return st.tuples(*made).map(lambda found: [word for part in found for word in part])


def optional(part: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    return st.just([]) | part


def one(words: st.SearchStrategy[str]) -> st.SearchStrategy[Words]:
    return words.map(lambda word: [word])


LABEL = optional(chain("as", one(PLAIN | STRING)))
PATH = many(one(NAME), ".").map(lambda words: [word for word in words if word != "\0"])
INDEXED = chain(PATH, ".", one(st.sampled_from(["2", "17"])), ".", one(PLAIN))


def _extend(value: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    """Expressions over smaller ones; what binds looser stands in parentheses."""
    atom = value | chain("(", "\0", value, "\0", ")")
    closed = chain("(", "\0", value, "\0", ")")
    call = chain(one(NAME), arguments(value), LABEL)
    step = chain("\0|>", one(NAME), optional(arguments(value)), LABEL)
    sign = one(st.sampled_from(["+", "-", "*", "/", "**", "<", ">", "<=", ">=", "==", "!="]))
    return st.one_of(
        call,
        chain(closed | one(NAME), step, optional(step)),
        chain(closed, "\0", sign, "\0", closed),
        chain(one(NUMBER), one(st.just("/")), one(NUMBER)),
        chain("-", closed | one(NAME)),
        chain(one(NAME), "**", "-", one(NUMBER)),
        bracketed(atom, "[", "]"),
    )


def arguments(value: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    return bracketed(value | chain(one(NAME), ":", value), "(", ")")


LEAF = one(NAME | NUMBER | STRING | st.sampled_from(["true", "false", "none"])) | PATH | INDEXED
VALUE = st.recursive(LEAF, _extend, max_leaves=6)
FORMALS = bracketed(chain(one(NAME), optional(chain("=", VALUE))), "(", ")")
TYPE = chain(one(st.sampled_from(["f32", "i64"])), bracketed(VALUE, "[", "]"))
DIRECTIVE = chain("@", one(PLAIN), optional(arguments(VALUE)), one(st.sampled_from(["", "\n"])))
SIMPLE = st.one_of(
    chain("input", one(NAME), ":", TYPE),
    chain("param", optional(arguments(VALUE)), one(NAME), ":", TYPE, optional(chain("=", VALUE))),
    chain(one(st.sampled_from(["loss", "metric", "output"])), optional(arguments(VALUE)), one(NAME), "=", VALUE),
    chain(many(one(TARGET), ",").map(lambda words: [word for word in words if word != "\0"]), "=", VALUE),
    chain("return", many(VALUE, ",").map(lambda words: [word for word in words if word != "\0"])),
)


def body(statement: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    lines = many(statement, "\n").map(lambda words: [word for word in words if word != "\0\0"])
    return st.one_of(
        st.just(["{", "}"]),
        chain("{", statement, "}"),
        chain("{", "\n", lines, "\n", "}"),
    )


def _nest(statement: st.SearchStrategy[Words]) -> st.SearchStrategy[Words]:
    items = VALUE | chain(VALUE, "..", VALUE)
    return st.one_of(
        chain("for", one(TARGET), "in", items, body(statement)),
        chain(
            *("if", VALUE, body(statement)),
            optional(chain("\0else", "if", VALUE, body(statement))),
            optional(chain("\0else", body(statement))),
        ),
        chain(DIRECTIVE, statement),
    )


STATEMENT = st.recursive(SIMPLE, _nest, max_leaves=4)
EVERY = chain(optional(VALUE | chain(VALUE, "with", one(NAME))), "every", VALUE, optional(chain("from", VALUE)))
SETTINGS = body(chain(one(NAME), ":", VALUE | EVERY))
DEFINITION = st.one_of(
    chain("import", one(STRING)),
    chain("const", one(NAME), "=", VALUE),
    chain("op", one(NAME), FORMALS, "=", VALUE),
    chain("block", one(NAME), FORMALS, body(STATEMENT)),
    chain("net", one(NAME), optional(FORMALS), body(STATEMENT)),
    chain("data", one(NAME), "=", VALUE),
    chain("train", one(NAME), optional(arguments(VALUE)), SETTINGS),
)
NEWLINES = st.sampled_from(["\n", "\n", "\n\n", "  # a comment\n", "\n# one\n\n\n  # two\n", "\r\n\t"])


@st.composite
def net_texts(draw: st.DrawFn) -> str:
    """A whole file."""
    words = draw(st.lists(DEFINITION, max_size=3).map(lambda parts: [w for part in parts for w in [*part, "\n"]]))
    text = draw(st.sampled_from(["", "# first\n", "\n\n"]))
    depth = 0
    for word in words:
        if word.startswith("\0"):  # a line may be broken before this word, or here inside brackets
            word = word[1:]
            if depth or word:
                text += draw(st.sampled_from(["", "", " ", "\n    ", " # note\n", "\n# note\n\n"]))
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(word, 0)
        text += draw(NEWLINES) if word == "\n" else (" " if word else "") + word
    return text + draw(st.sampled_from(["", "# last", "\n  # last\n"]))
