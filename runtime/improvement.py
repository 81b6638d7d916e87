"""Early stopping and model selection: the tests of a run compared by one value, as its log has them."""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler.spec import Watched
from .history import History

Seen = Sequence[tuple[int, float]]


def tests_of(history: History, watched: Watched) -> Seen:
    """What tests found of a value, with the step of each, in order."""
    for data, curve in history.tests.items():
        if watched.data in ("", data) and watched.name in curve:
            return list(zip(curve.steps.tolist(), curve[watched.name].tolist(), strict=True))
    return []


def unimproved(seen: Seen, watched: Watched) -> int:
    """How many tests there were since the best one: 0 where that is the last."""
    best: float | None = None
    since = 0
    for _, value in seen:
        if watched.better(value, best):
            best, since = value, 0
        else:
            since += 1
    return since
