"""What a user sees of a run: a bar with loss, rate, records/s and time left on a terminal, plain lines anywhere else.

rich is imported only where there is a terminal. A reader that goes away (`| head`, a closed terminal) ends no run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from ..compiler.program import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

REDRAWN = 0.1  # seconds between two updates of the bar


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands after a step: averaged loss and metrics, rate, records/s, and the seconds that are left."""

    done: int
    loss: float
    metrics: Mapping[str, float]
    rate: float
    speed: float
    left: float


class Progress(Protocol):
    """Who is told how a run goes."""

    def start(self, net: str, done: int, steps: int) -> None:
        """The run begins, or goes on, after `done` steps."""

    def step(self, at: Standing, *, due: bool) -> None:
        """A step was done. due: whether a line about it is due."""

    def test(self, done: int, data: str, values: Mapping[str, float]) -> None:
        """A test was done."""

    def note(self, text: str) -> None:
        """Something worth a line happened."""

    def close(self) -> None:
        """The run is over."""


def open_progress(file: TextIO | None = None) -> Progress:
    """A bar if the file (standard output) is a terminal that can draw one, else plain lines."""
    out = file or sys.stdout
    if out.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(out)
    return Lines(out)


class Silent:
    """Says nothing."""

    def start(self, net: str, done: int, steps: int) -> None:
        return

    def step(self, at: Standing, *, due: bool) -> None:
        return

    def test(self, done: int, data: str, values: Mapping[str, float]) -> None:
        return

    def note(self, text: str) -> None:
        return

    def close(self) -> None:
        return


class Lines(Silent):
    """A line for every step that is due, every test and every note."""

    def __init__(self, file: TextIO) -> None:
        self._file: TextIO | None = file
        self._steps = 0

    def start(self, net: str, done: int, steps: int) -> None:
        self._steps = steps
        if done >= steps:
            self.note(f"{net}: all {steps:,} steps are done")
        elif done:
            self.note(f"{net}: going on after step {done:,} of {steps:,}")

    def step(self, at: Standing, *, due: bool) -> None:
        if due:
            metrics = "".join(f"{name} {value:.5g}  " for name, value in at.metrics.items())
            self.note(
                f"step {at.done:,} of {self._steps:,}  loss {at.loss:.5g}  {metrics}rate {at.rate:.4g}  "
                f"{at.speed:,.0f} records/s  {duration(at.left)} left"
            )

    def test(self, done: int, data: str, values: Mapping[str, float]) -> None:
        self.note(test_line(done, data, values))

    def note(self, text: str) -> None:
        if self._file is not None:
            try:
                print(printable(text), file=self._file, flush=True)
            except (OSError, ValueError):  # gone, or closed
                self._file = None


class Bar(Silent):
    """A bar at the bottom of a terminal; tests and notes are lines above it."""

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=file, highlight=False, markup=False, emoji=False)
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._drawn = 0.0

    def start(self, net: str, done: int, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            console=self._console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task(net, total=steps, completed=done, told="")
        self._bar.start()
        self._drawn = 0.0

    def step(self, at: Standing, *, due: bool) -> None:
        now = time.monotonic()
        if self._bar is None or self._task is None or (now - self._drawn < REDRAWN and at.left > 0):
            return
        first = self._drawn == 0.0
        self._drawn = now
        told = f"loss {at.loss:.4g}  rate {at.rate:.3g}  {at.speed:,.0f} records/s  {duration(at.left)} left"
        self._bar.update(self._task, completed=at.done, told=told, refresh=first or at.left <= 0)

    def test(self, done: int, data: str, values: Mapping[str, float]) -> None:
        self.note(test_line(done, data, values))

    def note(self, text: str) -> None:
        self._console.print(printable(text), soft_wrap=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def test_line(done: int, data: str, values: Mapping[str, float]) -> str:
    """The line about a test."""
    return f"step {done:,}: {data}: " + "  ".join(f"{name} {value:.5g}" for name, value in values.items())


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`, `2:03`; of something that is not known, `?`."""
    if not 0 <= seconds < 1e9:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Counted:
    """How far a count of things has come: a bar on a terminal, elsewhere a line now and then; with speed and time left.

    A context manager. what: the things, in the plural.
    """

    def __init__(self, what: str, file: TextIO | None = None, *, every: float = 30.0) -> None:
        self._what = what
        self._file = file or sys.stderr
        self._every = every
        self._bar: RichProgress | None = None
        self._tasks: dict[str, tuple[float, TaskID | None]] = {}
        self._said = time.monotonic()

    def __enter__(self) -> Counted:
        if self._file.isatty() and os.environ.get("TERM") != "dumb":
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            told = TextColumn("{task.fields[told]}", markup=False)
            name = TextColumn("{task.description}", markup=False)
            console = Console(file=self._file, highlight=False)
            self._bar = Progress(name, BarColumn(), MofNCompleteColumn(), told, console=console, refresh_per_second=4)
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """So many of a part are done."""
        now = time.monotonic()
        if name not in self._tasks:
            task = self._bar.add_task(name, total=total, told="") if self._bar is not None else None
            self._tasks[name] = now, task
        began, task = self._tasks[name]
        if not done or now == began:
            return
        speed = done / (now - began)
        told = f"{speed:,.0f} {self._what}/s  {duration((total - done) / speed)} left"
        if self._bar is not None and task is not None:
            self._bar.update(task, completed=done, told=told)
        elif now - self._said >= self._every:
            self._said = now
            print(printable(f"{name}: {done:,} of {total:,} {self._what}, {told}"), file=self._file, flush=True)
