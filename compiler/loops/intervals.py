"""Interval arithmetic and mixed radix on index expressions: what values they take under guards, and whether all differ.

Where intervals do not tell, values are tried all, if they are few: not of variables, of which there are many, but of
the digits of these (remainders of quotients by constants) that expressions and guards are made of.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .index import Expr, Floor, Mod, Term, Var
from .view import Guard

# So many values are tried one by one.
TRIED = 1 << 20
# Of numbers in a wider range those that there are are not marked one by one.
MARKED = 1 << 24


def inside(bounds: tuple[int, int], n: int) -> bool:
    """Whether an interval lies within an axis."""
    return bounds[0] >= 0 and bounds[1] < n


def meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two intervals have a number in common."""
    return one[0] <= other[1] and other[0] <= one[1]


def within(e: Expr, n: int, guards: Sequence[Guard]) -> bool:
    """Whether 0 <= e < n where all guards hold."""
    return inside(_under(e, guards), n) or _tried(e, n, guards)


def distinct(values: Sequence[Expr], guards: Sequence[Guard]) -> bool:
    """Whether expressions together are others for other values of their variables, where all guards hold."""
    terms = [term for e in values for _, term in e.terms]
    if all(map(_radix, values)) and _digits(terms):
        return True
    mesh = _mesh(frozenset(v for e in values for v in e.vars)) if len(values) == 1 else None
    if mesh is None:
        return False
    about = [g for g in guards if g.expr.vars <= mesh.keys()]
    shape = np.broadcast_shapes(*(v.shape for v in mesh.values()))
    found = np.broadcast_to(values[0].value(mesh), shape)[np.broadcast_to(_holds(about, mesh), shape)]
    low, high = values[0].bounds
    if high - low >= MARKED:
        return bool(np.unique(found).size == found.size)
    seen = np.zeros(high - low + 1, np.bool_)  # far quicker than to sort them
    seen[found - low] = True
    return bool(np.count_nonzero(seen) == found.size)


def count(named: frozenset[Var], guards: Sequence[Guard]) -> int:
    """How many values variables have together where guards on them hold; -1 if these are too many to be tried."""
    if not guards:
        return math.prod(v.size for v in named)
    if not frozenset(v for guard in guards for v in guard.expr.vars) <= named:
        return -1
    digits = _digits_of([guard.expr for guard in guards])
    exact = all(math.prod(x.size for x in e.vars) == v.size for v, e in digits.items())
    over = [guard.replace(digits) for guard in guards] if exact else guards
    mesh = _mesh(frozenset(v for guard in over for v in guard.expr.vars))
    if mesh is None:
        return -1
    shape = np.broadcast_shapes(*(v.shape for v in mesh.values()))
    held = int(np.count_nonzero(np.broadcast_to(_holds(over, mesh), shape)))
    return held * math.prod(v.size for v in named) // math.prod(v.size for v in mesh)


def _under(e: Expr, guards: Sequence[Guard]) -> tuple[int, int]:
    """The bounds of an expression where guards hold: what one bounds is a variable of that range."""
    if len(e.terms) == 1 and e.terms[0][0] == 1 and isinstance(e.terms[0][1], Floor) and not e.offset:
        low, high = _under(e.terms[0][1].of, guards)
        return low // e.terms[0][1].divisor, high // e.terms[0][1].divisor
    low, high = e.bounds
    found = [e]
    for number, guard in enumerate(guards):
        if not guard.expr.terms:
            continue
        factor, term = guard.expr.terms[0]
        inner = Expr.of(Var(f".{number}", guard.high - guard.low)) + guard.low
        for x in list(found):
            times, left = divmod({t: f for f, t in x.terms}.get(term, 0), factor)
            if times and not left:
                found.append(x - guard.expr * times + inner * times)
                low, high = max(low, found[-1].bounds[0]), min(high, found[-1].bounds[1])
    return low, high


def _tried(e: Expr, n: int, guards: Sequence[Guard]) -> bool:
    """Whether an expression is within an axis for all values, of its variables or their digits, that guards let by."""
    digits = _digits_of([e, *(guard.expr for guard in guards)])
    cut = e.replace(digits), [guard.replace(digits) for guard in guards]
    for value, over in (cut, (e, guards)):
        about = [guard for guard in over if not guard.expr.vars.isdisjoint(value.vars)]
        mesh = _mesh(value.vars.union(*(guard.expr.vars for guard in about)))
        if mesh is not None:
            found = value.value(mesh)
            if np.all(~np.asarray(_holds(about, mesh)) | ((found >= 0) & (found < n))):
                return True
    return False


