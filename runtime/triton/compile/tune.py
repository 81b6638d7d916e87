"""The autotuner: tries blocks near the present ones for all kernels of a program at once, and keeps what is faster.

In a round every kernel that is not settled gets its next candidate, the whole program is built and run, and each launch
is timed where it stands: with the operands, the caches and the neighbours that it has in use. A kernel moves to a
candidate that is clearly faster and goes on from there; it is settled when no neighbour is. At the end the program as
it was and as it became run in turns, and a kernel that does not hold its gain goes back. What blocks are is not known
here: the caller names neighbours and builds programs. What times them is given, so that tests have their own clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from ....compiler.program import Program

C = TypeVar("C")
# What is faster by less is noise.
GAIN = 0.98
TURNS = 5  # of the programs at the end


class Bench(Protocol):
    """What compiles and times programs."""

    def unfit(self, program: Program, functions: Collection[str]) -> Collection[str]:
        """Those of the functions that do not compile, spill registers, or take more than the device has."""

    def seconds(self, program: Program) -> Sequence[float]:
        """The time of each launch of a step."""


@dataclass(frozen=True)
class Site(Generic[C]):
    """A kernel: what it is launched as (`Launch.kernel`), its choice now, and the neighbours of a choice."""

    key: str
    start: C
    near: Callable[[C], Sequence[C]]


@dataclass(frozen=True)
class SettledChoice(Generic[C]):
    """What was found for a kernel. before, seconds: of its launches in a step, as it was and is. tried: choices."""

    choice: C
    before: float
    seconds: float
    tried: int = 0


@dataclass
class _Climb(Generic[C]):
    """One kernel on its way."""

    site: Site[C]
    best: C
    seconds: float = 0.0
    before: float = 0.0
    known: list[C] = field(default_factory=list)
    waiting: list[C] = field(default_factory=list)

    def next(self) -> C | None:
        """The choice to try, if there is any."""
        return self.waiting.pop(0) if self.waiting else None

    def move(self, choice: C, seconds: float) -> None:
        """Take a choice, and look around from there."""
        self.best, self.seconds = choice, seconds
        self.waiting = [c for c in self.site.near(choice) if c not in self.known]
        self.known += self.waiting


def tune(
    sites: Sequence[Site[C]],
    build: Callable[[Mapping[str, C]], Program],
    bench: Bench,
    *,
    budget: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
    told: Callable[[int, int, int], None] | None = None,
) -> dict[str, SettledChoice[C]]:
    """The best choice found for each kernel, by its key.

    build: the program with these choices. budget: seconds after which no round begins. told: called after each round
    with its number, the kernels that moved in it, and those that are not settled.
    """
    end = clock() + budget
    climbs = {site.key: _Climb(site, site.start, known=[site.start]) for site in sites}
    start = {key: climb.best for key, climb in climbs.items()}
    first = build(start)
    times = per_kernel(first, bench.seconds(first))
    for key, climb in climbs.items():
        climb.before = times.get(key, 0.0)
        climb.move(climb.best, climb.before)
        if key not in times:  # not part of a step
            climb.waiting = []
    tried = dict.fromkeys(climbs, 0)
    number = 0
    while any(climb.waiting for climb in climbs.values()) and clock() < end:
        number += 1
        moved = _round(climbs, build, bench, tried)
        if told is not None:
            told(number, moved, sum(bool(climb.waiting) for climb in climbs.values()))
    chosen = _confirmed(climbs, start, build, bench)
    return {key: replace(found, tried=tried[key]) for key, found in chosen.items()}


def _round(
    climbs: Mapping[str, _Climb[C]],
    build: Callable[[Mapping[str, C]], Program],
    bench: Bench,
    tried: dict[str, int],
) -> int:
    """Try the next candidate of every kernel; how many moved to it."""
    trial = {key: choice for key, climb in climbs.items() if (choice := climb.next()) is not None}
    best = {key: climb.best for key, climb in climbs.items()}
    program = build({**best, **trial})
    functions = {launch.function: launch.kernel for launch in program.launches if launch.kernel in trial}
    unfit = bench.unfit(program, functions)
    for name in unfit:
        trial.pop(functions[name], None)
    if unfit:
        program = build({**best, **trial})
    times = per_kernel(program, bench.seconds(program))
    moved = 0
    for key, choice in trial.items():
        tried[key] += 1
        if times[key] < GAIN * climbs[key].seconds:
            climbs[key].move(choice, times[key])
            moved += 1
    return moved


def _confirmed(
    climbs: Mapping[str, _Climb[C]],
    start: Mapping[str, C],
    build: Callable[[Mapping[str, C]], Program],
    bench: Bench,
) -> dict[str, SettledChoice[C]]:
    """The program as it was and as it became, in turns: what does not hold its gain goes back."""
    programs = (build(start), build({key: climb.best for key, climb in climbs.items()}))
    turns: tuple[list[dict[str, float]], ...] = ([], [])
    changed = any(climb.best != start[key] for key, climb in climbs.items())
    for turn in range(TURNS if changed else 1):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            turns[which].append(per_kernel(programs[which], bench.seconds(programs[which])))
    found = {}
    for key, climb in climbs.items():
        before, after = (statistics.median(times.get(key, 0.0) for times in t) for t in turns)
        held = climb.best != start[key] and after < GAIN * before
        found[key] = SettledChoice(climb.best, before, after) if held else SettledChoice(start[key], before, before)
    return found


def per_kernel(program: Program, seconds: Sequence[float]) -> dict[str, float]:
    """The time of all launches of each kernel in a step, by its key."""
    found: dict[str, float] = {}
    steps = [launch for launch in program.launches if launch.phase == "step"]
    for launch, time_ in zip(steps, seconds, strict=True):
        found[launch.kernel] = found.get(launch.kernel, 0.0) + time_
    return found
