"""Which slow tests CI runs on which day."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from support.turns import TURNS, in_turn, turn_named, turn_of


def item(number: int) -> Any:
    """A test; every other is slow."""
    return SimpleNamespace(nodeid=f"tests/test_x.py::test_y[{number}]", get_closest_marker=lambda _: number % 2 or None)


def test_every_slow_test_has_one_turn_and_the_others_have_all() -> None:
    items = [item(number) for number in range(200)]
    turns = [in_turn(items, turn) for turn in range(1, TURNS + 1)]
    for one in items:
        times = sum(one in run for run, _ in turns)
        assert times == (1 if one.get_closest_marker("slow") else TURNS)
    assert all(len(run) + len(left) == len(items) for run, left in turns)
    for run, _ in turns:
        kinds = [one.get_closest_marker("slow") is None for one in run]
        assert kinds == sorted(kinds), "slow ones come first"
    assert all(5 < len(run) - 100 < 35 for run, _ in turns), "turns are about as long"


def test_a_turn_is_a_tests_own() -> None:
    """Other tests do not change it; and neither does another process, as Python's `hash` of a text would."""
    assert [turn_of(item(number).nodeid) for number in range(6)] == [3, 3, 2, 5, 1, 5]


@pytest.mark.parametrize("first", [date(2026, 11, 30), date(2028, 2, 26)])
def test_as_many_days_in_a_row_are_all_turns(first: date) -> None:
    days = [first + timedelta(days=number) for number in range(TURNS)]
    assert {turn_named("today", day) for day in days} == set(range(1, TURNS + 1))


@pytest.mark.parametrize("text", ["0", "6", "monday"])
def test_other_turns_there_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        turn_named(text, date(2026, 11, 30))
