"""Constant evaluation of C's integer expressions, as the frames of kernels have them: text is run, not believed.

Names may stand for whole numbers, for arrays of them, and, in what neither compares nor chooses, for expressions over
loop variables (`compiler/loops/index.py`). Calls are of macros.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import add, and_, eq, ge, gt, le, lt, mul, ne, neg, or_, sub
from typing import Any

import numpy as np

from ...loops.index import Expr

TOKEN = re.compile(r"\s*(\d+|[A-Za-z_]\w*|\|\||&&|[<>=!]=|[-+*/%<>?:(),])")
DEFINED = re.compile(r"^ *#define (\w+)\(([\w, ]+)\) (.+)$", re.MULTILINE)


def _quotient(a: Any, b: Any) -> Any:
    """C's division: toward zero."""
    if isinstance(a, Expr):
        if a.bounds[0] < 0:
            raise ValueError(f"{a} may be negative where it is divided")
        return a // b
    return abs(a) // abs(b) * (1 - 2 * ((a < 0) != (b < 0)))


def _remainder(a: Any, b: Any) -> Any:
    return a % b if isinstance(a, Expr) else a - _quotient(a, b) * b


def _chosen(condition: Any, a: Any, b: Any) -> Any:
    return np.where(condition, a, b) if isinstance(condition, np.ndarray) else (a if condition else b)


# What binds loosest comes first.
LEVELS: tuple[dict[str, Callable[[Any, Any], Any]], ...] = (
    {"||": or_},
    {"&&": and_},
    {"==": eq, "!=": ne},
    {"<": lt, ">": gt, "<=": le, ">=": ge},
    {"+": add, "-": sub},
    {"*": mul, "/": _quotient, "%": _remainder},
)


# Gives the value of an expression where names stand for something.
Evaluate = Callable[["Scope"], Any]


@dataclass
class _Reader:
    tokens: list[str]
    at: int = 0
    text: str = ""

    def next(self, *wanted: str) -> str:
        """The next token if it is one of these, or any; "" if it is not."""
        if self.at == len(self.tokens) or (wanted and self.tokens[self.at] not in wanted):
            return ""
        self.at += 1
        return self.tokens[self.at - 1]

    def must(self, wanted: str) -> None:
        if not self.next(wanted):
            raise ValueError(f"`{wanted}` is missing in `{self.text}`")

    def whole(self) -> Evaluate:
        condition = self.level(0)
        if not self.next("?"):
            return condition
        first = self.whole()
        self.must(":")
        return _applied(_chosen, condition, first, self.whole())

    def level(self, depth: int) -> Evaluate:
        if depth == len(LEVELS):
            return self.atom()
        found = self.level(depth + 1)
        while sign := self.next(*LEVELS[depth]):
            found = _applied(LEVELS[depth][sign], found, self.level(depth + 1))
        return found

    def atom(self) -> Evaluate:
        token = self.next()
        if token == "(":
            found = self.whole()
            self.must(")")
            return found
        if token == "-":
            return _applied(neg, self.atom())
        if token.isdigit():
            number = int(token)
            return lambda _: number
        if not token.isidentifier():
            raise ValueError(f"`{token}` is no number in `{self.text}`")
        if not self.next("("):
            return lambda scope: scope.names[token]
        inner = [self.whole()]
        while self.next(","):
            inner.append(self.whole())
        self.must(")")
        return lambda scope: scope.call(token, [of(scope) for of in inner])


def _applied(operation: Callable[..., Any], *inner: Evaluate) -> Evaluate:
    if len(inner) == 2:
        a, b = inner
        return lambda scope: operation(a(scope), b(scope))
    return lambda scope: operation(*(of(scope) for of in inner))


@lru_cache(1 << 12)
def read(text: str) -> Evaluate:
    """The expression of a text. Raises ValueError for what is none."""
    tokens = TOKEN.findall(text)
    if "".join(tokens) != "".join(text.split()):
        raise ValueError(f"`{text}` is no integer expression")
    reader = _Reader(tokens, text=text)
    found = reader.whole()
    if reader.at != len(tokens):
        raise ValueError(f"`{text}` has more than an expression")
    return found


@dataclass
class Scope:
    """What names stand for. macros: parameters and expression of each."""

    names: dict[str, Any] = field(default_factory=dict)
    macros: Mapping[str, tuple[Sequence[str], str]] = field(default_factory=dict)

    def value(self, text: str) -> Any:
        """The value of an expression. Raises ValueError for a text that is none, KeyError for an unknown name."""
        return read(text)(self)

    def set(self, defined: str) -> None:
        """Run definitions: `a = …, b = …`."""
        for name, text in definitions(defined):
            self.names[name] = self.value(text)

    def call(self, macro: str, given: Sequence[Any]) -> Any:
        """The value of a macro."""
        parameters, text = self.macros[macro]
        return Scope({**self.names, **dict(zip(parameters, given, strict=True))}, self.macros).value(text)


@lru_cache(1 << 12)
def definitions(text: str) -> tuple[tuple[str, str], ...]:
    """The names and expressions of `a = …, b = …`."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    pairs = [part.partition(" = ") for part in parts]
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def macros_of(text: str) -> dict[str, tuple[list[str], str]]:
    """The macros with parameters that a text defines."""
    return {name: (re.findall(r"\w+", parameters), body) for name, parameters, body in DEFINED.findall(text)}
