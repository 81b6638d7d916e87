"""Callbacks of a training run: what is called after a step, a test or a snapshot, and how it ends the run.

A callback is any object with some of the methods of `Callback`, or a function, which is called after each step. What
it raises ends the run at once, as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..compiler.program import UserError, printable, shown
from ..compiler.spec import TrainSpec
from .history import History
from .state import State


@dataclass
class Running:
    """A run as its callbacks see it.

    step: steps done, of `steps`. loss, rate, values: of the last step; values are losses and metrics of its batch by
    name. state: the net's parameters and statistics, which may be read and written. history: all steps so far.
    """

    net: str
    steps: int
    state: State
    history: History
    step: int = 0
    loss: float = float("nan")
    rate: float = float("nan")
    values: Mapping[str, float] = field(default_factory=dict)
    stopped: bool = False

    def stop(self) -> None:
        """End the run as if its steps were done: with the last tests, a snapshot and the weights."""
        self.stopped = True


class Callback:
    """What a callback may have; each method does nothing here."""

    def on_begin(self, run: Running) -> None:
        """The run begins, or goes on, after `run.step` steps."""

    def on_step(self, run: Running) -> None:
        """A step is done and recorded."""

    def on_test(self, run: Running, data: str, values: Mapping[str, float]) -> None:
        """A test on the data of that name is done: means over its records, by name."""

    def on_snapshot(self, run: Running, path: Path) -> None:
        """A snapshot was written; path: its JSON file."""

    def on_end(self, run: Running) -> None:
        """The run has ended as it should, weights written."""


EVENTS = ("on_begin", "on_step", "on_test", "on_snapshot", "on_end")


class Calls:
    """The callbacks of a run, by event; UserError for what is none."""

    def __init__(self, given: Sequence[Any], spec: TrainSpec, state: State, history: History) -> None:
        self._run = Running(spec.net, spec.steps, state, history)
        self._of: dict[str, list[Callable[..., object]]] = {event: [] for event in EVENTS}
        for one in given:
            for event, function in methods(one).items():
                self._of[event].append(function)

    @property
    def stopped(self) -> bool:
        """Whether one of them ended the run."""
        return self._run.stopped

    def begin(self, step: int) -> None:
        self._run.step = step
        self._tell("on_begin")

    def step(self, step: int, loss: float, rate: float, values: Mapping[str, float]) -> None:
        run = self._run
        run.step, run.loss, run.rate, run.values = step, loss, rate, values
        self._tell("on_step")

    def test(self, data: str, values: Mapping[str, float]) -> None:
        self._tell("on_test", data, values)

    def snapshot(self, path: Path) -> None:
        self._tell("on_snapshot", path)

    def end(self) -> None:
        self._tell("on_end")

    def _tell(self, event: str, *more: Any) -> None:
        for function in self._of[event]:
            function(self._run, *more)


def methods(given: object) -> dict[str, Callable[..., object]]:
    """The functions of a callback by event; UserError where it has none, or one for an event that there is not."""
    own = [name for name in dir(given) if name.startswith("on_")] if not isinstance(given, type) else []
    if wrong := [name for name in own if name not in EVENTS]:
        raise UserError(f"a callback has no `{printable(wrong[0], 40)}`; there are {', '.join(EVENTS)}")
    found = {name: getattr(given, name) for name in own}
    if not found and callable(given) and not isinstance(given, type):
        found = {"on_step": given}
    if not found or not all(map(callable, found.values())):
        what = shown(given)
        raise UserError(f"a callback is a function of the run, or an object with {', '.join(EVENTS)}, not {what}")
    return found