def mesh_of(variables: Iterable[Var]) -> dict[Var, Any]:
    """All values of some variables, each along a dimension of its own."""
    ordered = sorted(variables, key=lambda v: v.key)
    return dict(zip(ordered, np.ix_(*(np.arange(v.size) for v in ordered)), strict=True))


def _mesh(variables: Collection[Var]) -> dict[Var, Any] | None:
    """The same, or None if there are too many to be tried."""
    return mesh_of(variables) if math.prod(v.size for v in variables) <= TRIED else None


def _holds(guards: Sequence[Guard], values: Mapping[Var, Any]) -> Any:
    held: Any = np.True_
    for guard in guards:
        held = held & guard.value(values)
    return held


# Digits of variables.


def _digits_of(found: Iterable[Expr]) -> dict[Var, Expr]:
    """Variables as sums of the digits in which expressions cut them, each digit a variable of its own.

    A variable stays as it is where its cuts are no multiples of each other. The first digit may go beyond its end.
    """
    cuts: dict[Var, set[int]] = defaultdict(set)
    stack = [term for e in found for _, term in e.terms]
    while stack:
        term = stack.pop()
        if isinstance(term, Var):
            continue
        var, low, high = digit(term)
        if var is None and len(term.of.terms) == 1 and isinstance(term.of.terms[0][1], Var):
            var, low, high = term.of.terms[0][1], term.divisor, term.divisor  # of a variable and a constant
        if var is None:
            stack += [inner for _, inner in term.of.terms]
        else:
            cuts[var] |= {n for n in (low, high) if 1 < n < var.size}
    digits: dict[Var, Expr] = {}
    for var, ends in cuts.items():
        chain = [1, *sorted(ends)]
        if len(chain) > 1 and all(b % a == 0 for a, b in pairwise(chain)):
            sizes = [*(b // a for a, b in pairwise(chain)), -(-var.size // chain[-1])]
            parts = [Expr.of(Var(f"{var.name}.{n}", size)) * n for n, size in zip(chain, sizes, strict=True)]
            digits[var] = sum(parts, Expr.of(0))
    return digits


def _digits(terms: Iterable[Term]) -> bool:
    """Whether terms tell all their variables: each is one, or quotients and remainders of it are that leave no gap."""
    terms = list(terms)
    parts = _of_variables(terms)
    for v in frozenset(v for term in terms for v in ((term,) if isinstance(term, Var) else term.vars)):
        at = 1
        for low, high in sorted(parts.get(v, ())):
            at = max(at, high) if low <= at else at
        if at < v.size:
            return False
    return True


def _of_variables(terms: Iterable[Term]) -> dict[Var, list[tuple[int, int]]]:
    """The digits (v % high) // low among some terms, as (low, high) by their variables."""
    parts: dict[Var, list[tuple[int, int]]] = defaultdict(list)
    for term in terms:
        var, low, high = digit(term)
        if var is not None:
            parts[var].append((low, high))
    return parts


def _radix(e: Expr) -> bool:
    """Whether an expression tells its terms: each step is longer than all smaller ones can reach together."""
    reach = 0
    for factor, term in reversed(e.terms):
        low, high = term.bounds
        if abs(factor) <= reach:
            return False
        reach += abs(factor) * (high - low)
    return True


def digit(term: Term) -> tuple[Var | None, int, int]:
    """The variable of which a term is (v % high) // low; None if it is no digit of one."""
    low, high = 1, 0
    if isinstance(term, Mod):
        high = term.divisor
        term = inner if (inner := _single(term.of)) is not None else term
    if isinstance(term, Floor):
        low = term.divisor
        term = inner if (inner := _single(term.of)) is not None else term
    return (term, low, low * high if high else term.size) if isinstance(term, Var) else (None, 0, 0)


def _single(e: Expr) -> Term | None:
    return e.terms[0][1] if len(e.terms) == 1 and e.terms[0][0] == 1 and not e.offset else None
