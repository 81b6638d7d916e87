"""Integer expressions over loop variables, in a canonical form: what an index is made of.

An `Expr` is a constant plus multiples of terms; a term is a variable, or a quotient or remainder of an expression by
a positive number. Sums, quotients and remainders are simplified as they are made, with what is known of the ranges of
the variables, so that equal digits of equal numbers are equal, and an index flattened and cut again is as before.
Numerators are kept from being negative: there C's division (and Triton's) agrees with Python's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Union

REMEMBERED = 1 << 16


@dataclass(frozen=True)
class Var:
    """A loop variable: 0 <= var < size, which is a number in any text, whatever its dimension is called."""

    name: str
    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", int(self.size))

    @property
    def bounds(self) -> tuple[int, int]:
        return 0, max(self.size - 1, 0)

    @property
    def key(self) -> str:
        return f"{self.name}:{self.size}"

    def __str__(self) -> str:
        return self.name


class _Digit:
    """A quotient or a remainder. Make one with `//` or `%` on an expression, which simplifies."""

    __slots__ = ("_hash", "bounds", "divisor", "key", "of", "vars")
    sign = ""

    def __init__(self, of: Expr, divisor: int, bounds: tuple[int, int]) -> None:
        self.of = of
        self.divisor = divisor
        self.vars: frozenset[Var] = of.vars
        self.bounds = bounds
        self.key: str = f"({of.key}){self.sign}{divisor}"
        self._hash = hash(self.key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.key == other.key)

    def __str__(self) -> str:
        of = str(self.of)
        simple = len(self.of.terms) == 1 and not self.of.offset and self.of.terms[0][0] == 1
        return f"{of} {self.sign} {self.divisor}" if simple else f"({of}) {self.sign} {self.divisor}"

    __repr__ = __str__


class Floor(_Digit):
    """of // divisor."""

    __slots__ = ()
    sign = "//"

    def __init__(self, of: Expr, divisor: int) -> None:
        low, high = of.bounds
        super().__init__(of, divisor, (low // divisor, high // divisor))


class Mod(_Digit):
    """of % divisor."""

    __slots__ = ()
    sign = "%"

    def __init__(self, of: Expr, divisor: int) -> None:
        super().__init__(of, divisor, (0, min(divisor - 1, of.bounds[1])))


Term = Union[Var, Floor, Mod]  # noqa: UP007


class Expr:
    """offset + sum of coefficient * term. Immutable; terms are sorted by the size of their coefficients."""

    __slots__ = ("_hash", "bounds", "key", "offset", "terms", "vars")

    def __init__(self, terms: tuple[tuple[int, Term], ...], offset: int) -> None:
        self.terms = terms
        self.offset = offset
        low = high = offset
        used: frozenset[Var] = frozenset()
        for factor, term in terms:
            a, b = term.bounds
            low += factor * (a if factor > 0 else b)
            high += factor * (b if factor > 0 else a)
            used |= frozenset((term,)) if isinstance(term, Var) else term.vars
        # The least and the greatest value that it may have, from the ranges of its terms.
        self.bounds: tuple[int, int] = (low, high)
        self.vars: frozenset[Var] = used
        self.key: str = "+".join([*(f"{factor}*{term.key}" for factor, term in terms), str(offset)])
        self._hash = hash(self.key)

    @staticmethod
    def of(value: Var | int | Expr) -> Expr:
        if isinstance(value, Expr):
            return value
        return _made(((1, value),), 0) if isinstance(value, Var) else _made((), int(value))

    @property
    def constant(self) -> int | None:
        """Its value if it has no terms."""
        return None if self.terms else self.offset

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self.key == other.key)

    def __add__(self, other: Expr | Var | int) -> Expr:
        other = Expr.of(other)
        if not other.terms and not other.offset:
            return self
        if not self.terms and not self.offset:
            return other
        return _made((*self.terms, *other.terms), self.offset + other.offset)

    __radd__ = __add__

    def __sub__(self, other: Expr | Var | int) -> Expr:
        return self + Expr.of(other) * -1

    def __mul__(self, factor: int) -> Expr:
        if factor == 1:
            return self
        if factor == 0:
            return ZERO
        return _sorted({term: c * factor for c, term in self.terms}, self.offset * factor)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Expr:
        return _divide(self, int(divisor))[0]

    def __mod__(self, divisor: int) -> Expr:
        return _divide(self, int(divisor))[1]

    def replace(self, values: Mapping[Var, Expr]) -> Expr:
        """The same expression with variables replaced, simplified anew."""
        if self.vars.isdisjoint(values):
            return self
        total = Expr.of(self.offset)
        for factor, term in self.terms:
            if isinstance(term, Var):
                total += values.get(term, Expr.of(term)) * factor
            else:
                of = term.of.replace(values)
                total += (of // term.divisor if isinstance(term, Floor) else of % term.divisor) * factor
        return total

    def value(self, values: Mapping[Var, Any]) -> Any:
        """What it is for these values (ints or arrays of them)."""
        total: Any = self.offset
        for factor, term in self.terms:
            if isinstance(term, Var):
                part = values[term]
            else:
                part = term.of.value(values)
                part = part // term.divisor if isinstance(term, Floor) else part % term.divisor
            total = total + factor * part
        return total

    def parts(self, variables: Iterable[Var]) -> tuple[Expr, Expr]:
        """(the terms that depend on one of these variables, the rest with the constant); they add up to it."""
        chosen = frozenset(variables)
        inside = tuple(pair for pair in self.terms if not chosen.isdisjoint(_vars(pair[1])))
        outside = tuple(pair for pair in self.terms if chosen.isdisjoint(_vars(pair[1])))
        return Expr(inside, 0), Expr(outside, self.offset)

    def __str__(self) -> str:
        text = ""
        for factor, term in self.terms:
            inner = str(term) if isinstance(term, Var) or abs(factor) == 1 else f"({term})"
            part = inner if abs(factor) == 1 else f"{abs(factor)} * {inner}"
            if text:
                text += f" {'-' if factor < 0 else '+'} {part}"
            else:
                text = f"-{part}" if factor < 0 else part
        if not text:
            return str(self.offset)
        return text if not self.offset else f"{text} {'-' if self.offset < 0 else '+'} {abs(self.offset)}"

    __repr__ = __str__


def _vars(term: Term) -> frozenset[Var]:
    return frozenset((term,)) if isinstance(term, Var) else term.vars


def _sorted(factors: Mapping[Term, int], offset: int) -> Expr:
    found = [(factor, term) for term, factor in factors.items() if factor]
    if len(found) > 1:
        found.sort(key=lambda pair: (-abs(pair[0]), pair[1].key))
    return Expr(tuple(found), offset)


def _made(pairs: tuple[tuple[int, Term], ...], offset: int) -> Expr:
    """The sum: equal terms are added, terms of one value are constants, digits of one number are joined."""
    factors: dict[Term, int] = {}
    for factor, term in pairs:
        low, high = term.bounds
        if low == high:
            offset += factor * low
        else:
            factors[term] = factors.get(term, 0) + factor
    if len(factors) > 1:
        for term in [t for t in factors if isinstance(t, Mod)]:
            joined = _join(factors, term)
            if joined is not None:
                rest, more = joined
                return _made((*((f, t) for t, f in rest.items()), *more.terms), offset + more.offset)
    return _sorted(factors, offset)


def _join(factors: dict[Term, int], low: Mod) -> tuple[dict[Term, int], Expr] | None:
    """c*k*(e // k) + c*(e % k) = c*e, and the same with a few digits of e // k: those taken out, and what they make."""
    factor = factors[low]
    if not factor:
        return None
    upper = low.of // low.divisor
    if len(upper.terms) != 1 or upper.offset or upper.terms[0][0] != 1:
        return None
    above = upper.terms[0][1]
    if factors.get(above) == factor * low.divisor:
        return {t: f for t, f in factors.items() if t not in (low, above)}, low.of * factor
    for high, other in factors.items():
        if other == factor * low.divisor and isinstance(high, Mod) and high.of == upper:
            rest = {t: f for t, f in factors.items() if t not in (low, high)}
            return rest, (low.of % (low.divisor * high.divisor)) * factor
    return None


def _cut(e: Expr, divisor: int) -> tuple[Expr, Expr]:
    """(a, b) with e = divisor*a + b: b has the terms that the divisor does not divide, its least value is below it."""
    whole = {term: factor // divisor for factor, term in e.terms if factor % divisor == 0}
    rest = Expr(tuple(pair for pair in e.terms if pair[0] % divisor), e.offset)
    up = rest.bounds[0] // divisor
    return _sorted(whole, up), Expr(rest.terms, rest.offset - up * divisor)


@lru_cache(REMEMBERED)
def _divide(e: Expr, divisor: int) -> tuple[Expr, Expr]:
    """e // divisor and e % divisor."""
    if divisor < 1:
        raise ValueError(f"{e} is divided by {divisor}")
    whole, rest = _cut(e, divisor)
    if rest.bounds[1] < divisor:
        return whole, rest
    shared = {math.gcd(factor, divisor) for factor, _ in rest.terms} - {1}
    for step in sorted(shared, reverse=True):
        upper, lower = _cut(rest, step)
        if lower.bounds[1] < step:
            quotient, remainder = _divide(upper, divisor // step)
            return whole + quotient, remainder * step + lower
    if len(rest.terms) == 1 and rest.terms[0][0] == 1:
        quotient, remainder = _divide_digit(rest.terms[0][1], rest, divisor)
    else:
        quotient, remainder = _term(Floor(rest, divisor)), _term(Mod(rest, divisor))
    return whole + quotient, remainder


def _divide_digit(term: Term, e: Expr, divisor: int) -> tuple[Expr, Expr]:
    """The quotient and remainder of e, which is `term` plus a constant."""
    quotient, remainder = Floor(e, divisor), Mod(e, divisor)
    if isinstance(term, Floor):
        return (term.of + e.offset * term.divisor) // (term.divisor * divisor), _term(remainder)
    if isinstance(term, Mod) and not e.offset and term.divisor % divisor == 0:
        return (term.of // divisor) % (term.divisor // divisor), term.of % divisor
    return _term(quotient), _term(remainder)


def _term(term: Term) -> Expr:
    return _made(((1, term),), 0)


ZERO = Expr((), 0)
