"""What index expressions do under guards, against all of their values: what is said is so, and what is so is said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from netc.compiler.loops import intervals
from netc.compiler.loops.intervals import count, distinct, within
from netc.compiler.loops.view import Expr, Guard, Var


def values(variables: Sequence[Var], guards: Sequence[Guard]) -> Iterator[dict[Var, int]]:
    for chosen in itertools.product(*(range(v.size) for v in variables)):
        found = dict(zip(variables, chosen, strict=True))
        if all(guard.value(found) for guard in guards):
            yield found


def expression(rng: np.random.Generator, variables: Sequence[Var], depth: int = 2) -> Expr:
    """A sum of multiples of variables, and of quotients and remainders of such sums."""
    total = Expr.of(int(rng.integers(-2, 4)))
    for v in variables:
        part = Expr.of(v)
        for _ in range(int(rng.integers(0, depth + 1))):
            divisor = int(rng.integers(2, 7))
            part = (part + int(rng.integers(0, 3))) // divisor if rng.integers(0, 2) else part % divisor
        total = total + part * int(rng.integers(-2, 4))
    return total


@pytest.mark.parametrize("tried", [intervals.TRIED, 0])
@pytest.mark.parametrize("seed", range(60))
def test_what_is_said_is_so(seed: int, tried: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """tried: with and without trying all values."""
    monkeypatch.setattr(intervals, "TRIED", tried)
    rng = np.random.default_rng(seed)
    variables = [Var(name, int(rng.integers(1, 25))) for name in "ab"]
    e, other = expression(rng, variables), expression(rng, variables)
    low = int(rng.integers(-1, 3))
    guards = [Guard(other, low, low + int(rng.integers(1, 9)), int(rng.integers(1, 3)))]
    all_of_them = list(values(variables, guards))
    found = [e.value(one) for one in all_of_them]
    n = max(found, default=0) + 1
    fits = all(0 <= value < n for value in found)
    assert not within(e, n, guards) or fits
    assert not within(e, n - 1, guards) or not found or n == 1
    named = [v for v in variables if v in e.vars | other.vars]
    pairs = {tuple(one[v] for v in named): (e.value(one), other.value(one)) for one in all_of_them}
    assert not distinct([e, other], guards) or len({*pairs.values()}) == len(pairs)
    counted = count(frozenset(variables), guards)
    assert counted in (len(found), -1)
    if tried and found:
        assert within(e, n, guards) == fits
        assert counted == len(found)


def test_digits_are_few_where_variables_have_many_values() -> None:
    """The rows of a strided gradient's phases: a million of m, of which 13 digits matter."""
    m, phase = Var("m", 208 * 6007), Var("phase", 3)
    row = Expr.of(m) // 13 % 16 * 3 + phase
    guard = Guard(row, 0, 47)
    assert within(row, 47, [guard])
    assert not within(row + 1, 47, [guard])
    assert count(frozenset((m, phase)), [guard]) == 6007 * 13 * 47
    shifted = (Expr.of(m) % 208 + 14) // 42
    assert within(shifted, 6, [])
    assert distinct([Expr.of(m) // 208, row, Expr.of(m) % 13], [guard])
    assert not distinct([Expr.of(m) // 208, row], [guard])
    assert math.prod((208, 6007)) > intervals.TRIED
