"""A plugin of pytest: slow tests take turns in CI. Each belongs to one of a few, and each day one is run.

Five, so that five days in a row run all, those of a working week as well. A test's turn depends on its name alone, and
not on which other tests there are, so none is missed when some are added.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from zlib import crc32

import pytest

TURNS = 5


def turn_of(name: str) -> int:
    """From 1 to TURNS."""
    return crc32(name.encode()) % TURNS + 1


def turn_named(text: str, day: date) -> int:
    """A turn as the command line names it: its number, or `today`. ValueError for another."""
    turn = day.toordinal() % TURNS + 1 if text == "today" else int(text) if text.isdecimal() else 0
    if not 1 <= turn <= TURNS:
        raise ValueError(f"a turn is a number from 1 to {TURNS}, or `today`")
    return turn


def in_turn(items: Iterable[pytest.Item], turn: int) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests that are run in a turn, which are all that are not slow and some that are; and the others.

    Those that are slow come first: one that began last would keep all processes but its own waiting.
    """
    quick: list[pytest.Item] = []
    slow: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        of = quick if item.get_closest_marker("slow") is None else slow if turn_of(item.nodeid) == turn else left
        of.append(item)
    return slow + quick, left


def pytest_addoption(parser: pytest.Parser) -> None:
    told = f"of the slow tests run one turn only: a number from 1 to {TURNS}, or `today`"
    parser.addoption("--turn", metavar="TURN", help=told)


def pytest_configure(config: pytest.Config) -> None:
    text = config.getoption("--turn")
    if text is not None:
        try:
            # The number, so that all workers of xdist have the same whatever the clock says meanwhile.
            config.option.turn = str(turn_named(text, date.today()))
        except ValueError as error:
            raise pytest.UsageError(f"--turn {text}: {error}") from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    turn = config.getoption("--turn")
    if turn is not None:
        items[:], left = in_turn(items, int(turn))
        config.hook.pytest_deselected(items=left)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    turn = config.getoption("--turn")
    if turn is not None:
        terminalreporter.write_line(f"slow tests: turn {turn} of {TURNS}")
